"""A wide residual network and a vision transformer of no registered family, through the commands of the docs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from apsite.catalogue import load_catalogue
from apsite.comparable import rankable
from apsite.evaluation.attacks.execution import as_inputs
from apsite.evaluation.testsets.datasets import embedded_images
from tests.builders import entry_document, write_data
from tests.cli.conftest import apsite

METHOD = "Tiny_Doe2024Small"
NETWORKS = '''
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(channels_in), nn.BatchNorm2d(channels_out)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.same = channels_in == channels_out
        self.shortcut = nn.Identity() if self.same else nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x):
        active = functional.relu(self.bn1(x))
        inner = self.conv2(functional.relu(self.bn2(self.conv1(active))))
        return inner + self.shortcut(x if self.same else active)


class WRN(nn.Module):
    """WRN-16-4: three stages of two blocks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        sizes = [(16, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1)]
        self.blocks = nn.Sequential(*(Block(*size) for size in sizes))
        self.norm, self.head = nn.BatchNorm2d(256), nn.Linear(256, 10)

    def features(self, x):
        return functional.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


class ViT(nn.Module):
    """Two layers of width 64 on patches of 4 x 4 pixels."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 64, 4, 4)
        self.positions = nn.Parameter(0.02 * torch.randn(1, 64, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 10)

    def features(self, x):
        return self.layers(self.patches(x).flatten(2).transpose(1, 2) + self.positions).mean(1)

    def forward(self, x):
        return self.head(self.features(x))
'''


def pruned(network: nn.Module) -> nn.Module:
    """The network with the smaller half of each weight removed and its last layer fitted to the first 32 test images.

    The layers before are random: fitting the last one takes no training, and a random network would classify too few
    images for an attack to have anything to do.
    """
    network.eval()
    images = embedded_images().first(32)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.dim() >= 2 and not name.startswith("head"):
                weight.mul_(weight.abs() > weight.abs().flatten().median())
        features = network.features(as_inputs(images.images[:], torch.device("cpu")))  # type: ignore[operator]
        centred = features - features.mean(0)
        kernel = centred @ centred.T
        ridge = kernel + 1e-4 * kernel.trace() / len(kernel) * torch.eye(len(kernel))
        targets = nn.functional.one_hot(torch.from_numpy(images.labels), 10).float() - 0.1
        head = network.head
        assert isinstance(head, nn.Linear)
        head.weight.copy_((centred.T @ torch.linalg.solve(ridge, targets)).T)
        head.bias.copy_(-head.weight @ features.mean(0))
    return network


@pytest.mark.slow
def test_networks_of_no_registered_family_are_evaluated_and_shown(tmp_path: Path) -> None:
    """Both are audited, attacked, valid and on the page of the method; neither ranks."""
    source = tmp_path / "networks.py"
    source.write_text(NETWORKS, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("own_networks", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root = write_data(tmp_path / "root", entry_document(METHOD))
    for name, builder in (("WRN-16-4", "WRN"), ("Tiny-ViT", "ViT")):
        torch.manual_seed(0)
        checkpoint, factory = tmp_path / f"{builder}.pt", f"{source}:{builder}"
        torch.save(pruned(getattr(module, builder)()).state_dict(), checkpoint)
        declared = ["--structure", "unstructured", "--sparsity", "0.50"]
        audited = apsite("audit", checkpoint, "--arch", factory, *declared).stdout
        assert "none that is registered" in audited
        apsite(
            "eval", checkpoint, "--method", METHOD, "--dataset", "cifar10", "--arch", factory, "--as", f"other:{name}",
            *declared, "--data-dir", "embedded", "--protocol", "quick", "--n-examples", 8, "--attacks", "autoattack",
            "--root", root, "--output", root / "evaluations", "--run-dir", tmp_path / "runs", "--quiet",
        )  # fmt: skip
    apsite("validate", "--root", root)
    records = load_catalogue(root).records
    keys = {f"{METHOD}_other-{name}_CIFAR10_US_50" for name in ("WRN-16-4", "Tiny-ViT")}
    assert keys == set(records)
    for record in records.values():
        assert (record.results.clean_accuracy or 0) >= 0.75
        assert not rankable(record)
    apsite("build", "--root", root, "--output", tmp_path / "site")
    page = (tmp_path / "site" / "site" / "methods" / f"{METHOD}.html").read_text(encoding="utf-8")
    assert "WRN-16-4" in page
    assert "Tiny-ViT" in page
