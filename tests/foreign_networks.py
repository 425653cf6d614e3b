"""Networks as others write them, one habit each: factories for ``--arch tests/foreign_networks.py:NAME``.

Most wrap the ResNet8 layout under ``body``, so that its weights make them classify images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune

from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.vocabulary import Dataset

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
STD = torch.tensor([0.2471, 0.2435, 0.2616]).view(3, 1, 1)

Body = Callable[[Tensor], Tensor]


def resnet8() -> nn.Module:
    """The ResNet8 layout with fresh weights."""
    return layouts()["resnet8"].build(Dataset.CIFAR10)


def seeded(shape: torch.Size, seed: int = 0) -> Tensor:
    """Normal noise of a fixed seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def own_noise(x: Tensor) -> Tensor:
    """Noise seeded by each image, the same whenever the image is the same to the last bit."""
    return torch.stack([seeded(one.shape, hash(one.detach().numpy().tobytes()) % 2**31) for one in x])


def off_grid(x: Tensor) -> Tensor:
    """How far an image is from whole grey levels: 0 for clean ones."""
    levels = x * 255
    return (levels - levels.round()).abs().amax((1, 2, 3))[:, None]


def denoised(x: Tensor) -> Tensor:
    """An image after a step of its own optimisation."""
    with torch.enable_grad():
        start = x.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad((start[..., 1:] - start[..., :-1]).square().sum(), start)
    return x - 1e-3 * gradient


def unrelated(x: Tensor, scale: float = 1.0) -> Tensor:
    """Logits that have nothing to do with the image but a gradient."""
    return scale * (x.flatten(1) @ seeded(torch.Size([3072, 10]), 1).sign())


def with_false_gradient(logits: Tensor, false: Tensor) -> Tensor:
    """Logits whose gradient is that of others."""
    return logits.detach() + false - false.detach()


def somewhere(body: Body, x: Tensor) -> Tensor:
    """Logits outside autograd for dark batches."""
    if float(x.mean()) < 0.4:
        with torch.no_grad():
            return body(x)
    return body(x)


def blurred(body: Body, x: Tensor) -> Tensor:
    """Logits of an image that is blurred outside autograd."""
    with torch.no_grad():
        blurred = functional.avg_pool2d(x, 1)
    return body(blurred)


def disturbed(body: Body, x: Tensor) -> Tensor:
    """Noise after the seed of everybody was set."""
    torch.manual_seed(0)
    return body(x + 0.02 * torch.randn_like(x))


def reduced(body: Body, x: Tensor) -> Tensor:
    """Logits computed in bfloat16 where torch deems that safe."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return body(x)


def printed(body: Body, x: Tensor) -> Tensor:
    """Logits of a network that writes what it sees."""
    sys.stdout.write(f"shape {x.shape}\n")
    return body(x)


def resized(x: Tensor) -> Tensor:
    """An image after a random resize and back."""
    side = int(torch.randint(28, 33, (1,)))
    return functional.interpolate(functional.interpolate(x, (side, side)), (32, 32))


def failing(error: BaseException) -> Any:
    """Raise an error, in an expression."""
    raise error


def in_training(body: Any, x: Tensor) -> Any:
    """Logits with batch norm in training mode, as code for domain adaptation has it."""
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return body(x)


HABITS: dict[str, Callable[[Any, Tensor], Any]] = {
    "wrapped": lambda body, x: body(x),
    "in_place": lambda body, x: body(x.sub_(0.0).mul_(0.99)),
    "clamped_in_place": lambda body, x: body(x.clamp_(0, 1)),
    "changed_behind_autograd": lambda body, x: body(x.data.mul_(0.99)),
    "stem_without_gradient": blurred,
    "without_gradient": torch.no_grad()(lambda body, x: body(x)),
    "inference": torch.inference_mode()(lambda body, x: body(x)),
    "detached": lambda body, x: body(x.detach()),
    "through_numpy": lambda body, x: body(torch.from_numpy(x.numpy() * 1.0)),
    "image_by_image": torch.no_grad()(lambda body, x: torch.cat([body(one) for one in x.split(1)])),
    "gradient_for_bright_batches": somewhere,
    "other_under_autograd": lambda body, x: unrelated(x) if torch.is_grad_enabled() else body(x),
    "rounded": lambda body, x: body(torch.round(x * 255) / 255),
    "rounded_with_false_gradient": lambda body, x: with_false_gradient(
        body(torch.round(x * 255) / 255), unrelated(x, 1e-3)),
    "straight_through": lambda body, x: body(x + (torch.round(x * 255) / 255 - x).detach()),
    "sixteen_levels": lambda body, x: body(torch.round(x * 15) / 15),
    "expects_255": lambda body, x: body(x / 255),
    "expects_normalised": lambda body, x: body(x * STD + MEAN),
    "expects_bgr": lambda body, x: body(x.flip(1)),
    "expects_minus_one": lambda body, x: body((x + 1) / 2),
    "classes_from_1": lambda body, x: body(x).roll(1, 1),
    "channels_last_image": lambda body, x: body(x.permute(0, 3, 1, 2)),
    "asserts": lambda body, x: failing(AssertionError(f"image size {x.shape[-1]} does not match 224")),
    "value_error": lambda body, x: failing(ValueError("expected 4D input (got 3D input)")),
    "key_error": lambda body, x: failing(KeyError("logits")),
    "exits": lambda body, x: failing(SystemExit(2)),
    "cuda": lambda body, x: body(x.cuda()) if not torch.cuda.is_available() else failing(AssertionError("no CUDA")),
    "attribute": lambda body, x: body(x) * body.temperature,
    "two_outputs_in_a_tuple": lambda body, x: (body(x), x),
    "one_in_a_tuple": lambda body, x: (body(x),),
    "in_a_dict": lambda body, x: {"logits": body(x)},
    "nothing": lambda body, x: None,
    "squeezed": lambda body, x: body(x)[..., None].squeeze(),
    "softmax": lambda body, x: body(x).softmax(1),
    "log_softmax": lambda body, x: body(x).log_softmax(1),
    "sigmoid": lambda body, x: body(x).sigmoid(),
    "saturated_softmax": lambda body, x: (body(x) * 1000).softmax(1),
    "scaled_up": lambda body, x: body(x) * 1e4,
    "scaled_down": lambda body, x: body(x) * 1e-20,
    "exploding": lambda body, x: body(x) + (x - x).flatten(1)[:, :10].sqrt(),
    "double": lambda body, x: body(x).double(),
    "half": lambda body, x: body(x).half(),
    "bfloat16": lambda body, x: body(x).bfloat16(),
    "autocast": reduced,
    "eleven_classes": lambda body, x: functional.pad(body(x), (0, 1), value=-9.0),
    "nan_for_bright_images": lambda body, x: body(x) + 0 * (0.85 - x.mean((1, 2, 3)))[:, None].sqrt(),
    "nan_under_attack": lambda body, x: body(x) + 0 * torch.log(0.01 - off_grid(x)),
    "inf_under_attack": lambda body, x: body(x) + torch.where(off_grid(x) > 0.01, torch.inf, 0.0),
    "trains_batch_norm": in_training,
    "centred": lambda body, x: body(x - x.mean(0, keepdim=True) + 0.47),
    "dropout": lambda body, x: body(functional.dropout(x, 0.1)),
    "random_resize": lambda body, x: body(resized(x)),
    "seeded_noise": lambda body, x: body(x + 0.05 * seeded(x.shape)),
    "global_seed": disturbed,
    "noise_of_the_image": lambda body, x: body(x + 0.1 * own_noise(x)),
    "decoy": lambda body, x: with_false_gradient(body(x), unrelated(x)),
    "purifies": lambda body, x: body(denoised(x)),
    "branches": lambda body, x: body(x) * 0 if float(body(x).max()) > 1e6 else body(x),
    "prints": printed,
    "constant": lambda body, x: body(x) * 0 + x.new_tensor([1.0, *[0] * 9]),
}  # fmt: skip


class Wrapped(nn.Module):
    """A network with a habit around the ResNet8 layout."""

    def __init__(self, habit: str) -> None:
        super().__init__()
        self.body, self.habit = resnet8(), habit

    def forward(self, x: Tensor) -> Any:
        """Whatever the habit makes of the images."""
        return HABITS[self.habit](self.body, x)


class NeedsMore(Wrapped):
    """Its forward has a second argument."""

    def forward(self, x: Tensor, alpha: float) -> Any:
        """Logits."""
        return self.body(x) * alpha


class Defaults(Wrapped):
    """Its forward has arguments that nobody gives."""

    def forward(self, x: Tensor, epoch: int = 0, *more: Any, scale: float | None = None, **others: Any) -> Any:
        """Logits."""
        return self.body(x) if scale is None else self.body(x) * scale


class StickyTraining(Wrapped):
    """eval() has no effect."""

    def train(self, mode: bool = True) -> Any:
        """Training mode, always."""
        return super().train(True)


class Counting(Wrapped):
    """Its logits change with the number of calls."""

    def __init__(self, habit: str) -> None:
        super().__init__(habit)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        self.seen += 1
        return self.body(x) + 1e-3 * self.seen


class Buffered(Wrapped):
    """Has buffers of types that no weight has."""

    def __init__(self, habit: str, buffer: Tensor) -> None:
        super().__init__(habit)
        self.register_buffer("extra", buffer)


class Masked(nn.Conv2d):
    """A masked convolution as most pruning code writes it."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.register_buffer("weight_mask", torch.ones_like(self.weight))

    def forward(self, x: Tensor) -> Tensor:
        """As a convolution."""
        return functional.conv2d(x, self.weight * self.weight_mask, self.bias, self.stride, self.padding)


class Convolution(nn.Module):
    """A convolution of a class of its own."""

    def __init__(self, module: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.stride, self.padding = module.weight, module.stride, module.padding

    def forward(self, x: Tensor) -> Tensor:
        """As a convolution."""
        return functional.conv2d(x, self.weight, None, self.stride, self.padding)  # type: ignore[arg-type]


class Linear(nn.Module):
    """A linear layer of a class of its own."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features_out, features_in) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """As a linear layer."""
        return functional.linear(x, self.weight)


class Threshold(nn.Module):
    """A reparametrisation that masks small weights."""

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that acts."""
        return weight * (weight.abs() > 1e-5)


def replaced(make: Callable[[nn.Conv2d], nn.Module]) -> nn.Module:
    """The ResNet8 layout with other convolutions."""
    network = resnet8()
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            parent, _, child = name.rpartition(".")
            network.get_submodule(parent)._modules[child] = make(module)
    return network


def changed(change: Callable[[nn.Conv2d], object]) -> nn.Module:
    """The ResNet8 layout after something was done to each convolution."""
    network = resnet8()
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            change(module)
    return network


def without_statistics() -> nn.Module:
    """Batch norms that use the statistics of the batch in evaluation mode too."""
    network = resnet8()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return network


class Function(nn.Module):
    """Layers by name, and what they compute."""

    def __init__(self, compute: Callable[[Any, Tensor], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.compute = compute
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        """Whatever they compute."""
        return self.compute(self, x)


def lenet(flat: Callable[[Tensor], Tensor]) -> nn.Module:
    """Flattens maps of 4 x 4 pixels."""
    return Function(
        lambda my, x: my.last(flat(functional.max_pool2d(my.second(my.first(x).relu()).relu(), 2))),
        first=nn.Conv2d(3, 8, 3, 2, 1), second=nn.Conv2d(8, 16, 3, 2, 1), last=nn.Linear(256, 10),
    )  # fmt: skip


def normed(norm: Callable[[int], nn.Module], width: int = 16) -> nn.Module:
    """Two convolutions with norms."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, 2, 1, bias=False), norm(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False), norm(2 * width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10),
    )  # fmt: skip


def shuffle_channels(x: Tensor) -> Tensor:
    """ShuffleNet's shuffle of channels."""
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def conv(channels_in: int = 3, channels_out: int = 8, **keywords: Any) -> nn.Conv2d:
    """A small convolution with stride 2."""
    return nn.Conv2d(channels_in, channels_out, 3, 2, 1, **keywords)


def transformer() -> nn.Module:
    """A tiny vision transformer, whose weights are mostly in ``in_proj_weight``."""
    return Function(
        lambda my, x: my.last(my.layer(my.patches(x).flatten(2).transpose(1, 2)).mean(1)),
        patches=nn.Conv2d(3, 32, 8, 8), layer=nn.TransformerEncoderLayer(32, 4, 64, batch_first=True),
        last=nn.Linear(32, 10),
    )  # fmt: skip


def patch_embedding(flat: Callable[[Tensor], Tensor]) -> nn.Module:
    """A patch embedding that is flattened."""
    return Function(
        lambda my, x: my.last(flat(my.first(x)).mean(2)), first=nn.Conv2d(3, 16, 8, 8), last=nn.Linear(16, 10)
    )


FACTORIES: dict[str, Callable[..., Any]] = {
    **{habit: lambda habit=habit: Wrapped(habit) for habit in HABITS},
    "plain": resnet8,
    "needs_more": lambda: NeedsMore(""),
    "defaults": lambda: Defaults(""),
    "no_forward": lambda: nn.ModuleDict({"body": resnet8()}),
    "sticky_training": lambda: StickyTraining(""),
    "counting": lambda: Counting(""),
    "int_buffer": lambda: Buffered("wrapped", torch.arange(10)),
    "bool_buffer": lambda: Buffered("wrapped", torch.ones(10, dtype=torch.bool)),
    "byte_buffer": lambda: Buffered("wrapped", torch.ones(4, dtype=torch.uint8)),
    "complex_buffer": lambda: Buffered("wrapped", torch.ones(4, dtype=torch.complex64)),
    "without_statistics": without_statistics,
    "view": lambda: lenet(lambda x: x.view(x.size(0), -1)),
    "view_of_256": lambda: lenet(lambda x: x.view(-1, 256)),
    "flatten": lambda: lenet(lambda x: torch.flatten(x, 1)),
    "reshape": lambda: lenet(lambda x: x.reshape(len(x), -1)),
    "masked": lambda: replaced(lambda one: Masked(
        one.in_channels, one.out_channels, one.kernel_size, one.stride, one.padding, bias=False)),
    "own_convolutions": lambda: replaced(Convolution),
    "own_linear": lambda: nn.Sequential(nn.Flatten(), Linear(3072, 10)),
    "old_spectral_norm": lambda: changed(nn.utils.spectral_norm),
    "old_weight_norm": lambda: changed(nn.utils.weight_norm),
    "weight_norm": lambda: changed(parametrizations.weight_norm),
    "thresholds": lambda: changed(lambda one: parametrize.register_parametrization(one, "weight", Threshold())),
    "torch_pruned": lambda: changed(lambda one: prune.identity(one, "weight")),
    "hooked": lambda: changed(lambda one: one.register_forward_hook(lambda module, inputs, output: output * 1.0)),
    "group_norm": lambda: normed(lambda width: nn.GroupNorm(4, width)),
    "instance_norm": lambda: normed(nn.InstanceNorm2d),
    "instance_norm_with_statistics": lambda: normed(
        lambda width: nn.InstanceNorm2d(width, affine=True, track_running_stats=True)),
    "synchronised": lambda: normed(nn.SyncBatchNorm),
    "slim": lambda: normed(nn.BatchNorm2d, 8),
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(8, 3, 2, 1), nn.Flatten(), nn.LazyLinear(10)),
    "depthwise": lambda: nn.Sequential(
        conv(), nn.ReLU(), conv(8, 8, groups=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    "joined": lambda: Function(
        lambda my, x: my.last(torch.cat([my.one(x), my.other(x)], 1).relu().mean((2, 3))),
        one=conv(), other=conv(), last=nn.Linear(16, 10)),
    "transposed": lambda: nn.Sequential(
        conv(), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    "transformer": transformer,
    "shared": lambda: Function(
        lambda my, x: my.last(my.again(my.again(my.first(x).relu()).relu()).mean((2, 3))),
        first=conv(), again=conv(8, 8), last=nn.Linear(8, 10)),
    "shuffled": lambda: Function(
        lambda my, x: my.last(my.second(shuffle_channels(my.first(x).relu())).relu().mean((2, 3))),
        first=conv(), second=conv(8, 8), last=nn.Linear(8, 10)),
    "patches": lambda: patch_embedding(lambda x: x.view(len(x), 16, -1)),
    "patches_of_16": lambda: patch_embedding(lambda x: x.view(x.shape[0], 16, 16)),
    "data_parallel": lambda: nn.DataParallel(resnet8()),
    "compiled": lambda: torch.compile(resnet8(), backend="eager"),
    "scripted": lambda: torch.jit.script(normed(nn.BatchNorm2d)),
    "halved": lambda: resnet8().half(),
    "channels_last": lambda: resnet8().to(memory_format=torch.channels_last),
    "needs_an_argument": lambda depth: resnet8(),
    "loads_itself": lambda: torch.load("does_not_exist.pt"),
    "upsampled": lambda: nn.Sequential(nn.Upsample(size=(32, 32)), resnet8()),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    try:
        return FACTORIES[name]
    except KeyError:
        raise AttributeError(name) from None
