"""What the project's own networks cost and which are planned, from the reports of their series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apsite import numbers
from apsite.documents.json_files import read_json
from apsite.errors import DocumentError
from apsite.records import EvaluationRecord


@dataclass(frozen=True)
class Cost:
    """What a baseline took, and how it fared without fine-tuning; ``None`` where the series does not say."""

    training: float | None = None  # seconds of fine-tuning, for a dense network of training
    device: str | None = None  # where that was
    search: float | None = None  # seconds of learning the criterion; `None` for criteria that are not learned
    before: float | None = None  # AutoAttack accuracy before fine-tuning, a fraction
    clean_before: float | None = None  # clean accuracy on the same images
    before_images: int | None = None  # on how many of the first test images that was
    size: int | None = None  # bytes of the stored checkpoint


def read_costs(root: Path, records: Mapping[str, EvaluationRecord] | None = None) -> dict[str, Cost]:
    """Costs by model key that the series below ``baselines`` report; damaged reports are ignored.

    Of a model that several series have made, they are those of the series whose folder is in the URL of its checkpoint.
    """
    costs: dict[str, Cost] = {}
    for path in sorted((root / "baselines").glob("*/series.json")):
        try:
            models = read_json(path).get("models")
        except DocumentError:
            continue
        for key, value in models.items() if isinstance(models, dict) else ():
            record = (records or {}).get(key)
            evaluated = record is not None and f"/{path.parent.name}/" in (record.checkpoint.url or "")
            if isinstance(value, dict) and (evaluated or key not in costs):
                costs[key] = _cost(value)
    return costs


def planned(root: Path, series: str) -> dict[str, int | None]:
    """Model keys that a series plans, each with its number of images; ``None`` for the whole set. Empty if unknown."""
    path = root / "baselines" / series / "series.json"
    found = read_json(path).get("planned") if series and path.is_file() else None
    return found if isinstance(found, dict) else {}


def _cost(model: Mapping[str, Any]) -> Cost:
    def part(name: str) -> Mapping[str, Any]:
        value = model.get(name)
        return value if isinstance(value, dict) else {}

    def number(value: object) -> float | None:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    training = part("finetuning") or part("training")
    size, device, images = number(part("half").get("size")), training.get("device"), part("before").get("n_samples")
    return Cost(
        training=number(training.get("seconds")),
        device=device if isinstance(device, str) else None,
        search=number(part("search").get("seconds")),
        before=number(part("before").get("autoattack")),
        clean_before=number(part("before").get("clean_accuracy")),
        before_images=images if isinstance(images, int) and not isinstance(images, bool) else None,
        size=None if size is None else int(size),
    )


def duration(seconds: float | None) -> str:
    """Time span as people say it; a dash where it is not known."""
    if seconds is None:
        return numbers.MISSING
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
