"""Networks of others, by kind: what each habit makes of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from apsite.errors import ApsiteError, NetworkError
from apsite.evaluation.attacks.execution import foreign_code
from apsite.evaluation.checkpoints.behaviour import check_behaviour
from apsite.evaluation.runs.python_interface import evaluate
from apsite.protocol import Settings
from apsite.records import EvaluationRecord
from apsite.vocabulary import AttackName
from tests import foreign_networks
from tests.corpus.outcomes import OUTCOMES, trained

WARNED = {
    "rounded": ["dead-gradients", "quantised-inputs"], "sixteen_levels": ["dead-gradients", "quantised-inputs"],
    "rounded_with_false_gradient": ["quantised-inputs", "wrong-gradients"],
    "straight_through": ["quantised-inputs", "wrong-gradients"], "decoy": ["wrong-gradients"],
    "expects_bgr": ["other-convention"], "expects_minus_one": ["other-convention"], "softmax": ["softmax-output"],
    "saturated_softmax": ["softmax-output", "dead-gradients", "wrong-gradients"], "scaled_up": ["saturated-loss"],
    "scaled_down": ["underflowing-logits"],
    "bfloat16": ["quantised-inputs", "wrong-gradients"], "autocast": ["wrong-gradients"],
    "dropout": ["non-deterministic", "unstable-logits", "wrong-gradients"], "counting": ["non-deterministic"],
    "random_resize": ["non-deterministic", "wrong-gradients"], "noise_of_the_image": ["unstable-logits"],
    "purifies": ["optimises-at-inference"], "old_spectral_norm": ["saturated-loss"],
    "constant": ["softmax-output", "dead-gradients"],
}  # fmt: skip
AS_IT_IS = {
    "branches": "TypeError: ", "reshape": "RuntimeError: 'len' is not supported", "autocast": "its logits differ",
    "purifies": "RuntimeError: ", "compiled": "RuntimeError: ", "dropout": "its logits differ", "patches": "'len' is",
    "random_resize": "its logits differ", "counting": "its logits differ", "noise_of_the_image": "TraceError: ",
}  # fmt: skip
BEHAVIOUR = {code for codes in WARNED.values() for code in codes}
SAME_NUMBERS = {
    "plain", "wrapped", "defaults", "two_outputs_in_a_tuple", "one_in_a_tuple", "squeezed", "log_softmax", "double",
    "half", "branches", "prints", "masked", "own_convolutions", "thresholds", "torch_pruned", "hooked",
    "data_parallel", "compiled", "halved", "channels_last", "upsampled", "int_buffer", "bool_buffer", "byte_buffer",
    "complex_buffer",
    "rounded", "sixteen_levels", "rounded_with_false_gradient", "straight_through", "decoy", "softmax",
    "saturated_softmax", "scaled_up", "scaled_down", "autocast", "counting", "purifies",
}  # fmt: skip
"""Networks that classify as the dense baseline does."""


def evaluated(name: str, folder: Path) -> EvaluationRecord:
    """Record of a short evaluation of 8 images, after an audit with 64."""
    torch.save(trained(name), folder / "model.pt")
    settings = Settings(
        n_examples=8, attacks=(AttackName.HOFMN,), trials=1, search_samples=4, search_steps=1, attack_steps=5
    )
    return evaluate(
        folder / "model.pt", method="LWM_Han2015Learning", dataset="cifar10", architecture="other:Foreign",
        factory=f"{foreign_networks.__file__}:{name}", data_dir="embedded", device="cpu", settings=settings,
        run_dir=folder,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # what others write warns of much
@pytest.mark.parametrize("name", foreign_networks.FACTORIES)
def test_every_network_of_others_has_the_right_outcome(name: str, tmp_path: Path) -> None:
    """A refusal in one line, or the accuracy of the dense baseline with the warnings that its habit deserves."""
    if name in OUTCOMES and (answer := OUTCOMES[name].evaluated):
        with pytest.raises(ApsiteError, match=answer) as refused:
            evaluated(name, tmp_path)
        assert "\n" not in str(refused.value)
        return
    record = evaluated(name, tmp_path)
    codes = {warning.code for warning in record.warnings}
    assert codes & BEHAVIOUR >= set(WARNED.get(name, ()))
    assert bool(codes & BEHAVIOUR) == (name in WARNED)
    assert AS_IT_IS.get(name, "") in str(record.environment.get("attacked_as_it_is", ""))
    assert ("attacked_as_it_is" in record.environment) == (name in AS_IT_IS)
    assert any("its first item is the logits" in note for note in record.notes) == ("tuple" in name)
    if name in SAME_NUMBERS:
        assert record.results.clean_accuracy == 7 / 8


class Behaviour(nn.Module):
    """One linear layer with a habit."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.linear, self.habit = nn.Linear(12, 10), habit

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of 2 x 2 pixels."""
        logits: Tensor = self.linear(x.flatten(1))
        return {"none": logits, "nan": logits * float("nan"), "shape": logits[:, :5]}[self.habit]


@pytest.mark.parametrize(("habit", "message"), [("nan", "NaN or infinite logits"), ("shape", r"\(4, 5\).*\(4, 10\)")])
def test_networks_that_cannot_be_evaluated_are_refused(habit: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        check_behaviour(Behaviour(habit).eval(), torch.rand(4, 3, 2, 2), torch.arange(4), 10)


def test_training_mode_is_refused() -> None:
    """Batch statistics would change while attacking."""
    with pytest.raises(NetworkError, match=r"call \.eval\(\)"):
        check_behaviour(Behaviour("none").train(), torch.rand(4, 3, 2, 2), torch.arange(4), 10)


def test_the_share_of_dead_gradients() -> None:
    """A network that saturates for half of the images has dead gradients for that half."""

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            alive = (x.flatten(1)[:, :1] > 0.5).float()
            return torch.cat([x.flatten(1)[:, :3] * alive, torch.zeros(len(x), 7)], dim=1)

    x = torch.full((4, 3, 2, 2), 0.1)
    x[:2] = torch.rand(2, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.55
    (dead,) = check_behaviour(Half().eval(), x, torch.zeros(4, dtype=torch.int64), 10).warnings
    assert dead.message.startswith("The gradient of the loss is exactly zero for 50.0% of the first 4 images")


def test_the_device_speaks_for_itself() -> None:
    """Too little memory is no fault of the network."""
    with pytest.raises(torch.OutOfMemoryError), foreign_code("it fails"):
        raise torch.OutOfMemoryError("no memory")
    with pytest.raises(NetworkError, match=r"^it fails: ValueError: two lines$"), foreign_code("it fails"):
        raise ValueError("two\nlines")
