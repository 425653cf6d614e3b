"""Charts drawn by the build: they hold what the chart holds, in the page's colours, and nothing that could run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from apsite.site.charts import drawings
from apsite.site.charts.charts import robustness_chart
from apsite.site.charts.drawings import Drawings
from apsite.site.charts.palette import TOKENS, styles

HOSTILE = "</svg><script>alert(1)</script>\n\n# x"


@pytest.fixture(scope="module")
def spec():
    """Chart of two models, one with a hostile name."""
    names = (HOSTILE, "B")
    colours = [look.colour for look in styles(names).values()]
    data = {name: [] for name in ("bands", "points", "names", "leaders")}
    data["curves"] = [
        {"series": name, "budget": at, "robust": 0.5 - at / 40, "colour": colour, "dash": [1, 0], "width": 2}
        for name, colour in zip(names, colours, strict=True)
        for at in (0, 8)
    ]
    data["labels"] = [
        {"label": name, "height": 0.3, "end": 0.3, "colour": colour}
        for name, colour in zip(names, colours, strict=True)
    ]
    data["budgets"] = [{"budget": 8, "text": "ε = 8/255"}]
    return robustness_chart(data, span=16, top=0.6)


@pytest.fixture(scope="module")
def drawn(spec, tmp_path_factory):
    """Both drawings as markup, and the folder that remembers them."""
    cache = tmp_path_factory.mktemp("cache")
    return str(Drawings(cache)("chart", spec)), cache


def test_both_widths_are_drawn_as_one_line_each(drawn):
    """A page shows the drawing that suits its width; line breaks could end the block of HTML."""
    text, _ = drawn
    assert text.count("<svg") == len(drawings.WIDTHS) == 2
    assert "\n" not in text
    assert {re.search(r'viewBox="0 0 (\d+)', part)[1] for part in text.split("<svg")[1:]} == {"760", "328"}


def test_drawing_has_every_mark_and_the_page_colours(drawn):
    text, _ = drawn
    wide = ET.fromstring(re.search(r"<svg.*?</svg>", text)[0])
    marks: Counter[str] = Counter()
    for element in wide.iter():
        if "role-mark" in element.get("class", ""):
            marks[element.get("class").split()[0]] += len(element)
    assert {name: count for name, count in marks.items() if count} == {"mark-line": 2, "mark-rule": 3, "mark-text": 3}
    colours = {e.get(name) for e in wide.iter() for name in ("fill", "stroke")} - {None, "none", "transparent"}
    assert colours
    assert all(colour.startswith("var(--ap-") for colour in colours)


def test_lines_of_an_axis_are_one_path_and_no_mark_is_a_layer(drawn):
    text, _ = drawn
    wide = ET.fromstring(re.search(r"<svg.*?</svg>", text)[0])
    grids = [group for group in wide.iter() if group.get("class") == "mark-rule role-axis-grid"]
    assert [[line.tag.partition("}")[2] for line in grid] for grid in grids] == [["path"]] * len(grids) != []
    assert grids[0][0].get("d").count("M") > 3
    assert not any(mark.get("opacity") for mark in wide.iter() if len(mark) == 0)


def test_names_are_text(drawn):
    text, _ = drawn
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert not re.search(r"\son\w+=|href|style=", text)


def test_identities_are_unique(drawn):
    """Clip paths of the two drawings, and of two charts on a page, do not meet."""
    text, _ = drawn
    identities = re.findall(r'\bid="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    assert all(identity.startswith("chart-") for identity in identities)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(identities)


def test_a_drawing_is_made_once(drawn, spec, monkeypatch):
    text, cache = drawn
    import vl_convert

    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda *_, **__: pytest.fail("drawn again"))
    assert str(Drawings(cache)("chart", spec)) == text


def test_style_has_every_colour_of_charts_in_both_schemes(repository):
    sheet = (repository / "apsite/site/assets/stylesheets/apsite.css").read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"(--ap-[\w-]+): (#\w+);", sheet.split(f'[data-md-color-scheme="{name}"] {{')[1].split("}")[0]))
        for name in ("default", "slate")
    )
    for colour, name in TOKENS.items():
        assert light[name] == colour
        assert dark[name] != colour


def test_text_in_series_colours_is_readable(repository):
    """Labels stand in the colour of their line: a contrast of at least 4.5 to 1 with the page in both schemes."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    sheet = (repository / "apsite/site/assets/stylesheets/apsite.css").read_text(encoding="utf-8")
    for name in ("default", "slate"):
        block = sheet.split(f'[data-md-color-scheme="{name}"] {{')[1].split("}")[0]
        values = dict(re.findall(r"(--ap-[\w-]+): (#\w+);", block))
        paper = luminance(values["--ap-paper"])
        for token, colour in values.items():
            if token.startswith(("--ap-series", "--ap-stage", "--ap-accent", "--ap-muted", "--ap-caution")):
                if token in ("--ap-accent-ink", "--ap-caution-paper"):
                    continue
                high, low = sorted((paper, luminance(colour)), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, token)
