"""The site of the benchmark's own data, built whole and looked at in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("altair", reason="the site needs the extra 'site'")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

from apsite.catalogue import load_catalogue  # noqa: E402 - after the check for what it needs
from apsite.site import build_site  # noqa: E402
from apsite.site.server import make_server  # noqa: E402
from tests.builders import entry_document, own_document, write_data  # noqa: E402

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>[a](javascript:alert(3))"
HOSTILE_KEY = "Hostile_Doe2024Small"
OWN_MODEL = "LWM_Han2015Learning_R8_CIFAR10_US_90"
METHOD_PAGE = "methods/HARP_Zhao2023Holistic.html"


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


@pytest.fixture(scope="session")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built site of the checkout's data, with one own run if there is none, and a hostile entry."""
    root = tmp_path_factory.mktemp("root")
    for name in ("entries", "evaluations", "docs"):
        shutil.copytree(repository / name, root / name)
    shutil.copy(repository / "mkdocs.yml", root)
    hostile = entry_document(HOSTILE_KEY, name=HOSTILE[:40], notes=[HOSTILE])
    hostile["paper"] |= {"title": HOSTILE, "authors": [HOSTILE[:80]], "bibtex": f"{HOSTILE}\n```\n{HOSTILE}"}
    own = [] if any(r.samples for r in load_catalogue(root).records.values()) else [own_document(OWN_MODEL)]
    write_data(root, hostile, *own)
    index = build_site(root, tmp_path_factory.mktemp("out") / "build", site_url="http://127.0.0.1/")
    return index.parent


@pytest.fixture(scope="session")
def base(site: Path) -> Iterator[str]:
    """Address of the site on this machine."""
    with make_server(site, 0) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the machine."""
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
            lambda request: None if request.url.startswith((address, "data:")) else report(f"request: {request.url}"),
        )
        opened.page.set_default_timeout(10_000)
        yield opened
        opened.page.wait_for_timeout(200)
        context.close()
        assert not opened.problems

    return window


def rows_shown(page: Any, table: str) -> list[str]:
    """First cells of the rows that a table shows, in order."""
    return page.locator(f"#{table} tbody tr:visible th").all_inner_texts()


def all_addresses(site: Path) -> list[str]:
    """Every page of the site."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "404.html")


def test_every_page_is_quiet(site, visit):
    """No page has an error on its console, asks another origin for anything, or runs contributed text."""
    with visit() as opened:
        for address in all_addresses(site):
            page = opened.open(address)
            assert page.locator("h1").count() == 1, address
            assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize(("scheme", "name"), [("light", "default"), ("dark", "slate")])
def test_pages_fit_the_screen_in_both_schemes(visit, scheme, name):
    """Main pages follow the scheme of the system, and none is wider than a phone or a laptop."""
    with visit(color_scheme=scheme) as opened:
        for address in ("index.html", "leaderboard.html", "results.html", "taxonomy.html", "curves.html", METHOD_PAGE):
            page = opened.open(address)
            assert page.locator("body").get_attribute("data-md-color-scheme") == name
            for width in (360, 1280):
                page.set_viewport_size({"width": width, "height": 780})
                assert page.evaluate("document.documentElement.scrollWidth") == width, address


def test_policy_allows_no_evaluation(site):
    """Every page has a policy without leave for inline scripts in general or for evaluating text."""
    for address in all_addresses(site):
        text = (site / address).read_text(encoding="utf-8")
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy, address
        scripts = next(part for part in policy[1].split("; ") if part.startswith("script-src"))
        assert "unsafe" not in scripts
        assert "sha256-" in scripts


def test_curve_is_drawn_and_follows_the_scheme(visit):
    """Curve, band, the mark at 8/255 and the AutoAttack point are there, and drawn anew when it gets dark."""
    with visit(color_scheme="light") as opened:
        page = opened.open("curves.html")
        chart = page.locator(".ap-chart__view").first
        assert chart.locator(".mark-line path").count() >= 1
        assert chart.locator(".mark-area path").count() >= 1
        assert "8/255" in chart.locator(".mark-text").all_text_contents()[0]
        assert chart.locator(".mark-symbol path").count() >= 1
        before = chart.locator(".role-axis-title text").first.get_attribute("fill")
        page.locator("label[for=__palette_1]").first.click()
        page.wait_for_selector(".ap-chart[data-drawn='2'] svg", state="attached")
        assert chart.locator(".role-axis-title text").first.get_attribute("fill") != before


def test_readout_follows_the_pointer(visit):
    """Pointing into the curve tells the robust accuracy there."""
    with visit() as opened:
        page = opened.open("curves.html")
        box = page.locator(".ap-chart__view svg").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.locator(".ap-chart__view .mark-text text", has_text=" % at ").first.wait_for(state="attached")


def test_chart_of_the_start_page_keeps_its_choice(visit):
    """A choice stands in the address, survives a reload, and never leaves an empty chart."""
    with visit() as opened:
        page = opened.open("index.html")
        page.locator(".ap-choices").get_by_text("SVHN", exact=True).click()
        page.locator(".ap-choices").get_by_text("structured", exact=True).click()
        assert "dataset=SVHN" in page.url
        page.reload()
        page.locator(".ap-chart__view svg").wait_for(state="attached")
        assert page.locator("input[name=dataset]:checked").get_attribute("value") == "SVHN"
        assert page.locator(".ap-chart__view .mark-line path").count() >= 3
        page.locator(".ap-choices").get_by_text("ImageNet", exact=True).click()
        assert page.locator("input[name=network]:checked").get_attribute("value") == "ResNet50"


def test_facets_search_and_sort_survive_a_reload(visit):
    """The address holds the state: the same rows in the same order after a reload, and all of them after a reset."""
    with visit() as opened:
        page = opened.open("results.html")
        everything = len(rows_shown(page, "results"))
        page.locator("summary", has_text="Filter").click()
        page.locator("input[name=dataset][value=cifar10]").check()
        page.locator("input[name=structure][value=structured]").check()
        page.locator("input[name=find]").fill("harp")
        page.locator("#results th", has_text="AutoAttack").get_by_role("button").click()
        shown = rows_shown(page, "results")
        assert shown == ["HARP"] * 6
        scores = [float(text) for text in page.locator("#results tbody tr:visible td:nth-child(10)").all_inner_texts()]
        assert scores == sorted(scores, reverse=True)
        page.reload()
        again = [float(text) for text in page.locator("#results tbody tr:visible td:nth-child(10)").all_inner_texts()]
        assert again == scores
        page.get_by_role("button", name="Reset").click()
        page.locator(".ap-facets output", has_text=re.compile(f"^{everything} rows")).wait_for()
        assert "dataset" not in page.url


def test_leaderboard_sorts_by_its_own_columns_from_the_keyboard(visit):
    """Columns below a spanning head sort by AutoAttack, dashes last, and say so to assistive technology."""
    with visit() as opened:
        page = opened.open("leaderboard.html")
        head = page.locator("#board-svhn-unstructured th[data-name=resnet18-95]")
        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        cells = page.locator("#board-svhn-unstructured tbody tr td:nth-child(3)")
        values = [cell.get_attribute("data-value") for cell in cells.all()]
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=True)
        assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") is None


def test_hostile_text_is_text(visit):
    """The page of a hostile entry shows its text and runs none of it."""
    with visit() as opened:
        page = opened.open(f"methods/{HOSTILE_KEY}.html")
        assert HOSTILE[:40] in page.locator("h1").inner_text()
        assert page.locator("#bibtex").inner_text().count(HOSTILE) == 2
        assert page.locator(".md-content a[href^=javascript]").count() == 0


def test_citation_can_be_copied(visit):
    """The button says what it did."""
    with visit(permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.open(METHOD_PAGE)
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith("@inproceedings{Zhao2023Holistic")


def test_tables_need_no_script(visit):
    """With scripts off every table is there, and no dead control."""
    with visit(java_script_enabled=False) as opened:
        page = opened.page
        page.goto(opened.base + "leaderboard.html")
        assert "83.38/45.40" in page.locator("#board-cifar10-unstructured").inner_text()
        assert not page.locator(".ap-facets").first.is_visible()
        page.goto(opened.base + "curves.html")
        page.locator("summary", has_text="as a table").first.click()
        assert page.locator("#curve-table-1").is_visible()


def test_site_opens_from_disk(site, visit):
    """Charts draw and tables sort when the files are opened without a server."""
    with visit(site.as_uri()) as opened:
        opened.base += "/"
        page = opened.open("curves.html")
        assert page.locator(".ap-chart__view .mark-line path").count() >= 1
        opened.open("index.html")
        page = opened.open("leaderboard.html")
        page.locator("#board-cifar10-unstructured .ap-sort").nth(1).click()
        assert page.locator("#board-cifar10-unstructured th[aria-sort=descending]").count() == 1
