/* Copy buttons: the text of the element whose id is in `data-copy` goes to the clipboard. */
(function () {
  "use strict";

  /** Select the text, for browsers and addresses that give no access to the clipboard. */
  function select(element) {
    const range = document.createRange();
    range.selectNodeContents(element);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    const source = document.getElementById(button.dataset.copy);
    if (!source) continue;
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        select(source);
        button.textContent = "Selected";
      }
      window.setTimeout(() => (button.textContent = label), 2000);
    });
  }
})();
