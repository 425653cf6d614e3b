"""An evaluation record: everything about the evaluation of one model, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from apsite.documents.changes import Change, open_dispute, retraction
from apsite.keys import ModelKey
from apsite.protocol import Preset, Scalar, SearchBatch, confirms
from apsite.records.counts import CheckpointAudit
from apsite.vocabulary import (
    Architecture,
    Attack,
    AttackName,
    ChangeKind,
    Dataset,
    Granularity,
    Protocol,
    ProvenanceKind,
    Structure,
    epsilon_text,
)

HISTORY = "history"
CURVES = "curves"
"""Folder of records that only draw a curve: the survey's distance files, which do not say which samples they cover."""
"""Folder, below that of a method, of records that a newer one has replaced."""


@dataclass(frozen=True)
class Sparsity:
    """Declared and measured fraction of pruned parameters; `measured` is ``None`` if it was not measured."""

    declared: float
    measured: float | None


@dataclass(frozen=True)
class ThreatModel:
    """What the adversary may do: `norm` is ``linf``, `epsilon` the exact text; ``None`` where the source is silent."""

    norm: str | None
    epsilon: str | None


@dataclass(frozen=True)
class AttackCount:
    """What one attack of AutoAttack did: samples attacked, broken (re-verified), and robust after it.

    `dropped_rows` counts the pairs of sample and target that FAB gave up early, of the samples that it left robust, see
    :data:`apsite.protocol.FAB_DROP_STEP`; ``None`` where it attacked all pairs to the end.
    """

    attack: Attack
    attacked: int
    broken: int
    robust_after: int
    dropped_rows: int | None = None


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
class Float32Check:
    """Survivors of a search in lower precision, attacked again in float32 by APGD-CE and APGD-T with another seed.

    Attributes:
        seed: Seed of the draw and of the attacks.
        samples: Survivors drawn.
        broken: Those that the attacks broke. They stay robust in the results: chance alone breaks a few.
    """

    seed: int
    samples: int
    broken: int


@dataclass(frozen=True)
class AttackResult:
    """Results of one attack.

    Attributes:
        attack: The attack.
        robust_accuracy: Fraction of samples that it left robust at epsilon.
        stages: For an attack made of several, counts of each in the order in which they ran; empty where unknown.
        parameters: Best configuration of the search; empty where there was none.
        median_distance: Of a minimum-norm attack, over correctly classified samples; ``None`` if at least half were
            never broken.
        not_found: Samples that a minimum-norm attack never broke.
        search: The hyperparameter search; ``None`` for published results.
        steps: Steps of the final attack; ``None`` for published results.
        float32_check: The run's check of a search in lower precision; ``None`` if the search was in float32.
    """

    attack: AttackName
    robust_accuracy: float
    stages: tuple[AttackCount, ...] = ()
    parameters: Mapping[str, float] = field(default_factory=dict)
    median_distance: float | None = None
    not_found: int | None = None
    search: SearchResult | None = None
    steps: int | None = None
    float32_check: Float32Check | None = None

    @property
    def checked(self) -> bool:
        """Whether the check in float32 confirms the search."""
        check = self.float32_check
        return check is not None and confirms(check.samples, check.broken)


@dataclass(frozen=True)
class JointResult:
    """All attacks together: fraction of samples robust under each, and by attack the samples that only it broke."""

    robust_accuracy: float
    broken_only_by: Mapping[AttackName, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All numbers of a record: fractions in [0, 1] of `n_samples`; ``None`` where the source gives none.

    Attributes:
        n_samples: Evaluated samples.
        clean_accuracy: Fraction classified correctly with no attack.
        attacks: Results of each attack that was run.
        joint: All attacks together; ``None`` unless each was run.
    """

    n_samples: int | None
    clean_accuracy: float | None
    attacks: tuple[AttackResult, ...] = ()
    joint: JointResult | None = None

    def of(self, attack: AttackName) -> AttackResult | None:
        """Results of one attack; ``None`` where it was not run."""
        return next((result for result in self.attacks if result.attack is attack), None)

    @property
    def autoattack(self) -> AttackResult | None:
        """Results of AutoAttack; ``None`` where it was not run."""
        return self.of(AttackName.AUTOATTACK)

    @property
    def hofmn(self) -> AttackResult | None:
        """Results of HO-FMN; ``None`` where it was not run."""
        return self.of(AttackName.HOFMN)

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
        """Robust accuracy under all attacks together; ``None`` where one was not run."""
        return self.joint.robust_accuracy if self.joint else None

    @property
    def accuracies(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Clean accuracy and robust accuracies under AutoAttack, HO-FMN and both, as tables list them."""
        return self.clean_accuracy, self.aa_robust_accuracy, self.hofmn_robust_accuracy, self.joint_robust_accuracy

    @property
    def stages(self) -> Mapping[Attack, AttackCount]:
        """Counts of the attacks that make up AutoAttack, in the order in which they ran; empty where unknown."""
        return {count.attack: count for count in self.autoattack.stages} if self.autoattack else {}

    @property
    def search(self) -> SearchResult | None:
        """The hyperparameter search of HO-FMN; ``None`` where there was none."""
        return self.hofmn.search if self.hofmn else None

    def broken_only_by(self, attack: AttackName) -> int | None:
        """Samples that one attack broke and no other did; ``None`` where unknown."""
        return self.joint.broken_only_by.get(attack) if self.joint else None

    @staticmethod
    def place(attack: AttackName) -> str:
        """Place of the results of an attack in the record, for messages; items of lists go by their attack."""
        return f"results.attacks[{attack.value}]"

    @staticmethod
    def stage_place(attack: Attack) -> str:
        """The same for the counts of one attack of AutoAttack."""
        return f"{Results.place(AttackName.AUTOATTACK)}.stages[{attack.value}]"


@dataclass(frozen=True)
class EvaluationWarning:
    """What a reader should know before trusting the results: a fixed `code` and a sentence."""

    code: str
    message: str


@dataclass(frozen=True)
class Checkpoint:
    """The evaluated file; attributes are ``None`` where a source does not give them.

    `layout` is the registered one, or the function that built the network as ``file.py:function``, without its folder;
    then `factory_sha256` is the hash of its file.
    """

    url: str | None
    sha256: str | None
    size: int | None = None
    layout: str | None = None
    format: str | None = None
    unsafe_load: bool | None = None
    state: str | None = None
    factory_sha256: str | None = None


@dataclass(frozen=True)
class OwnSetFacts:
    """What a record says of a whole test set that is not registered, as :class:`apsite.vocabulary.Dataset` has it."""

    shape: tuple[int, int, int]
    class_counts: tuple[int, ...]
    sha256: str


@dataclass(frozen=True)
class EvaluatedData:
    """The evaluated samples: which part of the dataset, the hash of images and labels, whether the set is official.

    `whole` describes the set that they are from where it is not registered; ``None`` for registered ones.
    """

    split: str
    sha256: str
    known: bool
    source: str | None = None
    whole: OwnSetFacts | None = None


@dataclass(frozen=True)
class Passes:
    """Passes of one sample: `forward` without gradient, `backward` forward passes with input gradient."""

    forward: int
    backward: int


@dataclass(frozen=True)
class SamplesFile:
    """Per-sample file next to the record."""

    file: str
    sha256: str


@dataclass(frozen=True)
class RepeatedAttack:
    """One attack of a verification.

    Attributes:
        attack: The attack.
        claimed: Samples that the record counts as robust under it.
        drawn: Those of them that were attacked again.
        broken: Those drawn that were no longer robust.
        detectable_inflation: Smallest share of the evaluated samples that, claimed as robust without being so, the draw
            would have detected with a probability of 95 %.
    """

    attack: AttackName
    claimed: int
    drawn: int
    broken: int
    detectable_inflation: float


@dataclass(frozen=True)
class Verification:
    """A maintainer's re-run.

    Attributes:
        date: ISO day.
        seed: Drawn at run time: seed of the draw of samples and of the attacks.
        samples: Samples classified again without an attack, which are all of the record.
        clean_differences: Those whose class is right in one run and wrong in the other.
        attacks: What each attack of the record found.
        by: Who ran it.
    """

    date: str
    seed: int
    samples: int
    clean_differences: int
    attacks: tuple[RepeatedAttack, ...]
    by: str | None = None

    @property
    def detectable_inflation(self) -> float:
        """The largest of its attacks."""
        return max((one.detectable_inflation for one in self.attacks), default=1.0)


AUTHORS = "the authors"
"""Source of a run by the authors of the paper, where no name is given."""


@dataclass(frozen=True)
class Provenance:
    """Who vouches for the results; `source` is a citation key or who ran it, `date` is ISO."""

    kind: ProvenanceKind
    source: str
    location: str | None
    date: str


@dataclass(frozen=True)
class EvaluationRecord:
    """Everything about the evaluation of one model. Fields that a published result does not have are ``None``."""

    key: ModelKey
    protocol: Protocol
    granularity: Granularity | None
    sparsity: Sparsity
    threat_model: ThreatModel
    results: Results
    checkpoint: Checkpoint
    provenance: Provenance
    warnings: tuple[EvaluationWarning, ...]
    environment: Mapping[str, Scalar]
    notes: tuple[str, ...] = ()
    audit: CheckpointAudit | None = None
    settings: Mapping[str, Scalar] | None = None
    data: EvaluatedData | None = None
    passes: Mapping[str, Passes] | None = None
    seconds: Mapping[str, float] | None = None
    samples: SamplesFile | None = None
    verification: Verification | None = None
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        """Let a dataset that is not registered know its images, and count the run's ε as its own."""
        dataset, whole = self.key.dataset, self.data.whole if self.data else None
        if not dataset.registered and whole is not None:
            known = dataset.with_images(whole.shape, whole.class_counts, epsilon_text(self.threat_model.epsilon or ""))
            object.__setattr__(self, "key", replace(self.key, dataset=known))

    def __repr__(self) -> str:
        robust = "not attacked" if self.robust_accuracy is None else f"robust accuracy {self.robust_accuracy:.4f}"
        return f"<EvaluationRecord {self.key}: {self.protocol}, {self.provenance.kind}, {robust}>"

    @property
    def model_key(self) -> str:
        """The model key as text."""
        return str(self.key)

    @property
    def method(self) -> str:
        """Key of the method."""
        return self.key.method

    @property
    def dataset(self) -> Dataset:
        """Dataset of the evaluation."""
        return self.key.dataset

    @property
    def architecture(self) -> Architecture:
        """Network."""
        return self.key.architecture

    @property
    def structure(self) -> Structure | None:
        """What pruning removed; ``None`` for a dense network."""
        return self.key.structure

    @property
    def epsilon(self) -> str:
        """ε of AutoAttack as the one text that it has; the benchmark's where the source does not state it."""
        return epsilon_text(self.threat_model.epsilon or self.dataset.epsilon)

    @property
    def stages(self) -> tuple[Attack, ...]:
        """Attacks of AutoAttack that such a run makes: the first two for ``--protocol screen``, else all."""
        screened = (self.settings or {}).get("preset") == Preset.SCREEN and self.protocol is Protocol.CUSTOM
        return (Preset.SCREEN if screened else Preset.APB_1).stages

    @property
    def leaves_out_tuning(self) -> bool:
        """Whether HO-FMN and joint results count only samples that the search did not take (``--protocol paper``)."""
        rotating = (self.settings or {}).get("search_batch") == SearchBatch.ROTATING
        return rotating and self.protocol is Protocol.CUSTOM

    @property
    def hofmn_samples(self) -> int | None:
        """Samples behind the HO-FMN and joint results; ``None`` where the source does not state it."""
        search = self.results.search
        if self.results.n_samples is None or search is None or not self.leaves_out_tuning:
            return self.results.n_samples
        return self.results.n_samples - search.trials * search.samples

    @property
    def robust_accuracy(self) -> float | None:
        """Robust accuracy by which models are ranked: AutoAttack's; ``None`` where it was not run."""
        return self.results.aa_robust_accuracy

    @property
    def version(self) -> int:
        """1 for the first record of a model, one more for each record that replaced another."""
        return next((change.version + 1 for change in self.changes if change.version is not None), 1)

    @property
    def supersedes(self) -> Change | None:
        """Why and when this record replaced an older version; ``None`` for the first of a model."""
        return next((change for change in self.changes if change.kind is ChangeKind.SUPERSEDES), None)

    @property
    def retracted(self) -> Change | None:
        """Why and when its results were withdrawn; such a record never ranks."""
        return retraction(self.changes)

    @property
    def disputed(self) -> Change | None:
        """The dispute about it that is still open; such a record keeps its rank and is marked."""
        return open_dispute(self.changes)

    @property
    def path(self) -> Path:
        """Where the current record of the model belongs, relative to the folder ``evaluations``."""
        return Path(self.method) / f"{self.model_key}.json"

    @property
    def history_path(self) -> Path:
        """Where the record belongs once another has replaced it, relative to the folder ``evaluations``."""
        return Path(self.method) / HISTORY / f"{self.model_key}.{self.version}.json"

    @property
    def curve_path(self) -> Path:
        """Where the record of an imported distance file belongs, relative to the folder ``evaluations``."""
        return Path(self.method) / CURVES / f"{self.model_key}.json"


def with_verification(record: EvaluationRecord, verification: Verification) -> EvaluationRecord:
    """The same record, vouched for by a maintainer's re-run."""
    provenance = replace(record.provenance, kind=ProvenanceKind.VERIFIED)
    return replace(record, verification=verification, provenance=provenance)
