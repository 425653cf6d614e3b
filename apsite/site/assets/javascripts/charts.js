/* Charts: each `.ap-chart` holds its specification as JSON and names the script that draws it.
 *
 * The drawing script is loaded on pages with charts only. It runs under a policy without `eval`, so expressions are
 * interpreted (`ast`). Colours come from the page's style, so that a chart follows the light or dark scheme.
 */
(function () {
  "use strict";

  const charts = Array.from(document.querySelectorAll(".ap-chart"));
  if (!charts.length) return;
  const views = new Map();

  function load(address) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = address;
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Error("cannot load " + address)));
      document.head.append(script);
    });
  }

  function colour(name) {
    return window.getComputedStyle(document.body).getPropertyValue(name).trim();
  }

  function configuration() {
    const ink = colour("--ap-ink");
    const muted = colour("--ap-muted");
    const line = colour("--ap-line");
    const font = window.getComputedStyle(document.body).fontFamily;
    return {
      background: "transparent",
      font,
      axis: {
        labelColor: muted,
        titleColor: ink,
        gridColor: line,
        domainColor: line,
        tickColor: line,
        labelFontSize: 12,
        titleFontSize: 12,
        titleFontWeight: 500,
        titlePadding: 10,
        gridOpacity: 0.7,
      },
      text: { color: ink },
      legend: { labelColor: ink, titleColor: muted },
    };
  }

  /** The specification in the colours of the page's scheme. */
  function coloured(text) {
    const values = { ink: colour("--ap-ink"), muted: colour("--ap-muted"), paper: colour("--ap-paper") };
    const plain = JSON.parse(text);
    const dark = document.body.dataset.mdColorScheme === "slate";
    const swaps = new Map(Object.entries((dark && plain.usermeta?.dark) || {}));
    const copy = JSON.parse(text, (key, value) => swaps.get(value) ?? value);
    for (const parameter of copy.params ?? []) {
      if (parameter.name in values) parameter.value = values[parameter.name];
    }
    return copy;
  }

  function choicesOf(chart) {
    return document.querySelector('form.ap-choices[data-chart="' + CSS.escape(chart.id) + '"]');
  }

  function applyChoices(form, view) {
    for (const [name, value] of new FormData(form)) view.signal(name, value);
    return view.runAsync();
  }

  async function draw(chart) {
    const form = choicesOf(chart);
    const spec = coloured(chart.querySelector("script[type='application/json']").textContent);
    if (form) {
      const values = Object.fromEntries(new FormData(form));
      for (const parameter of spec.params ?? []) if (parameter.name in values) parameter.value = values[parameter.name];
    }
    views.get(chart)?.finalize();
    const result = await window.vegaEmbed(chart.querySelector(".ap-chart__view"), spec, {
      ast: true,
      renderer: "svg",
      config: configuration(),
      defaultStyle: false,
      actions: { export: true, source: false, compiled: false, editor: false },
      downloadFileName: chart.id,
      tooltip: { theme: "apsite", disableDefaultStyle: true },
    });
    views.set(chart, result);
    chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
    return result;
  }

  /** Combinations of values that have data; the form holds them in the order of its groups. */
  function combinationsOf(form) {
    return JSON.parse(form.querySelector("script").textContent);
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

  function prepareChoices(chart) {
    const form = choicesOf(chart);
    if (!form) return;
    const parameters = new URLSearchParams(window.location.search);
    for (const radio of form.querySelectorAll("input[type=radio]")) {
      if (parameters.get(radio.name) === radio.value) radio.checked = true;
    }
    settle(form, "");
    form.removeAttribute("hidden");
    form.addEventListener("change", (event) => {
      settle(form, event.target.name);
      const now = new URLSearchParams(window.location.search);
      for (const [name, value] of new FormData(form)) now.set(name, value);
      try {
        window.history.replaceState(null, "", window.location.pathname + "?" + now + window.location.hash);
      } catch {
        /* Some browsers keep the address of a page on disk as it is. */
      }
      const result = views.get(chart);
      if (result) applyChoices(form, result.view);
    });
  }

  async function start() {
    charts.forEach(prepareChoices);
    await load(charts[0].dataset.bundle);
    for (const chart of charts) await draw(chart);
    const observer = new MutationObserver(() => charts.forEach(draw));
    observer.observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
  }

  start().catch((error) => {
    for (const chart of charts) {
      const message = document.createElement("p");
      message.textContent = "The chart could not be drawn (" + error.message + "); the table below has its figures.";
      chart.querySelector(".ap-chart__view").replaceChildren(message);
    }
  });
})();
