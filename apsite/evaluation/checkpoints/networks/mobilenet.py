"""MobileNetV2 for small images, with the names of the usual implementation for CIFAR.

Source: Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*, CVPR 2018. For small images stem and
second stage keep the resolution, and the shortcut is a 1x1 convolution where only the width changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from apsite.evaluation.checkpoints.networks.layers import LayerMaker, Normalisation, normaliser

_STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, width, blocks and stride of each stage."""


@dataclass(frozen=True)
class MobileNetLayout:
    """The one MobileNetV2 for small images; `sizes` are their heights."""

    sizes: tuple[int, ...] = (32, 64)


class InvertedResidual(nn.Module):
    """1x1 convolution to more channels, 3x3 convolution of each alone, 1x1 convolution without activation behind it."""

    def __init__(self, make: LayerMaker, channels_in: int, expansion: int, channels_out: int, stride: int) -> None:
        super().__init__()
        width = expansion * channels_in
        self.conv1, self.bn1 = make.conv(channels_in, width, 1), make.norm(width)
        self.conv2, self.bn2 = make.conv(width, width, 3, stride, groups=width), make.norm(width)
        self.conv3, self.bn3 = make.conv(width, channels_out, 1), make.norm(channels_out)
        self.shortcut: nn.Sequential | None = nn.Sequential() if stride == 1 else None
        if stride == 1 and channels_in != channels_out:
            self.shortcut = nn.Sequential(make.conv(channels_in, channels_out, 1), make.norm(channels_out))

    def forward(self, x: Tensor) -> Tensor:
        """Features of shape ``(n, channels_out, height / stride, width / stride)``, not activated."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        result: Tensor = self.bn3(self.conv3(out))
        return result if self.shortcut is None else result + self.shortcut(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 for 32x32 or 64x64 images in [0, 1]."""

    def __init__(self, classes: int, normalisation: Normalisation | None = None) -> None:
        super().__init__()
        make, channels, blocks = LayerMaker(), 32, []
        self.normalise = normaliser(normalisation)
        self.conv1, self.bn1 = make.conv(3, channels, 3), make.norm(channels)
        for expansion, width, count, stride in _STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(make, channels, expansion, width, 1 if index else stride))
                channels = width
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = make.conv(channels, 1280, 1), make.norm(1280)
        self.linear = make.linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of shape ``(n, classes)`` for images of shape ``(n, 3, height, width)``."""
        out = functional.relu(self.bn1(self.conv1(self.normalise(x))))
        out = functional.relu(self.bn2(self.conv2(self.layers(out))))
        result: Tensor = self.linear(out.mean(dim=(2, 3)))
        return result
