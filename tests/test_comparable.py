"""The one judge: rankings and the survey's leaders, paired tests and intervals, ranks, leads and ties."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.catalogue import Catalogue, load_catalogue
from apsite.comparable import (
    Basis,
    Contender,
    Judge,
    Outcome,
    Separation,
    Setting,
    Standings,
    Stretch,
    assumed_samples,
    by_setting,
    contender,
    doubtful,
    judge,
    judge_pairs,
    leader_count,
    leaders,
    leads_along,
    pair_test,
    paired_test,
    rankable,
    ranking,
    robust_bounds,
    setting_of,
    unranked,
)
from apsite.metrics import PairedTest, TwoProportions, holm, mcnemar_p_value, newcombe_interval, wilson_interval
from apsite.records import EvaluationRecord, record_from_json
from apsite.samples import SampleResults
from apsite.vocabulary import Architecture, Dataset, Protocol, Structure
from tests.builders import (
    METHOD,
    MODEL,
    RIVAL,
    changed,
    entry_document,
    own_document,
    record_document,
    reduced_document,
    write_data,
)

# What the survey prints in bold, by table, network and sparsity.
BOLD = {
    (3, "resnet18", 90): {"HARP", "PwoA", "FlyingBird"},
    (3, "resnet18", 95): {"RADMM", "HARP", "FlyingBird"},
    (3, "resnet18", 99): {"HYDRA", "HARP", "FlyingBird"},
    (3, "vgg16", 90): {"HYDRA", "HARP", "FlyingBird"},
    (3, "vgg16", 95): {"HYDRA", "HARP", "FlyingBird"},
    (3, "vgg16", 99): {"HARP", "TwinRep", "FlyingBird"},
    **{(4, network, percent): {"TwinRep"} for network in ("resnet18", "vgg16") for percent in (50, 75, 90)},
    (5, "resnet18", 90): {"HARP", "RobustBird", "TwinRep"},
    (5, "resnet18", 95): {"RobustBird", "TwinRep", "FlyingBird"},
    (5, "resnet18", 99): {"TwinRep"},
    (5, "vgg16", 90): {"HYDRA", "TwinRep", "FlyingBird"},
    (5, "vgg16", 95): {"HYDRA", "TwinRep", "FlyingBird"},
    (5, "vgg16", 99): {"RADMM", "HARP", "TwinRep", "FlyingBird"},
    **{(6, "resnet18", percent): {"HARP"} for percent in (50, 75, 90)},
    **{(6, "vgg16", percent): {"TwinRep"} for percent in (50, 75, 90)},
}
# The four columns in which the survey's bold face is not its own rule.
MISPRINTED = {
    (3, "resnet18", 95): {"RobustBird", "HARP", "FlyingBird"},
    (3, "vgg16", 95): {"HYDRA", "RobustBird", "FlyingBird"},
    (5, "resnet18", 99): {"TwinRep", "RobustBird", "FlyingBird"},
    (5, "vgg16", 99): {"HARP", "TwinRep", "FlyingBird"},
}


def record(method: str = METHOD, *, robust: float | None = 0.4, clean: float = 0.8) -> EvaluationRecord:
    """Published record of a method at 90 % unstructured."""
    return record_from_json(record_document(f"{method}_R18_CIFAR10_US_90", clean=clean, robust=robust))


def field_of(*robust: float) -> list[EvaluationRecord]:
    """Records of as many methods, in this order of names."""
    return [record(f"M{number:02}_Doe2024Small", robust=share) for number, share in enumerate(robust)]


def names_of(keys: set[str]) -> set[str]:
    """Method names of model keys."""
    return {key.split("_")[0] for key in keys}


def test_leaders_follow_the_survey(benchmark_data: Catalogue, printed_rows: list[dict[str, Any]]) -> None:
    """Top three by AutoAttack for unstructured, top one for structured, computed from the printed figures."""
    columns: dict[tuple[int, str, int], list[tuple[Decimal, str]]] = defaultdict(list)
    for row in printed_rows:
        if row["table"] in (3, 4, 5, 6):
            columns[row["table"], row["architecture"], row["sparsity_percent"]].append(
                (row["robust"], row["method_name"])
            )
    expected = {
        column: {name for _, name in sorted(cells, reverse=True)[: 3 if column[0] in (3, 5) else 1]}
        for column, cells in columns.items()
    }
    tables = {
        (Dataset.CIFAR10, Structure.UNSTRUCTURED): 3,
        (Dataset.CIFAR10, Structure.STRUCTURED): 4,
        (Dataset.SVHN, Structure.UNSTRUCTURED): 5,
        (Dataset.SVHN, Structure.STRUCTURED): 6,
    }
    found = {
        (tables[setting.dataset, setting.structure], setting.architecture.value, setting.percent): names_of(
            leaders(survey_records, leader_count(setting.structure))
        )
        for setting, ranked in by_setting(benchmark_data).items()
        if (setting.dataset, setting.structure) in tables
        and (survey_records := [one for one in ranked if one.provenance.source == "Piras2024Adversarial"])
    }
    assert found == expected
    assert {column: found[column] for column in MISPRINTED} == MISPRINTED
    assert {column: names for column, names in found.items() if column not in MISPRINTED} == {
        column: names for column, names in BOLD.items() if column not in MISPRINTED
    }


def test_twenty_of_the_survey_s_columns_follow_its_rule() -> None:
    """Bold face is computed and never stored; four of the 24 printed columns differ."""
    assert len(BOLD) == 24
    assert [column for column in BOLD if MISPRINTED.get(column, BOLD[column]) != BOLD[column]] == list(MISPRINTED)


def test_the_ranking_is_by_autoattack_then_clean_accuracy_then_key() -> None:
    """The order is total, so that pages do not change from build to build."""
    best = record(RIVAL, robust=0.5, clean=0.6)
    cleaner = record("B_Doe2024Small", robust=0.4, clean=0.9)
    first = record("A_Doe2024Small", robust=0.4, clean=0.8)
    second = record("C_Doe2024Small", robust=0.4, clean=0.8)
    assert ranking([second, first, cleaner, best]) == [best, cleaner, first, second]


@given(st.lists(st.integers(0, 10).map(lambda tenth: tenth / 10), max_size=8), st.integers(1, 4))
def test_leaders_are_those_that_fewer_than_count_records_beat(shares: list[float], count: int) -> None:
    records = field_of(*shares)
    expected = {one.model_key for one in records if sum(share > (one.robust_accuracy or 0) for share in shares) < count}
    assert leaders(records, count) == expected


def test_a_tie_for_the_last_place_leads_together() -> None:
    assert names_of(leaders(field_of(0.5, 0.4, 0.3, 0.3, 0.2), 3)) == {"M00", "M01", "M02", "M03"}
    assert names_of(leaders(field_of(0.5, 0.5, 0.4), 1)) == {"M00", "M01"}


def test_few_records_all_lead() -> None:
    assert leaders([], 3) == set()
    assert names_of(leaders(field_of(0.1, 0.2), 3)) == {"M00", "M01"}


@pytest.mark.parametrize(
    ("document", "ranks"),
    [
        (record_document(), True),
        (changed(record_document(), "protocol", "apb-1"), True),
        (changed(record_document(), "protocol", "custom"), False),
        (own_document(), False),
        (record_document(robust=None), False),
        (record_document(f"{METHOD}_R18_CIFAR10_dense"), False),
        (record_document(clean=None), True),
        (record_document(robust=0.0), True),
    ],
    ids=["survey", "apb-1", "custom", "own reduced run", "no AutoAttack", "dense", "no clean accuracy", "all broken"],
)
def test_what_ranks(document: dict[str, Any], ranks: bool) -> None:
    one = record_from_json(document)
    assert rankable(one) is ranks
    assert ranking([one]) == ([one] if ranks else [])


@pytest.mark.parametrize(("model_key", "why"), [
    (MODEL, []),
    (f"{METHOD}_R18_CIFAR10_US_99p5", ["other sparsity"]),
    (f"{METHOD}_R18_CIFAR10_US_93p75", ["other sparsity"]),
    (f"{METHOD}_R18_CIFAR10_US_80", ["other sparsity"]),
    (f"{METHOD}_R18_CIFAR10_S_95", ["other sparsity"]),
    (f"{METHOD}_R18_CIFAR10_SS_50", ["semi-structured"]),
    (f"{METHOD}_other-Net_CIFAR10_US_99p5", ["other network", "other sparsity"]),
    (f"{METHOD}_R18_CIFAR10_dense", []),
])  # fmt: skip
def test_what_keeps_a_record_from_ranking_has_a_label(model_key: str, why: list[str]) -> None:
    one = record_from_json(record_document(model_key))
    assert unranked(one) == why
    assert rankable(one) is (not why and one.structure is not None)
    assert unranked(record_from_json(reduced_document(model_key))) == ["reduced run", *why]


def test_a_custom_run_never_leads_however_good(tmp_path: Path) -> None:
    custom = changed(record_document(f"{RIVAL}_R18_CIFAR10_US_90", clean=1.0, robust=1.0), "protocol", "custom")
    root = write_data(tmp_path, entry_document(), entry_document(RIVAL), record_document(), custom)
    catalogue = load_catalogue(root)
    ((setting, ranked),) = by_setting(catalogue).items()
    assert setting == Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 90)
    assert [one.model_key for one in ranked] == [MODEL]
    assert leaders(catalogue.records.values(), 1) == {MODEL}


def test_baselines_rank_only_on_demand(tmp_path: Path) -> None:
    root = write_data(
        tmp_path,
        entry_document(),
        entry_document(RIVAL, baseline=True),
        record_document(),
        record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.5),
    )
    catalogue = load_catalogue(root)
    assert [one.method for one in next(iter(by_setting(catalogue).values()))] == [METHOD]
    assert [one.method for one in next(iter(by_setting(catalogue, baselines=True).values()))] == [RIVAL, METHOD]


def test_a_setting_without_a_ranked_record_is_left_out(tmp_path: Path) -> None:
    root = write_data(tmp_path, entry_document(), own_document())
    assert by_setting(load_catalogue(root)) == {}


def test_dense_networks_have_no_setting() -> None:
    assert setting_of(record_from_json(record_document(f"{METHOD}_R18_CIFAR10_dense"))) is None
    assert setting_of(record()) == Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 90)


def test_the_survey_marks_three_unstructured_and_one_structured_leader() -> None:
    """Captions of Tables 3 to 6."""
    assert {structure: leader_count(structure) for structure in Structure if structure.sparsities} == {
        Structure.UNSTRUCTURED: 3,
        Structure.STRUCTURED: 1,
    }


SIZE = 1000
THIRD = "Third_Poe2022Last"


def per_sample(robust: range, *, first: int = 0, label: int = 3) -> SampleResults:
    """Results of a thousand samples, all correct, robust at the given positions of the test set."""
    index = np.arange(first, first + SIZE, dtype=np.int32)
    return SampleResults(index, np.full(SIZE, label, np.int16), np.ones(SIZE, np.bool_), np.isin(index, robust))


@pytest.fixture
def contest() -> list[EvaluationRecord]:
    """Three models of one setting, 42, 40 and 30 % robust on a thousand samples."""
    shares = {METHOD: 0.42, RIVAL: 0.40, THIRD: 0.30}
    found = [record_from_json(record_document(f"{key}_R18_CIFAR10_US_90", robust=shares[key])) for key in shares]
    return [replace(one, results=replace(one.results, n_samples=SIZE)) for one in found]


def judged(records: list[EvaluationRecord], *robust: range) -> Standings:
    """Standings of records, the first of them with the given per-sample results."""
    given = {one.model_key: per_sample(flags) for one, flags in zip(records, robust, strict=False)}
    return judge(contender(one, given.get(one.model_key)) for one in records)


def test_paired_test_separates_what_intervals_do_not(contest: list[EvaluationRecord]) -> None:
    """Two points apart on nested samples: intervals overlap, but 20 of 20 differing samples go one way."""
    keys = [one.model_key for one in contest]
    by_intervals, by_pairs = judged(contest), judged(contest, range(420), range(400))
    plain, paired = by_intervals.between(keys[0], keys[1]), by_pairs.between(keys[0], keys[1])
    assert (plain.separated, plain.basis, plain.test) == (False, Basis.PROPORTIONS, None)
    assert (paired.separated, paired.basis) == (True, Basis.PAIRED)
    assert paired.p_value == pytest.approx(2 / 2**20)
    mixed = by_pairs.between(keys[1], keys[2])
    assert mixed.proportions == by_intervals.between(keys[1], keys[2]).proportions
    assert by_intervals.ranks == dict(zip(keys, (1, 1, 3), strict=True))
    assert by_pairs.ranks == dict(zip(keys, (1, 2, 3), strict=True))
    backwards = by_pairs.between(keys[1], keys[0])
    assert backwards.test == PairedTest(SIZE, 400, 420, 0, 20)


def test_a_lead_has_a_runner_up_a_margin_and_ties(contest: list[EvaluationRecord]) -> None:
    lead = judged(contest).lead
    assert lead is not None
    assert (lead.record, lead.runner_up, lead.tied) == (contest[0], contest[1], (contest[1],))
    assert (lead.margin, lead.bounds) == (pytest.approx(0.02), robust_bounds(contest[0]))
    assert not lead.separated
    lead = judged(contest, range(420), range(400)).lead
    assert lead is not None
    assert (lead.separated, lead.tied, lead.bases) == (True, (), {Basis.PAIRED, Basis.PROPORTIONS})
    alone = judged(contest[:1]).lead
    assert alone is not None
    assert (alone.runner_up, alone.margin, alone.separated) == (None, 0.0, False)
    assert judged([]).lead is None


def test_paired_test_ties_what_intervals_separate(contest: list[EvaluationRecord]) -> None:
    """A lead with as many samples lost as won is none, whatever an interval says."""
    standings = judged(contest, range(420), range(419, 819))
    assert not standings.between(contest[0].model_key, contest[1].model_key).separated


def test_p_values_of_a_setting_are_adjusted_together(contest: list[EvaluationRecord]) -> None:
    found = judged(contest, range(420), range(400), range(392))
    keys = [one.model_key for one in contest]
    assert found.between(keys[0], keys[2]).p_value == pytest.approx(3 * mcnemar_p_value(28, 0))
    assert found.between(keys[0], keys[1]).p_value == pytest.approx(2 * mcnemar_p_value(20, 0))
    assert found.between(keys[1], keys[2]).p_value == pytest.approx(mcnemar_p_value(8, 0))


def test_an_unknown_number_of_samples_separates_nothing(contest: list[EvaluationRecord]) -> None:
    standings = judged([replace(one, results=replace(one.results, n_samples=None)) for one in contest])
    pairs = itertools.combinations((one.model_key for one in contest), 2)
    assert {standings.between(*pair) for pair in pairs} == {Separation(Outcome.NOT_SEPARABLE, Basis.UNKNOWN)}
    assert list(standings.ranks.values()) == [1, 1, 1]
    assert standings.lead is not None
    assert [one.model_key for one in standings.lead.tied] == [one.model_key for one in contest[1:]]


@pytest.mark.parametrize(("second", "third", "outcome"), [
    (0.4400, 0.30, Outcome.LEADS),
    (0.4385, 0.4384, Outcome.PROBABLY),
    (0.4430, 0.4428, Outcome.NOT_SEPARABLE),
])  # fmt: skip
def test_a_lead_has_one_of_three_terms(second: float, third: float, outcome: Outcome) -> None:
    """On 10,000 images: 1.54 points are enough for one comparison at 5 %, but not where three are made at a time."""
    standings = judge(map(contender, field_of(0.4540, second, third)))
    assert standings.lead is not None
    assert standings.lead.over is not None
    over = standings.lead.over
    assert (over.outcome, standings.lead.separated) == (outcome, outcome is Outcome.LEADS)
    assert over.bounds == newcombe_interval((4540, 10_000), (round(second * 10_000), 10_000))
    assert (over.bounds[0] > 0) is (outcome is not Outcome.NOT_SEPARABLE)
    assert over.reversed.bounds == pytest.approx((-over.bounds[1], -over.bounds[0]))


def test_pairs_across_settings_are_adjusted_together() -> None:
    """By Newcombe's interval, with Holm for all pairs: 0.4 points of 10,000 are nothing, 1.4 are worth one test."""
    tests = [TwoProportions((4400, 10_000), (low, 10_000)) for low in (4360, 4260, 4000, 4500)]
    found = judge_pairs([*tests, None])
    terms = [Outcome.NOT_SEPARABLE, Outcome.PROBABLY, Outcome.LEADS, Outcome.NOT_SEPARABLE, Outcome.NOT_SEPARABLE]
    assert [one.outcome for one in found] == terms
    assert [one.p_value for one in found[:-1]] == holm([test.p_value for test in tests])
    assert found[-1].basis is Basis.UNKNOWN
    (alone,) = judge_pairs(tests[1:2])
    assert alone.outcome is Outcome.LEADS


def test_pairs_with_images_in_common_are_paired(contest: list[EvaluationRecord]) -> None:
    one, two, third = (
        contender(model, per_sample(flags) if flags else None)
        for model, flags in zip(contest, (range(420), range(400), None), strict=True)
    )
    found = judge_pairs([pair_test(one, two), pair_test(two, one), pair_test(one, third)])
    assert [(found.basis, found.outcome) for found in found] == [
        (Basis.PAIRED, Outcome.LEADS), (Basis.PAIRED, Outcome.NOT_SEPARABLE), (Basis.PROPORTIONS, Outcome.LEADS),
    ]  # fmt: skip
    assert found[0].test == PairedTest(SIZE, 420, 400, 20, 0)


def test_the_smaller_of_two_possible_numbers_of_samples_counts() -> None:
    """The survey leaves open whether it attacked 26,032 images of SVHN or 10,000; others who state 26,032 mean it."""
    document = record_document(f"{METHOD}_R18_SVHN_US_90")
    document["results"]["n_samples"] = 26_032
    published = record_from_json(document)
    own = replace(published, protocol=Protocol.APB_1)
    assert (assumed_samples(published), assumed_samples(own), assumed_samples(record())) == (10_000, 26_032, 10_000)
    assert (doubtful(published), doubtful(own), doubtful(record())) == (True, False, False)
    assert robust_bounds(published) == wilson_interval(4000, 10_000)


@given(st.lists(st.tuples(st.integers(3000, 5000), st.sampled_from(["published", "own", "unknown"])), max_size=6))
def test_ranks_never_contradict_the_order(given_models: list[tuple[int, str]]) -> None:
    """Whatever is known of each: of two models the more robust one is never below, and equals are equal."""
    check_ranks([(count / 10_000, kind) for count, kind in given_models])


def test_a_published_result_between_own_ones_contradicts_nothing() -> None:
    """47.00 leads 46.40 by the paired test; 45.35, known less exactly, is not first although 47.00 may be by chance."""
    assert check_ranks([(0.47, "own"), (0.464, "own"), (0.4635, "published")]) == [1, 2, 2]


def check_ranks(models: list[tuple[float, str]]) -> list[int]:
    """Places of models, most robust first; own ones are robust on the first images of 10,000."""
    index = np.arange(10_000, dtype=np.int32)
    label, correct = np.full(index.size, 3, np.int16), np.ones(index.size, np.bool_)
    found = []
    for one, (share, kind) in zip(field_of(*(share for share, _ in models)), models, strict=True):
        known = None if kind == "unknown" else index.size
        own = SampleResults(index, label, correct, index < round(share * index.size)) if kind == "own" else None
        found.append(contender(replace(one, results=replace(one.results, n_samples=known)), own))
    standings = judge(found)
    for upper, lower in itertools.combinations(standings.models, 2):
        first, second = standings.ranks[upper.key], standings.ranks[lower.key]
        assert first <= second if upper.share > lower.share else first == second
    return list(standings.ranks.values())


def test_the_images_in_common_are_paired(contest: list[EvaluationRecord]) -> None:
    """Of positions 2 to 1001 the last two are not in the other file."""
    first, second = (
        contender(one, per_sample(flags, first=start))
        for one, flags, start in zip(contest, (range(5), range(3, 1002)), (0, 2), strict=False)
    )
    assert paired_test(first, second) == PairedTest(998, first=3, second=997, only_first=1, only_second=995)


@pytest.mark.parametrize("other", [
    per_sample(range(10), first=SIZE),
    per_sample(range(10), label=4),
    per_sample(range(10), label=-1),
    replace(per_sample(range(10)), aa_robust=None),
    None,
], ids=["no image in common", "other labels", "images unknown", "no AutoAttack", "no file"])  # fmt: skip
def test_what_cannot_be_paired_is_not(contest: list[EvaluationRecord], other: SampleResults | None) -> None:
    assert paired_test(contender(contest[0], per_sample(range(10))), contender(contest[1], other)) is None


def catalogue_of(tmp_path: Path, *records: dict[str, Any]) -> Catalogue:
    """A method, and a rival that is a baseline."""
    documents = (entry_document(), entry_document(RIVAL, baseline=True), *records)
    return load_catalogue(write_data(tmp_path / "data", *documents))


def test_baselines_of_the_same_setting_are_compared(tmp_path: Path) -> None:
    own = own_document()
    path = own["model_key"].partition("_R")[2]
    found = catalogue_of(
        tmp_path,
        record_document(f"{METHOD}_R18_CIFAR10_US_95"),
        record_document(f"{RIVAL}_R18_CIFAR10_US_95", robust=0.30),
        record_document(f"{RIVAL}_V16_CIFAR10_US_95", robust=0.20),
        own,
        record_document(f"{RIVAL}_R{path}", robust=0.3),
    )
    one = Judge(found)
    ((other, separation),) = one.baselines(found.records[f"{METHOD}_R18_CIFAR10_US_95"])
    assert other.model_key == f"{RIVAL}_R18_CIFAR10_US_95"
    assert separation is not None
    assert (separation.separated, separation.basis) == (True, Basis.PROPORTIONS)
    assert one.baselines(other) == []
    ((other, separation),) = one.baselines(found.records[str(own["model_key"])])
    assert (other.model_key, separation) == (f"{RIVAL}_R{path}", None), "a reduced run and a whole one"


def test_per_sample_files_are_read_and_damaged_ones_are_missing(tmp_path: Path) -> None:
    """The judge needs none to be valid; `apsite validate` reports them."""
    found = catalogue_of(tmp_path, own_document())
    (record,) = found.records.values()
    samples = Judge(found).samples(record)
    assert samples is not None
    assert len(samples) == 8
    (found.root / "evaluations" / record.path).with_suffix(".npz").write_bytes(b"damaged")
    assert Judge(found).samples(record) is None


def test_the_repository_s_own_runs_are_paired(benchmark_data: Catalogue) -> None:
    one = Judge(benchmark_data)
    own = [record for record in benchmark_data.records.values() if record.samples is not None and record.structure]
    for record in own:
        for other, separation in one.baselines(record):
            assert separation is not None
            index = [samples.index for samples in map(one.samples, (record, other)) if samples is not None]
            if 2 * np.isin(*index).sum() < min(map(len, index)):  # one of the first images, one of a random draw
                assert separation.test is None
                continue
            assert separation.test is not None
            assert separation.test.n_samples >= 64
            assert separation.p_value is not None
            assert separation.test.p_value <= separation.p_value <= 1
            back = one.between(other, record)
            assert back is not None
            assert (back.p_value, back.separated) == (separation.p_value, separation.separated)


def test_leads_along_a_curve_are_joined_and_kept_where_equal(contest: list[EvaluationRecord]) -> None:
    """One leads up to 4, the other from 4 to 6 and never after, where both are equal; a lead of 20 of 20 is real."""
    shares = {0: (0.8, 0.6), 4: (0.3, 0.32), 5: (0.3, 0.3), 6: (0.2, 0.1)}

    def models_at(epsilon: float) -> list[Contender]:
        found = shares[int(epsilon)]
        flags = (np.arange(SIZE) < share * SIZE for share in found)
        samples = per_sample(range(0))
        return [
            Contender(one, share, SIZE, samples, robust)
            for one, share, robust in zip(contest, found, flags, strict=False)
        ]

    first, second, _ = contest
    assert leads_along(models_at, (0, 4, 5, 6, 7)) == [
        Stretch(first, 0, 4, True), Stretch(second, 4, 6, True), Stretch(first, 6, 7, True),
    ]  # fmt: skip
    assert leads_along(lambda epsilon: [models_at(5)[1], models_at(5)[0]], (0, 1, 2)) == [Stretch(second, 0, 2, False)]
    assert leads_along(lambda epsilon: [], (0, 1)) == []


def test_models_on_the_same_images_are_compared_as_each_pair_alone(contest: list[EvaluationRecord]) -> None:
    robust = np.random.default_rng(0).random((3, SIZE)) < [[0.5], [0.45], [0.4]]
    samples = [replace(per_sample(range(1)), aa_robust=flags) for flags in robust]
    standings = judge(map(contender, contest, samples))
    for upper, lower in itertools.combinations(range(3), 2):
        alone = paired_test(standings.models[upper], standings.models[lower])
        assert alone is not None
        assert standings.differences[upper, lower] == pytest.approx(alone.difference)
        assert standings.p_values[upper, lower] == alone.p_value


def test_a_model_is_tied_with_those_that_do_not_differ_from_it(benchmark_data: Catalogue) -> None:
    one, found = Judge(benchmark_data), 0
    every = [record for record in benchmark_data.records.values() if record.robust_accuracy is not None]
    for record in every:
        others = (other for other in every if other is not record)
        pairs = {other.model_key: one.between(record, other) for other in others}
        ties = {key for key, pair in pairs.items() if pair is not None and not pair.separated}
        assert {other.model_key for other in one.tied(record)} == ties
        found += len(ties)
    assert found > 100
