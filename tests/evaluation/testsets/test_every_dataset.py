"""Every listed dataset, in its official format, through every command that takes one."""

import numpy as np
import pytest
from click.testing import CliRunner, Result

from apsite.catalogue import load_catalogue
from apsite.cli import cli
from apsite.comparable import rankable
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
