/* A worker in the place of the theme's search engine: it is ready at once, and at the first question it fetches the
 * index of all pages and starts the engine with it. So a page on which nobody searches loads neither.
 */
(function () {
  "use strict";

  /* What the theme and its engine say to each other. */
  const [SETUP, READY, QUESTION, ANSWER] = [0, 1, 2, 3];
  let setup = null;
  let engine = null;

  /** The engine, once it has read the index; a page from disk has brought its own. */
  async function start() {
    const here = self.location.href;
    const index = setup.docs.length ? setup : await (await fetch(new URL("../../../search/documents.json", here))).json();
    return new Promise((resolve, reject) => {
      const worker = new Worker(new URL("engine.js", here));
      worker.addEventListener("error", reject);
      worker.addEventListener("message", ({ data: message }) => {
        if (message.type === READY) resolve(worker);
        else self.postMessage(message);
      });
      worker.postMessage({ type: SETUP, data: { ...setup, docs: index.docs } });
    });
  }

  async function ask(message) {
    if (!message.data) return self.postMessage({ type: ANSWER, data: { items: [] } }); /* the theme asks at the start */
    engine ??= start();
    try {
      return (await engine).postMessage(message);
    } catch {
      engine = null; /* the next question tries again */
      return self.postMessage({ type: ANSWER, data: { items: [] } });
    }
  }

  self.addEventListener("message", ({ data: message }) => {
    if (message.type === SETUP) {
      setup = message.data;
      self.postMessage({ type: READY });
    } else if (message.type === QUESTION) {
      ask(message);
    }
  });
})();
