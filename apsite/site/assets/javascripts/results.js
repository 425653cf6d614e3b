/* The table of all results: a heading for each setting while it is in the order of settings, and no column that is
 * empty in all rows that are shown.
 */
(function () {
  "use strict";

  const table = document.getElementById("results");
  const body = table.tBodies[0];
  const groups = Array.from(body.querySelectorAll("tr[data-group]"));
  const rows = Array.from(body.querySelectorAll("tr[data-of]"));
  const heads = Array.from(table.tHead.rows[0].cells);
  const EMPTY = new Set(["", "–"]);

  function showGroups() {
    const sorted = Boolean(table.querySelector("th[aria-sort]"));
    table.toggleAttribute("data-sorted", sorted);
    for (const group of groups) {
      const first = body.querySelector('tr[data-of="' + CSS.escape(group.dataset.group) + '"]');
      const own = rows.filter((row) => row.dataset.of === group.dataset.group);
      group.hidden = sorted || own.every((row) => row.hidden);
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

  function update() {
    showGroups();
    showColumns();
  }

  table.addEventListener("apsite:rows", update);
  update();
})();
