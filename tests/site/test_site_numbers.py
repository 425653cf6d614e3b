"""Figures, intervals, ranks and addresses as pages spell them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite import numbers
from apsite.comparable import Judge
from apsite.site import links
from apsite.site.charts.charts import spread
from apsite.site.charts.palette import NEUTRAL, styles
from apsite.site.pages import written


@pytest.mark.parametrize(
    ("spell", "number", "text"),
    [
        (numbers.percent, 0.454, "45.40"), (numbers.percent, 0.0, "0.00"), (numbers.percent, 1.0, "100.00"),
        (numbers.percent, None, "–"), (numbers.percent, 0.00125, "0.12"), (numbers.percent, 0.29, "29.00"),
        (numbers.percent, 1 / 3, "33.33"),
        (numbers.signed_points, 0.0332, "+3.32"), (numbers.signed_points, -0.0137, f"{numbers.MINUS}1.37"),
        (numbers.sparsity, 0.9, "90 %"), (numbers.sparsity, 0.9375, "93.75 %"), (numbers.sparsity, None, "–"),
        (numbers.large, 11_173_962, "11.2 M"), (numbers.large, 999, "999"), (numbers.large, 1500, "1.5 k"),
        (numbers.large, None, "–"),
        (numbers.distance, 8 / 255, "8.00/255"), (numbers.distance, None, "–"),
        (numbers.budget, "8/255", "8/255"), (numbers.budget, None, "–"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_the_survey_prints_them(spell, number, text):
    """What is missing is a dash, never a zero."""
    assert spell(number) == text


def test_a_budget_is_a_fraction():
    with pytest.raises(ValueError, match="fraction"):
        numbers.budget("0.03")


def test_a_build_judges_each_setting_once(tiny_facts, monkeypatch):
    """However many pages show ranks: the work grows with the square of the number of models."""
    judged, standings = [], Judge.standings

    def noted(self, records):
        records = list(records)
        judged.append(tuple(record.model_key for record in records))
        return standings(self, records)

    monkeypatch.setattr(Judge, "standings", noted)
    written(tiny_facts)
    assert judged
    assert len(judged) == len(set(judged))


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("https://example.org/a", "https://example.org/a"),
        ("http://example.org", None),
        ("javascript:alert(1)", None),
        ("https://", None),
        ("https://exa mple.org", None),
        ("data:text/html,x", None),
        (None, None),
        ("hf://owner/name/folder/file.pt", "https://huggingface.co/owner/name/blob/main/folder/file.pt"),
        ("hf://owner", None),
        ("gdrive://1a_B-c", "https://drive.google.com/file/d/1a_B-c/view"),
        ("doi:10.5281/zenodo.1", "https://doi.org/10.5281/zenodo.1"),
    ],
)
def test_only_safe_addresses_become_links(address, target):
    assert links.external(address) == target


@pytest.mark.parametrize(
    ("page", "target", "address"),
    [
        ("index.md", "leaderboard.html", "leaderboard.html"),
        ("methods/A.md", "leaderboard.html#x", "../leaderboard.html#x"),
        ("methods/A.md", "methods/B.html", "B.html"),
    ],
)
def test_addresses_are_relative(page, target, address):
    """The site works under any base path and from disk."""
    assert links.relative(page, target) == address


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_keep_their_distance_and_order(heights):
    placed = spread(heights, 0.02, 0.0, 1.0)
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    gaps = [placed[b] - placed[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 0.02 - 1e-3 for gap in gaps)


def test_no_two_methods_look_alike():
    made = list(styles(f"m{i}" for i in range(28)).values())
    assert len(set(made)) == 28
    assert NEUTRAL not in {style.colour for style in made}
    assert styles(["a"], ["b"])["b"].colour == NEUTRAL
    assert all(a.shape != b.shape for a, b in itertools.pairwise(made))
