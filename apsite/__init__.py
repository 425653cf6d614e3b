"""apsite: the open benchmark of adversarial pruning.

The names below are the public interface for programs; they are imported when first used, so that reading data needs no
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsite.catalogue import Catalogue, load_catalogue
    from apsite.errors import ApsiteError
    from apsite.evaluation.checkpoints.loading import load_network
    from apsite.evaluation.checkpoints.report import audit
    from apsite.evaluation.runs.python_interface import evaluate, evaluate_samples
    from apsite.evaluation.testsets.datasets import load_test_set
    from apsite.protocol import Settings

__all__ = [
    "ApsiteError", "Catalogue", "Settings", "audit", "evaluate", "evaluate_samples", "load_catalogue", "load_network",
    "load_test_set",
]  # fmt: skip

_HOMES = {
    "ApsiteError": "apsite.errors",
    "Catalogue": "apsite.catalogue",
    "Settings": "apsite.protocol",
    "audit": "apsite.evaluation.checkpoints.report",
    "evaluate": "apsite.evaluation.runs.python_interface",
    "evaluate_samples": "apsite.evaluation.runs.python_interface",
    "load_catalogue": "apsite.catalogue",
    "load_network": "apsite.evaluation.checkpoints.loading",
    "load_test_set": "apsite.evaluation.testsets.datasets",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'apsite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
