"""Checkpoint files as people save them, each with the number of zero weights that an audit finds, or what it answers.

All hold the ResNet8 of the demonstration, 90 % of its weights zero: its tensors in other containers, under other names,
before their mask was multiplied in, as other numbers, with other neighbours, in other kinds of file.
"""

from __future__ import annotations

import argparse
import base64
import collections
import datetime
import enum
import functools
import io
import pathlib
import pickle
import random
import zipfile

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from apsite.evaluation.checkpoints.loading import load_network
from apsite.evaluation.runs.demonstration import network_path

ZEROS, TOTAL = 369_936, 411_040
"""Zero weights of the network, and all."""
NETWORK = load_network(network_path(), architecture="resnet8")
S = NETWORK.state_dict()
"""Its state dict, and the names of its weights."""
W = [name for name, value in S.items() if value.dim() > 1]
NOISE = torch.Generator().manual_seed(0)


def dense() -> dict:
    """The state dict before pruning: small numbers in place of the zeros."""
    return S | {
        name: torch.where(S[name] == 0, torch.rand(S[name].shape, generator=NOISE) + 0.1, S[name]) for name in W
    }


def other() -> dict:
    """Another network of the same names."""
    return {name: value * 0.5 if value.is_floating_point() else value for name, value in S.items()}


def mask(name: str) -> torch.Tensor:
    return (S[name] != 0).float()


def masked(form: str, change=lambda it: it, weights=dense) -> dict:
    """Dense weights, and their masks under names of a form; ``{}`` is the layer."""
    return weights() | {form.format(name.removesuffix(".weight")): change(mask(name)) for name in W}


def pre(prefix: str, state=None) -> dict:
    return {prefix + name: value for name, value in (state or S).items()}


def renamed(weight: str, form: str = "", make=None, state=None) -> dict:
    """Weights under another name, with masks or other tensors beside them."""
    found = {name: value for name, value in (state or S).items() if name not in W}
    for name in W:
        layer = name.removesuffix(".weight")
        found[weight.format(layer)] = (state or S)[name]
        if form:
            found[form.format(layer)] = (make or mask)(name)
    return found


def by_structure(reduce, **broken) -> dict:
    """Whole filters, channels or kernels that are zero get noise, and masks of one number for each."""
    state = dict(S)
    for name in W:
        kept = reduce(S[name] != 0)
        state[name], state[f"{name}_mask"] = torch.where(kept, S[name], torch.ones(())), kept.float()
    return state


def norm(mean, std, means="normalize.mean", stds="normalize.std") -> dict:
    return {means: torch.as_tensor(mean), stds: torch.as_tensor(std), **pre("model.")}


def lengths(name: str) -> torch.Tensor:
    return S[name].flatten(1).norm(dim=1).view(-1, *[1] * (S[name].dim() - 1))


def factors(form: str, g: str) -> dict:
    return renamed(form, g, lengths)


def vectors(weight: str, left: str, right: str) -> dict:
    """What spectral_norm stores: singular vectors beside the weight."""
    state = renamed(
        weight, left, lambda name: nn.functional.normalize(torch.rand(len(S[name]), generator=NOISE), dim=0)
    )
    return state | {
        right.format(name.removesuffix(".weight")): nn.functional.normalize(
            torch.rand(S[name][0].numel(), generator=NOISE), dim=0
        )
        for name in W
    }


def cast(dtype: torch.dtype, only=lambda value: value.is_floating_point()) -> dict:
    return {name: value.to(dtype) if only(value) else value for name, value in S.items()}


def changed(name: str, change) -> dict:
    value = S[name].clone()
    return S | {name: change(value)}


def put(value: torch.Tensor, number: float) -> torch.Tensor:
    value[0] = number
    return value


class Mode(enum.Enum):
    LINF = 1


class Meter:
    def __init__(self) -> None:
        self.avg = 1.0


class Options(dict):
    """Options with attributes, as EasyDict and OmegaConf make them."""


class NamedState(collections.OrderedDict):
    pass


class Masked(torch.Tensor):
    pass


class Trainer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model, self.criterion = NETWORK, nn.CrossEntropyLoss(weight=torch.ones(10))


def with_attribute() -> dict:
    parameter = nn.Parameter(S["conv1.weight"])
    parameter.mask, parameter.data_ptr = mask("conv1.weight"), "shadows a method"
    return S | {"conv1.weight": parameter}


def adam() -> dict:
    parameters = [nn.Parameter(S[name].clone()) for name in W]
    optimiser = torch.optim.Adam(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimiser.step()
    return {"net": S, "optimizer": optimiser.state_dict(), "scaler": {"scale": 65536.0}}


SEVERAL = "holds several state dicts: "
UNUSUAL = "images in [0, 1] have a mean in [0, 1] and a standard deviation above 0 and up to 1"

# What torch.save saves, what is found, and the option --state.
OBJECTS = {
    # --- containers
    **{f"container {key}": (lambda key=key: {key: S, "epoch": 9}, ZEROS) for key in (
        "state_dict", "model_state_dict", "net", "model", "ema", "student", "net_dict", "params_ema", "params", "module",
        "ema_state_dict", "netG", "weights", "best_state",
    )},
    "bare": (lambda: S, ZEROS),
    "deep": (lambda: {"checkpoint": {"trainer": {"model": {"state_dict": S}}}}, ZEROS),
    "tuple": (lambda: (S, 9), ZEROS),
    "list of one": (lambda: [{"params_ema": S}], ZEROS),
    "DeepSpeed": (lambda: {"module": S, "dp_world_size": 1, "param_shapes": [{"conv1.weight": torch.Size([32])}], "buffer_names": []}, ZEROS),
    "MMEngine": (lambda: {"meta": {"epoch": 1, "time": "x"}, "state_dict": S, "message_hub": {"lr": [0.1]}}, ZEROS),
    "timm": (lambda: {"arch": "resnet8", "state_dict": S, "optimizer": {"state": {}}, "args": argparse.Namespace(lr=0.1), "metric": 0.5, "amp_scaler": {}}, ZEROS),
    "Detectron": (lambda: {"model": {name: value.numpy() for name, value in S.items()}, "__author__": "x"}, ZEROS),
    "options of the same names": (lambda: {"state_dict": S, "model": "resnet8", "params": {"lr": 0.1}, "weights": None, "network": argparse.Namespace(depth=8)}, ZEROS),
    "raw and averaged": (lambda: {"state_dict": other(), "state_dict_ema": S}, SEVERAL + "state_dict, state_dict_ema. Choose one with --state, such as --state state_dict"),
    "averaged, chosen": (lambda: {"state_dict": dense(), "state_dict_ema": S}, ZEROS, "state_dict_ema"),
    "raw, chosen": (lambda: {"state_dict": dense(), "state_dict_ema": S}, "0.00% of the weights are removed", "state_dict"),
    "chosen, not there": (lambda: {"state_dict": S}, "no state dict under ema; there is state_dict", "ema"),
    "averaged and unaveraged": (lambda: {"model_state_dict": S, "unaveraged_model_state_dict": other()}, SEVERAL),
    "best and last": (lambda: {"state_dict": other(), "best_state_dict": S}, SEVERAL),
    "shadow": (lambda: {"net": other(), "ema": {"decay": 0.9, "shadow": {name: S[name] for name in W}}}, SEVERAL + "net, ema.shadow"),
    "distillation": (lambda: {"student": S, "teacher": other()}, SEVERAL + "student, teacher"),
    "distillation, chosen": (lambda: {"student": S, "teacher": other()}, ZEROS, "student"),
    "two parts": (lambda: {"encoder": {k: v for k, v in S.items() if "linear" not in k}, "classifier": {"linear.weight": S["linear.weight"]}}, "if they are parts of one network, save its state_dict()"),
    "a projector beside": (lambda: {"state_dict": S, "projector": {"head.weight": torch.ones(2, 2)}}, ZEROS),
    "parameters in a list": (lambda: list(S.values()), "holds no state dict (found 0, 1, 2"),
    "options alone": (lambda: {"epoch": 3, "acc": 0.5}, "holds no state dict (found epoch, acc)"),
    # --- names
    **{f"prefix {prefix}": (lambda prefix=prefix: {"net": pre(prefix)}, ZEROS) for prefix in (
        "module.", "model.", "module.model.", "_orig_mod.", "_fsdp_wrapped_module.", "basic_model.", "net.", "1.", "encoder.backbone.", "ema_model.",
    )},
    "averaged by torch": (lambda: pre("module.") | {"n_averaged": torch.tensor(12)}, ZEROS),
    "averaged by torch, in a container": (lambda: {"swa_state_dict": pre("module.") | {"n_averaged": torch.tensor(12)}}, ZEROS),
    "ema_pytorch": (lambda: pre("online_model.", other()) | pre("ema_model.") | {"initted": torch.tensor(True), "step": torch.tensor(3)}, SEVERAL + "ema_model, online_model"),
    "ema_pytorch, chosen": (lambda: pre("online_model.", dense()) | pre("ema_model.") | {"initted": torch.tensor(True)}, ZEROS, "ema_model"),
    "ema_pytorch, averaged alone": (lambda: pre("ema_model.") | {"initted": torch.tensor(True), "step": torch.tensor([3])}, ZEROS),
    "Lightning": (lambda: {"state_dict": pre("model.") | {"criterion.pos_weight": torch.ones(10)}, "pytorch-lightning_version": "2.0.0", "callbacks": {"ModelCheckpoint{'monitor': 'acc'}": {"best_model_score": torch.tensor(0.5)}}}, ZEROS),
    "Lightning with metrics": (lambda: {"state_dict": pre("net.") | {"train_accuracy.tp": torch.zeros(10, dtype=torch.int64), "loss_fn.weight": torch.ones(10)}}, ZEROS),
    "thop": (lambda: pre("module.") | {"module.total_ops": torch.zeros(1, dtype=torch.float64), "module.conv1.total_params": torch.zeros(1)}, ZEROS),
    "extra state": (lambda: S | {"conv1._extra_state": {"scale": 1.0}, "bn1._extra_state": None}, ZEROS),
    "an epoch inside": (lambda: S | {"epoch": 3, "conv1.bias": None}, ZEROS),
    "fc and downsample": (lambda: {k.replace("linear.", "fc.").replace("shortcut", "downsample"): v for k, v in S.items()}, ZEROS),
    "head and skip": (lambda: {"module." + k.replace("linear.", "head.").replace("shortcut", "skip"): v for k, v in S.items()}, ZEROS),
    "a layer too many": (lambda: S | {"linear2.weight": torch.ones(2, 2)}, "1 unexpected (linear2.weight)"),
    "no running statistics": (lambda: {k: nn.Parameter(v) for k, v in S.items() if "running" not in k and "tracked" not in k}, "named_parameters() leaves out the running statistics"),
    "no counters": (lambda: {k: v for k, v in S.items() if "tracked" not in k}, ZEROS),
    # --- constants of a normalisation
    "norm": (lambda: norm([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]), ZEROS),
    "norm of shape 1, 3, 1, 1": (lambda: norm(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)), ZEROS),
    "norm for all channels": (lambda: norm(0.0, 1.0), ZEROS),
    "norm for all channels, of shape 1": (lambda: norm([0.5], [0.5]), ZEROS),
    "norm per pixel": (lambda: norm(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)), ZEROS),
    "norm that differs by pixel": (lambda: norm(torch.rand(1, 3, 32, 32, generator=NOISE), torch.ones(1, 3, 32, 32)), "2 unexpected (normalize.mean, normalize.std)"),
    "norm called means and sds": (lambda: norm([0.0] * 3, [1.0] * 3, "normalize.means", "normalize.sds"), ZEROS),
    "norm called mu and sigma": (lambda: norm([0.0] * 3, [1.0] * 3, "mu", "sigma"), ZEROS),
    "norm as batch norm": (lambda: {"0.running_mean": torch.zeros(3), "0.running_var": torch.ones(3), "0.num_batches_tracked": torch.tensor(1), **pre("1.")}, ZEROS),
    "norm for 0..255": (lambda: norm([0.0] * 3, [255.0] * 3), UNUSUAL),
    "norm with a mean in 0..255": (lambda: norm([125.3, 123.0, 113.9], [0.2, 0.2, 0.2]), UNUSUAL),
    "norm with 1 / std": (lambda: norm([0.4914, 0.4822, 0.4465], [4.05, 4.11, 3.82]), UNUSUAL),
    "norm with a deviation of zero": (lambda: norm([0.0] * 3, [1.0, 0.0, 1.0]), UNUSUAL),
    "norm with variances": (lambda: norm([0.0] * 3, [1.0] * 3, stds="normalize.var"), "2 unexpected (normalize.mean, normalize.var)"),
    # --- masks
    "torch prune": (lambda: renamed("{}.weight_orig", "{}.weight_mask", state=dense()), ZEROS),
    "torch prune, one layer left": (lambda: {k: v for k, v in S.items() if k != "conv1.weight"} | {"conv1.weight_orig": dense()["conv1.weight"], "conv1.weight_mask": mask("conv1.weight")}, ZEROS),
    "torch prune without masks": (lambda: renamed("{}.weight_orig"), "conv1.weight_orig has no conv1.weight_mask"),
    "parametrisation": (lambda: renamed("{}.parametrizations.weight.original", "{}.parametrizations.weight.0.mask", state=dense()), ZEROS),
    "NNI": (lambda: {k.replace("conv1.bias", "conv1.module.bias"): v for k, v in renamed("{}.module.weight", "{}.weight_mask", state=dense()).items()}, ZEROS),
    "NNI with the weight twice": (lambda: renamed("{}.module.weight") | masked("{}.weight_mask"), ZEROS),
    **{f"mask {form}": (lambda form=form: masked(form), ZEROS) for form in (
        "{}.weight_mask", "{}.mask", "{}.mask.mask", "mask.{}.weight", "masks.{}.weight", "mask.{}", "{}.mask.weight", "{}_mask",
    )},
    "mask with a prefix": (lambda: pre("module.", masked("mask.{}.weight")), ZEROS),
    "mask of booleans": (lambda: masked("{}.weight_mask", torch.Tensor.bool), ZEROS),
    "mask of bytes": (lambda: masked("{}.mask", torch.Tensor.byte), ZEROS),
    "mask of halves": (lambda: masked("{}.mask", torch.Tensor.half), ZEROS),
    "mask already multiplied in": (lambda: masked("{}.weight_mask", weights=lambda: S), ZEROS),
    "mask of a bias": (lambda: masked("{}.weight_mask") | {"linear.bias_mask": torch.ones(10)}, ZEROS),
    "masks apart": (lambda: {"state_dict": dense(), "masks": {name: mask(name) for name in W}}, ZEROS),
    "masks apart, layers named": (lambda: {"model": dense(), "mask": {name.removesuffix(".weight"): mask(name) for name in W}}, ZEROS),
    "masks apart, with a prefix": (lambda: {"model": pre("module.", dense()), "masks": {f"{name}_mask": mask(name) for name in W}}, ZEROS),
    "masks inside": (lambda: {**dense(), "masks": {name: mask(name) for name in W}}, ZEROS),
    "masks in a list": (lambda: {"net": dense(), "masks": [mask(name) for name in W]}, ZEROS),
    "masks in a tuple, inside": (lambda: {**dense(), "masks": tuple(mask(name).bool() for name in W)}, ZEROS),
    "masks in a list, with a prefix": (lambda: {"net": pre("module.", dense()), "mask_list": [mask(name) for name in W]}, ZEROS),
    "masks by index": (lambda: {"model": dense(), "masks": {at: mask(W[at]) for at in reversed(range(len(W)))}}, ZEROS),
    "masks by index as text": (lambda: {"model": dense(), "masks": {str(at): mask(name).numpy() for at, name in enumerate(W)}}, ZEROS),
    "masks in a list, one layer without": (lambda: {"model": dense() | {W[3]: S[W[3]]}, "masks": [None if at == 3 else mask(name) for at, name in enumerate(W)]}, ZEROS),
    "masks in a list, first and last layer without": (lambda: {"model": dense() | {name: S[name] for name in (W[0], W[-1])}, "masks": [mask(name) for name in W[1:-1]]}, ZEROS),
    "masks in a list, of every parameter": (lambda: {"model": dense(), "masks": [mask(name) if name in W else torch.ones(S[name].shape) for name in S if S[name].dim() and "running" not in name]}, ZEROS),
    "masks of torch prune in a list": (lambda: {"model": renamed("{}.weight_orig", state=dense()), "masks": [mask(name) for name in W]}, ZEROS),
    "masks by layer and tensor": (lambda: {"model": dense(), "masks": {name.removesuffix(".weight"): {"weight": mask(name)} for name in W}}, ZEROS),
    "masks in a list, one of two alike missing": (lambda: {"model": dense(), "masks": [mask(name) for name in W if name != W[1]]}, "holds 9 masks without names, and their shapes and order do not say which of its 10 weights each belongs to"),
    "masks in a list, in another order": (lambda: {"model": dense(), "masks": [mask(name) for name in reversed(W)]}, "holds 10 masks without names"),
    "masks in a list, too many": (lambda: {"model": dense(), "masks": [mask(name) for name in [*W, W[-1]]]}, "holds 11 masks without names"),
    "masks in a list, of filters": (lambda: {"model": dense(), "masks": [torch.ones(len(S[name])) for name in W]}, "holds 10 masks without names"),
    "masks in a list, of scores": (lambda: {"model": dense(), "masks": [mask(name) + 0.5 for name in W]}, "conv1.weight_mask holds scores instead of zeros and ones"),
    "masks in a list, inverted": (lambda: {"model": dense(), "masks": [1 - mask(name) for name in W]}, "its masks are 0 for 10.0% of their weights"),
    "masks apart, of another network": (lambda: {"model": dense(), "masks": {f"features.{at}": mask(name) for at, name in enumerate(W)}}, "the mask features.0 has the name of no tensor of the state dict. Name each mask after its weight"),
    "mask of filters": (lambda: by_structure(lambda kept: kept.flatten(1).any(1).view(-1, *[1] * (kept.dim() - 1))), ZEROS),
    "mask of kernels": (lambda: by_structure(lambda kept: kept.flatten(2).any(2).view(*kept.shape[:2], *[1] * (kept.dim() - 2)) if kept.dim() > 2 else kept), ZEROS),
    "mask of input channels": (lambda: S | {"conv1.mask": torch.ones(1, 3, 1, 1), "linear.mask": torch.ones(1, 160)}, ZEROS),
    "mask of inputs or outputs, of ones": (lambda: S | {"layer1.0.conv1.mask": torch.ones(1, 32, 1, 1)}, ZEROS),
    "mask of inputs or outputs": (lambda: S | {"layer1.0.conv1.mask": put(torch.ones(32), 0).view(1, 32, 1, 1)}, "layer1.0.conv1.mask has the shape [1, 32, 1, 1], which does not fit"),
    "mask of another shape": (lambda: S | {"conv1.mask": torch.zeros(7)}, "conv1.mask has the shape [7], which does not fit conv1.weight [32, 3, 3, 3]"),
    "mask of scores": (lambda: masked("{}.mask", lambda it: it + 0.5), "conv1.mask holds scores instead of zeros and ones: save the weights as the layer multiplies them"),
    "mask that is inverted": (lambda: masked("{}.weight_mask", lambda it: 1 - it), "its masks are 0 for 10.0% of their weights, of which 90.0% are declared to be pruned: save masks that are 1 where a weight stays"),
    "mask that is missing": (dense, "0.00% of the weights are removed; give the right --sparsity"),
    "TwinRep": (lambda: masked("{}.mask") | {name.replace("weight", "aux_weight"): torch.ones(S[name].shape) for name in W}, ZEROS),
    "HYDRA": (lambda: S | {name.replace("weight", "popup_scores"): torch.rand(S[name].shape, generator=NOISE) for name in W}, ZEROS),
    "HYDRA before pruning": (lambda: dense() | {name.replace("weight", "popup_scores"): torch.rand(S[name].shape, generator=NOISE) for name in W}, sum(int(0.9 * S[name].numel()) for name in W)),
    "HARP": (lambda: S | {"conv1.k_score": torch.tensor(0.1)}, ZEROS),
    # --- norms of weights
    "weight norm": (lambda: factors("{}.weight_v", "{}.weight_g"), ZEROS),
    "weight norm as a parametrisation": (lambda: factors("{}.parametrizations.weight.original1", "{}.parametrizations.weight.original0"), ZEROS),
    "weight norm of whole tensors": (lambda: renamed("{}.weight_v", "{}.weight_g", lambda name: S[name].norm()), ZEROS),
    "spectral norm": (lambda: vectors("{}.weight_orig", "{}.weight_u", "{}.weight_v"), ZEROS),
    "spectral norm as a parametrisation": (lambda: vectors("{}.parametrizations.weight.original", "{}.parametrizations.weight.0._u", "{}.parametrizations.weight.0._v"), ZEROS),
    # --- kinds of numbers
    **{f"numbers {dtype}": (lambda dtype=dtype: cast(dtype), ZEROS) for dtype in (torch.float64, torch.bfloat16)},
    "numbers torch.float16": (lambda: {k: v.half() if "running" in k else v for k, v in S.items()}, ZEROS),
    "numbers of 8 bits": (lambda: cast(torch.float8_e4m3fn, lambda value: value.dim() > 1), "conv1.weight holds float8_e4m3fn numbers; weights must be float32"),
    "numbers that are whole": (lambda: cast(torch.int8, lambda value: value.dim() > 1), "conv1.weight holds int8 numbers; weights must be float32 (or float16, bfloat16, float64). Save the network before it is quantised"),
    "numbers that are complex": (lambda: cast(torch.complex64, lambda value: value.dim() > 1), "conv1.weight holds complex64 numbers"),
    "counters of 32 bits": (lambda: cast(torch.int32, lambda value: value.dim() == 0), ZEROS),
    "sparse by coordinates": (lambda: {k: v.to_sparse() if k in W else v for k, v in S.items()}, ZEROS),
    "sparse by rows": (lambda: changed("linear.weight", torch.Tensor.to_sparse_csr), ZEROS),
    "negative zeros": (lambda: S | {name: torch.where(S[name] == 0, -0.0, S[name]) for name in W}, ZEROS),
    "NaN in an empty channel": (lambda: changed("bn1.running_var", lambda value: put(value, float("nan"))), "1 of the 32 numbers of bn1.running_var are NaN or infinite"),
    "negative variance": (lambda: changed("bn1.running_var", lambda value: put(value, -1e-3)), "1 of the 32 numbers of bn1.running_var are negative, which no variance is"),
    "quantised": (lambda: changed("linear.weight", lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)), "linear.weight is quantised. Save the network before it is quantised"),
    "on no device": (lambda: changed("linear.weight", lambda value: value.to("meta")), "linear.weight is without data"),
    "transposed": (lambda: changed("linear.weight", lambda value: value.T.contiguous()), "weights of linear layers are stored as [in, out], which is transposed: save weight.T"),
    "HWIO": (lambda: {k: v.permute(2, 3, 1, 0).contiguous() if v.dim() == 4 else v for k, v in S.items()}, "convolutions are stored as [height, width, in, out], as in TensorFlow and JAX: save weight.permute(3, 2, 0, 1)"),
    "views": (lambda: {k: v.T.contiguous().T if v.dim() == 2 else v.to(memory_format=torch.channels_last) if v.dim() == 4 else v for k, v in S.items()}, ZEROS),
    "parameters": (lambda: {k: nn.Parameter(v) if v.is_floating_point() else v for k, v in S.items()}, ZEROS),
    "parameters with attributes": (with_attribute, ZEROS),
    "subclass of tensors": (lambda: changed("conv1.weight", lambda value: value.as_subclass(Masked)), ZEROS),
    "subclass of dicts": (lambda: NamedState(S), ZEROS),
    # --- whole networks
    "network": (lambda: NETWORK, ZEROS),
    "network in a container": (lambda: {"model": NETWORK, "optimizer": {"state": {}}}, ZEROS),
    "network in parallel": (lambda: nn.DataParallel(NETWORK), ZEROS),
    "network in a trainer": (Trainer, ZEROS),
    "network of another kind": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(7200, 10)), "does not fit any layout of resnet8 (4 tensors)"),
    # --- beside the weights
    **{f"beside: {type(value).__name__}": (lambda value=value: {"state_dict": S, "extra": value}, ZEROS) for value in (
        torch.__version__, np.str_("x"), [np.zeros(3, np.uint8), np.random.RandomState(0).get_state()], np.array([{"a": 1}, None], dtype=object), Options(lr=0.1),
        collections.Counter(a=1), Meter(), Mode.LINF, nn.CrossEntropyLoss(), functools.partial(nn.BatchNorm2d, eps=1e-3), datetime.date(2023, 5, 1),
        collections.defaultdict(list), {1, 2}, (torch.float32, torch.device("cuda:0"), torch.Size([1]), torch.get_rng_state(), random.getstate()), pathlib.PurePosixPath("x"), 1j, b"x",
    )},
    "beside: Adam": (adam, ZEROS),
    "beside: scheduler": (lambda: {"net": S, "extra": torch.optim.lr_scheduler.OneCycleLR(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1), 0.1, 10).state_dict()}, ZEROS),
}  # fmt: skip


def bytes_of(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def repacked(path: pathlib.Path, *, extra: dict[str, bytes] | None = None) -> None:
    """A checkpoint that a browser unpacked and a file manager packed again: compressed, in another order."""
    with zipfile.ZipFile(io.BytesIO(bytes_of(S))) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist()):
            new.writestr(name, old.read(name))
        for name, content in (extra or {}).items():
            new.writestr(name, content)


def unpacked(path: pathlib.Path) -> None:
    with zipfile.ZipFile(io.BytesIO(bytes_of(S))) as archive:
        archive.extractall(path)


def flipped(path: pathlib.Path) -> None:
    content = bytearray(bytes_of(S))
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


def script(path: pathlib.Path) -> None:
    torch.jit.save(torch.jit.trace(NETWORK, torch.rand(1, 3, 32, 32)), str(path))


def arrays(path: pathlib.Path, save=np.savez) -> None:
    with path.open("wb") as file:
        save(file, **{name: value.numpy() for name, value in S.items()})


# What writes the file, and what is found.
FILES = {
    "legacy": (lambda path: path.write_bytes(bytes_of({"net": S}, _use_new_zipfile_serialization=False)), ZEROS),
    **{f"protocol {number}": (lambda path, number=number: path.write_bytes(bytes_of(S, pickle_protocol=number)), ZEROS) for number in (3, 4, 5)},
    **{f"pickle of protocol {number}": (lambda path, number=number: path.write_bytes(pickle.dumps(S, protocol=number)), ZEROS) for number in (2, 4, 5)},
    "pickle of arrays": (lambda path: path.write_bytes(pickle.dumps({name: value.numpy() for name, value in S.items()})), ZEROS),
    "folder": (unpacked, ZEROS),
    "folder of files": (lambda path: (path.mkdir(), (path / "model.pt").write_bytes(bytes_of(S))), "a directory. Give the path of the checkpoint file inside it"),
    "packed again": (repacked, ZEROS),
    "packed again by macOS": (lambda path: repacked(path, extra={"__MACOSX/archive/._data.pkl": b"\x00\x05", "__MACOSX/archive/data.pkl": b"\x00\x05"}), ZEROS),
    "a zip with the file inside": (lambda path: zipfile.ZipFile(path, "w").writestr("model.pt", bytes_of(S)), "a zip archive that torch.save did not write. If a checkpoint is inside, unpack it first"),
    "half of it twice": (lambda path: path.write_bytes(bytes_of(S)[:500_000] + bytes_of(S)), ZEROS),
    "half of it": (lambda path: path.write_bytes(bytes_of(S)[:500_000]), "truncated or damaged"),
    "a flipped bit": (flipped, "truncated or damaged: PickleError: Bad CRC-32 for file"),
    "text mode": (lambda path: path.write_bytes(bytes_of(S, _use_new_zipfile_serialization=False).replace(b"\n", b"\r\n")), "truncated or damaged"),
    "base64": (lambda path: path.write_bytes(base64.b64encode(bytes_of(S))), "text in base64. Decode it with base64 -d"),
    "npz": (arrays, ZEROS),
    "npz, compressed": (lambda path: arrays(path, np.savez_compressed), ZEROS),
    "npy": (lambda path: np.save(path.open("wb"), np.zeros(3)), "a single NumPy array without names. Save the weights with numpy.savez"),
    "safetensors": (lambda path: save_file(S, path, {"format": "pt", "args": "{'lr': 0.1}"}), ZEROS),
    "safetensors with another name": (lambda path: save_file(S | {"ü.weight": torch.zeros(2)}, path), "1 unexpected (ü.weight)"),
    "script": (script, ZEROS),
    "index of shards": (lambda path: path.write_text('{"metadata": {"total_size": 1}, "weight_map": {}}'), "the index of a checkpoint in several files"),
    "error of a hub": (lambda path: path.write_text('{"error":"Repository not found"}'), "a message of the download site instead of the file"),
    "error of a bucket": (lambda path: path.write_text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'), "a message of the download site"),
    "DVC pointer": (lambda path: path.write_text("outs:\n- md5: 0123\n  size: 4\n  path: model.pt\n"), "a DVC pointer, not the file itself. Run dvc pull"),
    "LFS pointer": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"), "a Git LFS pointer, not the file itself. Run git lfs pull"),
    "ONNX": (lambda path: path.write_bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.0.1" + bytes(100)), "an ONNX file, whose weights have lost their names"),
    "HDF5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)), "an HDF5 file, as Keras writes it"),
}  # fmt: skip

FACTORIES = """
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm
from apsite.evaluation.checkpoints.networks.registry import layouts

def plain():
    return layouts()["resnet8"].build("cifar10")

def with_layers(change):
    network = plain()
    for module in list(network.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            change(module)
    return network

class Masked(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight * self.weight_mask, self.bias)

class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = plain()
        for name, value in dict(index=torch.arange(10), keep=torch.ones(10, dtype=torch.bool), bits=torch.ones(4, dtype=torch.uint8),
                                freqs=torch.ones(4, dtype=torch.complex64), n_averaged=torch.tensor(3), step=torch.tensor(2)).items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.body(x)[:, self.index].masked_fill(~self.keep, -9)

def mask_conv(module):
    if isinstance(module, nn.Conv2d):
        module.__class__ = Masked
        module.register_buffer("weight_mask", torch.ones_like(module.weight))

def parallel(): return nn.DataParallel(plain())
def nested(): return nn.Sequential(nn.Sequential(plain()))
def pruned(): return with_layers(lambda module: prune.identity(module, "weight"))
def normed(): return with_layers(parametrizations.weight_norm)
def spectral(): return with_layers(spectral_norm)
def masked(): return with_layers(mask_conv)
def buffers(): return Buffers()
def lazy(): return nn.Sequential(nn.LazyConv2d(8, 3), nn.Flatten(), nn.LazyLinear(10))
"""
BUFFERS = {"index": torch.arange(10), "keep": torch.ones(10, dtype=torch.bool), "bits": torch.ones(4, dtype=torch.uint8),
           "freqs": torch.ones(4, dtype=torch.complex64), "n_averaged": torch.tensor(3), "step": torch.tensor(2)}  # fmt: skip

# The function of FACTORIES that builds the network, what torch.save saves, and what is found.
FITTED = {
    "plain": ("plain", lambda: {"net": pre("module.")}, ZEROS),
    "parallel, without a prefix": ("parallel", lambda: S, ZEROS),
    "parallel, of another wrapper": ("parallel", lambda: pre("model."), ZEROS),
    "nested": ("nested", lambda: S, ZEROS),
    "masks of torch prune": ("pruned", lambda: renamed("{}.weight_orig", "{}.weight_mask", state=dense()), ZEROS),
    "weights without the masks of torch prune": ("pruned", lambda: S, ZEROS),
    "weight norm": ("normed", lambda: factors("{}.parametrizations.weight.original1", "{}.parametrizations.weight.original0"), ZEROS),
    "weights without weight norm": ("normed", lambda: S, ZEROS),
    "weights without spectral norm": ("spectral", lambda: S, ZEROS),
    "own masks": ("masked", lambda: {**{k: v for k, v in masked("{}.weight_mask").items() if k != "linear.weight_mask"}, "linear.weight": S["linear.weight"]}, ZEROS),
    "weights without own masks": ("masked", lambda: S, "9 missing (conv1.weight_mask"),
    "scores": ("plain", lambda: dense() | {name.replace("weight", "popup_scores"): torch.rand(S[name].shape, generator=NOISE) for name in W}, sum(int(0.9 * S[name].numel()) for name in W)),
    "buffers of all kinds": ("buffers", lambda: pre("body.") | BUFFERS, ZEROS),
    "buffers that do not fit": ("buffers", lambda: pre("body.") | BUFFERS | {"index": torch.arange(10) + 0.5}, "index holds float32 numbers that do not fit its type, torch.int64"),
    "lazy layers": ("lazy", lambda: S, "lazy layers without a shape"),
}  # fmt: skip
