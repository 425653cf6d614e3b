"""What a record is made of: figures and how they came about, the checkpoint, the samples, who vouches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apsite.vocabulary import Attack, ProvenanceKind


@dataclass(frozen=True)
class Sparsity:
    """Declared and measured fraction of pruned parameters; `measured` is ``None`` where nobody measured it."""

    declared: float
    measured: float | None


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do: `norm` is ``linf``, `epsilon` the exact text; ``None`` where the source is silent."""

    norm: str | None
    epsilon: str | None


@dataclass(frozen=True)
class AttackCount:
    """What one attack of AutoAttack did: samples attacked, broken (re-verified), and robust after it."""

    attacked: int
    broken: int
    robust_after: int


@dataclass(frozen=True)
class AutoAttackResult:
    """Robust accuracy under AutoAttack standard, and counts per attack in the order in which they ran."""

    robust_accuracy: float
    per_attack: Mapping[Attack, AttackCount] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """The hyperparameter search of HO-FMN.

    Attributes:
        trials: Configurations tried.
        samples: Correctly classified samples in each trial.
        steps: FMN steps in each trial.
        best_median: Median distance of the best trial, not-found counted as the worst possible norm.
        at_bound: Hyperparameters whose best value lies at a bound of the search space.
    """

    trials: int
    samples: int
    steps: int
    best_median: float
    at_bound: tuple[str, ...]


@dataclass(frozen=True)
class HofmnResult:
    """Robust accuracy at the benchmark budget under HO-FMN, and how it was obtained.

    Attributes:
        robust_accuracy: Fraction of samples whose distance exceeds epsilon.
        parameters: Best configuration of the search.
        median_distance: Over correctly classified samples; ``None`` if at least half were never broken.
        not_found: Samples attacked and never broken.
        search: The search; ``None`` for published figures.
        steps: FMN steps of the final attack; ``None`` for published figures.
    """

    robust_accuracy: float
    parameters: Mapping[str, float] = field(default_factory=dict)
    median_distance: float | None = None
    not_found: int | None = None
    search: SearchResult | None = None
    steps: int | None = None


@dataclass(frozen=True)
class JointResult:
    """Samples robust under AutoAttack whose distance also exceeds epsilon, and those that only one attack broke."""

    robust_accuracy: float
    broken_only_by_autoattack: int | None = None
    broken_only_by_hofmn: int | None = None


@dataclass(frozen=True)
class Results:
    """All figures of a record: fractions in [0, 1] of `n_samples`; ``None`` where the source gives none."""

    n_samples: int | None
    clean_accuracy: float | None
    autoattack: AutoAttackResult | None
    hofmn: HofmnResult | None
    joint: JointResult | None

    @property
    def aa_robust_accuracy(self) -> float | None:
        """Robust accuracy under AutoAttack; ``None`` where it was not run."""
        return self.autoattack.robust_accuracy if self.autoattack else None

    @property
    def hofmn_robust_accuracy(self) -> float | None:
        """Robust accuracy under HO-FMN; ``None`` where it was not run."""
        return self.hofmn.robust_accuracy if self.hofmn else None

    @property
    def joint_robust_accuracy(self) -> float | None:
        """Robust accuracy under both attacks; ``None`` where one was not run."""
        return self.joint.robust_accuracy if self.joint else None

    @property
    def accuracies(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Clean accuracy and robust accuracies under AutoAttack, HO-FMN and both, as tables list them."""
        return self.clean_accuracy, self.aa_robust_accuracy, self.hofmn_robust_accuracy, self.joint_robust_accuracy

    @property
    def stages(self) -> Mapping[Attack, AttackCount]:
        """Counts of the attacks that make up AutoAttack, in the order in which they ran; empty where unknown."""
        return self.autoattack.per_attack if self.autoattack else {}

    @property
    def search(self) -> SearchResult | None:
        """The hyperparameter search of HO-FMN; ``None`` where there was none."""
        return self.hofmn.search if self.hofmn else None

    def broken_only_by(self, attack: str) -> int | None:
        """Samples that ``"autoattack"`` or ``"hofmn"`` broke and the other attack did not; ``None`` where unknown."""
        if self.joint is None:
            return None
        return {"autoattack": self.joint.broken_only_by_autoattack, "hofmn": self.joint.broken_only_by_hofmn}[attack]

    def place(self, attack: str) -> str:
        """JSON path of the results of ``"autoattack"`` or ``"hofmn"`` in the record, for messages."""
        return f"results.{attack}"

    def stage_place(self, attack: Attack) -> str:
        """JSON path of the counts of one attack of AutoAttack, for messages."""
        return f"{self.place('autoattack')}.per_attack.{attack.value}"

    def only_place(self, attack: str) -> str:
        """JSON path of :meth:`broken_only_by`, for messages."""
        return f"results.joint.broken_only_by_{attack}"


@dataclass(frozen=True)
class EvaluationWarning:
    """What a reader should know before trusting the figures: a fixed `code` and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Checkpoint:
    """The evaluated file; attributes are ``None`` where a source does not give them."""

    url: str | None
    sha256: str | None
    size: int | None = None
    layout: str | None = None
    format: str | None = None
    unsafe_load: bool | None = None


@dataclass(frozen=True)
class LayerAudit:
    """Zeros of one convolution or linear layer; filter and channel counts are ``None`` for records without them."""

    name: str
    weights: int
    zero_weights: int
    filters: int | None = None
    zero_filters: int | None = None
    channels: int | None = None
    zero_channels: int | None = None


@dataclass(frozen=True)
class CheckpointAudit:
    """What was measured on the loaded network.

    Attributes:
        parameters: All parameters.
        nonzero_parameters: Those that are not zero.
        weights: Weights of convolutions and linear layers.
        zero_weights: Those of them that are exactly zero.
        macs: Multiply-accumulates for one image, dense.
        effective_macs: The same without multiplications by zero weights.
        zero_filters: Convolution filters with no weight left.
        filters: Convolution filters.
        layers: The same counts per layer.
        zero_channels: Convolution input channels with no weight left.
        channels: Convolution input channels.
        sparsity_basis: Share that matches the declared sparsity: ``weights``, ``filters`` or ``channels``.
    """

    parameters: int
    nonzero_parameters: int
    weights: int
    zero_weights: int
    macs: int
    effective_macs: int
    zero_filters: int
    filters: int
    layers: tuple[LayerAudit, ...]
    zero_channels: int | None = None
    channels: int | None = None
    sparsity_basis: str | None = None


@dataclass(frozen=True)
class EvaluatedData:
    """The evaluated samples: which part of the dataset, the hash of images and labels, whether the set is official."""

    split: str
    sha256: str
    known: bool
    source: str | None = None


@dataclass(frozen=True)
class Passes:
    """Passes of one sample: `forward` without gradient, `backward` forward passes with input gradient."""

    forward: int
    backward: int


@dataclass(frozen=True)
class SamplesFile:
    """Per-sample file that stands beside the record."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Verification:
    """A maintainer's re-run: ISO date, samples, and the share of them with the same verdict."""

    date: str
    samples: int
    agreement: float
    by: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Who vouches for the figures; `source` is a citation key or who ran it, `date` is ISO."""

    kind: ProvenanceKind
    source: str
    location: str | None
    date: str
