"""Questions that the records answer beyond the ranking. Pure functions of the catalogue; nothing is rounded here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from apsite.catalogue import Catalogue
from apsite.comparable import Setting, by_setting, ranking, setting_of
from apsite.entries import Entry, OriginalAudit, ReportedResult
from apsite.records import EvaluationRecord
from apsite.site.tables import leaderboards
from apsite.site.tables.methods import stage_order
from apsite.vocabulary import Architecture, AttackName, Dataset, Locality, Structure

_CHECKS: tuple[tuple[str, Callable[[OriginalAudit], bool | None]], ...] = (
    ("AutoAttack", lambda audit: audit.autoattack),
    ("PGD", lambda audit: audit.pgd),
    ("Another attack", lambda audit: bool(audit.others)),
    ("Several ε", lambda audit: audit.robustness_curve),
    ("PGD with over 10 iterations", lambda audit: audit.pgd_over_10_iterations),
)


@dataclass(frozen=True)
class Check:
    """How many original evaluations did something: `silent` counts the papers that do not say."""

    title: str
    yes: int
    no: int
    silent: int
    answers: tuple[bool | None, ...] = ()  # of each entry, in their order


@dataclass(frozen=True)
class Year:
    """Methods of one year of publication, and how many of them were tested with AutoAttack."""

    year: int
    methods: int
    autoattack: int


@dataclass(frozen=True)
class Remeasured:
    """A robust accuracy that a paper reports, and what AutoAttack measures.

    That is the benchmark's at the nearest sparsity that is not higher, or what others measured on that very model.
    """

    reported: ReportedResult  # as the paper has it
    measured: EvaluationRecord | None  # the benchmark's record; `None` where there is none
    others: ReportedResult | None  # what others measured with AutoAttack, where the benchmark has no record

    @property
    def robust(self) -> float | None:
        """Robust accuracy that was measured; ``None`` where nothing was."""
        found = self.measured or self.others
        return found.robust_accuracy if found else None

    @property
    def sparsity(self) -> float | None:
        """Sparsity of the model that was measured."""
        return self.measured.sparsity.declared if self.measured else self.others.sparsity if self.others else None

    @property
    def difference(self) -> float | None:
        """Reported minus measured, a fraction; ``None`` where nothing was measured."""
        return None if self.robust is None else self.reported.robust_accuracy - self.robust


@dataclass(frozen=True)
class Start:
    """The dense network that a method starts from, and what pruning makes of it."""

    entry: Entry
    dense: EvaluationRecord
    pruned: dict[float, EvaluationRecord]  # records of the unstructured networks pruned from it, by sparsity in percent

    def change(self, percent: float) -> float | None:
        """Robust accuracy at a sparsity minus that of the dense network; ``None`` where one is missing."""
        return difference(self.pruned.get(percent), self.dense)


@dataclass(frozen=True)
class Magnitude:
    """The baselines in one setting, among the methods; ``None`` where one was not evaluated."""

    setting: Setting
    uniform: EvaluationRecord | None  # lowest weight magnitude with the same sparsity in each layer
    layered: EvaluationRecord | None  # the same with the layer-wise sparsities of LAMP
    field: tuple[EvaluationRecord, ...]  # methods of the setting, most robust first

    @property
    def gain(self) -> float | None:
        """Robust accuracy that the layer-wise sparsities add."""
        return difference(self.layered, self.uniform)

    @property
    def below(self) -> tuple[EvaluationRecord, ...]:
        """Methods that are less robust than LAMP."""
        limit = self.layered.robust_accuracy if self.layered else None
        return tuple(r for r in self.field if limit is not None and (r.robust_accuracy or 0.0) < limit)


@dataclass(frozen=True)
class Pair:
    """Two models of one method at 90 % sparsity that differ in structure."""

    entry: Entry
    unstructured: EvaluationRecord
    structured: EvaluationRecord

    @property
    def robust(self) -> float:
        """Robust accuracy of the unstructured model minus that of the structured one."""
        return difference(self.unstructured, self.structured) or 0.0

    @property
    def clean(self) -> float | None:
        """Clean accuracy of the unstructured model minus that of the structured one; ``None`` where one is unknown."""
        first, second = self.unstructured.results.clean_accuracy, self.structured.results.clean_accuracy
        return None if first is None or second is None else first - second


@dataclass(frozen=True)
class Split:
    """Models of one setting by the locality of their methods, each most robust first."""

    setting: Setting
    local: tuple[EvaluationRecord, ...]
    global_: tuple[EvaluationRecord, ...]

    @property
    def means(self) -> tuple[float, float]:
        """Mean robust accuracy of the local and of the global models."""
        return mean_robust(self.local), mean_robust(self.global_)

    @property
    def leads_global(self) -> bool:
        """Whether the most robust model of the setting is a global one."""
        return (self.global_[0].robust_accuracy or 0.0) > (self.local[0].robust_accuracy or 0.0)


def difference(first: EvaluationRecord | None, second: EvaluationRecord | None) -> float | None:
    """Robust accuracy of one record minus another's; ``None`` where one is unknown."""
    if first is None or second is None or first.robust_accuracy is None or second.robust_accuracy is None:
        return None
    return first.robust_accuracy - second.robust_accuracy


def mean_robust(records: Sequence[EvaluationRecord]) -> float:
    """Mean robust accuracy of records that all have one."""
    return fmean(record.robust_accuracy or 0.0 for record in records)


def audited(catalogue: Catalogue) -> list[Entry]:
    """Methods whose original evaluation is known, those of the survey first, else as tables list them."""
    found = (entry for entry in catalogue.methods() if entry.audit is not None)
    return sorted(found, key=lambda entry: (not entry.in_survey, stage_order(entry)))


def checks(entries: Sequence[Entry]) -> list[Check]:
    """How many original evaluations pass each check, of entries with an audit."""
    audits = [entry.audit for entry in entries if entry.audit is not None]
    answers = {title: list(map(answer, audits)) for title, answer in _CHECKS}
    return [
        Check(title, found.count(True), found.count(False), found.count(None), tuple(found))
        for title, found in answers.items()
    ]


def years(entries: Sequence[Entry]) -> list[Year]:
    """Methods by year of publication, with those that were tested with AutoAttack."""
    all_methods = Counter(entry.paper.year for entry in entries)
    tested = Counter(entry.paper.year for entry in entries if entry.audit and entry.audit.autoattack)
    return [Year(year, count, tested[year]) for year, count in sorted(all_methods.items())]


def comparisons(catalogue: Catalogue, entry: Entry) -> list[Remeasured]:
    """What the authors of a method report against what was measured since."""
    found = []
    for reported in (one for one in entry.reported if one.by is None):
        place = reported.dataset, reported.architecture, reported.structure
        fitting = [
            record
            for record in catalogue.records_of(entry.key)
            if (record.dataset, record.architecture, record.structure) == place
            and record.robust_accuracy is not None
            and record.protocol.ranks
            and reported.sparsity is not None
            and record.sparsity.declared <= reported.sparsity + 1e-9
        ]
        others = (
            one
            for one in entry.reported
            if one.by
            and one.attack == AttackName.AUTOATTACK.label
            and (one.dataset, one.architecture, one.structure, one.sparsity) == (*place, reported.sparsity)
        )
        nearest = max(fitting, key=lambda record: record.sparsity.declared, default=None)
        found.append(Remeasured(reported, nearest, None if nearest else next(others, None)))
    return found


def starts(catalogue: Catalogue) -> list[Start]:
    """Dense networks of methods on the two small datasets, each with what was pruned from it."""
    found = []
    for record in leaderboards.dense(catalogue):
        shown = record.dataset in leaderboards.DATASETS and record.architecture in leaderboards.NETWORKS
        if not shown or record.robust_accuracy is None:
            continue
        pruned = {
            other.key.percent: other
            for other in catalogue.records_of(record.method)
            if (other.dataset, other.architecture) == (record.dataset, record.architecture)
            and other.structure is Structure.UNSTRUCTURED
            and other.protocol.ranks
            and other.key.percent is not None
        }
        found.append(Start(catalogue.entries[record.method], record, pruned))
    return sorted(found, key=lambda start: (start.dense.dataset, start.dense.architecture, stage_order(start.entry)))


def magnitude(catalogue: Catalogue, uniform: str, layered: str) -> list[Magnitude]:
    """Settings in which baselines were evaluated, in the order of the survey's Table 8.

    `uniform` and `layered` are the method keys of lowest weight magnitude and of its layer-wise variant.
    """
    fields = by_setting(catalogue)
    found: dict[Setting, dict[str, EvaluationRecord]] = {}
    for record in leaderboards.baselines(catalogue):
        setting = setting_of(record)
        if setting in fields and setting is not None:
            found.setdefault(setting, {})[record.method] = record
    return [
        Magnitude(setting, found[setting].get(uniform), found[setting].get(layered), tuple(fields[setting]))
        for setting in sorted(found, key=setting_order)
        if uniform in found[setting] or layered in found[setting]
    ]


def structure_pairs(catalogue: Catalogue) -> list[Pair]:
    """Models of the same method, dataset and network at 90 %, pruned both ways."""
    found = {
        (r.method, r.dataset, r.architecture, r.structure): r
        for r in catalogue.records.values()
        if r.key.percent == 90 and r.protocol.ranks and r.robust_accuracy is not None
    }
    return [
        Pair(catalogue.entries[method], record, found[method, dataset, network, Structure.STRUCTURED])
        for (method, dataset, network, structure), record in found.items()
        if structure is Structure.UNSTRUCTURED and (method, dataset, network, Structure.STRUCTURED) in found
    ]


def splits(catalogue: Catalogue) -> list[Split]:
    """Settings in which models of local and of global methods were evaluated; methods of both kinds are left out."""
    found = []
    for setting, records in sorted(by_setting(catalogue).items(), key=lambda item: setting_order(item[0])):
        parts = {
            word: tuple(r for r in records if catalogue.entries[r.method].specifics.locality == (word,))
            for word in Locality
        }
        if all(parts.values()):
            found.append(Split(setting, parts[Locality.LOCAL], parts[Locality.GLOBAL]))
    return found


def imagenet(catalogue: Catalogue) -> list[tuple[float, list[EvaluationRecord]]]:
    """ImageNet models by sparsity in percent, most robust first."""
    records = [r for r in catalogue.records.values() if r.dataset is Dataset.IMAGENET and r.structure is not None]
    percents = sorted({r.key.percent or 0 for r in ranking(records)})
    return [(percent, ranking(r for r in records if r.key.percent == percent)) for percent in percents]


def setting_order(setting: Setting) -> tuple[Dataset, Structure, Architecture, float]:
    """Order of settings in tables: dataset, structure, network, sparsity."""
    return setting.dataset, setting.structure, setting.architecture, setting.percent
