"""apsite: the open benchmark of adversarial pruning.

The names below are the public interface for programs; they are imported when first used, so that reading data needs no
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apsite.catalogue import Catalogue, load_catalogue
    from apsite.evaluation.loading import load_network

__all__ = ["Catalogue", "load_catalogue", "load_network"]

_HOMES = {
    "Catalogue": "apsite.catalogue",
    "load_catalogue": "apsite.catalogue",
    "load_network": "apsite.evaluation.loading",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'apsite' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
