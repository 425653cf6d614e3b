/* What the scripts of pages share: the state in the address, loading of scripts and data, and elements with text.
 *
 * Text of contributors becomes part of a page through `textContent` only; nothing here takes markup.
 */
(function () {
  "use strict";

  const loaded = new Map();

  const page = {
    /** Parameters of the address, as they stand now. */
    parameters: () => new URLSearchParams(window.location.search),

    /** Let `change` alter the parameters of the address; nothing is added to the history. */
    remember(change) {
      const parameters = page.parameters();
      change(parameters);
      const query = parameters.toString();
      const address = window.location.pathname + (query ? "?" + query : "") + window.location.hash;
      try {
        window.history.replaceState(window.history.state, "", address);
      } catch {
        /* Some browsers keep the address of a page on disk as it is. */
      }
      window.dispatchEvent(new Event("apsite:address"));
    },

    /** Run a script once, however often it is asked for. */
    script(address) {
      if (!loaded.has(address)) {
        const promise = new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = address;
          script.addEventListener("load", resolve);
          script.addEventListener("error", () => reject(new Error("cannot load " + address)));
          document.head.append(script);
        });
        loaded.set(address, promise);
      }
      return loaded.get(address);
    },

    /** The value of a JSON file, fetched once. */
    data(address) {
      if (!loaded.has(address)) {
        const promise = fetch(address).then((answer) => {
          if (!answer.ok) throw new Error(address + " answered " + answer.status);
          return answer.json();
        });
        promise.catch(() => loaded.delete(address));
        loaded.set(address, promise);
      }
      return loaded.get(address);
    },

    /** The value of a JSON block of the page. */
    block(element) {
      return JSON.parse(element.textContent);
    },

    /** An element with attributes and children; strings become text. */
    make(name, attributes = {}, ...children) {
      const element = document.createElement(name);
      for (const [key, value] of Object.entries(attributes)) {
        if (value === true) element.setAttribute(key, "");
        else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
      }
      element.append(...children);
      return element;
    },

    /** Give a file to the reader. */
    save(name, content, type) {
      const address = URL.createObjectURL(new Blob([content], { type }));
      const link = page.make("a", { href: address, download: name });
      link.click();
      window.setTimeout(() => URL.revokeObjectURL(address), 1000);
    },

    /** A share in percent with so many decimals. Ties go to the even digit, as where the pages are written. */
    percent(share, digits) {
      const value = 100 * share;
      const scaled = value * 10 ** digits;
      const tie = Number.isInteger(8 * value) && scaled % 2 === 0.5;
      return (tie ? Math.floor(scaled) / 10 ** digits : value).toFixed(digits);
    },

    /** Heights moved as little as needed to keep `gap` between neighbours. */
    apart(heights, gap, low, high) {
      const order = heights.map((_, index) => index).sort((a, b) => heights[a] - heights[b]);
      let placed = order.map((index) => Math.min(Math.max(heights[index], low), high));
      for (let round = 0; round < 200; round += 1) {
        let moved = false;
        for (let index = 1; index < placed.length; index += 1) {
          const short = gap - (placed[index] - placed[index - 1]);
          if (short > 1e-9) {
            placed[index - 1] -= short / 2;
            placed[index] += short / 2;
            moved = true;
          }
        }
        placed = placed.map((height) => Math.min(Math.max(height, low), high));
        if (!moved) break;
      }
      const result = [];
      order.forEach((index, position) => (result[index] = placed[position]));
      return result;
    },

    /** A property of the page's style, in the scheme that it has now. */
    style: (name) => window.getComputedStyle(document.body).getPropertyValue(name).trim(),

    /** Call back whenever the page changes between light and dark. */
    onScheme(call) {
      const observer = new MutationObserver(call);
      observer.observe(document.body, { attributes: true, attributeFilter: ["data-md-color-scheme"] });
    },
  };

  window.apsite = { page };
})();
