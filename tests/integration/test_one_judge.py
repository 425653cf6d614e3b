"""One judge: a lead that only the paired test shows is the same lead, with the same ranks, wherever it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from apsite.catalogue import load_catalogue
from apsite.cli.main import cli
from apsite.comparable import Judge
from apsite.samples import SampleResults
from tests.builders import METHOD, RIVAL, entry_document, write_data
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


def output(*arguments: str | Path) -> str:
    """What a command prints."""
    result = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def diff(root: Path, style: str) -> str:
    """What both models change in a folder that has none."""
    base = root.parent / "base"
    if not base.exists():
        write_data(base, entry_document(METHOD), entry_document(RIVAL))
    return output("diff", base, root, "--format", style)


def judged(root: Path) -> Ranks:
    """By the judge."""
    (standings,) = Judge(load_catalogue(root)).settings.values()
    lead = standings.lead
    assert lead is not None
    assert (lead.separated, lead.tied, round(lead.margin, 6)) == (True, (), 0.008)
    return standings.ranks


def shown(root: Path) -> Ranks:
    """In the leaderboard of `apsite show`."""
    found = re.findall(r"(Tiny|Rival) +│[ ★]+80\.00 / 4\d\.\d0 +(\d+)", output("show", "--root", root))
    return {{"Tiny": FIRST, "Rival": SECOND}[name]: int(rank) for name, rank in found}


def shown_alone(root: Path) -> Ranks:
    """In what `apsite show` prints about each method."""
    texts = {key: output("show", "--root", root, name) for key, name in ((FIRST, "Tiny"), (SECOND, "Rival"))}
    return {key: int(re.findall(r"4\d\.\d0 \((\d+)\)", text)[0]) for key, text in texts.items()}


def diff_text(root: Path) -> Ranks:
    """In `apsite diff`."""
    text = diff(root, "text")
    assert "first leader Tiny\n" in text
    return {
        {"Tiny": FIRST, "Rival": SECOND}[name]: int(rank)
        for rank, name in re.findall(r"rank – → (\d+) +(Tiny|Rival)", text)
    }


def diff_markdown(root: Path) -> Ranks:
    """In the comment on a pull request."""
    text = diff(root, "markdown")
    assert "first leader `Tiny`\n" in text
    return {key: int(rank) for key, rank in re.findall(r"\| `(\w+)` \| – → (\d+) \|", text)}


def diff_json(root: Path) -> Ranks:
    """For programs."""
    (setting,) = json.loads(diff(root, "json"))["settings"]
    assert setting["tied_after"] == []
    return {model["model_key"]: model["rank_after"] for model in setting["models"]}


@pytest.mark.parametrize("place", [judged, shown, shown_alone, diff_text, diff_markdown, diff_json])
def test_every_place_has_the_same_ranks(root: Path, place: Callable[[Path], Ranks]) -> None:
    """First and second, not tied: of the 80 images on which they differ, all favour the first."""
    assert place(root) == {FIRST: 1, SECOND: 2}
