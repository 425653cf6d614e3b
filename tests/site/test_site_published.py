"""What others have published: the survey's curves, shown only where they were imported, and never more than curves."""

from __future__ import annotations

import pickle
import re
import shutil
from dataclasses import replace

import pytest
import torch

from apsite.catalogue import load_catalogue
from apsite.documents.changes import Change
from apsite.evaluation.runs.distance_files import import_distances
from apsite.keys import ModelKey
from apsite.samples import read_samples
from apsite.vocabulary import ChangeKind
from tests.builders import MODEL
from tests.site.conftest import page_text, site_facts
from tests.site.html_tables import read_page

HARP = "HARP_Zhao2023Holistic"
KEY = ModelKey.parse(f"{HARP}_R18_CIFAR10_US_90")


@pytest.fixture
def imported(repository, tmp_path):
    """Folder with HARP's entry and records, and function that imports distances of a model into it."""
    (tmp_path / "entries").mkdir()
    shutil.copy(repository / f"entries/{HARP}.json", tmp_path / "entries")
    shutil.copytree(repository / f"evaluations/{HARP}", tmp_path / f"evaluations/{HARP}")

    def add(values=(0.0, 0.25, 0.01, 0.05), key=KEY):
        file = tmp_path / "distances.pickle"
        file.write_bytes(pickle.dumps([torch.tensor(value) for value in values]))
        return import_distances(file, key, tmp_path / "evaluations")

    return tmp_path, add


def test_pages_show_the_curves_only_once_they_are_there(imported):
    root, add = imported
    before = site_facts(load_catalogue(root))
    for path in ("curves.md", f"methods/{HARP}.md", "data.md"):
        assert "distance files" not in page_text(before, path)
    add()
    facts = site_facts(load_catalogue(root))
    (curve,) = facts.curves
    assert (curve.imported, curve.n_samples, curve.record.key) == (True, 4, KEY)

    curves = page_text(facts, "curves.md")
    assert "1 curves" not in curves
    assert "1 curve, marked " in curves
    assert "HO-FMN distance files (4 samples). Such a curve does not rank" in curves
    assert "HARP (survey)" in curves
    assert "do not say which test samples they cover" in curves
    (row,) = (row for row in read_page(curves).tables["curve-figures"] if "(survey)" in row[0])
    assert row[2:4] == ["4", "75.00"]  # three of four are broken by no perturbation of 0

    method = page_text(facts, f"methods/{HARP}.md")
    assert "These curves come from the survey" in method
    data = page_text(facts, "data.md")
    assert f"data/evaluations/{HARP}/curves/{KEY}.npz" in data
    assert "custom, distance file of the survey" in data


SNAPSHOT = re.compile(r"apsite-\d{4}-\d\d-\d\d-[0-9a-f]{8}")


def test_ranks_tables_and_areas_are_the_same_with_them(imported):
    root, add = imported
    catalogue = load_catalogue(root)
    before = site_facts(catalogue)
    add()
    after = site_facts(load_catalogue(root))
    for path in ("leaderboard.md", "results.md", "analysis.md", "baselines.md", "index.md"):
        texts = [SNAPSHOT.sub("", page_text(facts, path)) for facts in (after, before)]
        assert texts[0] == texts[1], path
    assert after.catalogue.records == catalogue.records


def test_an_own_run_is_drawn_in_place_of_an_imported_curve(tiny_data, tmp_path):
    """The model has one curve, of the samples that are known."""
    file = tmp_path / "distances.pickle"
    file.write_bytes(pickle.dumps([0.25, 0.5]))
    path = import_distances(file, ModelKey.parse(MODEL), tiny_data / "evaluations")
    assert not read_samples(path.with_suffix(".npz")).indexed
    facts = site_facts(load_catalogue(tiny_data))
    assert [(curve.record.model_key, curve.imported) for curve in facts.curves] == [(MODEL, False)]


def test_a_retracted_import_is_not_drawn(imported):
    root, add = imported
    add()
    catalogue = load_catalogue(root)
    (record,) = catalogue.curves.values()
    gone = replace(record, changes=(Change("2026-01-01", ChangeKind.RETRACTED, "Wrong."),))
    assert site_facts(replace(catalogue, curves={str(KEY): gone})).curves == []
