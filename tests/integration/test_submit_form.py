"""The form that describes a method, filled in a real browser: the same answers give the same bytes as `apsite new`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, Phase, given, settings

pytest.importorskip("altair", reason="the site needs the extra 'site'")
playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")

# After the check for what it needs.
from apsite.contribution.questions import Kind, document, problems, questions, suggested_key  # noqa: E402
from apsite.documents.json_files import to_json  # noqa: E402
from tests.answers import FULL, good_answers  # noqa: E402
from tests.cli.conftest import apsite  # noqa: E402
from tests.cli.test_new_command import options  # noqa: E402
from tests.integration.conftest import expect  # noqa: E402

pytestmark = pytest.mark.browser

# One page serves all examples, and a failing one is reported as it was found: a reload is too slow to look for smaller.
in_the_browser = settings(
    max_examples=10, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
REPOSITORY = "https://github.com/apsite/apsite"
TAKEN = ("RADMM_Ye2019Adversarial", "RADMM_Ye2019Sparsity")
"""A key of the benchmark, and another one of the same method."""


@pytest.fixture
def form(visit: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The form in a fresh window; the parameter is its width in pixels."""
    size = {"width": getattr(request, "param", 1280), "height": 900}
    with visit(viewport=size, permissions=["clipboard-write"]) as opened:
        opened.page.goto(f"{opened.base}submit.html")
        opened.page.locator("#method-form").wait_for()
        yield opened.page


def part(page: Any, name: str) -> Any:
    """What belongs to one question."""
    return page.locator(f"[data-question='{name}']")


def entry_text(page: Any) -> str:
    """The JSON that the page shows."""
    return str(page.locator("#form-json").evaluate("node => node.textContent"))


def fill(page: Any, answers: dict[str, Any]) -> None:
    """Answer every question as a person does: fields with the keyboard, choices and buttons with the mouse."""
    page.get_by_text("Describe them").click()
    for question in questions():
        answer, place = answers.get(question.name, ""), part(page, question.name)
        if question.stages and answers["pipeline.stage"] not in question.stages:
            expect(place).to_be_hidden()
            continue
        match question.kind:
            case Kind.ROWS:
                for number, row in enumerate(answer):
                    place.locator("[data-add]").click()
                    for field in question.rows:
                        box = place.locator(".ap-form__row").nth(number).locator(f"[name='{field.name}']")
                        if field.kind is Kind.CHOICE:
                            box.select_option(row[field.name])
                        else:
                            box.focus()
                            page.keyboard.insert_text(row[field.name])
            case Kind.CHOICES:
                for word in answer:
                    if word.startswith("other: "):
                        place.locator("[data-words]").fill(word.removeprefix("other: "))
                    else:
                        place.locator(f"label:has(input[value='{word}'])").click()
            case Kind.CHOICE | Kind.YES_NO:
                place.locator(f"input[value='{answer}']").focus()
                page.keyboard.press("Space")
            case _:
                place.locator("input, textarea").focus()
                page.keyboard.press("Control+A")
                page.keyboard.insert_text("\n".join(answer) if isinstance(answer, list) else answer)


@pytest.mark.parametrize("form", [1280, 360], indirect=True)
def test_form_and_terminal_write_the_same_bytes(form: Any, tmp_path: Path) -> None:
    assert form.locator("#form-open").get_attribute("href") is None
    fill(form, FULL)
    expect(form.locator("#form-state")).to_have_text("Complete.")
    apsite("new", "--root", tmp_path, "--non-interactive", *options(FULL))
    written = (tmp_path / "entries" / f"{FULL['key']}.json").read_bytes()
    assert entry_text(form).encode() == written
    with form.expect_download() as waiting:
        form.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == f"{FULL['key']}.json"
    assert Path(waiting.value.path()).read_bytes() == written
    address = urlsplit(form.get_by_role("link", name="Continue on GitHub").get_attribute("href"))
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{REPOSITORY}/new/main"
    given_ = parse_qs(address.query, strict_parsing=True)
    assert given_ == {"filename": [f"entries/{FULL['key']}.json"], "value": [written.decode()]}
    assert form.evaluate("document.documentElement.scrollWidth") <= form.viewport_size["width"]


def test_the_keyboard_alone_is_enough(form: Any) -> None:
    form.locator("[name='name']").focus()
    for text in ("Small", "A title", "Jane Doe", "ICLR", "2026", "", "@misc{a}", ""):
        form.keyboard.insert_text(text)
        form.keyboard.press("Tab")
    expect(form.locator("[name='key']")).to_be_focused()
    expect(form.locator("[name='key']")).to_have_value("Small_Doe2026A")
    form.keyboard.press("Tab")
    form.keyboard.press("ArrowDown")
    expect(part(form, "pipeline.training")).to_be_visible()
    expect(part(form, "pipeline.finetuning")).to_be_hidden()
    form.keyboard.press("ArrowDown")
    expect(form.locator("#form-json")).to_contain_text('"stage": "during"')
    part(form, "specifics.structure").locator("input").first.focus()
    form.keyboard.press("Space")
    form.locator("#form-open").focus()
    form.keyboard.press("Enter")
    form.wait_for_function("document.activeElement.name === 'specifics.criterion'")
    form.keyboard.press("Space")
    expect(form.locator("#form-state")).to_have_text("Complete.")
    first = next(question for question in questions() if question.name == "specifics.criterion").choices[0].value
    assert entry_text(form) == to_json(
        document(
            {
                "name": "Small", "paper.title": "A title", "paper.authors": "Jane Doe", "paper.venue": "ICLR",
                "paper.year": "2026", "paper.bibtex": "@misc{a}", "key": "Small_Doe2026A", "pipeline.stage": "during",
                "specifics.structure": ["unstructured"], "specifics.criterion": first,
            }
        )
    )  # fmt: skip


def test_problems_show_as_one_types_and_stop_the_way_out(form: Any) -> None:
    year = form.locator("[name='paper.year']")
    year.fill("26")
    problem = form.locator("#answer-paper-year-problem")
    expect(problem).to_contain_text("1980")
    expect(year).to_have_attribute("aria-invalid", "true")
    assert "answer-paper-year-problem" in year.get_attribute("aria-describedby")
    expect(form.locator("#answer-name-problem")).to_be_hidden()
    form.get_by_role("button", name="Download").click()
    expect(form.locator("#answer-name-problem")).to_be_visible()
    expect(form.locator("[name='name']")).to_be_focused()
    year.fill("2026")
    expect(problem).to_be_hidden()
    for taken in TAKEN:
        form.locator("[name='key']").fill(taken)
        expect(form.locator("#answer-key-problem")).to_contain_text(f"“{taken}” is taken")


ROW = {"reported": FULL["reported"], "checkpoints": FULL["checkpoints"]}


REFUSED = [
    ({"name": ""}, "name"),
    ({"paper.authors": ""}, "paper.authors"),
    ({"paper.year": "1979"}, "paper.year"),
    ({"paper.year": "2101"}, "paper.year"),
    ({"paper.url": "http://example.org"}, "paper.url"),
    ({"code.url": "https://exa mple.org"}, "code.url"),
    ({"key": "tiny"}, "key"),
    ({"key": TAKEN[0]}, "key"),
    ({"pipeline.stage": ""}, "pipeline.stage"),
    ({"specifics.structure": []}, "specifics.structure"),
    ({"specifics.criterion": ""}, "specifics.criterion"),
    ({"reported": [{**ROW["reported"][0], "sparsity": "1.5"}]}, "reported"),
    ({"reported": [{**ROW["reported"][0], "robust_accuracy": "47 %"}]}, "reported"),
    ({"reported": [{**ROW["reported"][0], "dataset": ""}]}, "reported"),
    ({"checkpoints": [{**ROW["checkpoints"][0], "model_key": "Tiny"}]}, "checkpoints"),
    ({"checkpoints": [{**ROW["checkpoints"][0], "url": "ftp://x"}]}, "checkpoints"),
    ({"checkpoints": [{**ROW["checkpoints"][0], "sha256": "ABC"}]}, "checkpoints"),
]


def test_the_form_refuses_what_the_terminal_refuses(form: Any) -> None:
    """One window for all: a new one takes as long as an answer."""
    for answers, refused in REFUSED:
        given_ = {**FULL, **answers}
        assert answer_by_script(form, given_)[1] == [refused], answers
        assert refused in problems(given_, set(TAKEN)), answers
        expect(form.locator("#form-state")).not_to_have_text("Complete.")


def test_the_constraints_are_those_of_the_questions(form: Any) -> None:
    for question in questions():
        (field, *_) = part(form, question.name).locator("input, textarea").all() or [None]
        if field is None or question.kind in (Kind.ROWS, Kind.CHOICE, Kind.CHOICES, Kind.YES_NO):
            continue
        assert (field.get_attribute("required") is not None) is question.required, question.name
        if question.kind in (Kind.TEXT, Kind.LONG) and question.max_length:
            assert field.get_attribute("maxlength") == str(question.max_length)
        if question.kind is Kind.WHOLE:
            limits = [field.get_attribute(name) for name in ("min", "max")]
            assert limits == [str(question.minimum), str(question.maximum)]
        pattern = field.get_attribute("pattern")
        assert (pattern is not None) is (question.kind is Kind.TEXT), question.name
        if pattern is not None:
            form.evaluate("pattern => new RegExp(pattern, 'v')", pattern)


def test_a_long_entry_goes_by_the_clipboard(form: Any) -> None:
    long = {**FULL, "paper.bibtex": "@misc{a, title = {" + "é" * 2000 + "}}", "reported": [], "checkpoints": []}
    fill(form, long)
    expect(form.locator("#form-hint")).to_contain_text("too long for a URL")
    href = form.locator("#form-open").get_attribute("href")
    assert parse_qs(urlsplit(href).query) == {"filename": [f"entries/{FULL['key']}.json"]}
    form.evaluate("document.getElementById('form-open').addEventListener('click', (event) => event.preventDefault())")
    form.locator("#form-open").click()
    form.locator("#form-hint", has_text="Copied.").wait_for()


def test_a_draft_survives_and_can_be_discarded(form: Any) -> None:
    fill(form, FULL)
    expect(form.locator("#form-state")).to_have_text("Complete.")
    before = entry_text(form)
    form.reload()
    form.locator("#method-form").wait_for()
    assert entry_text(form) == before
    form.get_by_role("button", name="Start again").click()
    form.locator("#form-path", has_text="entries/….json").wait_for()
    form.reload()
    form.locator("#method-form").wait_for()
    expect(form.locator("[name='name']")).to_have_value("")
    expect(form.locator(".ap-form__row")).to_have_count(0)


def answer_by_script(page: Any, answers: dict[str, Any]) -> tuple[str, list[str]]:
    """Entry that the page shows for answers put into its draft, and the questions with a problem."""
    draft = {
        name: "\n".join(answer) if kind is Kind.LINES and isinstance(answer, list) else answer
        for name, answer in answers.items()
        for kind in [next(question.kind for question in questions() if question.name == name)]
    }
    page.evaluate(
        "draft => localStorage.setItem('apsite-method-draft', draft)",
        json.dumps({"answers": draft, "keyIsSuggested": False}),
    )
    page.reload()
    page.locator("#form-copy").click()
    page.locator("#form-hint:not(:empty), .ap-form__problem:not([hidden])").first.wait_for(state="attached")
    shown = page.evaluate(
        """() => Array.from(document.querySelectorAll(".ap-form__problem:not([hidden])"),
             (line) => line.closest("[data-question]").dataset.question)"""
    )
    return entry_text(page), shown


@in_the_browser
@given(good_answers())
def test_good_answers_give_the_same_bytes(form: Any, answers: dict[str, Any]) -> None:
    text, shown = answer_by_script(form, answers)
    assert shown == []
    assert text == to_json(document(answers))


@pytest.mark.parametrize(
    ("authors", "title"),
    [("van der Berg, Åsa\nOther", "“…” 3D nets"), ("José Núñez", "HYDRA: pruning"), ("Ł. Ångström-Ó", "ü-Net Éa")],
)
def test_the_same_key_is_suggested(form: Any, authors: str, title: str) -> None:
    answers = {"name": "Tiny Net+", "paper.authors": authors, "paper.title": title, "paper.year": "2026"}
    for name, text in answers.items():
        form.locator(f"[name='{name}']").fill(text)
    expect(form.locator("[name='key']")).to_have_value(suggested_key(answers))
