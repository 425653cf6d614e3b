"""Tables of the study of criteria, read back from its page, against exported rows and per-sample files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from apsite.numbers import percent, signed_points
from apsite.records.ranked_images import drawn_images
from apsite.vocabulary import Dataset
from tests.site.exported_numbers import envelope, find, shares, wilson


@pytest.fixture(scope="module")
def tables(benchmark_pages):
    """Tables of the page by their identity."""
    return benchmark_pages["baselines.md"].tables


@pytest.fixture(scope="module")
def by_name(tables, exported):
    """Exported rows by criterion, structure and sparsity, with the numbers that the table of all models has."""
    table = [dict(zip(tables["baselines-r8"][0], line, strict=True)) for line in tables["baselines-r8"][1:]]
    by_name = {}
    for line in table:
        step = None if line["Structure"] == "dense" else int(line["Sparsity"].split()[0])
        rows = (row for row in exported.values() if row["net"] == "ResNet8" and row["percent"] == step)
        (row,) = (
            one
            for one in rows
            if step is None or (one["name"], one["structure"]) == (line["Criterion"], line["Structure"])
        )
        by_name[line["Criterion"], line["Structure"], line["Sparsity"]] = row
        found = [line[title].split("s")[0] for title in ("Clean", "AutoAttack", "HO-FMN", "95 % interval")]
        shares_of = (row[name] for name in ("clean_accuracy", "aa_robust_accuracy", "hofmn_robust_accuracy"))
        assert found == [*map(percent, shares_of), wilson(row)]
    assert len(by_name) == len(table)
    return by_name


def test_pairs_have_the_counts_of_the_samples_and_adjusted_p_values(tables, by_name, verdicts):
    tests: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for line in tables["paired-r8"][1:]:
        first, second, kind, step, images, one, other, only_one, only_other, gap, p_value, outcome = line
        pair = [verdicts[by_name[method, kind, step]["model_key"]] for method in (first, second)]
        common = np.intersect1d(*(found["index"] for found in pair))
        robust = [found["aa_robust"][np.isin(found["index"], common)] for found in pair]
        alone = [int((robust[0] & ~robust[1]).sum()), int((robust[1] & ~robust[0]).sum())]
        assert [images, one, other] == [f"{count:,}" for count in (len(common), *(flags.sum() for flags in robust))]
        assert [only_one, only_other] == [f"{count:,}" for count in alone]
        assert gap == signed_points((alone[0] - alone[1]) / len(common))
        chance = binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
        tests.setdefault((kind, step), []).append((chance, float(p_value), outcome))
    assert tests
    for found in tests.values():  # adjusted by Holm's method for the tests of one sparsity
        highest = 0.0
        for place, (chance, p_value, outcome) in enumerate(sorted(found)):
            highest = max(highest, min(1.0, (len(found) - place) * chance))
            assert p_value == pytest.approx(highest, rel=0.06)
            assert (outcome == "tied") == (highest >= 0.05)


def test_criteria_are_compared_on_the_images_that_all_have(tables, by_name, verdicts):
    pairs = {(*line[:2], f"{line[2].capitalize()}, {line[3]}"): line[9:] for line in tables["paired-r8"][1:]}
    for name, (head, *lines) in ((name, lines) for name, lines in tables.items() if name.startswith("criteria-r8")):
        structure = "Structured" if "-s-" in name else "Unstructured"
        for line in lines:
            row = by_name[line[0], structure.lower(), f"{name.rpartition('-')[2]} %"]
            own = verdicts[row["model_key"]]
            sampled = np.isin(own["index"], drawn_images(Dataset.CIFAR10, 1000))
            assert sampled.sum() == 1000
            robust, beyond = (
                flags[sampled].mean() for flags in (own["aa_robust"], own["distance"] > np.float32(8 / 255))
            )
            assert [line[1], line[2], line[4]] == [*map(percent, (row["clean_accuracy"], robust, beyond))]
            assert line[3] == wilson({**row, "aa_robust_accuracy": robust, "n_samples": 1000})
            for other, cell in zip(lines[1:], line[5:], strict=True):
                pair = pairs.get((line[0], other[0], f"{structure}, {name.rpartition('-')[2]} %"))
                assert (cell == "") == (pair is None)
                if pair is not None:
                    assert cell == pair[0] + (" =" if pair[2] == "tied" else "")
        assert len(head) == 4 + len(lines)


def test_the_order_is_that_of_the_survey_s_methods(tables, exported):
    for line in tables["order-r8"][1:]:
        kind, _, step = line[0].partition(" ")
        ours = [part.split()[1] for part in line[2].split(", ")]
        theirs = [part.rsplit(" ", 1) for part in line[3].split(", ")]
        words = {"net": line[1], "data": "CIFAR-10", "structure": kind, "percent": int(step.split()[0]), "ranks": True}
        assert [share for _, share in theirs] == [
            percent(find(exported, name=method, **words)["aa_robust_accuracy"]) for method, _ in theirs
        ]
        assert ours == sorted(ours, key=float, reverse=True)
        agree = [
            (float(ours[a]) - float(ours[b])) * (float(theirs[a][1]) - float(theirs[b][1]))
            for a, b in itertools.combinations(range(len(ours)), 2)
        ]
        assert line[4] == f"{sum(one > 0 for one in agree)} of {sum(one != 0 for one in agree)}"


def test_seeds_have_the_counts_of_their_samples(tables, by_name, verdicts, repository):
    for line in tables.get("seeds-r8", [[]])[1:]:
        row = by_name[line[0], "unstructured", line[1]]
        path = f"baselines/criteria-seed2/evaluations/{row['method']}/{row['model_key']}.npz"
        again = dict(np.load(repository / path))
        first = verdicts[row["model_key"]]
        robust = first["aa_robust"][np.isin(first["index"], again["index"])]
        assert line[3:6] == [
            percent(robust.mean()),
            percent(again["aa_robust"].mean()),
            signed_points(again["aa_robust"].mean() - robust.mean()),
        ]
        alone = [int((robust & ~again["aa_robust"]).sum()), int((again["aa_robust"] & ~robust).sum())]
        assert float(line[6]) == pytest.approx(binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0, rel=0.06)


def test_a_sample_is_compared_with_the_whole_set(tables):
    for line in tables["sample-r8"][1:]:
        assert line[5] == signed_points((float(line[4]) - float(line[2].split("s")[0])) / 100)


def test_lamp_and_magnitude_are_beside_the_survey_s_table(tables, exported, by_name, verdicts):
    """Ours on the images that all models have, whatever more one of them was attacked on."""
    for step, net, lwm, lamp, gain, own_lwm, own_lamp, own_gain, _ in tables["table-8-r8"][1:]:
        words = {"net": net, "data": "CIFAR-10", "percent": int(step.split()[0]), "ranks": True}
        printed = [find(exported, name=name, **words)["aa_robust_accuracy"] for name in ("LWM", "LAMP")]
        own = [verdicts[by_name[name, "unstructured", step]["model_key"]] for name in ("LWM", "LAMP")]
        drawn = drawn_images(Dataset.CIFAR10, 1000)
        ours = [found["aa_robust"][np.isin(found["index"], drawn)].mean() for found in own]
        assert [lwm, lamp, own_lwm, own_lamp] == [percent(value) for value in (*printed, *ours)]
        assert (gain, own_gain) == (signed_points(printed[1] - printed[0]), signed_points(ours[1] - ours[0]))


def test_curves_have_the_figures_of_the_samples(tables, exported, verdicts):
    drawn = [line for name, lines in tables.items() if name.startswith("curves-r8") for line in lines[1:]]
    counted = {share for key, found in verdicts.items() if key in exported for share in shares(envelope(found))}
    assert drawn
    assert {cell for line in drawn for cell in line[1:]} <= counted
