"""Rankings and leaders: the survey's rule, ties, and what never ranks."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.catalogue import Catalogue, load_catalogue
from apsite.leaderboard import Setting, by_setting, leader_count, leaders, rankable, ranking, setting_of
from apsite.records import EvaluationRecord, record_from_json
from apsite.vocabulary import Architecture, Dataset, Structure
from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, own_document, record_document, write_data

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
    """Equal figures lead together or not at all."""
    records = field_of(*shares)
    expected = {one.model_key for one in records if sum(share > (one.robust_accuracy or 0) for share in shares) < count}
    assert leaders(records, count) == expected


def test_a_tie_for_the_last_place_leads_together() -> None:
    """Four of five are marked when the third and fourth are equal."""
    assert names_of(leaders(field_of(0.5, 0.4, 0.3, 0.3, 0.2), 3)) == {"M00", "M01", "M02", "M03"}
    assert names_of(leaders(field_of(0.5, 0.5, 0.4), 1)) == {"M00", "M01"}


def test_few_records_all_lead() -> None:
    """There is nothing to leave out."""
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
    """Pruned, attacked with AutoAttack, nothing reduced."""
    one = record_from_json(document)
    assert rankable(one) is ranks
    assert ranking([one]) == ([one] if ranks else [])


def test_a_custom_run_never_leads_however_good(tmp_path: Path) -> None:
    """It is shown elsewhere; here it neither takes a place nor moves a threshold."""
    custom = changed(record_document(f"{RIVAL}_R18_CIFAR10_US_90", clean=1.0, robust=1.0), "protocol", "custom")
    root = write_data(tmp_path, entry_document(), entry_document(RIVAL), record_document(), custom)
    catalogue = load_catalogue(root)
    ((setting, ranked),) = by_setting(catalogue).items()
    assert setting == Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 90)
    assert [one.model_key for one in ranked] == [MODEL]
    assert leaders(catalogue.records.values(), 1) == {MODEL}


def test_baselines_rank_only_on_demand(tmp_path: Path) -> None:
    """They are there to be compared with."""
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
    """No empty columns."""
    root = write_data(tmp_path, entry_document(), own_document())
    assert by_setting(load_catalogue(root)) == {}


def test_dense_networks_have_no_setting() -> None:
    """They are compared with nothing."""
    assert setting_of(record_from_json(record_document(f"{METHOD}_R18_CIFAR10_dense"))) is None
    assert setting_of(record()) == Setting(Dataset.CIFAR10, Architecture.RESNET18, Structure.UNSTRUCTURED, 90)


def test_the_survey_marks_three_unstructured_and_one_structured_leader() -> None:
    """Captions of Tables 3 to 6."""
    assert {structure: leader_count(structure) for structure in Structure} == {
        Structure.UNSTRUCTURED: 3,
        Structure.STRUCTURED: 1,
    }
