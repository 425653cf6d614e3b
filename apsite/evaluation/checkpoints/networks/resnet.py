"""Residual networks of the benchmark, described rather than copied.

A checkpoint layout (names and shapes of its tensors) is a small :class:`ResNetLayout`; one module class builds all of
them. Sources: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016 (post-activation basic block and
bottleneck); He et al., *Identity Mappings in Deep Residual Networks*, ECCV 2016 (pre-activation block); Zagoruyko and
Komodakis, *Wide Residual Networks*, BMVC 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.networks.layers import LayerMaker, Normalisation, Parametrisation, normaliser


@dataclass(frozen=True)
class ResNetLayout:
    """What distinguishes one residual network from another.

    Attributes:
        widths: Channels of the 3x3 convolutions of each stage.
        blocks: Blocks in each stage. All stages but the first halve the resolution.
        stem: Channels of the stem; ``None`` for those of the first stage.
        stem_stride: Stride of the 3x3 stem convolution. There is no max-pooling.
        imagenet: Whether the network is for ImageNet: a 7x7 stem convolution with stride 2, followed by max-pooling.
        bottleneck: Whether blocks are bottlenecks, which leave with four times as many channels.
        preactivation: Whether batch norm and ReLU come before each convolution. Then the stem has no batch norm, a
            shortcut is a bare 1x1 convolution of the activated input, and nothing follows the sum. Otherwise they come
            after, and a shortcut has its batch norm.
        last_norm: Whether one batch norm with ReLU closes the last stage of a pre-activation network.
        wide: Whether names are those of the published wide residual networks: ``block1.layer.0.convShortcut``, and
            ``bn1`` for the last batch norm instead of ``bn``.
        classifier: Name of the last layer.
        convolutional_classifier: Whether the last layer is a 1x1 convolution without bias instead of a linear layer.
        parametrisation: How weights store what is pruned.
        affine: Whether batch norm has a weight and a bias.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    stem: int | None = None
    stem_stride: int = 1
    imagenet: bool = False
    bottleneck: bool = False
    preactivation: bool = False
    last_norm: bool = True
    wide: bool = False
    classifier: str = "linear"
    convolutional_classifier: bool = False
    parametrisation: Parametrisation = Parametrisation.PLAIN
    affine: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """Heights of the square images that it is for."""
        return (224,) if self.imagenet else (32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, ReLU after the sum."""

    expansion = 1

    def __init__(self, make: LayerMaker, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = make.conv(channels_in, channels_out, 3, stride)
        self.bn1 = make.norm(channels_out)
        self.conv2 = make.conv(channels_out, channels_out, 3)
        self.bn2 = make.norm(channels_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(make.conv(channels_in, channels_out, 1, stride), make.norm(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(n, channels_out, height / stride, width / stride)``."""
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class PreactivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions; a shortcut with a weight sees the activated input."""

    expansion = 1
    shortcut_name = "shortcut"

    def __init__(self, make: LayerMaker, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = make.norm(channels_in)
        self.conv1 = make.conv(channels_in, channels_out, 3, stride)
        self.bn2 = make.norm(channels_out)
        self.conv2 = make.conv(channels_out, channels_out, 3)
        projects = stride != 1 or channels_in != channels_out
        self.add_shortcut(make.conv(channels_in, channels_out, 1, stride) if projects else None)

    def add_shortcut(self, projection: nn.Module | None) -> None:
        """Register the convolution of the shortcut, or that there is none."""
        self.shortcut = None if projection is None else nn.Sequential(projection)

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(n, channels_out, height / stride, width / stride)``, not activated."""
        activated = functional.relu(self.bn1(x))
        projection = getattr(self, self.shortcut_name)
        shortcut = x if projection is None else projection(activated)
        result: Tensor = self.conv2(functional.relu(self.bn2(self.conv1(activated)))) + shortcut
        return result


class WideBlock(PreactivationBlock):
    """Pre-activation block with the names of the published wide residual networks."""

    shortcut_name = "convShortcut"

    def add_shortcut(self, projection: nn.Module | None) -> None:
        """Register the convolution of the shortcut, or that there is none."""
        self.convShortcut = projection


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm and a shortcut, ReLU after the sum.

    As in the standard implementation the 3x3 convolution carries the stride.
    """

    expansion = 4
    shortcut_name = "shortcut"

    def __init__(self, make: LayerMaker, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * self.expansion
        self.conv1 = make.conv(channels_in, width, 1)
        self.bn1 = make.norm(width)
        self.conv2 = make.conv(width, width, 3, stride)
        self.bn2 = make.norm(width)
        self.conv3 = make.conv(width, channels_out, 1)
        self.bn3 = make.norm(channels_out)
        projection = None
        if stride != 1 or channels_in != channels_out:
            projection = nn.Sequential(make.conv(channels_in, channels_out, 1, stride), make.norm(channels_out))
        self.add_module(self.shortcut_name, projection)

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(n, 4 * width, height / stride, width / stride)``."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        projection = getattr(self, self.shortcut_name)
        return functional.relu(self.bn3(self.conv3(out)) + (x if projection is None else projection(x)))


class ImageNetBottleneck(Bottleneck):
    """Bottleneck with the names of the networks for ImageNet."""

    shortcut_name = "downsample"


class ResNet(nn.Module):
    """Residual network for images in [0, 1], as `layout` describes it.

    Layouts with scores leave out the fraction `sparsity` of the weights.
    """

    def __init__(
        self, layout: ResNetLayout, classes: int, normalisation: Normalisation | None = None, sparsity: float = 0.0
    ) -> None:
        super().__init__()
        self.layout = layout
        make, block = LayerMaker(layout.parametrisation, sparsity, layout.affine), _block(layout)
        channels = layout.stem or layout.widths[0]
        self.normalise = normaliser(normalisation)
        kernel, stride = (7, 2) if layout.imagenet else (3, layout.stem_stride)
        self.conv1 = make.conv(3, channels, kernel, stride)
        if not layout.preactivation:
            self.bn1 = make.norm(channels)
        for number, (width, count) in enumerate(zip(layout.widths, layout.blocks, strict=True), start=1):
            stage = []
            for index in range(count):
                stage.append(block(make, channels, width, 2 if number > 1 and index == 0 else 1))
                channels = width * block.expansion
            blocks = nn.Sequential(*stage)
            self.add_module(self._stage(number), nn.Sequential(OrderedDict(layer=blocks)) if layout.wide else blocks)
        if self._last_norm:
            self.add_module(self._last_norm, make.norm(channels))
        last = make.conv(channels, classes, 1) if layout.convolutional_classifier else None
        setattr(self, layout.classifier, last or make.linear(channels, classes))

    def _stage(self, number: int) -> str:
        return f"{'block' if self.layout.wide else 'layer'}{number}"

    @property
    def _last_norm(self) -> str | None:
        """Name of the batch norm behind the last stage, if there is one."""
        return ("bn1" if self.layout.wide else "bn") if self.layout.preactivation and self.layout.last_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)``."""
        out = self.conv1(self.normalise(x))
        if not self.layout.preactivation:
            out = functional.relu(self.bn1(out))
        if self.layout.imagenet:
            out = functional.max_pool2d(out, 3, 2, 1)
        for number in range(1, len(self.layout.widths) + 1):
            out = getattr(self, self._stage(number))(out)
        if self._last_norm:
            out = functional.relu(getattr(self, self._last_norm)(out))
        out = out.mean(dim=(2, 3), keepdim=self.layout.convolutional_classifier)
        result: Tensor = getattr(self, self.layout.classifier)(out).flatten(1)
        return result


def _block(layout: ResNetLayout) -> type[BasicBlock | PreactivationBlock | Bottleneck]:
    if layout.bottleneck:
        return ImageNetBottleneck if layout.imagenet else Bottleneck
    if layout.preactivation:
        return WideBlock if layout.wide else PreactivationBlock
    return BasicBlock
