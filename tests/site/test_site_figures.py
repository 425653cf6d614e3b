"""Every table with figures, read back from its page, against ``apsite export`` and the per-sample files.

The expected figures are made here from exported rows, entry files and ``.npz`` files, not by the site's own code; only
their spelling is the site's (`apsite.numbers`).
"""

from __future__ import annotations

import csv
import json
import re
from itertools import pairwise, product
from statistics import fmean, median

import numpy as np
import pytest

from apsite.numbers import percent, signed_points
from apsite.protocol import CURVE_GAP_SIZES, CURVE_GAPS
from apsite.site.pages.compare import write_columns
from apsite.site.pages.curves import write_settings
from tests.site.exported_numbers import LABELS, envelope, find, shares, wilson
from tests.site.html_tables import PageContent

FIGURE = re.compile(r"\d+\.\d\d\b")
KINDS = ("envelope", "HO-FMN")
"""The two curves of a model, as tables name them."""
ELSEWHERE = {
    "method-index|taxonomy-[ABD]|table-[0-3]|criteria-by-pipeline": "years and counts of entries: test_site_tables.py",
    "baselines-.*|criteria-r8-.*|order-.*|seeds-.*|sample-.*|paired-.*|table-8-.*": "test_site_study.py",
    "audit-methods|audit-matrix|audit-years": "answers and counts of entries: test_site_analysis.py",
    "checkpoint-files|history-events|downloads|sample-files|updates": "files, sizes and dates: test_site_data.py",
    "fields-.*|arrays": "fields of the schemas: test_site_reference.py",
}
"""Tables without accuracies or of the study, and who tests what they hold."""


@pytest.fixture(scope="module")
def entries(repository):
    """Entry files by method key."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (repository / "entries").glob("*.json")}


def score(row) -> str:
    """Clean and robust accuracy as cells have them."""
    if row is None:
        return "–"
    robust = percent(row["aa_robust_accuracy"])
    return robust if row["clean_accuracy"] is None else f"{percent(row['clean_accuracy'])}/{robust}"


def robust_first(row) -> str:
    """The same as leaderboards have them."""
    return "/".join(reversed(score(row).split("/")))


def field(exported, entries, **words):
    """Rows of a setting that rank and are of methods, not of baselines."""
    return [
        row
        for row in exported.values()
        if row["ranks"]
        and row["aa_robust_accuracy"] is not None
        and not entries[row["method"]]["baseline"]
        and all(row[name] == value for name, value in words.items())
    ]


def test_boards_have_the_exported_figures(benchmark_pages, exported):
    tables = benchmark_pages["leaderboard.md"].tables
    percents = {"unstructured": (90, 95, 99), "structured": (50, 75, 90)}
    for (kind, steps), data in product(percents.items(), ("cifar10", "svhn")):
        for name, *cells in tables[f"board-{data}-{kind}"][2:]:
            words = {"name": name.split(maxsplit=1)[1], "dataset": data, "structure": kind, "ranks": True}
            columns = product(("resnet18", "vgg16"), steps)
            expected = [robust_first(find(exported, architecture=net, percent=step, **words)) for net, step in columns]
            assert [cell.split()[0] for cell in cells] == expected, name
    for table, data in (("board-imagenet", "ImageNet"), ("board-dense", None), ("board-baselines", "CIFAR-10")):
        head, *lines = tables[table]
        for name, *cells in lines:
            words = {"name": re.sub("^[ABD] ", "", name), "ranks": True}
            expected = []
            for title in head[1:]:
                named = re.fullmatch(r"(?:(CIFAR-10|SVHN) )?(\w+?\d+),?(?: (\d+) %)?", title)
                step = int(named[3]) if named[3] else None
                expected.append(
                    robust_first(find(exported, data=data or named[1], net=named[2], percent=step, **words))
                )
            assert [cell.split()[0] for cell in cells] == expected, (table, name)


def test_reduced_runs_have_the_exported_figures(benchmark_pages, exported):
    lines = [line[1:] for line in benchmark_pages["leaderboard.md"].tables["board-reduced"][1:]]
    names = ("clean_accuracy", "aa_robust_accuracy", "hofmn_robust_accuracy", "joint_robust_accuracy")
    expected = []
    for row in exported.values():
        if not row["ranks"]:
            clean, robust, hofmn, joint = (percent(row[name]) for name in names)
            step = f"{row['percent']} %" if row["percent"] else "–"
            place = [row["data"], row["net"], row["kind"], step]
            expected.append([*place, f"{row['n_samples']:,}", clean, robust, wilson(row), hofmn, joint])
    assert sorted(lines) == sorted(expected)


def test_home_has_the_exported_figures(benchmark_pages, exported, entries):
    tables = benchmark_pages["index.md"].tables
    leads = {name: lines for name, lines in tables.items() if name.startswith("leads-")}
    assert len(leads) == 5
    for table, (head, *lines) in leads.items():
        _, data, kind = table.split("-")
        for step, *cells in lines:
            for net, cell in zip(head[1:], cells, strict=True):
                among = field(exported, entries, dataset=data, structure=kind, net=net, percent=int(step.split()[0]))
                best = max(among, key=lambda row: row["aa_robust_accuracy"])
                assert cell.startswith(f"{best['name']} {percent(best['aa_robust_accuracy'])} {wilson(best)}")


def test_trends_have_the_exported_figures(benchmark_pages, exported):
    """Every model that ranks is in the table of its group, with the dense network that its method starts from."""
    groups = {
        path: page.tables["trend-figures"] for path, page in benchmark_pages.items() if path.startswith("charts/")
    }
    assert benchmark_pages["index.md"].tables["trend-figures"] == groups["charts/cifar10-resnet18-unstructured.md"]
    found = set()
    for path, (head, *lines) in groups.items():
        data, net, kind = path.removeprefix("charts/").removesuffix(".md").split("-")
        for name, *cells in lines:
            for column, cell in zip(head[1:], cells, strict=True):
                kinds = {"kind": "dense"} if column == "dense" else {"kind": kind, "percent": int(column.split()[0])}
                row = find(exported, dataset=data, architecture=net, name=name, ranks=True, **kinds)
                assert cell == (percent(row["aa_robust_accuracy"]) if row else "–"), (path, name, column)
                found |= {row["model_key"]} if row and row["structure"] else set()
    compared = {key for key, row in exported.items() if row["net"] != "ResNet8"}
    assert found == {key for key in compared if exported[key]["ranks"] and exported[key]["structure"]}


def test_trade_offs_have_the_exported_figures(benchmark_pages, exported):
    """Clean and robust accuracy of each group, and the models on the fronts of cost."""
    for path in (path for path in benchmark_pages if path.startswith("charts/")):
        data, net, kind = path.removeprefix("charts/").removesuffix(".md").split("-")
        tables = benchmark_pages[path].tables
        steps = tables["trend-figures"][0][1:]
        for name, *cells in tables.get("clean-figures", [])[1:]:
            expected = []
            for column in steps:
                kinds = {"kind": "dense"} if column == "dense" else {"kind": kind, "percent": int(column.split()[0])}
                row = find(exported, dataset=data, architecture=net, name=name, ranks=True, **kinds) or {}
                expected += [percent(row.get("clean_accuracy")), percent(row.get("aa_robust_accuracy"))]
            assert cells == expected, (path, name)
    fronts = {name: lines for name, lines in benchmark_pages["costs.md"].tables.items() if name.startswith("front-")}
    assert set(fronts) == {"front-cifar10-weights", "front-svhn-weights", "front-imagenet-weights"}
    for table, (_, *lines) in fronts.items():
        for label, kind, weights, _, robust, bounds in lines:
            name, code, share = label.rsplit(" ", 3 if label.endswith("%") else 2)[:3]
            net = {"R18": "resnet18", "V16": "vgg16", "R50": "resnet50"}[code]
            step = int(share) if share != "dense" else None
            words = {"dataset": table.split("-")[1], "architecture": net, "kind": kind, "percent": step}
            row = find(exported, name=name, ranks=True, **words)
            assert [robust, bounds] == [percent(row["aa_robust_accuracy"]), wilson(row)]
            assert int(weights.replace(",", "")) > 1000
        assert [float(line[4]) for line in lines] == sorted(float(line[4]) for line in lines)


def test_long_tables_have_the_exported_figures(benchmark_pages, exported):
    names = ("clean_accuracy", "aa_robust_accuracy", "hofmn_robust_accuracy", "joint_robust_accuracy")
    lines = benchmark_pages["results.md"].tables["results"][1:]
    results = [[re.sub(r" [\d.]+ %$", "", line[2]), *line[4:9]] for line in lines if len(line) > 1]
    expected = []
    for row in exported.values():
        clean, robust, hofmn, joint = (percent(row[name]) for name in names)
        setting = f"{row['data']} {row['net']}, {row['kind']}"
        expected.append([setting, robust, wilson(row), clean, hofmn, joint])
    assert sorted(results) == sorted(expected)


def test_curves_have_the_figures_of_the_samples(benchmark_pages, verdicts, exported):
    tables = benchmark_pages["curves.md"].tables
    rows = {key: row for key, row in exported.items() if key.endswith("_R8_CIFAR10_US_95")}
    first = dict(
        sorted(rows.items(), key=lambda item: -item[1]["aa_robust_accuracy"])[:4]
    )  # most that the page shows at first
    lines = {kind: sorted(line[3:] for line in tables["curve-figures"][1:] if line[1] == kind) for kind in KINDS}
    assert len(first) > 3
    assert lines["HO-FMN"] == sorted(shares(verdicts[key]) for key in first)
    assert lines["envelope"] == sorted(shares(envelope(verdicts[key])) for key in first)
    names = ("clean_accuracy", "aa_robust_accuracy", "hofmn_robust_accuracy", "joint_robust_accuracy")
    models = [[*line[2:4], line[4], *line[5:7]] for line in tables["models"][1:]]
    expected = []
    for row in rows.values():
        clean, robust, hofmn, joint = (percent(row[name]) for name in names)
        expected.append([clean, robust, wilson(row), hofmn, joint])
    assert sorted(models) == sorted(expected)


def test_settings_of_the_curves_have_the_exported_figures(benchmark_facts, exported, verdicts, tmp_path):
    write_settings(tmp_path, benchmark_facts)
    found = {}
    for path in (tmp_path / "data/curves/settings").glob("*.csv"):
        found |= {row["model_key"]: row for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}
    assert set(found) == {key for key, row in exported.items() if row["aa_robust_accuracy"] is not None}
    for key, line in found.items():
        for name in ("clean_accuracy", "aa_robust_accuracy"):
            assert line[name] == ("" if exported[key][name] is None else str(exported[key][name]))
        at = [line[f"at_{k}_255"] for k in range(17)]
        assert (
            at == [""] * 17
            if key not in verdicts
            else [percent(float(v)) for v in at] == shares(envelope(verdicts[key]))
        )


def test_curves_say_how_far_they_may_be_off(benchmark_pages):
    head, *rows = benchmark_pages["curves.md"].tables["curve-gaps"]
    assert head[1:] == [f"{size}/255" for size in CURVE_GAP_SIZES]
    assert {row[0]: tuple(map(float, row[1:])) for row in rows} == CURVE_GAPS


def test_list_of_settings_counts_models_and_curves(benchmark_pages, exported, verdicts):
    lines = benchmark_pages["curves.md"].tables["curve-settings"][1:]
    evaluated = [key for key, row in exported.items() if row["aa_robust_accuracy"] is not None]
    assert sum(int(line[1]) for line in lines) == len(evaluated)
    assert sum(int(line[2]) for line in lines if line[2] != "none") == len(set(verdicts) & set(evaluated))


def test_comparison_has_the_exported_figures(benchmark_pages, benchmark_facts, exported, entries, tmp_path):
    """The page has three columns, the files beside it every method's; both have the same cells."""
    table = benchmark_pages["compare.md"].tables["compare"]
    names = [name.split(maxsplit=1)[1] for name in table[0][1:]]
    write_columns(tmp_path, benchmark_facts)
    columns = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "data/compare").glob("*.json")]
    assert {column["key"] for column in columns} == set(entries)
    ranked = {key: row for key, row in exported.items() if row["ranks"] and row["structure"]}
    found = {cell["key"]: cell for column in columns for cell in column["cells"] if isinstance(cell, dict)}
    assert set(found) == set(ranked)
    for key, cell in found.items():
        row = ranked[key]
        assert (cell["clean"], cell["robust"]) == (row["clean_accuracy"], row["aa_robust_accuracy"])
        assert cell["interval"] == wilson(row)
    written = {column["name"]: column["cells"] for column in columns if column["name"] in names}
    assert len(written) == len(names) == 3
    lines = [cells for _, *cells in table[1:] if cells]
    for place, name in enumerate(names):
        for line, cell in zip(lines, written[name], strict=True):
            if isinstance(cell, dict):
                assert line[place].startswith(f"{score(ranked[cell['key']])} ")
            else:
                assert line[place].split()[0] == (cell or "–").split()[0]


def test_method_pages_have_the_exported_figures(benchmark_pages, exported, entries):
    for key, entry in entries.items():
        tables = benchmark_pages[f"methods/{key}.md"].tables
        own = [row for row in exported.values() if row["method"] == key]
        head, *lines = tables.get("method-results", [[]])
        assert sorted((line[0], line[1], *line[4:7]) for line in lines) == sorted(
            (row["data"], row["net"], percent(row["clean_accuracy"]), percent(row["aa_robust_accuracy"]), wilson(row))
            for row in own
        )
        for line in lines if "Rank" in head else ():
            rank, middle, best = line[-4:-1]
            if rank.startswith("–"):
                continue
            kind, step = line[2].split()[0], int(line[3].split()[0])
            settings = field(exported, entries, data=line[0], net=line[1], structure=kind, percent=step)
            robust = [row["aa_robust_accuracy"] for row in settings]
            assert middle == percent(median(robust))
            assert best == "itself" or best.startswith(percent(max(robust)))
            assert rank.endswith(f"of {len(robust)}")
        reports = tables.get("reported-figures", [[]])[1:]
        own_claims = [percent(one["robust_accuracy"]) for one in entry["reported"] if "by" not in one]
        assert [line[5] for line in reports] == own_claims
        by_others = tables.get("results-by-others", [[]])[1:]
        assert [line[6] for line in by_others] == [
            percent(one["robust_accuracy"]) for one in entry["reported"] if "by" in one
        ]
        for line in reports if not by_others else ():
            if FIGURE.match(line[6]):
                assert line[6].split()[0] in {percent(row["aa_robust_accuracy"]) for row in own}


def test_studies_have_the_exported_figures(benchmark_pages, exported, entries):
    tables = benchmark_pages["analysis.md"].tables

    def robust(**words):
        row = find(exported, ranks=True, **words)
        return None if row is None else row["aa_robust_accuracy"]

    for name, net, kind, step, _, reported, measured, at, by, difference, _ in tables["overestimation-figures"][1:]:
        if by != "this benchmark":
            (others,) = (
                one for entry in entries.values() if entry["name"] == name for one in entry["reported"]
                if one.get("by") == by and one["attack"] == "AutoAttack"
            )  # fmt: skip
            assert measured == percent(others["robust_accuracy"])
            continue
        found = robust(name=name, data="CIFAR-10", net=net, structure=kind, percent=int(at.split()[0]))
        (own,) = {
            one["robust_accuracy"] for entry in entries.values() if entry["name"] == name for one in entry["reported"]
            if (LABELS.get(one["architecture"]), one["structure"]) == (net, kind)
            and f"{100 * one['sparsity']:g} %" == step
        }  # fmt: skip
        assert (reported, measured) == (percent(own), percent(found))
        assert difference.split()[0] == signed_points(own - found)
    for name, data, net, clean, dense, *pruned, change in tables["pretrained-networks"][1:]:
        start = find(exported, name=name, data=data, net=net, percent=None)
        steps = [robust(name=name, data=data, net=net, structure="unstructured", percent=p) for p in (90, 95, 99)]
        assert (clean, dense) == (percent(start["clean_accuracy"]), percent(start["aa_robust_accuracy"]))
        assert pruned == [percent(step) for step in steps]
        if steps[0] is not None:
            assert change == signed_points(steps[0] - start["aa_robust_accuracy"])
    for setting, step, lwm, lamp, gain, below, _ in tables["baseline-criteria"][1:]:
        data, net = setting.split()
        words = {"data": data, "net": net, "structure": "unstructured", "percent": int(step.split()[0])}
        first, second = (robust(name=name, **words) for name in ("LWM", "LAMP"))
        among = [row["aa_robust_accuracy"] for row in field(exported, entries, **words)]
        assert (lwm, lamp, gain) == (percent(first), percent(second), signed_points(second - first))
        assert below == f"{sum(value < second for value in among)} of {len(among)}"
    for name, data, net, free, bound, robust_gap, _, clean_gap in tables["structure-figures"][1:]:
        words = {"name": name, "data": data, "net": net, "percent": 90}
        pair = [find(exported, structure=kind, **words) for kind in ("unstructured", "structured")]
        assert [free, bound] == [percent(row["aa_robust_accuracy"]) for row in pair]
        assert robust_gap == signed_points(pair[0]["aa_robust_accuracy"] - pair[1]["aa_robust_accuracy"])
        assert clean_gap == signed_points(pair[0]["clean_accuracy"] - pair[1]["clean_accuracy"])
    lines = tables["locality-figures"][1:]
    for setting, n_local, mean_local, best_local, n_global, mean_global, best_global, gap in lines:
        data, net, kind, step = re.fullmatch(r"(\S+) (\S+), (\w+) (\d+) %", setting).groups()
        groups = {}
        for where in ("local", "global"):
            groups[where] = [
                row["aa_robust_accuracy"]
                for row in field(exported, entries, data=data, net=net, structure=kind, percent=int(step))
                if entries[row["method"]]["specifics"]["locality"] == [where]
            ]
        local, global_ = groups["local"], groups["global"]
        assert (n_local, n_global) == (str(len(local)), str(len(global_)))
        assert (mean_local, mean_global) == (percent(fmean(local)), percent(fmean(global_)))
        assert (best_local.split()[0], best_global.split()[0]) == (percent(max(local)), percent(max(global_)))
        assert gap == signed_points(fmean(global_) - fmean(local))
    for name, net, step, shown, bounds, _ in tables["imagenet-figures"][1:]:
        row = find(exported, name=name, data="ImageNet", net=net, percent=int(step.split()[0]))
        assert (shown, bounds) == (percent(row["aa_robust_accuracy"]), wilson(row))


def test_curves_of_method_pages_have_the_figures_of_the_samples(benchmark_pages, benchmark_data, verdicts):
    checked = 0
    for path, page in benchmark_pages.items():
        method = path.removeprefix("methods/").removesuffix(".md")
        for name, lines in page.tables.items():
            if path.startswith("methods/") and re.fullmatch(r"curves-\d+", name):
                own = [
                    shares(v) for k, v in verdicts.items() if k in benchmark_data.records and k.startswith(f"{method}_")
                ]
                columns = [[line[at] for line in lines[1:]] for at in range(1, len(lines[0]), 2)]
                assert all(column in own for column in columns), path
                checked += len(columns)
    assert checked == len([key for key in verdicts if key in benchmark_data.records])
    at_budget = {f"{float((v['distance'] > np.float32(8 / 255)).mean() * 100):.1f}" for v in verdicts.values()}
    assert {line[3] for line in benchmark_pages["curves.md"].tables["readout"][1:]} <= at_budget


def test_methods_beside_baselines_have_the_exported_figures(benchmark_pages, exported, verdicts):
    checked = 0
    for path, page in benchmark_pages.items():
        for setting, magnitude, own, other, gap, common, *_ in page.tables.get("beside-baselines", [[]])[1:]:
            data, net, kind, step = re.fullmatch(r"(\S+) (\S+), (\w+), (\d+) %", setting).groups()
            words = {"data": data, "net": net, "structure": kind, "percent": int(step)}
            rows = [row for row in exported.values() if all(row[name] == value for name, value in words.items())]
            method = path.removeprefix("methods/").removesuffix(".md")
            pair = [
                {percent(row["aa_robust_accuracy"]): row["aa_robust_accuracy"] for row in rows if row[name] == value}
                for name, value in (("method", method), ("name", magnitude))
            ]
            named = (("method", method), ("name", magnitude))
            keys = [row["model_key"] for name, value in named for row in rows if row[name] == value]
            if common not in "–" and all(key in verdicts for key in keys):
                ours, theirs = (verdicts[key] for key in keys)
                both = np.intersect1d(ours["index"], theirs["index"])
                assert common == f"{len(both):,}"
                pair = [
                    {percent(share): share}
                    for share in (found["aa_robust"][np.isin(found["index"], both)].mean() for found in (ours, theirs))
                ]
            assert own in pair[0]
            assert other in pair[1]
            if not gap.startswith("–"):
                assert gap == signed_points(pair[0][own] - pair[1][other])
            checked += 1
    assert checked > 20


def test_no_table_with_figures_is_forgotten(benchmark_pages: dict[str, PageContent]):
    """A table that none of these tests reads is listed with the test that does; a new one fails here."""
    read = (
        "leads-.*|heat-.*|board-.*|results|method-results|readout|models|curve-(settings|gaps)|compare|pretrained-networks|baseline-criteria|"
        "front-.*|(trend|clean|curve|overestimation|structure|locality|imagenet|reported)-figures|"
        "results-by-others|"
        "curves-.*|beside-baselines"
    )
    attacks = re.compile(r"table-\d+")
    for path, page in benchmark_pages.items():
        for name, lines in page.tables.items():
            known = any(re.fullmatch(pattern, name) for pattern in (read, *ELSEWHERE))
            counts_of_attacks = attacks.fullmatch(name) and lines[0] == ["Attack", "Attacked", "Broken", "Robust after"]
            assert known or counts_of_attacks, f"{path}: the table {name} is read by no test"


def test_attack_by_attack_counts_are_those_of_the_samples(benchmark_pages, benchmark_data, verdicts):
    checked = 0
    for key, page in benchmark_pages.items():
        for name, lines in page.tables.items():
            if not name.startswith("table-") or lines[0][0] != "Attack":
                continue
            counts = [[int(cell.replace(",", "")) for cell in line[1:]] for line in lines[1:]]
            assert all(attacked - broken == left for attacked, broken, left in counts), key
            assert all(before[2] == after[0] for before, after in pairwise(counts)), key
            method = key.removeprefix("methods/").removesuffix(".md")
            own = [
                verdicts[k] for k, record in benchmark_data.records.items() if record.method == method and k in verdicts
            ]
            survivors = {int(verdict["aa_robust"].sum()) for verdict in own}
            assert counts[-1][2] in survivors, key
            checked += 1
    assert checked > 10
