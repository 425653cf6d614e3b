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
    ("fraction", "text"), [(0.454, "45.40"), (0.0, "0.00"), (1.0, "100.00"), (None, "–"), (0.00125, "0.12")]
)
def test_percent_has_two_digits_and_a_dash_for_nothing(fraction, text):
    assert numbers.percent(fraction) == text


def test_differences_carry_their_sign():
    assert numbers.signed_points(0.0332) == "+3.32"
    assert numbers.signed_points(-0.0137) == f"{numbers.MINUS}1.37"


@pytest.mark.parametrize(("value", "text"), [(0.9, "90 %"), (0.9375, "93.75 %"), (None, "–")])
def test_sparsity_has_no_needless_digits(value, text):
    assert numbers.sparsity(value) == text


@pytest.mark.parametrize(("number", "text"), [(11_173_962, "11.2 M"), (999, "999"), (1500, "1.5 k"), (None, "–")])
def test_large_counts_have_three_digits(number, text):
    assert numbers.large(number) == text


def test_distances_and_budgets_are_multiples_of_a_255th():
    assert numbers.distance(8 / 255) == "8.00/255"
    assert numbers.budget("8/255") == "8/255"
    assert numbers.budget(None) == numbers.distance(None) == "–"
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
