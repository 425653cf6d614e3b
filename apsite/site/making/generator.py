"""The site generator: its configuration written out, its run, and the content security policy of what it built."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from apsite.errors import ApsiteError
from apsite.site.making.assets import PLAIN_TABLE

_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)([^>]*)>(.*?)</script>", re.DOTALL)
_VERBATIM = re.compile(r"(<(?:pre|script|textarea)\b.*?</(?:pre|script|textarea)>)", re.DOTALL)
_LINE_BREAKS = re.compile(r"[ \t]*\n\s*")
_PLAIN_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_LISTING = re.compile(r"<pre.*?</pre>", re.DOTALL)
_LONG = 5_000
"""Characters of a listing that nobody searches for line by line, such as the tree of all modules."""
_POLICY_LOOSE = "script-src 'self' 'unsafe-inline'"
_TIMEOUT = 600
IDENTITY = (
    "site_name", "site_description", "site_author", "site_url", "repo_url", "repo_name", "edit_uri", "copyright",
)  # fmt: skip
"""Settings that a checkout's ``mkdocs.yml`` may make, all of them text."""


def read_identity(root: Path) -> dict[str, str]:
    """The settings :data:`IDENTITY` in ``mkdocs.yml`` of `root`, empty where there is none.

    Other settings are left out: the generator would run the code that `hooks`, `plugins` or extensions name.

    Raises:
        ApsiteError: If the file is not a YAML mapping, or one of the settings is not text.
    """
    path = root / "mkdocs.yml"
    if not path.is_file():
        return {}
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ApsiteError(f"{path}: is not plain YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ApsiteError(f"{path}: holds no settings; it must be a YAML mapping with at least 'site_name'")
    identity = {name: document[name] for name in IDENTITY if name in document}
    for name, value in identity.items():
        if not isinstance(value, str):
            raise ApsiteError(f"{path}: {name}: {value!r} is not text; put it in quotes")
    return identity


def write_configuration(
    output: Path, identity: dict[str, str], nav: list[dict[str, Any]], unlisted: Sequence[str], site_url: str | None,
    extra: dict[str, str],
) -> Path:  # fmt: skip
    """Write the generator's configuration into `output` and return its path.

    Args:
        output: Build folder; it has the folders ``pages`` and ``theme``.
        identity: Settings of the checkout, which win over the packaged ones.
        nav: Navigation.
        unlisted: Paths of pages that it leaves out.
        site_url: Public URL; that of `identity` if ``None``.
        extra: Facts for the frame of every page: ``snapshot`` and ``snapshot_date``.
    """
    packaged = yaml.safe_load(resources.files("apsite.site").joinpath("templates/mkdocs.yml").read_bytes())
    settings = packaged | identity | {"docs_dir": "pages", "site_dir": "site", "nav": nav}
    settings["theme"]["custom_dir"] = "theme"
    settings["extra"] |= extra
    settings["not_in_nav"] = "".join(f"/{path}\n" for path in unlisted)
    if site_url is not None:
        settings["site_url"] = site_url
    path = output / "mkdocs.yml"
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=120)
    path.write_text(f"# Written by `apsite build`; changes are lost with the next build.\n{text}", encoding="utf-8")
    return path


def run_generator(configuration: Path) -> None:
    """Build the site of a configuration; warnings are errors (and counted only while they are logged).

    Raises:
        ApsiteError: With the generator's output, if it fails.
    """
    command = [sys.executable, "-P", "-m", "mkdocs", "build", "--strict", "--clean", "-f", str(configuration)]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, our own arguments
            command, env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"},
            capture_output=True, encoding="utf-8", errors="replace", timeout=_TIMEOUT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ApsiteError(f"mkdocs did not finish within {_TIMEOUT} seconds; {configuration} is kept") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise ApsiteError(f"mkdocs could not build {configuration}:\n{said}")


def write_index(site: Path) -> None:
    """Write the search index without what no search needs, and as a script too.

    A page opened from disk may run a file but not fetch one; the theme's plugin for this would load a script from
    another origin. What goes: markup, long listings, and headings without text that several pages have, such as "Cite".
    """
    path = site / "search" / "search_index.json"
    if not path.is_file():
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    places = [place | {"text": _plain(place["text"])} for place in index["docs"]]
    often = Counter(place["title"] for place in places if "#" in place["location"])
    index["docs"] = [place for place in places if place["text"] or often[place["title"]] < 2]
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".js").write_text(f"var __index = {text}", encoding="utf-8")


def _plain(text: str) -> str:
    """Text of a section without its markup; the signs of HTML in it stay escaped."""
    short = _LISTING.sub(lambda found: found[0] if len(found[0]) < _LONG else " ", text)
    return " ".join(_TAG.sub(" ", short).split())


def finish_pages(site: Path) -> None:
    """Allow in every page's content security policy the inline scripts that it has, by hash; drop empty lines.

    Tables of written pages get their class and the frame that scrolls them, which the theme's script would add late.
    """
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        hashes = []
        for attributes, body in _SCRIPT.findall(text):
            if "application/json" not in attributes:
                digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
                hashes.append(f"'sha256-{digest}'")
        policy = " ".join(["script-src 'self'", *dict.fromkeys(hashes)])
        parts = _VERBATIM.split(text.replace(_POLICY_LOOSE, policy))
        parts[::2] = [_LINE_BREAKS.sub("\n", part) for part in parts[::2]]
        path.write_text(_PLAIN_TABLE.sub(_framed, "".join(parts)), encoding="utf-8")


def _framed(table: re.Match[str]) -> str:
    inner = table[0].replace("<table>", f'<table class="{PLAIN_TABLE}">', 1)
    return f'<div class="md-typeset__scrollwrap"><div class="md-typeset__table">{inner}</div></div>'
