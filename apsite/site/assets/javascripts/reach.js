/* Tables of written pages scroll sideways on small screens, in a wrapper that the theme makes; let the keyboard reach it. */
(function () {
  "use strict";

  const article = document.querySelector(".md-content article");
  if (!article || !article.querySelector("table:not([class])")) return;

  function reach() {
    for (const wrapper of article.querySelectorAll(".md-typeset__scrollwrap")) {
      const scrolls = wrapper.scrollWidth > wrapper.clientWidth;
      if (scrolls === wrapper.hasAttribute("tabindex")) continue;
      if (scrolls) {
        wrapper.setAttribute("tabindex", "0");
        wrapper.setAttribute("role", "region");
        wrapper.setAttribute("aria-label", "Table");
      } else for (const name of ["tabindex", "role", "aria-label"]) wrapper.removeAttribute(name);
    }
  }

  new MutationObserver(reach).observe(article, { childList: true, subtree: true });
  new ResizeObserver(reach).observe(article);
})();
