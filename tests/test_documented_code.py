"""Code as the pages show it: Python that calls what there is, and lists of models that are read."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import apsite

pytest.importorskip("torch", reason="the interface of the evaluation needs the extra 'eval'")

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "apsite/site/templates").glob("*.j2")),
]


def blocks(language: str) -> list[tuple[str, str]]:
    """Blocks of a language, each with the name of its page."""
    return [
        (path.name, block)
        for path in PAGES
        for block in re.findall(
            rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]


def public_name(node: ast.AST) -> str | None:
    """``name`` of an expression ``apsite.name``."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "apsite":
        return node.attr
    return None


def test_python_calls_what_there_is() -> None:
    called = 0
    for name, block in blocks("python"):
        for node in ast.walk(ast.parse(block, name)):
            if (named := public_name(node)) is not None:
                assert named in apsite.__all__, f"{name}: apsite.{named}"
            if isinstance(node, ast.Call) and (named := public_name(node.func)) is not None:
                function = getattr(apsite, named)
                inspect.signature(function).bind(*node.args, **{str(one.arg): None for one in node.keywords})
                called += 1
    assert called >= 3


def test_lists_of_models_are_read(tmp_path: Path) -> None:
    from apsite.evaluation.runs.manifest import read_manifest

    listed = [(name, block) for name, block in blocks("toml") if "[[model]]" in block]
    assert listed
    for name, block in listed:
        path = tmp_path / "models.toml"
        path.write_text(block, encoding="utf-8")
        for model in tomllib.loads(block)["model"]:
            checkpoint = tmp_path / model["checkpoint"]
            checkpoint.parent.mkdir(exist_ok=True)
            checkpoint.write_bytes(b"")
        keys = [str(request.key) for request in read_manifest(path, {}, str)]
        assert len(keys) == len(set(keys)) == block.count("[[model]]"), name


def test_the_recount_gives_the_numbers_of_every_record(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of the protocol page, run on each record of ours in place of the one that it names."""
    monkeypatch.chdir(repository)
    (block,) = (block for name, block in blocks("python") if name == "protocol.md")
    (named,) = re.findall(r'Path\("(.*?)"\)', block)
    assert (repository / named).is_file()
    for path in sorted(repository.glob("evaluations/*/*.npz")):
        found: dict[str, Any] = {}
        exec(block.replace(named, path.with_suffix(".json").relative_to(repository).as_posix()), found)
        recounted, results = found["recounted"], found["results"]
        shares = {one["attack"]: one["robust_accuracy"] for one in results["attacks"]}
        stated = {"clean": results["clean_accuracy"], **shares, "joint": results["joint"]["robust_accuracy"]}
        assert {name: images.mean() for name, images in recounted.items()} == pytest.approx(stated), path
