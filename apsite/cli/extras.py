"""Which extra brings a module that is not installed."""

from __future__ import annotations

MODULES = {
    "eval": (
        "filelock", "greenlet", "optuna", "PIL", "platformdirs", "pooch", "pyautoattack", "requests", "safetensors",
        "scipy", "torch", "urllib3",
    ),
    "fetch": ("gdown", "huggingface_hub"),
    "ray": ("ray",),
    "site": ("altair", "griffe", "jinja2", "markupsafe", "mkdocs", "vl_convert", "yaml"),
}  # fmt: skip
"""Top-level modules by the extra of ``pyproject.toml`` that brings them."""


def advice(module: str | None) -> str | None:
    """What to install for a module that is missing; ``None`` if no extra brings it, and its absence is a bug."""
    top = (module or "").partition(".")[0]
    extra = next((extra for extra, modules in MODULES.items() if top in modules), None)
    return extra and f"this needs {top}, which is not installed; install it with: pip install 'apsite[{extra}]'"
