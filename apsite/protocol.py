"""What the protocols fix: settings and presets, attacks, the search space of HO-FMN, and limits. No torch.

``apb-1`` is the default of every setting. The evaluator runs by it, `apsite validate` checks records against it, and a
test holds the numbers on the protocol page equal to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum

from apsite.errors import EvaluationError
from apsite.vocabulary import Attack, AttackName, Dataset, Protocol, epsilon_text, epsilon_value

Scalar = str | int | float | bool | None
"""A value of the open mappings ``settings`` and ``environment`` of a record."""

SURVEY_CITATION = "Piras2024Adversarial"
"""Citation key of the survey, the only source of results of protocol ``piras-2024``."""

SURVEY_DATE = "2024-09-02"
"""Day on which it appeared, and with it the attacks together that a run consists of."""

APB_1_ATTACKS = (AttackName.AUTOATTACK, AttackName.HOFMN)
"""Attacks that a ranking run must have; further ones change no rank."""

FAB_DROP_STEP = 30
"""Steps of FAB after which it drops hopeless rows; a row is a sample with one target."""

FAB_DROP_DISTANCE = 1.5
"""Multiple of ε beyond which a row is hopeless if its closest adversarial image until then is farther away.

Measured, see the page on benchmarks: in the steps that are left no such row went half of its way to ε.
"""

FAB_DROP_FALL = 0.1
"""Share by which the distance of this image fell in the last ten of these steps at which a row is not dropped."""

FAB_DROP_GRADIENT = 0.05
"""Share of the largest l1 norm of a row's gradients below which none of them may be, or the row is not dropped.

Gradients that vanish on the way are masked, and distances then say little: with saturated outputs, where the share was
below 0.01, rows at 4 ε after these steps came down to 1.04 ε.
"""

FAB_SAVED_STEPS = 100 - FAB_DROP_STEP
"""Steps that FAB does not make on a row that it drops."""

TARGETS = 9
"""Most target classes of the targeted attacks of AutoAttack: those with the largest logits but the true one."""


def targets_of(classes: int) -> int:
    """Number of target classes of each sample: all others, where there are fewer than ten classes.

    >>> targets_of(100), targets_of(5)
    (9, 4)
    """
    return min(TARGETS, classes - 1)


def least_passes(attack: Attack, classes: int) -> int:
    """Passes that an attack makes at least on a sample that it does not break: steps times targets, or queries.

    FAB saves :data:`FAB_SAVED_STEPS` of them on each row that it drops.
    """
    return {Attack.APGD_CE: 100, Attack.SQUARE: 5000}.get(attack, 100 * targets_of(classes))


SEARCH_SPACE: Mapping[str, tuple[float, float]] = {
    "learning_rate": (8 / 255, 10.0),
    "momentum": (0.0, 0.9),
    "weight_decay": (0.01, 1.0),
    "dampening": (0.0, 0.2),
}
"""Bounds of each hyperparameter in the HO-FMN search; the learning rate is searched on a logarithmic scale."""

LOGARITHMIC = frozenset({"learning_rate"})
"""Hyperparameters that are searched on a logarithmic scale."""

FIXED_CONFIGURATION: Mapping[str, float] = {
    "learning_rate": 0.35, "momentum": 0.65, "weight_decay": 0.6, "dampening": 0.1,
}  # fmt: skip
"""Second configuration of HO-FMN's final attack. A configuration that the search chose by its median alone can be far
from the smallest distance on the images that are hardest to break, see the page on benchmarks."""

PUBLISHED_BEST: Mapping[Dataset, float] = {Dataset.CIFAR10: 0.4948, Dataset.SVHN: 0.4994, Dataset.IMAGENET: 0.2335}
"""Highest robust accuracy under AutoAttack of the published results in the catalogue, dense networks included."""

SPARSITY_WARNING = 0.005
"""Difference of a sparsity declared in whole percent and the measured one above which a record carries a warning."""

SPARSITY_LIMIT = 0.02
"""The same above which nothing is evaluated and no record accepted."""

FINE_WARNING, FINE_LIMIT = 0.001, 0.005
"""The same two where a sparsity is declared in tenths or hundredths of a percent, and so claims more."""


def sparsity_tolerance(declared: float) -> tuple[float, float]:
    """Differences of declared and measured sparsity from which on there is a warning, and an error.

    Where a sparsity has decimals, both are at most a tenth and a half of what the declared one leaves.

    >>> sparsity_tolerance(0.9), sparsity_tolerance(0.9375)
    ((0.005, 0.02), (0.001, 0.005))
    >>> [round(limit, 6) for limit in sparsity_tolerance(0.995)]
    [0.0005, 0.0025]
    """
    if abs(declared * 100 - round(declared * 100)) < 1e-6:
        return SPARSITY_WARNING, SPARSITY_LIMIT
    left = 1 - declared
    return min(FINE_WARNING, left / 10), min(FINE_LIMIT, left / 2)


SEED_DIFFERENCE = 0.002
"""Share of the samples robust under AutoAttack with one seed that another seed breaks, as a verification allows it.

Measured: three other seeds broke none of 692 robust samples of our 14 small networks, one of which the reference engine
had attacked before. The authors of AutoAttack find that runs on deterministic networks often give the very same robust
accuracy (https://github.com/fra31/auto-attack/issues/54).
"""

VERIFICATION_ALPHA = 0.01
"""Probability with which a verification may reject a record whose claims fail at the rate ``SEED_DIFFERENCE``."""

DETECTION = 0.95
"""Probability with which a verification detects the inflation that it states, or a larger one."""

INFLATION_LIMIT = 0.01
"""Share of the test set below which that inflation must be, unless every claimed-robust sample was attacked again."""

SCREENED = 10013
"""Survivors of APGD-CE and APGD-T in all of our own records."""

SCREENED_BROKEN = 3
"""How many of these FAB-T and Square broke."""

CURVE_GAP_SIZES = (2, 4, 6, 8, 12, 16)
"""Perturbation sizes in 255ths at which we compared the robustness curve of HO-FMN with AutoAttack."""

CURVE_GAP_IMAGES = 500
"""Random test images of each network of this comparison, which ran on a CPU."""

CURVE_GAPS: Mapping[str, tuple[float, ...]] = {
    "ResNet8, dense": (0.2, 0.2, 0.2, 1.0, 1.4, 0.8),
    "ResNet8, global LWM 95 %": (0.0, 0.4, 1.0, 0.2, 0.8, 0.4),
    "ResNet8, HGM 95 %": (0.2, 0.0, 0.4, 0.8, 0.4, 0.4),
}
"""By how many percentage points the curve was too high at each of these sizes, by network."""

CHECKED_SURVIVORS = 300
"""Survivors of a search in lower precision that the run itself attacks again in float32; all, if there are fewer."""

CHECKING = (Attack.APGD_CE, Attack.APGD_T)
"""Attacks of this check."""

FLOAT32_CHECK = "float-check"
"""Name of its phase in passes and times."""

CHECK_LIMIT = 0.01
"""Share of them that may be broken."""

CLEAN_DIFFERENCE = 0.001
"""Share of the samples that a verification may classify otherwise without an attack, by rounding on another device."""

BATCH_SIZES = {"cpu": 128, "cuda": 1024}
"""Default batch size by type of device. Results of the engine ``fast`` do not depend on it."""


class Preset(StrEnum):
    """Named sets of settings for ``--protocol``."""

    APB_1 = "apb-1"
    PAPER = "paper"
    QUICK = "quick"
    SCREEN = "screen"

    @property
    def stages(self) -> tuple[Attack, ...]:
        """Attacks of AutoAttack that run; a screening leaves out the slow ones, which seldom break anything more."""
        return CHECKING if self is Preset.SCREEN else tuple(Attack)


class EngineName(StrEnum):
    """Implementations of AutoAttack: ``fast`` is built in, ``reference`` is pyautoattack."""

    FAST = "fast"
    REFERENCE = "reference"


class Precision(StrEnum):
    """Arithmetic of the network while AutoAttack searches."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    """float32 whose products on NVIDIA tensor cores have 10 bits of mantissa."""
    BF16 = "bf16"
    """bfloat16 convolutions and products by autocast."""


class SearchBatch(StrEnum):
    """Which samples the trials of the HO-FMN search attack."""

    FIXED = "fixed"
    """The same correctly classified samples, drawn by the seed, in all trials; HO-FMN's results count every sample."""
    ROTATING = "rotating"
    """Each trial attacks the next samples of the set; HO-FMN's results leave out all samples that the search took."""


class Sample(StrEnum):
    """Which images a reduced run takes."""

    RANDOM = "random"
    """A random draw by a fixed seed, the same for every model: smaller samples are parts of larger ones."""
    FIRST = "first"
    """The first images of the test set, as RobustBench takes them."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate a model. The defaults are protocol ``apb-1``.

    Attributes:
        preset: Name of the set of settings these came from.
        seed: Seed of AutoAttack and of the HO-FMN search.
        batch_size: Samples attacked together; ``None`` for the default of the device.
        attacks: Attacks to run.
        engine: Implementation of AutoAttack.
        precision: Arithmetic of the search. Adversarial examples are always confirmed in float32. HO-FMN computes
            logits in float32, and gradients in TF32 where that is named.
        remove_channels: Attack a copy of the network without fully pruned channels.
        fab_drop_rows: Let FAB give up rows that are hopeless after :data:`FAB_DROP_STEP` steps; engine ``fast`` only.
        epsilon: Perturbation size as exact text; ``None`` for the benchmark's ε of the dataset.
        trials: Configurations that the HO-FMN search tries.
        search_samples: Samples in each trial.
        search_batch: Which samples the trials attack.
        search_steps: FMN steps in each trial.
        attack_steps: FMN steps of the final attack.
        fixed_configuration: Attack with :data:`FIXED_CONFIGURATION` as well; each sample keeps the smaller distance.
        n_examples: Attack only so many of the samples that rank; ``None`` for all of them, which is the whole test
            set, or of ImageNet the 5,000 images of RobustBench's list.
        sample: Which ones. Where only a part of the set is there, such as the embedded images, always the first.

    Raises:
        EvaluationError: If a value is not allowed.

    >>> Settings().attack_steps
    200
    >>> Settings(engine="other")
    Traceback (most recent call last):
        ...
    apsite.errors.EvaluationError: engine 'other' is not one of fast, reference
    """

    preset: Preset = Preset.APB_1
    seed: int = 0
    batch_size: int | None = None
    attacks: tuple[AttackName, ...] = APB_1_ATTACKS
    engine: EngineName = EngineName.FAST
    precision: Precision = Precision.FLOAT32
    remove_channels: bool = True
    fab_drop_rows: bool = True
    epsilon: str | None = None
    trials: int = 32
    search_samples: int = 64
    search_batch: SearchBatch = SearchBatch.FIXED
    search_steps: int = 100
    attack_steps: int = 200
    fixed_configuration: bool = True
    n_examples: int | None = None
    sample: Sample = Sample.RANDOM

    def __post_init__(self) -> None:
        """Turn words into enums, put the attacks in order, and check each value."""
        for one in fields(self):
            if isinstance(one.default, StrEnum):
                kind, value = type(one.default), getattr(self, one.name)
                if value not in tuple(kind):
                    raise EvaluationError(f"{one.name} {value!r} is not one of {', '.join(kind)}")
                object.__setattr__(self, one.name, kind(value))
        if not self.attacks or not set(self.attacks) <= set(AttackName) or len(set(self.attacks)) != len(self.attacks):
            allowed = ", ".join(AttackName)
            raise EvaluationError(f"--attacks {','.join(self.attacks)}: choose from {allowed}, each once")
        object.__setattr__(self, "attacks", tuple(attack for attack in AttackName if attack in self.attacks))
        for name in ("batch_size", "trials", "search_samples", "search_steps", "attack_steps", "n_examples"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise EvaluationError(f"{name} must be a whole number from 1 on, not {value!r}")
        if self.epsilon is not None:
            try:
                object.__setattr__(self, "epsilon", epsilon_text(self.epsilon))
            except ValueError as error:
                raise EvaluationError(str(error)) from None
        if self.engine is EngineName.REFERENCE and self.precision is not Precision.FLOAT32:
            raise EvaluationError(
                f"--precision {self.precision} requires --engine fast; reference runs in float32 only"
            )
        if not 0 <= self.seed < 2**31:
            raise EvaluationError(f"--seed must be from 0 to {2**31 - 1}, not {self.seed}")

    @classmethod
    def of(cls, preset: Preset, **changes: object) -> Settings:
        """Settings of a preset, changed where a keyword says so."""
        base = cls(preset=preset)
        if preset is Preset.PAPER:
            base = replace(base, search_batch=SearchBatch.ROTATING, fixed_configuration=False)
        elif preset in (Preset.QUICK, Preset.SCREEN):
            base = replace(base, trials=8, search_samples=32, search_steps=30, attack_steps=60)
        if preset is Preset.QUICK:
            base = replace(base, n_examples=64)
        return replace(base, **changes)  # type: ignore[arg-type]

    @classmethod
    def from_scalars(cls, stated: Mapping[str, Scalar]) -> Settings:
        """Settings that a record states, which is untrusted: the inverse of :meth:`as_scalars`.

        Raises:
            EvaluationError: If one is missing, of the wrong type or not allowed.
        """
        values: dict[str, object] = {}
        for one in fields(cls):
            name = _STATED_AS.get(one.name, one.name)
            value = stated.get(name, EARLIER.get(name))
            optional = one.name in ("batch_size", "n_examples")
            kind = int if optional else type(one.default) if isinstance(one.default, bool | int) else str
            if type(value) is not kind and not (optional and value is None):
                raise EvaluationError(f"settings.{name} of the record is {value!r}; it must be of type {kind.__name__}")
            values[one.name] = tuple(value.split(",")) if one.name == "attacks" and isinstance(value, str) else value
        return cls(**values)  # type: ignore[arg-type]

    def on(self, device_type: str) -> Settings:
        """The same settings with a batch size, the default for ``cpu`` or ``cuda`` where none is given."""
        return self if self.batch_size else replace(self, batch_size=BATCH_SIZES[device_type])

    @property
    def rows(self) -> int:
        """Images or pairs of image and target in one forward pass."""
        assert self.batch_size is not None, "settings are used before their device is known"
        return self.batch_size

    @property
    def drops_rows(self) -> bool:
        """Whether FAB gives up hopeless rows."""
        return self.fab_drop_rows and self.engine is EngineName.FAST

    @property
    def left_out(self) -> int:
        """Samples at the start of the set that the search takes and HO-FMN's results leave out."""
        return self.trials * self.search_samples if self.search_batch is SearchBatch.ROTATING else 0

    def epsilon_text(self, dataset: Dataset) -> str:
        """Exact text of ε.

        Raises:
            EvaluationError: If neither the settings nor the dataset state one.
        """
        if not (stated := self.epsilon or dataset.epsilon):
            raise EvaluationError(f"{dataset.value} has no ε of its own; choose one, such as --epsilon 8/255")
        return stated

    def epsilon_value(self, dataset: Dataset) -> float:
        """Perturbation size ε in input units."""
        return epsilon_value(self.epsilon_text(dataset))

    @property
    def check_seed(self) -> int:
        """Seed with which a search in lower precision is checked in float32: another one than that of the search."""
        return (self.seed + 1) % 2**31

    def protocol(self, dataset: Dataset, n_samples: int, *, checked: bool = False) -> Protocol:
        """``apb-1`` for the images that rank at the benchmark's ε with ranking settings, else ``custom``.

        `checked` says whether the run's own check in float32 confirmed its search, see :func:`confirms`.
        """
        stated = self.as_scalars(dataset)
        whole = n_samples == dataset.ranked_samples and self.n_examples in (None, dataset.test_samples)
        unchanged = stated["epsilon"] == dataset.epsilon and not departures(stated, checked=checked)
        return Protocol.APB_1 if dataset.registered and whole and unchanged else Protocol.CUSTOM

    def as_scalars(self, dataset: Dataset) -> dict[str, Scalar]:
        """Every setting by name, as records state them."""
        stated: dict[str, Scalar] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            stated[_STATED_AS.get(one.name, one.name)] = value.value if isinstance(value, StrEnum) else value
        return {**stated, "attacks": ",".join(self.attacks), "epsilon": self.epsilon_text(dataset)}


_STATED_AS = {"trials": "search_trials"}
"""Settings that records state by another name."""

EARLIER: Mapping[str, Scalar] = {
    "precision": Precision.FLOAT32.value,
    "remove_channels": True,
    "fab_drop_rows": False,
    "search_batch": SearchBatch.FIXED.value,
    "fixed_configuration": False,
    "sample": Sample.FIRST.value,
}
"""Settings that records of earlier versions do not state, with values that are true of them."""

NEUTRAL = frozenset({"batch_size", "engine", "remove_channels", "fab_drop_rows"})
"""Settings that change results only by rounding and chance."""

FREE = NEUTRAL | {"seed", "epsilon", "n_examples", "sample"}
"""Settings that a ranking run may choose; ε and the number of samples are checked where the record states them."""

RANKING: Mapping[str, Scalar] = {
    name: value for name, value in Settings().as_scalars(Dataset.CIFAR10).items() if name not in FREE
}
"""All other settings, with the only value that ranks."""


def confirms(samples: int, broken: int) -> bool:
    """Whether a check in float32 of some survivors confirms the search that left them: at most 1 % are broken.

    >>> confirms(300, 3), confirms(300, 4), confirms(40, 0)
    (True, False, True)
    """
    return broken <= CHECK_LIMIT * samples


def departures(stated: Mapping[str, Scalar], *, checked: bool = False) -> dict[str, Scalar]:
    """Settings of a record that keep it from ranking, each with the value that it has.

    A search in TF32 ranks only if it was `checked`, see :func:`confirms`; one in bfloat16 never does.

    >>> departures(Settings().as_scalars(Dataset.SVHN))
    {}
    >>> departures(Settings(attack_steps=50).as_scalars(Dataset.SVHN))
    {'attack_steps': 50}
    """
    effective = {**EARLIER, **stated}
    found = {name: effective.get(name) for name, value in RANKING.items() if effective.get(name) != value}
    if set(APB_1_ATTACKS) <= set(str(found.get("attacks")).split(",")):
        del found["attacks"]
    if checked and found.get("precision") == Precision.TF32:
        del found["precision"]
    return found


def at_bounds(parameters: Mapping[str, float], tolerance: float = 1e-3) -> tuple[str, ...]:
    """Hyperparameters of HO-FMN that are within `tolerance` of a bound of :data:`SEARCH_SPACE`, relative to its width.

    >>> at_bounds({"learning_rate": 0.5, "momentum": 0.0, "weight_decay": 1.0, "dampening": 0.1})
    ('momentum', 'weight_decay')
    """
    found = []
    for name, (low, high) in SEARCH_SPACE.items():
        values = low, parameters[name], high
        lowest, value, highest = map(math.log, values) if name in LOGARITHMIC else values
        if min(value - lowest, highest - value) <= tolerance * (highest - lowest):
            found.append(name)
    return tuple(found)
