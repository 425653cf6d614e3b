"""What a change of the data does to the leaderboard: new rows, moved ranks, new leaders, ties. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from apsite.catalogue import Catalogue
from apsite.comparable import Judge, Setting, Standings, by_setting
from apsite.documents.texts import skeleton
from apsite.entries import Entry
from apsite.records import AUTHORS, EvaluationRecord
from apsite.vocabulary import ProvenanceKind

WORDS_ONLY = ("notes", "checkpoint", "granularity", "provenance", "changes", "warnings", "environment", "verification")
"""Fields of a record that can change without a new evaluation."""


@dataclass(frozen=True)
class MethodChange:
    """A method that was added, removed or edited; `fields` names what differs in its entry."""

    key: str
    name: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordChange:
    """A record before and after; ``None`` where there is none."""

    model_key: str
    name: str  # of its method
    before: EvaluationRecord | None
    after: EvaluationRecord | None
    retracted: bool = False  # the reason why there is none any more
    fields: tuple[str, ...] = ()  # names of those that differ, if both records exist

    @property
    def kind(self) -> str:
        """What happened: added, removed, retracted, superseded, re-evaluated, verified or edited."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "retracted" if self.retracted else "removed"
        if self.after.version != self.before.version:
            return "superseded"
        if set(self.fields) - set(WORDS_ONLY):
            return "re-evaluated"
        kinds = (self.before.provenance.kind, self.after.provenance.kind)
        return "verified" if kinds[0] is not kinds[1] is ProvenanceKind.VERIFIED else "edited"


@dataclass(frozen=True)
class RankChange:
    """One model in the ranking of a setting: rank and AutoAttack robust accuracy, ``None`` where it does not rank."""

    model_key: str
    name: str
    rank_before: int | None
    rank_after: int | None
    robust_before: float | None
    robust_after: float | None


@dataclass(frozen=True)
class SettingChange:
    """A ranking that differs: its leader, ``None`` if nothing ranks, those tied with it, and the models that moved."""

    setting: Setting
    leader_before: str | None
    leader_after: str | None
    tied_before: tuple[str, ...]
    tied_after: tuple[str, ...]
    models: tuple[RankChange, ...]


@dataclass(frozen=True)
class Claim:
    """A change of a method by somebody who may not speak for it, which nobody but a reviewer can decide.

    Attributes:
        key: Method key.
        name: Name of the method.
        new: Whether the method itself is new.
        authors: Authors of its paper, before the change if it is not new.
        known: Who its results were by before the change.
        fields: Names of the fields of its entry that are edited.
        models: Keys of the records that are added or changed.
        sources: Who says to have run those that are new.
    """

    key: str
    name: str
    new: bool
    authors: tuple[str, ...]
    known: tuple[str, ...]
    fields: tuple[str, ...]
    models: tuple[str, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that differs between two catalogues."""

    methods_added: tuple[MethodChange, ...]
    methods_removed: tuple[MethodChange, ...]
    methods_edited: tuple[MethodChange, ...]
    records: tuple[RecordChange, ...]
    settings: tuple[SettingChange, ...]
    claims: tuple[Claim, ...] = ()


def compare(base: Catalogue, head: Catalogue) -> Comparison:
    """What differs from `base` to `head`. Per-sample files are read where the records of a setting differ."""
    records = tuple(_record_changes(base, head))
    return Comparison(
        tuple(MethodChange(key, entry.name) for key, entry in head.entries.items() if key not in base.entries),
        tuple(MethodChange(key, entry.name) for key, entry in base.entries.items() if key not in head.entries),
        tuple(
            MethodChange(key, entry.name, _differing(base.entries[key], entry))
            for key, entry in head.entries.items()
            if key in base.entries and base.entries[key] != entry
        ),
        records,
        tuple(_setting_changes(base, head)),
        tuple(_claims(base, head, records)),
    )


def is_author(source: str, entry: Entry) -> bool:
    """Whether a text on who ran an evaluation has the surname of an author of the method's paper, or no name."""
    words = re.split(r"[\W_]+", skeleton(source))
    return source == AUTHORS or any(
        skeleton(author.split(",")[0]).split()[-1] in words for author in entry.paper.authors
    )


def _claims(base: Catalogue, head: Catalogue, records: Sequence[RecordChange]) -> Iterator[Claim]:
    """Changes of methods that were there before, and results of new ones that are not by an author of the paper."""
    for key, entry in head.entries.items():
        old = base.entries.get(key)
        fields = _differing(old, entry) if old else ()
        changed = [one for one in records if one.model_key.startswith(f"{key}_")]
        runs = [one.after for one in changed if one.after and one.kind in ("added", "superseded", "re-evaluated")]
        own = (run.provenance.source for run in runs if run.provenance.kind is not ProvenanceKind.PUBLISHED)
        sources = tuple(dict.fromkeys(own))
        if (old and (fields or changed)) or not all(is_author(source, entry) for source in sources):
            known = tuple(dict.fromkeys(record.provenance.source for record in base.records_of(key)))
            models, authors = tuple(one.model_key for one in changed), (old or entry).paper.authors
            yield Claim(key, entry.name, old is None, authors, known, fields, models, sources)


def _record_changes(base: Catalogue, head: Catalogue) -> Iterator[RecordChange]:
    for key in dict.fromkeys([*head.records, *base.records]):
        before, after = base.records.get(key), head.records.get(key)
        known = after or before
        if before == after or known is None:
            continue
        entry = head.entries.get(known.method) or base.entries[known.method]
        differing = _differing(before, after) if before and after else ()
        yield RecordChange(key, entry.name, before, after, key in head.retracted, differing)


def _setting_changes(base: Catalogue, head: Catalogue) -> Iterator[SettingChange]:
    ranked_before, ranked_after = by_setting(base), by_setting(head)
    for setting in sorted({*ranked_before, *ranked_after}):
        before, after = ranked_before.get(setting, []), ranked_after.get(setting, [])
        if before != after:
            yield from _setting_change(setting, base, head, Judge(base).standings(before), Judge(head).standings(after))


def _setting_change(
    setting: Setting, base: Catalogue, head: Catalogue, before: Standings, after: Standings
) -> Iterator[SettingChange]:
    """What differs in a ranking; nothing if ranks and robust accuracies are the same."""
    old, new = before.ranks, after.ranks
    shares_before = {model.key: model.record.robust_accuracy for model in before.models}
    shares_after = {model.key: model.record.robust_accuracy for model in after.models}
    names = {model.key: _name(base, model.record) for model in before.models}
    names |= {model.key: _name(head, model.record) for model in after.models}
    models = [
        RankChange(key, names[key], old.get(key), new.get(key), shares_before.get(key), shares_after.get(key))
        for key in names
        if (old.get(key), shares_before.get(key)) != (new.get(key), shares_after.get(key))
    ]
    if models:
        models.sort(key=lambda model: (model.rank_after or 10**6, -(model.robust_after or 0.0), model.model_key))
        (leader_before, tied_before), (leader_after, tied_after) = _lead(base, before), _lead(head, after)
        yield SettingChange(setting, leader_before, leader_after, tied_before, tied_after, tuple(models))


def _lead(catalogue: Catalogue, standings: Standings) -> tuple[str | None, tuple[str, ...]]:
    """Names of the method that leads, if any, and of those that are tied with it."""
    lead = standings.lead
    return (_name(catalogue, lead.record), tuple(_name(catalogue, tied) for tied in lead.tied)) if lead else (None, ())


def _name(catalogue: Catalogue, record: EvaluationRecord) -> str:
    return catalogue.entries[record.method].name


def _differing(before: Entry | EvaluationRecord, after: Entry | EvaluationRecord) -> tuple[str, ...]:
    """Names of the fields of two documents that are not equal."""
    return tuple(field.name for field in fields(before) if getattr(before, field.name) != getattr(after, field.name))


def comparison_to_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values: accuracies are fractions, and ``None`` is what one side does not have."""
    return {
        "methods": {
            kind: [asdict(one) for one in getattr(comparison, f"methods_{kind}")]
            for kind in ("added", "removed", "edited")
        },
        "records": [
            {**_fields(one, "retracted"), "kind": one.kind}
            | {side: _numbers(getattr(one, side)) for side in ("before", "after")}
            for one in comparison.records
        ],
        "settings": [
            {
                **{name: getattr(one.setting, name) for name in ("dataset", "architecture", "structure", "percent")},
                **_fields(one, "setting", "models"),
                "models": [asdict(model) for model in one.models],
            }
            for one in comparison.settings
        ],
        "claims": [asdict(one) for one in comparison.claims],
    }


def _fields(change: RecordChange | SettingChange, *left_out: str) -> dict[str, Any]:
    return {name: value for name, value in vars(change).items() if name not in left_out}


def _numbers(record: EvaluationRecord | None) -> dict[str, Any] | None:
    """What tables show of a record: accuracies, and who vouches for them."""
    if record is None:
        return None
    results = record.results
    return {
        "clean_accuracy": results.clean_accuracy,
        "autoattack": record.robust_accuracy,
        "hofmn": results.hofmn_robust_accuracy,
        "joint": results.joint_robust_accuracy,
        "n_samples": results.n_samples,
        "protocol": record.protocol.value,
        "provenance": record.provenance.kind.value,
        "version": record.version,
        "warnings": [warning.code for warning in record.warnings],
    }
