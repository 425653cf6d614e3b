"""The analysis page by value: studies on known data, tables against the records, charts against their tables."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from apsite.catalogue import load_catalogue
from apsite.numbers import MINUS, percent, signed_points
from apsite.site.pages import analysis, methods
from apsite.site.tables import studies
from tests.builders import METHOD, RIVAL, entry_document, record_document
from tests.site.conftest import site_facts


@pytest.fixture(scope="module")
def found(benchmark_facts):
    """Everything that the analysis page of the benchmark's own data is made from."""
    return analysis.context(benchmark_facts)


def chart_rows(spec):
    """Rows behind a chart, which stand in the specification itself."""
    (rows,) = [data for data in (spec.get("data"), spec["layer"][0].get("data")) if data]
    return rows["values"] if "values" in rows else spec["datasets"][rows["name"]]


def test_audit_counts_what_the_entries_say(found):
    counted = {check.title: (check.yes, check.no, check.silent) for check in found["checks"]}
    assert counted == {
        "AutoAttack": (10, 16, 0),
        "PGD": (26, 0, 0),
        "Another attack": (17, 9, 0),
        "Several ε": (1, 25, 0),
        "PGD with over 10 iterations": (21, 3, 2),
    }
    assert sum(year.methods for year in found["years"]) == 26
    assert sum(year.autoattack for year in found["years"]) == 10


def test_every_report_is_higher_than_the_measurement(found, benchmark_pages):
    """All 17 comparisons of Table 9, their differences computed; the two misprinted ones say what was printed.

    Two more compare with what RobustBench measured.
    """
    assert (found["excess"], found["measured"]) == ({"ahead": 19, "leads": 19}, 19)
    assert sum(item.others is None for _, item in found["compared"]) == 17
    rows = benchmark_pages["analysis.md"].tables["overestimation-figures"][1:]
    by_place = {(row[0], row[1], row[2], row[3]): row[-2] for row in rows}
    assert {row[-1] for row in rows} == {"yes"}
    assert by_place["FlyingBird", "ResNet18", "unstructured", "95 %"] == "+3.52 (printed +3.32)"
    assert by_place["RobustBird", "VGG16", "unstructured", "90 %"] == "+5.47 (printed +5.74)"
    assert sum("printed" in cell for cell in by_place.values()) == 2
    assert by_place["DNR", "ResNet18", "n.s.", "–"] == "+6.94"
    assert by_place["HYDRA", "WRN-28-10", "unstructured", "90 %"] == "+5.10"
    assert {row[0]: row[-3] for row in rows if row[-3] != "this benchmark"} == {
        "DNR": "RobustBench", "HYDRA": "RobustBench",
    }  # fmt: skip
    expected = sum(item.difference for _, item in found["compared"]) / 19
    assert found["mean_difference"] == pytest.approx(expected)


def test_dense_networks_and_what_was_pruned_from_them(found, benchmark_pages):
    """Twenty dense networks (Table 7) beside their pruned ones, with the change that 90 % makes."""
    assert len(found["starts"]) == 20
    rows = {tuple(row[:3]): row[3:] for row in benchmark_pages["analysis.md"].tables["pretrained-networks"][1:]}
    assert rows["HARP", "CIFAR-10", "ResNet18"] == ["81.30", "49.48", "45.40", "45.69", "45.50", f"{MINUS}4.08"]
    assert rows["RADMM", "SVHN", "ResNet18"] == ["84.90", "41.23", "–", "–", "–", "–"]
    assert percent(found["start_spread"]) == "5.98"


def test_baselines_among_the_methods(found, benchmark_pages):
    """LAMP gains between 2.37 and 6.94 points over LWM and beats two to five of ten methods (Table 8)."""
    rows = benchmark_pages["analysis.md"].tables["baseline-criteria"][1:]
    assert [row[1:6] for row in rows] == [
        ["90 %", "39.69", "42.19", "+2.50", "3 of 10"],
        ["95 %", "37.57", "39.94", "+2.37", "3 of 10"],
        ["99 %", "30.04", "36.98", "+6.94", "5 of 10"],
        ["90 %", "35.54", "40.12", "+4.58", "5 of 10"],
        ["95 %", "32.47", "37.81", "+5.34", "2 of 10"],
        ["99 %", "27.52", "33.07", "+5.55", "5 of 10"],
    ]
    assert rows[4][6] == "PwoA, RST"
    assert found["magnitude_below"] == (2, 5)


def test_structure_pairs_at_ninety_percent(found, benchmark_pages):
    """Unstructured pruning is ahead in 12 of 14 pairs, but by more than chance in nine; the tests are the judge's."""
    assert (found["more_accurate"], len(found["pairs"])) == (11, 14)
    assert found["unstructured"] == {"ahead": 12, "leads": 9, "probably": 1, "not_separable": 2}
    assert found["structured"] == {"ahead": 2, "not_separable": 2}
    rows = benchmark_pages["analysis.md"].tables["structure-figures"][1:]
    assert Counter(row[6] for row in rows) == {"yes": 9, "probably": 1, "not separable": 4}
    text = " ".join(benchmark_pages["analysis.md"].text.split())
    assert "in 12 of 14 pairs: in 9 it leads the structured one, in 1 it probably leads it and in 2 the two are" in text
    assert "in 19 of 19 comparisons: in all of them by more than chance explains." in text
    worse = {(pair.entry.name, pair.unstructured.dataset.value) for pair in found["pairs"] if pair.robust < 0}
    assert worse == {("TwinRep", "cifar10")}


def test_locality_compares_methods_that_are_one_or_the_other(data_folder):
    """Means and leads of each group; a method that is both, or does not say, is in neither."""
    both, silent = "Both_Poe2022Last", "Silent_Poe2022Last"
    specifics = entry_document()["specifics"]
    root = data_folder(
        entry_document(METHOD, specifics={**specifics, "locality": ["local"]}),
        entry_document(RIVAL, specifics={**specifics, "locality": ["global"]}),
        entry_document(both, specifics={**specifics, "locality": ["local", "global"]}),
        entry_document(silent, specifics={**specifics, "locality": None}),
        record_document(f"{METHOD}_R18_CIFAR10_US_90", robust=0.41),
        record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.45),
        record_document(f"{both}_R18_CIFAR10_US_90", robust=0.5),
        record_document(f"{silent}_R18_CIFAR10_US_90", robust=0.5),
        record_document(f"{METHOD}_R18_CIFAR10_US_95", robust=0.3),
    )
    (split,) = studies.splits(load_catalogue(root))
    assert [r.method for r in (*split.local, *split.global_)] == [METHOD, RIVAL]
    assert split.means == pytest.approx((0.41, 0.45))
    assert split.leads_global


def test_locality_on_the_benchmark(found):
    """A global method is ahead everywhere, not always by more than chance; Li20 pulls its group's mean down."""
    assert len(found["splits"]) == 27
    assert found["global_leads"] == {"ahead": 27, "leads": 20, "probably": 1, "not_separable": 3, "unknown": 3}
    assert found["global_means"] == 24


def test_imagenet_is_the_survey_s_table(benchmark_pages):
    """Table 10: HARP before HYDRA at each sparsity."""
    rows = benchmark_pages["analysis.md"].tables["imagenet-figures"][1:]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("HARP", "90 %", "23.35"), ("HYDRA", "90 %", "21.36"), ("HARP", "95 %", "22.88"),
        ("HYDRA", "95 %", "19.71"), ("HARP", "99 %", "12.56"), ("HYDRA", "99 %", "10.37"),
    ]  # fmt: skip


def test_sections_without_data_are_empty(data_folder):
    catalogue = load_catalogue(data_folder(entry_document(), record_document(robust=0.4)))
    found = analysis.context(site_facts(catalogue))
    assert found["pairs"] == found["splits"] == found["magnitude"] == []
    assert found["charts"]["imagenet"] is None


def test_quotations_are_cited(benchmark_pages):
    text = " ".join(benchmark_pages["analysis.md"].text.split())
    quoted = re.findall(r"“[^”]{60,}” ?G\. Piras et al\., 2025, (section 4\.[14]|caption of Table 7)", text)
    assert len(quoted) == 7


@pytest.mark.parametrize(
    ("chart", "table", "figures"),
    [
        ("gaps", "overestimation-figures", [5, 6]),
        ("starts", "pretrained-networks", [4, 5, 6, 7]),
        ("pairs", "structure-figures", [3, 4]),
        ("imagenet", "imagenet-figures", [3]),
    ],
)
def test_charts_show_what_their_tables_show(found, benchmark_pages, chart, table, figures):
    drawn = Counter(percent(row["robust"]) for row in chart_rows(found["charts"][chart]))
    rows = benchmark_pages["analysis.md"].tables[table][1:]
    assert drawn == Counter(row[column] for row in rows for column in figures if row[column] != "–")


def test_charts_of_groups_show_the_field(found, benchmark_data):
    magnitude = Counter(row["kind"] for row in chart_rows(found["charts"]["magnitude"]))
    assert magnitude == {"method": sum(len(item.field) for item in found["magnitude"]), "LWM": 6, "LAMP": 6}
    splits = Counter(row["kind"] for row in chart_rows(found["charts"]["splits"]))
    assert splits == {
        "local": sum(len(split.local) for split in found["splits"]),
        "global": sum(len(split.global_) for split in found["splits"]),
    }


def test_dumbbells_are_sorted_and_print_their_gap(found):
    for name, kinds in (("gaps", ("reported", "measured")), ("pairs", ("unstructured", "structured"))):
        gaps: dict[int, float] = {}
        for row in chart_rows(found["charts"][name]):
            gaps[row["order"]] = gaps.get(row["order"], 0.0) + row["robust"] * (1 if row["kind"] == kinds[0] else -1)
        assert list(gaps.values()) == sorted(gaps.values(), reverse=True) or name == "gaps"
        for row in chart_rows(found["charts"][name]):
            assert row["gap"] == signed_points(gaps[row["order"]])


def test_the_matrix_says_what_each_paper_did(benchmark_pages, found):
    head, *rows = benchmark_pages["analysis.md"].tables["audit-matrix"]
    marks = {True: "●", False: "○", None: "?"}
    assert head[1:-3] == [entry.name for entry in found["audited"]]
    for row, check in zip(rows, found["checks"], strict=True):
        assert row[1:-3] == [marks[said] for said in check.answers]
        assert row[-3:] == [str(check.yes), str(check.no), str(check.silent)]


def test_differences_of_the_page_are_those_of_the_records(benchmark_data, benchmark_pages):
    expected = Counter(signed_points(pair.robust) for pair in studies.structure_pairs(benchmark_data))
    assert Counter(row[5] for row in benchmark_pages["analysis.md"].tables["structure-figures"][1:]) == expected


def test_audit_sentence_says_what_is_known(benchmark_data, data_folder):
    entries = {entry.name: methods.audit_sentence(entry) for entry in benchmark_data.methods()}
    assert entries["HYDRA"] == (
        "Its paper tested it with AutoAttack and PGD, with more than ten iterations of PGD, at several ε."
    )
    assert entries["FRE"].endswith("Without AutoAttack, robustness may be overestimated.")
    assert "does not say how many iterations" in entries["Li20"]
    (entry,) = load_catalogue(data_folder(entry_document(audit=None))).methods()
    assert methods.audit_sentence(entry) == ""
