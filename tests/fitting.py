"""Networks and checkpoints for tests that fit one to the other."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.evaluation.checkpoints.reading import CheckpointFile
from apsite.vocabulary import Dataset

X = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def checkpoint_of(state):
    """A checkpoint as reading it would give it, without a file."""
    return CheckpointFile(Path("a.pt"), dict(state), "torch zip", "bare", hashlib.sha256().hexdigest(), 1)


def network_of(name, dataset=Dataset.CIFAR10, sparsity=0.9):
    """A network of a registered layout with fixed random weights, in evaluation mode."""
    torch.manual_seed(7)
    return layouts()[name].build(dataset, sparsity).eval()


def logits(network, x=X):
    """What a network gives for images, without gradients."""
    with torch.no_grad():
        return network(x)


def equal_outputs(fitted, network):
    """Whether a fitted network gives exactly the logits of another."""
    return torch.equal(logits(fitted.network), logits(network))


def random_mask(shape, sparsity=0.9):
    """Zeros and ones."""
    return (torch.rand(shape) >= sparsity).float()
