/* The table of all results: a heading for each setting while it is in the order of settings, no column that is empty in
 * all rows that are shown, and the rows that the page leaves out, which a filter, a search or an order loads.
 *
 * A heading whose setting has more rows links to the pages that have all of them.
 */
(function () {
  "use strict";

  const { page } = window.apsite;
  const table = document.getElementById("results");
  const body = table.tBodies[0];
  const form = document.querySelector("form.ap-facets");
  const heads = Array.from(table.tHead.rows[0].cells);
  const groups = Array.from(body.querySelectorAll("tr[data-group]"));
  const rows = Array.from(body.querySelectorAll("tr[data-of]"));
  const own = new Map(groups.map((group) => [group, rows.filter((row) => row.dataset.of === group.dataset.group)]));
  const asked = new Set();
  const EMPTY = new Set(["", "–"]);

  function showGroups() {
    const sorted = Boolean(table.querySelector("th[aria-sort]"));
    table.toggleAttribute("data-sorted", sorted);
    for (const group of groups) {
      const first = body.querySelector('tr[data-of="' + CSS.escape(group.dataset.group) + '"]');
      group.hidden = sorted || own.get(group).every((row) => row.hidden);
      if (!sorted && group.nextElementSibling !== first) first.before(group);
    }
  }

  function showColumns() {
    const shown = rows.filter((row) => !row.hidden);
    heads.forEach((head, index) => {
      const isEmpty = shown.length > 0 && shown.every((row) => EMPTY.has(row.cells[index].textContent.trim()));
      if (head.hidden === isEmpty) return;
      for (const row of [table.tHead.rows[0], ...rows]) row.cells[index].hidden = isEmpty;
    });
  }

  /** Headings of settings that lack rows which the address, a filter, a search or an order speaks of. */
  function wanted() {
    const open = page.parameters().getAll("open");
    const lacking = groups.filter((group) => group.querySelector(".ap-group__all"));
    const named = lacking.filter((group) => open.some((key) => key.endsWith("_" + group.dataset.group)));
    const chosen = form ? new FormData(form) : new FormData();
    const sorted = table.querySelector("th[aria-sort]");
    if (!sorted && !Array.from(chosen.values()).some(Boolean)) return named;
    const fits = (group, name) => !chosen.has(name) || chosen.getAll(name).includes(group.dataset[name]);
    const names = sorted ? [] : ["dataset", "network", "structure", "sparsity"];
    return lacking.filter((group) => named.includes(group) || names.every((name) => fits(group, name)));
  }

  /** The rows of one page of a setting; their links lead to where they lead from there. */
  async function rowsOf(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(address + " answered " + answer.status);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html").querySelectorAll("tr[data-of]");
    return Array.from(found, (row) => {
      for (const link of row.querySelectorAll("a[href]")) link.href = new URL(link.getAttribute("href"), address);
      const { dataset } = row.querySelector("[data-record]");
      dataset.record = new URL(dataset.record, address);
      return document.adoptNode(row);
    });
  }

  async function complete(group) {
    const links = Array.from(group.querySelectorAll(".ap-group__all a"));
    const all = (await Promise.all(links.map((link) => rowsOf(link.href.split(/[?#]/)[0])))).flat();
    const more = all.filter((row) => !document.getElementById(row.id));
    const last = own.get(group).at(-1);
    more.forEach((row, index) => (row.apOrder = (last.apOrder ?? 0) + (index + 1) / 1e6));
    for (const row of more) heads.forEach((head, index) => (row.cells[index].hidden = head.hidden));
    last.after(...more);
    own.get(group).push(...more);
    rows.push(...more);
    group.querySelector(".ap-group__all").remove();
    return more;
  }

  async function load(missing) {
    missing.forEach((group) => asked.add(group));
    table.setAttribute("aria-busy", "true");
    const done = await Promise.allSettled(missing.map(complete));
    table.removeAttribute("aria-busy");
    if (done.some((one) => one.status === "rejected")) table.dataset.incomplete = "";
    const more = done.flatMap((one) => one.value ?? []);
    table.dispatchEvent(new CustomEvent("apsite:added", { bubbles: true, detail: more }));
  }

  function update() {
    showGroups();
    showColumns();
    const missing = wanted().filter((group) => !asked.has(group));
    if (missing.length) load(missing);
  }

  table.addEventListener("apsite:rows", update);
  update();
})();
