"""Settings of an evaluation and which protocol they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from apsite.errors import EvaluationError
from apsite.records import ROTATING, SEARCH_BATCH, Scalar
from apsite.vocabulary import Dataset, Protocol, epsilon_value

_Value = TypeVar("_Value", str, int)


class Preset(StrEnum):
    """Named sets of settings for ``--protocol``."""

    APB_1 = "apb-1"
    PAPER = "paper"
    QUICK = "quick"


class Precision(StrEnum):
    """How the network computes while AutoAttack searches."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    """float32 whose products on NVIDIA tensor cores have 10 bits of mantissa."""
    BF16 = "bf16"
    """bfloat16 convolutions and products by autocast."""


ATTACKS = ("autoattack", "hofmn")

ENGINES = ("fast", "reference")
"""Implementations of AutoAttack: our own, and `pyautoattack`."""

BATCH_SIZES = {"cpu": 128, "cuda": 1024}
"""Batch size where none is given, by type of device. Verdicts of the engine ``fast`` do not depend on it."""

FIXED = "fixed"
"""Search batch of ``apb-1``: one batch of correctly classified samples, drawn by the seed, in all trials."""

SEARCH_BATCHES = (FIXED, ROTATING)

EARLIER: Mapping[str, Scalar] = {"precision": Precision.FLOAT32.value, "remove_channels": True}
"""Settings that records of earlier versions do not state, with values that are true of them."""

LOCAL, RAY = "local", "ray"
"""Words of ``--workers``: this process, or workers that Ray runs."""


@dataclass(frozen=True)
class Settings:
    """How to evaluate. The defaults are protocol ``apb-1``.

    Attributes:
        preset: Name of the set of settings these came from.
        seed: Seed of AutoAttack and of the HO-FMN search.
        batch_size: Samples that are attacked together and finished together; ``None`` for what suits the device.
        attacks: Which of ``autoattack`` and ``hofmn`` to run.
        engine: Implementation of AutoAttack.
        precision: Arithmetic of AutoAttack's search; verdicts are always given in float32, and HO-FMN computes in it.
        remove_channels: Whether attacks search on a network without the channels that pruning has emptied.
        epsilon: Exact budget; ``None`` for the benchmark's budget of the dataset.
        trials: Configurations that the HO-FMN search tries.
        search_samples: Samples in each trial.
        search_batch: ``fixed``: the same correctly classified samples in all trials, and the figures of HO-FMN count
            every sample. ``rotating``: each trial takes the next samples of the set (those of them that are correctly
            classified), and the figures of HO-FMN leave out all samples that the search took.
        search_steps: FMN steps in each trial.
        attack_steps: FMN steps of the final attack.
        n_examples: Evaluate only the first so many samples; ``None`` for the whole test set.
    """

    preset: Preset = Preset.APB_1
    seed: int = 0
    batch_size: int | None = None
    attacks: tuple[str, ...] = ATTACKS
    engine: str = "fast"
    precision: Precision = Precision.FLOAT32
    remove_channels: bool = True
    epsilon: str | None = None
    trials: int = 32
    search_samples: int = 64
    search_batch: str = FIXED
    search_steps: int = 100
    attack_steps: int = 200
    n_examples: int | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.attacks if name not in ATTACKS]
        if unknown or not self.attacks or len(set(self.attacks)) != len(self.attacks):
            raise EvaluationError(f"--attacks {','.join(self.attacks)}: choose from {', '.join(ATTACKS)}, each once")
        for name in ("batch_size", "trials", "search_samples", "search_steps", "attack_steps"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise EvaluationError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.engine not in ENGINES:
            raise EvaluationError(f"--engine {self.engine!r} is not one of {', '.join(ENGINES)}")
        if self.engine == "reference" and self.precision is not Precision.FLOAT32:
            raise EvaluationError(f"--precision {self.precision}: only --engine fast has other than float32")
        if self.search_batch not in SEARCH_BATCHES:
            raise EvaluationError(f"search_batch {self.search_batch!r} is not one of {', '.join(SEARCH_BATCHES)}")
        if not 0 <= self.seed < 2**31:
            raise EvaluationError(f"--seed must be from 0 to {2**31 - 1}, not {self.seed}")

    @classmethod
    def of(cls, preset: Preset, **changes: object) -> Settings:
        """Settings of a preset, changed where a keyword says so."""
        base = {
            Preset.APB_1: cls(),
            Preset.PAPER: cls(preset=Preset.PAPER, search_batch=ROTATING),
            Preset.QUICK: cls(
                preset=Preset.QUICK, trials=8, search_samples=32, search_steps=30, attack_steps=60, n_examples=64
            ),
        }[preset]
        return replace(base, **changes)  # type: ignore[arg-type]

    @classmethod
    def from_scalars(cls, stated: Mapping[str, Scalar]) -> Settings:
        """Settings that a record states, which is untrusted: the inverse of :meth:`as_scalars`.

        Raises:
            EvaluationError: If one is missing or of the wrong kind.
        """

        def read(name: str, kind: type[_Value]) -> _Value:
            value = stated.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise EvaluationError(f"settings.{name} of the record is {value!r}; a {kind.__name__} is needed")
            return value

        preset = read("preset", str)
        if preset not in tuple(Preset):
            raise EvaluationError(f"settings.preset of the record is {preset!r}; known are {', '.join(Preset)}")
        return cls(
            preset=Preset(preset),
            seed=read("seed", int),
            batch_size=None if stated.get("batch_size") is None else read("batch_size", int),
            attacks=tuple(read("attacks", str).split(",")),
            engine=read("engine", str),
            precision=_precision(stated.get("precision", EARLIER["precision"])),
            remove_channels=stated.get("remove_channels") is not False,
            epsilon=read("epsilon", str),
            trials=read("search_trials", int),
            search_samples=read("search_samples", int),
            search_batch=read(SEARCH_BATCH, str) if SEARCH_BATCH in stated else FIXED,
            search_steps=read("search_steps", int),
            attack_steps=read("attack_steps", int),
            n_examples=None if stated.get("n_examples") is None else read("n_examples", int),
        )

    def on(self, device_type: str) -> Settings:
        """The same settings with a batch size, chosen for ``cpu`` or ``cuda`` where none is given."""
        return self if self.batch_size else replace(self, batch_size=BATCH_SIZES[device_type])

    @property
    def rows(self) -> int:
        """Images or pairs of image and target that the network sees at a time."""
        assert self.batch_size is not None, "settings are used before their device is known"
        return self.batch_size

    @property
    def left_out(self) -> int:
        """Samples at the start of the set that the search takes and the figures of HO-FMN leave out."""
        return self.trials * self.search_samples if self.search_batch == ROTATING else 0

    def epsilon_text(self, dataset: Dataset) -> str:
        """Exact budget of this run."""
        return self.epsilon or dataset.epsilon

    def epsilon_value(self, dataset: Dataset) -> float:
        """Budget of this run in input units."""
        return epsilon_value(self.epsilon_text(dataset))

    def protocol(self, dataset: Dataset, n_samples: int) -> Protocol:
        """``apb-1`` if nothing is reduced or changed, else ``custom``. What changes no verdict is free."""
        neutral = replace(
            self, seed=0, batch_size=None, engine="fast", remove_channels=True, n_examples=None, epsilon=None
        )
        whole = n_samples == dataset.test_samples and self.epsilon_text(dataset) == dataset.epsilon
        same = replace(neutral, attacks=tuple(sorted(self.attacks))) == Settings()
        return Protocol.APB_1 if whole and same else Protocol.CUSTOM

    def as_scalars(self, dataset: Dataset) -> dict[str, Scalar]:
        """Every setting by name, as records hold them."""
        return {
            "preset": self.preset.value,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "attacks": ",".join(self.attacks),
            "engine": self.engine,
            "precision": self.precision.value,
            "remove_channels": self.remove_channels,
            "epsilon": self.epsilon_text(dataset),
            "search_trials": self.trials,
            "search_samples": self.search_samples,
            "search_steps": self.search_steps,
            "attack_steps": self.attack_steps,
            "n_examples": self.n_examples,
            **({SEARCH_BATCH: self.search_batch} if self.search_batch != FIXED else {}),
        }


def _precision(word: Scalar) -> Precision:
    """Precision that a record states."""
    if word not in tuple(Precision):
        raise EvaluationError(f"settings.precision of the record is {word!r}; known are {', '.join(Precision)}")
    return Precision(str(word))


def parse_workers(text: str) -> tuple[str, int | None]:
    """Kind and number of workers that ``--workers`` names; ``None`` for as many as there are devices.

    Raises:
        EvaluationError: If it names none.
    """
    kind, colon, number = text.partition(":")
    if kind == RAY and (not colon or (number.isascii() and number.isdigit() and int(number) > 0)):
        return kind, int(number) if colon else None
    if text != LOCAL:
        raise EvaluationError(f"--workers {text!r} is not one of 'local', 'ray', 'ray:<number of workers>'")
    return kind, None
