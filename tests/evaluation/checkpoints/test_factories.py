"""Networks that a user's own function builds."""

from __future__ import annotations

import hashlib
import sys

import pytest
import torch
from torch import nn

from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.factories import build_network
from apsite.evaluation.checkpoints.loading import Declared, load_network, open_network
from tests.fitting import checkpoint_of, logits, random_mask

FACTORY = """
import torch
from torch import nn
from torch.nn.utils import prune
from sibling import WIDTH

class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.25))
        self.conv = nn.Conv2d(3, WIDTH, 3)

    def forward(self, x):
        x = (x - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        return self.conv(x).mean(dim=(2, 3))

def network():
    return Normalised().half()

def masked():
    layer = nn.Linear(4, 2)
    prune.identity(layer, "weight")
    return layer

def tied():
    first = nn.Linear(4, 4, bias=False)
    return nn.Sequential(first, nn.ReLU(), first)

def needs_an_argument(width):
    return nn.Linear(width, 1)

def gives_a_number():
    return 3

def leaves():
    raise SystemExit(2)

def empty():
    return nn.ReLU()

CONSTANT = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sibling.py").write_text("WIDTH = 10\n", encoding="utf-8")
    (tmp_path / "my_network.py").write_text(FACTORY, encoding="utf-8")
    yield tmp_path
    for name in ("sibling", "my_network", "apsite_factory_my_network"):
        sys.modules.pop(name, None)


def test_a_factory_in_a_file_builds_the_network(folder):
    """It may import its neighbours; what it registers itself, such as a normalisation, stays its own."""
    spec = f"{folder / 'my_network.py'}:network"
    before = list(sys.path)
    torch.manual_seed(1)
    network, name, digest = build_network(spec)
    network.float().eval()
    assert (name, digest) == ("my_network.py:network", hashlib.sha256(FACTORY.encode()).hexdigest())
    assert sys.path == before
    with torch.no_grad():
        network.mean.fill_(0.4)
    torch.save({"net": {f"module.{name}": value for name, value in network.state_dict().items()}}, folder / "a.pt")
    loaded = load_network(folder / "a.pt", architecture=spec)
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(network))


def test_a_factory_in_a_module_builds_the_network(folder, monkeypatch):
    """The working directory is searched too, as for ``python -m``."""
    monkeypatch.chdir(folder)
    assert isinstance(build_network("my_network:network").network, nn.Module)


def test_building_a_factory_s_network_draws_no_random_numbers(folder):
    """So a run gives the same results with a factory and with a registered network."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    build_network(f"{folder / 'my_network.py'}:network")
    assert torch.equal(torch.rand(2), expected)


def test_a_factory_s_own_masks_and_tied_weights_are_used(folder):
    """A network that has masks gets them, as zeros of its weights; a tied tensor may be stored once."""
    masked, tied = (Declared(f"{folder / 'my_network.py'}:{name}") for name in ("masked", "tied"))
    network = build_network(masked.architecture).network
    state = {**network.state_dict(), "weight_mask": random_mask((2, 4), 0.5)}
    fitted = open_network(checkpoint_of(state), masked)
    assert torch.equal(fitted.network.weight, state["weight_orig"] * state["weight_mask"])
    assert torch.equal(open_network(checkpoint_of({"0.weight": torch.eye(4)}), tied).network[2].weight, torch.eye(4))
    with pytest.raises(CheckpointError, match=r"0.weight, 2.weight are one tensor and hold different values"):
        open_network(checkpoint_of({"0.weight": torch.eye(4), "2.weight": torch.zeros(4, 4)}), tied)


def test_a_factory_s_network_is_loaded_strictly(folder):
    declared = Declared(f"{folder / 'my_network.py'}:network")
    state = dict(build_network(declared.architecture).network.float().state_dict())
    state["extra"] = state.pop("conv.bias")
    with pytest.raises(
        CheckpointError, match=r"a.pt: does not fit the network of the factory: 1 missing \(conv.bias\); 1 un"
    ):
        open_network(checkpoint_of(state), declared)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nothing_here", "no function 'nothing_here' in .*my_network.py; it has Normalised, network, masked"),
        ("CONSTANT", "no function 'CONSTANT'"),
        ("needs_an_argument", "building the network failed: TypeError: needs_an_argument"),
        ("gives_a_number", "gave a int, not a torch.nn.Module"),
        ("leaves", "building the network failed: SystemExit: 2"),
    ],
)
def test_a_factory_that_fails_is_named_with_the_reason(folder, name, problem):
    spec = f"{folder / 'my_network.py'}:{name}"
    with pytest.raises(NetworkError, match=problem) as caught:
        build_network(spec)
    assert str(caught.value).startswith(f"{spec}: ")


def test_a_network_without_parameters_is_refused(folder):
    with pytest.raises(NetworkError, match="the factory's network has no parameters"):
        open_network(checkpoint_of({"a": torch.ones(1)}), Declared(f"{folder / 'my_network.py'}:empty"))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("resnet18", "a factory is written path/to/file.py:factory or package.module:factory"),
        (":factory", "a factory is written"),
        ("file.py:not a name", "a factory is written"),
        ("nowhere/file.py:factory", "there is no file nowhere/file.py"),
        ("no_such_module_here:factory", "importing it failed: ModuleNotFoundError"),
    ],
)
def test_a_factory_specification_that_names_nothing_is_an_error(spec, problem):
    with pytest.raises(NetworkError, match=problem):
        build_network(spec)


@pytest.mark.parametrize("line", ["raise RuntimeError('boom')", "def broken(:", "import sys; sys.exit(1)"])
def test_a_module_that_cannot_be_imported_is_an_error(tmp_path, line):
    """Whatever the user's program raises, it is the user's to mend."""
    (tmp_path / "bad_network.py").write_text(line, encoding="utf-8")
    with pytest.raises(NetworkError, match=r"importing it failed: (RuntimeError: boom|SyntaxError|SystemExit: 1)"):
        build_network(f"{tmp_path / 'bad_network.py'}:factory")
    assert "apsite_factory_bad_network" not in sys.modules
