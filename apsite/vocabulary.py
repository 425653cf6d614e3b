"""The closed words of the benchmark. Their values are the words of entries, records, options and pages.

A test holds these enums equal to the JSON Schemas, so a word exists in both or in neither.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction


class Dataset(StrEnum):
    """A test set on which models are evaluated."""

    CIFAR10 = "cifar10"
    SVHN = "svhn"
    IMAGENET = "imagenet"

    @property
    def code(self) -> str:
        """How model keys and pages spell it."""
        return {"cifar10": "CIFAR10", "svhn": "SVHN", "imagenet": "ImageNet"}[self.value]

    @property
    def label(self) -> str:
        """How sentences spell it."""
        return {"cifar10": "CIFAR-10", "svhn": "SVHN", "imagenet": "ImageNet"}[self.value]

    @property
    def test_samples(self) -> int:
        """Number of images in the whole test (ImageNet: validation) set."""
        return {"cifar10": 10_000, "svhn": 26_032, "imagenet": 50_000}[self.value]

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Images of each class in the whole test (ImageNet: validation) set, in the order of the labels."""
        return {
            "cifar10": (1000,) * 10,
            "svhn": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595),
            "imagenet": (50,) * 1000,
        }[self.value]

    @property
    def epsilon(self) -> str:
        """Exact l-inf budget of the benchmark, in input units with pixels in [0, 1]."""
        return "4/255" if self is Dataset.IMAGENET else "8/255"


class Architecture(StrEnum):
    """A network family, whatever the names of its parameters in a checkpoint."""

    RESNET18 = "resnet18"
    VGG16 = "vgg16"
    RESNET50 = "resnet50"
    RESNET8 = "resnet8"

    @property
    def code(self) -> str:
        """How model keys spell it."""
        return {"resnet18": "R18", "vgg16": "V16", "resnet50": "R50", "resnet8": "R8"}[self.value]

    @property
    def label(self) -> str:
        """How sentences spell it."""
        return {"resnet18": "ResNet18", "vgg16": "VGG16", "resnet50": "ResNet50", "resnet8": "ResNet8"}[self.value]

    @property
    def small(self) -> bool:
        """Whether it is made for tests and demonstrations: its results say nothing about the networks of the survey."""
        return self is Architecture.RESNET8


class Structure(StrEnum):
    """Whether pruning removes single weights or whole structures (survey, section 3.3.1)."""

    UNSTRUCTURED = "unstructured"
    STRUCTURED = "structured"

    @property
    def code(self) -> str:
        """How model keys and the survey's tables spell it."""
        return {"unstructured": "US", "structured": "S"}[self.value]

    @property
    def sparsities(self) -> tuple[float, float, float]:
        """The three sparsities at which the benchmark compares models of this structure (survey, section 4.2)."""
        return (0.90, 0.95, 0.99) if self is Structure.UNSTRUCTURED else (0.50, 0.75, 0.90)

    @property
    def meaning(self) -> str:
        """What the word means, for readers and for forms."""
        return {
            "unstructured": "Single weights are removed; the layers keep their shape.",
            "structured": "Whole filters, channels or kernels are removed.",
        }[self.value]


class Granularity(StrEnum):
    """The unit that a mask removes."""

    WEIGHT = "weight"
    FILTER = "filter"
    CHANNEL = "channel"
    KERNEL = "kernel"

    @property
    def meaning(self) -> str:
        """What the word means, for readers and for forms."""
        return {
            "weight": "Single weights, wherever they are; what unstructured pruning removes.",
            "filter": "Whole filters of a layer, and so its output channels.",
            "channel": "Input channels of a layer.",
            "kernel": "Single two-dimensional kernels of a filter.",
        }[self.value]


class Stage(StrEnum):
    """When the mask is made, relative to training (survey, section 3.2)."""

    AFTER = "after"
    BEFORE = "before"
    DURING = "during"

    @property
    def code(self) -> str:
        """The survey's letter: A-, B- and D-methods."""
        return {"after": "A", "before": "B", "during": "D"}[self.value]

    @property
    def heading(self) -> str:
        """The heading of its methods."""
        return {
            "after": "Pruning after training",
            "before": "Pruning before training",
            "during": "Pruning during training",
        }[self.value]

    @property
    def meaning(self) -> str:
        """What happens, in one sentence."""
        return {
            "after": "A dense network is trained robustly, then pruned, then finetuned.",
            "before": "A sparse subnetwork is searched for first, then trained on its own.",
            "during": "One training run learns the mask together with the weights.",
        }[self.value]


class Schedule(StrEnum):
    """Whether the sparsity is reached in one step or in several."""

    ONE_SHOT = "one-shot"
    ITERATIVE = "iterative"

    @property
    def code(self) -> str:
        """The survey's abbreviation."""
        return {"one-shot": "1S", "iterative": "IT"}[self.value]

    @property
    def meaning(self) -> str:
        """What the word means, for readers and for forms."""
        return {
            "one-shot": "The sparsity is reached in one pruning step.",
            "iterative": "Pruning and training alternate until the sparsity is reached.",
        }[self.value]


class Locality(StrEnum):
    """Whether each layer reaches the sparsity or only the whole network (survey, section 3.3.2)."""

    LOCAL = "local"
    GLOBAL = "global"

    @property
    def code(self) -> str:
        """The survey's letter."""
        return {"local": "L", "global": "G"}[self.value]

    @property
    def meaning(self) -> str:
        """What the word means, for readers and for forms."""
        return {
            "local": "Every layer is pruned to the same sparsity.",
            "global": "The network as a whole has the sparsity; layers may differ.",
        }[self.value]


class Criterion(StrEnum):
    """The rule that says which parameters are pruned (survey, section 3.3.3)."""

    LWM = "LWM"
    SOLWM = "SOLWM"
    RELWM = "RELWM"
    LIS = "LIS"
    HGM = "HGM"
    BCS = "BCS"

    @property
    def label(self) -> str:
        """The abbreviation in full."""
        return {
            "LWM": "Lowest weight magnitude",
            "SOLWM": "Solver-based lowest weight magnitude",
            "RELWM": "Regularization-based lowest weight magnitude",
            "LIS": "Least importance score",
            "HGM": "Highest gradient magnitude",
            "BCS": "Bayesian connectivity sampling",
        }[self.value]

    @property
    def meaning(self) -> str:
        """What is removed, in one sentence."""
        return {
            "LWM": "Removes the weights of smallest magnitude; for structures, those of smallest norm.",
            "SOLWM": "Solves the robust problem with the sparsity as a constraint first, then prunes by magnitude.",
            "RELWM": "Shrinks weights by regularization during training, then prunes by magnitude.",
            "LIS": "Scores how much each parameter matters for robustness and removes the lowest scores.",
            "HGM": "Removes the parameters whose gradient has the greatest magnitude.",
            "BCS": "Samples which connections exist from a posterior learned with a robust objective.",
        }[self.value]


class Objective(StrEnum):
    """A training objective of a pipeline step. Each has one defining citation, see :attr:`citation`."""

    AT_PGD = "AT-PGD"
    TRADES = "TRADES"
    MART = "MART"
    AT_UNLABELED = "AT-Unlabeled"
    LBGAT = "LBGAT"
    AT_FGSM = "AT-FGSM"
    AT_FAST = "AT-Fast"
    AT_SCALE = "AT-Scale"
    AT_FEATURES = "AT-Features"
    CNI = "CNI"
    KD = "KD"
    NT = "NT"

    @property
    def label(self) -> str:
        """What the abbreviation stands for."""
        return {
            "AT-PGD": "Adversarial training with projected gradient descent",
            "TRADES": "Theoretically principled trade-off between robustness and accuracy",
            "MART": "Misclassification-aware adversarial training",
            "AT-Unlabeled": "Adversarial training with unlabelled data",
            "LBGAT": "Learnable boundary guided adversarial training",
            "AT-FGSM": "Adversarial training with the fast gradient sign method",
            "AT-Fast": "Fast adversarial training (single step, random start)",
            "AT-Scale": "Adversarial training at scale (mixed clean and adversarial batches)",
            "AT-Features": "Adversarial training as in the robust-features study",
            "CNI": "Trainable (parametric) noise injection",
            "KD": "Knowledge distillation",
            "NT": "Natural training, without adversarial examples",
        }[self.value]

    @property
    def citation(self) -> str | None:
        """Key of the defining paper in the reference list; ``None`` for natural training, which needs none."""
        return {
            "AT-PGD": "Madry2018Towards",
            "TRADES": "Zhang2019Theoretically",
            "MART": "Wang2020Improving",
            "AT-Unlabeled": "Carmon2019Unlabeled",
            "LBGAT": "Cui2021Learnable",
            "AT-FGSM": "Goodfellow2015Explaining",
            "AT-Fast": "Wong2020Fast",
            "AT-Scale": "Kurakin2017Adversarial",
            "AT-Features": "Ilyas2019Adversarial",
            "CNI": "He2019Parametric",
            "KD": "Hinton2015Distilling",
            "NT": None,
        }[self.value]


class Attack(StrEnum):
    """The four attacks of AutoAttack standard, in the order in which they run."""

    APGD_CE = "apgd-ce"
    APGD_T = "apgd-t"
    FAB_T = "fab-t"
    SQUARE = "square"

    @property
    def label(self) -> str:
        """How the AutoAttack paper spells it."""
        return {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square"}[self.value]


class Protocol(StrEnum):
    """How a result was obtained. Only results of the same ranking protocol family are ranked together."""

    APB_1 = "apb-1"
    SURVEY = "piras-2024"
    CUSTOM = "custom"

    @property
    def ranks(self) -> bool:
        """Whether a result of this protocol takes part in rankings."""
        return self is not Protocol.CUSTOM


class ProvenanceKind(StrEnum):
    """Who vouches for a result."""

    PUBLISHED = "published"
    SUBMITTED = "submitted"
    VERIFIED = "verified"


class ChangeKind(StrEnum):
    """What can happen to an entry or a record after it was first published."""

    SUPERSEDES = "supersedes"
    CORRECTED = "corrected"
    DISPUTED = "disputed"
    SETTLED = "settled"
    RETRACTED = "retracted"

    @property
    def label(self) -> str:
        """What it says of the record that carries it."""
        return {
            "supersedes": "Replaced an older version",
            "corrected": "Corrected",
            "disputed": "Disputed",
            "settled": "Dispute settled",
            "retracted": "Retracted",
        }[self.value]


def epsilon_value(text: str) -> float:
    """Perturbation budget in input units from its exact text.

    Args:
        text: A fraction of two whole numbers, such as ``"8/255"``.

    Raises:
        ValueError: If `text` is not such a fraction in (0, 1].
    """
    try:
        numerator, denominator = text.split("/")
        if not (numerator.isascii() and numerator.isdigit() and denominator.isascii() and denominator.isdigit()):
            raise ValueError
        value = Fraction(int(numerator), int(denominator))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"epsilon must be a fraction such as '8/255', not {text!r}") from None
    if not 0 < value <= 1:
        raise ValueError(f"epsilon must be in (0, 1], not {text!r}")
    return float(value)
