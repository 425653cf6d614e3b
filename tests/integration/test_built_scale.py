"""Tables that load their missing rows, in a real browser: pages of the benchmark's data with room for few rows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from apsite.site.page import Page
from apsite.site.pages import leaderboard, results
from apsite.site.tables import leaderboards, settings
from apsite.vocabulary import ProvenanceKind
from tests.integration.conftest import expect, served
from tests.site.conftest import site_facts

pytestmark = pytest.mark.browser
ASSETS = Path(results.__file__).parents[1] / "assets"


def write_bare(folder: Path, page: Page, facts) -> None:
    """Pages with their scripts and without the frame of the site."""
    for made in page.render(facts, facts.templates()):
        body = made.text.split("---\n", 2)[2]
        names = [
            "page",
            "tables",
            "records",
            "select",
            *(name.removesuffix(".js") for name in page.own if name.endswith(".js")),
        ]
        up = "../" * made.path.count("/")
        scripts = "".join(f'<script defer src="{up}assets/javascripts/{name}.js"></script>' for name in names)
        target = folder / made.path.replace(".md", ".html")
        target.parent.mkdir(parents=True, exist_ok=True)
        head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        target.write_text(f'{head}<main class="md-main">{body}</main>{scripts}', "utf-8")


@pytest.fixture(scope="module")
def published(benchmark_data):
    """The survey's results alone: no per-sample file is read."""
    kind = ProvenanceKind.PUBLISHED
    found = {key: record for key, record in benchmark_data.records.items() if record.provenance.kind is kind}
    return replace(benchmark_data, records=found, curves={})


@pytest.fixture(scope="module")
def few(published, tmp_path_factory):
    """URL of the results with the first three rows of each setting, and of leaderboards with five rows of each."""
    folder = tmp_path_factory.mktemp("few")
    facts = site_facts(published)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WHOLE", 20), ("FIRST", 3), ("PART", 5)):
            patch.setattr(settings, name, value)
        for name, value in (("WHOLE", 20), ("FIRST", 3), ("PART", 4)):
            patch.setattr(leaderboards, name, value)
        for page in (results.PAGE, results.SETTINGS_PAGE, leaderboard.PAGE, leaderboard.PARTS_PAGE):
            write_bare(folder, page, facts)
    (folder / "index.html").touch()
    (folder / "assets").symlink_to(ASSETS)
    (folder / "data").symlink_to(published.root)
    with served(folder) as address:
        yield address


def shown(page) -> list[str]:
    """Model keys of the rows that the table shows."""
    return page.locator("#results tr[data-of]:visible").evaluate_all("(rows) => rows.map((row) => row.id)")


def counts(page, text: str) -> None:
    """Wait until the form says that so many rows are shown."""
    page.locator(".ap-facets output").get_by_text(text, exact=True).wait_for()


def test_filters_search_and_order_speak_of_all_records(visit, few, published):
    records = published.records
    with visit(few) as opened:
        page = opened.page
        page.goto(opened.base + "results.html")
        all_rows = len(records)
        first = shown(page)
        assert len(first) < all_rows
        counts(page, f"{len(first)} of {all_rows} rows")
        page.locator("summary", has_text="Filter").click()
        page.locator("input[name=dataset][value=svhn]").check()
        svhn = [key for key, record in records.items() if record.dataset.value == "svhn"]
        counts(page, f"{len(svhn)} of {all_rows} rows")
        assert sorted(shown(page)) == sorted(svhn)
        loaded = page.locator("#results tr[data-of]").count()
        assert len(svhn) < loaded < all_rows  # no other settings were loaded
        page.get_by_role("button", name="Reset").click()
        page.locator("#results th", has_text="Clean").get_by_role("button").click()
        counts(page, f"{all_rows} rows")
        clean = page.locator("#results tbody tr td:nth-child(7)").all_inner_texts()
        values = [float(text) for text in clean if text != "–"]
        assert values == sorted(values, reverse=True)
        page.goto(opened.base + "results.html?find=harp")
        harp = [key for key in records if key.startswith("HARP_")]
        counts(page, f"{len(harp)} of {all_rows} rows")
        assert sorted(shown(page)) == sorted(harp)


def test_rows_that_were_loaded_open_lead_and_select_as_others_do(visit, few, published):
    settings_rows = [key for key in published.records if key.endswith("_R18_CIFAR10_US_90")]
    with visit(few) as opened:
        page = opened.page
        page.goto(opened.base + "results.html")
        before = shown(page)
        late = next(key for key in settings_rows if key not in before)
        page.goto(opened.base + f"results.html?open={late}")
        row = page.locator(f"tr#{late}")
        page.locator(f"#detail-{late} h4").first.wait_for()
        method = late.split("_R18")[0]
        expect(row.locator("a").first).to_have_attribute("href", f"{opened.base}methods/{method}.html#{late}")
        row.locator("input.ap-select").check()
        expect(page).to_have_url(re.compile(f"m={method}"))
        keys = [key for key in shown(page) if key.endswith("_R18_CIFAR10_US_90")]
        assert keys[:3] == before[:3]
        assert sorted(keys) == sorted(settings_rows)
        expect(page.locator("#R18_CIFAR10_US_90 .ap-group__all")).to_have_count(0)


def test_leaderboards_load_what_a_filter_or_an_order_speaks_of(visit, few, published):
    (board,) = (one for one in leaderboards.leaderboards(published) if one.identity == "cifar10-unstructured")
    rows = "#board-cifar10-unstructured tbody tr"
    with visit(few) as opened:
        page = opened.page
        page.goto(opened.base + "leaderboard.html")
        assert len(board.rows) > 5
        expect(page.locator(rows)).to_have_count(5)
        page.locator("#board-cifar10-unstructured th[data-name=vgg16-99]").get_by_role("button").click()
        expect(page.locator(rows)).to_have_count(len(board.rows))
        page.locator("#board-cifar10-unstructured:not([aria-busy])").wait_for()  # in order as soon as all are there
        values = page.locator(f"{rows} td:nth-child(7)").evaluate_all(
            "(cells) => cells.map((cell) => cell.dataset.value)"
        )
        shares = [float(value) for value in values if value]
        assert shares == sorted(shares, reverse=True)
        expect(page.locator("#board-svhn-unstructured tbody tr")).to_have_count(5)
        page.goto(opened.base + "leaderboard.html?find=" + board.rows[-1].entry.name)
        page.locator(f"{rows}:visible", has_text=board.rows[-1].entry.name).wait_for()
        expect(page.locator(f"{rows}[data-pick]")).to_have_count(len(board.rows))


def test_a_setting_that_cannot_be_loaded_keeps_its_links(visit, few):
    with visit(few) as opened:
        page = opened.page
        page.route("**/results/**", lambda route: route.fulfill(status=503))
        page.goto(opened.base + "results.html?find=harp")
        page.locator(".ap-facets output", has_text="some could not be loaded").wait_for()
        page.locator("#R18_CIFAR10_US_90 .ap-group__all a").nth(1).wait_for()
        opened.problems.clear()  # the browser reports what it could not load
