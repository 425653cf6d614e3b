"""The closed sets of terms, one row per term. Their values are the words of entries, records, options and pages.

A row has the value and what is known about it, in the order in which the class declares it. The JSON Schemas, model
keys, options and pages take their terms from here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import Self

_RELATIONS: tuple[Callable[[int, int], bool], ...] = operator.lt, operator.le, operator.gt, operator.ge


def _by_rank(relation: Callable[[int, int], bool]) -> Callable[[Term, str], bool]:
    """Comparison of two terms of one set."""
    return lambda one, two: relation(one.rank, two.rank) if isinstance(two, type(one)) else NotImplemented


class Term(StrEnum):
    """One term of a closed set. Terms of one set sort in the order in which they are defined."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Refuse a value that is not a term, with those that are."""
        raise ValueError(f"{value!r} is not a valid {cls.__name__}; choose from {', '.join(cls)}")

    def __new__(cls, value: str, *facts: object) -> Self:
        """A term whose attributes are the annotated names of its class, in their order."""
        term = str.__new__(cls, value)
        term._value_ = value
        for name, fact in zip(cls.__annotations__, facts, strict=True):
            setattr(term, name, fact)
        return term

    @property
    def rank(self) -> int:
        """Position in its set, from 0."""
        return list(type(self)).index(self)

    __lt__, __le__, __gt__, __ge__ = map(_by_rank, _RELATIONS)


OTHER = "other:"
"""What a value begins with that an open set of terms does not list."""
OTHER_CODE = "other-"
"""What the code of such a network or dataset in model keys begins with."""
OTHER_NAME = r"[A-Za-z0-9][A-Za-z0-9-]{0,29}"
"""The name behind both."""
OTHER_WORDS = r"[^\s,;\u0000-\u001F\u007F-\u00A0\u2028-\u202E\u2066-\u2069]"
"""One character of the words behind ``other: ``; no comma, as a comma separates terms."""
OTHER_TERM = f"{OTHER} {OTHER_WORDS}(?:(?: |{OTHER_WORDS}){{0,58}}{OTHER_WORDS})?"
"""A term in a contributor's own words, such as ``other: Fisher information``."""


class OpenTerm(Term):
    """A set of terms that also takes ``other: `` and a few words.

    ``Criterion("other: Fisher information")`` is such a term: shown, never a facet, and not listed by the class.
    """

    @property
    def registered(self) -> bool:
        """Whether it is one of the terms that the class lists."""
        return not self.value.startswith(OTHER)

    @property
    def words(self) -> str:
        """The term without ``other: ``."""
        return self.value.removeprefix(OTHER).strip()

    @property
    def rank(self) -> int:
        """Position in the list of terms, from 0; other terms follow them."""
        return super().rank if self.registered else len(type(self))

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Another term, if its value is written as one."""
        if not isinstance(value, str) or not re.fullmatch(cls.other_form(), value):
            allowed = f"choose from {', '.join(cls)}, or {cls.other_meaning()}"
            raise ValueError(f"{value!r} is not a valid {cls.__name__}; {allowed}")
        term = str.__new__(cls, value)
        term._name_ = term._value_ = value
        for name, fact in cls._other_facts(term.words).items():
            setattr(term, name, fact)
        cls._value2member_map_[value] = term
        return term

    @classmethod
    def other_form(cls) -> str:
        """Regular expression of the value of another term."""
        return OTHER_TERM

    @classmethod
    def other_meaning(cls) -> str:
        """How another term is written, for messages and forms."""
        return "other: and a few words (at most 60 characters, no comma)"

    @classmethod
    def _other_facts(cls, words: str) -> dict[str, object]:
        """What is known of another term: its words alone."""
        return {name: words if name == "label" else None if name == "citation" else "" for name in cls.__annotations__}


# A row has one or two lines.
# fmt: off
class Dataset(OpenTerm):
    """A test set on which models are evaluated.

    ``Dataset("other:signs")`` is a test set of somebody's own: results on it are shown and never rank. What is known of
    its images comes from its files or from a record, by :meth:`with_images`; until then it has none.

    Attributes:
        code: Part of model keys.
        label: Name in text.
        shape: Channels, height and width of an image.
        class_counts: Images of each class in the whole test (ImageNet: validation) set, in the order of the labels.
        epsilon: Exact l-inf perturbation size of the benchmark, in input units with pixels in [0, 1].
    """

    code: str
    label: str
    shape: tuple[int, int, int]
    class_counts: tuple[int, ...]
    epsilon: str

    CIFAR10 = "cifar10", "CIFAR10", "CIFAR-10", (3, 32, 32), (1000,) * 10, "8/255"
    SVHN = "svhn", "SVHN", "SVHN", (3, 32, 32), (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595), "8/255"
    IMAGENET = "imagenet", "ImageNet", "ImageNet", (3, 224, 224), (50,) * 1000, "4/255"
    CIFAR100 = "cifar100", "CIFAR100", "CIFAR-100", (3, 32, 32), (100,) * 100, "8/255"
    TINY_IMAGENET = "tiny-imagenet", "TinyImageNet", "Tiny-ImageNet", (3, 64, 64), (50,) * 200, "4/255"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_counts)

    @property
    def test_samples(self) -> int:
        """Number of images in the whole test (ImageNet: validation) set."""
        return sum(self.class_counts)

    @property
    def ranked_samples(self) -> int:
        """Number of images whose results rank: the whole test set, or of ImageNet RobustBench's list."""
        return 5000 if self is Dataset.IMAGENET else self.test_samples

    def with_images(self, shape: tuple[int, int, int], class_counts: tuple[int, ...], epsilon: str) -> Dataset:
        """An equal term of another test set that knows its images, and takes the ε of a run for its own.

        >>> signs = Dataset("other:signs").with_images((3, 48, 48), (90, 30), "8/255")
        >>> signs.classes, signs.test_samples, signs == Dataset("other:signs")
        (2, 120, True)
        """
        term = str.__new__(Dataset, self.value)
        term.__dict__ |= {**self.__dict__, "shape": shape, "class_counts": class_counts, "epsilon": epsilon}
        return term

    @classmethod
    def other_form(cls) -> str:
        """Regular expression of another test set."""
        return OTHER + OTHER_NAME

    @classmethod
    def other_meaning(cls) -> str:
        """How another test set is written."""
        return "other:NAME for a test set of your own"

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        """Another test set, unless its name is that of a listed one."""
        plain = str(value).removeprefix(OTHER).replace("-", "").lower()
        same = next((one for one in cls if plain in (one.code.lower(), one.value.replace("-", ""))), None)
        if same is not None and str(value).startswith(OTHER):
            raise ValueError(f"{value!r} has the name of a dataset that is not another: {same.value}")
        return super()._missing_(value)

    @classmethod
    def _other_facts(cls, words: str) -> dict[str, object]:
        return {
            "code": OTHER_CODE + words,
            "label": words,
            "shape": (0, 0, 0),
            "class_counts": (),
            "epsilon": "",
        }


class Architecture(OpenTerm):
    """A network family, whatever the names of its parameters in a checkpoint.

    ``Architecture("other:MyNet")`` is a network of no registered family: it is shown and never ranks. Such terms are
    not among those that the class lists.

    Attributes:
        code: Part of model keys.
        label: Name in text.
        small: Whether it is made for tests and demonstrations: its results say nothing about the networks of the
            survey.
    """

    code: str
    label: str
    small: bool

    RESNET18 = "resnet18", "R18", "ResNet18", False
    VGG16 = "vgg16", "V16", "VGG16", False
    RESNET50 = "resnet50", "R50", "ResNet50", False
    RESNET8 = "resnet8", "R8", "ResNet8", True
    RESNET34 = "resnet34", "R34", "ResNet34", False
    WRN_28_4 = "wrn-28-4", "WRN-28-4", "WRN-28-4", False
    WRN_28_10 = "wrn-28-10", "WRN-28-10", "WRN-28-10", False
    WRN_34_10 = "wrn-34-10", "WRN-34-10", "WRN-34-10", False
    MOBILENETV2 = "mobilenetv2", "MNV2", "MobileNetV2", False
    DEIT_TINY = "deit-tiny", "DeiT-Tiny", "DeiT-Tiny", False
    DEIT_SMALL = "deit-small", "DeiT-Small", "DeiT-Small", False

    @classmethod
    def other_form(cls) -> str:
        """Regular expression of another network."""
        return OTHER + OTHER_NAME

    @classmethod
    def other_meaning(cls) -> str:
        """How another network is written."""
        return "other:NAME for a network of no registered family"

    @classmethod
    def _other_facts(cls, words: str) -> dict[str, object]:
        return {"code": OTHER_CODE + words, "label": words, "small": False}


class Structure(Term):
    """Whether pruning removes single weights or whole structures (survey, section 3.3.1).

    Attributes:
        code: Part of model keys and of the survey's tables.
        sparsities: The three sparsities at which the benchmark compares models (survey, section 4.2); empty where it
            compares none.
        meaning: One sentence for readers and forms.
    """

    code: str
    sparsities: tuple[float, ...]
    meaning: str

    UNSTRUCTURED = "unstructured", "US", (0.90, 0.95, 0.99), "Single weights are removed; the layers keep their shape."
    STRUCTURED = "structured", "S", (0.50, 0.75, 0.90), "Whole filters, channels or kernels are removed."
    SEMI_STRUCTURED = "semi-structured", "SS", (), "Of every M neighbouring weights, at most N are kept (N:M)."


class Granularity(OpenTerm):
    """The unit that a mask removes.

    Attributes:
        structure: Structure of the pruning that removes it; ``None`` for other units, which fit any.
        meaning: One sentence for readers and forms.
    """

    structure: Structure | None
    meaning: str

    WEIGHT = "weight", Structure.UNSTRUCTURED, "Single weights, wherever they are; what unstructured pruning removes."
    FILTER = "filter", Structure.STRUCTURED, "Whole filters of a layer, and so its output channels."
    CHANNEL = "channel", Structure.STRUCTURED, "Input channels of a layer."
    KERNEL = "kernel", Structure.STRUCTURED, "Single two-dimensional kernels of a filter."
    NM_GROUP = "n:m-group", Structure.SEMI_STRUCTURED, "Weights within groups of M, the same number in each group."
    NEURON = "neuron", Structure.STRUCTURED, "Neurons of a fully connected layer."
    HEAD = "attention-head", Structure.STRUCTURED, "Heads of an attention layer."
    LAYER = "layer", Structure.STRUCTURED, "Whole layers or blocks."

    @classmethod
    def _other_facts(cls, words: str) -> dict[str, object]:
        return {"structure": None, "meaning": ""}


class Stage(Term):
    """When the mask is made, relative to training (survey, section 3.2).

    Attributes:
        code: The survey's letter: A-, B- and D-methods.
        heading: Heading of its methods.
        meaning: One sentence for readers and forms.
    """

    code: str
    heading: str
    meaning: str

    AFTER = "after", "A", "Pruning after training", "A dense network is trained robustly, then pruned, then finetuned."
    BEFORE = ("before", "B", "Pruning before training",
              "A sparse subnetwork is searched for first, then trained on its own.")
    DURING = ("during", "D", "Pruning during training",
              "One training run learns the mask together with the weights.")


class Schedule(Term):
    """Whether the sparsity is reached in one step or in several; `code` is the survey's abbreviation."""

    code: str
    meaning: str

    ONE_SHOT = "one-shot", "1S", "The sparsity is reached in one pruning step."
    ITERATIVE = "iterative", "IT", "Pruning and training alternate until the sparsity is reached."


class Locality(Term):
    """Whether each layer reaches the sparsity or only the whole network (survey, section 3.3.2).

    `code` is the survey's letter.
    """

    code: str
    meaning: str

    LOCAL = "local", "L", "Every layer is pruned to the same sparsity."
    GLOBAL = "global", "G", "The network as a whole has the sparsity; layers may differ."


class Criterion(OpenTerm):
    """The rule that says which parameters are pruned (survey, section 3.3.3).

    Attributes:
        label: The abbreviation in full.
        meaning: What is removed, in one sentence.
    """

    label: str
    meaning: str

    LWM = ("LWM", "Lowest weight magnitude",
           "Removes the weights of smallest magnitude; for structures, those of smallest norm.")
    SOLWM = ("SOLWM", "Solver-based lowest weight magnitude",
             "Solves the robust problem with the sparsity as a constraint first, then prunes by magnitude.")
    RELWM = ("RELWM", "Regularization-based lowest weight magnitude",
             "Shrinks weights by regularization during training, then prunes by magnitude.")
    LIS = ("LIS", "Least importance score",
           "Scores how much each parameter matters for robustness and removes the lowest scores.")
    HGM = ("HGM", "Highest gradient magnitude",
           "Selects parameters by the magnitude of the loss's gradient; the survey does not say which end goes.")
    BCS = ("BCS", "Bayesian connectivity sampling",
           "Samples which connections exist from a posterior learned with a robust objective.")
    VM = "VM", "Variational mask", "Learns the distribution of a mask with a robust objective."
    IB = "IB", "Information bottleneck", "Removes what says least about the label."
    SO = "SO", "Second order", "Removes what raises the loss least by second derivatives."


class Objective(OpenTerm):
    """A training objective of a pipeline step.

    Attributes:
        citation: Key of the defining paper in the reference list; ``None`` for natural training and other objectives.
        label: What the abbreviation means.
    """

    citation: str | None
    label: str

    AT_PGD = "AT-PGD", "Madry2018Towards", "Adversarial training with projected gradient descent"
    TRADES = "TRADES", "Zhang2019Theoretically", "Theoretically principled trade-off between robustness and accuracy"
    MART = "MART", "Wang2020Improving", "Misclassification-aware adversarial training"
    AT_UNLABELED = "AT-Unlabeled", "Carmon2019Unlabeled", "Adversarial training with unlabelled data"
    LBGAT = "LBGAT", "Cui2021Learnable", "Learnable boundary guided adversarial training"
    AT_FGSM = "AT-FGSM", "Goodfellow2015Explaining", "Adversarial training with the fast gradient sign method"
    AT_FAST = "AT-Fast", "Wong2020Fast", "Fast adversarial training (single step, random start)"
    AT_SCALE = ("AT-Scale", "Kurakin2017Adversarial",
                "Adversarial training at scale (mixed clean and adversarial batches)")
    AT_FEATURES = "AT-Features", "Ilyas2019Adversarial", "Adversarial training as in the robust-features study"
    CNI = "CNI", "He2019Parametric", "Trainable (parametric) noise injection"
    KD = "KD", "Hinton2015Distilling", "Knowledge distillation"
    NT = "NT", None, "Natural training, without adversarial examples"
    AWP = "AWP", "Wu2020Adversarial", "Adversarial weight perturbation"
    AT_FREE = "AT-Free", "Shafahi2019Adversarial", "Free adversarial training (gradients used twice)"
    CROWN_IBP = "CROWN-IBP", "Zhang2020Towards", "Certified training with linear and interval bounds"
    MIXTRAIN = "MixTrain", "Wang2018Mixtrain", "Certified training on a mixture of objectives"
    SMOOTHING = "RS", "Cohen2019Certified", "Randomized smoothing (training on noisy images)"


class Compression(Term):
    """What compresses a network beside pruning; `meaning` is one sentence for readers and forms."""

    meaning: str

    QUANTIZATION = "quantization", "Weights or activations have fewer bits."
    FACTORIZATION = "factorization", "Weight matrices are products of smaller ones."
    BINARY = "binary-weights", "Weights have two values."


class Attack(Term):
    """The four attacks of AutoAttack standard, in the order in which they run; `label` as in its paper."""

    label: str

    APGD_CE = "apgd-ce", "APGD-CE"
    APGD_T = "apgd-t", "APGD-T"
    FAB_T = "fab-t", "FAB-T"
    SQUARE = "square", "Square"


class AttackName(Term):
    """An attack that a record has results of.

    Attributes:
        label: Name in text and tables.
        array: Per-sample array that it fills, see :class:`apsite.samples.SampleResults`.
        minimum_norm: Whether it looks for the smallest perturbation of each sample, not for one of a given size.
    """

    label: str
    array: str
    minimum_norm: bool

    AUTOATTACK = "autoattack", "AutoAttack", "aa_robust", False
    HOFMN = "hofmn", "HO-FMN", "distance", True


class Protocol(Term):
    """How a result was obtained. Only results of protocols that `ranks` are ranked, and those together."""

    ranks: bool

    APB_1 = "apb-1", True
    SURVEY = "piras-2024", True
    CUSTOM = "custom", False


class ProvenanceKind(Term):
    """Who vouches for a result."""

    PUBLISHED = "published"
    SUBMITTED = "submitted"
    VERIFIED = "verified"


class ChangeKind(Term):
    """What can happen to an entry or a record after it was first published; `label` marks the record that has it."""

    label: str

    SUPERSEDES = "supersedes", "Replaced an older version"
    CORRECTED = "corrected", "Corrected"
    DISPUTED = "disputed", "Disputed"
    SETTLED = "settled", "Dispute settled"
    RETRACTED = "retracted", "Retracted"


# fmt: on


def epsilon_value(text: str) -> float:
    """ε in input units from its exact text, such as ``"8/255"``.

    Raises:
        ValueError: If `text` is not a fraction of two whole numbers of at most six digits, in (0, 1].
    """
    return float(_epsilon(text))


def epsilon_text(text: str) -> str:
    """The one text of an ε: in 255ths where that is a whole number of them, else in lowest terms.

    Raises:
        ValueError: As :func:`epsilon_value`.

    >>> epsilon_text("8/255"), epsilon_text("16/510"), epsilon_text("1/51"), epsilon_text("2/200")
    ('8/255', '8/255', '5/255', '1/100')
    """
    value = _epsilon(text)
    steps = value * 255
    return f"{steps}/255" if steps.denominator == 1 else f"{value}"


@lru_cache(maxsize=256)
def _epsilon(text: str) -> Fraction:
    """ε as a fraction."""
    try:
        if not isinstance(text, str) or not re.fullmatch("[0-9]{1,6}/[0-9]{1,6}", text):
            raise ValueError
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        advice = ""
        if re.fullmatch(r"0?\.[0-9]{1,6}", stated := str(text)) and float(stated):
            near = max(1, round(float(stated) * 255))
            advice = f"; write '{near}/255' if that is meant, or exactly '{Fraction(stated)}'"
        raise ValueError(f"epsilon must be a fraction such as '8/255', not {text!r}{advice}") from None
    if not 0 < value <= 1:
        raise ValueError(f"epsilon must be in (0, 1], not {text!r}")
    return value
