"""ResNet50 for ImageNet, with the parameter names of the standard implementation.

Source: He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016; as in the standard implementation the
3x3 convolution of a bottleneck carries the stride.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.networks.layers import LayerMaker, Normalisation, normaliser

EXPANSION = 4
"""Output channels of a bottleneck over its width."""


@dataclass(frozen=True)
class BottleneckLayout:
    """What distinguishes one bottleneck network from another.

    Attributes:
        widths: Channels inside the bottlenecks of each stage; they leave with four times as many.
        blocks: Bottlenecks in each stage. All stages but the first halve the resolution.
        classes: Number of logits.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    classes: int = 1000


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm and a shortcut, ReLU after the sum."""

    def __init__(self, make: LayerMaker, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1 = make.conv(channels_in, width, 1)
        self.bn1 = make.norm(width)
        self.conv2 = make.conv(width, width, 3, stride)
        self.bn2 = make.norm(width)
        self.conv3 = make.conv(width, channels_out, 1)
        self.bn3 = make.norm(channels_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(make.conv(channels_in, channels_out, 1, stride), make.norm(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(n, 4 * width, height / stride, width / stride)``."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return functional.relu(self.bn3(self.conv3(out)) + shortcut)


class BottleneckResNet(nn.Module):
    """Residual network for 224x224 images in [0, 1], as `layout` describes it.

    Args:
        layout: The description.
        normalisation: Constants applied to images inside the network; ``None`` where they enter as they are.
    """

    def __init__(self, layout: BottleneckLayout, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        self.layout = layout
        make = LayerMaker()
        channels = layout.widths[0]
        self.normalise = normaliser(normalisation)
        self.conv1 = make.conv(3, channels, 7, 2)
        self.bn1 = make.norm(channels)
        for number, (width, count) in enumerate(zip(layout.widths, layout.blocks, strict=True), start=1):
            stage = []
            for index in range(count):
                stage.append(Bottleneck(make, channels, width, 2 if number > 1 and index == 0 else 1))
                channels = width * EXPANSION
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.fc = make.linear(channels, layout.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, 224, 224)``."""
        out = functional.relu(self.bn1(self.conv1(self.normalise(x))))
        out = functional.max_pool2d(out, 3, 2, 1)
        for number in range(1, len(self.layout.widths) + 1):
            out = getattr(self, f"layer{number}")(out)
        result: Tensor = self.fc(out.mean(dim=(2, 3)))
        return result
