/* Tables: sorting, facets and search over rows that the server wrote. The state lives in the address.
 *
 * <table data-sortable> makes buttons of its <th data-sort="text|number">; a cell's value is its data-value or text.
 * <form data-for="group"> filters the rows of all tables with data-facets="group" by their data-<name> attributes,
 * which may hold several words; its field `find` searches their text.
 * (The name is not `q`, as the theme takes that parameter of the address for its own search.)
 */
(function () {
  "use strict";

  const { page } = window.apsite;

  /** Position of a header cell counted in columns, as its row may be below cells that span rows. */
  function columnOf(cell) {
    const rows = Array.from(cell.closest("thead").rows);
    const taken = rows.map(() => []);
    for (const [index, row] of rows.entries()) {
      let column = 0;
      for (const other of row.cells) {
        while (taken[index][column]) column += 1;
        if (other === cell) return column;
        for (let down = 0; down < other.rowSpan; down += 1) {
          for (let right = 0; right < other.colSpan; right += 1) {
            if (taken[index + down]) taken[index + down][column + right] = true;
          }
        }
        column += other.colSpan;
      }
    }
    return -1;
  }

  function valueOf(row, column, kind) {
    const cell = row.cells[column];
    const text = (cell.dataset.value ?? cell.textContent).trim();
    if (kind === "text") return text.toLowerCase();
    const number = Number.parseFloat(text.replace("−", "-").replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  }

  /** The rows of values that the server wrote; details that are open below one belong to it, and headings are none. */
  function rowsOf(table) {
    return Array.from(table.tBodies[0].rows).filter((row) => !("detail" in row.dataset || "group" in row.dataset));
  }

  /** Tell the scripts of single pages that a table shows other rows, or another order. */
  const changed = (table) => table.dispatchEvent(new Event("apsite:rows"));

  /** Rows without a value stand last in both directions. */
  function compare(a, b, sign) {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    if (typeof a === "string") return sign * a.localeCompare(b);
    return sign * (a - b);
  }

  function sort(table, header, direction) {
    const column = columnOf(header);
    const kind = header.dataset.sort;
    const body = table.tBodies[0];
    const rows = rowsOf(table);
    if (direction === "none") {
      rows.sort((a, b) => a.apOrder - b.apOrder);
    } else {
      const sign = direction === "ascending" ? 1 : -1;
      const values = new Map(rows.map((row) => [row, valueOf(row, column, kind)]));
      rows.sort((a, b) => compare(values.get(a), values.get(b), sign) || a.apOrder - b.apOrder);
    }
    body.append(...rows.flatMap((row) => (row.apDetail ? [row, row.apDetail] : [row])));
    for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
    if (direction !== "none") header.setAttribute("aria-sort", direction);
    changed(table);
  }

  function nameOf(header) {
    return header.dataset.name ?? header.textContent.trim().toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  }

  /** Rows that a script has added take their place in the order. */
  function sortAdded(table) {
    const header = table.querySelector("th[aria-sort]");
    if (header) sort(table, header, header.getAttribute("aria-sort"));
  }

  function prepareSorting(table) {
    table.addEventListener("apsite:added", () => sortAdded(table));
    rowsOf(table).forEach((row, index) => (row.apOrder = index));
    const key = "sort-" + table.id;
    const wanted = (page.parameters().get(key) ?? "").split(".");
    for (const header of table.querySelectorAll("th[data-sort]")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "ap-sort";
      button.append(...header.childNodes);
      header.append(button);
      const first = header.dataset.sort === "number" ? "descending" : "ascending";
      const second = first === "descending" ? "ascending" : "descending";
      button.addEventListener("click", () => {
        const now = header.getAttribute("aria-sort");
        const next = now === null ? first : now === first ? second : "none";
        sort(table, header, next);
        page.remember((parameters) => {
          if (next === "none") parameters.delete(key);
          else parameters.set(key, nameOf(header) + "." + next);
        });
      });
      if (wanted[0] === nameOf(header) && ["ascending", "descending"].includes(wanted[1])) sort(table, header, wanted[1]);
    }
  }

  function chosen(form) {
    const groups = new Map();
    for (const box of form.querySelectorAll("input[type=checkbox]:checked")) {
      groups.set(box.name, [...(groups.get(box.name) ?? []), box.value]);
    }
    return groups;
  }

  /** Hide the section of a table of which no row is shown, with its heading. */
  function fold(table, empty) {
    const section = table.closest(".ap-block");
    const heading = section?.previousElementSibling;
    if (section) section.hidden = empty;
    if (heading && /^H[23]$/.test(heading.tagName)) heading.hidden = empty;
  }

  function filter(form, tables) {
    const groups = chosen(form);
    const words = (form.elements.namedItem("find")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let all = 0;
    for (const table of tables) {
      let here = 0;
      for (const row of rowsOf(table)) {
        const text = words.length ? row.textContent.toLowerCase() : "";
        const fits =
          Array.from(groups).every(([name, values]) => {
            const has = (row.dataset[name] ?? "").split(" ");
            return values.some((value) => has.includes(value));
          }) && words.every((word) => text.includes(word));
        row.hidden = !fits;
        if (row.apDetail) row.apDetail.hidden = !fits;
        here += fits ? 1 : 0;
      }
      shown += here;
      all += Number(table.dataset.rows ?? rowsOf(table).length);
      if (tables.length > 1) fold(table, here === 0);
      changed(table);
    }
    const busy = Array.from(tables).some((table) => table.hasAttribute("aria-busy"));
    const lacks = Array.from(tables).some((table) => "incomplete" in table.dataset);
    form.querySelector("output").textContent =
      (shown === all ? all + " rows" : shown + " of " + all + " rows") +
      (busy ? ", loading more …" : lacks ? "; some could not be loaded, see the pages of the settings" : "");
    return groups;
  }

  function remember(form, groups) {
    page.remember((parameters) => {
      for (const field of form.elements) if (field.name) parameters.delete(field.name);
      for (const [name, values] of groups) for (const value of values) parameters.append(name, value);
      const search = form.elements.namedItem("find")?.value;
      if (search) parameters.set("find", search);
    });
  }

  /* A form's own properties give way to its fields of the same name (`dataset` is one), so attributes are read here. */
  function prepareFacets(form) {
    const group = form.getAttribute("data-for");
    const tables = document.querySelectorAll('table[data-facets="' + CSS.escape(group) + '"]');
    if (!tables.length) return;
    const parameters = page.parameters();
    for (const box of form.querySelectorAll("input[type=checkbox]")) {
      box.checked = parameters.getAll(box.name).includes(box.value);
    }
    const search = form.elements.namedItem("find");
    if (search) search.value = parameters.get("find") ?? "";
    const update = () => remember(form, filter(form, tables));
    form.addEventListener("input", update);
    for (const table of tables) table.addEventListener("apsite:added", () => filter(form, tables));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => window.setTimeout(update));
    form.removeAttribute("hidden");
    const groups = filter(form, tables);
    if (groups.size) form.querySelector("details")?.setAttribute("open", "");
    if (groups.size || search?.value) form.closest("details")?.setAttribute("open", "");
  }

  /** Do something for an element of the page: at once if the address speaks of it, else when it can be seen or soon. */
  function prepare(element, call, names) {
    const fold = element.parentElement.closest("details:not([open])");
    const parameters = page.parameters();
    if (names.some((name) => parameters.has(name))) call(element);
    else if (fold) fold.addEventListener("toggle", () => call(element), { once: true });
    else window.setTimeout(call, 0, element); /* each in a task of its own, so that the page answers in between */
  }

  const fields = (form) => Array.from(form.elements, (field) => field.name).filter(Boolean);
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    prepare(table, prepareSorting, ["sort-" + table.id]);
  }
  for (const form of document.querySelectorAll("form.ap-facets")) prepare(form, prepareFacets, fields(form));
})();
