"""What an evaluation ran on, for its record."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata, resources
from pathlib import Path

import torch

from apsite.errors import EvaluationError
from apsite.protocol import Scalar


def choose_device(name: str | None) -> torch.device:
    """Device of a name such as ``cpu`` or ``cuda:1``; the first CUDA device, or else the CPU, for ``None``.

    Raises:
        EvaluationError: If there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EvaluationError(f"--device {name!r} is not a device; use 'cpu', 'cuda' or 'cuda:<number>'") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise EvaluationError(f"--device {name}: no such CUDA device here; use 'cpu'")
    if device.type not in ("cpu", "cuda"):
        raise EvaluationError(f"--device {name}: only 'cpu' and 'cuda' are supported")
    return device


def describe(device: torch.device) -> dict[str, Scalar]:
    """Versions, platform, device and precision flags."""
    on_gpu = device.type == "cuda"
    described: dict[str, Scalar] = {
        "python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        "cpu_count": os.cpu_count(), "commit": commit(), "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }  # fmt: skip
    for package in ("apsite", "torch", "numpy", "pyautoattack", "optuna"):
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            described[package] = None
    return described


def commit() -> str | None:
    """Commit of the checkout this package runs from; ``None`` for an installed package."""
    here = Path(str(resources.files("apsite"))).resolve().parent
    if not (here / ".git").exists():
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(here), "rev-parse", "HEAD"],  # noqa: S607 - git of the user's path
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
