"""Every listed dataset, in its official format, through every command that takes one."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner, Result

from apsite.catalogue import load_catalogue
from apsite.cli import cli
from apsite.comparable import rankable
from apsite.errors import DatasetError
from apsite.evaluation.testsets.datasets import TEST_SETS, load_test_set
from apsite.keys import ModelKey
from apsite.site.tables.leaderboards import leaderboards
from apsite.validation import validate
from apsite.vocabulary import Architecture, Dataset, Structure
from tests.builders import entry_document, record_document, write_data
from tests.official_sets import WRITERS, images, labels, write_network

METHOD = "Tiny_Doe2024Small"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def test_every_dataset_is_listed_and_written():
    assert list(TEST_SETS) == list(Dataset)
    assert set(WRITERS) == set(Dataset)


@pytest.mark.parametrize("dataset", Dataset)
def test_a_listed_dataset_works_everywhere(monkeypatch, tmp_path, dataset):
    """A small set of its format is read, audited and attacked; the record is valid, shown and exported."""
    monkeypatch.setattr(dataset, "class_counts", (2,) * dataset.classes)
    folder = tmp_path / "data"
    folder.mkdir()
    WRITERS[dataset](folder, dataset)
    found = load_test_set(dataset, folder)
    assert np.array_equal(found.labels, labels(dataset))
    assert np.abs(found.images[:4].astype(int) - images(dataset, found.labels[:4])).max() <= 2

    checked = run("data", "check", dataset, "--data-dir", folder)
    assert checked.exit_code == 1  # the true format, and not the official images
    assert f"Images:  {len(found):,}" in checked.output

    checkpoint, factory, sparsity = write_network(tmp_path, dataset)
    declared = ["--dataset", dataset, "--structure", "unstructured", "--sparsity", sparsity]
    audited = run("audit", checkpoint, "--arch", factory, *declared)
    assert audited.exit_code == 0, audited.output

    # On a CPU, HO-FMN takes half a minute for images of 224 x 224 pixels.
    attacks = "autoattack,hofmn" if dataset.shape[1] <= 64 else "autoattack"
    published = record_document(f"{METHOD}_R18_{dataset.code}_US_95")
    root = write_data(tmp_path / "root", entry_document(METHOD), published)
    evaluated = run(
        "eval", checkpoint, "--method", METHOD, "--arch", factory, "--as", "other:Tiny", *declared,
        "--protocol", "quick", "--n-examples", 4, "--data-dir", folder, "--root", root,
        "--output", root / "evaluations", "--run-dir", tmp_path / "runs", "--attacks", attacks,
    )  # fmt: skip
    assert evaluated.exit_code == 0, evaluated.output
    assert validate(root).problems == ()
    catalogue = load_catalogue(root)
    key = str(ModelKey.of(METHOD, Architecture("other:Tiny"), dataset, Structure.UNSTRUCTURED, sparsity))
    record = catalogue.records[key]
    # A block is 3/255 from the grey between two classes, so AutoAttack finds an adversarial image within epsilon.
    assert record.results.clean_accuracy == 1
    assert record.robust_accuracy == 0
    assert key in run("export", "--root", root).stdout
    assert dataset.label in run("show", "--dataset", dataset, "--root", root).stdout
    assert not rankable(record)
    boards = [board.dataset for board in leaderboards(catalogue) if board.rows]
    assert boards == ([] if dataset is Dataset.IMAGENET else [dataset])
    if dataset in (Dataset.CIFAR100, Dataset.TINY_IMAGENET):
        assert run("build", "--root", root, "--output", tmp_path / "site").exit_code == 0
        page = (tmp_path / "site" / "site" / "leaderboard.html").read_text(encoding="utf-8")
        assert f"{dataset.label}, unstructured" in page


def test_a_ranked_result_of_another_network_has_a_column(tmp_path):
    """A network that the survey does not have appears beside its two, or alone where neither has a result."""
    records = [
        record_document(f"{METHOD}_{model}_US_90")
        for model in ("R18_CIFAR10", "WRN-28-10_CIFAR10", "DeiT-Tiny_CIFAR100")
    ]
    catalogue = load_catalogue(write_data(tmp_path, entry_document(METHOD), *records))
    networks = {board.identity: board.networks for board in leaderboards(catalogue) if board.rows}
    assert networks["cifar10-unstructured"] == (Architecture.RESNET18, Architecture.VGG16, Architecture.WRN_28_10)
    assert networks["cifar100-unstructured"] == (Architecture.DEIT_TINY,)


def test_the_python_layout_of_cifar100_gives_the_same_set(monkeypatch, tmp_path):
    """The binary one has two labels before each image, the coarse one first."""
    monkeypatch.setattr(Dataset.CIFAR100, "class_counts", (1,) * 100)
    WRITERS[Dataset.CIFAR100](tmp_path, Dataset.CIFAR100)
    binary = load_test_set(Dataset.CIFAR100, tmp_path)
    folder = tmp_path / "other" / "cifar-100-python"
    folder.mkdir(parents=True)
    batch = {b"data": binary.images.reshape(-1, 3072), b"fine_labels": binary.labels.tolist(), b"coarse_labels": []}
    (folder / "test").write_bytes(pickle.dumps(batch, protocol=2))
    python = load_test_set(Dataset.CIFAR100, tmp_path / "other")
    assert python.sha256 == binary.sha256
    digest = hashlib.sha1((folder / "test").read_bytes(), usedforsecurity=False).hexdigest()
    known = replace(TEST_SETS[Dataset.CIFAR100], file_hashes=(f"sha1:{digest}",))
    monkeypatch.setitem(TEST_SETS, Dataset.CIFAR100, known)
    assert load_test_set(Dataset.CIFAR100, tmp_path / "other").known
    assert not load_test_set(Dataset.CIFAR100, tmp_path).known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda val: (val / "images" / "val_7.JPEG").unlink(), r"images: lacks val_7\.JPEG and 0 others"),
        (lambda val: (val / "val_annotations.txt").write_text("text"), "is not the official annotation file"),
        (lambda val: (val / "val_annotations.txt").write_text("a\tn1\nb\tn2"), "2 rows of 2 images and 2 classes"),
    ],
)  # fmt: skip
def test_a_damaged_tiny_imagenet_is_refused(monkeypatch, tmp_path, change, message):
    monkeypatch.setattr(Dataset.TINY_IMAGENET, "class_counts", (1,) * 200)
    WRITERS[Dataset.TINY_IMAGENET](tmp_path, Dataset.TINY_IMAGENET)
    change(tmp_path / "tiny-imagenet-200" / "val")
    with pytest.raises(DatasetError, match=message):
        load_test_set(Dataset.TINY_IMAGENET, tmp_path)
