"""All checkpoint layouts that the benchmark can load, by name.

A layout joins a network description, the constants of its normalisation, the names its tensors have in a checkpoint,
and the methods whose published checkpoints have it. The ones of the published methods follow the constructors of the
survey's repository tensor by tensor. Inputs are always images in [0, 1]; a layout that normalises does so inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from apsite.evaluation.checkpoints.networks.layers import Normalisation, Parametrisation
from apsite.evaluation.checkpoints.networks.mobilenet import MobileNetLayout, MobileNetV2
from apsite.evaluation.checkpoints.networks.resnet import ResNet, ResNetLayout
from apsite.evaluation.checkpoints.networks.vgg import VGG, VGGLayout
from apsite.evaluation.checkpoints.networks.vit import ViT, ViTLayout
from apsite.vocabulary import Architecture, Dataset


class TensorSpec(NamedTuple):
    """Shape and type of one tensor of a checkpoint."""

    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors of a network in checkpoints.

    Attributes:
        name: Its name in the registry.
        architecture: Network family.
        methods: Names of the methods whose checkpoints have it.
        network: What is built.
        normalisation: Constants applied inside the network, per dataset; if there are any, it is for these datasets.
        prefix: What all names of tensors start with, as in the file of an inner module; ends in a dot or is empty.
        named_only: Whether it is used only if named, since its tensors equal those of another layout
            and its outputs do not.
        unused: Modules of the published code that no output depends on; their tensors may be in a checkpoint.
        note: What a user should know about it; one sentence or nothing.
    """

    name: str
    architecture: Architecture
    methods: tuple[str, ...]
    network: ResNetLayout | VGGLayout | MobileNetLayout | ViTLayout
    normalisation: tuple[tuple[Dataset, Normalisation], ...] = ()
    prefix: str = ""
    named_only: bool = False
    unused: tuple[str, ...] = ()
    note: str = ""

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Datasets with images of its sizes, in the constants of its normalisation if it has any."""
        return tuple(filter(self.fits, Dataset))

    def fits(self, dataset: Dataset) -> bool:
        """Whether it is for a dataset, which need not be registered."""
        of_its_size = dataset.shape in self.input_shapes
        return of_its_size and (not self.normalisation or self.normalisation_of(dataset) is not None)

    @property
    def input_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Channels, height and width of the images that it is for."""
        return tuple((3, size, size) for size in self.network.sizes)

    @property
    def parametrisation(self) -> Parametrisation:
        """How its weights store what is pruned."""
        if isinstance(self.network, ResNetLayout | VGGLayout):
            return self.network.parametrisation
        return Parametrisation.PLAIN

    @property
    def needs_sparsity(self) -> bool:
        """Whether the declared sparsity decides the outputs, since the file holds scores and no mask."""
        return self.parametrisation is Parametrisation.SCORES

    def normalisation_of(self, dataset: Dataset) -> Normalisation | None:
        """Constants applied to images of `dataset` inside the network; ``None`` where there are none."""
        return dict(self.normalisation).get(dataset)

    def build(self, dataset: str | Dataset, sparsity: float | None = None) -> nn.Module:
        """A network of this layout with freshly initialised weights, in training mode.

        It maps images of the dataset, ``(n, 3, height, width)``, to ``(n, classes)`` logits, and its state dict has
        exactly the tensors of :meth:`tensors`. Scores leave out the fraction `sparsity` of the weights.

        Raises:
            ValueError: If the layout has no network for `dataset`, or `sparsity` is outside [0, 1).
        """
        dataset = Dataset(dataset)
        if not self.fits(dataset):
            raise ValueError(f"layout {self.name} is for {', '.join(self.datasets)}, not for {dataset}")
        constants, left_out, network = self.normalisation_of(dataset), sparsity or 0.0, nn.Module()
        match self.network:
            case ResNetLayout():
                network = ResNet(self.network, dataset.classes, constants, left_out)
            case VGGLayout():
                network = VGG(self.network, dataset.classes, constants, left_out)
            case MobileNetLayout():
                network = MobileNetV2(dataset.classes, constants)
            case ViTLayout():
                network = ViT(self.network, dataset.classes, constants)
        return Inner(self.prefix.rstrip("."), network) if self.prefix else network

    def tensors(self, dataset: Dataset | None = None) -> Mapping[str, TensorSpec]:
        """Names, shapes and types of the tensors of its checkpoints for a dataset, in order of registration.

        Only the last layer depends on the dataset; ``None`` means the first of :attr:`datasets`.
        """
        dataset = dataset or self.datasets[0]
        return _tensors(self, dataset, dataset.classes)

    def parameter_count(self) -> int:
        """Number of parameters, masks and scores included; tensors with two names count once."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.build(self.datasets[0]).parameters())


class Inner(nn.Module):
    """A network inside another module, which prefixes the names of its tensors."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.inner = name
        self.add_module(name, network)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the inner network."""
        result: Tensor = getattr(self, self.inner)(x)
        return result


@cache
def _tensors(layout: Layout, dataset: Dataset, _classes: int) -> Mapping[str, TensorSpec]:
    """Kept by the number of classes too: one word may name two test sets of the users' own."""
    with torch.device("meta"):
        state = layout.build(dataset).state_dict()
    return MappingProxyType({key: TensorSpec(tuple(value.shape), value.dtype) for key, value in state.items()})


def _on_both(constants: Normalisation) -> tuple[tuple[Dataset, Normalisation], ...]:
    return ((Dataset.CIFAR10, constants), (Dataset.SVHN, constants))


# RobustBird and FlyingBird normalise SVHN with the constants of CIFAR-10 too.
_BIRD = (
    *_on_both(Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))),
    (Dataset.CIFAR100, Normalisation((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))),
    (Dataset.TINY_IMAGENET, Normalisation((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))),
)
_MAD = (
    (Dataset.CIFAR10, Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))),
    (Dataset.SVHN, Normalisation((0.43090966, 0.4302428, 0.44634357), (0.19759192, 0.20029082, 0.19811132))),
)
_RST = (
    (Dataset.CIFAR10, Normalisation((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))),
    (Dataset.SVHN, Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
)
_IMAGENET = ((Dataset.IMAGENET, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),)

_R18, _V16, _R50, _R8 = Architecture.RESNET18, Architecture.VGG16, Architecture.RESNET50, Architecture.RESNET8
_SOFTPLUS, _SCORES = Parametrisation.SOFTPLUS, Parametrisation.SCORES
_RESNET18 = ResNetLayout()
_PREACTIVATION = ResNetLayout(preactivation=True)
_DEEPER = ResNetLayout(blocks=(3, 4, 6, 3))
_RESNET50 = replace(_DEEPER, imagenet=True, bottleneck=True, classifier="fc")
_BASE_VGG = VGGLayout(pooled_groups=4, grid=2, hidden=(256, 256))
_BIASED_VGG = VGGLayout(conv_bias=True)
_MAD_VGG = VGGLayout(pooled_groups=4, features="feature", parametrisation=_SOFTPLUS)
_LI20_VGG = VGGLayout(pooled_groups=4, hidden=(512,), hidden_norm=True, features="feature", doubled=True)
_RST_BASE = "The survey's repository does not define the network of RST: this is the base network with scores."
_RST_OWN = "As in RST's own repository: batch norm without weight and bias, and a 1x1 convolution as the last layer."
_MASKS = "Every weight is multiplied by the softplus of its mask, so a weight removed by its mask alone is not zero."

_TWICE = "Every tensor has two names; a file that holds only one of them is completed."
_SMALLER_STEM = "A 3x3 stem without max-pooling, for small images."
_USUAL = "For networks trained on images normalised with the usual ImageNet constants."


def _own_rst(network: ResNetLayout | VGGLayout, classifier: str) -> ResNetLayout | VGGLayout:
    return replace(network, parametrisation=_SCORES, affine=False, classifier=classifier, convolutional_classifier=True)


def _wide(depth: int, factor: int) -> ResNetLayout:
    return ResNetLayout(
        widths=(16 * factor, 32 * factor, 64 * factor), blocks=((depth - 4) // 6,) * 3, stem=16, preactivation=True,
        wide=True, classifier="fc",
    )  # fmt: skip


# HYDRA's wide networks hold a second first stage that its forward pass does not use.
_SPARE = ("sub_block1",)

# Within an architecture, earlier layouts are preferred when several fit with equal outputs.
_LAYOUTS = (
    Layout("base_resnet18", _R18, ("HARP", "HYDRA"), _RESNET18),
    Layout("base_vgg16_bn", _V16, ("HARP", "HYDRA"), _BASE_VGG), Layout("radmm_resnet18", _R18, ("RADMM",), _RESNET18),
    Layout("radmm_vgg16", _V16, ("RADMM",), _BIASED_VGG), Layout("twinrep_resnet18", _R18, ("TwinRep",), _RESNET18),
    Layout("twinrep_vgg16", _V16, ("TwinRep",), VGGLayout()),
    Layout("robustbird_resnet18", _R18, ("RobustBird",), _PREACTIVATION, _BIRD),
    Layout("robustbird_vgg16_bn", _V16, ("RobustBird",), _BIASED_VGG, _BIRD),
    Layout("flyingbird_resnet18", _R18, ("FlyingBird",), _PREACTIVATION, _BIRD),
    Layout("flyingbird_vgg16_bn", _V16, ("FlyingBird",), _BIASED_VGG, _BIRD),
    Layout("mad_resnet18", _R18, ("MAD",), ResNetLayout(parametrisation=_SOFTPLUS), _MAD, note=_MASKS),
    Layout("mad_vgg16", _V16, ("MAD",), _MAD_VGG, _MAD, note=_MASKS),
    Layout("li20_resnet18", _R18, ("Li20",), _RESNET18, prefix="model."),
    Layout("li20_vgg16", _V16, ("Li20",), _LI20_VGG, note=_TWICE), Layout("pwoa_resnet18", _R18, ("PwoA",), _RESNET18),
    Layout("pwoa_vgg16", _V16, ("PwoA",), replace(_BASE_VGG, conv_bias=True, numbered=True)),
    Layout("rst_resnet18", _R18, ("RST",), replace(_RESNET18, parametrisation=_SCORES), note=_RST_BASE),
    Layout("rst_vgg16", _V16, ("RST",), replace(_BASE_VGG, parametrisation=_SCORES), note=_RST_BASE),
    Layout("rst_own_resnet18", _R18, ("RST",), _own_rst(_RESNET18, "fc"), _RST, note=_RST_OWN),
    Layout("rst_own_vgg16", _V16, ("RST",), _own_rst(VGGLayout(), "classifier"), _RST, note=_RST_OWN),
    Layout("resnet50", _R50, ("HARP", "HYDRA"), _RESNET50),
    Layout("resnet50_normalised", _R50, (), _RESNET50, _IMAGENET, named_only=True, note=_USUAL),
    Layout("preactresnet18", _R18, (), _PREACTIVATION),
    Layout("preactresnet18_no_last_norm", _R18, (), replace(_PREACTIVATION, last_norm=False)),
    Layout("resnet34", Architecture.RESNET34, (), _DEEPER),
    Layout("resnet50_small_images", _R50, (), replace(_DEEPER, bottleneck=True), note=_SMALLER_STEM),
    Layout("wrn_28_4", Architecture.WRN_28_4, ("HARP", "HYDRA"), _wide(28, 4), unused=_SPARE),
    Layout("wrn_28_10", Architecture.WRN_28_10, ("HARP", "HYDRA"), _wide(28, 10), unused=_SPARE),
    Layout("wrn_34_10", Architecture.WRN_34_10, ("HARP", "HYDRA"), _wide(34, 10), unused=_SPARE),
    Layout("mobilenetv2", Architecture.MOBILENETV2, (), MobileNetLayout()),
    Layout("deit_tiny", Architecture.DEIT_TINY, (), ViTLayout(192, 3)),
    Layout("deit_tiny_64", Architecture.DEIT_TINY, (), ViTLayout(192, 3, size=64, patch=8)),
    Layout("deit_small", Architecture.DEIT_SMALL, (), ViTLayout(384, 6)),
    Layout("deit_small_64", Architecture.DEIT_SMALL, (), ViTLayout(384, 6, size=64, patch=8)),
    Layout("resnet8", _R8, (), ResNetLayout(widths=(32, 64, 160), blocks=(1, 1, 1), stem_stride=2)),
)  # fmt: skip
_BY_NAME = MappingProxyType({layout.name: layout for layout in _LAYOUTS})
_FIRST_PAPERS = {
    "HARP": "Zhao2023", "HYDRA": "Sehwag2020", "RADMM": "Ye2019", "TwinRep": "Li2023", "RobustBird": "Chen2021",
    "FlyingBird": "Chen2021", "MAD": "Lee2022", "Li20": "Li2020", "PwoA": "Jian2022", "RST": "Fu2021",
}  # fmt: skip
"""First author and year of the methods with published checkpoints, as written in method keys."""


def layouts() -> Mapping[str, Layout]:
    """All layouts by name, in order of preference."""
    return _BY_NAME


def layouts_of(architecture: Architecture) -> tuple[Layout, ...]:
    """Layouts of one network family, in order of preference."""
    return tuple(layout for layout in _LAYOUTS if layout.architecture is architecture)


def published_method(method: str) -> str | None:
    """Name of the method with published checkpoints that a method key or name means; ``None`` for all others.

    Another paper's method of the same name is another method: ``HARP_Zhao2023Holistic`` and ``HARP`` mean HARP,
    ``HARP_Someone2026Other`` does not.
    """
    name, _, paper = method.partition("_")
    expected = _FIRST_PAPERS.get(name)
    if expected is None or not (method == name or paper.startswith(expected)):
        return None
    return name


def method_keys(layout: Layout) -> list[str]:
    """What the keys of the methods whose published checkpoints have a layout begin with."""
    return [f"{name}_{_FIRST_PAPERS[name]}" for name in layout.methods]


def method_layouts(method: str, architecture: Architecture) -> tuple[Layout, ...]:
    """Layouts of a method's published checkpoints for one network family, in order of preference; may be empty."""
    name = published_method(method)
    return tuple(layout for layout in layouts_of(architecture) if name in layout.methods)
