"""What readers come for, in a real browser, with the clicks that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from apsite.contribution.questions import Kind, questions

pytestmark = pytest.mark.browser

METHODS = {"HARP": "HARP_Zhao2023Holistic", "HYDRA": "HYDRA_Sehwag2020Hydra", "MAD": "MAD_Lee2022Masking"}
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
            opened.page.set_default_timeout(30_000)
            person = Reader(opened.page, opened.base)
            person.open(address)
            yield person

    return at


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
        assert "Li20" in " ".join(rows.locator("th a").all_inner_texts())
        for row in rows.all():
            assert row.get_attribute("data-pipeline") == "before"
            assert row.get_by_role("link", name="code").count() == 1
        address = person.page.url
        person.open(address.removeprefix(person.base))
        assert person.page.locator("#method-index tbody tr:visible").count() == rows.count()


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
            picked = person.page.locator("tr.ap-picked:visible th[scope=row] a").all_inner_texts()
            assert set(picked) == {"HARP", "MAD"}
        person.click(".ap-selection a", has_text="Compare")
        person.page.wait_for_url("**/compare.html*")
        person.page.locator("#compare[data-ready]").wait_for()
        boxes = person.page.locator("#compare-form input:checked")
        assert sorted(box.get_attribute("value") for box in boxes.all()) == sorted(METHODS[n] for n in ("HARP", "MAD"))
        person.click(".md-logo")
        person.page.wait_for_url("**/index.html*")
        assert person.page.url.count("m=") == 2
        person.click(".ap-selection a", has_text="Curves")
        person.page.wait_for_url("**/curves.html*")
        assert person.page.url.count("m=") == 2


def test_a_view_is_shared_by_its_url_alone(reader: Any) -> None:
    with reader("results.html") as person:
        person.click("#results th button", has_text="Clean")
        order = person.page.locator("#results tbody tr:visible th[scope=row]").all_inner_texts()
        assert person.effort == (0, 1)
        person.open(person.page.url.removeprefix(person.base))
        assert person.page.locator("#results tbody tr:visible th[scope=row]").all_inner_texts() == order


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
        filled = {name: page.locator(f"[name='paper.{name}']").input_value() for name in ("title", "authors", "venue")}
        assert filled == {
            "title": "Sparse and Robust: Pruning & Training", "authors": "Jane Doe\nAndré Garçon\nLi Wei",
            "venue": "International Conference on Learning Representations",
        }  # fmt: skip
        assert page.locator("[name='paper.year']").input_value() == "2026"
        assert page.locator("[name='paper.url']").input_value() == "https://example.org/sparse"
        for question in questions():
            part = page.locator(f"[data-question='{question.name}']")
            if question.required and part.is_visible() and not part.locator("input, textarea").first.input_value():
                part.locator("input, textarea").first.fill("Sparse")
                answers += 1
            elif question.required and question.kind in (Kind.CHOICE, Kind.CHOICES) and part.is_visible():
                part.locator("label").first.click()
                answers += 1
        assert page.locator("#form-state").inner_text() == "Complete."
        assert answers < 12
