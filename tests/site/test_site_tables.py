"""Tables of the pages by value: what they print is what the records hold and what the survey printed."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from operator import attrgetter

import pytest

from apsite.columns import rows as export_rows
from apsite.comparable import Judge, leader_count, leaders
from apsite.numbers import percent, signed_points
from apsite.site.pages import leaderboard, taxonomy
from apsite.site.tables import heatmap, studies
from apsite.site.tables import leaderboards as results
from apsite.site.tables.methods import facets, traits
from apsite.vocabulary import Dataset, Stage, Structure
from tests.site.conftest import page_text

TABLE_OF = {
    ("cifar10", "unstructured"): 3, ("cifar10", "structured"): 4,
    ("svhn", "unstructured"): 5, ("svhn", "structured"): 6,
}  # fmt: skip


@pytest.mark.parametrize(("dataset", "structure"), TABLE_OF)
def test_leaderboard_prints_what_the_survey_prints(benchmark_pages, benchmark_data, printed_rows, dataset, structure):
    """Every cell of Tables 3 to 6, digit by digit, in its row and column."""
    board = next(
        b
        for b in results.leaderboards(benchmark_data)
        if (b.dataset, b.structure) == (Dataset(dataset), Structure(structure))
    )
    printed = {
        (row["method_name"], row["architecture"], row["sparsity_percent"]): row
        for row in printed_rows
        if row["table"] == TABLE_OF[dataset, structure]
    }
    page_rows = benchmark_pages["leaderboard.md"].tables[f"board-{board.identity}"][2:]
    seen = 0
    for row, cells in zip(board.rows, page_rows, strict=True):
        assert cells[0].endswith(row.entry.name)
        columns = [(network.value, p) for network in board.networks for p in board.percents]
        for cell, (network, sparsity) in zip(cells[1:], columns, strict=True):
            survey = printed.get((row.entry.name, network, sparsity))
            if survey is None:
                assert cell == "–"
            else:
                assert cell.split()[0] == f"{survey['robust']:.2f}/{survey['clean']:.2f}"
                seen += 1
    assert seen == len(printed)


def test_leaderboard_marks_the_first_three_and_the_first(benchmark_data):
    """Marks are computed per column by AutoAttack: three for unstructured pruning, one for structured."""
    for board in filter(attrgetter("rows"), results.leaderboards(benchmark_data)):
        for column in range(len(board.networks) * len(board.percents)):
            cells = [row.cells[column] for row in board.rows]
            expected = leaders([cell.record for cell in cells if cell.record], leader_count(board.structure))
            assert {cell.record.model_key for cell in cells if cell.leads} == expected
            assert len(expected) >= board.marked


def test_a_method_without_results_keeps_its_row(benchmark_data):
    board = next(b for b in results.leaderboards(benchmark_data) if b.identity == "svhn-structured")
    assert "RADMM" in [row.entry.name for row in board.rows]
    reasons = {entry.name: notes for entry, notes in results.missing_reasons(board)}
    assert any("no value" in note or "none" in note for note in reasons["RADMM"])


def test_all_results_prints_every_record(benchmark_pages, benchmark_data):
    page = benchmark_pages["results.md"]
    printed = Counter(
        (row[2].split(",")[0], row[6], row[4], re.split(" reduced| baseline| small network", row[0])[0])
        for row in page.tables["results"][1:]
        if len(row) > 1
    )
    expected = Counter(
        (
            f"{record.dataset.label} {record.architecture.label}", percent(row["clean_accuracy"]),
            percent(row["aa_robust_accuracy"]), row["name"],
        )
        for row, record in zip(export_rows(benchmark_data), benchmark_data.records.values(), strict=True)
    )  # fmt: skip
    assert printed == expected


def test_custom_runs_never_rank(tiny_facts):
    catalogue = tiny_facts.catalogue
    custom = [key for key, record in catalogue.records.items() if not record.protocol.ranks]
    assert custom
    ranked = {item.record.model_key: item.rank for item in results.ranked_results(Judge(catalogue), {})}
    assert all(ranked[key] is None for key in custom)
    assert {record.model_key for record in results.reduced(catalogue)} == set(custom)
    cells = [cell for board in results.leaderboards(catalogue) for row in board.rows for cell in row.cells]
    assert not {cell.record.model_key for cell in cells if cell.record} & set(custom)


def test_filters_of_the_leaderboard_count_methods_and_offer_no_empty_value(benchmark_facts):
    found = leaderboard.context(benchmark_facts)
    methods = {row.entry.key: row.entry for board in found["boards"] for row in board.rows}
    assert len(methods) == 10
    titles = {name: [title for _, title in values] for name, values in found["counted"].items()}
    stages = Counter(entry.pipeline.stage for entry in methods.values())
    assert titles["pipeline"] == [f"{s.code} · {s.value} training ({stages[s]})" for s in Stage if stages[s]]
    assert not any("(0)" in title for values in titles.values() for title in values)
    assert found["uniform"] == "published"


def test_cells_of_the_leaderboard_have_rank_and_gap(benchmark_pages, benchmark_data):
    """Rows with most leads first; HARP leads at 99 %, FlyingBird is 3.48 points below."""
    first, second, *_ = benchmark_pages["leaderboard.md"].tables["board-cifar10-unstructured"][2:]
    assert (first[0], second[0]) == ("D FlyingBird", "A HARP")
    assert [first[1], second[1], first[3]] == [
        "46.49/80.69 1 · leader", f"45.40/83.38 1= · {signed_points(-0.0109)}",
        f"42.02/75.40 2 · {signed_points(-0.0348)}",
    ]  # fmt: skip


def test_home_names_the_leaders(benchmark_pages, benchmark_data):
    page = benchmark_pages["index.md"]
    for setting, standings in Judge(benchmark_data).settings.items():
        found = standings.lead
        assert found is not None
        table = page.tables[f"leads-{setting.dataset.value}-{setting.structure.value}"]
        row = next(cells for cells in table if cells[0] == f"{setting.percent} %")
        place = results.NETWORKS.index(setting.architecture) if setting.architecture in results.NETWORKS else 0
        cell = row[1 + place]
        assert cell.startswith(benchmark_data.entries[found.record.method].name)
        assert percent(found.record.robust_accuracy) in cell
        assert heatmap.claim(found) in cell
        assert (heatmap.claim(found) == "images unknown") == (setting.dataset is Dataset.IMAGENET)
        for other in found.tied:
            assert benchmark_data.entries[other.method].name in cell


def test_the_heat_map_has_every_ranked_result(benchmark_pages, benchmark_data):
    """Cells by value, with the mark of those tied with the leader; holes where a method has no result."""
    tables, shown = benchmark_pages["index.md"].tables, 0
    maps = heatmap.heat_maps(Judge(benchmark_data).settings, benchmark_data.entries)
    assert [len(one.rows) for one in maps] == [10, 4]
    for one in maps:
        rows = tables[f"heat-{one.structure.value}"][-len(one.rows) :]
        assert [row[0] for row in rows] == [entry.name for entry, _ in one.rows]
        for row, (_, cells) in zip(rows, one.rows, strict=True):
            for text, cell in zip(row[1:], cells, strict=True):
                mark = "=" if cell is not None and cell.tied else ""
                assert text == ("–" if cell is None else percent(cell.record.robust_accuracy) + mark)
                shown += cell is not None
        for column in range(len(one.columns)):
            found = [cells[column] for _, cells in one.rows if cells[column] is not None]
            assert max(cell.gap for cell in found) == 0
            assert sum(cell.leads for cell in found) == 1
            assert all(cell.gap == 0 for cell in found if cell.leads)
    assert shown == len(Judge(benchmark_data).ranks)


def test_the_start_page_says_what_leads_are_worth(benchmark_data):
    leads = {setting: one.lead for setting, one in Judge(benchmark_data).settings.items() if one.lead}
    who, terms = heatmap.summary(leads)
    assert [(key.split("_")[0], count) for key, count in who] == [("TwinRep", 11), ("FlyingBird", 8), ("HARP", 8)]
    assert terms == {"leads": 13, "probably": 2, "not_separable": 9, "unknown": 3}


@pytest.mark.parametrize(("gap", "shade"), [(0.0, 0), (-0.019, 0), (-0.02, 1), (-0.06, 2), (-0.15, 3), (-0.3, 4)])
def test_the_colour_follows_the_points_below_the_leader(benchmark_data, gap, shade):
    record = next(iter(benchmark_data.records.values()))
    assert heatmap.Heat(record, 1, gap, leads=False, tied=False).shade == shade


def test_strips_end_two_points_above_the_leader(benchmark_data):
    record = benchmark_data.records["HARP_Zhao2023Holistic_R18_CIFAR10_US_99"]
    best = record.robust_accuracy
    assert heatmap.strip(record, (best, best), best).share == pytest.approx(83.3)
    assert heatmap.strip(record, (best, best), best + 0.2) is None
    assert heatmap.strip(record, None, best) is None


def test_taxonomy_tables_hold_the_survey_s_methods(benchmark_pages, benchmark_data):
    page = benchmark_pages["taxonomy.md"]
    lines = {s: page.tables[f"taxonomy-{s.code}"] for s in Stage}
    column = lines[Stage.AFTER][0].index("Since the survey") - len(lines[Stage.AFTER][0])
    surveyed = {s.code: [row for row in found[1:] if row[column] == "–"] for s, found in lines.items()}
    assert {code: len(found) for code, found in surveyed.items()} == {"A": 15, "B": 6, "D": 5}
    table = {row[0]: row[1:] for found in lines.values() for row in found[1:]}
    added = {name for name, row in table.items() if row[column] == "added"}
    assert added == {entry.name for entry in benchmark_data.methods() if not entry.in_survey}
    assert table["ANP-VS"][:4] == ["AT-PGD", "S", "G", "VM"]
    assert table["MRPF"][3:6] == ["S", "G", "n.s."]
    assert table["HARP"][:6] == ["AT-PGD + TRADES + MART", "AT-PGD + TRADES + MART", "1S", "S, US", "G", "LIS"]
    assert table["RST"][:6] == ["AT-PGD", "none", "1S", "US", "L", "LIS"]
    assert table["AWT"][2:5] == ["n.s.", "US", "n.s."]
    assert table["BCS-P"][:4] == ["AT-PGD + TRADES + AT-Unlabeled + MART + AT-Scale", "US", "L, G", "BCS"]
    assert sum(entry.in_survey for entry in benchmark_data.methods()) == 26


def test_counts_are_computed(benchmark_data):
    """The counts that Table 1 of the survey gives, whatever its text says."""
    found = {
        heading: {item.term: item.count for item in items} for heading, items in taxonomy.counts(benchmark_data).items()
    }
    assert found["Pipeline"] == {"A": 15, "B": 6, "D": 5}
    assert found["Structure"] == {"US": 21, "S": 13, "SS": 0}
    assert found["Locality"] == {"L": 10, "G": 16, "n.s.": 1}
    survey = {"LWM": 7, "SOLWM": 4, "RELWM": 2, "LIS": 11, "HGM": 1, "BCS": 1}
    assert found["Criterion"] == {**survey, "VM": 0, "IB": 0, "SO": 0}


def test_criteria_by_pipeline_name_every_method_once(benchmark_data, benchmark_pages):
    rows = taxonomy.cross(benchmark_data)
    listed = [entry for row in rows for among in row.methods for entry in among]
    assert sorted(entry.key for entry in listed) == sorted(entry.key for entry in benchmark_data.methods())
    surveyed = [[sum(entry.in_survey for entry in among) for among in row.methods] for row in rows]
    assert [sum(row[stage] for row in surveyed) for stage in range(3)] == [15, 6, 5]
    assert [sum(row) for row in surveyed] == [7, 4, 2, 11, 1, 1, 0, 0]
    printed = benchmark_pages["taxonomy.md"].tables["criteria-by-pipeline"][1:]
    names = [cell.replace("*", "").split() for row in printed for cell in row[1:] if cell != "–"]
    assert [name for cell in names for name in cell] == [entry.name for entry in listed]


def test_the_timeline_has_every_method_in_its_year(benchmark_data):
    years = [(year, entry.key) for year, among in taxonomy.timeline(benchmark_data) for entry in among]
    assert sorted(years) == sorted((entry.paper.year, entry.key) for entry in benchmark_data.methods())
    assert [year for year, _ in years] == sorted(year for year, _ in years)


def test_a_count_leads_to_its_methods(benchmark_data, benchmark_pages):
    choices = {name: {word for word, _ in words} for name, words in facets().items()}
    for items in taxonomy.counts(benchmark_data).values():
        for item in items:
            name, word = item.facet
            assert word in choices[name]
            assert f"taxonomy.html?{name}={word}#tables" in benchmark_pages["taxonomy.md"].links
            fitting = [e for e in benchmark_data.methods() if word in traits(e)[name].split()]
            assert (item.count, item.since) == tuple(
                sum(e.in_survey is is_in for e in fitting) for is_in in (True, False)
            )
            for survey in ("in", "since"):
                assert f"taxonomy.html?{name}={word}&survey={survey}#tables" in benchmark_pages["taxonomy.md"].links


def test_attacks_of_audits_are_in_the_legend(benchmark_data, benchmark_facts):
    terms = {item.term for item in taxonomy.legend(benchmark_facts.references)["Attacks"]}
    named = {attack for entry in benchmark_data.methods() if entry.audit for attack in entry.audit.others}
    assert named <= terms


def test_every_abbreviation_is_defined_with_its_citation(benchmark_pages, benchmark_facts):
    terms = {item.term: item for items in taxonomy.legend(benchmark_facts.references).values() for item in items}
    for stage in Stage:
        head, *rows = benchmark_pages["taxonomy.md"].tables[f"taxonomy-{stage.code}"]
        for row in rows:
            for cell in row[1 : head.index("Year")]:
                assert set(cell.replace(" + ", ",").replace(", ", ",").split(",")) - {"none"} <= set(terms), cell
    assert [term for term, item in terms.items() if item.reference is None] == ["NT"]


def test_comparison_takes_the_next_lower_sparsity(benchmark_data):
    radmm = next(e for e in benchmark_data.methods() if e.name == "RADMM")
    found = next(c for c in studies.comparisons(benchmark_data, radmm) if c.reported.sparsity == 0.9375)
    assert found.measured is not None
    assert found.measured.sparsity.declared == 0.9
    assert found.difference == pytest.approx(0.47 - 0.4368)
    bird = next(e for e in benchmark_data.methods() if e.name == "FlyingBird")
    assert any(c.difference == pytest.approx(0.0352) for c in studies.comparisons(benchmark_data, bird))


def test_method_page_tells_all(benchmark_pages):
    page = benchmark_pages["methods/TwinRep_Li2023Learning.md"]
    results_table = page.tables["method-results"]
    assert ["SVHN", "VGG16", "structured", "90 %", "89.61", "44.83"] in [row[:6] for row in results_table]
    assert next(row[5:] for row in page.tables["reported-figures"][1:]) == ["49.30", "42.93", "+6.37"]
    assert "prunes while it trains" in page.text
    assert "@inproceedings{Li2023Learning" in page.text
    assert len(page.tables["checkpoint-files"]) > 1


def test_links_inside_the_site_lead_somewhere(benchmark_pages):
    import posixpath

    known = {path.replace(".md", ".html") for path in benchmark_pages}
    documents = {"evaluate.html", "protocol.html", "submitting.html", "taxonomy-guide.html"}
    for path, page in benchmark_pages.items():
        for link in page.links:
            if link.startswith(("https://", "#")):
                continue
            target = posixpath.normpath(
                posixpath.join(posixpath.dirname(path), link.partition("#")[0].partition("?")[0])
            )
            assert target in known | documents or target.startswith(("data/", "feed.xml")), f"{path}: {link}"


def test_numbers_of_records_with_warnings_are_marked(benchmark_facts):
    """In the table of all results, where the open row has the words, and with its words on the page of the method."""
    for path, records in (
        ("results.md", benchmark_facts.catalogue.records.values()),
        ("methods/L1_Li2017Pruning.md", benchmark_facts.catalogue.records_of("L1_Li2017Pruning")),
    ):
        rows = page_text(benchmark_facts, path).split('<tr id="')[1:]
        found = {row.partition('"')[0]: row.partition("</tr>")[0] for row in rows}
        for record in records:
            row = found[record.model_key]
            assert ("ap-caution" in row) == bool(record.warnings)
            words = [escape(warning.message) in row for warning in record.warnings]
            assert all(words) or path == "results.md"


def test_the_index_lists_every_method_with_what_it_has(benchmark_pages, benchmark_data):
    rows = benchmark_pages["methods.md"].tables["method-index"][1:]
    counts = Counter(record.method for record in benchmark_data.records.values())
    expected = [
        (entry.name, str(entry.paper.year), str(counts[entry.key] or "–"), str(len(entry.checkpoints) or "–"))
        for entry in benchmark_data.entries.values()
    ]
    assert sorted((row[0].removesuffix(" baseline"), row[1], row[7], row[8]) for row in rows) == sorted(expected)
