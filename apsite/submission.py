"""What a contributor has to do next, and what a submission still lacks."""

from __future__ import annotations

import shlex
from pathlib import Path


def taken_keys(root: Path) -> set[str]:
    """Keys and aliases of the methods of a data folder; empty where it has none."""
    from apsite.catalogue import load_catalogue

    if not (root / "entries").is_dir() or not any((root / "entries").iterdir()):
        return set()
    entries = load_catalogue(root).entries.values()
    return {name for entry in entries for name in (entry.key, *entry.aliases)}


def next_commands(key: str, root: Path = Path()) -> str:
    """The commands that lead from an entry to a pull request, for a shell."""
    where = "" if root == Path() else f" --root {shlex.quote(str(root))}"
    output = "" if root == Path() else f" --output {shlex.quote(str(root / 'evaluations'))}"
    return f"""\
Next, for each checkpoint:
  apsite eval model.pt --method {key} --dataset cifar10 --arch resnet18 \\
      --structure unstructured --sparsity 0.90 --checkpoint-url https://…{where}{output}

Then:
  apsite submit-check {key}{where}
  git switch --create {key}
  git add entries/{key}.json evaluations/{key}
  git commit --message "Add {key}"
  git push --set-upstream origin {key}
"""
