/* The table of all results: a heading for each setting while it is in the order of settings, and no column that is
 * empty in all rows that are shown.
 */
(function () {
  "use strict";

  const table = document.getElementById("results");
  const body = table.tBodies[0];
  const groups = Array.from(body.querySelectorAll("tr[data-group]"));
  const heads = Array.from(table.tHead.rows[0].cells);
  const EMPTY = new Set(["", "–"]);

  function showGroups(rows) {
    const sorted = Boolean(table.querySelector("th[aria-sort]"));
    const shown = new Set(rows.filter((row) => !row.hidden).map((row) => row.dataset.of));
    table.toggleAttribute("data-sorted", sorted);
    for (const group of groups) {
      const first = body.querySelector('tr[data-of="' + CSS.escape(group.dataset.group) + '"]');
      group.hidden = sorted || !shown.has(group.dataset.group);
      if (!sorted && group.nextElementSibling !== first) first.before(group);
    }
  }

  function showColumns(rows) {
    const shown = rows.filter((row) => !row.hidden);
    heads.forEach((head, index) => {
      head.hidden = shown.length > 0 && shown.every((row) => EMPTY.has(row.cells[index].textContent.trim()));
      for (const row of rows) if (row.cells[index].hidden !== head.hidden) row.cells[index].hidden = head.hidden;
    });
  }

  function update() {
    const rows = Array.from(body.querySelectorAll("tr[data-of]"));
    showGroups(rows);
    showColumns(rows);
  }

  table.addEventListener("apsite:rows", update);
  update();
})();
