/* One selection of methods for the whole site: it lives in the address as `m`, and links between pages carry it along.
 * Rows with `data-pick` get a box that selects their method; a bar at the foot of the window says what is
 * selected and what can be done with it.
 */
(function () {
  "use strict";

  const { page } = window.apsite;
  const { make } = page;
  /* Where the site begins, from the path of this very script. */
  const root = new URL("../../", document.currentScript.src).href;
  const KEY = /^[A-Za-z0-9-]+_[A-Za-z0-9-]+/;
  const rows = [];
  const boxes = [];
  let bar = null;

  /** Name of the page that an address leads to, such as `curves`; null outside of the site. */
  function nameOf(address) {
    if (!address.startsWith(root)) return null;
    const path = new URL(address).pathname.slice(new URL(root).pathname.length);
    return path === "" ? "index" : path.endsWith(".html") ? path.slice(0, -5) : null;
  }

  const here = nameOf(window.location.href.split(/[?#]/)[0]);

  /** Keys of the selected methods; a model key, as links to curves may have it, counts for its method. */
  function selected() {
    const keys = page.parameters().getAll("m").map((key) => KEY.exec(key)?.[0]);
    return Array.from(new Set(keys.filter(Boolean)));
  }

  function select(keys) {
    page.remember((parameters) => {
      parameters.delete("m");
      for (const key of keys) parameters.append("m", key);
    });
  }

  /** Give links to pages of the site the selection of this page; links that name methods themselves keep theirs. */
  function carry(keys, links) {
    for (const link of links) {
      if (nameOf(String(link.href).split(/[?#]/)[0]) === null) continue;
      const address = new URL(link.href);
      if (address.searchParams.has("m") && !("carried" in link.dataset)) continue;
      if (!keys.length && !("carried" in link.dataset)) continue;
      if (link.getAttribute("href").startsWith("#")) continue;
      address.searchParams.delete("m");
      for (const key of keys) address.searchParams.append("m", key);
      link.href = address.href;
      link.dataset.carried = "";
    }
  }

  const short = (key) => key.split("_")[0];

  async function copy(button, keys) {
    const label = button.textContent;
    try {
      const all = await page.data(root + "data/bibtex.json");
      await navigator.clipboard.writeText(keys.map((key) => all[key]).filter(Boolean).join("\n\n") + "\n");
      button.textContent = "Copied";
    } catch {
      button.replaceChildren(make("a", { href: root + "data/all.bib" }, "Open all.bib"));
    }
    window.setTimeout(() => (button.textContent = label), 2000);
  }

  function build() {
    const found = make("section", { class: "ap-selection", "aria-label": "Selected methods" });
    document.querySelector(".md-main").append(found);
    return found;
  }

  function show() {
    const keys = selected();
    for (const box of boxes) box.checked = keys.includes(box.value);
    for (const row of rows) row.classList.toggle("ap-picked", keys.includes(row.dataset.pick));
    carry(keys, document.querySelectorAll("a[href]"));
    if (!keys.length) {
      bar?.remove();
      bar = null;
      return;
    }
    bar ??= build();
    const names = keys.map((key) => {
      const button = make("button", { type: "button", "aria-label": "Remove " + short(key) }, short(key) + " ×");
      button.addEventListener("click", () => select(selected().filter((other) => other !== key)));
      return button;
    });
    const query = "?" + new URLSearchParams(keys.map((key) => ["m", key]));
    const links = [["compare", "Compare"], ["curves", "Curves"], ["results", "Results"], ["leaderboard", "Leaderboard"]]
      .filter(([name]) => name !== here)
      .map(([name, title]) => make("a", { href: root + name + ".html" + query, "data-carried": "" }, title));
    const bibtex = make("button", { type: "button" }, "Copy BibTeX");
    bibtex.addEventListener("click", () => copy(bibtex, keys));
    const clear = make("button", { type: "button" }, "Clear");
    clear.addEventListener("click", () => select([]));
    bar.replaceChildren(
      make("span", { class: "ap-selection__names" }, ...names),
      make("span", { class: "ap-selection__actions" }, ...links, bibtex, clear),
    );
  }

  if (here === null || page.parameters().has("embed")) return;

  function prepare(row) {
    const name = row.cells[0].querySelector("a")?.textContent ?? short(row.dataset.pick);
    const box = make("input", { type: "checkbox", class: "ap-select", value: row.dataset.pick, "aria-label": "Select " + name });
    box.addEventListener("change", () => {
      const others = selected().filter((key) => key !== box.value);
      select(box.checked ? [...others, box.value] : others);
    });
    row.cells[0].prepend(box);
    boxes.push(box);
    rows.push(row);
  }

  document.querySelectorAll("tr[data-pick]").forEach(prepare);
  document.addEventListener("apsite:added", ({ detail }) => {
    detail.forEach(prepare);
    show();
  });
  window.addEventListener("apsite:address", show);
  /* Links that scripts add later, such as those of the search. */
  document.addEventListener("click", (event) => carry(selected(), [event.target.closest("a[href]")].filter(Boolean)), true);
  show();
})();
