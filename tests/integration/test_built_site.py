"""The built site in a real browser: quiet pages, both schemes, no scripts, no server."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from tests.integration.conftest import HOSTILE, HOSTILE_KEY, all_addresses
from tests.site.html_tables import read_page

pytestmark = pytest.mark.browser

METHOD_PAGE = "methods/HARP_Zhao2023Holistic.html"
RUN_PAGE = "methods/LAMP_Lee2021Layer.html"
WIDE_PAGES = ("results.html", "leaderboard.html", "compare.html", "analysis.html", "baselines.html", "data.html")
TEXT_HEIGHTS = """(texts) => texts.map((text) =>
    parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
"""Sizes in pixels of the screen."""


def rows_shown(page: Any, table: str) -> list[str]:
    """First cells of the rows that a table shows, in order."""
    return page.locator(f"#{table} tbody tr:visible th[scope=row]").all_inner_texts()


def test_every_page_is_quiet(site, visit):
    with visit() as opened:
        for address in all_addresses(site):
            page = opened.open(address)
            assert page.locator("h1").count() == 1, address
            assert page.locator("img[src=x]").count() == 0


def test_identities_are_unique_and_headings_skip_no_level(site):
    for address in all_addresses(site):
        page = read_page((site / address).read_text(encoding="utf-8"))
        assert [name for name, count in page.identities.items() if count > 1] == [], address
        steps = [after - before for before, after in pairwise(page.headings)]
        assert page.headings[0] == 1, address
        assert max(steps, default=0) <= 1, address


def test_a_wrong_address_leads_on(site):
    page = read_page((site / "404.html").read_text(encoding="utf-8"))
    assert "There is no such page" in page.text
    for name in ("leaderboard.html", "results.html", "taxonomy.html", "updates.html"):
        assert f"/{name}" in page.links
        assert (site / name).is_file()


def test_tables_and_drawings_are_readable_on_a_phone(visit):
    with visit(viewport={"width": 360, "height": 780}) as opened:
        for address in (*WIDE_PAGES, METHOD_PAGE, RUN_PAGE):
            page = opened.page
            page.goto(opened.base + address)
            names = page.locator(".ap-scroll > .ap-table:not(.ap-results) tbody th[scope=row]")
            widths = names.evaluate_all("(cells) => cells.map((cell) => cell.offsetWidth)")
            assert max(widths, default=0) <= 180, address
            heights = page.locator(".ap-panel text").evaluate_all(TEXT_HEIGHTS)
            assert min(heights, default=12) >= 9, address


@pytest.mark.parametrize(("scheme", "name"), [("light", "default"), ("dark", "slate")])
def test_pages_fit_the_screen_in_both_schemes(visit, scheme, name):
    with visit(color_scheme=scheme) as opened:
        for address in ("index.html", "leaderboard.html", "results.html", "taxonomy.html", "curves.html", METHOD_PAGE):
            page = opened.open(address)
            assert page.locator("body").get_attribute("data-md-color-scheme") == name
            for width in (360, 1280):
                page.set_viewport_size({"width": width, "height": 780})
                assert page.evaluate("document.documentElement.scrollWidth") == width, address


def test_the_switch_between_light_and_dark_is_kept(visit):
    with visit(color_scheme="light") as opened:
        page = opened.open("index.html")
        page.emulate_media(color_scheme="dark")
        page.locator("body[data-md-color-scheme=slate]").wait_for()
        page.get_by_role("button", name="Dark scheme").click()
        assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
        page.goto(opened.base + METHOD_PAGE)
        assert page.locator("body").get_attribute("data-md-color-scheme") == "default"
        assert page.get_by_role("button", name="Dark scheme").get_attribute("aria-pressed") == "false"


def test_policy_allows_no_evaluation(site):
    for address in all_addresses(site):
        text = (site / address).read_text(encoding="utf-8")
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
        assert policy, address
        scripts = next(part for part in policy[1].split("; ") if part.startswith("script-src"))
        assert "unsafe" not in scripts
        assert "sha256-" in scripts


def test_trend_highlights_what_is_picked_and_keeps_it_in_the_address(visit):
    with visit() as opened:
        page = opened.page
        page.goto(opened.base + "index.html")
        lit = page.locator("#trend .ap-plot__wide .ap-plot__lit text")
        assert lit.all_text_contents() == ["HARP", "FlyingBird", "HYDRA"]
        page.locator("#trend input[value=PwoA_Jian2022Pruning]").check()
        page.locator("#trend input[value=HYDRA_Sehwag2020Hydra]").uncheck()
        page.mouse.move(5, 5)
        assert lit.all_text_contents() == ["HARP", "FlyingBird", "PwoA"]
        assert "m=PwoA_Jian2022Pruning" in page.url
        page.reload()
        assert lit.all_text_contents() == ["HARP", "FlyingBird", "PwoA"]
        looks = page.locator("#trend .ap-plot__wide .ap-plot__lit g").evaluate_all(
            "(all) => all.map((g) => g.getAttribute('color') + g.children[1].getAttribute('stroke-dasharray'))"
        )
        assert len(set(looks)) == 3
        page.locator("nav.ap-links a", has_text="SVHN VGG16, structured").click()
        page.locator("h1", has_text="SVHN VGG16, structured").wait_for()


def test_trend_names_the_nearest_mark(visit):
    """By pointer, tap and keyboard."""
    with visit() as opened:
        page = opened.page
        page.goto(opened.base + "charts/cifar10-resnet18-unstructured.html")
        readout = page.locator("#trend .ap-plot__readout")
        rest = readout.inner_text()
        mark = page.locator("#trend .ap-plot__wide g[data-method^=HARP] .ap-plot__mark").last.bounding_box()
        page.mouse.move(mark["x"] + 9, mark["y"] + 3)
        assert readout.inner_text() == "HARP, 99 %: 45.50 % (95 % interval 44.5–46.5)"
        page.mouse.move(5, 5)
        assert readout.inner_text() == rest
        page.mouse.click(mark["x"] + 4, mark["y"] + 4)
        assert not page.locator("#trend input[value=HARP_Zhao2023Holistic]").is_checked()
        page.locator("#trend .ap-plot__view").focus()
        page.keyboard.press("ArrowRight")
        assert readout.inner_text().startswith("HARP, dense: 49.48 %")
        page.keyboard.press("ArrowRight")
        assert readout.inner_text().startswith("HARP, 90 %: 45.40 %")
        page.keyboard.press("Enter")
        assert page.locator("#trend input[value=HARP_Zhao2023Holistic]").is_checked()


def test_facets_search_and_sort_survive_a_reload(visit):
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
        scores = [float(text) for text in page.locator("#results tbody tr:visible td:nth-child(5)").all_inner_texts()]
        assert scores == sorted(scores, reverse=True)
        page.reload()
        again = [float(text) for text in page.locator("#results tbody tr:visible td:nth-child(5)").all_inner_texts()]
        assert again == scores
        page.get_by_role("button", name="Reset").click()
        page.locator(".ap-facets output", has_text=re.compile(f"^{everything} rows")).wait_for()
        assert "dataset" not in page.url


def test_results_show_a_heading_for_each_setting_and_no_empty_column(visit):
    with visit() as opened:
        page = opened.open("results.html?dataset=svhn&network=vgg16&structure=structured")
        headings = page.locator("#results tr[data-group]:visible")
        assert [text.split("%")[0] for text in headings.all_inner_texts()] == [
            f"SVHN VGG16, structured {share} " for share in (50, 75, 90)
        ]
        assert page.locator("#results thead th", has_text="HO-FMN").is_hidden()
        frame = page.locator(".ap-scroll:has(> #results)")
        assert frame.evaluate("(frame) => frame.scrollWidth <= frame.clientWidth")
        page.locator("#results th", has_text="Clean").get_by_role("button").click()
        assert headings.count() == 0
        assert page.locator("#results tbody td:visible", has_text="SVHN VGG16, structured").count() == 9
        page.goto(opened.base + "results.html?find=the+apsite+maintainers")
        assert page.locator("#results thead th", has_text="HO-FMN").is_visible()
        assert frame.evaluate("(frame) => frame.scrollWidth <= frame.clientWidth")


def test_results_are_cards_on_a_phone(visit):
    with visit(viewport={"width": 390, "height": 844}) as opened:
        page = opened.open("results.html?network=vgg16&dataset=svhn&structure=structured")
        card = page.locator("#results tr[data-of]:visible").first
        lines = [line for line in card.inner_text().split() if line]
        assert " ".join(lines[:4]) == "TwinRep 1 SVHN VGG16,"
        assert {"45.82", "44.8–46.8‡"} <= set(lines)
        assert page.locator(".ap-scroll:has(> #results)").evaluate("(frame) => frame.scrollWidth <= frame.clientWidth")
        box, name = (card.locator(what).first.bounding_box() for what in ("input.ap-select", "th a"))
        assert box is not None
        assert name is not None
        assert box["x"] + box["width"] <= name["x"], "the box of a row is beside its name"
        assert abs(box["y"] + box["height"] / 2 - name["y"] - name["height"] / 2) < 12


def test_leaderboard_sorts_by_its_own_columns_from_the_keyboard(visit):
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
    with visit() as opened:
        page = opened.open(f"methods/{HOSTILE_KEY}.html")
        assert HOSTILE[:40] in page.locator("h1").inner_text()
        assert page.locator("#bibtex").inner_text().count(HOSTILE) == 2
        assert page.locator(".md-content a[href^=javascript]").count() == 0


def test_citation_can_be_copied(visit):
    with visit(permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.open(METHOD_PAGE)
        page.get_by_role("button", name="Copy").click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith("@inproceedings{Zhao2023Holistic")


def test_commands_are_copied_without_their_prompt(visit):
    with visit(permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.open("evaluate.html")
        page.locator(".md-code__button[data-clipboard-target], .md-clipboard[data-clipboard-target]").first.click()
        page.locator(".md-dialog--active").wait_for()
        assert page.evaluate("navigator.clipboard.readText()").startswith("git clone https://")


def test_the_keyboard_reaches_tables_that_scroll(visit):
    with visit(viewport={"width": 360, "height": 740}) as opened:
        page = opened.open("benchmarks.html")
        wrapper = page.locator(".md-typeset__scrollwrap[tabindex='0'][role=region]").first
        wrapper.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("element => element.scrollLeft > 0", arg=wrapper.element_handle())
        page.set_viewport_size({"width": 1920, "height": 900})
        page.wait_for_function("!document.querySelector('.md-typeset__scrollwrap[tabindex]')")


def test_tables_need_no_script(visit):
    with visit(java_script_enabled=False) as opened:
        page = opened.page
        page.goto(opened.base + "leaderboard.html")
        assert "45.40/83.38" in page.locator("#board-cifar10-unstructured").inner_text()
        assert not page.locator(".ap-facets").first.is_visible()
        page.goto(opened.base + "curves.html")
        assert page.locator(".ap-drawing--wide .mark-line path").count() >= 2
        assert "TwinRep" in page.locator("#curve-figures").inner_text()
        assert not page.locator("#curve-form").is_visible()


def test_pages_print_in_ink_on_paper(visit):
    with visit(color_scheme="dark", viewport={"width": 794, "height": 1123}) as opened:
        page = opened.page
        page.goto(opened.base + "leaderboard.html")
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).getPropertyValue('--ap-paper')") == "#ffffff"
        assert page.evaluate("document.documentElement.scrollWidth") == 794


def test_site_opens_from_disk(site, visit):
    with visit(site.as_uri()) as opened:
        opened.base += "/"
        page = opened.open("curves.html")
        assert page.locator(".ap-chart__view .mark-line path").count() >= 1
        opened.open("index.html")
        page = opened.open("leaderboard.html")
        page.locator("#board-cifar10-unstructured .ap-sort").nth(1).click()
        assert page.locator("#board-cifar10-unstructured th[aria-sort=descending]").count() == 1
