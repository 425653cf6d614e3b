/* Tables and commands of written pages scroll sideways on small screens; let the keyboard reach those that do. */
(function () {
  "use strict";

  const article = document.querySelector(".md-content article");
  if (!article) return;
  const KINDS = { Table: ".md-typeset__scrollwrap", Code: "pre > code" };

  /** Make a place of its own of what scrolls, and of nothing else. */
  function reach(element, label) {
    const scrolls = element.scrollWidth > element.clientWidth;
    if (scrolls === element.hasAttribute("role")) return;
    if (scrolls) {
      element.setAttribute("tabindex", "0");
      element.setAttribute("role", "region");
      element.setAttribute("aria-label", label);
    } else for (const name of ["tabindex", "role", "aria-label"]) element.removeAttribute(name);
  }

  function all() {
    for (const [label, selector] of Object.entries(KINDS))
      for (const element of article.querySelectorAll(selector)) reach(element, label);
  }

  if (!article.querySelector(Object.values(KINDS).join())) return;
  new MutationObserver(all).observe(article, { childList: true, subtree: true });
  new ResizeObserver(all).observe(article); // which also calls it once, after the page is laid out
})();
