/* Tables that begin with their first rows: a filter, a search, an order or the address loads the others.
 *
 * An element `.ap-more` links to the pages that have all rows of a table (`data-for`), or of one of its groups (`data-of`).
 * Its other data says which filters concern these rows; they are loaded once, and then it goes.
 */
(function () {
  "use strict";

  const { page } = window.apsite;

  /** The rows of one page; their links lead to where they lead from there. */
  async function rowsOf(table, address, group) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(address + " answered " + answer.status);
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    const rows = Array.from(found.getElementById(table.id).tBodies[0].rows);
    return rows.filter((row) => row.dataset.of === group).map((row) => {
      for (const link of row.querySelectorAll("a[href]")) link.href = new URL(link.getAttribute("href"), address);
      return document.adoptNode(row);
    });
  }

  /** What names a row: its model, or its method. */
  const nameOf = (row) => row.id || row.dataset.pick;

  async function complete(table, holder) {
    const group = holder.dataset.of;
    const links = Array.from(holder.querySelectorAll("a"), (link) => link.href.split(/[?#]/)[0]);
    const all = (await Promise.all(links.map((address) => rowsOf(table, address, group)))).flat();
    const here = Array.from(table.tBodies[0].rows).filter((row) => row.dataset.of === group && !("detail" in row.dataset));
    const known = new Set(here.map(nameOf));
    const more = all.filter((row) => !known.has(nameOf(row)));
    const last = here.reduce((a, b) => ((b.apOrder ?? 0) >= (a.apOrder ?? 0) ? b : a));
    more.forEach((row, index) => (row.apOrder = (last.apOrder ?? 0) + (index + 1) / 1e6));
    (last.apDetail ?? last).after(...more);
    holder.remove();
    return more;
  }

  async function load(table, holders) {
    table.setAttribute("aria-busy", "true");
    const done = await Promise.allSettled(holders.map((holder) => complete(table, holder)));
    table.removeAttribute("aria-busy");
    if (done.some((one) => one.status === "rejected")) table.dataset.incomplete = "";
    const detail = done.flatMap((one) => one.value ?? []);
    table.dispatchEvent(new CustomEvent("apsite:added", { bubbles: true, detail }));
  }

  function prepare(table) {
    const form = document.querySelector('form[data-for="' + CSS.escape(table.dataset.facets) + '"]');
    const asked = new Set();

    /** Whether the address, a filter, a search or an order speaks of the rows that a holder stands for. */
    function concerns(holder, chosen, used) {
      const { for: _, of, ...traits } = holder.dataset;
      if (of && page.parameters().getAll("open").some((key) => key.endsWith("_" + of))) return true;
      if (table.querySelector("th[aria-sort]")) return true;
      return used && Object.entries(traits).every(([name, value]) => !chosen.has(name) || chosen.getAll(name).includes(value));
    }

    function update() {
      const chosen = form ? new FormData(form) : new FormData();
      const used = Array.from(chosen.values()).some(Boolean);
      const holders = document.querySelectorAll('.ap-more[data-for="' + CSS.escape(table.id) + '"]');
      const missing = Array.from(holders).filter((holder) => !asked.has(holder) && concerns(holder, chosen, used));
      missing.forEach((holder) => asked.add(holder));
      if (missing.length) load(table, missing);
    }

    table.addEventListener("apsite:rows", update);
    update();
  }

  document.querySelectorAll("table[data-rows]").forEach(prepare);
})();
