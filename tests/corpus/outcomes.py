"""What each command makes of networks and checkpoint files of others, by kind: it works, or answers in one line.

A network or a file that is not here works with every command, or is a dense or a pruned file like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from apsite.evaluation.checkpoints.loading import load_network
from tests import foreign_networks
from tests.corpus import checkpoints

DENSE = Path("baselines/resnet8/LWM_Han2015Learning_R8_CIFAR10_dense.safetensors")
TRAINED = 43
"""Of the first 64 images this network classifies so many correctly."""


class Outcome(NamedTuple):
    """What the only error line of a command contains, as a regular expression; empty where the command works."""

    evaluated: str = ""  # by audit and eval alike
    pruned: str = ""
    finetuned: str = ""


CUT_OFF, BATCH = "no gradient of the logits reaches the input", "the logits of an image depend on its batch"
IN_PLACE, NOT_FINITE = "changes its input images in place", "returns NaN or infinite logits"
UNTRAINABLE, LOSS = "no gradient of the loss reaches the weights", "the loss is nan after 1 steps"


def always(**answers: str) -> dict[str, Outcome]:
    """The same answer of every command."""
    return {name: Outcome(answer, answer, answer) for name, answer in answers.items()}


KINDS: dict[str, dict[str, Outcome]] = {
    "changes its input": dict.fromkeys(("in_place", "clamped_in_place"), Outcome(IN_PLACE, "", IN_PLACE)),
    "changes its input behind autograd": {"changed_behind_autograd": Outcome(IN_PLACE, "", CUT_OFF)},
    "cuts off the gradient": dict.fromkeys(
        ("stem_without_gradient", "without_gradient", "inference", "detached", "image_by_image"),
        Outcome(CUT_OFF, "", CUT_OFF),
    ),
    "cuts off the gradient of some images": {"gradient_for_bright_batches": Outcome(CUT_OFF)},
    "leaves torch": {"through_numpy": Outcome("RuntimeError: Can't call numpy", "", "RuntimeError: Can't call numpy")},
    "has the gradient of something else": {
        "other_under_autograd": Outcome("other logits while gradients", "", UNTRAINABLE),
        "rounded_with_false_gradient": Outcome("", "", UNTRAINABLE), "decoy": Outcome("", "", UNTRAINABLE),
        "exploding": Outcome("gradient of the loss is NaN or infinite for 64 of"),
    },
    "is right for other images": {
        "expects_255": Outcome(f"but {TRAINED} by the convention: images in 0 to 255"),
        "expects_normalised": Outcome(f"but {TRAINED} by the convention: images normalised with the constants of CIFAR"),
        "classes_from_1": Outcome(f"but {TRAINED} by the convention: classes numbered from 1"),
    },
    "fails": always(
        channels_last_image="RuntimeError: .* to have 3 channels", asserts="AssertionError: image size 32 does not",
        value_error="ValueError: expected 4D input", key_error="KeyError: 'logits'", exits="SystemExit: 2",
        cuda="AssertionError: ", attribute="AttributeError: .* no attribute 'temperature'",
        needs_more="TypeError: .* missing 1", no_forward="NotImplementedError: ",
    ),
    "returns something else": {
        "in_a_dict": Outcome("returns dict for", "", "returns dict for"),
        "nothing": Outcome("returns NoneType for", "", "returns NoneType for"),
        "eleven_classes": Outcome(r"returns \(\d+, 11\) for", "", "logits of 11 classes, CIFAR-10 has 10"),
    },
    "returns NaN for some images": {
        "nan_for_bright_images": Outcome(NOT_FINITE),
        **dict.fromkeys(("nan_under_attack", "inf_under_attack"), Outcome(NOT_FINITE, "", LOSS)),
    },
    "depends on the batch": dict.fromkeys(
        ("trains_batch_norm", "centred", "seeded_noise", "global_seed", "without_statistics"), Outcome(BATCH)
    ),
    "stays in training mode": {"sticky_training": Outcome("in training mode", "KeyError: ''", "KeyError: ''")},
    "cannot be built": always(
        needs_an_argument="building the network failed: TypeError",
        loads_itself="building the network failed: FileNotFoundError", lazy="holds no state dict",
    ),
}  # fmt: skip
"""Networks of :mod:`tests.foreign_networks`."""
OUTCOMES = {name: outcome for kind in KINDS.values() for name, outcome in kind.items()}
OF_EACH_KIND = {next(iter(kind)) for kind in KINDS.values()} | {
    "plain", "view", "transformer", "masked", "torch_pruned", "own_convolutions",
}  # fmt: skip
"""A few networks of all kinds, those that work among them."""


def trained(name: str) -> dict[str, Tensor]:
    """State dict of a factory's network with the weights of the dense baseline, where it has its layers."""

    own = load_network(DENSE, architecture="resnet8").state_dict()
    torch.manual_seed(0)
    try:
        state = foreign_networks.FACTORIES[name]().state_dict()
    except (TypeError, FileNotFoundError):
        return own
    for key, value in state.items():
        plain = key
        for prefix in ("module.", "_orig_mod.", "body.", "1."):
            plain = plain.removeprefix(prefix)
        plain = plain.replace("parametrizations.weight.original", "weight")
        if f"{plain.removesuffix('_orig')}_mask" in state:
            plain = plain.removesuffix("_orig")
        if plain in own and own[plain].shape == value.shape:
            state[key] = own[plain]
    return dict(state)


class Kept(NamedTuple):
    """Zero weights that `prune` to 95 % and `finetune` leave, or what their error line contains."""

    pruned: int | str
    finetuned: int | str


ALREADY, CONSTANTS = "is pruned already; give the dense network", "would lose; give a factory that normalises inside"
AS_DENSE = Kept(390_488, 0)
FEW_ZEROS = Kept(ALREADY, checkpoints.TOTAL - checkpoints.ZEROS)
UNUSUAL_FILES: dict[str, Kept] = {
    "raw, chosen": AS_DENSE, "mask that is missing": AS_DENSE, "HYDRA before pruning": AS_DENSE, "scores": AS_DENSE,
    "mask that is inverted": FEW_ZEROS, "masks in a list, inverted": FEW_ZEROS,
    **{
        name: Kept(CONSTANTS, CONSTANTS)
        for name, (_, found, *_) in checkpoints.OBJECTS.items()
        if name.startswith("norm") and isinstance(found, int)
    },
}  # fmt: skip
"""Files of :mod:`tests.corpus.checkpoints` of which an audit, which knows the sparsity, does not say the same."""


def kept(name: str, found: int | str) -> Kept:
    """What `prune` and `finetune` make of a file in which an audit finds so many zeros, or which it answers."""
    return UNUSUAL_FILES.get(name) or Kept(ALREADY if isinstance(found, int) else found, found)
