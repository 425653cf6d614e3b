"""The same pages with another generator: Zensical, by the makers of the theme, in the place of MkDocs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import all_addresses
from tests.site.html_tables import read_page


@pytest.mark.slow
def test_pages_build_with_zensical(site: Path, tmp_path: Path) -> None:
    program = shutil.which("zensical", path=str(Path(sys.executable).parent)) or shutil.which("zensical")
    if program is None:
        pytest.skip("zensical is not installed; `make zensical` installs it beside the rest")
    for name in ("pages", "theme"):
        shutil.copytree(site.parent / name, tmp_path / name)
    shutil.copy(site.parent / "mkdocs.yml", tmp_path)
    command = [program, "build", "-f", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    made = tmp_path / "site"
    assert set(all_addresses(site)) <= set(all_addresses(made))
    for address in all_addresses(site):
        ours, theirs = (read_page((folder / address).read_text(encoding="utf-8")) for folder in (site, made))
        assert theirs.tables == ours.tables, address
