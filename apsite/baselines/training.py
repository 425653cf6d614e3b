"""A small recipe for adversarial training, dense or under a fixed mask. Made for baselines, not a framework.

Three objectives: PGD adversarial training (Madry et al., *Towards Deep Learning Models Resistant to Adversarial
Attacks*, ICLR 2018), TRADES (Zhang et al., *Theoretically Principled Trade-off between Robustness and Accuracy*, ICML
2019) and the fast single-step variant (Wong et al., *Fast is better than free*, ICLR 2020), from which the one-cycle
schedule and mixed precision are taken too. The last weights are the result: nothing is chosen on test images.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from apsite.baselines.learning import Learner
from apsite.baselines.pruning import apply_masks
from apsite.errors import EvaluationError, NetworkError
from apsite.evaluation.attacks.execution import foreign_code, input_gradient, logits_of
from apsite.evaluation.attacks.heap import keep_freed_memory
from apsite.evaluation.attacks.precision import arithmetic
from apsite.evaluation.runs.run_state import RunState
from apsite.progress import Reporter
from apsite.protocol import Precision
from apsite.vocabulary import Objective, epsilon_value

OBJECTIVES = (Objective.AT_PGD, Objective.TRADES, Objective.AT_FAST)
"""Objectives that :func:`train` knows."""
PRECISIONS = ("auto", "float32", "bfloat16")
_TRADES_START = 0.001
"""Standard deviation of the noise from which TRADES starts its attack (Zhang et al., released code)."""


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run.

    Attributes:
        epochs: Passes over the training images.
        peak_learning_rate: Maximum of the one-cycle schedule, reached after 30 % of the steps.
        steps: Steps of the attack on each batch; 1 for the fast variant.
        objective: One of :data:`OBJECTIVES`.
        epsilon: Perturbation size in input units.
        step_size: Step of the attack in input units.
        batch_size: Images per step.
        momentum: SGD (Nesterov) momentum.
        weight_decay: L2 penalty on all parameters.
        trades_beta: Weight of the robust term of TRADES.
        train_samples: Only the first so many training images; ``None`` for all.
        seed: Seed of order, augmentation and random starts, and of the weights of a new network.
    """

    epochs: int
    peak_learning_rate: float
    steps: int
    objective: Objective = Objective.AT_PGD
    epsilon: float = 8 / 255
    step_size: float = 2 / 255
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 2e-4
    trades_beta: float = 6.0
    train_samples: int | None = None
    seed: int = 0

    @property
    def summary(self) -> str:
        """The objective and how long it is trained, for readers."""
        steps, epochs = (
            f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((self.steps, "step"), (self.epochs, "epoch"))
        )
        images = "all" if self.train_samples is None else f"{self.train_samples:,}"
        return f"{self.objective}, {steps}, {epochs} of {images} training images"

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise EvaluationError(f"objective {self.objective} is not one of {', '.join(OBJECTIVES)}")
        if self.objective is Objective.AT_FAST and self.steps != 1:
            raise EvaluationError(f"AT-Fast takes a single step, not {self.steps}; choose AT-PGD for several")
        for name in ("epochs", "steps", "batch_size", "train_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EvaluationError(f"{name} must be at least 1, not {value}")
        for name in ("peak_learning_rate", "epsilon", "step_size", "trades_beta"):
            if not 0 < getattr(self, name) < math.inf:
                raise EvaluationError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise EvaluationError(f"weight_decay must not be negative, and is {self.weight_decay}")
        if not 0 < self.momentum < 1:
            raise EvaluationError(f"momentum must lie between 0 and 1, not at {self.momentum}")
        if not 0 <= self.seed < 2**63:
            raise EvaluationError(f"seed must be in 0..2**63 - 1, not {self.seed}")


def recipe_of(options: Mapping[str, Any]) -> Recipe:
    """Recipe of options as `apsite finetune` and series files have them.

    `learning_rate` is the peak, `n_train` the number of images, `epsilon` and `step_size` are texts such as ``8/255``.
    What is not there, or ``None``, has the value that is usual for the objective.

    Raises:
        EvaluationError: If a value is not allowed.
        ValueError: If the objective is not known.
    """
    given = {name: value for name, value in options.items() if value is not None}
    objective = Objective(given.pop("objective", Objective.AT_PGD))
    fast = objective is Objective.AT_FAST
    step = given.pop("step_size", "10/255" if fast else "2/255")
    return Recipe(
        objective=objective, epochs=given.pop("epochs", 10), peak_learning_rate=given.pop("learning_rate", 0.1),
        steps=given.pop("steps", 1 if fast else 10), epsilon=_size("epsilon", given.pop("epsilon", "8/255")),
        step_size=_size("step_size", step), train_samples=given.pop("n_train", None), **given,
    )  # fmt: skip


def _size(name: str, text: str) -> float:
    """Size in input units from its exact text."""
    try:
        return epsilon_value(text)
    except ValueError as error:
        raise EvaluationError(str(error).replace("epsilon", name)) from None


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random horizontal flips and shifts of up to four pixels (zero padding), one draw per image."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, count), generator=generator)
    flip = torch.rand(count, generator=generator) < 0.5
    rows = (top[:, None] + torch.arange(height))[:, None, :, None]
    columns = torch.arange(width).expand(count, width)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    columns = (left[:, None] + columns)[:, None, None, :]
    return padded[torch.arange(count)[:, None, None, None], torch.arange(3)[None, :, None, None], rows, columns]


def adversarial_images(
    network: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe, start: Tensor, precision: torch.dtype
) -> Tensor:
    """Images of maximal loss found by projected steps on the sign of the gradient, inside the ball and [0, 1].

    TRADES maximises the divergence from the clean logits, the others the cross-entropy, from the perturbation `start`.
    The network is in evaluation mode, so that the attack leaves the statistics of batch norm alone.
    """
    trades = recipe.objective is Objective.TRADES
    with torch.no_grad():
        clean = functional.softmax(_logits(network, images, precision), 1) if trades else None
    adversarial = (images + start).clamp(0, 1)
    for _ in range(recipe.steps):
        adversarial.requires_grad_(True)
        logits = _logits(network, adversarial, precision)
        loss = functional.cross_entropy(logits, labels) if clean is None else _divergence(logits, clean)
        gradient = input_gradient(loss, adversarial)
        stepped = adversarial.detach() + recipe.step_size * gradient.sign()
        adversarial = torch.clamp(torch.min(torch.max(stepped, images - recipe.epsilon), images + recipe.epsilon), 0, 1)
    return adversarial.detach()


def train(
    network: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, *,
    masks: Mapping[str, Tensor] | None = None, device: torch.device | None = None, precision: str = "auto",
    state: RunState | None = None, save_every: float = 60.0, reporter: Reporter | None = None,
    learner: Learner | None = None,
) -> float:  # fmt: skip
    """Train `network` in place by adversarial training; it ends in evaluation mode, on the CPU.

    All random numbers are drawn on the CPU from the recipe's seed, so runs differ between machines, and between
    numbers of threads, by the rounding of their arithmetic only. On one machine they are equal.

    Args:
        network: Network to train; its parameters are changed.
        images: Training images, shape ``(n, 3, height, width)``, 0..255.
        labels: Class of each image, shape ``(n,)``.
        recipe: All settings.
        masks: Boolean masks by name in the state dict; values outside them are zero before, during and after training.
        device: Where to compute; the CPU by default.
        precision: ``bfloat16`` for mixed precision, ``float32``, or ``auto``: bfloat16 where the device has
            instructions for it, since it is far slower than float32 where it has none.
        state: Entered state of a run. Training resumes from it, with the result of a run that was never
            interrupted, and keeps its progress there.
        save_every: Seconds between two times that progress is kept.
        reporter: Receives the progress.
        learner: What the steps change; by default the weights.

    Returns:
        Wall time of the training in seconds; of an interrupted run that of all its parts.

    Raises:
        EvaluationError: If the images are fewer than one batch, or the loss is no longer finite.
        NetworkError: If the network fails, or no gradient reaches its input or its weights.
    """
    device = device or torch.device("cpu")
    if device.type == "cpu":
        keep_freed_memory()
    training = _Training(
        network, images, labels, recipe, masks or {}, device, resolve_precision(precision, device), learner or Learner()
    )
    seconds = training.run(state, save_every, reporter or Reporter())
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.eval()
    _freeze(network, frozen=False)
    return seconds


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Type that ``auto`` means on a device, or that was named; EvaluationError if none of :data:`PRECISIONS`."""
    if precision not in PRECISIONS:
        raise EvaluationError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = torch.cpu.get_capabilities()
            fast = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        precision = "bfloat16" if fast else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


class _Training:
    """One run: the network and all that changes with it."""

    def __init__(
        self, network: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe,
        masks: Mapping[str, Tensor], device: torch.device, precision: torch.dtype, learner: Learner,
    ) -> None:  # fmt: skip
        count = recipe.train_samples or len(images)
        if not recipe.batch_size <= count <= len(images):
            raise EvaluationError(
                f"{count:,} training images were asked for, in batches of {recipe.batch_size:,}; there are "
                f"{len(images):,}, and at least one batch is required: change --n-train or --batch-size"
            )
        self.recipe, self.device, self.precision = recipe, device, precision
        self.images, self.labels = torch.from_numpy(images[:count]), torch.from_numpy(labels[:count])
        some = self.images[:2].to(device).float() / 255
        with arithmetic(Precision.FLOAT32):
            self.memory_format = _memory_format(network.eval().to(device), some)
        self.network = network.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.masks = {name: mask.to(device) for name, mask in masks.items()}
        apply_masks(self.network, self.masks)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.learner = learner
        learner.attach(self.network, self.generator)
        self.learned = learner.parameters()
        self.optimiser = torch.optim.SGD(
            [{"params": list(self.learned.values())}], lr=1.0, momentum=recipe.momentum,
            weight_decay=recipe.weight_decay, nesterov=True,
        )  # fmt: skip
        self.batches = count // recipe.batch_size
        self.rates = learning_rates(recipe, self.batches)
        self.order = torch.empty(0, dtype=torch.int64)
        self.done = 0
        self.tally = np.zeros(2)  # loss and correct images of this epoch so far
        self.seconds = 0.0

    def run(self, state: RunState | None, save_every: float, reporter: Reporter) -> float:
        """All steps that are not done yet; gives the wall time of all steps."""
        kept = None if state is None else state.get("training")
        if kept is not None:
            self.restore(kept)
        reporter.start("training", self.recipe.epochs * self.batches)
        if self.done:
            reporter.plan(before=self.done)
            reporter.say(f"resuming after step {self.done} of {self.recipe.epochs * self.batches}")
        started = saved = time.monotonic()
        started -= self.seconds
        with arithmetic(Precision.FLOAT32):  # what is not bfloat16 is float32, never TF32
            while self.done < self.recipe.epochs * self.batches:
                self.step()
                epoch, batch = divmod(self.done, self.batches)
                seen = (batch or self.batches) * self.recipe.batch_size
                loss, correct = self.tally[0] / (batch or self.batches), self.tally[1] / seen
                if not np.isfinite(loss):
                    raise EvaluationError(
                        f"the loss is {loss} after {self.done} steps; choose a lower --learning-rate or float32"
                    )
                reporter.advance(self.done, f"loss {loss:.3f}, accuracy under attack {correct:.3f}")
                if batch == 0:
                    reporter.say(f"epoch {epoch}: loss {loss:.4f}, accuracy under attack {correct:.4f}")
                self.seconds = time.monotonic() - started
                if state is not None and time.monotonic() - saved >= save_every:
                    state.put("training", **self.progress())
                    saved = time.monotonic()
        if state is not None:  # what comes after may fail, on a full disk for example, and be tried again
            state.put("training", **self.progress())
        reporter.finish(f"{self.done} steps")
        return self.seconds

    def step(self) -> None:
        """One batch: attack it, then learn from it."""
        recipe, position = self.recipe, self.done % self.batches
        if position == 0:
            self.order = torch.randperm(len(self.images), generator=self.generator)
            self.tally[:] = 0
        chosen = self.order[position * recipe.batch_size : (position + 1) * recipe.batch_size]
        clean = augment(self.images[chosen].float() / 255, self.generator)
        clean = clean.contiguous(memory_format=self.memory_format)
        trades, start = recipe.objective is Objective.TRADES, torch.empty_like(clean)
        if trades:
            start.normal_(0, _TRADES_START, generator=self.generator)
        else:
            start.uniform_(-recipe.epsilon, recipe.epsilon, generator=self.generator)
        clean, start, labels = (one.to(self.device) for one in (clean, start, self.labels[chosen]))
        self.learner.before()
        self.network.eval()
        _freeze(self.network, frozen=True)
        attacked = adversarial_images(self.network, clean, labels, recipe, start, self.precision)
        self.network.train()
        _freeze(self.network, frozen=False)
        logits = _logits(self.network, attacked, self.precision)
        if trades:
            natural = _logits(self.network, clean, self.precision)
            robust = _divergence(logits, functional.softmax(natural, 1))
            loss = functional.cross_entropy(natural, labels) + recipe.trades_beta * robust
        else:
            loss = functional.cross_entropy(logits, labels)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rates[self.done]
        self.network.zero_grad(set_to_none=True)
        if not loss.requires_grad:
            raise NetworkError("no gradient of the loss reaches the weights, so they cannot be trained")
        with foreign_code("the gradient of the weights cannot be computed"):
            loss.backward()  # type: ignore[no-untyped-call]
        self.learner.gradients()
        self.optimiser.step()
        self.learner.after(self.rates[self.done], self.done, len(self.rates))
        apply_masks(self.network, self.masks)
        self.tally += [float(loss.detach()), int((logits.argmax(1) == labels).sum())]
        self.done += 1

    def progress(self) -> dict[str, NDArray[Any]]:
        """Everything that the remaining steps depend on."""
        named = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        named |= {f"learner/{name}": value for name, value in self.learner.state().items()}
        for name, parameter in self.learned.items():
            if (momentum := self.optimiser.state[parameter].get("momentum_buffer")) is not None:
                named[f"momentum/{name}"] = momentum
        arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in named.items()}
        return arrays | {
            "generator": self.generator.get_state().numpy(), "order": self.order.numpy(), "tally": self.tally,
            "done": np.array(self.done), "seconds": np.array(self.seconds),
        }  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go back to where `progress` was taken."""
        self.network.load_state_dict(
            {name: torch.from_numpy(arrays[f"network/{name}"]) for name in self.network.state_dict()}
        )
        for name, value in self.learner.state().items():
            value.copy_(torch.from_numpy(arrays[f"learner/{name}"]))
        for name, parameter in self.learned.items():
            if f"momentum/{name}" not in arrays:  # a layer that no output depends on
                continue
            value = torch.from_numpy(arrays[f"momentum/{name}"]).to(self.device)
            layout = self.memory_format if value.dim() == 4 else torch.contiguous_format
            self.optimiser.state[parameter]["momentum_buffer"] = value.contiguous(memory_format=layout)
        self.generator.set_state(torch.from_numpy(arrays["generator"]))
        self.order, self.tally, self.done = torch.from_numpy(arrays["order"]), arrays["tally"], int(arrays["done"])
        self.seconds = float(arrays["seconds"])


def learning_rates(recipe: Recipe, batches: int) -> list[float]:
    """Learning rate of every step: linear up to the peak over 30 % of them, then linear down to almost zero."""
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_learning_rate, total_steps=recipe.epochs * batches, anneal_strategy="linear",
        cycle_momentum=False,
    )  # fmt: skip
    rates = []
    for _ in range(recipe.epochs * batches):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        schedule.step()
    return rates


def _logits(network: nn.Module, images: Tensor, precision: torch.dtype) -> Tensor:
    """Logits in float32, computed in mixed precision where `precision` is not float32."""
    if precision is not torch.bfloat16:
        return logits_of(network, images)
    with torch.autocast(images.device.type, torch.bfloat16):
        return logits_of(network, images)


def _freeze(network: nn.Module, *, frozen: bool) -> None:
    """Whether the parameters have no gradient, also of TorchScript, which lacks ``requires_grad_``."""
    for parameter in network.parameters():
        parameter.requires_grad_(not frozen)


def _memory_format(network: nn.Module, images: Tensor) -> torch.memory_format:
    """Channels last, which is faster, unless only that makes the network fail, as ``view`` in its forward does."""
    with torch.no_grad(), contextlib.suppress(NetworkError):
        logits_of(network, images.contiguous(memory_format=torch.channels_last))
        return torch.channels_last
    return torch.contiguous_format


def _divergence(logits: Tensor, clean: Tensor) -> Tensor:
    """Kullback-Leibler divergence of clean probabilities from those of other logits, mean over images."""
    return functional.kl_div(functional.log_softmax(logits, 1), clean, reduction="batchmean")
