"""Networks and images that evaluation tests share."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path
from apsite.evaluation.testsets.datasets import ImageSet, embedded_images
from apsite.progress import Reporter


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, and one thread gives the same rounding everywhere."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images() -> ImageSet:
    """The 256 embedded CIFAR-10 test images."""
    return embedded_images()


@pytest.fixture
def demo_network() -> nn.Module:
    """The embedded pruned network, freshly loaded."""
    return load_network(network_path(), architecture="resnet8")


class Listening(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[int] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def advance(self, done: int, note: str = "") -> None:
        self.steps.append(done)


class LinearNetwork(nn.Module):
    """One linear layer on images of 8 x 8 pixels: boundaries whose l-inf distance has a closed form."""

    def __init__(self, classes: int, *, boundaries: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(3 * 8 * 8, classes)
        with torch.no_grad():
            self.linear.weight.copy_(torch.randn(self.linear.weight.shape, generator=generator))
            self.linear.bias.zero_()
            if boundaries == "one":
                self.linear.weight[1] = -self.linear.weight[0]
                self.linear.weight[2:] = 0
                self.linear.bias[2:] = -25
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, classes)``."""
        return self.linear(x.flatten(1))

    def distances(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Exact l-inf distance to the nearest boundary: ``|w.x + b| / sum |w|`` of the nearest pair of classes."""
        logits, weight = self(images), self.linear.weight
        nearest = torch.full((len(images),), float("inf"))
        for other in range(weight.shape[0]):
            gap = logits.gather(1, labels[:, None]).squeeze(1) - logits[:, other]
            distance = gap / (weight[labels] - weight[other]).abs().sum(1)
            nearest = torch.where(labels == other, nearest, torch.minimum(nearest, distance))
        return nearest


@pytest.fixture(scope="session")
def grey_images() -> torch.Tensor:
    """64 images of 8 x 8 pixels far from the edges of [0, 1]."""
    return torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25


@pytest.fixture(scope="session")
def one_boundary() -> LinearNetwork:
    """Ten classes of which only two are in reach, so that there is one boundary."""
    return LinearNetwork(10, boundaries="one")


@pytest.fixture(scope="session")
def many_boundaries() -> LinearNetwork:
    """Three classes, all in reach."""
    return LinearNetwork(3, boundaries="many")


class TinyNetwork(nn.Sequential):
    """A few random convolutions: not trained, quick to attack, and broken by some attacks only."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(
            nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip
        self.eval().requires_grad_(False)
