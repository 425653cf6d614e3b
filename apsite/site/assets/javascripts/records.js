/* Rows that open: the whole record of a model below its row of figures, loaded when it is asked for.
 *
 * Open rows stand in the address as `open`. Everything shown is text of the record's file; addresses become links only
 * if they are https.
 */
(function () {
  "use strict";

  const { page } = window.apsite;
  const buttons = [];
  const { make } = page;
  const percent = (share) => (typeof share === "number" ? page.percent(share, 2) + " %" : "–");
  const count = (number) => (typeof number === "number" ? number.toLocaleString("en") : "–");
  const said = (value) => (value === null || value === undefined ? "–" : String(value));

  function facts(title, pairs) {
    const known = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "–");
    if (!known.length) return [];
    const items = known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)));
    return [make("section", {}, make("h4", {}, title), make("dl", {}, ...items))];
  }

  function resultOf(record, attack) {
    return (record.results.attacks ?? []).find((result) => result.attack === attack);
  }

  function attacks(record) {
    const counts = resultOf(record, "autoattack")?.stages ?? [];
    if (!counts.length) return [];
    const head = ["Attack", "Attacked", "Broken", "Robust after"].map((text, index) =>
      make("th", { scope: "col", class: index ? "ap-number" : null }, text),
    );
    const rows = counts.map((found) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, found.attack),
        ...["attacked", "broken", "robust_after"].map((key) => make("td", { class: "ap-number" }, count(found[key]))),
      ),
    );
    const table = make("table", { class: "ap-table" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
    const notes = counts
      .filter((found) => found.dropped_rows !== undefined)
      .map((found) => make("p", {}, `${found.attack} gave up ${count(found.dropped_rows)} pairs of image and target class as out of reach.`));
    return [make("section", {}, make("h4", {}, "AutoAttack, attack by attack"), table, ...notes)];
  }

  function link(text, address) {
    return make("a", { href: address, rel: address.startsWith("https:") ? "noopener noreferrer" : null }, text);
  }

  function files(record, address) {
    const found = [link("record", address)];
    const { samples, checkpoint } = record;
    if (samples && !samples.url) found.push(link("per-sample results", address.replace(/[^/]*$/, encodeURIComponent(samples.file))));
    for (const [text, url] of [["per-sample results", samples?.url], ["checkpoint", checkpoint?.url]]) {
      if (/^https:\/\/[^\s]+$/.test(url ?? "")) found.push(link(text, url));
    }
    return found.flatMap((item, index) => (index ? [", ", item] : [item]));
  }

  function body(record, address) {
    const { results, joint = results.joint } = record;
    const hofmn = resultOf(record, "hofmn");
    const warnings = record.warnings.map((warning) =>
      make("p", { class: "ap-warning" }, make("b", {}, warning.code), " " + warning.message),
    );
    return [
      make("p", {}, make("code", {}, record.model_key), " · ", ...files(record, address)),
      ...warnings,
      make(
        "div",
        { class: "ap-record__parts" },
        ...facts("Evaluation", [
          ["Protocol", said(record.protocol)],
          ["Threat model", said(record.threat_model.norm) + ", ε = " + said(record.threat_model.epsilon)],
          ["Samples", count(results.n_samples)],
          ["Clean", percent(results.clean_accuracy)],
          ["AutoAttack", percent(resultOf(record, "autoattack")?.robust_accuracy)],
          ["HO-FMN", percent(hofmn?.robust_accuracy)],
          ["Joint", percent(joint?.robust_accuracy)],
          ["Broken only by AutoAttack", count(joint?.broken_only_by?.autoattack)],
          ["Broken only by HO-FMN", count(joint?.broken_only_by?.hofmn)],
          ["State dict", record.checkpoint?.state],
          ["Measured sparsity", percent(record.sparsity.measured)],
          ["Pattern", record.audit?.pattern && record.audit.pattern + ", measured in " + percent(record.audit.pattern_share) + " of the weights"],
          ["Parameters not zero", count(record.audit?.nonzero_parameters)],
          ["Effective MACs", count(record.audit?.effective_macs)],
        ]),
        ...attacks(record),
        ...facts("HO-FMN", Object.entries(hofmn?.parameters ?? {}).map(([name, value]) => [name.replaceAll("_", " "), Number(value).toPrecision(4)])),
        ...facts("Environment", Object.entries(record.environment).map(([name, value]) => [name, said(value)])),
        ...facts("Seconds", Object.entries(record.seconds ?? {}).map(([name, value]) => [name, Number(value).toFixed(1)])),
        ...facts("Provenance", [
          ["Kind", record.provenance.kind],
          ["Source", record.provenance.source],
          ["Place", record.provenance.location],
          ["Date", record.provenance.date],
        ]),
      ),
      ...(record.notes ?? []).map((note) => make("p", { class: "ap-note" }, note)),
    ];
  }

  function remember() {
    page.remember((parameters) => {
      parameters.delete("open");
      for (const button of buttons) {
        if (button.getAttribute("aria-expanded") === "true") parameters.append("open", button.closest("tr").id);
      }
    });
  }

  async function open(button) {
    const row = button.closest("tr");
    const href = row.querySelector(".ap-results__files a").getAttribute("href");
    const cell = make("td", { colspan: row.cells.length });
    const place = make("div", { class: "ap-record", role: "region", "aria-label": "Record of " + row.id }, "Loading …");
    cell.append(place);
    row.apDetail = make("tr", { "data-detail": true, id: "detail-" + row.id }, cell);
    row.after(row.apDetail);
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", row.apDetail.id);
    try {
      place.replaceChildren(...body(await page.data(href), href));
    } catch (error) {
      place.replaceChildren("The record could not be loaded (" + error.message + "). ", link("Open its file", href));
    }
  }

  function close(button) {
    const row = button.closest("tr");
    row.apDetail?.remove();
    row.apDetail = null;
    button.setAttribute("aria-expanded", "false");
    button.removeAttribute("aria-controls");
  }

  const wanted = page.parameters().getAll("open");
  function prepare(button) {
    buttons.push(button);
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", "Record of " + button.closest("tr").id);
    button.hidden = false;
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-expanded") === "true") close(button);
      else open(button);
      remember();
    });
    if (wanted.includes(button.closest("tr").id)) open(button);
  }

  document.querySelectorAll("button.ap-open").forEach(prepare);
  document.addEventListener("apsite:added", ({ detail }) => {
    for (const row of detail) row.querySelectorAll("button.ap-open").forEach(prepare);
  });
})();
