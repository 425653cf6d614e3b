"""What readers come for: ten tasks in a real browser, with the clicks that each takes, and what selects methods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from apsite.catalogue import load_catalogue
from apsite.comparable import Basis, Judge, Lead
from apsite.contribution.questions import Kind, questions
from apsite.numbers import percent, signed_points
from tests.integration.conftest import expect

pytestmark = pytest.mark.browser

METHODS = {"HARP": "HARP_Zhao2023Holistic", "HYDRA": "HYDRA_Sehwag2020Hydra", "MAD": "MAD_Lee2022Masking"}
TWO_METHODS = re.compile(r"[?&]m=[^&]+&m=[^&]+$")
BIBTEX = """@inproceedings{Doe2026Sparse,
  title = {{Sparse and Robust}: Pruning \\& Training},
  author = {Doe, Jane and Gar{\\c{c}}on, Andr{\\'e} and Li Wei},
  booktitle = "International Conference on Learning Representations",
  year = 2026,
  url = {https://example.org/sparse}
}"""


class Reader:
    """A person with a mouse: every click and every search counts."""

    def __init__(self, page: Any, base: str) -> None:
        self.page, self.base = page, base
        self.clicks = self.searches = 0

    def open(self, address: str) -> None:
        self.page.goto(self.base + address)

    def click(self, selector: str, **options: Any) -> None:
        self.clicks += 1
        self.page.locator(selector, **options).first.click()

    def search(self, words: str) -> None:
        self.searches += 1
        field = self.page.locator("input[name=query]")
        field.click()
        expect(field).to_be_focused()
        field.press_sequentially(words)

    @property
    def effort(self) -> tuple[int, int]:
        """Searches and clicks."""
        return self.searches, self.clicks


@pytest.fixture
def reader(visit: Any) -> Iterator[Any]:
    """Function that gives a reader at a page of the site."""

    @contextmanager
    def at(address: str = "index.html", **options: Any) -> Iterator[Reader]:
        with visit(**options) as opened:
            person = Reader(opened.page, opened.base)
            person.open(address)
            yield person

    return at


def on_first_screen(page: Any, place: Any) -> bool:
    """Whether an element is in the window without scrolling."""
    box, size = place.bounding_box(), page.viewport_size
    return box["y"] >= 0 and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]


def expected_claim(lead: Lead) -> str:
    """What the start page says of a lead, independently of how it makes the words."""
    assert lead.over is not None
    words = "images unknown" if lead.over.basis is Basis.UNKNOWN else lead.over.outcome.value
    return f"{signed_points(lead.margin)} {words}"


def test_no_click_shows_who_is_best_in_a_setting_and_whether_the_lead_is_real(reader: Any, data_root: Any) -> None:
    """Each setting's column has its leader outlined, and the margin with what it is worth above."""
    leads = [found.lead for found in Judge(load_catalogue(data_root)).settings.values()]
    with reader() as person:
        page = person.page
        columns = page.locator("#heat-unstructured .ap-heat__claims td")
        claims = [" ".join(text.split()) for text in page.locator(".ap-heat__claims td").all_inner_texts()]
        assert sorted(claims) == sorted(expected_claim(lead) for lead in leads)
        assert {text.split(" ", 1)[1] for text in claims} == {
            "leads", "probably leads", "not separable", "images unknown",
        }  # fmt: skip
        expect(page.locator(".ap-finding")).to_contain_text("of these leads are beyond chance")
        outlined = page.locator("#heat-unstructured .ap-heat--lead a")
        expect(outlined).to_have_count(columns.count())
        names = {lead.record.model_key: percent(lead.record.robust_accuracy) for lead in leads}
        for place in (*columns.all(), *outlined.all(), page.locator(".ap-finding")):
            assert on_first_screen(page, place)
        for cell in outlined.all():
            assert names[cell.get_attribute("href").partition("#")[2]] == cell.inner_text()
        assert person.effort == (0, 0)


def test_one_click_answers_harp_against_hydra_at_another_epsilon(reader: Any) -> None:
    """Both are highlighted on the start page; the curves of that setting say in place that 4/255 is unknown."""
    with reader() as person:
        page = person.page
        person.click("#trend a.ap-trend__curves")
        page.locator("#curve-title", has_text="CIFAR-10 ResNet18, unstructured, 99 %").wait_for()
        missing = page.locator("#curve-missing")
        missing.locator("li", has_text="HYDRA").wait_for()
        for text in (
            "at other ε, such as 4/255, nothing is known",
            "HARP: clean 83.11 %, AutoAttack 45.50 %, 95 % interval 44.5–46.5, at ε = 8/255",
            "apsite eval CHECKPOINT --method",
            "--arch resnet18 --structure unstructured --sparsity 0.99",
        ):
            expect(missing).to_contain_text(text, use_inner_text=True)
        assert person.effort == (0, 1)
        page.locator("#curve-slider input").fill("4")
        rows = page.locator("#readout tbody tr").count()
        expect(page.locator("#readout tbody td:first-of-type")).to_have_text(["no data at 4/255"] * rows)


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("MAD", f"methods/{METHODS['MAD']}"),
        ("HARP SVHN", f"methods/{METHODS['HARP']}"),
        ("RADMM_Ye2019Sparsity", "methods/RADMM_Ye2019Adversarial"),
        ("TF32", "protocol"),
    ],
)
def test_one_search_and_one_click_lead_to_a_method_or_a_rule(reader: Any, words: str, page: str) -> None:
    """A method by its name, by a setting or by another key; a rule of the protocol by its term."""
    with reader() as person:
        person.search(words)
        person.click(f".md-search-result__link[href*='{page}']")
        person.page.wait_for_url(f"**/{page}.html*")
        assert person.effort == (1, 1)


def test_search_knows_networks_by_their_codes(reader: Any) -> None:
    with reader() as person:
        person.search("R18")
        person.page.locator(".md-search-result__link[href*='methods/']").first.wait_for()


def test_three_clicks_find_global_methods_that_prune_before_training_and_have_code(reader: Any) -> None:
    with reader("methods.html") as person:
        for name, value in (("pipeline", "before"), ("locality", "global"), ("available", "code")):
            person.click(f".ap-facets label:has(input[name={name}][value={value}])")
        assert person.effort == (0, 3)
        rows = person.page.locator("#method-index tbody tr:visible")
        expect(rows.and_(person.page.locator(":not([data-pipeline=before])"))).to_have_count(0)
        expect(person.page).to_have_url(re.compile("available=code"))
        expect(rows.locator("th a", has_text="Li20")).to_have_count(1)
        for row in rows.all():
            expect(row.get_by_role("link", name="code")).to_have_count(1)
        found = rows.count()
        person.open(person.page.url.removeprefix(person.base))
        expect(rows).to_have_count(found)


def test_four_clicks_copy_the_bibtex_of_three_methods(reader: Any) -> None:
    with reader("methods.html", permissions=["clipboard-read", "clipboard-write"]) as person:
        for key in METHODS.values():
            person.click(f"#method-index input[value={key}]")
        person.click(".ap-selection button", has_text="Copy BibTeX")
        person.page.locator(".ap-selection button", has_text="Copied").wait_for()
        assert person.effort == (0, 4)
        text = person.page.evaluate("navigator.clipboard.readText()")
        assert [text.count(word) for word in ("@inproceedings", "Holistic Adversarially Robust Pruning")] == [3, 1]


def test_methods_picked_once_stay_picked(reader: Any) -> None:
    """From the index to results, leaderboard, curves and comparison, and in a URL that another reader opens."""
    with reader("methods.html") as person:
        for name in ("HARP", "MAD"):
            person.click(f"#method-index input[value={METHODS[name]}]")
        for title, address in (("Results", "results.html"), ("Leaderboard", "leaderboard.html")):
            person.click(".ap-selection a", has_text=title)
            person.page.wait_for_url(f"**/{address}*")
            picked = person.page.locator("tr.ap-picked:visible th[scope=row] a")
            for name in ("HARP", "MAD"):
                expect(picked.filter(has_text=name).first).to_be_visible()
            assert set(picked.all_inner_texts()) == {"HARP", "MAD"}
        person.click(".ap-selection a", has_text="Compare")
        person.page.wait_for_url("**/compare.html*")
        person.page.locator("#compare[data-ready]").wait_for()
        for name in ("HARP", "MAD"):
            expect(person.page.locator(f"#compare-form input[value={METHODS[name]}]")).to_be_checked()
        expect(person.page.locator("#compare-form input:checked")).to_have_count(2)
        person.click(".md-logo")
        person.page.wait_for_url("**/index.html*")
        expect(person.page).to_have_url(TWO_METHODS)
        lit = person.page.locator("#heat-unstructured .ap-picked th a")
        expect(lit).to_have_count(2)
        assert sorted(lit.all_inner_texts()) == ["HARP", "MAD"]
        person.click(".ap-selection a", has_text="Curves")
        person.page.wait_for_url("**/curves.html*")
        expect(person.page).to_have_url(TWO_METHODS)


def test_methods_are_picked_in_the_heat_map_and_carried_over_any_page(reader: Any) -> None:
    """The trend of the start page follows; links of a document, a chart and the search carry the selection on."""
    with reader() as person:
        page = person.page
        for name in ("HYDRA", "MAD"):
            person.click(f"#heat-unstructured input[value={METHODS[name]}]")
        picked = page.locator("#heat-unstructured .ap-picked th a")
        expect(picked).to_have_count(2)
        assert sorted(picked.all_inner_texts()) == ["HYDRA", "MAD"]
        expect(page.locator("#heat-structured .ap-picked")).to_have_count(0)
        lit = page.locator("#trend .ap-plot__wide .ap-plot__lit text")
        expect(lit).to_have_text(["HYDRA", "MAD"])
        person.search("TF32")
        person.click(".md-search-result__link[href*='protocol']")
        page.wait_for_url("**/protocol.html*")
        for title in ("Data", "Results"):
            person.click(".md-tabs__link", has_text=title)
            page.locator(".md-tabs__item--active", has_text=title).wait_for()
            expect(page).to_have_url(TWO_METHODS)
        person.open("charts/cifar10-resnet18-unstructured.html?" + page.url.partition("?")[2])
        expect(lit).to_have_text(["HYDRA", "MAD"])
        person.click("nav.ap-links a", has_text="SVHN VGG16, unstructured")
        page.locator("h1", has_text="SVHN VGG16, unstructured").wait_for()
        expect(lit).to_have_text(["HYDRA", "MAD"])
        person.click(".ap-selection button", has_text="HYDRA")
        expect(lit).to_have_text(["MAD"])
        person.click(".ap-selection button", has_text="Clear")
        expect(lit).to_have_count(3)
        expect(page).not_to_have_url(re.compile("m="))


def test_a_view_is_shared_by_its_url_alone(reader: Any) -> None:
    with reader("results.html") as person:
        person.click("#results th button", has_text="Clean")
        person.page.wait_for_url("**sort-results=clean*")
        expect(person.page.locator("#results th[aria-sort=descending]")).to_have_count(1)
        names = person.page.locator("#results tbody tr:visible th[scope=row]")
        order = names.all_inner_texts()
        assert person.effort == (0, 1)
        person.open(person.page.url.removeprefix(person.base))
        expect(names).to_have_text(order, use_inner_text=True)


def test_two_clicks_save_a_chart_as_a_pdf(reader: Any) -> None:
    """The trend of a setting, then PDF. The file is sound: every object is where its table says."""
    with reader() as person:
        person.click("nav.ap-links a", has_text="CIFAR-10 ResNet18, unstructured")
        person.page.wait_for_url("**/charts/*")
        for clicks, place in ((2, "#trend + .ap-save"), (3, "#clean + .ap-save")):
            with person.page.expect_download() as waiting:
                person.click(f"{place} [data-save=pdf]")
            assert person.effort == (0, clicks)
            assert waiting.value.suggested_filename.endswith("-cifar-10-resnet18-unstructured.pdf")
            content = waiting.value.path().read_bytes()
            assert content.startswith(b"%PDF-1.4")
            begin = int(re.search(rb"startxref\n(\d+)\n%%EOF", content)[1])
            places = [int(line) for line in re.findall(rb"(\d{10}) 00000 n", content[begin:])]
            assert all(content[at:].startswith(f"{n} 0 obj".encode()) for n, at in enumerate(places, 1))
            stream = re.search(rb"/Length (\d+)>>\nstream\n(.*)\nendstream", content, re.DOTALL)
            assert int(stream[1]) == len(stream[2])
            assert b"(HARP) Tj" in stream[2]
            assert stream[2].count(b"\nQ") == stream[2].count(b"q\n")


def test_two_clicks_download_all_data(reader: Any) -> None:
    with reader() as person:
        person.click(".md-tabs__link", has_text="Data")
        person.page.wait_for_url("**/data.html")
        with person.page.expect_download() as waiting:
            person.click("#downloads a[href$='.zip']")
        assert waiting.value.suggested_filename.startswith("apsite-")
        assert person.effort == (0, 2)


def test_pasted_bibtex_leaves_fewer_than_twelve_answers(reader: Any) -> None:
    with reader("submit.html") as person:
        page, answers = person.page, 1
        page.locator("[name='paper.bibtex']").fill(BIBTEX)
        filled = {
            "title": "Sparse and Robust: Pruning & Training", "authors": "Jane Doe\nAndré Garçon\nLi Wei",
            "venue": "International Conference on Learning Representations", "year": "2026",
            "url": "https://example.org/sparse",
        }  # fmt: skip
        for name, value in filled.items():
            expect(page.locator(f"[name='paper.{name}']")).to_have_value(value)
        for question in questions():
            part = page.locator(f"[data-question='{question.name}']")
            if question.required and part.is_visible() and not part.locator("input, textarea").first.input_value():
                part.locator("input, textarea").first.fill("Sparse")
                answers += 1
            elif question.required and question.kind in (Kind.CHOICE, Kind.CHOICES) and part.is_visible():
                part.locator("label").first.click()
                answers += 1
        expect(page.locator("#form-state")).to_have_text("Complete.")
        assert answers < 12
