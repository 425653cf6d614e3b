"""Test sets of the users' own, ``--dataset other:NAME``, through the commands of the docs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from apsite.catalogue import load_catalogue
from apsite.comparable import Setting, rankable, setting_of
from apsite.documents.json_files import read_json, write_json
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.records import read_record
from apsite.samples import read_samples
from apsite.validation import validate
from apsite.vocabulary import Architecture, Dataset, Structure
from tests.builders import METHOD, REMOVED, changed, digest, entry_document, write_data
from tests.cli.conftest import apsite
from tests.official_sets import images, labels, write_network
from tests.site.conftest import page_text, site_facts

SIGNS = Dataset("other:signs").with_images((3, 16, 16), (3, 2, 2, 2, 1), "8/255")
KEY = f"{METHOD}_other-Tiny_other-signs_US_23"
QUICK = ("--protocol", "quick", "--quiet")


def npz(folder: Path, dataset: Dataset) -> Path:
    """The set as an ``.npz`` file with the channels last, as most programs have them."""
    chosen = labels(dataset)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "signs.npz", images=images(dataset, chosen).transpose(0, 2, 3, 1), labels=chosen)
    return folder / "signs.npz"


def class_folders(folder: Path, dataset: Dataset) -> Path:
    """The set as a folder of class folders."""
    for position, (image, label) in enumerate(zip(images(dataset, labels(dataset)), labels(dataset), strict=True)):
        (folder / "signs" / f"class {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / "signs" / f"class {label}" / f"{position:02}.png")
    return folder / "signs"


@pytest.fixture
def network(tmp_path: Path) -> tuple[Any, ...]:
    """Options of a network that tells the signs apart."""
    checkpoint, factory, sparsity = write_network(tmp_path, SIGNS)
    return checkpoint, "--arch", factory, "--structure", "unstructured", "--sparsity", sparsity


@pytest.mark.parametrize(("write", "attacks"), [(npz, "autoattack,hofmn"), (class_folders, "hofmn")])
def test_a_set_goes_the_whole_way(
    run: Any, tmp_path: Path, network: tuple[Any, ...], write: Callable[[Path, Dataset], Path], attacks: str
) -> None:
    """It is checked, audited, attacked, valid, on the pages, verified, and ranks nowhere."""
    path = write(tmp_path, SIGNS)
    found = run("data", "check", "other:signs", "--data-dir", path).stdout
    assert "Images:  10\nShape:   (10, 3, 16, 16), uint8" in found
    assert "5, with 1 to 3 images each" in found
    audited = run("audit", *network, "--dataset", "other:signs", "--data-dir", path).stdout
    assert f"suitable for the attacks (on images of {path.name})" in audited

    root = write_data(tmp_path / "root", entry_document(METHOD))
    out = ("--root", root, "--output", root / "evaluations", "--run-dir", tmp_path / "runs")
    declared = ("--method", METHOD, "--dataset", "other:signs", "--data-dir", path, "--as", "other:Tiny")
    attacked = ("--epsilon", "2/255", "--attacks", attacks, *QUICK, "--n-examples", 10)
    said = run("eval", *network, *declared, *attacked, *out).stdout
    assert "custom (reduced run, other dataset, other network, other sparsity: shown, not ranked)" in said
    assert validate(root).problems == ()
    record = (catalogue := load_catalogue(root)).records[KEY]
    assert (record.dataset.shape, record.dataset.class_counts) == (SIGNS.shape, SIGNS.class_counts)
    assert record.epsilon == record.dataset.epsilon == "2/255"
    assert record.data is not None
    assert record.data.whole is not None
    assert record.data.split == "whole test set"
    assert record.data.whole.sha256 == record.data.sha256
    assert record.results.clean_accuracy == 1
    samples = read_samples(root / "evaluations" / METHOD / f"{KEY}.npz")
    assert samples.label.tolist() == labels(SIGNS).tolist()
    assert not rankable(record)
    assert setting_of(record) == Setting(SIGNS, Architecture("other:Tiny"), Structure.UNSTRUCTURED, 23, "2/255")
    facts = site_facts(catalogue)
    for page in (f"methods/{METHOD}.md", "results.md"):
        assert "other dataset" in page_text(facts, page)
    for page in ("leaderboard.md", "index.md", "curves.md", "compare.md", "analysis.md", "taxonomy.md"):
        assert page_text(facts, page)

    path_of = root / "evaluations" / METHOD / f"{KEY}.json"
    again = ("--checkpoint", network[0], "--arch", network[2], "--data-dir", path, "--by", "Jane Doe", "--write")
    run("verify", path_of, *again, "--quiet")
    assert read_record(path_of).verification is not None
    assert validate(root).problems == ()


def evaluated(run: Any, tmp_path: Path, *options: object, code: int = 0) -> Result:
    """What an evaluation of two images says; its record is below ``root``."""
    root = write_data(tmp_path / "root", entry_document(METHOD))
    out = ("--root", root, "--output", root / "evaluations", "--run-dir", tmp_path / "runs")
    result: Result = run("eval", *options, "--method", METHOD, *QUICK, *out, code=code)
    return result


@pytest.fixture(scope="module")
def own_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data folder with the record of a ResNet8 with five classes, on two of the images of a set."""
    folder = tmp_path_factory.mktemp("own")
    signs = Dataset("other:signs").with_images((3, 32, 32), (3, 2, 2, 2, 1), "")
    torch.manual_seed(0)
    torch.save(layouts()["resnet8"].build(signs).state_dict(), folder / "dense.pt")
    options = ("--dataset", "other:signs", "--arch", "resnet8", "--data-dir", npz(folder, signs), "--epsilon", "8/255")
    evaluated(apsite, folder, folder / "dense.pt", *options, "--attacks", "hofmn", "--n-examples", 2)
    return folder / "root"


def test_a_registered_network_and_a_part_of_the_set(own_record: Path) -> None:
    """The network is proven to be one, and the record tells the part from the whole."""
    record = load_catalogue(own_record).records[f"{METHOD}_R8_other-signs_dense"]
    assert record.data is not None
    assert record.data.whole is not None
    assert record.data.split == "random 2 test samples"
    assert record.data.whole.sha256 != record.data.sha256
    assert validate(own_record).problems == ()


@pytest.mark.parametrize(
    ("path", "value", "place", "message"),
    [
        ("data.whole", REMOVED, "data.whole", "is missing; other:signs is not registered"),
        ("data.whole.shape", [1, 32, 32], "data.whole.shape", "is not [3, height, width]"),
        ("data.whole.class_counts", [0, 0], "data.whole.class_counts", "counts no image"),
        ("data.whole.class_counts", [1, 0], "results.n_samples", "2 exceeds the test set of 1 images"),
        ("data.whole.sha256", "0" * 64, "data.whole.sha256", "is no SHA-256 of a file but a placeholder"),
        ("data.known", True, "data.known", "is true, but other:signs is not registered"),
        ("threat_model.epsilon", None, "threat_model.epsilon", "is missing; other:signs has no ε of its own"),
        ("protocol", "apb-1", "protocol", "apb-1 is for registered datasets"),
        ("dataset", "other:cifar10", "dataset", "'other:cifar10' contradicts the model key"),
        ("dataset", "other:a b", "dataset", "'other:a b' is not one of"),
    ],
)
def test_a_record_describes_a_set_that_is_its_own(
    own_record: Path, tmp_path: Path, path: str, value: Any, place: str, message: str
) -> None:
    root = Path(shutil.copytree(own_record, tmp_path / "root"))
    file = next((root / "evaluations" / METHOD).glob("*.json"))
    write_json(file, changed(read_json(file), path, value))
    found = [(problem.field, problem.problem) for problem in validate(root).problems]
    assert any(where == place and message in what for where, what in found), found


def test_two_sets_do_not_share_a_name(own_record: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(own_record, tmp_path / "root"))
    file = next((root / "evaluations" / METHOD).glob("*.json"))
    other = METHOD.replace("Tiny_", "Other_")
    write_data(root, entry_document(other))
    document = changed(read_json(file), "data.whole.sha256", digest("another set"))
    key = document["model_key"].replace(METHOD, other)
    document |= {"model_key": key, "method": other, "samples": document["samples"] | {"file": f"{key}.npz"}}
    (root / "evaluations" / other).mkdir()
    write_json(root / "evaluations" / other / f"{key}.json", document)
    shutil.copy(file.with_suffix(".npz"), root / "evaluations" / other / f"{key}.npz")
    found = [problem.problem for problem in validate(root).problems if problem.field == "data.whole"]
    assert len(found) == 1
    assert "is not the set of this name of" in found[0]


def test_a_manifest_names_a_set_of_its_own(run: Any, tmp_path: Path, network: tuple[Any, ...]) -> None:
    npz(tmp_path, SIGNS)
    root = write_data(tmp_path / "root", entry_document(METHOD))
    (tmp_path / "models.toml").write_text(
        f"""
        [[model]]
        checkpoint = "network.pt"
        method = "{METHOD}"
        arch = "factory.py:network"
        as = "other:Tiny"
        structure = "unstructured"
        sparsity = {network[-1]}
        dataset = "other:signs"
        data_dir = "signs.npz"
        epsilon = "8/255"
        attacks = "hofmn"
        protocol = "quick"
        n_examples = 1
        """,
        encoding="utf-8",
    )
    places = ("--output", root / "evaluations", "--run-dir", tmp_path / "runs", "--root", root, "--quiet")
    assert "1 done" in run("eval", "--manifest", tmp_path / "models.toml", *places).stdout
    assert KEY in load_catalogue(root).records
    again = run("eval", "--manifest", tmp_path / "models.toml", *places).stdout
    assert "1 skipped" in again


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--epsilon", "8/255"), 1, "other:signs is a test set of your own; name it with --data-dir"),
        (("--epsilon", "8/255", "--data-dir", "embedded"), 1, "name it with --data-dir: a folder of class folders, or"),
        (("--data-dir", "signs.npz"), 1, "other:signs has no ε of its own; choose one, such as --epsilon 8/255"),
        (("--dataset", "other:cifar-10", "--epsilon", "8/255"), 2, "is not one of 'cifar10', 'svhn', 'imagenet'"),
        (("--dataset", "other:a b", "--epsilon", "8/255"), 2, "nor other:NAME (letters, digits and hyphens)"),
        (("--dataset", "cifar11"), 2, "nor other:NAME (letters, digits and hyphens) with another name than these"),
        (
            ("--epsilon", "8/255", "--data-dir", "signs.npz", "--engine", "reference"), 1,
            "other:signs has 5 classes, and --engine reference requires 10 or more",
        ),
        (("--epsilon", "8/255", "--data-dir", "three.npz"), 1, "has 3 classes, and autoattack requires 4 or more"),
        (("--epsilon", "8/255", "--data-dir", "two.npz", "--attacks", "hofmn"), 1, "and hofmn requires 3 or more"),
        (("--epsilon", "8/255", "--data-dir", "wide.npz", "--n-examples", "4"), 1, "expected (8, 4)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(
    run: Any, tmp_path: Path, network: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...],
    code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    npz(tmp_path, SIGNS)
    for name, classes in (("two", 2), ("three", 3), ("wide", 4)):
        found = npz(tmp_path / name, SIGNS.with_images(SIGNS.shape, (9 // classes,) * classes, ""))
        found.rename(tmp_path / f"{name}.npz")
    refused = evaluated(run, tmp_path, *network, "--as", "other:Tiny", "--dataset", "other:signs", *options, code=code)
    assert message in " ".join(refused.stderr.split())
    assert not (tmp_path / "root" / "evaluations").exists() or not list((tmp_path / "root").rglob("*.npz"))
