"""The walks of CONTRIBUTING, followed in a copy of the repository: each block of code goes where its step says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the walk for a dataset needs the extra 'eval'")

METHOD = "HARP_Zhao2023Holistic"
COPIED = ("apsite", "tests", "entries", "evaluations", "docs", "CHANGELOG.md", "CONTRIBUTING.md", "mkdocs.yml")
CHECK = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
PREPARE = """
import sys
from pathlib import Path
from apsite.vocabulary import Dataset
from tests.official_sets import WRITERS, write_network

folder, dataset = Path(sys.argv[1]), Dataset(sys.argv[2])
WRITERS[dataset](folder, dataset)
print(*write_network(folder, dataset), sep="\\n")
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the repository in which a walk is followed."""

    root: Path

    def blocks(self, title: str) -> list[str]:
        """Blocks of code below a heading of CONTRIBUTING, in order; commands are left out."""
        text = (self.root / "CONTRIBUTING.md").read_text(encoding="utf-8")
        section = re.split(r"^## ", text.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        found = re.findall(r"^( *)```(?!console)\w+\n(.*?)^\1```", section, re.MULTILINE | re.DOTALL)
        return [textwrap.dedent(block) for _, block in found]

    def write(self, path: str, text: str) -> None:
        """Add a file."""
        assert not (self.root / path).exists(), path
        (self.root / path).write_text(text, encoding="utf-8")

    def insert(self, path: str, text: str, *, after: str = "", before: str = "") -> None:
        """Add lines after or before the first line of a file that starts with a text, indented as that line."""
        lines = (self.root / path).read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if line.lstrip().startswith(after or before))
        indent = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
        lines.insert(place + bool(after), textwrap.indent(text, indent))
        (self.root / path).write_text("".join(lines), encoding="utf-8")

    def replace(self, path: str, old: str, new: str) -> None:
        """Put a text in the place of one that the file has once."""
        content = (self.root / path).read_text(encoding="utf-8")
        assert content.count(old) == 1, (path, old)
        (self.root / path).write_text(content.replace(old, new), encoding="utf-8")

    def run(self, *arguments: object, fails: bool = False) -> str:
        """What Python prints in the copy, which must succeed, or fail where that is expected."""
        environment = {**os.environ, "PYTHONPATH": str(self.root), "COLUMNS": "200", "NO_COLOR": "1"}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def apsite(self, *arguments: object, fails: bool = False) -> str:
        """What a command prints."""
        return self.run("-m", "apsite", *arguments, fails=fails)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Copy:
    """A fresh copy of what the walks use."""
    root = tmp_path / "repository"
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=ignored)
        else:
            shutil.copyfile(source, root / name)
    return Copy(root)


def test_the_walk_for_a_dataset_ends_in_a_valid_record(copy: Copy, tmp_path: Path) -> None:
    """Three files of the package and a writer for the tests; the check fails until the last of them is there."""
    every = (*CHECK, "tests/evaluation/testsets/test_every_dataset.py")
    row, module, listed, writer = copy.blocks("Add a dataset")
    copy.insert("apsite/vocabulary.py", row, after="TINY_IMAGENET = ")
    copy.write("apsite/evaluation/testsets/shapes.py", module)
    assert "SHAPES" in copy.run(*every, "-k", "listed_and_written", fails=True)
    datasets, sets = "apsite/evaluation/testsets/datasets.py", "tests/official_sets.py"
    copy.insert(datasets, listed, after="tiny_imagenet.FILES")
    copy.replace(datasets, "imagenet, svhn, tiny_imagenet", "imagenet, shapes, svhn, tiny_imagenet")
    copy.insert(sets, f"{writer}\n\n", before="WRITERS")
    copy.insert(sets, "Dataset.SHAPES: _write_shapes,\n", after="Dataset.TINY_IMAGENET: ")
    copy.run(*every, "-k", "shapes or listed_and_written")

    data = tmp_path / "data"
    data.mkdir()
    checkpoint, factory, sparsity = copy.run("-c", PREPARE, data, "shapes").split()
    assert "no official hash of this set" in copy.apsite("data", "check", "shapes", "--data-dir", data, fails=True)
    declared = ("--dataset", "shapes", "--structure", "unstructured", "--sparsity", sparsity)
    copy.apsite(
        "eval", checkpoint, "--method", METHOD, "--arch", factory, "--as", "other:Tiny", *declared,
        "--protocol", "quick", "--n-examples", 8, "--data-dir", data,
    )  # fmt: skip
    key = f"{METHOD}_other-Tiny_Shapes_US_{round(100 * float(sparsity))}"
    assert (copy.root / f"evaluations/{METHOD}/{key}.npz").is_file()
    copy.apsite("validate")
    assert key in copy.apsite("export")


def test_the_walk_for_a_term_ends_in_an_accepted_entry(copy: Copy) -> None:
    path = copy.root / f"entries/{METHOD}.json"
    entry = json.loads(path.read_text(encoding="utf-8"))
    entry["specifics"]["criterion"] = "FIM"
    path.write_text(json.dumps(entry, indent=2), encoding="utf-8")
    assert "specifics.criterion: 'FIM' is not one of" in copy.apsite("validate", fails=True)
    (row,) = copy.blocks("Add a term to the taxonomy")
    copy.insert("apsite/vocabulary.py", row, before="BCS = ")
    copy.apsite("validate")
    copy.run(*CHECK, "tests/test_vocabulary.py", "tests/contribution/test_questions.py")
