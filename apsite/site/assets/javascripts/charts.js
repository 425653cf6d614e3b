/* Charts: each `.ap-chart` shows the drawings that the build made, and holds its specification as JSON.
 *
 * A chart comes to life when a reader first touches it, or changes what it shows: only then is the drawing script
 * loaded. That script runs under a policy without `eval`, so expressions are interpreted (`ast`). Colours come from
 * the page's style, so that a chart follows the light or dark scheme.
 */
(function () {
  "use strict";

  const NARROW = 560;
  const GAP = 10;
  const { page } = window.apsite;
  const elements = Array.from(document.querySelectorAll(".ap-chart"));
  const views = new Map();
  const waking = new Map();
  const owners = new Map();

  /** The specification in the colours that the page has now. */
  function specification(chart) {
    const text = chart.querySelector("script[type='application/json']").textContent;
    const tokens = JSON.parse(text).usermeta.tokens;
    const colours = new Map(Object.entries(tokens).map(([colour, name]) => [colour, page.style(name)]));
    const spec = JSON.parse(text, (key, value) => colours.get(value) ?? value);
    return sized(chart.clientWidth < NARROW ? narrow(spec) : spec, chart);
  }

  /** A live chart as wide as the drawing that it takes the place of; the style sheet scales both to their place. */
  function sized(spec, chart) {
    const drawing = chart.querySelector(".ap-drawing--" + (chart.clientWidth < NARROW ? "narrow" : "wide") + " svg");
    if (drawing) spec.width = drawing.viewBox.baseVal.width;
    return spec;
  }

  /** On a phone, the specification without the names beside lines, for which there is no room. */
  function narrow(spec) {
    if (spec.usermeta.narrow) spec.padding.right = spec.usermeta.narrow.right;
    return spec;
  }

  async function draw(chart) {
    await owners.get(chart.id)?.before?.();
    const spec = specification(chart);
    owners.get(chart.id)?.prepare?.(spec);
    views.get(chart)?.finalize();
    const place = chart.querySelector(".ap-chart__view");
    place.replaceChildren();
    const { View, parse, Warn, expressionInterpreter } = window.vega;
    const font = { font: window.getComputedStyle(document.body).fontFamily };
    const config = { text: font, style: { text: font, "guide-label": font, "guide-title": font } };
    const view = new View(parse(spec, config, { ast: true }), {
      expr: expressionInterpreter,
      renderer: "svg",
      container: place,
      hover: true,
      logLevel: Warn,
      locale: { number: spec.usermeta.locale },
      tooltip,
    });
    await view.runAsync();
    views.set(chart, view);
    await owners.get(chart.id)?.drawn?.(view);
    chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
    return view;
  }

  /** Show what a mark stands for beside the pointer, and nothing where there is no mark. */
  function tooltip(_, event, item, value) {
    const element = document.getElementById("vg-tooltip-element") ?? page.make("div", { id: "vg-tooltip-element" });
    document.body.append(element);
    element.classList.toggle("visible", Boolean(value));
    if (!value) return;
    const rows = Object.entries(value).map(([name, said]) =>
      page.make("tr", {}, page.make("td", { class: "key" }, name), page.make("td", { class: "value" }, String(said))),
    );
    element.replaceChildren(page.make("table", {}, page.make("tbody", {}, ...rows)));
    const { width, height } = element.getBoundingClientRect();
    const right = event.clientX + GAP + width < window.innerWidth;
    const below = event.clientY + GAP + height < window.innerHeight;
    element.style.left = event.clientX + (right ? GAP : -GAP - width) + "px";
    element.style.top = event.clientY + (below ? GAP : -GAP - height) + "px";
  }

  function explain(chart, error) {
    const message = "The chart could not be made interactive (" + error.message + "); the table below has its values.";
    const view = chart.querySelector(".ap-chart__view");
    view.replaceChildren(page.make("p", { class: "ap-note", role: "status" }, message));
  }

  /** Bring a chart to life; resolves to its view. */
  function wake(chart) {
    if (!waking.has(chart)) {
      const result = page.script(chart.dataset.bundle).then(() => draw(chart));
      result.catch((error) => explain(chart, error));
      waking.set(chart, result);
    }
    return waking.get(chart);
  }

  /** Draw a live chart anew, as its colours or data have changed; one that sleeps stays as it is. */
  function redraw(chart) {
    if (waking.has(chart)) waking.set(chart, waking.get(chart).then(() => draw(chart)));
  }

  /** Combinations of values that have data; the form holds them in the order of its groups. */
  function combinationsOf(form) {
    return page.block(form.querySelector("script"));
  }

  /** Keep `changed` and move the other groups to a combination that has data, as near as possible. */
  function settle(form, changed) {
    const names = Array.from(new FormData(form).keys());
    const now = names.map((name) => form.elements.namedItem(name).value);
    const position = names.indexOf(changed);
    const agreement = (other) => other.filter((value, index) => value === now[index]).length;
    const fitting = combinationsOf(form).filter((other) => position < 0 || other[position] === now[position]);
    const best = fitting.reduce((a, b) => (agreement(b) > agreement(a) ? b : a));
    names.forEach((name, index) => (form.elements.namedItem(name).value = best[index]));
  }

  for (const chart of elements) {
    for (const touch of ["pointerenter", "touchstart", "focusin"]) {
      chart.addEventListener(touch, () => wake(chart), { once: true, passive: true });
    }
  }
  page.onScheme(() => elements.forEach(redraw));

  window.apsite.charts = {
    wake: (identity) => wake(document.getElementById(identity)),

    /** Let a script feed a chart: `before()` may load, `prepare(spec)` fills in data, `drawn(view)` gets the result. */
    own: (identity, owner) => owners.set(identity, owner),

    settle,

    /** Rows of a data set of a live chart, and the value of one of its signals. */
    rows: (identity, name) => views.get(document.getElementById(identity)).data(name),
    signal: (identity, name) => views.get(document.getElementById(identity)).signal(name),
  };
})();
