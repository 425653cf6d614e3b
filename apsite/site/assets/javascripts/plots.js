/* Drawn plots: highlighted methods, and what the mark nearest to the pointer or the keyboard says.
 *
 * A trend (`.ap-trend`) highlights the methods that are picked in its table; they live in the address as `m`. Every plot
 * (`.ap-plot`) names its marks: nearest to the pointer, at a tap, or one after the other with the arrow keys.
 */
(function () {
  "use strict";

  const { page } = window.apsite;
  const NAMESPACE = "http://www.w3.org/2000/svg";
  const LABEL_HEIGHT = 16;
  const LABEL_GAP = 18;
  const REACH = 28;

  function shape(name, attributes, ...children) {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  const numbers = (text) => text.split(" ").map(Number);

  /* Trends */

  function trend(plot) {
    const { looks, shapes } = page.block(plot.querySelector("script"));
    const rows = Array.from(plot.querySelectorAll("tbody tr"));
    const byMethod = new Map(rows.map((row) => [row.dataset.method, row]));
    const first = plot.dataset.first.split(" ");
    let chosen = first;
    let pointed = null;

    /** Take the picked methods from the address; an empty `m` is a choice of none. */
    function read() {
      const wanted = page.parameters().getAll("m");
      const known = wanted.filter((method) => byMethod.has(method));
      chosen = known.length || wanted[0] === "" ? known : first;
    }

    const columns = Array.from(plot.querySelectorAll("thead th"), (head) => head.textContent.trim()).slice(1);
    const dense = columns[0] === "dense";

    const shares = (row) => Array.from(row.querySelectorAll("td"), (cell) => (cell.dataset.value === "" ? null : Number(cell.dataset.value)));

    /** Where the marks of a row are in a drawing; null where it has none. */
    function places(svg, row) {
      const [left, right, top, bottom] = numbers(svg.dataset.frame);
      const [low, high] = numbers(svg.dataset.ends);
      const parts = numbers(svg.dataset.columns);
      return shares(row).map((share, column) =>
        share === null ? null : [left + (right - left) * parts[column], bottom - ((bottom - top) * (share - low)) / (high - low)],
      );
    }

    const path = (found) =>
      found.map((at, index) => (at && found[index + 1] ? "M" + at.join(" ") + "L" + found[index + 1].join(" ") : "")).join("") +
      found.map((at) => (at ? "M" + at.join(" ") + "h0" : "")).join("");

    /** A look for each method, its own where none before it has it or its colour, else the next that is free. */
    function looksOf(methods) {
      const taken = [];
      for (const method of methods) {
        const own = Number(byMethod.get(method).dataset.look);
        const places = looks.map((_, index) => (own + index) % looks.length);
        const fresh = places.filter((place) => !taken.some((other) => looks[other].colour === looks[place].colour));
        taken.push([...fresh, ...places].find((place) => !taken.includes(place)) ?? own);
      }
      return taken.map((place) => looks[place]);
    }

    function draw() {
      const methods = pointed && !chosen.includes(pointed) ? [...chosen, pointed] : chosen;
      const styles = looksOf(methods);
      for (const svg of plot.querySelectorAll("svg[data-frame]")) {
        const [, right, top, bottom] = numbers(svg.dataset.frame);
        const found = methods.map((method) => places(svg, byMethod.get(method)));
        const ends = found.map((marks) => marks.filter(Boolean).at(-1));
        const heights = page.apart(ends.map((end) => end[1]), LABEL_HEIGHT, top + 4, bottom - 4);
        const groups = methods.map((method, index) => {
          const { colour, dash, mark } = styles[index];
          const marks = found[index];
          const begin = dense && marks[0] && marks[1] ? path(marks.slice(0, 2)) : "";
          const at = right + LABEL_GAP;
          const thick = method === pointed ? " ap-plot__line--pointed" : "";
          return shape(
            "g",
            { "data-method": method, color: "var(" + colour + ")" },
            shape("path", { class: "ap-plot__dense", d: begin }),
            shape("path", { class: "ap-plot__line" + thick, d: path(dense ? marks.slice(1) : marks), "stroke-dasharray": dash }),
            ...marks.filter(Boolean).map((place) =>
              shape("path", { class: "ap-plot__mark", d: shapes[mark], transform: "translate(" + place.join(" ") + ")" }),
            ),
            shape("path", {
              class: "ap-plot__leader",
              d: "M" + (ends[index][0] + 6) + " " + ends[index][1] + "L" + (at - 3) + " " + heights[index],
            }),
            shape("text", { class: "ap-panel__label", x: at, y: heights[index] + 4 }, byMethod.get(method).dataset.label),
          );
        });
        svg.querySelector(".ap-plot__lit").replaceChildren(...groups);
      }
      const curves = plot.querySelector(".ap-trend__curves");
      const address = new URL(curves.href);
      address.searchParams.delete("m");
      for (const method of chosen) address.searchParams.append("m", method);
      curves.href = address.href;
      rows.forEach((row) => {
        const index = methods.indexOf(row.dataset.method);
        row.querySelector(".ap-swatch")?.remove();
        if (index >= 0) row.querySelector(".ap-plot__swatch").append(swatch(styles[index]));
        row.querySelector(".ap-pick").checked = chosen.includes(row.dataset.method);
        row.classList.toggle("ap-plot__row", row.dataset.method === pointed);
      });
    }

    function swatch({ colour, dash, mark }) {
      const line = shape("line", { x1: 0, y1: 5, x2: 28, y2: 5, stroke: "currentColor", "stroke-width": 2.2, "stroke-dasharray": dash });
      const centre = shape("path", { d: shapes[mark], transform: "translate(14 5)", fill: "currentColor" });
      const sizes = { viewBox: "0 0 28 10", width: 28, height: 10, "aria-hidden": "true" };
      return shape("svg", { class: "ap-swatch", color: "var(" + colour + ")", ...sizes }, line, centre);
    }

    function pick(method, wanted) {
      const keys = wanted ? [...chosen, method] : chosen.filter((other) => other !== method);
      page.remember((parameters) => {
        const elsewhere = parameters.getAll("m").filter((key) => key && !byMethod.has(key));
        parameters.delete("m");
        if (!keys.length) parameters.append("m", "");
        if (keys.join() !== first.join()) for (const key of keys) parameters.append("m", key);
        for (const key of elsewhere) parameters.append("m", key);
      });
    }

    function point(method) {
      if (method === pointed) return;
      pointed = method;
      draw();
    }

    for (const row of rows) {
      const box = row.querySelector(".ap-pick");
      box.hidden = false;
      box.addEventListener("change", () => pick(row.dataset.method, box.checked));
      row.addEventListener("pointerenter", () => point(row.dataset.method));
      row.addEventListener("pointerleave", () => point(null));
    }
    window.addEventListener("apsite:address", () => {
      read();
      draw();
    });
    read();
    draw();

    return {
      point: (mark) => point(mark ? mark.method : null),
      press: (mark) => pick(mark.method, !chosen.includes(mark.method)),
      marks: (svg) =>
        rows.flatMap((row) => {
          const cells = Array.from(row.querySelectorAll("td"));
          return places(svg, row).flatMap((at, column) => {
            const interval = cells[column].dataset.interval;
            const more = interval ? " (95 % interval " + interval + ")" : "";
            const text = row.dataset.label + ", " + columns[column] + ": " + cells[column].textContent + " %" + more;
            return at ? [{ at, text, method: row.dataset.method }] : [];
          });
        }),
    };
  }

  /* Every plot */

  /** Marks that the build drew, with what they say. */
  function drawn() {
    const marks = (svg) =>
      Array.from(svg.querySelectorAll("[data-text]"), (mark) => ({
        at: [Number(mark.dataset.x), Number(mark.dataset.y)],
        text: mark.dataset.text,
        mark,
      }));
    let last = null;
    return {
      marks,
      press() {},
      point(found) {
        last?.classList.remove("ap-plot__mark--pointed");
        last = found?.mark ?? null;
        last?.classList.add("ap-plot__mark--pointed");
      },
    };
  }

  function name(plot) {
    const { point, press, marks } = plot.classList.contains("ap-trend") ? trend(plot) : drawn();
    const readout = plot.querySelector(".ap-plot__readout");
    const rest = readout.textContent;
    const say = (mark) => {
      readout.textContent = mark ? mark.text : rest;
      point(mark);
    };

    function nearest(svg, event) {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      const distance = ({ at }) => Math.hypot(at[0] - x, at[1] - y);
      const best = marks(svg).reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
      return best && distance(best) <= REACH * Math.max(1, scale) ? best : null;
    }

    for (const view of plot.querySelectorAll(".ap-plot__view")) {
      let place = -1;
      view.addEventListener("pointermove", (event) => {
        const svg = event.target.closest("svg");
        if (svg) say(nearest(svg, event));
      });
      view.addEventListener("pointerleave", () => say(null));
      view.addEventListener("blur", () => say(null));
      view.addEventListener("click", (event) => {
        const svg = event.target.closest("svg");
        const mark = svg && nearest(svg, event);
        if (!mark) return;
        say(mark);
        press(mark);
      });
      view.addEventListener("keydown", (event) => {
        const svg = Array.from(view.querySelectorAll("svg")).find((one) => one.getClientRects().length);
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        const all = svg ? marks(svg) : [];
        if (step && all.length) {
          event.preventDefault();
          place = place < 0 ? (step > 0 ? 0 : all.length - 1) : (place + step + all.length) % all.length;
          say(all[place]);
        } else if (event.key === "Enter" && all[place]) press(all[place]);
        else if (event.key === "Escape") say(null);
      });
    }
  }

  for (const plot of document.querySelectorAll(".ap-plot")) name(plot);
})();
