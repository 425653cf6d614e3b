"""Robustness curves of records that have per-sample results, as few numbers as pages need."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsite.catalogue import Catalogue
from apsite.comparable import Bounds, Contender, Stretch, interval_of, leads_along
from apsite.metrics import area_under_curve, robust_flags
from apsite.records import EvaluationRecord
from apsite.samples import SampleResults, read_samples
from apsite.vocabulary import epsilon_value

SPAN = 16
"""Largest ε that charts and tables show, in 255ths: twice the benchmark's on CIFAR-10 and SVHN."""
LIMIT = SPAN / 255
EPSILONS = tuple(tenth / 2550 for tenth in range(10 * SPAN + 1))
"""Perturbation sizes at which robust samples are counted exactly and leaders are found: tenths of 1/255."""
TOLERANCE = 0.001
"""How far a drawn curve may be from the measured one: a tenth of a point. Counts in tables are exact."""
_RESOLUTION = 10_000
"""Parts of 1/255 in which curve files state ε, so that whole multiples of 1/255 are exact."""


@dataclass(frozen=True)
class Steps:
    """A step curve: the number of robust samples from each ε (255ths, ascending from 0) on."""

    budgets: tuple[float, ...]  # where the drawn curve steps
    counts: tuple[int, ...]  # samples that are robust from there on, within TOLERANCE of all samples
    exact: tuple[int, ...]  # exactly how many are robust at each of EPSILONS

    @property
    def table(self) -> tuple[int, ...]:
        """Exactly how many samples are robust at each whole multiple of 1/255 up to :data:`SPAN`."""
        return self.exact[::10]

    def at(self, budget: float) -> int:
        """Robust samples at an ε in 255ths: exact at tenths, else as drawn."""
        if (tenth := round(10.0 * budget, 6)).is_integer() and 0 <= budget <= SPAN:
            return self.exact[int(tenth)]
        return self.counts[int(np.searchsorted(self.budgets, budget, side="right")) - 1]


@dataclass(frozen=True)
class Curve:
    """Robust accuracy against ε for one record.

    `joint` is the envelope of HO-FMN and AutoAttack: a sample counts as broken at its HO-FMN distance, or at the ε of
    AutoAttack if that broke it and is smaller. It is ``None`` without results of AutoAttack.
    """

    record: EvaluationRecord
    n_samples: int
    hofmn: Steps
    joint: Steps | None
    area: float  # mean robust accuracy under HO-FMN for ε from 0 to LIMIT
    samples: SampleResults = field(repr=False, compare=False)  # those behind the curve
    distances: NDArray[np.float32] = field(
        repr=False, compare=False
    )  # of each of them, in the envelope if there is one

    @property
    def imported(self) -> bool:
        """Whether it comes from a distance file of the survey, which does not say which samples it covers."""
        return not self.samples.indexed

    @property
    def best(self) -> Steps:
        """The envelope where there is one, else the curve of HO-FMN."""
        return self.joint or self.hofmn

    def contender(self, epsilon: float) -> Contender:
        """The model at a perturbation size in input units, by the envelope where there is one."""
        robust = robust_flags(self.distances, epsilon)
        share = int(np.count_nonzero(robust)) / self.n_samples
        return Contender(self.record, share, self.n_samples, self.samples, robust)

    def bounds(self, count: int) -> Bounds:
        """Wilson 95 % interval of so many robust samples."""
        found = interval_of(count / self.n_samples, self.n_samples)
        assert found is not None
        return found


def load_samples(catalogue: Catalogue) -> dict[str, SampleResults]:
    """Per-sample results of all records that have them, by model key.

    Raises:
        DocumentError: If a per-sample file is missing or not what it should be.
    """
    return {
        record.model_key: read_samples(path)
        for record in catalogue.records.values()
        if (path := catalogue.samples_path(record)) is not None
    }


def load_curves(catalogue: Catalogue, samples: Mapping[str, SampleResults] | None = None) -> list[Curve]:
    """Curves of all records with distances, in catalogue order, then imported ones of models that have no other.

    `samples` are read if ``None``.

    Raises:
        DocumentError: As :func:`load_samples`.
    """
    found = load_samples(catalogue) if samples is None else samples
    own = (curve_of(catalogue.records[key], samples) for key, samples in found.items())
    curves = {curve.record.model_key: curve for curve in own if curve is not None}
    for key, record in catalogue.curves.items():
        if key not in curves and record.retracted is None and (path := catalogue.samples_path(record)) is not None:
            imported = curve_of(record, read_samples(path))
            curves |= {} if imported is None else {key: imported}
    return list(curves.values())


def curve_of(record: EvaluationRecord, samples: SampleResults) -> Curve | None:
    """Curve of a record over the samples that its HO-FMN result counts; ``None`` if they have no distances."""
    counted = samples.without_tuning() if record.leaves_out_tuning else samples
    distances = counted.distance
    if distances is None:
        return None
    hofmn, joint, best, area = steps_of(distances), None, distances, area_under_curve(distances, LIMIT)
    if counted.aa_robust is not None and record.threat_model.epsilon is not None:
        epsilon = np.float32(epsilon_value(record.threat_model.epsilon))
        broken = counted.clean_correct & ~counted.aa_robust
        best = np.where(broken, np.minimum(distances, epsilon), distances)
        joint = steps_of(best)
    return Curve(record, len(counted), hofmn, joint, area, counted, best)


def leads(curves: Sequence[Curve]) -> list[Stretch]:
    """Who leads at each of :data:`EPSILONS`, joined into stretches.

    Models that AutoAttack evaluated at another ε than the benchmark's are left out: their envelopes are not comparable.
    """
    compared = [curve for curve in curves if curve.record.epsilon == curve.record.dataset.epsilon]
    return leads_along(lambda epsilon: [curve.contender(epsilon) for curve in compared], EPSILONS)


def steps_of(distances: NDArray[np.float32]) -> Steps:
    """Step curve of distances in input units, drawn with a knot for each 500th of the samples (all if there are few).

    A knot is in the middle of the samples that it sums up, so the drawn curve is off by at most half of them.
    """
    total = distances.size
    stride = max(1, int(2 * TOLERANCE * total))
    inside = (distances > 0) & ~robust_flags(distances, LIMIT)
    # Rounded, so that a distance of 8/255, which float32 holds with an error, is a step at 8.
    broken = np.round(np.sort(distances[inside].astype(np.float64)) * 255, 5)
    correct = int((distances > 0).sum())
    budgets, counts = [0.0], [correct]
    for index, position in enumerate(range(stride // 2, len(broken), stride), 1):
        if broken[position] == budgets[-1]:
            budgets.pop()
            counts.pop()
        budgets.append(float(broken[position]))
        counts.append(correct - index * stride)
    ordered = np.sort(distances)
    exact = total - np.searchsorted(ordered, np.array(EPSILONS, np.float32), side="right")
    return Steps(tuple(budgets), tuple(max(count, 0) for count in counts), tuple(exact.tolist()))


def curve_document(curve: Curve) -> dict[str, Any]:
    """What the file of a curve holds: whole numbers only, differences to the number before where they are smaller.

    ``budgets`` are in ten-thousandths of 1/255, ``counts`` are robust samples from there on, ``exact`` are those at
    tenths of 1/255; all as differences.
    """

    def differences(values: Sequence[int]) -> list[int]:
        return [values[0], *(b - a for a, b in itertools.pairwise(values))]

    def packed(steps: Steps) -> dict[str, list[int]]:
        return {
            "budgets": differences([round(budget * _RESOLUTION) for budget in steps.budgets]),
            "counts": differences(steps.counts),
            "exact": differences(steps.exact),
        }

    record = curve.record
    return {
        "model_key": record.model_key,
        "n_samples": curve.n_samples,
        "hofmn": packed(curve.hofmn),
        "joint": None if curve.joint is None else packed(curve.joint),
    }


def write_curves(folder: Path, curves: Sequence[Curve]) -> None:
    """Write a file for each curve below `folder`, for pages that load them one by one."""
    target = folder / "data" / "curves"
    target.mkdir(parents=True, exist_ok=True)
    for curve in curves:
        text = json.dumps(curve_document(curve), separators=(",", ":"))
        (target / f"{curve.record.model_key}.json").write_text(text + "\n", encoding="utf-8")
