"""Hostile text in every field that takes text: refused by validation with a message, or shown as text and never run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from tests.hostile import TEXTS, documents, places
from tests.integration.conftest import all_addresses

NOT_SHOWN = {
    "checkpoint.layout", "checkpoint.format", "audit.layers[0].name", "settings.host", "data.source",
}  # fmt: skip
"""Fields that take text and stand on no page; their files can be downloaded."""
PAGES = (
    "index.html", "leaderboard.html", "results.html", "taxonomy.html", "analysis.html", "baselines.html",
    "updates.html", "submit.html", "data.html",
)  # fmt: skip
KEYS = [f"{name}_Doe2024Small" for name in TEXTS]
MODELS = [f"{key}_R18_CIFAR10_US_90" for key in KEYS]
INJECTED = """() => window.hostile !== undefined || Array.from(document.querySelectorAll("*"), (element) =>
    element.matches("[data-injected], img[src=x]")
    || (element.matches("script:not([type='application/json'])") && element.textContent.includes("hostile"))
    || Array.from(element.attributes).some(({ name, value }) => name.startsWith("on")
        || (["href", "src", "action"].includes(name) && /^\\s*javascript:/i.test(value)))).some(Boolean)"""


class _Links(HTMLParser):
    """Elements and attributes that no page may have."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "data-injected" or name.startswith("on"):
                self.wrong.append(f"{tag} {name}")
            if name in ("href", "src", "action") and re.match(r"\s*(javascript|vbscript|data:text)", value or "", re.I):
                self.wrong.append(f"{tag} {name}={value}")


def test_every_field_is_tried(tmp_path):
    """Direction overrides and 10,000 characters are refused everywhere, addresses that run wherever a link is made."""
    taken = {name: documents(name, tmp_path / name)[1] for name in TEXTS}
    assert taken["Override"] == {}
    assert max(len(text) for text in taken["Long"].values()) == 4000
    assert len(taken["Script"]) > 20
    closed = {place.field for place in places()} - {place.field for some in taken.values() for place in some}
    assert {"paper.url", "code.url", "checkpoint.url", "samples.url", "key", "model_key"} <= closed
    assert all("url" not in place.field for some in taken.values() for place in some)


def test_no_page_has_an_injected_element(site):
    for address in all_addresses(site):
        parser = _Links()
        parser.feed((site / address).read_text(encoding="utf-8"))
        assert not parser.wrong, address
    feed = ET.parse(site / "feed.xml")
    links = [element.get("href", "") for element in feed.iter("{http://www.w3.org/2005/Atom}link")]
    assert len(links) > 10
    assert all(link.startswith(("https://", "http://127.0.0.1/")) for link in links)
    assert {element.tag.rpartition("}")[2] for element in feed.iter()} <= {
        "feed", "title", "id", "updated", "link", "entry", "author", "name", "summary", "content", "category",
        "subtitle", "rights", "published",
    }  # fmt: skip


@pytest.mark.browser
def test_hostile_text_is_shown_and_never_run(site, visit, tmp_path):
    models = "&".join(f"m={model}" for model in MODELS[:3])
    some = [f"compare.html?{'&'.join(f'm={key}' for key in KEYS[start : start + 6])}" for start in (0, 6)]
    opened_rows = "results.html?" + "&".join(f"open={model}" for model in MODELS)
    addresses = [*PAGES, *some, f"curves.html?{models}", opened_rows, *(f"methods/{key}.html" for key in KEYS)]
    shown = []
    with visit() as opened:
        page = opened.page
        for address in addresses:
            page.goto(opened.base + address)
            page.wait_for_function("window.apsite !== undefined && document.readyState === 'complete'")
            if "open=" in address:
                page.wait_for_function("!document.body.textContent.includes('Loading …')")
            if "curves" in address:
                page.locator("#curves[data-drawn]").wait_for()
                page.locator("#curves .ap-chart__view svg").hover()
            assert not page.evaluate(INJECTED), address
            shown.append(page.evaluate("() => document.querySelector('.md-content').textContent"))
            page.set_viewport_size({"width": 360, "height": 780})
            page.wait_for_function("document.documentElement.scrollWidth === 360")
            page.set_viewport_size({"width": 1280, "height": 900})
    everything = "".join("".join(shown).split())
    missing = set()
    for name in TEXTS:
        for place, text in documents(name, tmp_path / name)[1].items():
            if "".join(text.split()) not in everything:
                missing.add(place.field)
    assert missing == NOT_SHOWN
