"""`apsite import-distances` as a user runs it."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from apsite.catalogue import load_catalogue
from apsite.comparable import rankable
from apsite.evaluation.runs.survey import survey_files
from apsite.evaluation.testsets import downloads
from tests.builders import METHOD
from tests.loopback import QUOTA, loopback_server

ROOT = Path(__file__).parent.parent.parent

MODEL = f"{METHOD}_R18_SVHN_US_90"


@pytest.fixture
def file(tmp_path):
    """A distance file of three samples."""
    path = tmp_path / "distances.pickle"
    path.write_bytes(pickle.dumps([torch.tensor(value) for value in (0.0, 0.25, 0.01)]))
    return path


def test_a_distance_file_becomes_a_valid_record(run, tiny_data, file):
    old = MODEL.replace(METHOD, "Tiny_Doe2024Old")
    output = tiny_data / "evaluations"
    result = run("import-distances", file, "--model-key", old, "--output", output, "--root", tiny_data)
    path = output / METHOD / "curves" / f"{MODEL}.json"
    assert result.stdout == f"Record: {path}\n"
    assert json.loads(path.read_text())["protocol"] == "custom"
    run("validate", "--root", tiny_data)
    run("show", "Tiny", "--root", tiny_data)


def test_mistakes_end_with_one_line(run, tiny_data, file, tmp_path):
    wrong = run("import-distances", file, "--model-key", "HARP", "--output", tmp_path, code=1)
    assert wrong.stderr.count("\n") == 1
    assert "is not of the form" in wrong.stderr
    unknown = MODEL.replace(METHOD, "Tine_Doe2024Small")
    assert "did you mean" in run("import-distances", file, "--model-key", unknown, "--root", tiny_data, code=1).stderr
    missing = run(
        "import-distances", tmp_path / "absent", "--model-key", MODEL, "--root", tiny_data, "--output", tmp_path, code=1
    )
    assert "cannot be read" in missing.stderr
    for usage in ((file,), ("--survey", file), ("--survey", "--model-key", MODEL), ()):
        run("import-distances", *usage, code=2)


def test_an_import_stands_beside_the_published_record_and_only_draws(run, tiny_data, file):
    """The record of the model keeps its place, rank and numbers; a maintainer's import passes every check."""
    before = run("export", "--root", tiny_data).stdout
    record = tiny_data / "evaluations" / METHOD / f"{METHOD}_R18_CIFAR10_US_90.json"
    content = record.read_bytes()
    run("import-distances", file, "--model-key", record.stem, "--output", record.parent.parent, "--root", tiny_data)
    assert record.read_bytes() == content
    assert run("export", "--root", tiny_data).stdout == before
    assert "no problem" in run("validate", "--root", tiny_data).stdout


class TestSurvey:
    """`--survey` on a server in place of Google Drive, which has files as the survey's code pickled them."""

    @pytest.fixture
    def drive(self, tmp_path, monkeypatch):
        """The server, with all files but what a test takes away or changes."""
        monkeypatch.setenv("APSITE_CACHE", str(tmp_path / "cache"))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        with loopback_server() as server:
            monkeypatch.setattr(downloads, "GOOGLE_DRIVE", f"{server.address}/uc")
            for number, one in enumerate(survey_files(), 1):
                server.drive[one.url.removeprefix("gdrive://")] = pickled(number)
            yield server

    def test_all_files_become_records_that_pass_the_checks_and_stay(self, run, drive, tmp_path):
        """The second time nothing is fetched; a record that was damaged is."""
        root = tmp_path / "data"
        shutil.copytree(ROOT / "entries", root / "entries")
        output = root / "evaluations"
        result = run("import-distances", "--survey", "--output", output)
        assert result.stdout == "48 distance files: 48 imported, 0 there already, 0 failed\n"
        assert "48 of 48: TwinRep_Li2023Learning_V16_CIFAR10_US_99" in result.stderr
        validated = run("validate", "--root", root).stdout
        assert "no problem" in validated, validated
        catalogue = load_catalogue(root)
        assert (len(catalogue.records), len(catalogue.curves)) == (0, 48)
        record = catalogue.curves["RADMM_Ye2019Adversarial_R18_CIFAR10_S_50"]
        assert record.results.n_samples == 128
        assert "listed as RADMM_Ye2019Sparsity_R18_CIFAR10_S_50 in taxonomy/distances.py" in record.notes[0]
        assert not rankable(record)

        damaged = output / record.curve_path
        damaged.with_suffix(".npz").write_bytes(b"PK")
        asked = len(drive.ranges_asked)
        again = run("import-distances", "--survey", "--output", output)
        assert again.stdout == "48 distance files: 1 imported, 47 there already, 0 failed\n"
        assert len(drive.ranges_asked) == asked + 2  # where it is, and the file
        assert not list((tmp_path / "cache").rglob("*.pickle*"))

    def test_what_fails_is_named_with_its_reason_and_stops_nothing(self, run, drive, tmp_path):
        """A page about the quota, a missing file, half a pickle, code in place of distances, and a cut connection."""
        first, missing, short, hostile, cut = (one.url.removeprefix("gdrive://") for one in survey_files()[:5])
        sentinel = tmp_path / "sentinel"
        whole = drive.drive[cut]
        drive.serve(f"uc?export=download&id={first}", QUOTA)
        for identity in (first, missing, cut):
            del drive.drive[identity]
        drive.drive[short] = drive.drive[short][:-40]
        drive.drive[hostile] = f"cos\nsystem\n(S'touch {sentinel}'\ntR.".encode()
        drive.serve_large(cut, whole, cut_after=900)
        result = run("import-distances", "--survey", "--output", tmp_path, "--quiet", code=1)
        lines = result.stdout.splitlines()
        assert lines[0] == "48 distance files: 43 imported, 0 there already, 5 failed"
        for line, one, why in zip(
            lines[1:], survey_files(), ("Too many users", "404", "not a readable pickle", "holds a", "IncompleteRead"),
            strict=False,
        ):  # fmt: skip
            assert line.startswith(f"Failed: {one.name}: ")
            assert why in line
        assert result.stderr == ""
        assert not sentinel.exists()
        assert len(list(tmp_path.glob("*/curves/*.npz"))) == 43
        drive.files.clear()
        for identity in (first, missing, short, hostile):
            drive.drive[identity] = pickled(1)
        drive.serve_large(cut, whole)
        again = run("import-distances", "--survey", "--output", tmp_path, "--quiet")
        assert again.stdout == "48 distance files: 5 imported, 43 there already, 0 failed\n"
        assert drive.ranges_asked.count("bytes=900-") == 1


def pickled(seed: int) -> bytes:
    """A distance file as the survey's code wrote it: scalars cut from the norms of one batch, some of them 0."""
    generator = torch.Generator().manual_seed(seed)
    norms = torch.rand(128, 3, generator=generator).norm(torch.inf, dim=1) / 10
    distances = []
    distances.extend(norms * (norms > 0.03))
    return pickle.dumps(distances)


def test_the_listed_files_are_those_of_published_models():
    """48 files, each listed once, of models that have a published record."""
    files = survey_files()
    assert len({one.url for one in files}) == len({one.name for one in files}) == 48
    assert {one.name for one in files} <= set(load_catalogue(ROOT).records)
