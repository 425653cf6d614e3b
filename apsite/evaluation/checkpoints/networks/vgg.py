"""VGG networks of the benchmark for 32x32 images, described rather than copied.

All have the 13 convolutions of configuration D with batch norm; they differ in names, pooling, biases and classifier.
Source: Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*, ICLR 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, pairwise

from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.networks.layers import LayerMaker, Normalisation, Parametrisation, normaliser


@dataclass(frozen=True)
class VGGLayout:
    """What distinguishes one VGG network from another.

    Attributes:
        groups: Output channels of each convolution, group by group.
        pooled_groups: The first so many groups end in a 2x2 max-pooling.
        grid: The last features are averaged to a map of ``grid x grid`` and flattened.
        hidden: Widths of the classifier's hidden layers, each followed by ReLU.
        hidden_norm: Whether each hidden layer has batch norm before its ReLU.
        conv_bias: Whether convolutions have a bias.
        features: Name of the convolutional part.
        classifier: Name of the last part.
        numbered: Whether groups and classifier layers are ``layer1`` to ``layer8`` instead, each unit a sequence.
        doubled: Whether both parts are registered a second time inside a sequence ``model``, at 0 and 3, so that a
            checkpoint holds every tensor twice.
        convolutional_classifier: Whether the last part is a 1x1 convolution without bias instead of linear layers.
        parametrisation: How weights store what is pruned.
        affine: Whether batch norm has a weight and a bias.
    """

    groups: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
    pooled_groups: int = 5
    grid: int = 1
    hidden: tuple[int, ...] = ()
    hidden_norm: bool = False
    conv_bias: bool = False
    features: str = "features"
    classifier: str = "classifier"
    numbered: bool = False
    doubled: bool = False
    convolutional_classifier: bool = False
    parametrisation: Parametrisation = Parametrisation.PLAIN
    affine: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """Heights of the square images that it is for."""
        return (32, 64)


class VGG(nn.Module):
    """VGG network for 32x32 or 64x64 images in [0, 1], as `layout` describes it.

    Layouts with scores leave out the fraction `sparsity` of the weights.
    """

    def __init__(
        self, layout: VGGLayout, classes: int, normalisation: Normalisation | None = None, sparsity: float = 0.0
    ) -> None:
        super().__init__()
        self.layout = layout
        make = LayerMaker(layout.parametrisation, sparsity, layout.affine)
        self.normalise = normaliser(normalisation)
        groups = _groups(layout, make)
        if layout.numbered:
            units = [*(_nested(group) for group in groups), *_linears(layout, classes, make)]
            parts = {f"layer{number}": unit for number, unit in enumerate(units, 1)}
        else:
            classifier = _classifier(layout, classes, make)
            parts = {layout.features: nn.Sequential(*chain(*groups)), layout.classifier: classifier}
        for name, part in parts.items():
            self.add_module(name, part)
        self._parts = tuple(parts)
        if layout.doubled:
            features, classifier = (getattr(self, name) for name in self._parts)
            self.model = nn.Sequential(features, nn.AdaptiveAvgPool2d(layout.grid), nn.Flatten(), classifier)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)``."""
        out = self.normalise(x)
        convolutional = len(self.layout.groups) if self.layout.numbered else 1
        for name in self._parts[:convolutional]:
            out = getattr(self, name)(out)
        out = functional.adaptive_avg_pool2d(out, self.layout.grid)
        if not self.layout.convolutional_classifier:
            out = out.flatten(1)
        for name in self._parts[convolutional:]:
            out = getattr(self, name)(out)
        result: Tensor = out.flatten(1)
        return result


def _groups(layout: VGGLayout, make: LayerMaker) -> list[list[nn.Module]]:
    """Layers of each group in order: convolution, batch norm, ReLU, ..., and its max-pooling."""
    groups = []
    channels = 3
    for number, widths in enumerate(layout.groups):
        steps: list[nn.Module] = []
        for width in widths:
            steps += [make.conv(channels, width, 3, bias=layout.conv_bias), make.norm(width), nn.ReLU()]
            channels = width
        if number < layout.pooled_groups:
            steps.append(nn.MaxPool2d(2))
        groups.append(steps)
    return groups


def _nested(group: list[nn.Module]) -> nn.Sequential:
    """One group as a sequence of units, each a sequence of convolution, batch norm and ReLU."""
    end = len(group) // 3 * 3
    return nn.Sequential(*(nn.Sequential(*group[at : at + 3]) for at in range(0, end, 3)), *group[end:])


def _linears(layout: VGGLayout, classes: int, make: LayerMaker) -> list[nn.Module]:
    """Layers of the classifier; hidden ones are a sequence of linear layer and ReLU."""
    widths = [layout.groups[-1][-1] * layout.grid**2, *layout.hidden]
    hidden = [nn.Sequential(make.linear(width, wider), nn.ReLU()) for width, wider in pairwise(widths)]
    return [*hidden, make.linear(widths[-1], classes)]


def _classifier(layout: VGGLayout, classes: int, make: LayerMaker) -> nn.Module:
    """The classifier: one layer where nothing is hidden, else a flat sequence."""
    if layout.convolutional_classifier:
        return make.conv(layout.groups[-1][-1], classes, 1)
    *hidden, last = _linears(layout, classes, make)
    if not hidden:
        return last
    steps: list[nn.Module] = []
    for width, unit in zip(layout.hidden, hidden, strict=True):
        assert isinstance(unit, nn.Sequential)
        linear, activation = unit
        steps += [linear, nn.BatchNorm1d(width), activation] if layout.hidden_norm else [linear, activation]
    return nn.Sequential(*steps, last)
