"""The Vega bundle: one script with everything that live charts need, made offline by vl-convert.

Pages have their specifications compiled, so the bundle has neither Vega-Lite nor vega-embed: a third less to load.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

_SNIPPET = """
import { View, parse, Warn } from "https://cdn.jsdelivr.net/npm/vega@6.2.0/+esm";
import { expressionInterpreter } from "https://cdn.jsdelivr.net/npm/vega-interpreter@2.0.0/+esm";
window.vega = { View, parse, Warn, expressionInterpreter };
"""
"""What the bundle has. These names are those of modules within vl-convert, from which nothing is fetched."""
_DIGITS = 12


def write_bundle(folder: Path, cache: Path) -> str:
    """Write the bundle into `folder` and return its file name, which changes with its content.

    Args:
        folder: Where pages load scripts from.
        cache: Where bundles of earlier builds are kept; making one takes seconds.
    """
    content = _cached(cache)
    name = f"vega.{hashlib.sha256(content).hexdigest()[:_DIGITS]}.js"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return name


def _cached(cache: Path) -> bytes:
    version = metadata.version("vl-convert-python")
    identity = hashlib.sha256(f"{version}\n{_SNIPPET}".encode()).hexdigest()[:_DIGITS]
    path = cache / f"vega-{identity}.js"
    if path.is_file():
        content, digest = path.read_bytes(), path.with_suffix(".sha256")
        if digest.is_file() and digest.read_text(encoding="ascii") == hashlib.sha256(content).hexdigest():
            return content
    import vl_convert

    content = vl_convert.javascript_bundle(_SNIPPET).encode()
    cache.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest(), encoding="ascii")
    return content
