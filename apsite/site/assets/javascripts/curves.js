/* The page of robustness curves: which models are drawn, what is read off, which part is in view.
 *
 * The selection and the view live in the address: `m` (a model, several times), `show`, `at` (budget that is read off)
 * and `view` (part of the budgets), budgets in 255ths. Curves are loaded one by one when they are asked for; those of
 * the first selection stand in the page. Until something is asked for, the page stays as the build wrote it.
 */
(function () {
  "use strict";

  const block = document.getElementById("curve-data");
  if (!block) return;
  const { page, charts } = window.apsite;
  const data = page.block(block);
  const form = document.getElementById("curve-form");
  const slider = document.querySelector("#curve-slider input");
  const picks = Array.from(document.querySelectorAll("input.ap-pick"));
  const plain = { show: "joint", at: Number(slider.value), from: 0, to: data.span };
  const state = { ...plain, chosen: data.first.slice() };
  const curves = new Map();
  let tokens = {};
  let view = null;
  let wide = true;

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

  async function load(key) {
    if (!data.models[key].curve || curves.has(key)) return;
    const found = data.curves[key] ?? (await page.data(data.folder + encodeURIComponent(key) + ".json"));
    curves.set(key, { samples: found.n_samples, hofmn: unpack(found.hofmn), joint: unpack(found.joint) });
  }

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

  /** Which model is most robust at each tenth of 1/255; where two are equal, the one that led before stays. */
  function leaders(models) {
    const segments = [];
    for (let tenth = 0; tenth < 10 * data.span; tenth += 1) {
      const shares = models.map(({ curve }) => main(curve).exact[tenth] / curve.samples);
      const highest = Math.max(...shares);
      const last = segments.at(-1);
      const leader = last && shares[last.place] === highest ? last.place : shares.indexOf(highest);
      const to = (tenth + 1) / 10;
      if (last && leader === last.place) last.to = to;
      else {
        const { key, label, look } = models[leader];
        segments.push({ place: leader, key, label, from: tenth / 10, to, colour: look.colour });
      }
    }
    return segments;
  }

  /** Heights moved as little as needed to keep `gap` between neighbours. */
  function apart(heights, gap, low, high) {
    const order = heights.map((_, index) => index).sort((a, b) => heights[a] - heights[b]);
    let placed = order.map((index) => Math.min(Math.max(heights[index], low), high));
    for (let round = 0; round < 200; round += 1) {
      let moved = false;
      for (let index = 1; index < placed.length; index += 1) {
        const short = gap - (placed[index] - placed[index - 1]);
        if (short > 1e-9) {
          placed[index - 1] -= short / 2;
          placed[index] += short / 2;
          moved = true;
        }
      }
      placed = placed.map((height) => Math.min(Math.max(height, low), high));
      if (!moved) break;
    }
    const result = [];
    order.forEach((index, position) => (result[index] = placed[position]));
    return result;
  }

  /* What the chart shows */

  function chosenModels() {
    return state.chosen.map((key, index) => ({
      key,
      ...data.models[key],
      look: data.looks[index % data.looks.length],
      curve: curves.get(key) ?? null,
    }));
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
    const places = apart(ends, 0.05 * (high - low), low, high);
    const marks = new Set(models.map(({ epsilon }) => epsilon));
    const budgetOf = (text) => (255 * text.split("/")[0]) / text.split("/")[1];
    return {
      curves: drawn.flatMap(lines),
      points: models.flatMap(({ points, label, look }) => points.map((p) => ({ ...p, label, colour: look.colour }))),
      leaders: compared.length ? leaders(compared) : [],
      labels: drawn.map(({ label, look }, index) => ({ label, height: places[index], colour: look.colour })),
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

  function readOut() {
    const atText = String(Number(state.at.toFixed(1))) + "/255";
    document.getElementById("curve-at").textContent = atText;
    document.getElementById("readout-at").textContent = atText;
    slider.value = String(state.at);
    slider.setAttribute("aria-valuetext", atText);
    const cell = (text) => page.make("td", { class: "ap-number" }, text);
    const rows = chosenModels().map((model) => {
      const { joint, hofmn, bounds } = reading(model);
      return page.make(
        "tr",
        {},
        page.make("th", { scope: "row" }, swatch(model), " " + model.label),
        cell(joint === null ? "–" : percent(joint, 1)),
        cell(hofmn === null ? "–" : percent(hofmn, 1)),
        cell(bounds ? percent(bounds[0], 1) + "–" + percent(bounds[1], 1) : "–"),
      );
    });
    document.querySelector("#readout tbody").replaceChildren(...rows);
  }

  function sayLeaders(segments) {
    const lengths = new Map();
    for (const { label, from, to } of segments) lengths.set(label, (lengths.get(label) ?? 0) + to - from);
    const said = Array.from(lengths)
      .sort((a, b) => b[1] - a[1])
      .map(([label, length]) => label + " over " + percent(length / data.span, 0) + " %")
      .join(", ");
    document.getElementById("curve-leaders").textContent = said
      ? "Bar below the curves: the most robust model at each ε. It is " + said + " of the range up to " + data.span + "/255."
      : "Bar below the curves: no curve is drawn.";
  }

  function mark() {
    for (const pick of picks) pick.checked = state.chosen.includes(pick.value);
    for (const row of document.querySelectorAll("#curve-figures tr[data-model]")) {
      row.hidden = state.chosen.length > 0 && !state.chosen.includes(row.dataset.model);
    }
    for (const radio of form.querySelectorAll("input[name=show]")) radio.checked = radio.value === state.show;
  }

  function remember() {
    page.remember((parameters) => {
      for (const name of ["m", "show", "at", "view"]) parameters.delete(name);
      if (state.chosen.join() !== data.first.join()) for (const key of state.chosen) parameters.append("m", key);
      if (!state.chosen.length) parameters.set("m", "");
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
    for (const key of state.chosen.slice()) {
      try {
        await load(key);
      } catch (error) {
        state.chosen = state.chosen.filter((other) => other !== key);
        say("The curve of " + data.models[key].label + " could not be loaded: " + error.message + ".");
      }
    }
    mark();
    remember();
    const rows = chartRows();
    readOut();
    sayLeaders(rows.leaders);
    if (!view) return charts.wake("curves");
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
    const same = others.filter((other) => data.models[other].dataset === data.models[key].dataset);
    if (wanted && same.length < others.length) say("Curves of one dataset at a time: those of the other one are gone.");
    state.chosen = wanted ? [...same, key] : others;
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
    page.save("curves.csv", lines_.join("\n") + "\n", "text/csv");
  }

  async function picture(kind) {
    const live = (await charts.wake("curves")).view;
    if (kind === "svg") return page.save("curves.svg", await live.toSVG(), "image/svg+xml");
    const canvas = await live.toCanvas(2);
    return canvas.toBlob((blob) => page.save("curves.png", blob, "image/png"));
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

  /** The budget below the pointer. */
  function budgetAt(event) {
    const box = document.querySelector("#curves .ap-chart__view svg").getBoundingClientRect();
    return view.scale("x").invert(event.clientX - box.left - view.padding().left - view.origin()[0]);
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
      spec.datasets = { ...spec.datasets, ...coloured(chartRows()) };
      wide = !(spec.usermeta.narrow && spec.padding.right === spec.usermeta.narrow.right);
      if (!wide) for (const name of spec.usermeta.narrow.without) spec.datasets[name] = [];
      const values = signals();
      for (const parameter of spec.params) if (parameter.name in values) parameter.value = values[parameter.name];
    },
    drawn(live) {
      view = live;
    },
    before: () => Promise.all(state.chosen.map(load)),
  });

  function start() {
    tokens = page.block(document.querySelector("#curves script[type='application/json']")).usermeta.tokens;
    const parameters = page.parameters();
    if (parameters.has("m")) state.chosen = parameters.getAll("m").filter((key) => Object.hasOwn(data.models, key));
    const shown = parameters.get("show");
    if (["hofmn", "both"].includes(shown)) state.show = shown;
    const at = Number.parseFloat(parameters.get("at") ?? "");
    if (at >= 0 && at <= data.span) state.at = at;
    const [from, to] = (parameters.get("view") ?? "").split("-").map(Number.parseFloat);
    if (from >= 0 && to > from && to <= data.span) Object.assign(state, { from, to });

    form.hidden = false;
    slider.closest("p").hidden = false;
    for (const pick_ of picks) pick_.hidden = false;
    mark();
    if (["m", "show", "at", "view"].some((name) => parameters.has(name))) show();

    for (const box of picks) box.addEventListener("change", () => pick(box.value, box.checked));
    form.addEventListener("change", (event) => {
      state.show = event.target.value;
      show();
    });
    form.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button?.dataset.zoom) zooms[button.dataset.zoom]();
      const kind = button?.dataset.save;
      if (kind === "csv") Promise.all(state.chosen.map(load)).then(csv);
      else if (kind === "link") link(button);
      else if (kind) picture(kind);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    slider.addEventListener("input", () => Promise.all(state.chosen.map(load)).then(() => readAt(Number(slider.value))));
    listen(document.querySelector("#curves .ap-chart__view"));
  }

  start();
})();
