/* The page that compares methods: its table has some columns, and loads others when they are chosen.
 *
 * The choice lives in the address as `m`. Everything that is loaded becomes text of an element.
 */
(function () {
  "use strict";

  const table = document.getElementById("compare");
  const form = document.getElementById("compare-form");
  if (!table || !form) return;
  const { page } = window.apsite;
  const { make, percent } = page;
  const MOST = 6;
  const loaded = new Set(Array.from(table.tHead.rows[0].cells, (cell) => cell.dataset.method));
  const rows = Array.from(table.querySelectorAll("tbody tr:not(.ap-compare__group)"));
  const boxes = Array.from(form.querySelectorAll("input[type=checkbox]"));
  const status = form.querySelector("output");
  const known = new Set(boxes.map((box) => box.value));
  let chosen = [];

  function result(found, key) {
    if (found === null) return [make("span", { class: "ap-dash", title: "no result" }, "–", make("span", { class: "ap-hidden" }, "no result"))];
    const number = (share) => (typeof share === "number" ? percent(share, 2) : "–");
    const parts = [make("span", { class: "ap-score__robust" }, number(found.robust))];
    if (typeof found.clean === "number") {
      parts.unshift(make("span", { class: "ap-score__clean" }, number(found.clean)), make("span", { class: "ap-score__bar" }, "/"));
    }
    const address = table.dataset.methods + encodeURIComponent(key) + ".html#" + found.key;
    const badge = make("span", { class: "ap-badge ap-badge--" + found.kind, title: found.title }, make("span", { class: "ap-hidden" }, found.kind));
    const caution = found.caution
      ? [make("abbr", { class: "ap-caution", title: found.caution }, make("span", { class: "ap-hidden" }, " has warnings"))]
      : [];
    return [
      make("span", { class: "ap-compare__part" }, make("a", { class: "ap-score", href: address }, ...parts), badge, ...caution),
      " ",
      make("span", { class: "ap-compare__part ap-small" }, found.interval),
    ];
  }

  /** Put a cell of a column into a row, where its place is. */
  function insert(row, cell, place) {
    const next = Array.from(row.cells).find((other) => Number(other.dataset.place ?? -1) > place);
    row.insertBefore(cell, next ?? null);
  }

  async function load(key) {
    if (loaded.has(key)) return;
    const { name, stage, place, cells } = await page.data(table.dataset.folder + encodeURIComponent(key) + ".json");
    if (loaded.has(key)) return;
    loaded.add(key);
    const place_ = { "data-place": place, "data-method": key };
    const mark_ = make("span", { class: "ap-stage ap-stage--" + stage[0], title: stage[1] }, stage[0]);
    const link = make("a", { href: table.dataset.methods + encodeURIComponent(key) + ".html" }, name);
    insert(table.tHead.rows[0], make("th", { scope: "col", ...place_ }, mark_, " ", link), place);
    rows.forEach((row, index) => {
      const found = cells[index];
      const fact = !row.dataset.setting;
      const values = { "data-value": found?.robust, "data-tied": found?.tied?.length ? found.tied.join(" ") : null };
      const attributes = fact ? place_ : { class: "ap-compare__result", ...place_, ...values };
      insert(row, make("td", attributes, ...(fact ? [found] : result(found, key))), place);
    });
  }

  /** Mark in a row of results the best of the shown cells and those that nothing separates from it. */
  function mark(row) {
    const shown = Array.from(row.cells).filter((cell) => !cell.hidden && cell.dataset.value);
    for (const cell of row.cells) cell.classList.remove("ap-best", "ap-tied");
    for (const note of row.querySelectorAll(".ap-mark-note")) note.remove();
    if (shown.length < 2) return;
    const best = shown.reduce((a, b) => (Number(b.dataset.value) > Number(a.dataset.value) ? b : a));
    const level = new Set((best.dataset.tied || "").split(" "));
    for (const cell of shown) {
      const tied = level.has(cell.dataset.place);
      if (cell === best) cell.classList.add("ap-best");
      else if (tied) cell.classList.add("ap-tied");
      else continue;
      cell.append(page.make("span", { class: "ap-mark-note" }, cell === best ? " best" : " tied"));
    }
  }

  /** Boxes say at once what is chosen, also while its columns load. */
  function markBoxes() {
    for (const box of boxes) {
      box.checked = chosen.includes(box.value);
      box.disabled = !box.checked && chosen.length >= MOST;
    }
  }

  async function show() {
    let problem = "";
    markBoxes();
    for (const cell of table.querySelectorAll("[data-method]")) cell.hidden = !chosen.includes(cell.dataset.method);
    for (const key of chosen.slice()) {
      try {
        await load(key);
      } catch (error) {
        chosen = chosen.filter((other) => other !== key);
        problem = key + " could not be loaded: " + error.message + ". ";
      }
    }
    for (const cell of table.querySelectorAll("[data-method]")) cell.hidden = !chosen.includes(cell.dataset.method);
    for (const row of table.querySelectorAll("tr[data-setting]")) {
      const cells = Array.from(row.cells).filter((cell) => !cell.hidden);
      row.hidden = !cells.some((cell) => cell.dataset.value);
      mark(row);
    }
    markBoxes();
    for (const head of table.querySelectorAll("[scope=rowgroup]")) head.colSpan = chosen.length + 1;
    table.dataset.ready = "true";
    status.textContent = problem + chosen.length + " of at most " + MOST + " methods";
  }

  /** Take the choice from the address. */
  function read() {
    chosen = page.parameters().getAll("m").filter((key) => known.has(key)).slice(0, MOST);
    if (!chosen.length) chosen = table.dataset.first.split(" ");
    show();
  }

  form.hidden = false;
  document.getElementById("compare-still").hidden = true;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { value, checked } = event.target;
    const keys = checked ? [...chosen, value].slice(0, MOST) : chosen.filter((key) => key !== value);
    page.remember((parameters) => {
      parameters.delete("m");
      for (const key of keys) parameters.append("m", key);
    });
  });
  window.addEventListener("apsite:address", read);
  read();
})();
