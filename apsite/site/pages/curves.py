"""The page of robustness curves: which models it offers, which it shows at first, and the data of its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsite.catalogue import Catalogue
from apsite.comparable import interval_of, robust_bounds
from apsite.records import EvaluationRecord
from apsite.site.charts.charts import robustness_chart, spread
from apsite.site.charts.curves import SPAN, Curve, Steps, curve_document, leads
from apsite.site.charts.palette import SeriesStyle, styles
from apsite.site.page import Page, SiteFacts
from apsite.site.tables import leaderboards
from apsite.vocabulary import epsilon_value

FIRST = 5
"""Most models that the page shows at first."""
_LOOKS = 28
_HEAVY, _LIGHT = 2.4, 1.2
_GAP = 0.05


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


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page: every model that can be drawn, and the most robust of them drawn at first."""
    offered = models(facts.catalogue, facts.curves, facts.labels)
    chosen = first_choice(offered)
    data, end = chart_data(chosen), top(chosen)
    empty = {**dict.fromkeys(data, ()), "budgets": data["budgets"]}
    return {
        "offered": offered,
        "choices": leaderboards.choices(facts.catalogue),
        "drawing": facts.drawn("curves", robustness_chart(data, span=SPAN, top=end)) if chosen else "",
        "spec": robustness_chart(empty, span=SPAN, top=end),
        "page_data": page_data(offered, chosen, "data/curves/"),
        "readout": readout(chosen),
        "epsilon": chosen[0].record.dataset.epsilon if chosen else "",
        "leaders": leader_sentence(data["leaders"]),
        "imported": [model.curve for model in offered if model.curve is not None and model.curve.imported],
        "span": SPAN,
    }


def models(catalogue: Catalogue, curves: Sequence[Curve], names: Mapping[str, str]) -> list[Model]:
    """Every model with a result or a curve, by method and network, those with a curve first; retracted ones left out.

    `names` are those of methods by key.
    """
    curve_of = {curve.record.model_key: curve for curve in curves}
    found = [
        Model(record, _label(record, names, curve_of.get(key)), curve_of.get(key))
        for key, record in (dict(catalogue.curves) | dict(catalogue.records)).items()
        if record.retracted is None and (record.robust_accuracy is not None or key in curve_of)
    ]
    return sorted(found, key=lambda model: (model.curve is None, model.record.dataset))


def first_choice(offered: Sequence[Model]) -> list[Model]:
    """Models that the page shows at first: the most robust of the group with most curves, else of the first group."""
    groups: dict[tuple[object, ...], list[Model]] = {}
    for model in offered:
        key = model.record.key
        groups.setdefault((key.dataset, key.architecture, key.structure), []).append(model)
    if not groups:
        return []
    group = max(groups.values(), key=lambda group: sum(model.curve is not None for model in group))
    drawn = [model for model in group if model.curve is not None] or group
    return sorted(drawn, key=lambda model: -(model.record.robust_accuracy or 0.0))[:FIRST]


def looks(count: int = _LOOKS) -> list[SeriesStyle]:
    """Looks of the first, second … model of a selection."""
    return list(styles(str(number) for number in range(count)).values())


def chart_data(chosen: Sequence[Model]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the chart for a selection: the envelope of each model, else its HO-FMN curve, else its two points."""
    given = looks()
    styled = [(model, given[place % len(given)]) for place, model in enumerate(chosen)]
    lines: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    ends = []
    for model, look in styled:
        colour = {"colour": look.colour}
        if model.curve is not None:
            lines += [
                {"series": model.record.model_key, "budget": budget, "robust": share, "dash": list(look.dash)}
                | colour
                | {"width": _HEAVY}
                for budget, share in _drawn(model.curve.best, model.curve.n_samples)
            ]
            ends.append((model.label, model.curve.best.counts[-1] / model.curve.n_samples, colour))
        points += [point | {"label": model.label} | colour for point in known_points(model)]
    heights = spread([end for _, end, _ in ends], _GAP * top(chosen), 0.0, top(chosen))
    stretches = leads([model.curve for model in chosen if model.curve is not None])
    place = {model.record.model_key: (model.label, look.colour) for model, look in styled}
    return {
        "curves": lines,
        "points": points,
        "leaders": [
            {"label": label, "from": round(255 * one.start, 1), "to": round(255 * one.end, 1), "colour": colour}
            for one in stretches
            for label, colour in [place[one.record.model_key]]
        ],
        "labels": [
            {"label": label, "height": height} | colour
            for (label, _, colour), height in zip(ends, heights, strict=True)
        ],
        "budgets": budget_marks(chosen),
    }


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


def page_data(offered: Sequence[Model], chosen: Sequence[Model], address: str) -> dict[str, Any]:
    """What the script of the page needs: models by key, looks, the first selection and its curves.

    `address` is the folder of the curve files as seen from the page, ending in ``/``.
    """
    return {
        "folder": address,
        "span": SPAN,
        "first": [model.record.model_key for model in chosen],
        "looks": [{"colour": look.colour, "dash": list(look.dash)} for look in looks()],
        "models": {
            model.record.model_key: {
                "label": model.label,
                "dataset": model.record.dataset.value,
                "epsilon": model.record.dataset.epsilon,
                "usual": model.usual,
                "clean": model.record.results.clean_accuracy,
                "curve": model.curve is not None,
                "points": known_points(model),
            }
            for model in offered
        },
        "curves": {model.record.model_key: curve_document(model.curve) for model in chosen if model.curve is not None},
    }


@dataclass(frozen=True)
class ReadoutLine:
    """Readout of a selection at the benchmark's ε: shares, ``None`` where a model has no such curve."""

    label: str
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
        lines.append(ReadoutLine(model.label, given[place % len(given)], joint, hofmn, bounds))
    return lines


def leader_sentence(leaders: Sequence[Mapping[str, Any]]) -> str:
    """The leader bar in words: who leads over which share of ε, the longest lead first."""
    lengths: dict[str, float] = {}
    for row in leaders:
        lengths[row["label"]] = lengths.get(row["label"], 0.0) + row["to"] - row["from"]
    if not lengths:
        return "Bar below the curves: no curve is drawn."
    ordered = sorted(lengths.items(), key=lambda item: -item[1])
    said = ", ".join(f"{label} over {100 * length / SPAN:.0f} %" for label, length in ordered)
    return f"Bar below the curves: the most robust model at each ε. It is {said} of the range up to {SPAN}/255."


def _point(what: str, budget: float, share: float, bounds: tuple[float, float], shape: str) -> dict[str, Any]:
    return {"what": what, "budget": budget, "robust": share, "low": bounds[0], "high": bounds[1], "shape": shape}


def _drawn(steps: Steps, total: int) -> list[tuple[float, float]]:
    points = [(budget, count / total) for budget, count in zip(steps.budgets, steps.counts, strict=True)]
    return [*points, (float(SPAN), points[-1][1])]


def _label(record: EvaluationRecord, names: Mapping[str, str], curve: Curve | None) -> str:
    key = record.key
    kind = f"{key.structure.code} {key.percent}" if key.structure else "dense"
    other = "" if record.epsilon == record.dataset.epsilon else f", ε = {record.epsilon}"
    mark = " (survey)" if curve is not None and curve.imported else ""
    return f"{names[record.method]} {key.architecture.code} {kind}{other}{mark}"


PAGE = Page(
    path="curves.md",
    title="Robustness curves",
    description="Robust accuracy against the perturbation size ε, measured sample by sample.",
    context=context,
    own=("curves.js",),
)
