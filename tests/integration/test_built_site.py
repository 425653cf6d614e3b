"""The built site in a real browser: quiet pages, both schemes, no scripts, no server."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from tests.integration.conftest import HOSTILE, HOSTILE_KEY, all_addresses, expect
from tests.site.html_tables import read_page

pytestmark = pytest.mark.browser

METHOD_PAGE = "methods/HARP_Zhao2023Holistic.html"
RUN_PAGE = "methods/LAMP_Lee2021Layer.html"
WIDE_PAGES = ("results.html", "leaderboard.html", "compare.html", "analysis.html", "baselines.html", "data.html")
TEXT_HEIGHTS = """(texts) => texts.map((text) =>
    parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"""
"""Sizes in pixels of the screen."""


def fits(page: Any, width: int) -> None:
    """Wait until nothing of a page is wider than the window."""
    page.wait_for_function("(width) => document.documentElement.scrollWidth === width", arg=width)


def fits_its_frame(page: Any, table: str) -> None:
    """Wait until a table does not scroll sideways."""
    frame = "document.querySelector(selector)"
    page.wait_for_function(
        f"(selector) => {frame}.scrollWidth <= {frame}.clientWidth", arg=f".ap-scroll:has(> #{table})"
    )


def one_of_each_kind(addresses: list[str]) -> list[str]:
    """Every page that is alone, and of the families of charts and of methods one page and the hostile one."""
    first = {address.rpartition("/")[0]: address for address in reversed(addresses) if "/" in address}
    return [
        address for address in addresses if "/" not in address or address in first.values() or HOSTILE_KEY in address
    ]


@pytest.mark.parametrize("chosen", [one_of_each_kind, pytest.param(list, marks=pytest.mark.slow)])
def test_every_page_is_quiet(site, visit, chosen):
    with visit() as opened:
        for address in chosen(all_addresses(site)):
            page = opened.open(address)
            expect(page.locator("h1"), address).to_have_count(1)
            expect(page.locator("img[src=x]"), address).to_have_count(0)


def test_identities_are_unique_and_headings_skip_no_level(site):
    for address in all_addresses(site):
        page = read_page((site / address).read_text(encoding="utf-8"))
        assert [name for name, count in page.identities.items() if count > 1] == [], address
        steps = [after - before for before, after in pairwise(page.headings)]
        assert (page.headings[0], page.headings.count(1)) == (1, 1), address
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
            expect(page.locator("body")).to_have_attribute("data-md-color-scheme", name)
            for width in (360, 1280):
                page.set_viewport_size({"width": width, "height": 780})
                fits(page, width)


def test_the_switch_between_light_and_dark_is_kept(visit):
    with visit(color_scheme="light") as opened:
        page = opened.open("index.html")
        page.emulate_media(color_scheme="dark")
        body, button = page.locator("body"), page.get_by_role("button", name="Dark scheme")
        expect(body).to_have_attribute("data-md-color-scheme", "slate")
        button.click()
        expect(body).to_have_attribute("data-md-color-scheme", "default")
        page.goto(opened.base + METHOD_PAGE)
        expect(body).to_have_attribute("data-md-color-scheme", "default")
        expect(button).to_have_attribute("aria-pressed", "false")


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
        expect(lit).to_have_text(["HARP", "FlyingBird", "HYDRA"])
        page.locator("#trend input[value=PwoA_Jian2022Pruning]").check()
        page.locator("#trend input[value=HYDRA_Sehwag2020Hydra]").uncheck()
        page.mouse.move(5, 5)
        expect(lit).to_have_text(["HARP", "FlyingBird", "PwoA"])
        expect(page).to_have_url(re.compile("m=PwoA_Jian2022Pruning"))
        page.reload()
        expect(lit).to_have_text(["HARP", "FlyingBird", "PwoA"])
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
        expect(readout).to_have_text("HARP, 99 %: 45.50 % (95 % interval 44.5–46.5)")
        page.mouse.move(5, 5)
        expect(readout).to_have_text(rest, use_inner_text=True)
        page.mouse.click(mark["x"] + 4, mark["y"] + 4)
        box = page.locator("#trend input[value=HARP_Zhao2023Holistic]")
        expect(box).not_to_be_checked()
        page.locator("#trend .ap-plot__view").focus()
        page.keyboard.press("ArrowRight")
        expect(readout).to_have_text(re.compile("^HARP, dense: 49.48 %"))
        page.keyboard.press("ArrowRight")
        expect(readout).to_have_text(re.compile("^HARP, 90 %: 45.40 %"))
        page.keyboard.press("Enter")
        expect(box).to_be_checked()


def test_facets_search_and_sort_survive_a_reload(visit):
    with visit() as opened:
        page = opened.open("results.html")
        state = page.locator(".ap-facets output")
        expect(state).to_have_text(re.compile(r"^\d+ rows$"))
        everything = state.inner_text()
        page.locator("summary", has_text="Filter").click()
        page.locator("input[name=dataset][value=cifar10]").check()
        page.locator("input[name=structure][value=structured]").check()
        page.locator("input[name=find]").fill("harp")
        page.locator("#results th", has_text="AutoAttack").get_by_role("button").click()
        head = page.locator("#results th", has_text="AutoAttack")
        expect(head).to_have_attribute("aria-sort", "descending")
        expect(page.locator("#results tbody tr:visible th[scope=row]")).to_have_text(["HARP"] * 6, use_inner_text=True)
        cells = page.locator("#results tbody tr:visible td:nth-child(5)")
        texts = cells.all_inner_texts()
        scores = [float(text) for text in texts]
        assert scores == sorted(scores, reverse=True)
        page.reload()
        expect(cells).to_have_text(texts, use_inner_text=True)
        page.get_by_role("button", name="Reset").click()
        expect(state).to_have_text(everything)
        expect(page).not_to_have_url(re.compile("dataset"))


def test_results_show_a_heading_for_each_setting_and_no_empty_column(visit):
    with visit() as opened:
        page = opened.open("results.html?dataset=svhn&network=vgg16&structure=structured")
        headings = page.locator("#results tr[data-group]:visible")
        expect(headings).to_have_text([re.compile(rf"SVHN VGG16, structured {share} %") for share in (50, 75, 90)])
        distances = page.locator("#results thead th", has_text="HO-FMN")
        expect(distances).to_be_hidden()
        fits_its_frame(page, "results")
        page.locator("#results th", has_text="Clean").get_by_role("button").click()
        expect(headings).to_have_count(0)
        expect(page.locator("#results tbody td:visible", has_text="SVHN VGG16, structured")).to_have_count(9)
        page.goto(opened.base + "results.html?find=the+apsite+maintainers")
        expect(distances).to_be_visible()
        fits_its_frame(page, "results")


def test_results_are_cards_on_a_phone(visit):
    with visit(viewport={"width": 390, "height": 844}) as opened:
        page = opened.open("results.html?network=vgg16&dataset=svhn&structure=structured")
        expect(page.locator("#results tr[data-of]:visible")).to_have_count(9)
        card = page.locator("#results tr[data-of]:visible").first
        card.locator("input.ap-select").wait_for()
        lines = [line for line in card.inner_text().split() if line]
        assert " ".join(lines[:4]) == "TwinRep 1 SVHN VGG16,"
        assert {"45.82", "44.8–46.8‡"} <= set(lines)
        fits_its_frame(page, "results")
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
        expect(head).to_have_attribute("aria-sort", "descending")
        cells = page.locator("#board-svhn-unstructured tbody tr td:nth-child(3)")
        values = [cell.get_attribute("data-value") for cell in cells.all()]
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=True)
        assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        expect(page.locator("#board-svhn-unstructured th[aria-sort]")).to_have_count(0)


def test_hostile_text_is_text(visit):
    with visit() as opened:
        page = opened.open(f"methods/{HOSTILE_KEY}.html")
        expect(page.locator("h1")).to_contain_text(HOSTILE[:40])
        assert page.locator("#bibtex").inner_text().count(HOSTILE) == 2
        expect(page.locator(".md-content a[href^=javascript]")).to_have_count(0)


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
        expect(page.locator("#board-cifar10-unstructured")).to_contain_text("45.40/83.38", use_inner_text=True)
        expect(page.locator(".ap-facets").first).to_be_hidden()
        page.goto(opened.base + "curves.html")
        page.locator(".ap-drawing--wide .mark-line path").nth(1).wait_for(state="attached")
        expect(page.locator("#curve-figures")).to_contain_text("TwinRep", use_inner_text=True)
        expect(page.locator("#curve-form")).to_be_hidden()


def test_pages_print_in_ink_on_paper(visit):
    with visit(color_scheme="dark", viewport={"width": 794, "height": 1123}) as opened:
        page = opened.page
        page.goto(opened.base + "leaderboard.html")
        page.emulate_media(media="print", color_scheme="dark")
        page.wait_for_function("getComputedStyle(document.body).getPropertyValue('--ap-paper') === '#ffffff'")
        fits(page, 794)


def test_forced_colours_keep_marks_apart(visit):
    """Shades become lines of five widths; picked rows, leaders and the search field have edges."""
    edge = "(element) => getComputedStyle(element).outlineStyle + getComputedStyle(element).outlineWidth"
    lines = "(elements) => elements.map((element) => getComputedStyle(element).borderBottomWidth)"
    with visit(forced_colors="active") as opened:
        page = opened.page
        page.goto(opened.base + "index.html?m=HARP_Zhao2023Holistic")
        shades = page.locator(".ap-heat__key .ap-heat:not(.ap-heat--lead)")
        assert shades.evaluate_all(lines) == ["4px", "3px", "2px", "1px", "0px"]
        picked = page.locator("#heat-unstructured tr.ap-picked")
        picked.wait_for()
        assert len(set(picked.locator("td.ap-heat").evaluate_all(lines))) > 2
        marked = (picked, picked.locator(".ap-heat--lead").first, page.locator(".md-search__form"))
        assert [element.evaluate(edge) for element in marked] == ["solid2px", "solid2px", "solid1px"]


def test_site_opens_from_disk(site, visit):
    with visit(site.as_uri()) as opened:
        opened.base += "/"
        page = opened.open("curves.html")
        page.locator(".ap-chart__view .mark-line path").first.wait_for(state="attached")
        opened.open("index.html")
        page = opened.open("leaderboard.html")
        page.locator("#board-cifar10-unstructured .ap-sort").nth(1).click()
        expect(page.locator("#board-cifar10-unstructured th[aria-sort=descending]")).to_have_count(1)
