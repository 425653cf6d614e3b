"""Networks that a user's own function builds: the only code of others that is executed, and only when it is named."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from apsite.errors import NetworkError


class FactoryNetwork(NamedTuple):
    """A network that a user's own function built, the name of that function, and the hash of its file.

    The name is ``file.py:factory`` without a folder, or ``package.module:factory``; the hash is empty for a module that
    has no file.
    """

    network: nn.Module
    name: str
    sha256: str


def build_network(spec: str) -> FactoryNetwork:
    """The network that the function ``path/to/file.py:factory`` or ``package.module:factory`` gives.

    The function takes no arguments and gives a network from images in [0, 1] to logits. Its module is executed. The
    folder of the file, or the working directory, is searched for what it imports.

    Raises:
        NetworkError: If there is no such file, module or function, or it fails.
    """
    source, _, name = spec.rpartition(":")
    if not source or not name.isidentifier():
        raise NetworkError(f"{spec}: a factory is written path/to/file.py:factory or package.module:factory")
    is_file = source.endswith(".py") or "/" in source
    if is_file and not Path(source).is_file():
        raise NetworkError(f"{spec}: there is no file {source}")
    folder = Path(source).resolve().parent if is_file else Path.cwd()
    imported = f"apsite_factory_{Path(source).stem}"  # no module of that name can be found otherwise
    try:
        with _importable(folder):
            if is_file:
                found = importlib.util.spec_from_file_location(imported, source)
                assert found is not None
                assert found.loader is not None
                module = importlib.util.module_from_spec(found)
                sys.modules[found.name] = module  # dataclasses and pickles look their module up
                found.loader.exec_module(module)
            else:
                module = importlib.import_module(source)
    except (Exception, SystemExit) as error:  # the module is the user's program
        sys.modules.pop(imported, None)
        raise NetworkError(f"{spec}: importing it failed: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        offered = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise NetworkError(f"{spec}: no function {name!r} in {source}; it has {', '.join(offered) or 'none'}")

    try:
        with _importable(folder), torch.random.fork_rng(devices=[]):
            network = function()
    except (Exception, SystemExit) as error:  # as above
        raise NetworkError(f"{spec}: building the network failed: {type(error).__name__}: {error}") from error
    if not isinstance(network, nn.Module):
        raise NetworkError(f"{spec}: gave a {type(network).__name__}, not a torch.nn.Module")
    code = Path(getattr(module, "__file__", None) or "")
    digest = hashlib.sha256(code.read_bytes()).hexdigest() if code.is_file() else ""
    return FactoryNetwork(network, f"{Path(source).name if is_file else source}:{name}", digest)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Search `folder` for imports first while the context lasts."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
