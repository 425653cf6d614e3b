"""Many records: pages keep their size, and show the first of what other pages have whole."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from apsite.catalogue import Catalogue
from apsite.entries import entry_from_json
from apsite.keys import ModelKey
from apsite.numbers import signed_points
from apsite.records import AttackResult
from apsite.site.charts import sparsity
from apsite.site.downloads import Snapshot
from apsite.site.page import SiteFacts
from apsite.site.pages import analysis, groups, home, leaderboard, methods, navigation, results, unlisted
from apsite.site.tables import heatmap, leaderboards, settings, studies
from apsite.vocabulary import AttackName, Dataset
from benchmarks.catalogue import NETWORKS, STRUCTURES, entry_document, run
from tests.site.conftest import site_facts
from tests.site.html_tables import read_page


def synthetic(methods: int) -> SiteFacts:
    """Facts of invented methods, each with twelve models whose numbers are drawn at random."""
    generator = np.random.default_rng(0)
    places = [(network, structure, share) for network in NETWORKS for structure in STRUCTURES
              for share in structure.sparsities]  # fmt: skip
    first = ModelKey.of("Synthetic_Doe2024Method", NETWORKS[0], Dataset.CIFAR10, *places[0][1:])
    sample, _ = run(first, generator)
    entries, records = {}, {}
    for number in range(methods):
        entry = entry_from_json(entry_document(f"Synthetic{number:04}_Doe2024Method"))
        entries[entry.key] = entry
        for network, structure, share in places:
            key = ModelKey.of(entry.key, network, Dataset.CIFAR10, structure, share)
            clean, robust = generator.integers(7000, 9000) / 10_000, generator.integers(3000, 6000) / 10_000
            found = replace(
                sample.results,
                clean_accuracy=clean,
                attacks=(AttackResult(AttackName.AUTOATTACK, robust, ()), *sample.results.attacks[1:]),
            )
            records[str(key)] = replace(
                sample, key=key, results=found, sparsity=replace(sample.sparsity, declared=share)
            )
    facts = site_facts(Catalogue(Path("nowhere"), entries, records))
    vars(facts)["snapshot"] = Snapshot("2026-01-01", 64 * "0")  # which is counted from files
    return facts


@pytest.fixture(scope="module")
def many() -> dict[int, SiteFacts]:
    """Facts of 60 and of 120 methods, so of 720 and 1,440 records."""
    return {methods: synthetic(methods) for methods in (60, 120)}


def weight(page, facts: SiteFacts) -> int:
    """Bytes of the largest of the first pages of a family, gzipped."""
    pages = islice(page.render(facts, facts.templates()), 3)
    return max(len(gzip.compress(made.text.encode())) for made in pages)


PAGES = (home.PAGE, leaderboard.PAGE, leaderboard.PARTS_PAGE, results.PAGE, groups.PAGE,
         analysis.PAGE, methods.PAGE)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_twice_the_records_make_no_heavier_page(many, page):
    small, large = weight(page, many[60]), weight(page, many[120])
    assert large < 1.15 * small
    assert large < 20_000


def test_a_long_table_of_results_shows_the_first_of_each_setting(many):
    facts = many[120]
    (page,) = results.PAGE.render(facts, facts.templates())
    rows = [row for row in read_page(page.text).tables["results"][1:] if len(row) > 1]
    assert len(rows) == 12 * (settings.FIRST // 12)
    best = {group.identity: group.rows[0].record.model_key for group in facts.results}
    assert all(f'<tr id="{key}"' in page.text for key in best.values())
    assert "starts with 96 of 1,440 rows" in page.text


def test_pages_of_settings_have_every_record_once(many, monkeypatch):
    monkeypatch.setattr(settings, "PART", 40)
    facts = many[120]
    pages = {page.path: page for page in results.SETTINGS_PAGE.render(facts, facts.templates())}
    assert len(pages) == 12 * 3
    keys = [key for page in pages.values() for key in read_page(page.text).identities if key in facts.catalogue.records]
    assert sorted(keys) == sorted(facts.catalogue.records)
    text = pages["results/R18_CIFAR10_US_90-2.md"].text
    assert 'href="R18_CIFAR10_US_90.html">1–40</a>, <b>41–80</b>, <a href="R18_CIFAR10_US_90-3.html">81–120</a>' in text


def test_a_long_leaderboard_begins_with_its_first_rows(many):
    facts = many[120]
    (page,) = leaderboard.PAGE.render(facts, facts.templates())
    parts = {part.path: part for part in leaderboard.PARTS_PAGE.render(facts, facts.templates())}
    for board in facts.boards:
        keys = [row.entry.key for row in board.rows]
        table = f"board-{board.identity}"
        assert board.shown == leaderboards.FIRST // len(facts.boards) < len(keys) == 120
        assert picked(page.text, table) == keys[: board.shown]
        assert [key for part in board.parts for key in picked(parts[f"leaderboard/{part.name}.md"].text, table)] == keys
        assert f"The first {board.shown} of 120 methods" in page.text


def test_grey_fields_of_many_methods_are_quantiles(many):
    """Seven lines, from the lowest to the highest of each column, and the page says so."""
    trend = many[120].trends[0]
    drawn = sparsity.drawing(trend, "wide", trend.first)
    heights = [float(height) for height in re.findall(r"M\S+ (\S+)h0", drawn.field)]
    assert len(heights) == 7 * len(trend.columns)
    low, high = trend.ends
    shares = [line.shares[0] for line in trend.lines]
    expected = {drawn.frame.y((share - low) / (high - low)) for share in (min(shares), max(shares))}
    assert expected <= set(heights)
    (page, *_) = groups.PAGE.render(many[120], many[120].templates())
    assert "100 % quantiles of 120 methods" in page.text
    assert len(read_page(page.text).tables["trend-figures"]) == 1 + len(trend.shown) == 41


def test_the_start_page_and_the_analysis_say_what_they_leave_out(many):
    (start,) = home.PAGE.render(many[120], many[120].templates())
    assert len(read_page(start.text).tables["heat-structured"]) == 3 + heatmap.FIRST
    assert f"The first {heatmap.FIRST} of 120 methods" in start.text
    (page,) = analysis.PAGE.render(many[120], many[120].templates())
    rows = read_page(page.text).tables["structure-figures"][1:]
    pairs = sorted(studies.structure_pairs(many[120].catalogue), key=lambda pair: -abs(pair.robust))
    assert len(rows) == analysis.LARGEST
    assert {row[5] for row in rows} == {signed_points(pair.robust) for pair in pairs[: analysis.LARGEST]}
    assert f"{analysis.LARGEST} largest differences of {len(pairs)}" in page.text


def test_the_navigation_of_many_methods_leaves_their_pages_to_the_index(many):
    few, full = (str(navigation(facts, {})) for facts in many.values())
    assert "methods/Synthetic0001_Doe2024Method.md" in few
    assert "methods/Synthetic" not in full
    assert "methods/Synthetic0001_Doe2024Method.md" in unlisted(many[120])


def picked(text: str, table: str) -> list[str]:
    """Methods of the rows of a table."""
    return re.findall(r'<tr data-pick="(\w+)"', text.partition(f'id="{table}"')[2].partition("</table>")[0])


def test_today_s_results_are_on_one_page(benchmark_facts):
    """As long as there is room for every row."""
    assert not leaderboard.members(benchmark_facts)
    assert len(benchmark_facts.catalogue.records) <= settings.WHOLE
    assert not results.members(benchmark_facts)
    assert all(group.shown == len(group.rows) for group in benchmark_facts.results)
