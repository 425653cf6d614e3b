/* The switch between light and dark. Until a reader has used it, the page follows the system; a script in the page's
 * head line has set the scheme before anything was shown.
 */
(function () {
  "use strict";

  const KEY = "apsite.scheme";
  const button = document.querySelector(".ap-scheme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function kept() {
    try {
      return window.localStorage.getItem(KEY);
    } catch {
      return null; /* Storage may be closed to the page; then the system decides on every page. */
    }
  }

  function show(scheme) {
    if (document.body.dataset.mdColorScheme !== scheme) document.body.dataset.mdColorScheme = scheme;
    button.setAttribute("aria-pressed", String(scheme === "slate"));
  }

  button.addEventListener("click", () => {
    const scheme = document.body.dataset.mdColorScheme === "slate" ? "default" : "slate";
    try {
      window.localStorage.setItem(KEY, scheme);
    } catch {
      /* As above. */
    }
    show(scheme);
  });
  system.addEventListener("change", () => show(kept() ?? (system.matches ? "slate" : "default")));
  show(document.body.dataset.mdColorScheme);
})();
