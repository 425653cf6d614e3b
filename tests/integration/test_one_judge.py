"""One judge: a lead that only the paired test shows is the same lead, with the same ranks, wherever it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apsite.catalogue import load_catalogue
from apsite.comparable import Judge
from apsite.numbers import percent
from apsite.samples import SampleResults
from tests.builders import METHOD, RIVAL, entry_document, write_data
from tests.cli.conftest import apsite
from tests.site.conftest import page_text, site_facts
from tests.site.html_tables import read_page
from tests.site.synthetic import write_synthetic

SIZE = 10_000
FIRST, SECOND = (f"{key}_R18_CIFAR10_US_90" for key in (METHOD, RIVAL))
ROBUST = {FIRST: 4540, SECOND: 4460}
"""Robust images: 45.40 and 44.60 %, whose intervals overlap, and the second model's are all among the first one's."""
Ranks = dict[str, int]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two models on the same images, as runs that rank."""
    folder = write_data(tmp_path_factory.mktemp("judge"), entry_document(METHOD), entry_document(RIVAL))
    index = np.arange(SIZE, dtype=np.int32)
    for key, count in ROBUST.items():
        robust = index < count
        distance = np.where(robust, 12 / 255, np.where(index < 8000, 4 / 255, 0)).astype(np.float32)
        samples = SampleResults(
            index, (index % 10).astype(np.int16), distance > 0, robust, distance, tuning=np.zeros(SIZE, np.bool_)
        )
        write_synthetic(folder, key, samples, protocol="apb-1")
    return folder


def diff(root: Path, style: str) -> str:
    """What both models change in a folder that has none."""
    base = root.parent / "base"
    if not base.exists():
        write_data(base, entry_document(METHOD), entry_document(RIVAL))
    return apsite("diff", base, root, "--format", style).stdout


def judged(root: Path) -> Ranks:
    """By the judge."""
    (standings,) = Judge(load_catalogue(root)).settings.values()
    lead = standings.lead
    assert lead is not None
    assert (lead.separated, lead.tied, round(lead.margin, 6)) == (True, (), 0.008)
    return standings.ranks


def shown(root: Path) -> Ranks:
    """In the leaderboard of `apsite show`."""
    found = re.findall(r"(Tiny|Rival) +│[ ★]+80\.00 / 4\d\.\d0 +(\d+)", apsite("show", "--root", root).stdout)
    return {{"Tiny": FIRST, "Rival": SECOND}[name]: int(rank) for name, rank in found}


def shown_alone(root: Path) -> Ranks:
    """In what `apsite show` prints about each method."""
    texts = {key: apsite("show", "--root", root, name).stdout for key, name in ((FIRST, "Tiny"), (SECOND, "Rival"))}
    return {key: int(re.findall(r"4\d\.\d0 \((\d+)\)", text)[0]) for key, text in texts.items()}


def diff_text(root: Path, style: str = "text") -> Ranks:
    """In `apsite diff`."""
    text = diff(root, style)
    assert "first leader Tiny\n" in text
    return {
        {"Tiny": FIRST, "Rival": SECOND}[name]: int(rank)
        for rank, name in re.findall(r"rank – → (\d+) +(Tiny|Rival)", text)
    }


def diff_markdown(root: Path) -> Ranks:
    """In the comment on a pull request."""
    return diff_text(root, "markdown")


def diff_json(root: Path) -> Ranks:
    """For programs."""
    (setting,) = json.loads(diff(root, "json"))["settings"]
    assert setting["tied_after"] == []
    return {model["model_key"]: model["rank_after"] for model in setting["models"]}


def page(root: Path, path: str) -> str:
    """Markdown of a page of the site."""
    return page_text(site_facts(load_catalogue(root)), path)


def leaderboard(root: Path) -> Ranks:
    """On the leaderboard page: the title of each cell."""
    found = re.findall(r'title="rank (\d+)"><a [^>]*#(\w+)"', page(root, "leaderboard.md"))
    return {key: int(rank) for rank, key in found}


def all_results(root: Path) -> Ranks:
    """In the table of all results."""
    keys = re.findall(r'<tr id="(\w+)"', text := page(root, "results.md"))
    rows = [row for row in read_page(text).tables["results"][1:] if len(row) > 1]
    return {key: int(row[1]) for key, row in zip(keys, rows, strict=True)}


def home(root: Path) -> Ranks:
    """On the start page: the first leads by 0.80 points, and nobody is tied."""
    text = page(root, "index.md")
    assert re.search(r">\+0\.80 over <a [^>]*>Rival</a>: leads<", text)
    assert "<b>1</b> of 1 settings; <b>1</b> of these leads is beyond chance" in text
    assert "tied: " not in text
    return {FIRST: 1, SECOND: 2}


def method(root: Path) -> Ranks:
    """On the page of each method."""
    rows = {key: read_page(page(root, f"methods/{key.split('_R18')[0]}.md")).tables for key in ROBUST}
    return {
        key: int(next(cell for table in tables.values() for row in table for cell in row if " of 2" in cell).split()[0])
        for key, tables in rows.items()
    }


def compare(root: Path) -> Ranks:
    """Side by side: no cell names another as tied."""
    text = page(root, "compare.md")
    assert percent(0.4540) in text
    assert "data-tied" not in text
    return {FIRST: 1, SECOND: 2}


PLACES = [
    judged, shown, shown_alone, diff_text, diff_markdown, diff_json,
    leaderboard, all_results, home, method, compare,
]  # fmt: skip


def test_curves_name_no_leader_where_intervals_overlap(root: Path) -> None:
    """They compare at every ε, of which no table is made: they are more careful than the judge, never less."""
    assert "At no ε up to 16/255 is the 95 % interval of one model above" in page(root, "curves.md")


@pytest.mark.parametrize("place", PLACES)
def test_every_place_has_the_same_ranks(root: Path, place: Callable[[Path], Ranks]) -> None:
    """First and second, not tied: of the 80 images on which they differ, all favour the first."""
    assert place(root) == {FIRST: 1, SECOND: 2}
