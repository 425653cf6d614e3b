"""The notebook runs from top to bottom, and its figures are those of the records."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from apsite.site.tables.leaderboards import leaderboards
from apsite.vocabulary import Architecture

pytest.importorskip("altair", reason="the notebook draws with the extra 'site'")

RUN = """
import json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
names = {"__name__": "__main__"}
for cell in cells:
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
curves, catalogue, chart = names["curves"], names["catalogue"], names["chart"].to_dict()
assert "torch" not in sys.modules
sampled = [record for record in catalogue.records.values() if record.samples is not None]
print(json.dumps({
    "records": len(names["frame"]),
    "models": sorted(set(curves["model"])),
    "sampled": sorted(record.model_key for record in sampled),
    "falls": bool(curves.groupby("model")["robust_accuracy"].apply(lambda s: s.is_monotonic_decreasing).all()),
    "marks": [layer["mark"]["type"] for layer in chart["layer"]],
    "leaderboard": {
        name: [None if share != share else share for share in row] for name, row in names["leaderboard"].iterrows()
    },
}))
"""


def test_the_notebook_runs_and_draws_curves(repository, benchmark_data):
    path = repository / "notebooks/catalogue.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["records"] == len(benchmark_data.records)
    assert found["models"] == found["sampled"] != []
    assert found["falls"]
    assert found["marks"] == ["area", "line", "rule"]
    board = next(one for one in leaderboards(benchmark_data) if one.identity == "cifar10-unstructured")
    width = len(board.percents)
    first = width * board.networks.index(Architecture.RESNET18)
    site = {row.entry.name: [cell.record for cell in row.cells[first : first + width]] for row in board.rows}
    assert found["leaderboard"] == {
        name: [record and record.robust_accuracy for record in records]
        for name, records in site.items()
        if any(records)
    }


def test_the_notebook_gets_a_checkout_where_there_is_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder it clones the repository and installs that folder, not a package of its name."""
    cells = json.loads((repository / "notebooks/catalogue.ipynb").read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    commands: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    exec(compile(first, "first cell", "exec"), {})
    clone, install = commands
    assert (clone[:2], clone[-1]) == (["git", "clone"], "apsite-checkout")
    assert install[-1] == f"{tmp_path}/apsite-checkout[site]"


def test_the_notebook_is_kept_clean(repository):
    text = (repository / "notebooks/catalogue.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert "https://colab.research.google.com/github/apsite/apsite/blob/main/notebooks/catalogue.ipynb" in text
