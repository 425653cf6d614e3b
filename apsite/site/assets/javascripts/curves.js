/* The page of robustness curves: which setting, which of its models are drawn, what is read off, which part is in view.
 *
 * All of it lives in the address: the four words of the setting, `m` (a method, several times), `show`, `at` (the ε that
 * is read off) and `view` (part of the range of ε), ε in 255ths. Settings and curves are loaded when they are asked for;
 * those of the first view are in the page. Until something is asked for, the page stays as the build wrote it.
 */
(function () {
  "use strict";

  const block = document.getElementById("curve-data");
  if (!block) return;
  const { page, charts } = window.apsite;
  const data = page.block(block);
  const form = document.getElementById("curve-form");
  const places = document.getElementById("curve-setting");
  const WORDS = ["dataset", "network", "structure", "sparsity"];
  const slider = document.querySelector("#curve-slider input");
  const list = document.querySelector("#models tbody");
  const methods = new URL(list.querySelector("a").href.replace(/[^/]*$/, "")).href;
  const plain = { show: "joint", at: Number(slider.value), from: 0, to: data.span };
  const state = { ...plain, setting: data.setting, chosen: data.setting.first.slice() };
  const curves = new Map();
  let tokens = {};
  let view = null;
  let wide = true;
  let asked = data.setting.identity;

  /* Curves */

  function sums(differences) {
    let total = 0;
    return differences.map((difference) => (total += difference));
  }

  function unpack(packed) {
    if (!packed) return null;
    const budgets = sums(packed.budgets).map((budget) => budget / 10000);
    return { budgets, counts: sums(packed.counts), exact: sums(packed.exact) };
  }

  async function load({ key, curve }) {
    if (!curve || curves.has(key)) return;
    const found = data.curves[key] ?? (await page.data(data.folder + encodeURIComponent(key) + ".json"));
    curves.set(key, { samples: found.n_samples, hofmn: unpack(found.hofmn), joint: unpack(found.joint) });
  }

  const loadChosen = () => Promise.all(state.chosen.map((method) => load(state.setting.models[method])));

  /** Robust samples of a curve at a budget: exact at tenths of 1/255, else as drawn. */
  function countAt(steps, budget) {
    const tenth = Number((10 * budget).toFixed(6));
    if (Number.isInteger(tenth)) return steps.exact[tenth];
    let low = 0;
    let high = steps.budgets.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps.budgets[middle] <= budget) low = middle;
      else high = middle;
    }
    return steps.counts[low];
  }

  /** The curve by which a model is compared in what is shown. */
  function main(curve) {
    return state.show === "hofmn" ? curve.hofmn : (curve.joint ?? curve.hofmn);
  }

  /** Wilson 95 % interval of a share. */
  function wilson(count, samples) {
    const z = 1.959963984540054;
    const share = count / samples;
    const centre = share + (z * z) / (2 * samples);
    const spread = z * Math.sqrt((share * (1 - share)) / samples + (z * z) / (4 * samples * samples));
    const scale = 1 + (z * z) / samples;
    return [Math.max(0, (centre - spread) / scale), Math.min(1, (centre + spread) / scale)];
  }

  /** Which model's interval is above all others at each tenth of 1/255; nobody's where the first two meet. */
  function leaders(models) {
    const segments = [];
    for (let tenth = 0; tenth < 10 * data.span && models.length > 1; tenth += 1) {
      const ends = models.map(({ curve }) => wilson(main(curve).exact[tenth], curve.samples));
      const first = ends.reduce((best, [low], place) => (low > ends[best][0] ? place : best), 0);
      const alone = ends.every(([, high], place) => place === first || high < ends[first][0]);
      const { key, label, look } = alone ? models[first] : { key: "", label: data.nobody, look: { colour: data.neutral } };
      const last = segments.at(-1);
      if (last?.key === key) last.to = (tenth + 1) / 10;
      else segments.push({ key, label, from: tenth / 10, to: (tenth + 1) / 10, colour: look.colour });
    }
    return segments;
  }

  /* What the chart shows */

  function chosenModels() {
    return state.chosen.map((method, index) => {
      const model = state.setting.models[method];
      return { ...model, method, look: data.looks[index % data.looks.length], curve: curves.get(model.key) ?? null };
    });
  }

  function lines(model) {
    const row = (series, steps, width) =>
      [...steps.budgets, data.span].map((budget, index) => ({
        series: model.key + " " + series,
        budget,
        robust: (steps.counts[index] ?? steps.counts.at(-1)) / model.curve.samples,
        colour: model.look.colour,
        dash: model.look.dash,
        width,
      }));
    const found = row("main", main(model.curve), 2.4);
    return state.show === "both" && model.curve.joint ? [...found, ...row("hofmn", model.curve.hofmn, 1.2)] : found;
  }

  /** The shaded interval of the curve by which a model is compared, at every fifth of 1/255. */
  function band(model) {
    return main(model.curve)
      .exact.filter((_, tenth) => tenth % 2 === 0)
      .map((count, index) => {
        const [low, high] = wilson(count, model.curve.samples);
        return { series: model.key, budget: index / 5, low, high, colour: model.look.colour };
      });
  }

  /** Ends of the axis of shares: a tenth above all curves, or what the part in view needs. */
  function heights(models) {
    const whole = state.from === 0 && state.to === data.span;
    const shares = models.flatMap((model) => [
      ...model.points.filter(({ budget }) => budget >= state.from && budget <= state.to).flatMap((p) => [p.low, p.high]),
      ...(model.curve ? [state.from, state.to].map((at) => countAt(main(model.curve), at) / model.curve.samples) : []),
    ]);
    if (!shares.length) return [0, 1];
    if (whole) return [0, Math.min(1, (Math.floor(Math.max(...shares) * 10) + 1) / 10)];
    const [low, high] = [Math.min(...shares), Math.max(...shares)];
    const room = Math.max(0.01, (high - low) * 0.06);
    return [Math.max(0, low - room), Math.min(1, high + room)];
  }

  function chartRows() {
    const models = chosenModels();
    const drawn = models.filter(({ curve }) => curve);
    const compared = drawn.filter(({ usual }) => usual);
    const [low, high] = heights(models);
    const ends = drawn.map(({ curve }) => countAt(main(curve), state.to) / curve.samples);
    const heightsOf = page.apart(ends, 0.05 * (high - low), low, high);
    const alone = models.flatMap(({ points, label, look }) =>
      points.filter((p) => p.alone).map(({ budget, robust }) => ({ label, budget, robust, colour: look.colour })),
    );
    const placesOf = page.apart(alone.map(({ robust }) => robust), 0.05 * (high - low), low, high);
    const marks = new Set([state.setting.budget]);
    const budgetOf = (text) => (255 * text.split("/")[0]) / text.split("/")[1];
    return {
      bands: drawn.flatMap(band),
      curves: drawn.flatMap(lines),
      points: models.flatMap(({ points, label, look }) => points.map((p) => ({ ...p, label, colour: look.colour }))),
      leaders: leaders(compared),
      labels: drawn.map(({ label, look }, index) => ({
        label,
        height: heightsOf[index],
        end: ends[index],
        colour: look.colour,
      })),
      names: alone.map((point, index) => ({ ...point, height: placesOf[index] })),
      budgets: Array.from(marks, (text) => ({ budget: budgetOf(text), text: "ε = " + text })),
    };
  }

  function coloured(rows) {
    const found = {};
    for (const [name, list] of Object.entries(rows)) {
      found[name] = list.map((row) => (row.colour ? { ...row, colour: page.style(tokens[row.colour]) } : row));
    }
    return found;
  }

  function signals() {
    const [low, high] = heights(chosenModels());
    return { x_from: state.from, x_to: state.to, y_from: low, y_to: high, cursor: state.at };
  }

  /* What stands beside the chart */

  const { percent } = page;

  /** Line of a model, or the diamond of one that has no curve. */
  function swatch({ look, curve }) {
    const namespace = "http://www.w3.org/2000/svg";
    const drawing = document.createElementNS(namespace, "svg");
    const line = document.createElementNS(namespace, "line");
    const set = (element, values) => Object.entries(values).forEach(([key, value]) => element.setAttribute(key, value));
    set(drawing, { class: "ap-swatch", viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" });
    set(line, { x1: 0, y1: 4, x2: 28, y2: 4, stroke: "var(" + tokens[look.colour] + ")", "stroke-width": 2.4 });
    if (look.dash[1]) line.setAttribute("stroke-dasharray", look.dash.join(" "));
    const diamond = document.createElementNS(namespace, "path");
    set(diamond, { d: "M14 0l4 4-4 4-4-4z", fill: "var(" + tokens[look.colour] + ")" });
    drawing.append(curve ? line : diamond);
    return drawing;
  }

  /** What one model reads at the budget: shares of its two curves and the interval of the one that is compared. */
  function reading(model) {
    if (model.curve) {
      const { samples, joint, hofmn } = model.curve;
      return {
        joint: joint ? countAt(joint, state.at) / samples : null,
        hofmn: countAt(hofmn, state.at) / samples,
        bounds: wilson(countAt(main(model.curve), state.at), samples),
      };
    }
    const point = model.points.find(({ budget }) => Math.abs(budget - state.at) < 1e-9);
    return { joint: null, hofmn: null, bounds: point ? [point.low, point.high] : null };
  }

  const cell = (text) => page.make("td", { class: "ap-number" }, text);
  const share = (value, digits) => cell(typeof value === "number" ? percent(value, digits) : "–");
  const ends = (bounds) => (bounds ? percent(bounds[0], 1) + "–" + percent(bounds[1], 1) : "–");

  function readOut() {
    const atText = String(Number(state.at.toFixed(1))) + "/255";
    document.getElementById("curve-at").textContent = atText;
    document.getElementById("readout-at").textContent = atText;
    slider.value = String(state.at);
    slider.setAttribute("aria-valuetext", atText);
    const rows = chosenModels().map((model) => {
      const { joint, hofmn, bounds } = reading(model);
      const name = page.make("th", { scope: "row" }, swatch(model), " " + model.label);
      const known =
        model.curve || bounds
          ? [share(joint, 1), cell(ends(bounds)), share(hofmn, 1)]
          : [page.make("td", { colspan: 3, class: "ap-number" }, "no data at " + atText)];
      return page.make("tr", {}, name, ...known, share(model.robust, 1));
    });
    document.querySelector("#readout tbody").replaceChildren(...rows);
  }

  /** What is known of the chosen models that have no curve, and the command that draws one. */
  function sayMissing() {
    const missing = chosenModels().filter(({ curve }) => !curve);
    const known = missing.map(({ label, clean, robust, bounds, epsilon }) => {
      const before = typeof clean === "number" ? "clean " + percent(clean, 2) + " %, " : "";
      const attack = "AutoAttack " + percent(robust, 2) + " %, 95 % interval " + ends(bounds) + ", at ε = " + epsilon;
      return page.make("li", {}, page.make("b", {}, label), ": " + before + attack);
    });
    const place = document.getElementById("curve-missing");
    place.hidden = !missing.length;
    place.querySelector("ul").replaceChildren(...known);
    if (missing.length) place.querySelector("code").textContent = state.setting.command.replace("METHOD", missing[0].method);
  }

  function sayLeaders(segments) {
    const lengths = new Map();
    for (const { label, from, to } of segments) lengths.set(label, (lengths.get(label) ?? 0) + to - from);
    const part = (length) => percent(length / data.span, 0) + " %";
    const nobody = lengths.get(data.nobody) ?? 0;
    lengths.delete(data.nobody);
    const said = Array.from(lengths)
      .sort((a, b) => b[1] - a[1])
      .map(([label, length]) => label + " over " + part(length));
    if (nobody) said.push("no model over " + part(nobody));
    const range = data.span + "/255";
    document.getElementById("curve-leaders").textContent = !segments.length
      ? "The bar below the curves compares two curves or more."
      : lengths.size
        ? "Bar below the curves: the model whose 95 % interval is above those of all others: " +
          (said.join(", ") + " of the range up to " + range + ".")
        : "At no ε up to " + range + " is the 95 % interval of one model above those of all others.";
  }

  /* The setting, and tables of it */

  function listModels() {
    const rows = Object.entries(state.setting.models).map(([method, model]) => {
      const pick_ = page.make("input", { type: "checkbox", class: "ap-pick", value: method, "aria-label": "Draw " + model.label });
      const name = page.make("a", { href: methods + encodeURIComponent(method) + ".html#" + model.key }, model.label);
      const tags = model.tags.flatMap((why) => [" ", page.make("span", { class: "ap-tag ap-tag--custom" }, why)]);
      return page.make(
        "tr",
        {},
        page.make("th", { scope: "row" }, pick_, " ", name, page.make("span", { class: "ap-tags" }, ...tags)),
        page.make("td", {}, model.curve ? model.curve.toLocaleString("en") + " images" : "none"),
        share(model.clean, 2),
        share(model.robust, 2),
        cell(ends(model.bounds)),
        ...[model.hofmn, model.joint, model.area].map((value) => share(value, 2)),
      );
    });
    list.replaceChildren(...rows);
    document.getElementById("curve-title").textContent = state.setting.title;
    document.getElementById("curve-command").textContent = state.setting.command;
    const caution = document.getElementById("curve-caution");
    caution.textContent = state.setting.caution;
    caution.hidden = !state.setting.caution;
  }

  function listFigures() {
    const rows = chosenModels()
      .filter(({ curve }) => curve)
      .flatMap(({ key, label, curve }) =>
        [["envelope", curve.joint], ["HO-FMN", curve.hofmn]]
          .filter(([, steps]) => steps)
          .map(([kind, steps]) =>
            page.make(
              "tr",
              { "data-model": key },
              page.make("th", { scope: "row" }, label),
              page.make("td", {}, kind),
              cell(curve.samples.toLocaleString("en")),
              ...steps.exact.filter((_, tenth) => tenth % 10 === 0).map((count) => share(count / curve.samples, 2)),
            ),
          ),
      );
    const none = page.make("td", { colspan: data.span + 4 }, "None of these models has a curve.");
    document.querySelector("#curve-figures tbody").replaceChildren(...(rows.length ? rows : [page.make("tr", {}, none)]));
  }

  function wordsChosen() {
    return WORDS.map((name) => places.elements.namedItem(name).value);
  }

  function identityOf(words) {
    return Object.keys(data.settings).find((identity) => data.settings[identity].join() === words.join());
  }

  /** Go to a setting, keeping the chosen methods that it has, where there are any. */
  async function enter(identity, wanted) {
    asked = identity;
    try {
      const found =
        identity === data.setting.identity
          ? data.setting
          : await page.data(data.folder + "settings/" + encodeURIComponent(identity) + ".json");
      /* A later choice counts. */
      if (asked !== identity) return null;
      state.setting = found;
    } catch (error) {
      return say("The setting could not be loaded: " + error.message + ".");
    }
    const kept = wanted.filter(known);
    state.chosen = kept.length ? kept : state.setting.first.slice();
    data.settings[identity].forEach((word, place) => (places.elements.namedItem(WORDS[place]).value = word));
    listModels();
    return show();
  }

  function mark() {
    for (const pick_ of list.querySelectorAll("input.ap-pick")) {
      pick_.hidden = false;
      pick_.checked = state.chosen.includes(pick_.value);
    }
    for (const radio of form.querySelectorAll("input[name=show]")) radio.checked = radio.value === state.show;
  }

  /** Whether the setting has a model of a method. */
  const known = (key) => Object.hasOwn(state.setting.models, key);

  function remember() {
    page.remember((parameters) => {
      const elsewhere = parameters.getAll("m").filter((key) => key.split("_").length === 2 && !known(key));
      for (const name of [...WORDS, "m", "show", "at", "view"]) parameters.delete(name);
      if (state.setting !== data.setting) {
        data.settings[state.setting.identity].forEach((word, place) => parameters.set(WORDS[place], word));
      }
      if (state.chosen.join() !== state.setting.first.join()) for (const key of state.chosen) parameters.append("m", key);
      if (!state.chosen.length) parameters.set("m", "");
      for (const key of elsewhere) parameters.append("m", key);
      if (state.show !== plain.show) parameters.set("show", state.show);
      if (state.at !== plain.at) parameters.set("at", String(Number(state.at.toFixed(2))));
      if (state.from !== 0 || state.to !== data.span) {
        parameters.set("view", [state.from, state.to].map((budget) => Number(budget.toFixed(2))).join("-"));
      }
    });
  }

  function say(text) {
    document.getElementById("curve-status").textContent = text;
  }

  /* Changes */

  async function show() {
    mark();
    remember();
    const { models } = state.setting;
    for (const key of state.chosen.slice()) {
      try {
        await load(models[key]);
      } catch (error) {
        /* Another setting was chosen meanwhile. */
        if (models !== state.setting.models) return null;
        state.chosen = state.chosen.filter((other) => other !== key);
        say("The curve of " + models[key].label + " could not be loaded: " + error.message + ".");
      }
    }
    mark();
    remember();
    const rows = chartRows();
    readOut();
    sayMissing();
    sayLeaders(rows.leaders);
    listFigures();
    return view ? feed(rows) : charts.wake("curves");
  }

  /** Let the live chart show these rows and the part in view. */
  function feed(rows) {
    if (!wide) rows.labels = [];
    for (const [name, list] of Object.entries(coloured(rows))) view.data(name, list);
    for (const [name, value] of Object.entries(signals())) view.signal(name, value);
    return view.runAsync();
  }

  /** Read off another budget; only the line in the chart and the table beside it change. */
  function readAt(budget) {
    state.at = Math.min(Math.max(Math.round(budget * 10) / 10, 0), data.span);
    remember();
    readOut();
    if (view) view.signal("cursor", state.at).runAsync();
  }

  function zoom(from, to) {
    const width = Math.min(Math.max(to - from, 0.2), data.span);
    state.from = Math.min(Math.max(from, 0), data.span - width);
    state.to = state.from + width;
    show();
  }

  const zooms = {
    in: () => scale(0.5),
    out: () => scale(2),
    left: () => move(-0.25),
    right: () => move(0.25),
    all: () => zoom(0, data.span),
  };

  function scale(factor) {
    const inside = state.at > state.from && state.at < state.to;
    const centre = inside ? state.at : (state.from + state.to) / 2;
    zoom(centre - (centre - state.from) * factor, centre + (state.to - centre) * factor);
  }

  function move(part) {
    const step = part * (state.to - state.from);
    zoom(state.from + step, state.to + step);
  }

  function pick(key, wanted) {
    say("");
    const others = state.chosen.filter((other) => other !== key);
    state.chosen = wanted ? [...others, key] : others;
    show();
  }

  async function csv() {
    const lines_ = [["model_key", "what", "epsilon", "robust_samples", "samples", "accuracy"].join(",")];
    for (const { key, curve, points } of chosenModels()) {
      for (const [name, steps] of curve ? [["envelope", curve.joint], ["HO-FMN", curve.hofmn]] : []) {
        if (!steps) continue;
        steps.budgets.forEach((budget, index) => {
          const count = steps.counts[index];
          lines_.push([key, name, (budget / 255).toFixed(6), count, curve.samples, count / curve.samples].join(","));
        });
      }
      for (const { what, budget, robust } of points) {
        lines_.push([key, what, (budget / 255).toFixed(6), "", "", robust].join(","));
      }
    }
    page.save(nameOfFile() + ".csv", lines_.join("\n") + "\n", "text/csv");
  }

  function nameOfFile() {
    return ("robustness curves " + state.setting.title).toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/-$/, "");
  }

  async function picture(kind) {
    const chart = document.getElementById("curves");
    Object.assign(chart.dataset, { title: "Robustness curves", setting: state.setting.title });
    say((await window.apsite.save(chart, kind)) ?? "");
  }

  async function link(button) {
    try {
      await navigator.clipboard.writeText(window.location.href);
      say("The link to this view is copied.");
    } catch {
      say("The URL of this page links to this view.");
    }
    button.focus();
  }

  /** Width of the live drawing in its own units: the style sheet scales it. */
  function svgWidth() {
    return document.querySelector("#curves .ap-chart__view svg").viewBox.baseVal.width;
  }

  /** The ε below the pointer. */
  function budgetAt(event) {
    const box = document.querySelector("#curves .ap-chart__view svg").getBoundingClientRect();
    const across = ((event.clientX - box.left) * svgWidth()) / box.width;
    return view.scale("x").invert(across - view.padding().left - view.origin()[0]);
  }

  function listen(place) {
    let start = null;
    let brush = null;
    const inside = (event) => {
      const budget = budgetAt(event);
      return budget >= state.from && budget <= state.to ? budget : null;
    };
    const finish = () => {
      brush?.remove();
      start = brush = null;
    };
    place.addEventListener("pointermove", (event) => {
      if (!view) return;
      const budget = inside(event);
      if (budget !== null) readAt(budget);
      if (!start) return;
      const from = Math.min(start.x, event.clientX);
      const box = place.getBoundingClientRect();
      if (!brush && Math.abs(event.clientX - start.x) > 6) place.append((brush = page.make("div", { class: "ap-brush" })));
      if (brush) Object.assign(brush.style, { left: from - box.left + "px", width: Math.abs(event.clientX - start.x) + "px" });
    });
    place.addEventListener("pointerdown", (event) => {
      const budget = view && event.pointerType !== "touch" && event.button === 0 ? inside(event) : null;
      if (budget !== null) start = { budget, x: event.clientX };
    });
    place.addEventListener("pointerup", (event) => {
      const end = brush ? Math.min(Math.max(budgetAt(event), state.from), state.to) : null;
      const from = start?.budget;
      finish();
      if (end !== null) zoom(Math.min(from, end), Math.max(from, end));
    });
    place.addEventListener("pointerleave", finish);
    place.addEventListener("dblclick", zooms.all);
  }

  charts.own("curves", {
    prepare(spec) {
      tokens = spec.usermeta.tokens;
      const rows = coloured(chartRows());
      wide = !(spec.usermeta.narrow && spec.padding.right === spec.usermeta.narrow.right);
      if (!wide) for (const name of spec.usermeta.narrow.without) rows[name] = [];
      for (const set of spec.data) set.values = rows[set.name] ?? set.values;
      const values = signals();
      for (const signal of spec.signals) if (signal.name in values) signal.value = values[signal.name];
    },
    drawn(live) {
      view = live;
      /* The choice may have changed since the chart was prepared. */
      return feed(chartRows());
    },
    before: loadChosen,
  });

  function start() {
    tokens = page.block(document.querySelector("#curves script[type='application/json']")).usermeta.tokens;
    const parameters = page.parameters();
    const shown = parameters.get("show");
    if (["hofmn", "both"].includes(shown)) state.show = shown;
    const at = Number.parseFloat(parameters.get("at") ?? "");
    if (at >= 0 && at <= data.span) state.at = at;
    const [from, to] = (parameters.get("view") ?? "").split("-").map(Number.parseFloat);
    if (from >= 0 && to > from && to <= data.span) Object.assign(state, { from, to });

    form.hidden = places.hidden = false;
    slider.closest("p").hidden = false;
    mark();
    // A model key, as older links have it, names the setting and the method.
    const wanted = parameters.getAll("m");
    const models = wanted.map((key) => Object.keys(data.settings).find((identity) => key.endsWith("_" + identity)));
    const settingOfModels = models.find((identity) => identity);
    const methodsWanted = wanted.map((key, place) => (models[place] ? key.slice(0, -models[place].length - 1) : key));
    if (WORDS.some((name) => parameters.has(name))) {
      for (const name of WORDS) if (parameters.has(name)) places.elements.namedItem(name).value = parameters.get(name);
      charts.settle(places, "");
      enter(identityOf(wordsChosen()), methodsWanted);
    } else if (settingOfModels) enter(settingOfModels, methodsWanted);
    else if (parameters.has("m")) {
      const found = methodsWanted.filter(known);
      state.chosen = found.length || parameters.get("m") === "" ? found : state.chosen;
      show();
    } else if (["show", "at", "view"].some((name) => parameters.has(name))) show();

    window.addEventListener("apsite:address", () => {
      const keys = page.parameters().getAll("m");
      const found = keys.some(known) || keys[0] === "" ? keys.filter(known) : state.setting.first;
      if (found.join() === state.chosen.join()) return;
      state.chosen = found.slice();
      show();
    });
    places.addEventListener("submit", (event) => event.preventDefault());
    places.addEventListener("change", (event) => {
      charts.settle(places, event.target.name);
      enter(identityOf(wordsChosen()), state.chosen);
    });
    for (const link_ of document.querySelectorAll("a.ap-setting-link")) {
      const { setting } = link_.dataset;
      link_.href = "?" + new URLSearchParams(WORDS.map((name, place) => [name, data.settings[setting][place]]));
      link_.addEventListener("click", (event) => {
        event.preventDefault();
        enter(setting, state.chosen);
        places.scrollIntoView();
      });
    }
    list.addEventListener("change", (event) => pick(event.target.value, event.target.checked));
    form.addEventListener("change", (event) => {
      state.show = event.target.value;
      show();
    });
    form.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.zoom) zooms[button.dataset.zoom]();
      const kind = button?.dataset.save;
      if (kind === "csv") loadChosen().then(csv);
      else if (kind === "link") link(button);
      else if (kind) picture(kind);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    slider.addEventListener("input", () => loadChosen().then(() => readAt(Number(slider.value))));
    listen(document.querySelector("#curves .ap-chart__view"));
  }

  start();
})();
