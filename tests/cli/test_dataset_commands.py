"""`apsite data` as a user runs it; the official addresses are replaced by a server on this machine."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from apsite.evaluation.testsets.datasets import TEST_SETS, array_hash
from apsite.evaluation.testsets.official import Download
from apsite.vocabulary import Dataset
from tests.loopback import loopback_server

ROWS = np.repeat(np.random.default_rng(0).integers(0, 10, (10_000, 439), dtype=np.uint8), 7, axis=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The user's cache folder, empty."""
    monkeypatch.setenv("APSITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def official(monkeypatch):
    """CIFAR-10 of random pixels, served on this machine and known as the official set."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as files:
        info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        info.size = ROWS.size
        files.addfile(info, io.BytesIO(ROWS.tobytes()))
    content = stream.getvalue()
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    known = array_hash(ROWS[:, 1:].reshape(-1, 3, 32, 32), ROWS[:, 0].astype(np.int64))
    with loopback_server() as server:
        url = server.serve("cifar.tar.gz", content, cut_after=100_000)
        file = Download(url, "cifar.tar.gz", f"md5:{digest}", len(content), "cifar-10-batches-bin")
        files = replace(TEST_SETS[Dataset.CIFAR10], download=file, known_sha256=known)
        monkeypatch.setitem(TEST_SETS, Dataset.CIFAR10, files)
        yield known


def test_a_set_is_fetched_listed_and_checked(run, cache, official):
    """The first try is cut and says so; the second finishes. The set is then there, and the official one."""
    assert "cifar10" in run("data", "list").stdout
    assert "0.1 MB are kept, run the same command again to resume" in run("data", "fetch", "cifar10", code=1).stderr
    result = run("data", "fetch", "cifar10")
    assert result.stdout.strip() == str(cache / "data")
    assert "cifar.tar.gz" in result.stderr
    assert "yes, the official files" in run("data", "list").stdout
    checked = run("data", "check", "cifar10")
    for text in ("10,000", "(10000, 3, 32, 32)", official, "yes, the official test set"):
        assert text in checked.stdout
    assert run("data", "fetch", "cifar10", "--quiet").stderr == ""


def test_another_set_is_not_taken_for_the_official_one(run, cache, tmp_path):
    ROWS.tofile(tmp_path / "test_batch.bin")
    result = run("data", "check", "cifar10", "--data-dir", tmp_path, code=1)
    assert "Known:   no, these are not the official files" in result.stdout
    assert "yes, but not the official files" in run("data", "list", "--data-dir", tmp_path).stdout


def test_a_damaged_set_is_listed_as_such(run, tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"damaged")
    (tmp_path / "val").mkdir()
    for number in range(1000):
        (tmp_path / "val" / f"n{number:08d}").mkdir()
    listed = run("data", "list", "--data-dir", tmp_path)
    assert "damaged; see apsite data check cifar10" in listed.stdout
    assert "yes; no official hash is known" in listed.stdout
    assert "multiple of 3073" in run("data", "check", "cifar10", "--data-dir", tmp_path, code=1).stderr


def test_a_missing_set_is_named(run, cache):
    result = run("data", "check", "svhn", code=1)
    assert f"Error: {cache / 'data'}: has no SVHN test set; fetch it with `apsite data fetch svhn`" in result.stderr
    listed = run("data", "list").stdout
    assert "170 MB" in listed
    assert "by hand" in listed
    assert "image-net.org" in listed


def test_imagenet_and_unknown_sets_cannot_be_fetched(run, cache):
    """One has a licence against it, the others do not exist."""
    assert "after registration; https://image-net.org" in run("data", "fetch", "imagenet", code=1).stderr
    run("data", "fetch", "mnist", code=2)


def test_eval_reads_the_folder_that_fetch_fills(run, cache, tmp_path, monkeypatch):
    from apsite.evaluation.runs.demonstration import network_path

    monkeypatch.chdir(tmp_path)
    result = run(
        "eval", network_path(), "--method", "LAMP_Lee2021Layer", "--dataset", "cifar10", "--arch", "resnet8",
        "--structure", "unstructured", "--sparsity", "0.90", code=1
    )  # fmt: skip
    assert f"{cache / 'data'}: has no CIFAR-10 test set" in result.stderr
