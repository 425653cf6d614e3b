"""Charts as files and in frames, from a real browser."""

from __future__ import annotations

import csv
import io
import re
import struct
import xml.etree.ElementTree as ET

import pytest

from apsite.site.charts.palette import COLOURS
from tests.integration.conftest import expect

pytestmark = pytest.mark.browser

GROUP = "charts/cifar10-resnet18-unstructured.html"
NAME = "robust-accuracy-against-sparsity-cifar-10-resnet18-unstructured"
SVG = "{http://www.w3.org/2000/svg}"


def saved(page, place: str, kind: str) -> tuple[str, bytes]:
    """Name and content of the file that one click gives."""
    with page.expect_download() as download:
        page.locator(f"{place} [data-save={kind}]").click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_chart_is_saved_in_every_format(visit):
    """Also from a dark page: a picture is always light, and says what it is and where it is from."""
    with visit(color_scheme="dark") as opened:
        page = opened.page
        page.goto(opened.base + GROUP)
        files = {kind: saved(page, "#trend + .ap-save", kind) for kind in ("svg", "png", "pdf", "csv")}
        assert {name for name, _ in files.values()} == {f"{NAME}.{kind}" for kind in files}
        svg = ET.fromstring(files["svg"][1])
        texts = {element.text for element in svg.iter(f"{SVG}text")}
        assert {"Robust accuracy against sparsity", "CIFAR-10 ResNet18, unstructured", "HARP", "FlyingBird"} <= texts
        assert any(re.match(r"Source: apsite, snapshot apsite-[\d-]+[0-9a-f]+, http", text or "") for text in texts)
        fills = {element.get("fill") for element in svg.iter()} | {element.get("stroke") for element in svg.iter()}
        light = {f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})" for colour in COLOURS}
        assert "rgb(255, 255, 255)" in fills
        assert len(light & fills) == 3, "three methods in the colours of the light page"
        assert not [value for value in fills if value and "var(" in value]
        width, height = struct.unpack(">II", files["png"][1][16:24])
        assert files["png"][1].startswith(b"\x89PNG")
        assert (width, height) == (3 * int(svg.get("width")), 3 * int(svg.get("height")))
        rows = list(csv.reader(io.StringIO(files["csv"][1].decode())))
        assert rows[0] == ["Method", "dense", "90 %", "95 %", "99 %"]
        assert rows[1] == ["HARP", "49.48", "45.40", "45.69", "45.50"]


def test_live_charts_are_saved_in_light_colours(visit):
    with visit(color_scheme="dark") as opened:
        page = opened.open("curves.html")
        name, content = saved(page, "#curve-form", "svg")
        assert name == "robustness-curves-cifar-10-resnet8-unstructured-90.svg"
        svg = ET.fromstring(content)
        values = {element.get(key) for element in svg.iter() for key in ("fill", "stroke")}
        assert {"rgb(0, 114, 178)", "rgb(255, 255, 255)"} <= values
        assert "rgb(20, 25, 28)" not in values
        assert "CIFAR-10 ResNet8, unstructured, 90 %" in {element.text for element in svg.iter(f"{SVG}text")}
        name, content = saved(page, "#curve-form", "pdf")
        assert name.endswith("unstructured-90.pdf")
        assert b"/S " in content, "ε is in the font of symbols"
        assert len(content) > 5_000
        page = opened.open("analysis.html")
        chart = page.locator(".ap-chart").first
        identity = chart.get_attribute("id")
        assert saved(page, f"#{identity} + .ap-save", "png")[1].startswith(b"\x89PNG")
        assert saved(page, f"#{identity} + .ap-save", "csv")[1].count(b"\n") > 3


def test_a_chart_is_embedded_alone(visit):
    with visit() as opened:
        page = opened.page
        page.goto(opened.base + GROUP + "?m=PwoA_Jian2022Pruning")
        page.locator("#trend + .ap-save [data-save=embed]").click()
        status = page.locator("#trend + .ap-save .ap-save__status", has_text="<iframe")
        status.wait_for()
        address = re.search(r'src="([^"]+)"', status.inner_text())[1].replace("&amp;", "&")
        assert address.endswith("?m=PwoA_Jian2022Pruning&embed=trend")
        page.goto(address)
        expect(page.locator("#trend .ap-plot__wide .ap-plot__lit text")).to_have_text(["PwoA"])
        expect(page.locator(".md-header")).to_be_hidden()
        expect(page.locator("#clean")).to_have_count(0)
        expect(page.locator("a[target=_top]")).to_have_attribute("href", re.compile(r"\?m=PwoA_Jian2022Pruning$"))
