"""Contributed text comes out as text, whatever it holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from apsite.catalogue import load_catalogue
from apsite.site.pages import written
from apsite.site.writer import json_block, one_line, plain_title
from tests.builders import METHOD, RIVAL, entry_document, own_document, record_document, write_data
from tests.site.conftest import page_text, site_facts
from tests.site.html_tables import read_page

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1))",
    "{{ 7 * 7 }}{% raw %}",
    "| a | b |",
    "a & b <b>c</b>",
    "'; alert(1); '",
    "# heading {: onclick=alert(1) }",
]


def hostile_entry(text):
    """Entry with `text` in every field that the schema leaves to the author."""
    document = entry_document(name=text[:40], notes=[text])
    bibtex = f"@misc{{a, b = {{{text}\n```\n# x\n<script>}}}}"
    document["paper"] |= {"title": text, "authors": [text], "venue": text[:40], "bibtex": bibtex}
    document["audit"]["others"] = [text[:40]]
    document["reported"][0]["attack"] = text[:40]
    document["checkpoints"][0]["notes"] = text
    return document


@pytest.fixture(scope="module")
def innocent(tmp_path_factory):
    """The same pages without hostile text, by path."""
    documents = entry_document(), entry_document(RIVAL), record_document(), own_document()
    facts = site_facts(load_catalogue(write_data(tmp_path_factory.mktemp("innocent"), *documents)))
    return {page.path: read_page(page.text) for page in written(facts)}


@pytest.mark.parametrize(("address", "linked"), [("javascript:alert(1)", 0), ("https://example.org/a.npz", 3)])
def test_moved_results_are_linked_where_they_are_if_that_is_a_web_page(data_folder, address, linked):
    """The checks refuse another URL; a page makes no link of one in any case."""
    catalogue = load_catalogue(data_folder(entry_document(), own_document()))
    (record,) = catalogue.records.values()
    moved = replace(record, samples=replace(record.samples, url=address))
    facts = site_facts(replace(catalogue, records={record.model_key: moved}))
    pages = "results.md", "data.md", f"methods/{METHOD}.md"
    links = [link for path in pages for link in read_page(page_text(facts, path)).links]
    assert len([link for link in links if link == address]) == linked
    assert not any(link.endswith(record.samples.file) or link.startswith("javascript:") for link in links)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_never_run(data_folder, innocent, text):
    record = record_document()
    record["warnings"] = [{"code": "w", "message": text}]
    record["notes"] = [text]
    own = own_document()
    own["provenance"]["source"] = text
    own["environment"] = {"gpu": text}
    root = data_folder(hostile_entry(text), entry_document(RIVAL), record, own)
    pages = {page.path: page for page in written(site_facts(load_catalogue(root)))}
    for path, page in pages.items():
        content = read_page(page.text)
        assert content.tags <= innocent[path].tags | {
            "ul", "li", "span", "details", "summary", "p", "b", "section", "h4", "code",
        }  # fmt: skip
        assert not content.handlers
        assert all(kind == "application/json" for kind, _ in content.scripts)
        assert all(link.startswith("https://") or "javascript" not in link for link in content.links)
        for _, script in content.scripts:
            json.loads(script)
        front = page.text.split("---\n")[1]
        assert "<" not in front
    method = read_page(pages[f"methods/{METHOD}.md"].text)
    assert text in method.text
    assert f"{text}\n```\n# x\n<script>" in method.text


def test_no_contributed_line_starts_a_line_of_the_page(data_folder):
    """Line breaks of contributors are character references, so no Markdown block can begin with their text."""
    root = data_folder(hostile_entry("x"), record_document())
    text = page_text(site_facts(load_catalogue(root)), f"methods/{METHOD}.md")
    assert not any(line.startswith(("```", "# x")) for line in text.splitlines())


def test_values_in_templates_are_escaped_once():
    assert str(one_line("a\r\nb\u2028<c>")) == "a&#10;b&#10;&lt;c&gt;"
    assert one_line(3) == 3
    with pytest.raises(ValueError, match="missing value"):
        one_line(None)


def test_json_in_a_page_cannot_close_its_element():
    value = {"a": "</script><!-- & \u2028"}
    text = str(json_block(value))
    assert not set("<>&\n\u2028") & set(text)
    assert json.loads(text) == value


def test_titles_of_navigation_are_plain():
    """The generator does not escape titles, so only plain ones get there."""
    assert plain_title("SR-GKP (v2)", "x") == "SR-GKP (v2)"
    assert plain_title("</title>", "Fallback") == "Fallback"
    assert plain_title("a\nb", "Fallback") == "Fallback"
