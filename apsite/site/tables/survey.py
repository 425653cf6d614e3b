"""What the survey says in words: sentences that pages quote, and its counts beside what its own tables hold.

Source: Piras et al., *Adversarial Pruning: A Survey and Benchmark of Pruning Methods for Adversarial Robustness*, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.entries import Entry
from apsite.keys import ModelKey
from apsite.leaderboard import Setting, ranking, setting_of
from apsite.records import EvaluationRecord
from apsite.vocabulary import Architecture, Criterion, Locality, Objective, Stage, Structure

CITATION = "Piras2024Adversarial"
"""Key of the survey in the reference list, and the source of the records made from its tables."""

METHODS = (
    "RADMM_Ye2019Adversarial", "HYDRA_Sehwag2020Hydra", "Heracles_Zhao2022NonUniform", "HARP_Zhao2023Holistic",
    "PwoA_Jian2022Pruning", "MAD_Lee2022Masking", "Sehwag19_Sehwag2019Towards", "RSR_Rakin2019Robust",
    "BNAP_Wei2021Batch", "RFP_Lim2021Robustness", "Deadwooding_Kaur2022Deadwooding", "FRE_Zhuang2023Adversarial",
    "Luo23_Luo2023Towards", "SR-GKP_Zhong2023One", "FSRP_Qian2023Robust", "Cosentino19_Cosentino2019The",
    "Li20_Li2020Towards", "Wang20_Wang2020Achieving", "RST_Fu2021Drawing", "RobustBird_Chen2021Sparsity",
    "AWT_Shi2022Finding", "TwinRep_Li2023Learning", "BCS-P_Ozdenizci2021Training", "DNR_Kundu2020Tunable",
    "InTrain_Vemparala2021Adversarial", "FlyingBird_Chen2021Sparsity",
)  # fmt: skip
"""Keys of the methods of its Table 1, in the order of that table. The survey is finished, so the list does not grow."""

MISPRINTS = {
    ("FlyingBird_Chen2021Sparsity", Architecture.RESNET18, 0.95): 0.0332,
    ("RobustBird_Chen2021Sparsity", Architecture.VGG16, 0.90): 0.0574,
}
"""Differences of its Table 9 that are not those of the two figures beside them: as printed, by method, network and
sparsity, all of unstructured pruning."""

_WRONGLY_BOLD = (
    "RADMM_Ye2019Adversarial_R18_CIFAR10_US_95",
    "HARP_Zhao2023Holistic_V16_CIFAR10_US_95",
    "RADMM_Ye2019Adversarial_V16_SVHN_US_99",
)
_WRONGLY_PLAIN = (
    "RobustBird_Chen2021Sparsity_R18_CIFAR10_US_95",
    "RobustBird_Chen2021Sparsity_V16_CIFAR10_US_95",
    "RobustBird_Chen2021Sparsity_R18_SVHN_US_99",
    "FlyingBird_Chen2021Sparsity_R18_SVHN_US_99",
)
"""Cells of Tables 3 and 5 whose type is not what the captions promise."""

_RESULT_TABLES = ("Table 3", "Table 4", "Table 5", "Table 6")
_PLANNED = 14 * 12


@dataclass(frozen=True)
class Quotation:
    """A sentence of the survey, word by word but for its reference numbers, and where it stands."""

    text: str
    place: str


QUOTATIONS = {
    "audit": Quotation(
        "[U]sing multiple attacks at once can help ward off potential optimization issues, which are more likely using "
        "a single attack or few nearly identical versions.",
        "section 4.1",
    ),
    "overestimation": Quotation(
        "Overall, compared to our AA re-evaluation, we find multiple papers overestimating the robustness.",
        "section 4.4",
    ),
    "pretrained": Quotation(
        "The pretrained models, evaluated with AutoAttack, for each of the A-methods. For PwoA, which distills on a "
        "robust pretrained model, we used the HARP robust checkpoints.",
        "caption of Table 7",
    ),
    "naive": Quotation(
        "LWM has a significant gain from using the G strategy of LAMP, to the extent that some of the more complex "
        "and time-requiring APs retain lower robustness.",
        "section 4.4",
    ),
    "structure": Quotation(
        "On the shared sparsity of 90%, except for TwinRep on CIFAR10, all the AP methods hold a constantly greater "
        "accuracy and robustness against their structured counterpart.",
        "section 4.4",
    ),
    "locality": Quotation(
        "AP methods typically reach higher adversarial robustness when they use G pruning, which is even higher when "
        "the sᵣ in each layer is optimized.",
        "section 4.4",
    ),
    "imagenet": Quotation(
        "[T]he results for US pruning […] confirm the benefits of the optimized layer-wise sparsity of HARP, compared "
        "to HYDRA.",
        "section 4.4",
    ),
}
"""What the survey concludes, by the section of the analysis page that shows its figures."""


@dataclass(frozen=True)
class Claim:
    """A statement of the survey's text beside its tables.

    Attributes:
        place: Where the survey says it.
        stated: What it says.
        found: What its tables hold, computed from the entries and records made from them.
        agrees: Whether the two agree.
    """

    place: str
    stated: str
    found: str
    agrees: bool


def claims(catalogue: Catalogue) -> list[Claim]:
    """Counts and rules of the survey's text, each held against its tables; empty if a method of Table 1 is missing."""
    if any(key not in catalogue.entries for key in METHODS):
        return []
    entries = [catalogue.entries[key] for key in METHODS]
    records = [r for r in catalogue.records.values() if r.provenance.source == CITATION]
    return [
        *_taxonomy_claims(entries),
        *_audit_claims(entries, {record.method for record in records}),
        *_result_claims(catalogue, records),
    ]


def _taxonomy_claims(entries: list[Entry]) -> list[Claim]:
    def count(fits: Callable[[Entry], bool]) -> int:
        return sum(fits(entry) for entry in entries)

    def carries(word: Locality) -> Callable[[Entry], bool]:
        return lambda entry: word in (entry.specifics.locality or ())

    unstructured = count(lambda entry: Structure.UNSTRUCTURED in entry.specifics.structure)
    structured = count(lambda entry: Structure.STRUCTURED in entry.specifics.structure)
    local, global_ = count(carries(Locality.LOCAL)), count(carries(Locality.GLOBAL))
    both = _names(e for e in entries if carries(Locality.LOCAL)(e) and carries(Locality.GLOBAL)(e))
    neither = _names(entry for entry in entries if entry.specifics.locality is None)
    importance = count(lambda entry: entry.specifics.criterion is Criterion.LIS)
    regularized = count(lambda entry: entry.specifics.criterion is Criterion.RELWM)
    most = max(count(lambda entry, word=word: entry.specifics.criterion is word) for word in Criterion)  # type: ignore[misc]
    untrained = _names(
        entry for entry in entries if entry.pipeline.stage is Stage.AFTER and not _adversarial_twice(entry)
    )
    return [
        Claim("section 3", "26 methods are surveyed.", f"{len(entries)} rows in Table 1.", len(entries) == 26),
        Claim(
            "section 3.3.1",
            "21 of 26 methods implement unstructured, 13 of 26 structured pruning.",
            f"Table 1: {unstructured} and {structured}.",
            (unstructured, structured) == (21, 13),
        ),
        Claim(
            "section 3.3.2",
            "11 of 26 methods implement local pruning, 15 of 26 adopt a global approach.",
            f"Table 1: {local} carry L, {global_} carry G; {both} carries both, {neither} neither.",
            (local, global_) == (11, 15),
        ),
        Claim(
            "section 3.3.3",
            "Two methods use RELWM, and LIS is the most common criterion.",
            f"Table 1: {regularized} use RELWM, {importance} use LIS.",
            regularized == 2 and importance == most,
        ),
        Claim(
            "section 3.2.1",
            "Every A-method uses adversarial training for pretraining and for finetuning, except SR-GKP and PwoA.",
            f"Table 1: so do all except {untrained}.",
            untrained == numbers.words(["PwoA", "SR-GKP"]),
        ),
    ]


def _audit_claims(entries: list[Entry], evaluated: set[str]) -> list[Claim]:
    audits = [(entry, entry.audit) for entry in entries if entry.audit is not None]
    attacked = sum(audit.autoattack is True for _, audit in audits)
    short = sum(audit.pgd_over_10_iterations is False for _, audit in audits)
    silent = sum(audit.pgd_over_10_iterations is None for _, audit in audits)
    curves = _names(entry for entry, audit in audits if audit.robustness_curve)
    never = _names(entry for entry, audit in audits if entry.key in evaluated and audit.autoattack is False)
    return [
        Claim(
            "section 4.1",
            "9 of 26 methods were tested with AutoAttack; the remaining 17 use PGD.",
            f"Table 2 marks {attacked} with AutoAttack.",
            attacked == 9,
        ),
        Claim(
            "section 4.1",
            "3 of 26 setups use less than 10 iterations.",
            f"Table 2 marks {short}, and says of {silent} that it is not specified.",
            short == 3,
        ),
        Claim("section 4.1", "Only HYDRA shows a robustness curve.", f"Table 2 marks {curves}.", curves == "HYDRA"),
        Claim(
            "section 4.4",
            "Of the available implementations, only RADMM and Li20 never test with AutoAttack.",
            f"Table 2 has a cross for {never}.",
            never == numbers.words(["RADMM", "Li20"]),
        ),
    ]


def _result_claims(catalogue: Catalogue, records: list[EvaluationRecord]) -> list[Claim]:
    tables = [r for r in records if r.provenance.location in _RESULT_TABLES]
    methods = {record.method for record in tables}
    kinds = {word: len({r.method for r in tables if r.structure is word}) for word in Structure}
    high = {
        record.method
        for record in tables
        if record.provenance.location == "Table 3" and record.key.percent == 99 and (record.robust_accuracy or 0) > 0.4
    }
    names = _names(catalogue.entries[key] for key in METHODS if key in high)
    exceptions = _structure_exceptions(catalogue, tables)
    places = _places(tables)
    bold = [f"{_model(catalogue, key)} ({_ordinal(places.get(key, 0))})" for key in _WRONGLY_BOLD]
    plain = [f"{_model(catalogue, key)} ({_ordinal(places.get(key, 0))})" for key in _WRONGLY_PLAIN]
    misprinted = len(MISPRINTS)
    return [
        Claim(
            "section 4.4",
            "11 implementations are available, 10 unstructured and 4 structured.",
            f"Tables 3 to 6 name {len(methods)} methods, {kinds[Structure.UNSTRUCTURED]} unstructured and "
            f"{kinds[Structure.STRUCTURED]} structured.",
            len(methods) == 11,
        ),
        Claim(
            "section 4.4",
            f"14 models for each of 12 settings, {_PLANNED} in total.",
            f"Tables 3 to 6 hold {len(tables)} values and {_PLANNED - len(tables)} dashes.",
            len(tables) == _PLANNED,
        ),
        Claim(
            "section 4.4",
            "At 90 %, all methods but TwinRep on CIFAR10 keep greater accuracy and robustness when unstructured.",
            f"Tables 3 to 6: all but {exceptions}.",
            exceptions == "TwinRep on CIFAR-10",
        ),
        Claim(
            "section 4.4",
            "FlyingBird and HARP are the only methods over 40 % robust accuracy at 99 % sparsity on CIFAR10.",
            f"Table 3: {names}.",
            high == {"HARP_Zhao2023Holistic", "FlyingBird_Chen2021Sparsity"},
        ),
        Claim(
            "captions of Tables 3 and 5",
            "The top three methods of each column are in bold.",
            f"By AutoAttack, bold without being in the first three: {', '.join(bold)}; "
            f"in the first three without being bold: {', '.join(plain)}.",
            False,
        ),
        Claim(
            "Table 9",
            "Each row prints the difference of its two figures.",
            f"{misprinted} rows do not; see the table above.",
            misprinted == 0,
        ),
    ]


def _places(tables: list[EvaluationRecord]) -> dict[str, int]:
    """Place of each model in its column of the survey's tables, by AutoAttack."""
    columns: dict[Setting | None, list[EvaluationRecord]] = {}
    for record in tables:
        columns.setdefault(setting_of(record), []).append(record)
    return {
        record.model_key: place for column in columns.values() for place, record in enumerate(ranking(column), start=1)
    }


def _model(catalogue: Catalogue, model_key: str) -> str:
    key = ModelKey.parse(model_key)
    name = catalogue.entries[key.method].name
    return f"{name} on {key.dataset.label} with {key.architecture.label} at {key.percent} %"


def _structure_exceptions(catalogue: Catalogue, tables: list[EvaluationRecord]) -> str:
    """Where structured pruning at 90 % is at least as good in a figure, as a list for a sentence."""
    at_90 = {(r.method, r.dataset, r.architecture, r.structure): r for r in tables if r.key.percent == 90}
    found: dict[str, None] = {}
    for (method, dataset, network, structure), record in at_90.items():
        other = at_90.get((method, dataset, network, Structure.STRUCTURED))
        if structure is not Structure.UNSTRUCTURED or other is None:
            continue
        name = catalogue.entries[method].name
        robust = (record.robust_accuracy or 0) > (other.robust_accuracy or 0)
        clean = (record.results.clean_accuracy or 0) > (other.results.clean_accuracy or 0)
        if not robust:
            found[f"{name} on {dataset.label}"] = None
        elif not clean:
            found[f"{name} on {dataset.label} with {network.label} (clean accuracy)"] = None
    return numbers.words(list(found))


def _adversarial_twice(entry: Entry) -> bool:
    """Whether both steps of an A-method name adversarial training alone (or with noise injection)."""
    other = {Objective.KD, Objective.NT}
    return all(step.objectives and not other & set(step.objectives) for step in entry.pipeline.steps)


def _names(entries: Iterable[Entry]) -> str:
    return numbers.words([entry.name for entry in entries])


def _ordinal(number: int) -> str:
    return f"{number}" + {1: "st", 2: "nd", 3: "rd"}.get(number, "th")
