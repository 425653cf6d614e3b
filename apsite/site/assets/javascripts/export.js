/* Charts as files: SVG, PNG and PDF in the colours of the light page, CSV from the table of the chart, and a frame to embed.
 *
 * A picture has the title, the setting and the source of its chart in it. The PDF is written here from the same SVG: lines,
 * shapes and text stay what they are, in the fonts that every reader of PDF has.
 */
(function () {
  "use strict";

  const { page } = window.apsite;
  const NAMESPACE = "http://www.w3.org/2000/svg";
  const FONT = "Helvetica, Arial, sans-serif";
  const STYLES = [
    "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "opacity", "fill-opacity", "stroke-opacity",
    "font-size", "font-weight", "text-anchor",
  ];
  const MARGIN = 16;

  function shape(name, attributes, ...children) {
    const element = document.createElementNS(NAMESPACE, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  function facts(chart) {
    const title = chart.dataset.title ?? chart.getAttribute("aria-label").split(/[,;]/)[0];
    const setting = chart.dataset.setting ?? "";
    const source = "apsite" + (chart.dataset.snapshot ? ", snapshot " + chart.dataset.snapshot : "");
    const name = [title, setting].join(" ").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
    return { title, setting, source: "Source: " + source + ", " + window.location.href.split(/[?#]/)[0], name };
  }

  /* The picture */

  /** Drawings of a chart that are shown, the wide ones of a plot whatever the width of the page. */
  function drawings(chart) {
    const live = chart.querySelector(".ap-chart__view svg");
    if (live) return [live];
    const still = Array.from(chart.querySelectorAll(".ap-drawing--wide svg"));
    return still.length ? still : Array.from(chart.querySelectorAll("svg[role=img]:not(.ap-plot__narrow)"));
  }

  /** Calls back with a place outside the view in which everything has the colours of the light page. */
  function inLight(call) {
    const place = page.make("div", { "data-md-color-scheme": "default", class: "ap-plot ap-chart ap-export", "aria-hidden": "true" });
    document.body.append(place);
    try {
      return call(place);
    } finally {
      place.remove();
    }
  }

  /** Colours of a live chart in the scheme of the page, each with that of the light page. */
  function lightened(place) {
    const probe = page.make("span");
    const read = (home, value) => {
      home.append(probe);
      probe.style.color = value;
      return window.getComputedStyle(probe).color;
    };
    const names = ["ink", "muted", "line", "paper", "series-neutral", ...Array.from({ length: 7 }, (_, n) => "series-" + (n + 1))];
    return new Map(names.map((name) => [read(document.body, "var(--ap-" + name + ")"), read(place, "var(--ap-" + name + ")")]));
  }

  /** Write what the style sheet says into the attributes, and drop all else. */
  function inline(element, colours) {
    const style = window.getComputedStyle(element);
    const values = STYLES.map((name) => [name, style.getPropertyValue(name)]);
    const gone = style.display === "none" && !element.matches("svg");
    for (const child of Array.from(element.children)) inline(child, colours);
    if (gone || element.matches("title, script")) return element.remove();
    for (const { name } of Array.from(element.attributes)) {
      if (/^(class|style|role|tabindex|aria-.*|data-.*|color)$/.test(name)) element.removeAttribute(name);
    }
    if (element.matches("svg, g, defs, clipPath, clipPath *")) {
      if (style.opacity !== "1") element.setAttribute("opacity", style.opacity);
      return undefined;
    }
    for (const [name, value] of values) {
      const plain = value.replace(/px\b/g, "");
      element.setAttribute(name, colours.get(plain) ?? plain);
    }
    element.removeAttribute("style");
    return undefined;
  }

  /** The whole picture as an SVG element: title and setting, the drawings side by side, the source. */
  function compose(chart, place) {
    const { title, setting, source } = facts(chart);
    const live = Boolean(chart.querySelector(".ap-chart__view svg"));
    const colours = live ? lightened(place) : new Map();
    let x = MARGIN;
    let height = 0;
    const tiles = drawings(chart).map((drawing) => {
      const box = drawing.viewBox.baseVal;
      const caption = drawing.closest("figure")?.querySelector("figcaption")?.textContent ?? "";
      const copy = drawing.cloneNode(true);
      place.append(copy);
      inline(copy, colours);
      copy.remove();
      for (const [key, value] of Object.entries({ x, y: 62 + (caption ? 14 : 0), width: box.width, height: box.height, overflow: "visible" })) {
        copy.setAttribute(key, value);
      }
      const head = caption ? [words(x, 66, caption, 12, "bold")] : [];
      x += box.width + MARGIN;
      height = Math.max(height, box.height + (caption ? 14 : 0));
      return [...head, copy];
    });
    const size = { width: x, height: height + 100 };
    return shape(
      "svg",
      { xmlns: NAMESPACE, viewBox: "0 0 " + size.width + " " + size.height, ...size, "font-family": FONT },
      shape("rect", { x: 0, y: 0, ...size, fill: "rgb(255, 255, 255)" }),
      words(MARGIN, 26, title, 16, "bold"),
      words(MARGIN, 44, setting, 12, "normal"),
      ...tiles.flat(),
      words(MARGIN, size.height - 12, source, 10, "normal", "rgb(91, 102, 109)"),
    );
  }

  function words(x, y, text, size, weight, fill = "rgb(26, 33, 37)") {
    return shape("text", { x, y, "font-size": size, "font-weight": weight === "bold" ? 700 : 400, fill }, text);
  }

  const svgText = (chart) => inLight((place) => new XMLSerializer().serializeToString(compose(chart, place)));

  function png(chart) {
    const text = svgText(chart);
    const picture = new Image();
    return new Promise((resolve, reject) => {
      picture.addEventListener("error", () => reject(new Error("the picture cannot be drawn")));
      picture.addEventListener("load", () => {
        const canvas = page.make("canvas", { width: 3 * picture.width, height: 3 * picture.height });
        const context = canvas.getContext("2d");
        context.scale(3, 3);
        context.drawImage(picture, 0, 0);
        canvas.toBlob(resolve, "image/png");
      });
      picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
    });
  }

  /* PDF */

  const GREEK = { "ε": "e", "∞": "\xa5", "≤": "\xa3", "≥": "\xb3", "α": "a", "β": "b", "λ": "l", "σ": "s" };
  const LATIN = { "–": "\x96", "—": "\x97", "’": "\x92", "‘": "\x91", "“": "\x93", "”": "\x94", "…": "\x85", "•": "\x95", "−": "-" };

  /** Parts of a text in the two fonts, in their encodings; what neither has is without its accent, or a question mark. */
  function runs(text) {
    const found = [];
    for (const letter of text) {
      const symbol = GREEK[letter];
      const bare = letter.normalize("NFKD").replace(/[^ -~]/g, "");
      const code = symbol ?? LATIN[letter] ?? (letter <= "~" || (letter >= "\xa0" && letter <= "\xff") ? letter : bare || "?");
      const font = symbol ? "S" : "H";
      if (found.at(-1)?.font === font) found.at(-1).text += code;
      else found.push({ font, text: code });
      found.at(-1).seen = (found.at(-1).seen ?? "") + letter;
    }
    return found;
  }

  const number = (value) => String(Number(Number(value).toFixed(3)));
  const escaped = (text) => text.replace(/[\\()]/g, "\\$&");

  function rgb(value) {
    const parts = (value ?? "").match(/[\d.]+/g);
    if (!value || value === "none" || value === "transparent" || !parts || parts[3] === "0") return null;
    return parts.slice(0, 3).map((part) => number(part / 255)).join(" ");
  }

  /** Outline of an element as PDF operators. Lines are exact; arcs and curves become short lines. */
  function outline(element) {
    const value = (name) => Number(element.getAttribute(name) ?? 0);
    if (element.matches("line")) return number(value("x1")) + " " + number(value("y1")) + " m " + number(value("x2")) + " " + number(value("y2")) + " l";
    if (element.matches("rect")) return ["x", "y", "width", "height"].map((name) => number(value(name))).join(" ") + " re";
    if (element.matches("circle") || /[acqst]/i.test(element.getAttribute("d") ?? "")) return sampled(element);
    let at = [0, 0];
    let start = at;
    const found = [];
    for (const [, letter, rest] of (element.getAttribute("d") ?? "").matchAll(/([mlhvz])([^mlhvz]*)/gi)) {
      const values = (rest.match(/-?[\d.]+(?:e-?\d+)?/gi) ?? []).map(Number);
      const kind = letter.toUpperCase();
      if (kind === "Z") {
        found.push("h");
        at = start;
        continue;
      }
      const stride = kind === "H" || kind === "V" ? 1 : 2;
      for (let index = 0; index < values.length; index += stride) {
        const from = letter === kind ? [0, 0] : at;
        if (kind === "H") at = [from[0] + values[index], at[1]];
        else if (kind === "V") at = [at[0], from[1] + values[index]];
        else at = [from[0] + values[index], from[1] + values[index + 1]];
        const move = kind === "M" && index === 0;
        if (move) start = at;
        found.push(at.map(number).join(" ") + (move ? " m" : " l"));
      }
    }
    return found.join(" ");
  }

  function sampled(element) {
    const length = element.getTotalLength();
    const count = Math.min(600, Math.max(16, Math.ceil(length / 0.7)));
    const points = Array.from({ length: count + 1 }, (_, index) => element.getPointAtLength((length * index) / count));
    return points.map(({ x, y }, index) => number(x) + " " + number(y) + (index ? " l" : " m")).join(" ") + (element.matches("circle") ? " h" : "");
  }

  function pdf(chart) {
    return inLight((place) => {
      const picture = compose(chart, place);
      place.append(picture);
      const { width, height } = picture.viewBox.baseVal;
      const measure = document.createElement("canvas").getContext("2d");
      const opacities = new Map();
      const origin = picture.getScreenCTM().inverse();
      const content = ["1 0 0 -1 0 " + number(height) + " cm"];

      function opacityOf(element) {
        let value = 1;
        for (let one = element; one !== picture && one; one = one.parentElement) value *= Number(one.getAttribute("opacity") ?? 1);
        return value;
      }

      function clipOf(element) {
        const holder = element.closest("[clip-path]");
        const reference = holder?.getAttribute("clip-path").match(/#([^)"']+)/)?.[1];
        const outlineOf = reference && picture.querySelector("clipPath[id='" + CSS.escape(reference) + "'] > *");
        return outlineOf ? [matrixOf(holder) + " cm " + outline(outlineOf) + " W n", holder] : null;
      }

      const matrixText = (matrix) => ["a", "b", "c", "d", "e", "f"].map((name) => number(matrix[name])).join(" ");
      const matrixOf = (element) => matrixText(origin.multiply(element.getScreenCTM()));

      for (const element of picture.querySelectorAll("path, line, rect, circle, text")) {
        if (element.closest("defs, clipPath")) continue;
        const attribute = (name, other) => element.getAttribute(name) ?? other;
        const fill = rgb(attribute("fill", "none"));
        const stroke = rgb(attribute("stroke", "none"));
        const thickness = Number(attribute("stroke-width", 1));
        const alpha = [opacityOf(element) * attribute("fill-opacity", 1), opacityOf(element) * attribute("stroke-opacity", 1)].map(number);
        if (!opacities.has(alpha.join())) opacities.set(alpha.join(), "G" + opacities.size);
        const parts = ["q"];
        const clip = clipOf(element);
        if (clip) {
          parts.push(clip[0]);
          parts.push(matrixText(clip[1].getScreenCTM().inverse().multiply(element.getScreenCTM())) + " cm");
        } else parts.push(matrixOf(element) + " cm");
        parts.push("/" + opacities.get(alpha.join()) + " gs");
        if (fill) parts.push(fill + " rg");
        if (element.matches("text")) {
          const size = Number(attribute("font-size", 12));
          const bold = Number(attribute("font-weight", 400)) >= 600;
          measure.font = (bold ? "bold " : "") + size + "px Arial, Helvetica, sans-serif";
          const text = element.textContent.trim();
          const anchor = { middle: 0.5, end: 1 }[attribute("text-anchor", "start")] ?? 0;
          let x = Number(attribute("x", 0)) - anchor * measure.measureText(text).width;
          for (const run of fill ? runs(text) : []) {
            const font = run.font === "S" ? "/S" : bold ? "/B" : "/H";
            parts.push("BT " + font + " " + number(size) + " Tf 1 0 0 -1 " + number(x) + " " + number(attribute("y", 0)) + " Tm (" + escaped(run.text) + ") Tj ET");
            x += measure.measureText(run.seen).width;
          }
        } else {
          const drawn = outline(element);
          const dash = attribute("stroke-dasharray", "none");
          if (stroke && thickness) {
            parts.push(stroke + " RG " + number(thickness) + " w " + (attribute("stroke-linecap", "") === "round" ? "1 J" : "0 J"));
            if (dash !== "none") parts.push("[" + (dash.match(/[\d.]+/g) ?? []).map(number).join(" ") + "] 0 d");
          }
          const paint = fill && stroke && thickness ? "B" : fill ? "f" : stroke && thickness ? "S" : "n";
          if (drawn) parts.push(drawn + " " + paint);
        }
        parts.push("Q");
        content.push(parts.join("\n"));
      }
      return file(width, height, content.join("\n"), opacities, facts(chart));
    });
  }

  /** A PDF of one page: objects, their places, and what the picture is. */
  function file(width, height, content, opacities, { title, setting, source }) {
    const font = (name) => "<</Type/Font/Subtype/Type1/BaseFont/" + name + (name === "Symbol" ? "" : "/Encoding/WinAnsiEncoding") + ">>";
    const states = Array.from(opacities, ([alpha, name]) => "/" + name + "<</ca " + alpha.split(",")[0] + "/CA " + alpha.split(",")[1] + ">>").join("");
    const plain = (text) => escaped(runs(text).map((run) => (run.font === "S" ? "" : run.text)).join(""));
    const objects = [
      "<</Type/Catalog/Pages 2 0 R>>",
      "<</Type/Pages/Kids[3 0 R]/Count 1>>",
      "<</Type/Page/Parent 2 0 R/MediaBox[0 0 " + number(width) + " " + number(height) + "]/Contents 4 0 R/Resources<</Font<</H 5 0 R/B 6 0 R/S 7 0 R>>/ExtGState<<" + states + ">>>>>>",
      "<</Length " + content.length + ">>\nstream\n" + content + "\nendstream",
      font("Helvetica"),
      font("Helvetica-Bold"),
      font("Symbol"),
      "<</Title(" + plain(title + (setting ? ", " + setting : "")) + ")/Subject(" + plain(source) + ")/Creator(apsite)>>",
    ];
    let text = "%PDF-1.4\n";
    const places = objects.map((object, index) => {
      const place = text.length;
      text += index + 1 + " 0 obj\n" + object + "\nendobj\n";
      return place;
    });
    const table = places.map((place) => String(place).padStart(10, "0") + " 00000 n \n").join("");
    const begin = text.length;
    text += "xref\n0 " + (objects.length + 1) + "\n0000000000 65535 f \n" + table;
    text += "trailer\n<</Size " + (objects.length + 1) + "/Root 1 0 R/Info 8 0 R>>\nstartxref\n" + begin + "\n%%EOF\n";
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  }

  /* Numbers and frames */

  /** The table of a chart: the one that it names, that in it, or the next below it. */
  function tableOf(chart) {
    const inside = chart.querySelector("table");
    if (chart.dataset.table || inside) return document.getElementById(chart.dataset.table) ?? inside;
    const all = Array.from(document.querySelectorAll(".md-content table"));
    return all.find((table) => chart.compareDocumentPosition(table) & Node.DOCUMENT_POSITION_FOLLOWING);
  }

  function csv(chart) {
    const quoted = (text) => (/[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text);
    const points = Array.from(chart.querySelectorAll("svg:not(.ap-plot__narrow) [data-values]"));
    const rows = points.length
      ? [["model", chart.dataset.x, "robust_accuracy"], ...points.map((one) => [one.dataset.text.split(": ")[0], ...one.dataset.values.split(" ")])]
      : Array.from(tableOf(chart)?.rows ?? [], (row) => Array.from(row.cells, (cell) => cell.textContent.replace(/\s+/g, " ").trim()));
    return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }

  async function embed(chart) {
    const address = new URL(window.location.href);
    address.searchParams.set("embed", chart.id);
    address.hash = "";
    const height = Math.ceil(chart.getBoundingClientRect().height) + 80;
    const attribute = (text) => text.replace(/&/g, "&amp;").replace(/"/g, "&quot;").replace(/</g, "&lt;");
    const snippet = '<iframe src="' + attribute(address.href) + '" title="' + attribute(facts(chart).title) + '" width="100%" height="' + height + '" loading="lazy"></iframe>';
    try {
      await navigator.clipboard.writeText(snippet);
      return "Copied: " + snippet;
    } catch {
      return snippet;
    }
  }

  async function save(chart, kind) {
    const { name } = facts(chart);
    if (kind === "embed") return embed(chart);
    const writers = {
      svg: async () => [svgText(chart), "image/svg+xml"],
      png: async () => [await png(chart), "image/png"],
      pdf: async () => [pdf(chart), "application/pdf"],
      csv: async () => [csv(chart), "text/csv"],
    };
    page.save(name + "." + kind, ...(await writers[kind]()));
    return null;
  }

  window.apsite.exports = { save };
})();
