"""Whether a network behaves as the protocol requires: what running it on a few images shows, before any attack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from apsite.errors import NetworkError
from apsite.evaluation.attacks.execution import IN_PLACE, first_output, input_gradient, logits_of
from apsite.evaluation.attacks.fmn import dlr_margin
from apsite.evaluation.attacks.precision import arithmetic
from apsite.protocol import Precision
from apsite.records import EvaluationWarning

FEW = 16
"""Images of the checks that take many passes."""

ROUNDING = 1e-3
"""Difference of logits, relative to the largest, that the order of additions or bfloat16 may cause."""

SOME = 0.25
"""Share of images at which a network must look odd before that is worth a warning."""

LEVEL = 1 / 255
"""One grey level, in input units."""


class Behaviour(NamedTuple):
    """What a reader of the results should know of a network, and what was done to run it, one sentence each."""

    warnings: list[EvaluationWarning]
    notes: list[str]


def check_behaviour(network: nn.Module, images: Tensor, labels: Tensor, classes: int) -> Behaviour:
    """Warnings of what weakens attacks, seen on images in [0, 1], shape ``(n, 3, height, width)``, with their classes.

    Raises:
        NetworkError: If the network is in training mode, fails, changes its input, cuts off its gradient, or returns
            something else than finite logits of shape ``(n, classes)``; if these depend on the other images of a batch
            or on whether gradients are recorded; or if it is right for inputs of another convention only.
    """
    if network.training:
        raise NetworkError("the network is in training mode; call .eval() before it is evaluated")
    few, watch = images[:FEW].clone(), _Watch()
    with arithmetic(Precision.FLOAT32), torch.no_grad():
        with watch:
            logits_of(watch.on(network), few)
        if not torch.equal(few, images[:FEW]):
            raise NetworkError(IN_PLACE)
        logits = logits_of(network, images)
        if logits.shape[1] != classes:
            expected = f"expected ({len(images)}, {classes})"
            raise NetworkError(f"the network returns {tuple(logits.shape)} for {len(images)} images; {expected}")
        if not torch.isfinite(logits).all():
            raise NetworkError("the network returns NaN or infinite logits; the checkpoint may hold broken weights")
        noise = _check_batches(network, images, logits)
        found = {**_outputs(logits, noise), **watch.found(), **_gradients(network, images, labels, logits, noise)}
        found |= _small_changes(network, few, logits[:FEW])
        found |= _conventions(network, images, labels, logits)
    return Behaviour([EvaluationWarning(code, message) for code, message in found.items()], watch.notes)


Found = Mapping[str, str]
"""Messages of warnings by code."""


class _Watch(TorchFunctionMode):
    """Sees whether a network records gradients of its own accord, and whether it returns several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.records, self.notes = False, list[str]()

    def on(self, network: nn.Module) -> Any:
        """The network, its outputs watched."""

        def run(x: Tensor) -> Any:
            output = network(x)
            if output is not first_output(output):
                self.notes.append(f"The network returns a {type(output).__name__}; its first item is the logits.")
            return output

        return run

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.records |= torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))

    def found(self) -> Found:
        """Warning of gradients inside the forward pass."""
        message = (
            "The forward pass computes gradients of its own (optimisation at inference): the attacks are not adapted "
            "to that, so robust accuracy may be overestimated."
        )
        return {"optimises-at-inference": message} if self.records else {}


def _differ(one: Tensor, other: Tensor, noise: float) -> bool:
    """Whether logits differ by more than rounding, and by much more than equal passes do (`noise`)."""
    return not float((one - other).abs().max()) <= max(ROUNDING * float(one.abs().max()), 3 * noise)


def _check_batches(network: nn.Module, images: Tensor, logits: Tensor) -> float:
    """Refuse a network whose logits of an image depend on the rest of the batch.

    Returns:
        Largest difference between the logits of equal passes; 0 for a deterministic network.
    """
    few, expected = images[:FEW], logits[:FEW]

    def noise(passes: int) -> float:
        return max(float((logits_of(network, images) - logits).abs().max()) for _ in range(passes))

    contexts: dict[str, Callable[[], Tensor]] = {
        "alone": lambda: torch.cat([logits_of(network, one) for one in few[:, None]]),
        "in reverse order": lambda: logits_of(network, images.flip(0)).flip(0)[:FEW],
        "behind other images": lambda: logits_of(network, torch.cat([1 - few, few]))[len(few) :],
    }
    found = noise(1)
    for name, run in contexts.items():
        if not _differ(expected, run(), found):
            continue
        found = max(found, noise(5))
        if _differ(expected, run(), found):
            raise NetworkError(
                f"the logits of an image depend on its batch: they change when the images come {name} (batch norm "
                "without running statistics or in training mode, statistics over the batch, noise of a fixed seed?); "
                "compute every image from itself alone"
            )
    return found


def _outputs(logits: Tensor, noise: float) -> Found:
    """What the logits themselves show."""
    found = {}
    if noise > 0:
        found["non-deterministic"] = (
            "Two forward passes of the same images differ: the network is not deterministic, "
            "so AutoAttack and FMN may fail on it."
        )
    sums = logits.sum(1)
    if (logits >= 0).all() and (logits <= 1).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        found["softmax-output"] = "The network returns probabilities instead of logits, which weakens gradient attacks."
    spread = float((logits.amax(1) - logits.amin(1)).median())
    if 0 < spread < 1e-6:
        found["underflowing-logits"] = (
            f"The logits of an image differ by {spread:.0e} only: losses and their gradients underflow in float32, "
            "which weakens gradient attacks."
        )
    return found


def _gradients(network: nn.Module, images: Tensor, labels: Tensor, logits: Tensor, noise: float) -> Found:
    """What the gradients of the losses show: dead or saturated. Refuses what gradient attacks cannot run on."""
    x = images.clone().requires_grad_(True)
    with torch.enable_grad():
        recorded = logits_of(network, x)
        if _differ(logits, recorded.detach(), noise):
            raise NetworkError(
                "the network returns other logits while gradients are recorded; compute them in the same way always"
            )
        first = input_gradient(nn.functional.cross_entropy(recorded, labels, reduction="sum"), x, retain_graph=True)
        second = input_gradient(dlr_margin(recorded, labels).sum(), x)
        for one in x[:FEW, None].detach():
            logits_of(network, one.requires_grad_(True))  # fails if an image alone has no gradient
    finite = (first.isfinite() & second.isfinite()).flatten(1).all(1)
    if not finite.all():
        raise NetworkError(
            f"the gradient of the loss is NaN or infinite for {int((~finite).sum())} of the first {len(images)} images "
            "(a root, norm or logarithm at 0?); keep it finite"
        )
    zero = [(gradient == 0).flatten(1).all(1) for gradient in (first, second)]
    found, of = {}, f"of the first {len(images)} images"
    if (dead := float((zero[0] & zero[1]).float().mean())) > 0:
        found["dead-gradients"] = (
            f"The gradient of the loss is exactly zero for {dead:.1%} {of}: gradient attacks cannot start there."
        )
    if (saturated := float((zero[0] & ~zero[1]).float().mean())) > 0:
        found["saturated-loss"] = (
            f"The gradient of the cross-entropy is exactly zero for {saturated:.1%} {of}, because the logits lie so "
            "far apart that it saturates: APGD-CE cannot start there."
        )
    return found


def _small_changes(network: nn.Module, images: Tensor, logits: Tensor) -> Found:
    """What changes of a few images by less than a grey level show."""
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images) * 2 - 1
    spread = (logits.amax(1) - logits.amin(1)).clamp_min(torch.finfo(torch.float32).tiny)

    def change(size: float) -> Tensor:
        changed = logits_of(network, (images + size * noise).clamp(0, 1))
        if not torch.isfinite(changed).all():
            raise NetworkError(f"the network returns NaN or infinite logits for images with noise of size {size:.1g}")
        return (changed - logits).abs().amax(1) / spread

    found = {}
    jumps = change(5e-7)
    if float((jumps > ROUNDING).float().mean()) > SOME:
        found["unstable-logits"] = (
            f"The logits jump by up to {float(jumps.max()):.1%} of their spread when no pixel changes by more than "
            "1e-6: they hold noise that depends on the image, or are computed coarsely, which misleads attacks."
        )
    same = (change(0.2 * LEVEL) == 0) & (change(16 * LEVEL) > 0)
    if float(same.float().mean()) > SOME:
        found["quantised-inputs"] = (
            "The logits stay exactly the same when pixels change by a fifth of a grey level: the network rounds its "
            "inputs, so its gradients are zero or made up, which misleads gradient attacks."
        )
    agreement = _agreement(network, images)
    wrong = float(((agreement < 0.5) | (agreement > 2)).float().mean()) if len(agreement) else 0.0
    if wrong > SOME:
        found["wrong-gradients"] = (
            f"The gradients disagree with finite differences for {wrong:.0%} of {len(agreement)} images: they do not "
            "show how the logits change, so gradient attacks are misled."
        )
    return found


def _agreement(network: nn.Module, images: Tensor, step: float = 1e-4) -> Tensor:
    """Change of the margin between the first two classes over that which its gradient predicts, 1 if all is well.

    Images move by `step` along the sign of the gradient and against it; those without a gradient are left out.
    """
    x = images.clone().requires_grad_(True)
    with torch.enable_grad():
        top = logits_of(network, x).topk(2, dim=1)
        gradient = input_gradient((top.values[:, 0] - top.values[:, 1]).sum(), x)
    ends = [(images + sign * step * gradient.sign()).clamp(0, 1) for sign in (1, -1)]
    margins = [logits_of(network, end).double().gather(1, top.indices) for end in ends]
    changed = ((margins[0] - margins[1]) @ torch.tensor([1.0, -1.0], dtype=torch.float64, device=images.device)).float()
    predicted = (gradient * (ends[0] - ends[1])).sum((1, 2, 3))
    return (changed / predicted)[predicted > 0]


_CONSTANTS = {
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Usual means and standard deviations of the channels."""


def _readings(images: Tensor) -> Iterator[tuple[str, Tensor, int]]:
    """Images as other conventions have them, and the number of the first class."""
    yield "images in 0 to 255", images * 255, 0
    yield "images in [-1, 1]", images * 2 - 1, 0
    for name, constants in _CONSTANTS.items():
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in constants)
        yield f"images normalised with the constants of {name}", (images - mean) / std, 0
    yield "images with the channels blue, green, red", images.flip(1), 0
    yield "classes numbered from 1", images, 1


def _conventions(network: nn.Module, images: Tensor, labels: Tensor, logits: Tensor) -> Found:
    """Warning of a network that is right far more often by another convention; refuses one that is at chance else."""
    n, own = len(images), logits.argmax(1) == labels
    chance = n / logits.shape[1]
    at_chance = int(own.sum()) <= chance + 3 * math.sqrt(chance)
    deviations = 3.5 if at_chance else 2.5
    for name, read, start in _readings(images):
        right = (logits_of(network, read).argmax(1) - start) % logits.shape[1] == labels
        gained, lost = int((right & ~own).sum()), int((own & ~right).sum())
        if gained - lost <= deviations * math.sqrt(gained + lost):
            continue
        found = f"{int(own.sum())} of the first {n} images correctly, but {int(right.sum())} by the convention: {name}"
        if at_chance:
            raise NetworkError(
                f"the network classifies {found}. It is given RGB images in [0, 1] and classes are numbered from 0; "
                "convert both inside its forward pass"
            )
        return {"other-convention": f"The network classifies {found}. Its results may be of wrongly prepared inputs."}
    return {}
