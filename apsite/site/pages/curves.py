"""The page of robustness curves: one setting at a time, which models it has, which it shows at first, and its data."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite import numbers
from apsite.catalogue import Catalogue
from apsite.comparable import interval_of, robust_bounds, unranked
from apsite.protocol import CURVE_GAP_IMAGES, CURVE_GAP_SIZES, CURVE_GAPS
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import robustness_chart, spread
from apsite.site.charts.curves import EPSILONS, SPAN, Curve, Steps, curve_document
from apsite.site.charts.palette import NEUTRAL, SeriesStyle, styles
from apsite.site.page import Page, SiteFacts
from apsite.vocabulary import epsilon_value

FIRST = 4
"""Most models that the page shows at first."""
_LOOKS = 28
_HEAVY = 2.4
_GAP = 0.05
_KNOTS = 100
_BAND_STEP = 5  # tenths of 1/255 between the points of a shaded interval that the build draws
NOBODY = "not separated"
"""Label of the bar below the curves where no model is separated from all others."""


@dataclass(frozen=True)
class Model:
    """A model that the page offers: `label` names it in the chart, `curve` is ``None`` without per-sample results."""

    record: EvaluationRecord
    label: str
    curve: Curve | None

    @property
    def epsilon(self) -> float:
        """ε of AutoAttack in 255ths."""
        return epsilon_value(self.record.epsilon) * 255

    @property
    def usual(self) -> bool:
        """Whether that is the benchmark's ε of the dataset."""
        return self.record.epsilon == self.record.dataset.epsilon


@dataclass(frozen=True)
class SettingModels:
    """All models of one dataset, network, structure and sparsity, or its dense networks; never empty.

    `identity` is the part of their model keys behind the method: ``R18_CIFAR10_US_90``.
    """

    identity: str
    models: tuple[Model, ...]

    @property
    def first(self) -> list[Model]:
        """Models that the page shows at first: the most robust with a curve, or the most robust if none has one."""
        drawn = [model for model in self.models if model.curve is not None] or self.models
        return sorted(drawn, key=lambda model: -(model.record.robust_accuracy or 0.0))[:FIRST]

    @property
    def words(self) -> tuple[str, str, str, str]:
        """Terms of dataset, network, structure and sparsity, by which the page chooses a setting."""
        key = self.models[0].record.key
        structure = key.structure.value if key.structure else "dense"
        return key.dataset.value, key.architecture.value, structure, str(key.percent or 0)

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """The same as readers see them."""
        key = self.models[0].record.key
        return key.dataset.label, key.architecture.label, self.words[2], f"{key.percent} %" if key.percent else "none"

    @property
    def title(self) -> str:
        """The setting in words."""
        dataset, network, structure, sparsity = self.labels
        return f"{dataset} {network}, {structure}" + (f", {sparsity}" if sparsity != "none" else "")

    @property
    def caution(self) -> str:
        """What makes its curves weak evidence: reduced runs, a network for demonstrations; empty where nothing does."""
        drawn = [(model, model.curve) for model in self.models if model.curve is not None]
        small = [(model, curve) for model, curve in drawn if unranked(model.record)]
        if not drawn:
            return ""
        found = []
        if small:
            most, all_images = max(curve.n_samples for _, curve in small), small[0][0].record.dataset.ranked_samples
            names = ", ".join(model.label for model, _ in small)
            subject = "All curves here" if len(small) == len(drawn) else f"The curves of {names}"
            runs = f"{subject} are from runs that do not rank"
            found.append(f"{runs}, on at most {numbers.count(most)} of {numbers.count(all_images)} test images.")
        network = self.models[0].record.architecture
        if network.small:
            found.append(f"{network.label} is a small network for tests and demonstrations.")
        if found:
            low, high = max(
                (curve.bounds(curve.n_samples // 2) for _, curve in drawn), key=lambda ends: ends[1] - ends[0]
            )
            found.append(f"The 95 % intervals are up to {numbers.percent(high - low, 0)} points wide.")
        return " ".join(found)

    @property
    def command(self) -> str:
        """The command that draws the curve of a model of this setting; with ``METHOD`` for the key of its method."""
        record = self.models[0].record
        network = record.architecture
        chosen = f"--arch {network.value}" if network.registered else f"--arch file.py:factory --as {network.value}"
        kind = f" --structure {record.structure.value}" if record.structure else ""
        share = f" --sparsity {record.sparsity.declared:g}" if record.structure else ""
        pattern = " --pattern N:M" if record.structure and not record.structure.sparsities else ""
        return f"apsite eval CHECKPOINT --method METHOD --dataset {record.dataset.value} {chosen}{kind}{share}{pattern}"


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page: the setting that it shows at first, with its models and their curves, and all others."""
    offered = settings(facts.catalogue, facts.curves, facts.labels)
    if not offered:
        return {"setting": None, "imported": [], "span": SPAN}
    setting = first_setting(offered)
    chosen = setting.first
    data, end = chart_data(chosen), top(chosen)
    empty = {**dict.fromkeys(data, ()), "budgets": data["budgets"]}
    drawn = {key for one in offered for key in [m.record.model_key for m in one.models if m.curve is not None]}
    return {
        "setting": setting,
        "settings": offered,
        "choices": choices(offered),
        "combinations": [one.words for one in offered],
        "drawing": facts.drawn("curves", robustness_chart(data, span=SPAN, top=end)),
        "spec": robustness_chart(empty, span=SPAN, top=end),
        "page_data": page_data(offered, setting, "data/curves/"),
        "chosen": chosen,
        "readout": readout(chosen),
        "epsilon": setting.models[0].record.dataset.epsilon,
        "leaders": leader_sentence(data["leaders"]),
        "imported": [curve for curve in facts.curves if curve.imported and curve.record.model_key in drawn],
        "span": SPAN,
        "gaps": CURVE_GAPS,
        "gap_sizes": CURVE_GAP_SIZES,
        "gap_images": CURVE_GAP_IMAGES,
    }


def settings(catalogue: Catalogue, curves: Sequence[Curve], names: Mapping[str, str]) -> list[SettingModels]:
    """Every setting with a model that has a result or a curve, in the order of tables; retracted models left out.

    `names` are those of methods by key. Models are in the order of their robust accuracy, those with a curve first.
    """
    curve_of = {curve.record.model_key: curve for curve in curves}
    groups: dict[str, list[Model]] = {}
    for key, record in (dict(catalogue.curves) | dict(catalogue.records)).items():
        if record.retracted is None and (record.robust_accuracy is not None or key in curve_of):
            model = Model(record, _label(record, names, curve_of.get(key)), curve_of.get(key))
            groups.setdefault(key.removeprefix(f"{record.method}_"), []).append(model)
    found = [
        SettingModels(
            identity,
            tuple(sorted(models, key=lambda m: (m.curve is None, -(m.record.robust_accuracy or 0.0), m.label))),
        )
        for identity, models in groups.items()
    ]
    return sorted(found, key=_place)


def _place(setting: SettingModels) -> tuple[Any, ...]:
    key = setting.models[0].record.key
    return key.dataset, key.architecture, key.structure is None, key.structure or "", key.percent or 0


def first_setting(offered: Sequence[SettingModels]) -> SettingModels:
    """The setting that the page shows at first: that with most curves that rank, then with most curves, or models."""

    def weight(setting: SettingModels) -> tuple[int, int, int]:
        drawn = [model for model in setting.models if model.curve is not None]
        return sum(not unranked(model.record) for model in drawn), len(drawn), len(setting.models)

    return max(offered, key=weight)


def choices(offered: Sequence[SettingModels]) -> dict[str, list[tuple[str, str]]]:
    """Terms and labels of datasets, networks, structures and sparsities that have a model."""
    found: dict[str, dict[str, str]] = {name: {} for name in ("dataset", "network", "structure", "sparsity")}
    for setting in offered:
        for terms, word, label in zip(found.values(), setting.words, setting.labels, strict=True):
            terms[word] = label
    found["sparsity"] = dict(sorted(found["sparsity"].items(), key=lambda item: float(item[0])))
    return {name: list(terms.items()) for name, terms in found.items()}


def looks(count: int = _LOOKS) -> list[SeriesStyle]:
    """Looks of the first, second … model of a selection."""
    return list(styles(str(number) for number in range(count)).values())


def chart_data(chosen: Sequence[Model]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the chart for a selection: the envelope of each model, else its HO-FMN curve, else its two points."""
    given = looks()
    styled = [(model, given[place % len(given)]) for place, model in enumerate(chosen)]
    lines: list[dict[str, Any]] = []
    bands: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    ends = []
    for model, look in styled:
        colour = {"colour": look.colour}
        if model.curve is not None:
            series = {"series": model.record.model_key}
            lines += [
                series | {"budget": budget, "robust": share, "dash": list(look.dash)} | colour | {"width": _HEAVY}
                for budget, share in _drawn(model.curve.best, model.curve.n_samples)
            ]
            bands += [series | row | colour for row in band(model.curve)]
            ends.append((model.label, model.curve.best.counts[-1] / model.curve.n_samples, colour))
        points += [point | {"label": model.label} | colour for point in known_points(model)]
    gap, high = _GAP * top(chosen), top(chosen)
    heights = spread([end for _, end, _ in ends], gap, 0.0, high)
    alone = [point for point in points if point.get("alone")]
    places = spread([point["robust"] for point in alone], gap, 0.0, high)
    colours = {model.record.model_key: look.colour for model, look in styled}
    named = {model.record.model_key: model.label for model in chosen}
    return {
        "bands": bands,
        "curves": lines,
        "points": points,
        "leaders": [
            {"label": named.get(key, NOBODY), "from": start, "to": end, "colour": colours.get(key, NEUTRAL)}
            for key, start, end in separated_leaders([m.curve for m in chosen if m.curve is not None and m.usual])
        ],
        "labels": [
            {"label": label, "height": height, "end": end} | colour
            for (label, end, colour), height in zip(ends, heights, strict=True)
        ],
        "names": [
            {name: point[name] for name in ("label", "budget", "robust", "colour")} | {"height": height}
            for point, height in zip(alone, places, strict=True)
        ],
        "budgets": budget_marks(chosen),
    }


def band(curve: Curve) -> list[dict[str, float]]:
    """The shaded 95 % interval of a curve: its ends at every half of 1/255."""
    rows = []
    for tenth in range(0, 10 * SPAN + 1, _BAND_STEP):
        low, high = curve.bounds(curve.best.exact[tenth])
        rows.append({"budget": tenth / 10, "low": low, "high": high})
    return rows


def separated_leaders(curves: Sequence[Curve]) -> list[tuple[str, float, float]]:
    """Who leads from which ε to which, in 255ths: a model key, empty where the leader's interval meets another.

    A model leads where the lower end of its 95 % interval is above the upper end of every other.
    """
    found: list[tuple[str, float, float]] = []
    for tenth in range(len(EPSILONS) - 1) if len(curves) > 1 else ():
        ends = sorted(
            ((*curve.bounds(curve.best.exact[tenth]), curve.record.model_key) for curve in curves), reverse=True
        )
        leader = ends[0][2] if all(high < ends[0][0] for _, high, _ in ends[1:]) else ""
        start = found.pop()[1] if found and found[-1][0] == leader else tenth / 10
        found.append((leader, start, (tenth + 1) / 10))
    return found


def known_points(model: Model) -> list[dict[str, Any]]:
    """Points: AutoAttack at its ε, and clean accuracy at 0 without a curve."""
    record, found = model.record, []
    clean = record.results.clean_accuracy
    if model.curve is None and clean is not None:
        bounds = interval_of(clean, record.results.n_samples) or (clean, clean)
        found.append(_point("clean", 0.0, clean, bounds, "circle"))
    if record.robust_accuracy is not None:
        bounds = robust_bounds(record) or (record.robust_accuracy, record.robust_accuracy)
        point = _point("AutoAttack", model.epsilon, record.robust_accuracy, bounds, "diamond")
        found.append(point | {"alone": model.curve is None})
    return found


def budget_marks(chosen: Sequence[Model]) -> list[dict[str, Any]]:
    """The benchmark's ε on the dataset of a selection."""
    budgets = {model.record.dataset.epsilon for model in chosen}
    return [{"budget": epsilon_value(text) * 255, "text": f"ε = {text}"} for text in sorted(budgets)]


def top(chosen: Sequence[Model]) -> float:
    """End of the axis of shares: the next tenth above the clean accuracies of a selection."""
    highest = max((model.record.results.clean_accuracy or 1.0 for model in chosen), default=1.0)
    highest = max([highest, *(it.best.counts[0] / it.n_samples for model in chosen if (it := model.curve) is not None)])
    return min(1.0, (int(highest * 10) + 1) / 10)


def page_data(offered: Sequence[SettingModels], setting: SettingModels, address: str) -> dict[str, Any]:
    """What the script of the page needs: all settings by identity, looks, and the first setting with its curves.

    `address` is the folder of the curve files as seen from the page, ending in ``/``.
    """
    first = [model.curve for model in setting.first if model.curve is not None]
    return {
        "folder": address,
        "span": SPAN,
        "nobody": NOBODY,
        "neutral": NEUTRAL,
        "looks": [{"colour": look.colour, "dash": list(look.dash)} for look in looks()],
        "settings": {one.identity: one.words for one in offered},
        "setting": setting_document(setting),
        "curves": {curve.record.model_key: curve_document(curve) for curve in first},
    }


def setting_document(setting: SettingModels) -> dict[str, Any]:
    """What the file of a setting holds: its models by method, with all that is known of them but their curves."""

    def fields(model: Model) -> dict[str, Any]:
        record = model.record
        return {
            "key": record.model_key,
            "label": model.label,
            "epsilon": record.epsilon,
            "usual": model.usual,
            "curve": model.curve.n_samples if model.curve else 0,
            "tags": unranked(record),
            "clean": record.results.overall_clean_accuracy,
            "robust": record.robust_accuracy,
            "bounds": robust_bounds(record),
            "hofmn": record.results.hofmn_robust_accuracy,
            "joint": record.results.joint_robust_accuracy,
            "area": model.curve.area if model.curve else None,
            "points": known_points(model),
        }

    return {
        "identity": setting.identity,
        "title": setting.title,
        "budget": setting.models[0].record.dataset.epsilon,
        "caution": setting.caution,
        "command": setting.command,
        "first": [model.record.method for model in setting.first],
        "models": {model.record.method: fields(model) for model in setting.models},
    }


def setting_table(setting: SettingModels) -> str:
    """All that is known of a setting as CSV: each model's results, then its envelope at every multiple of 1/255."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["model_key", "clean_accuracy", "aa_robust_accuracy", "low", "high", "curve_samples",
                     *(f"at_{k}_255" for k in range(SPAN + 1))])  # fmt: skip
    for model in setting.models:
        record, curve = model.record, model.curve
        shares = [count / curve.n_samples for count in curve.best.table] if curve else [None] * (SPAN + 1)
        known = [
            record.results.overall_clean_accuracy,
            record.robust_accuracy,
            *(robust_bounds(record) or (None, None)),
        ]
        writer.writerow([record.model_key, *known, curve.n_samples if curve else 0, *shares])
    return table.getvalue()


def write_settings(folder: Path, facts: SiteFacts) -> None:
    """Write a JSON file and a CSV file for each setting below the pages folder; the page loads what it is asked for."""
    target = folder / "data" / "curves" / "settings"
    target.mkdir(parents=True, exist_ok=True)
    for setting in settings(facts.catalogue, facts.curves, facts.labels):
        text = json.dumps(setting_document(setting), separators=(",", ":"), allow_nan=False)
        (target / f"{setting.identity}.json").write_text(text + "\n", encoding="utf-8")
        (target / f"{setting.identity}.csv").write_text(setting_table(setting), encoding="utf-8")


@dataclass(frozen=True)
class ReadoutLine:
    """Readout of a model at the benchmark's ε: shares, ``None`` where it has no such curve."""

    model: Model
    look: SeriesStyle
    joint: float | None
    hofmn: float | None
    bounds: tuple[float, float] | None


def readout(chosen: Sequence[Model]) -> list[ReadoutLine]:
    """The readout at the benchmark's ε, exact; models without a curve have their results at it only."""
    given = looks()
    lines = []
    for place, model in enumerate(chosen):
        curve, joint, hofmn, bounds = model.curve, None, None, robust_bounds(model.record) if model.usual else None
        at = epsilon_value(model.record.dataset.epsilon) * 255
        if curve is not None:
            bounds = curve.bounds(curve.best.at(at))
            hofmn = curve.hofmn.at(at) / curve.n_samples
            joint = curve.joint.at(at) / curve.n_samples if curve.joint else None
        lines.append(ReadoutLine(model, given[place % len(given)], joint, hofmn, bounds))
    return lines


def leader_sentence(leaders: Sequence[Mapping[str, Any]]) -> str:
    """The bar below the curves in words: who leads over which share of ε, and over which share nobody does."""
    lengths: dict[str, float] = {}
    for row in leaders:
        lengths[row["label"]] = lengths.get(row["label"], 0.0) + row["to"] - row["from"]
    if not lengths:
        return "The bar below the curves compares two curves or more."
    nobody = lengths.pop(NOBODY, 0.0)
    if not lengths:
        return f"At no ε up to {SPAN}/255 is the 95 % interval of one model above those of all others."
    said = [
        f"{label} over {100 * length / SPAN:.0f} %" for label, length in sorted(lengths.items(), key=lambda i: -i[1])
    ]
    said += [f"no model over {100 * nobody / SPAN:.0f} %"] if nobody else []
    return (
        "Bar below the curves: the model whose 95 % interval is above those of all others: "
        f"{', '.join(said)} of the range up to {SPAN}/255."
    )


def _point(what: str, budget: float, share: float, bounds: tuple[float, float], shape: str) -> dict[str, Any]:
    low, high = (round(end, 6) for end in bounds)
    return {"what": what, "budget": budget, "robust": share, "low": low, "high": high, "shape": shape}


def _drawn(steps: Steps, total: int) -> list[tuple[float, float]]:
    """Where a drawing by the build steps, and to what: at most :data:`_KNOTS` steps, about as wide as pixels."""
    points = [(budget, count / total) for budget, count in zip(steps.budgets, steps.counts, strict=True)]
    stride = -(-len(points) // _KNOTS)
    return [*points[:-1:stride], points[-1], (float(SPAN), points[-1][1])]


def _label(record: EvaluationRecord, names: Mapping[str, str], curve: Curve | None) -> str:
    other = "" if record.epsilon == record.dataset.epsilon else f", ε = {record.epsilon}"
    mark = " (survey)" if curve is not None and curve.imported else ""
    return f"{names[record.method]}{other}{mark}"


PAGE = Page(
    path="curves.md",
    title="Robustness curves",
    description="Robust accuracy against the perturbation size ε, measured sample by sample.",
    context=context,
    own=("curves.js",),
)
