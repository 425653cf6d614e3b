/* The page that compares methods: of a table with all of them, show the chosen columns; they live in the address as `m`. */
(function () {
  "use strict";

  const table = document.getElementById("compare");
  const form = document.getElementById("compare-form");
  if (!table || !form) return;
  const { page } = window.apsite;
  const MOST = 6;
  const boxes = Array.from(form.querySelectorAll("input[type=checkbox]"));
  const status = form.querySelector("output");
  const known = new Set(boxes.map((box) => box.value));
  let chosen = page.parameters().getAll("m").filter((key) => known.has(key)).slice(0, MOST);
  if (!chosen.length) chosen = table.dataset.first.split(" ");

  /** Mark in a row of results the best of the shown cells and those that nothing separates from it. */
  function mark(row) {
    const shown = Array.from(row.cells).filter((cell) => !cell.hidden && cell.dataset.value);
    for (const cell of row.cells) cell.classList.remove("ap-best", "ap-tied");
    for (const note of row.querySelectorAll(".ap-mark-note")) note.remove();
    if (shown.length < 2) return;
    const best = shown.reduce((a, b) => (Number(b.dataset.value) > Number(a.dataset.value) ? b : a));
    const level = new Set((best.dataset.tied || "").split(" "));
    for (const cell of shown) {
      const tied = level.has(cell.dataset.method);
      if (cell === best) cell.classList.add("ap-best");
      else if (tied) cell.classList.add("ap-tied");
      else continue;
      cell.append(page.make("span", { class: "ap-mark-note" }, cell === best ? " best" : " tied"));
    }
  }

  function show() {
    for (const cell of table.querySelectorAll("[data-method]")) cell.hidden = !chosen.includes(cell.dataset.method);
    for (const row of table.querySelectorAll("tr[data-setting]")) {
      const cells = Array.from(row.cells).filter((cell) => !cell.hidden);
      row.hidden = !cells.some((cell) => cell.dataset.value);
      mark(row);
    }
    for (const box of boxes) {
      box.checked = chosen.includes(box.value);
      box.disabled = !box.checked && chosen.length >= MOST;
    }
    table.dataset.ready = "true";
    status.textContent = chosen.length + " of at most " + MOST + " methods";
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { value, checked } = event.target;
    chosen = checked ? [...chosen, value].slice(0, MOST) : chosen.filter((key) => key !== value);
    page.remember((parameters) => {
      parameters.delete("m");
      for (const key of chosen) parameters.append("m", key);
    });
    show();
  });
  show();
})();
