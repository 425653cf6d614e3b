"""The site of the benchmark's own data, built once for all tests, and windows of a real browser onto it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests import hostile
from tests.builders import entry_document, write_data
from tests.cli.conftest import apsite

WAIT = 120_000
"""Milliseconds after which a browser test gives up on a page: a busy machine must not fail a test."""
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>[a](javascript:alert(3))"
HOSTILE_KEY = "Hostile_Doe2024Small"


def expect(place: Any, message: str | None = None) -> Any:
    """What Playwright asserts of a page or of elements; it waits until it holds, as pages answer in their own time."""
    from playwright.sync_api import expect as waiting

    waiting.set_options(timeout=WAIT)
    return waiting(place, message)


@dataclass
class Visit:
    """A page of a browser and what it complained of or asked for."""

    page: Any
    base: str
    problems: list[str] = field(default_factory=list)

    def open(self, address: str) -> Any:
        """Go to a page of the site, touch its charts and wait until they are live."""
        self.page.goto(self.base + address)
        charts = self.page.locator(".ap-chart")
        for index in range(charts.count()):
            charts.nth(index).dispatch_event("pointerenter")
            charts.nth(index).locator(".ap-chart__view svg").wait_for(state="attached")
        return self.page


@contextmanager
def held(page: Any, pattern: str) -> Iterator[None]:
    """Hold back every answer to requests like `pattern` until the end, as a slow network may."""
    late: list[Any] = []
    over = False

    def hold(route: Any) -> None:
        if over:
            route.continue_()
        else:
            late.append(route)

    page.route(pattern, hold)
    yield
    over = True
    for route in late:
        route.continue_()


@pytest.fixture(scope="session")
def data_root(site: Path) -> Path:
    """Data folder of the built site."""
    return site.parent.parent / "root"


@pytest.fixture(scope="session")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Built site of the checkout's data with made-up curves and hostile entries and records; workers share it."""
    pytest.importorskip("altair", reason="the site needs the extra 'site'")
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = (base if worker_id == "master" else base.parent) / "site"
    with FileLock(f"{shared}.lock"):
        if not (shared / "done").is_file():
            build(repository, shared)
            (shared / "done").touch()
    return shared / "build" / "site"


def build(repository: Path, shared: Path) -> None:
    """Write the data folder ``root`` and build it into ``build``."""
    from apsite.cli import cli
    from apsite.cli.reference import reference
    from apsite.site import build_site
    from tests.site.synthetic import write_curves

    root = shared / "root"
    for name in ("entries", "evaluations", "docs"):
        shutil.copytree(repository / name, root / name)
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(repository / name, root)
    write_curves(root)
    unchecked = entry_document(HOSTILE_KEY, name=HOSTILE[:40], notes=[HOSTILE])
    bibtex = f"@misc{{a, b = {{{HOSTILE}\n```\n{HOSTILE}}}}}"
    unchecked["paper"] |= {"title": HOSTILE, "authors": [HOSTILE[:80]], "bibtex": bibtex}
    write_data(root, unchecked)
    for name in hostile.TEXTS:
        write_data(root, *hostile.documents(name, shared / "validated" / name)[0])
    build_site(root, shared / "build", site_url="http://127.0.0.1/", commands=reference(cli, "apsite"))


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Address of a built site while it is served on this machine."""
    from apsite.site.making.server import make_server

    with make_server(site, 0) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def base(site: Path) -> Iterator[str]:
    """Address of the site on this machine."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no chromium on this machine; install the Debian package 'chromium'")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, base: str) -> Any:
    """Function that opens a browser window and at its end asserts that nothing went wrong in it."""

    @contextmanager
    def window(address: str = base, **options: Any) -> Iterator[Visit]:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        opened = Visit(context.new_page(), address)
        report = opened.problems.append
        opened.page.on("pageerror", lambda error: report(f"error: {error}"))
        opened.page.on("console", lambda line: report(line.text) if line.type in ("error", "warning") else None)
        opened.page.on("dialog", lambda dialog: (report(f"dialog: {dialog.message}"), dialog.dismiss()))
        opened.page.on(
            "request",
            lambda request: (
                None if request.url.startswith((address, "data:", "blob:")) else report(f"request: {request.url}")
            ),
        )
        context.set_default_timeout(WAIT)
        yield opened
        opened.page.wait_for_timeout(100)
        context.close()
        assert not opened.problems

    return window


def all_addresses(site: Path) -> list[str]:
    """Every page of the site."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "404.html")


def export_rows(root: Path) -> dict[str, dict[str, Any]]:
    """What ``apsite export --format json`` says of a data folder, by model key."""
    rows = json.loads(apsite("export", "--root", root, "--format", "json").stdout)
    return {row["model_key"]: row for row in rows}
