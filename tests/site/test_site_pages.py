"""Every module has a ``PAGE``, every page one place in the navigation; the walk of CONTRIBUTING that adds a page."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import yaml

from apsite.site import pages
from tests.builders import entry_document, record_document, write_data


def test_every_module_is_a_page_with_one_place(repository: Path) -> None:
    names = [module.name for module in pkgutil.iter_modules(pages.__path__)]
    modules = [importlib.import_module(f"apsite.site.pages.{name}") for name in names]
    assert all(isinstance(module.PAGE, pages.Page) for module in modules)
    made = [found for module in modules for found in vars(module).values() if isinstance(found, pages.Page)]
    listed = [page for found in pages.NAVIGATION.values() for page in (found if isinstance(found, tuple) else [found])]
    generated = [page for page in listed if isinstance(page, pages.Page)]
    assert sorted(page.path for page in generated) == sorted(page.path for page in made)
    assert generated == list(pages.PAGES)
    by_hand = [page for page in listed if isinstance(page, str)]
    assert sorted(by_hand) == sorted(["changelog", *(path.stem for path in (repository / "docs").glob("*.md"))])


def test_the_walk_adds_a_page(repository: Path, tmp_path: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    walk = text.partition("## Add a page\n")[2].partition("\n## ")[0]
    shutil.copytree(repository / "apsite", tmp_path / "apsite", ignore=shutil.ignore_patterns("__pycache__"))
    block = r" in `([\w.]+)` of `(apsite/[\w/]+)`:\n\n( +)```\w+\n(.*?)\n\3```\n"
    for name, folder, _, content in re.findall(block, walk, flags=re.DOTALL):
        (tmp_path / folder / name).write_text(dedent(content), encoding="utf-8")
    listing = tmp_path / "apsite/site/pages/__init__.py"
    before = listing.read_text(encoding="utf-8")
    after = before.replace("(leaderboard.PAGE, ", "(leaderboard.PAGE, verified.PAGE, ")
    after = after.replace("    updates,\n", "    updates, verified,\n")
    assert after.count("verified") == 2
    listing.write_text(after, encoding="utf-8")
    root = write_data(tmp_path / "data", entry_document(), record_document())
    command = [sys.executable, "-m", "apsite", *re.findall(r"\$ apsite (build)\n", walk), "--root", str(root)]
    done = subprocess.run(command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No result has been verified yet." in (tmp_path / "build/site/verified.html").read_text(encoding="utf-8")
    navigation = yaml.safe_load((tmp_path / "build/mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert {"Verified results": "verified.md"} in next(one["Results"] for one in navigation if "Results" in one)
