"""The page of robustness curves in a real browser: what it draws is what the records say, and the address keeps it."""

from __future__ import annotations

import csv
import io
import re

import pytest

from apsite.catalogue import load_catalogue
from apsite.comparable import interval_of
from apsite.site.charts.curves import SPAN, load_curves
from apsite.site.pages import curves as robustness
from apsite.site.tables.methods import labels
from tests.integration.conftest import expect, held
from tests.site.synthetic import CURVES

pytestmark = pytest.mark.browser

HARP, HYDRA, TWIN, RADMM, MAD = CURVES
SETTING = "R8_CIFAR10_US_90"
PUBLISHED = "dataset=cifar10&network=resnet18&structure=unstructured&sparsity=90"
ROWS = "(name) => window.apsite.charts.rows('curves', name)"


@pytest.fixture(scope="module")
def curves(data_root):
    """Curves of the built site's records, by model key."""
    return {curve.record.model_key: curve for curve in load_curves(load_catalogue(data_root))}


def method(key: str) -> str:
    """Method of a model of the first setting."""
    return key.removesuffix(f"_{SETTING}")


def selection(*keys: str, **more: str) -> str:
    """Address of the page with models and other state."""
    return "curves.html?" + "&".join([*(f"m={method(key)}" for key in keys), *(f"{k}={v}" for k, v in more.items())])


def drawn_curves(page) -> dict[str, list[tuple[float, float]]]:
    """Curves of the live chart: where each steps, and to what, by model."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in page.evaluate(ROWS, "curves"):
        found.setdefault(row["series"].split()[0], []).append((row["budget"], row["robust"]))
    return found


def readout(page) -> list[list[str]]:
    """Cells of the readout."""
    return [row.locator("th, td").all_inner_texts() for row in page.locator("#readout tbody tr").all()]


def draws(page, keys: set[str]) -> None:
    """Wait until the live chart draws the curves of these models."""
    page.locator("#curves[data-drawn]").wait_for()
    drawn = f"new Set(({ROWS})('curves').map((row) => row.series.split(' ')[0]))"
    page.wait_for_function(f"(keys) => Array.from({drawn}).sort().join() === keys.join()", arg=sorted(keys))


def says(page, rows: list[list[str]]) -> None:
    """Wait until the readout has these cells."""
    cells = [re.compile(rf"^\s*{re.escape(text.strip())}\s*$") for row in rows for text in row]
    expect(page.locator("#readout tbody").locator("th, td")).to_have_text(cells)


def test_live_chart_draws_the_records(visit, curves):
    with visit() as opened:
        page = opened.open(selection(TWIN, HARP))
        drawn = drawn_curves(page)
        assert set(drawn) == {TWIN, HARP}
        for key, points in drawn.items():
            steps, total = curves[key].joint, curves[key].n_samples
            assert [robust for _, robust in points[:-1]] == pytest.approx([count / total for count in steps.counts])
            assert [budget for budget, _ in points[:-1]] == pytest.approx(steps.budgets, abs=2e-4)
        attacks = {(row["label"], row["what"]): row["robust"] for row in page.evaluate(ROWS, "points")}
        assert attacks["TwinRep", "AutoAttack"] == curves[TWIN].record.robust_accuracy
        expected = robustness.separated_leaders([curves[TWIN], curves[HARP]])
        bar = [(row["key"], row["from"], row["to"]) for row in page.evaluate(ROWS, "leaders")]
        assert len(bar) > 1
        assert bar == [(key, pytest.approx(start), pytest.approx(end)) for key, start, end in expected]
        for row in page.evaluate(ROWS, "bands"):
            curve = curves[row["series"]]
            low, high = curve.bounds(curve.joint.at(row["budget"]))
            assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))


def test_chart_equals_its_table(visit):
    with visit() as opened:
        page = opened.open(selection(HARP, HYDRA, show="both"))
        rows = page.locator("#curve-figures tbody tr:visible")
        expect(rows).to_have_count(4)
        for row in rows.all():
            kind = {"envelope": "main", "HO-FMN": "hofmn"}[row.locator("td").first.inner_text()]
            series = f"{row.get_attribute('data-model')} {kind}"
            points = [r for r in page.evaluate(ROWS, "curves") if r["series"] == series]
            for k, text in enumerate(row.locator("td").all_inner_texts()[2:]):
                at = [point["robust"] for point in points if point["budget"] <= k + 1e-9][-1]
                assert abs(100 * at - float(text)) <= 0.1 + 0.005


def test_first_view_is_drawn_by_the_build(visit, data_root, curves):
    catalogue = load_catalogue(data_root)
    offered = robustness.settings(catalogue, list(curves.values()), labels(catalogue.entries.values()))
    labelled = {model.label: model.record.model_key for model in robustness.first_setting(offered).models}
    with visit() as opened:
        asked = []
        opened.page.on("request", lambda request: asked.append(request.url))
        opened.page.goto(opened.base + "curves.html")
        opened.page.wait_for_load_state("networkidle")
        assert not [url for url in asked if "vega" in url or "data/curves" in url]
        assert opened.page.locator(".ap-drawing--wide .mark-line path").count() >= robustness.FIRST
        before = readout(opened.page)
        still = opened.page.locator(".ap-drawing--wide svg").bounding_box()
        for label, joint, interval, hofmn, attack in before:
            curve = curves[labelled[label.strip()]]
            assert float(joint) == pytest.approx(100 * curve.joint.at(8) / curve.n_samples, abs=0.0501)
            assert float(attack) == pytest.approx(100 * curve.record.robust_accuracy, abs=0.0501)
            assert float(hofmn) == pytest.approx(100 * curve.hofmn.at(8) / curve.n_samples, abs=0.0501)
            low, high = interval_of(curve.joint.at(8) / curve.n_samples, curve.n_samples)
            assert interval == f"{100 * low:.1f}–{100 * high:.1f}"
        leaders = opened.page.locator("#curve-leaders").inner_text()
        opened.page.locator("#curves").hover()
        opened.page.locator("#curves[data-drawn]").wait_for()
        live = opened.page.locator("#curves .ap-chart__view svg").bounding_box()
        assert [live[side] for side in ("width", "height")] == pytest.approx(
            [still[side] for side in ("width", "height")], abs=2
        )
        opened.page.locator("#curve-form input[value=hofmn]").check(force=True)
        opened.page.locator("#curve-form input[value=joint]").check(force=True)
        opened.page.locator("#curve-slider input").fill("8")
        expect(opened.page.locator("#curve-leaders")).to_have_text(leaders, use_inner_text=True)
        says(opened.page, before)


def test_models_are_picked_and_kept_in_the_address(visit):
    with visit() as opened:
        page = opened.open("curves.html")
        kept = set(drawn_curves(page)) - {HYDRA, RADMM}
        for key in (HYDRA, RADMM):
            page.locator(f"input.ap-pick[value={method(key)}]").uncheck()
        page.locator("input[name=show][value=hofmn]").check(force=True)
        page.locator("#curve-slider input").fill("5.3")
        page.get_by_role("button", name="zoom in").click()
        page.wait_for_url("**view=*")
        expect(page.locator("#readout-at")).to_have_text("5.3/255")
        draws(page, kept)
        shown, seen = readout(page), drawn_curves(page)
        page.reload()
        page.locator("#curves[data-drawn]").wait_for()
        says(page, shown)
        assert drawn_curves(page) == seen
        assert page.evaluate("window.apsite.charts.signal('curves', 'x_to')") < SPAN
        expect(page.locator("input[name=show]:checked")).to_have_value("hofmn")


def test_one_setting_at_a_time(visit):
    """Another setting takes the place of the first; methods that it has stay chosen, and the address keeps it."""
    with visit() as opened:
        page = opened.open(selection(HARP, MAD))
        page.locator("#curve-setting input[name=network][value=resnet18]").check(force=True)
        page.locator("#curve-title", has_text="CIFAR-10 ResNet18, unstructured, 90 %").wait_for()
        page.wait_for_function("() => window.apsite.charts.rows('curves', 'curves').length === 0")
        expect(page.locator("#readout tbody th")).to_have_text(["HARP", "MAD"])
        page.wait_for_function("() => window.apsite.charts.rows('curves', 'points').length === 4")
        assert {row["label"] for row in page.evaluate(ROWS, "points")} == {"HARP", "MAD"}
        page.wait_for_url(f"**{PUBLISHED}&m=*")
        page.reload()
        page.locator("#curve-title", has_text="ResNet18").wait_for()
        page.locator("#curve-setting input[name=dataset][value=svhn]").check(force=True)
        page.locator("#curve-title", has_text="SVHN ResNet18").wait_for()
        page.locator("a.ap-setting-link", has_text="CIFAR-10 ResNet8, unstructured, 90 %").click()
        page.wait_for_function("() => document.querySelectorAll('#curve-figures tr[data-model]').length >= 2")


def test_the_last_choice_counts_whatever_loads_late(visit):
    """A setting and a curve that arrive after a reader has chosen otherwise change nothing."""
    with visit() as opened:
        page = opened.page
        page.goto(opened.base + selection(TWIN))
        draws(page, {TWIN})
        with held(page, "**/data/curves/**"):
            page.locator(f"input.ap-pick[value={method(MAD)}]").check()
            page.locator("#curve-setting input[name=network][value=resnet18]").check(force=True)
            page.locator("a.ap-setting-link", has_text="CIFAR-10 ResNet8, unstructured, 90 %").click()
            page.locator(f"input.ap-pick[value={method(TWIN)}]").uncheck()
        draws(page, {MAD})
        expect(page.locator("#curve-title")).to_have_text("CIFAR-10 ResNet8, unstructured, 90 %")
        expect(page.locator("input.ap-pick:checked")).to_have_count(1)


def test_a_model_key_in_the_address_names_its_setting(visit):
    """Links of earlier versions name models."""
    with visit() as opened:
        page = opened.page
        page.goto(opened.base + "curves.html?m=HARP_Zhao2023Holistic_R18_SVHN_US_90")
        page.locator("#curve-title", has_text="SVHN ResNet18, unstructured, 90 %").wait_for()
        expect(page.locator("#readout tbody th")).to_have_text(["HARP"])


def test_pointer_reads_off_and_drags_a_zoom(visit, curves):
    with visit() as opened:
        page = opened.open(selection(HARP, TWIN))
        box = page.locator("#curves .ap-chart__view svg").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.35, box["y"] + 150)
        page.wait_for_url("**at=*")
        at = float(page.url.split("at=")[1].split("&")[0])
        assert 0 < at < 8
        expect(page.locator("#readout-at")).to_have_text(f"{at:g}/255")
        for key, row in zip((HARP, TWIN), readout(page), strict=True):
            expected = 100 * curves[key].joint.at(at) / curves[key].n_samples
            assert float(row[1]) == pytest.approx(expected, abs=0.06)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 160, steps=4)
        expect(page.locator(".ap-brush")).to_have_count(1)
        page.mouse.up()
        page.wait_for_url("**view=*")
        low = page.evaluate("window.apsite.charts.signal('curves', 'x_from')")
        assert low == pytest.approx(at, abs=0.2)
        page.locator("#curves .ap-chart__view svg").dblclick(position={"x": 200, "y": 100})
        page.wait_for_function("window.apsite.charts.signal('curves', 'x_to') === 16")


def test_curves_work_from_the_keyboard(visit):
    with visit() as opened:
        page = opened.open(selection(TWIN, RADMM))
        page.locator(f"input.ap-pick[value={method(RADMM)}]").focus()
        page.keyboard.press("Space")
        slider = page.locator("#curve-slider input")
        slider.focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#readout-at")).to_have_text("8.1/255")
        expect(slider).to_have_attribute("aria-valuetext", "8.1/255")
        page.locator("[data-zoom=in]").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**view=*")
        draws(page, {TWIN})


def test_view_is_saved_as_files(visit, curves):
    with visit() as opened:
        page = opened.open(selection(HARP))
        files = {}
        for kind in ("csv", "svg", "png"):
            with page.expect_download() as download:
                page.locator(f"[data-save={kind}]").click()
            files[kind] = download.value.path().read_bytes()
        rows = list(csv.DictReader(io.StringIO(files["csv"].decode())))
        envelope = [row for row in rows if row["what"] == "envelope"]
        assert [int(row["robust_samples"]) for row in envelope] == list(curves[HARP].joint.counts)
        assert {row["what"] for row in rows} == {"envelope", "HO-FMN", "AutoAttack"}
        assert files["svg"].startswith(b"<svg")
        assert files["png"].startswith(b"\x89PNG")


def test_a_curve_that_cannot_be_loaded_is_said(visit):
    with visit() as opened:
        opened.page.route("**/data/curves/MAD*", lambda route: route.fulfill(status=200, body="nonsense"))
        page = opened.open(selection(HARP, MAD))
        page.locator("#curve-status", has_text="curve of MAD could not be loaded").wait_for()
        draws(page, {HARP})
        expect(page.locator("input.ap-pick:checked")).to_have_count(1)


def test_colours_follow_the_scheme(visit):
    with visit(color_scheme="light") as opened:
        page = opened.open(selection(HARP))
        line = page.locator("#curves .ap-chart__view .mark-line path").first
        before, points = line.get_attribute("stroke"), drawn_curves(page)
        page.locator(".ap-scheme").click()
        page.locator("#curves[data-drawn='2']").wait_for()
        expect(line).not_to_have_attribute("stroke", before)
        assert drawn_curves(page) == points
