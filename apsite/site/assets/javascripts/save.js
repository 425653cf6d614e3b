/* Every chart as a file: buttons below it, and the view of one chart alone that an embedding page asks for. */
(function () {
  "use strict";

  const { page } = window.apsite;
  const KINDS = { svg: "SVG", png: "PNG", pdf: "PDF", csv: "CSV", embed: "Embed" };
  const site = document.querySelector("script[src*='javascripts/site.js']")?.src ?? window.location.href;

  /** Write a chart as a file; the script that can is loaded at the first call. */
  async function save(chart, kind) {
    await page.script(new URL("export.js", site).href);
    return window.apsite.exports.save(chart, kind);
  }

  function buttons(chart) {
    const name = chart.dataset.title ?? chart.getAttribute("aria-label") ?? "chart";
    const row = page.make("div", { class: "ap-save", role: "group", "aria-label": "Save: " + name });
    const status = page.make("output", { class: "ap-save__status" });
    for (const [kind, label] of Object.entries(KINDS)) {
      const button = page.make("button", { type: "button", "data-save": kind }, label);
      button.addEventListener("click", async () => {
        try {
          status.textContent = (await save(chart, kind)) ?? "";
        } catch (error) {
          status.textContent = "This chart could not be saved: " + error.message + ".";
        }
      });
      row.append(button);
    }
    row.append(status);
    chart.after(row);
  }

  /** The one chart that the URL asks for, without the rest of the page. */
  function alone(identity) {
    const chart = document.getElementById(identity);
    if (!chart?.matches(".ap-chart, .ap-plot")) return;
    document.body.classList.add("ap-embedded");
    const source = new URL(window.location.href);
    source.searchParams.delete("embed");
    const link = page.make("a", { href: source.href, target: "_top" }, "apsite: " + (chart.dataset.title ?? document.title));
    document.querySelector(".md-content__inner").replaceChildren(chart, page.make("p", { class: "ap-note" }, link));
  }

  const charts = Array.from(document.querySelectorAll(".ap-chart, .ap-plot"));
  for (const chart of charts) if (!chart.hasAttribute("data-saves")) buttons(chart);
  if (page.parameters().has("embed")) alone(page.parameters().get("embed"));
  window.apsite.save = save;
})();
