"""Figures, intervals, ranks and addresses as pages spell them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite import intervals, numbers
from apsite.catalogue import load_catalogue
from apsite.intervals import field_of, interval_of, robust_bounds
from apsite.site import links
from apsite.site.charts.charts import spread
from apsite.site.charts.palette import NEUTRAL, styles
from apsite.site.pages import written
from tests.builders import METHOD, RIVAL, entry_document, record_document


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.454, "45.40"), (0.0, "0.00"), (1.0, "100.00"), (None, "–"), (0.00125, "0.12")]
)
def test_percent_has_two_digits_and_a_dash_for_nothing(fraction, text):
    """A missing figure is a dash, never a zero."""
    assert numbers.percent(fraction) == text


def test_differences_carry_their_sign():
    """A negative difference has a real minus sign."""
    assert numbers.signed_points(0.0332) == "+3.32"
    assert numbers.signed_points(-0.0137) == f"{numbers.MINUS}1.37"


@pytest.mark.parametrize(("value", "text"), [(0.9, "90 %"), (0.9375, "93.75 %"), (None, "–")])
def test_sparsity_has_no_needless_digits(value, text):
    """A declared sparsity reads as the paper prints it."""
    assert numbers.sparsity(value) == text


@pytest.mark.parametrize(("number", "text"), [(11_173_962, "11.2 M"), (999, "999"), (1500, "1.5 k"), (None, "–")])
def test_large_counts_have_three_digits(number, text):
    """Parameters and multiply-accumulates read at a glance."""
    assert numbers.large(number) == text


def test_distances_and_budgets_are_multiples_of_a_255th():
    """A distance reads in the unit of the budget."""
    assert numbers.distance(8 / 255) == "8.00/255"
    assert numbers.budget("8/255") == "8/255"
    assert numbers.budget(None) == numbers.distance(None) == "–"
    with pytest.raises(ValueError, match="fraction"):
        numbers.budget("0.03")


def test_interval_of_a_known_share():
    """The Wilson interval of 4540 of 10,000, computed by hand to four digits."""
    low, high = interval_of(0.454, 10_000) or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.4443, 0.4638)
    assert interval_of(None, 10) is None
    assert interval_of(0.5, None) is None


def test_leader_and_ties_follow_the_intervals(data_folder):
    """Overlapping intervals tie; a model wholly below does not, and ranks count who is separated above."""
    third = "Third_Poe2022Last"
    root = data_folder(
        *(entry_document(key) for key in (METHOD, RIVAL, third)),
        record_document(f"{METHOD}_R18_CIFAR10_US_90", robust=0.45),
        record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.445),
        record_document(f"{third}_R18_CIFAR10_US_90", robust=0.40),
    )
    records = list(load_catalogue(root).records.values())
    field = field_of(records)
    found = field.lead
    assert found is not None
    assert found.record.method == METHOD
    assert [record.method for record in found.tied] == [RIVAL]
    assert found.bounds == robust_bounds(found.record)
    assert sorted(field.ranks.values()) == [1, 1, 3]
    assert field_of([]).lead is None


def test_a_build_compares_each_field_once(tiny_facts, monkeypatch):
    """However many pages show ranks: the work grows with the square of the number of models."""
    compared = []

    def noted(records, *rest):
        compared.append(tuple(record.model_key for record in records))
        return field_of(records, *rest)

    monkeypatch.setattr(intervals, "field_of", noted)
    written(tiny_facts)
    assert compared
    assert len(compared) == len(set(compared))


def test_plain_order_decides_where_samples_are_unknown(data_folder):
    """Without a number of samples nothing is called a tie."""
    documents = [record_document(f"{key}_R18_CIFAR10_US_90", robust=r) for key, r in ((METHOD, 0.45), (RIVAL, 0.449))]
    for document in documents:
        document["results"]["n_samples"] = None
    root = data_folder(entry_document(), entry_document(RIVAL), *documents)
    field = field_of(list(load_catalogue(root).records.values()))
    assert [record.method for record in field.ranked] == [METHOD, RIVAL]
    assert list(field.ranks.values()) == [1, 2]
    assert field.lead is not None
    assert field.lead.tied == ()


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
    """Anything but https, or a store that translates to it, is no link."""
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
    """No two labels overlap, and a higher value never gets a lower label."""
    placed = spread(heights, 0.02, 0.0, 1.0)
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    gaps = [placed[b] - placed[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 0.02 - 1e-3 for gap in gaps)


def test_no_two_methods_look_alike():
    """Methods differ in colour, dash or shape, and neighbours differ in more than colour; comparisons are grey."""
    made = list(styles(f"m{i}" for i in range(28)).values())
    assert len(set(made)) == 28
    assert NEUTRAL not in {style.colour for style in made}
    assert styles(["a"], ["b"])["b"].colour == NEUTRAL
    assert all(a.shape != b.shape for a, b in itertools.pairwise(made))
