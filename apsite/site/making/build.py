"""From a data folder to a built site: pages and data to disk first, then the site generator."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from apsite.catalogue import load_catalogue
from apsite.comparable import Judge
from apsite.documents.references import load_references
from apsite.errors import ApsiteError
from apsite.site.charts.curves import load_curves, load_samples, write_curves
from apsite.site.charts.drawings import Drawings
from apsite.site.downloads import snapshot, write_downloads
from apsite.site.making import generator
from apsite.site.making.assets import write_assets
from apsite.site.making.bundle import write_bundle
from apsite.site.making.styles import slim_styles
from apsite.site.news import atom, news
from apsite.site.page import SiteFacts
from apsite.site.pages import compare, navigation, unlisted, written
from apsite.site.pages import curves as curves_page
from apsite.site.writer import write_pages

_MARKER = ".apsite-build"
_MARKER_TEXT = "This folder is written by `apsite build`; its content is replaced at every build.\n"
_PERCENT = re.compile(r"(```.*?```|`[^`]*`)|(?<=\d) (?=%)", re.DOTALL)
"""Code, and the space of a percentage elsewhere, which may end no line."""
_COMMANDS = "<!-- commands -->"


def build_site(
    root: Path, output: Path, *, data: Path | None = None, site_url: str | None = None, commands: str = ""
) -> Path:  # fmt: skip
    """Build the site of a data folder.

    Args:
        root: Folder with ``entries/`` and ``evaluations/``; ``mkdocs.yml`` and ``docs/`` are used if they exist.
        data: Folder with ``entries/`` and ``evaluations/``, if they are not those of `root`.
        output: Folder for everything that is made: ``pages/`` (what the generator reads), ``mkdocs.yml``, ``site/``.
        site_url: Public URL of the site; that of ``mkdocs.yml`` if ``None``.
        commands: Reference of the command line, as Markdown.

    Returns:
        Path of the site's ``index.html``.

    Raises:
        ApsiteError: If the data has problems, `output` belongs to something else, or the generator fails.
    """
    catalogue = load_catalogue(data or root)
    identity = generator.read_identity(root)
    _prepare(output)
    pages_folder = output / "pages"
    documents = _copy_documents(root, pages_folder, _moved(identity, site_url))
    _insert_commands(pages_folder / "cli.md", commands)
    write_assets(output)
    bundle = write_bundle(pages_folder / "assets" / "javascripts", output / "cache")
    samples = load_samples(catalogue)
    curves = load_curves(catalogue, samples)
    write_curves(pages_folder, curves)
    judge = Judge(catalogue, samples)
    facts = SiteFacts(
        catalogue=catalogue,
        judge=judge,
        references=load_references(),
        curves=curves,
        downloads=write_downloads(pages_folder, catalogue, judge),
        documents=frozenset(documents),
        bundle=bundle,
        repository=_repository(identity),
        drawn=Drawings(output / "cache"),
    )
    curves_page.write_settings(pages_folder, facts)
    compare.write_columns(pages_folder, facts)
    pages = written(facts)
    taken = sorted({page.path for page in pages} & {f"{name}.md" for name in documents})
    if taken:
        raise ApsiteError(f"docs/{taken[0]}: a generated page has this name; rename the file")
    write_pages(pages_folder, pages)
    title = identity.get("site_name", "apsite")
    feed = atom(news(catalogue), title, site_url or identity.get("site_url"))
    (pages_folder / "feed.xml").write_text(feed, encoding="utf-8")
    state = snapshot(catalogue)
    extra = {"snapshot": state.name, "snapshot_date": state.date} if state.date else {}
    nav = navigation(facts, documents)
    configuration = generator.write_configuration(output, identity, nav, unlisted(facts), site_url, extra)
    generator.run_generator(configuration)
    generator.finish_pages(output / "site")
    slim_styles(output / "site")
    generator.write_index(output / "site")
    return output / "site" / "index.html"


def _insert_commands(page: Path, commands: str) -> None:
    """Put the reference of all commands into the page that has a place for it."""
    if page.is_file():
        page.write_text(page.read_text(encoding="utf-8").replace(_COMMANDS, commands), encoding="utf-8")


def _prepare(output: Path) -> None:
    """Make `output` an empty build folder, keeping its cache.

    Raises:
        ApsiteError: If it holds something that no build wrote, or cannot be written.
    """
    try:
        if output.exists() and not (output / _MARKER).is_file() and (not output.is_dir() or any(output.iterdir())):
            raise ApsiteError(f"{output}: holds files that no build wrote; choose another folder or empty it")
        output.mkdir(parents=True, exist_ok=True)
        (output / _MARKER).write_text(_MARKER_TEXT, encoding="utf-8")
        for name in ("pages", "theme", "site"):
            if (output / name).is_dir():
                shutil.rmtree(output / name)
        (output / "pages").mkdir()
    except OSError as error:
        raise ApsiteError(f"{output}: cannot be written: {error.strerror}; choose another folder") from None


def _moved(identity: Mapping[str, str], site_url: str | None) -> dict[str, str]:
    """Where the repository and the site of this checkout are, by where the package says that its own are."""
    urls = dict(line.split(", ", 1) for line in metadata.metadata("apsite").get_all("Project-URL") or ())
    there = {"Source": identity.get("repo_url"), "Homepage": site_url or identity.get("site_url")}
    return {urls[name].rstrip("/"): url.rstrip("/") for name, url in there.items() if url and name in urls}


def _copy_documents(root: Path, pages: Path, moved: Mapping[str, str]) -> dict[str, str]:
    """Copy the hand-written pages of ``docs/`` and the changelog; return their titles by name.

    Links to the repository and the site become those of this checkout (`moved`), so that a fork is right with no edit.
    """
    titles = {}
    folder = root / "docs"
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_file() and not path.is_symlink():
            target = pages / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix != ".md":
                shutil.copyfile(path, target)
            else:
                text = path.read_text(encoding="utf-8")
                for old, new in moved.items():
                    text = text.replace(old, new)
                text = _PERCENT.sub(lambda found: found[0] if found[1] else "\u00a0", text)
                target.write_text(text, encoding="utf-8")
                titles[path.relative_to(folder).with_suffix("").as_posix()] = _first_heading(path)
    changelog = root / "CHANGELOG.md"
    if changelog.is_file() and "changelog" not in titles:
        text = changelog.read_text(encoding="utf-8")  # the search leaves it out: it says everything once more
        (pages / "changelog.md").write_text(f"---\nsearch:\n  exclude: true\n---\n\n{text}", encoding="utf-8")
        titles["changelog"] = _first_heading(changelog)
    return titles


def _first_heading(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    raise ApsiteError(f"{path}: has no heading; begin it with a line such as '# {path.stem.capitalize()}'")


def _repository(identity: dict[str, str]) -> str | None:
    address = identity.get("repo_url", "")
    return address.rstrip("/") if address.startswith("https://") else None
