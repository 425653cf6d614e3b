"""Who imports whom: the layer rule, read from the source and tried in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "apsite"

# A module imports from its own floor or from one below; the longest name that a module's own begins with is its floor.
FLOORS = (
    "errors", "vocabulary", "official_sets", "protocol", "keys", "metrics", "numbers", "progress", "documents",
    "samples", "entries", "records", "results", "comparable", "columns", "catalogue", "export", "validation",
    "contribution", "demo", "evaluation", "evaluation.testsets", "evaluation.attacks", "evaluation.checkpoints",
    "evaluation.runs", "baselines", "site.links", "site.charts", "site.writer", "site.news", "site.downloads",
    "site.tables", "site.page", "site.pages", "site.making", "site", "cli", "__main__",
)  # fmt: skip
LOOSE_MODULES = 15
"""The most modules that lie in one room."""
STRANGERS = (("evaluation", "site"), ("baselines", "site"), ("site", "evaluation"), ("site", "baselines"))
# What only one part of the package may import: the extras of pyproject.toml.
OWNED = {
    "evaluation, baselines": {
        "filelock", "greenlet", "huggingface_hub", "optuna", "PIL", "platformdirs", "pooch", "pyautoattack",
        "ray", "safetensors", "scipy", "torch",
    },
    "site": {"altair", "griffe", "jinja2", "markupsafe", "material", "mkdocs", "vl_convert", "yaml"},
    "cli": {"click"},
}  # fmt: skip
FLOOR = {name: floor for floor, name in enumerate(FLOORS)}


def part_of(module: str) -> str:
    """The part of the package to which a module belongs: ``site`` for ``apsite.site.making.build``."""
    return module.split(".")[1] if "." in module else ""


def module_name(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, module: str) -> set[str]:
    """Dotted names that a module imports anywhere, also within functions and for type checking."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@cache
def imports() -> dict[str, frozenset[str]]:
    """Imports of every module of the package but the top one, which only forwards names lazily."""
    modules = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        module: frozenset(imports_of(path.read_text(encoding="utf-8"), module))
        for module, path in modules.items()
        if module != "apsite"
    }


def floor_of(name: str) -> int | None:
    """The floor of a dotted name within the package; ``None`` if it is on none."""
    parts = name.split(".")[1:]
    beginnings = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((FLOOR[beginning] for beginning in beginnings if beginning in FLOOR), None)


def test_every_module_has_a_floor() -> None:
    assert [module for module in imports() if floor_of(module) is None] == []
    assert {floor_of(module) for module in imports()} == set(range(len(FLOORS)))


def test_no_module_imports_from_a_floor_above() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        if name.startswith("apsite.") and (floor_of(name) or 0) > (floor_of(module) or 0)
    ]
    assert upward == []


def circle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """Modules that import each other in a circle, if there are any."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = set(imports())
    graph = {
        module: {
            found
            for name in names
            for found in [name if name in modules else name.rpartition(".")[0]]
            if found in modules and found != module
        }
        for module, names in imports().items()
    }
    assert circle(graph) == []
    assert circle(graph | {"apsite.errors": {"apsite.cli.group"}}) != []


def test_rooms_stay_small() -> None:
    rooms = Counter(path.parent for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__"))
    assert {str(room): count for room, count in rooms.items() if count > LOOSE_MODULES} == {}


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_evaluation_and_site_do_not_know_each_other(one: str, other: str) -> None:
    """They meet in files."""
    found = [
        f"{module} imports {name}"
        for module, names in imports().items()
        if part_of(module) == one
        for name in names
        if part_of(name) == other and name.startswith("apsite.")
    ]
    assert found == []


def test_nobody_asks_the_top_for_names() -> None:
    """``from apsite import load_network`` within the package would hide who imports whom."""
    names = {name for names in imports().values() for name in names if name.startswith("apsite")}
    assert {name for name in names if name != "apsite" and floor_of(name) is None} == set()


@pytest.mark.parametrize("owner", OWNED)
def test_what_an_extra_brings_is_imported_by_its_part_alone(owner: str) -> None:
    """So that a part installs and runs without the extras of the others; torch belongs to the evaluation."""
    found = [
        f"{module} imports {name}"
        for module, names in imports().items()
        if part_of(module) not in owner.split(", ")
        for name in names
        if name.split(".")[0] in OWNED[owner]
    ]
    assert found == []


def test_the_parser_sees_every_kind_of_import() -> None:
    """The rule would be worth nothing if an import could hide from it."""
    source = (
        "import torch.nn as nn\n"
        "from apsite import export as exporting\n"
        "from .. import catalogue\n"
        "from .build import x\n"
        "if TYPE_CHECKING:\n    import jinja2\n"
        "def f():\n    from apsite.site.making.build import build_site\n"
    )
    assert imports_of(source, "apsite.site.writer") == {
        "torch.nn", "apsite.export", "apsite.catalogue", "apsite.site.build.x", "jinja2",
        "apsite.site.making.build.build_site",
    }  # fmt: skip
    assert "apsite.samples.read_samples_and_hash" in imports()["apsite.validation.sample_files"]


def run_without(tmp_path: Path, refused: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which some packages cannot be imported."""
    for name in refused:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} was imported')\n")
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_everything_but_the_evaluation_works_without_torch(tmp_path: Path) -> None:
    modules = [
        module
        for module in imports()
        if part_of(module) not in ("evaluation", "baselines") and not module.endswith("__main__")
    ]
    code = "import importlib\n"
    code += f"for name in {modules!r}: importlib.import_module(name)\n"
    code += (
        "from apsite import load_catalogue\n"
        "from apsite.validation import validate\n"
        "from pathlib import Path\n"
        "assert validate(Path()).problems == ()\n"
        "print(len(load_catalogue().to_frame()))\n"
    )
    result = run_without(tmp_path, OWNED["evaluation, baselines"] - {"PIL", "platformdirs"}, code)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 192


def test_the_data_works_without_any_extra(tmp_path: Path) -> None:
    code = (
        "from apsite.cli import cli\n"
        "for arguments in (['validate'], ['export', '--format', 'json'], ['show', 'HARP']):\n"
        "    try: cli(arguments)\n"
        "    except SystemExit as end: assert not end.code, (arguments, end.code)\n"
    )
    result = run_without(tmp_path, OWNED["evaluation, baselines"] | OWNED["site"], code)
    assert result.returncode == 0, result.stderr
    assert "no problem" in result.stdout


def test_the_guard_of_these_tests_works(tmp_path: Path) -> None:
    """An import of torch would have been noticed."""
    result = run_without(tmp_path, {"torch"}, "import apsite.baselines.training")
    assert result.returncode == 1
    assert "ImportError: torch was imported" in result.stderr


def test_public_names_are_there_and_unknown_ones_are_not() -> None:
    import apsite
    from apsite.catalogue import Catalogue, load_catalogue

    assert apsite.Catalogue is Catalogue
    assert apsite.load_catalogue is load_catalogue
    assert {"Catalogue", "load_catalogue", "load_network"} <= set(dir(apsite))
    with pytest.raises(AttributeError, match="module 'apsite' has no attribute 'load_model'"):
        apsite.load_model  # noqa: B018
