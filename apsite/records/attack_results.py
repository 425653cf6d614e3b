"""The numbers of a record: what each attack found, how it was configured, and what all attacks found together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from apsite.protocol import confirms
from apsite.vocabulary import Attack, AttackName


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
class FixedConfiguration:
    """The second configuration of HO-FMN's final attack, the same for all networks.

    `closer` counts the samples to which it came closer than the best configuration of the search.
    """

    parameters: Mapping[str, float]
    closer: int


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
        fixed_configuration: The second configuration of the final attack; ``None`` where it had only one.
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
    fixed_configuration: FixedConfiguration | None = None
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
class WholeSet:
    """Clean accuracy on all images that rank, of a run that attacked only some of them."""

    n_samples: int
    clean_accuracy: float


@dataclass(frozen=True)
class Results:
    """All numbers of a record: fractions in [0, 1] of `n_samples`; ``None`` where the source gives none.

    Attributes:
        n_samples: Evaluated samples.
        clean_accuracy: Fraction classified correctly with no attack.
        attacks: Results of each attack that was run.
        joint: All attacks together; ``None`` unless each was run.
        whole_set: Clean accuracy on the whole set, of a run on fewer samples; ``None`` where it was not measured.
    """

    n_samples: int | None
    clean_accuracy: float | None
    attacks: tuple[AttackResult, ...] = ()
    joint: JointResult | None = None
    whole_set: WholeSet | None = None

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
    def overall_clean_accuracy(self) -> float | None:
        """Clean accuracy on the whole test set where it was measured there, else on the evaluated samples."""
        return self.clean_accuracy if self.whole_set is None else self.whole_set.clean_accuracy

    @property
    def accuracies(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Clean accuracy and robust accuracies under AutoAttack, HO-FMN and both, as tables list them."""
        return (
            self.overall_clean_accuracy,
            self.aa_robust_accuracy,
            self.hofmn_robust_accuracy,
            self.joint_robust_accuracy,
        )

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
