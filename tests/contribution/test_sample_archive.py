"""Per-sample files that lie outside of the repository: moved, fetched, checked, and not a way around the checks."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsite.catalogue import Catalogue, load_catalogue
from apsite.comparable import Judge
from apsite.documents.json_files import read_json
from apsite.evaluation.testsets import downloads
from apsite.samples import read_samples, write_samples
from apsite.site.charts.curves import load_curves
from apsite.validation import validate
from apsite.validation.proposal import _corrected, _new_record
from tests.cli.conftest import apsite
from tests.loopback import LoopbackServer, loopback_server

KEY = "LAMP_Lee2021Layer_R8_CIFAR10_US_90"
URL = "https://example.org/releases/download/samples-1/"


@pytest.fixture
def moved(repository: Path, tmp_path: Path) -> Path:
    """A data folder with the files of all own records moved away."""
    for name in ("entries", "evaluations"):
        shutil.copytree(repository / name, tmp_path / "root" / name)
    every = ("--url", URL, "--before", "2100-01-01", "--root", tmp_path / "root")
    said = apsite("samples", "move", tmp_path / "assets", *every).stdout
    count = len(list((tmp_path / "assets").iterdir()))
    assert count >= 13
    assert f"{count} per-sample files moved" in said
    assert f"gh release create samples-1 --notes 'Per-sample results' {tmp_path / 'assets'}/*.npz" in said
    return tmp_path / "root"


def test_a_moved_file_has_its_hash_for_a_name_and_the_record_is_right(moved: Path, tmp_path: Path) -> None:
    record = read_json(next(moved.glob(f"evaluations/*/{KEY}.json")))
    asset = tmp_path / "assets" / record["samples"]["url"].removeprefix(URL)
    assert hashlib.sha256(asset.read_bytes()).hexdigest() == record["samples"]["sha256"] == asset.stem
    assert not list(moved.glob("evaluations/*/*.npz"))
    assert validate(moved).problems == ()
    again = apsite("samples", "move", tmp_path / "more", "--url", URL, "--root", moved).stdout
    assert again == f"0 per-sample files moved to {tmp_path / 'more'}\n"


def test_a_file_of_a_whole_test_set_has_the_size_that_the_guide_states(
    repository: Path, benchmark_data: Catalogue, tmp_path: Path
) -> None:
    """Ten thousand samples drawn from a run, each with a distance of its own."""
    record = benchmark_data.records["LWM_Han2015Learning_R8_CIFAR10_dense"]
    path = benchmark_data.samples_path(record)
    assert path is not None
    run, rng = read_samples(path), np.random.default_rng(0)
    drawn = run.take(rng.integers(0, len(run), 10_000))
    assert drawn.distance is not None
    distance = drawn.distance * rng.uniform(0.999, 1.001, 10_000).astype(np.float32)
    whole = replace(drawn, index=np.arange(10_000, dtype=np.int32), distance=distance)
    write_samples(tmp_path / "whole.npz", whole)
    (stated,) = re.findall(
        r"of 10,000 images has about (\d+) kB", (repository / "docs/maintaining.md").read_text("utf-8")
    )
    assert (tmp_path / "whole.npz").stat().st_size / 1000 == pytest.approx(float(stated), rel=0.15)


def test_only_runs_before_a_day_are_moved(repository: Path, tmp_path: Path) -> None:
    for name in ("entries", "evaluations"):
        shutil.copytree(repository / name, tmp_path / "root" / name)
    day = ("--before", "2024-01-01", "--url", URL, "--root", tmp_path / "root")
    assert apsite("samples", "move", tmp_path / "assets", *day).stdout.startswith("0 per-sample files")


@pytest.mark.parametrize("url", ["https://example.org/x", "ftp://example.org/", "https://exa mple.org/"])
def test_a_url_that_is_no_folder_is_refused(tmp_path: Path, tiny_data: Path, url: str) -> None:
    refused = apsite("samples", "move", tmp_path / "assets", "--url", url, "--root", tiny_data, code=1)
    assert "must start with https:// and end in '/'" in refused.stderr


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A server in place of the host of releases."""
    with loopback_server() as running:

        def http(url: str, *arguments: Any) -> None:
            fetch_http(url.replace("https://example.org", running.address), *arguments)

        fetch_http = downloads._http
        monkeypatch.setattr(downloads, "_http", http)
        yield running


def test_fetched_files_are_read_where_they_are(moved: Path, tmp_path: Path, releases: LoopbackServer) -> None:
    """Fetched once, with the hash of the record; a file that is another one is refused and the others are there."""
    asset = {path.stem: path for path in (tmp_path / "assets").iterdir()}
    files = sorted(path for path in moved.glob("evaluations/*/*.json") if "url" in read_json(path).get("samples", {}))
    broken, *_ = hashes = [read_json(path)["samples"]["sha256"] for path in files]
    for sha256 in hashes:
        content = b"another file" if sha256 == broken else asset[sha256].read_bytes()
        releases.serve(f"releases/download/samples-1/{sha256}.npz", content)
    with pytest.raises(Exception, match="`apsite samples fetch` fetches it"):
        load_curves(load_catalogue(moved))
    said = apsite("samples", "fetch", "--root", moved, "--quiet", code=1).stdout
    assert f"{len(files)} per-sample files: {len(files) - 1} fetched, 0 there already, 1 failed" in said
    assert "does not have the checksum" in said
    releases.serve(f"releases/download/samples-1/{broken}.npz", asset[broken].read_bytes())
    again = apsite("samples", "fetch", "--root", moved, "--quiet").stdout
    assert f"1 fetched, {len(files) - 1} there already, 0 failed" in again
    catalogue = load_catalogue(moved)
    assert len(load_curves(catalogue)) >= 13
    assert Judge(catalogue).samples(catalogue.records[KEY]) is not None


def test_a_contributor_cannot_put_a_file_out_of_sight(moved: Path) -> None:
    record: dict[str, Any] = read_json(next(moved.glob(f"evaluations/*/{KEY}.json")))
    assert ("samples.url", "is written by maintainers, who move checked files; leave the file beside the record") in [
        *_new_record(record)
    ]
    before = {**record, "samples": {name: record["samples"][name] for name in ("file", "sha256")}}
    assert list(_corrected(before, record)) == []
    other = {**record, "samples": {**record["samples"], "sha256": "0" * 64}}
    assert [place for place, _ in _corrected(before, other)] == ["samples"]
