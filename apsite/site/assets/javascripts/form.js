/* The form that describes a method. The browser checks each answer by the constraints in the page, which come from the
 * schema; this script decides which questions there are and what file their answers make, the same bytes as
 * `apsite new` writes (apsite/contribution/questions/answers.py). */
(function () {
  "use strict";

  const form = document.getElementById("method-form");
  if (!form) return;
  const rules = JSON.parse(form.querySelector("script[type='application/json']").textContent);
  const DRAFT = "apsite-method-draft";
  const at = (id) => document.getElementById(id);
  const touched = new WeakSet();
  let showsAll = false;
  let keyIsSuggested = true;
  let rowNumber = 0;

  /* From answers to the file */

  const clean = (text) =>
    text
      .replace(/\r\n?/g, "\n")
      .replace(/\t/g, "  ")
      .normalize("NFC")
      .replace(/^[ \n\u00a0]+|[ \n\u00a0]+$/g, "");
  const lines = (text) => clean(text ?? "").split("\n").map(clean).filter(Boolean);
  const askedFor = (answers) =>
    rules.questions.filter((question) => !question.stages.length || question.stages.includes(answers["pipeline.stage"]));

  function isEmpty(question, answer) {
    if (question.kind === "lines") return !lines(answer).length;
    if (question.kind === "choices" || question.kind === "rows") return !(answer ?? []).length;
    return !clean(answer ?? "");
  }

  function suggestedKey(answers) {
    const fold = (text) => text.normalize("NFKD");
    const name = fold(clean(answers.name ?? "")).replace(/[^A-Za-z0-9-]/g, "").slice(0, 40);
    const first = lines(answers["paper.authors"])[0] ?? "";
    const last = first.includes(",") ? first.split(",")[0] : first.slice(first.lastIndexOf(" ") + 1);
    const surname = fold(last).replace(/[^A-Za-z-]/g, "").replace(/^-+/, "").slice(0, 41);
    const year = clean(answers["paper.year"] ?? "");
    const words = clean(answers["paper.title"] ?? "").split(" ").map((word) => fold(word).replace(/[^A-Za-z0-9]/g, ""));
    const word = (words.find(Boolean) ?? "").slice(0, 41);
    if (!name || !surname || !/^(19|20)[0-9]{2}$/.test(year) || !word) return "";
    const isUpper = word === word.toUpperCase() && word !== word.toLowerCase();
    const rest = isUpper ? word.slice(1).toLowerCase() : word.slice(1);
    return name + "_" + surname[0].toUpperCase() + surname.slice(1) + year + word[0].toUpperCase() + rest;
  }

  function valueOf(question, answer) {
    if (question.kind === "rows") return (answer ?? []).map((row) => rowOf(question, row));
    if (question.kind === "lines") return lines(answer);
    if (question.kind === "choices") {
      const chosen = new Set(answer ?? []);
      if (chosen.has(rules.nothing)) return [];
      const others = (answer ?? []).filter((word) => question.other && word.startsWith(rules.other));
      const words = [...question.choices.filter((word) => chosen.has(word)), ...others];
      return words.length ? words : null;
    }
    const text = clean(answer ?? "");
    if (!text) return null;
    if (question.kind === "yes-no") return text === "yes" ? true : text === "no" ? false : null;
    if (question.kind === "whole") return Number.isInteger(Number(text)) ? Number(text) : null;
    if (question.kind === "fraction") return new RegExp(rules.fraction).test(text) ? Number(text) : null;
    return text;
  }

  function rowOf(question, row) {
    const made = {};
    for (const field of question.rows) {
      const value = valueOf(field, row[field.name]);
      if (value !== null || rules.row_fields[question.name].includes(field.name)) made[field.name] = value;
    }
    return made;
  }

  function entryOf(answers) {
    const entry = structuredClone(rules.skeleton);
    entry.pipeline = structuredClone(rules.pipelines[answers["pipeline.stage"]] ?? null);
    const answered = new Set();
    for (const question of askedFor(answers)) {
      const split = question.name.lastIndexOf(".");
      const group = question.name.slice(0, Math.max(split, 0));
      const target = group ? entry[group] : entry;
      if (target) target[question.name.slice(split + 1)] = valueOf(question, answers[question.name]);
      if (!isEmpty(question, answers[question.name])) answered.add(group);
    }
    for (const group of rules.null_groups) if (!answered.has(group)) entry[group] = null;
    for (const name of rules.optional) if (!entry[name]?.length) delete entry[name];
    const source = rules.default_sources.map((name) => clean(answers[name] ?? "")).find(Boolean);
    const said = (value) => value && (!Array.isArray(value) || value.length);
    const sourced = source ? rules.sourced.filter((name) => said(entry[name])) : [];
    entry.sources = Object.fromEntries(sourced.map((name) => [name, source]));
    return entry;
  }

  /* The page */

  const block = (name) => form.querySelector('[data-question="' + name + '"]');
  const inputs = (part) => Array.from(part.querySelectorAll("input, textarea, select"));

  /* The box "other" stands for the words next to it. */
  const wordsOf = (part) => part.querySelector("[data-words]");
  const wordOf = (part, box) => (box.value === rules.other ? rules.other + " " + clean(wordsOf(part).value) : box.value);

  function answerOf(question) {
    const part = block(question.name);
    if (question.kind === "rows") {
      return Array.from(part.querySelectorAll(".ap-form__row"), (row) =>
        Object.fromEntries(inputs(row).map((input) => [input.name, input.value])),
      );
    }
    const fields = inputs(part);
    const chosen = fields.filter((field) => field.checked).map((field) => wordOf(part, field));
    if (question.kind === "choices") return chosen;
    return question.choices.length ? (chosen[0] ?? "") : fields[0].value;
  }

  const answersNow = () => Object.fromEntries(rules.questions.map((question) => [question.name, answerOf(question)]));

  function addRow(question) {
    const part = block(question.name);
    const row = part.querySelector("template").content.firstElementChild.cloneNode(true);
    rowNumber += 1;
    for (const node of row.querySelectorAll("[id], [for], [aria-describedby]")) {
      for (const name of ["id", "for", "aria-describedby"]) {
        const value = node.getAttribute(name);
        if (value !== null) node.setAttribute(name, value.replaceAll("ROW", String(rowNumber)));
      }
    }
    row.querySelector("[data-remove]").addEventListener("click", () => {
      row.remove();
      part.querySelector("[data-add]").focus();
      update();
    });
    part.querySelector(".ap-form__rows").append(row);
    return row;
  }

  const fieldsOf = (part) => inputs(part).filter((field) => field.willValidate);
  const questionOf = (field) => field.closest("[data-question]").dataset.question;

  /* What the browser's own checks cannot know: keys and names that are taken, and groups of boxes of which one must be
   * ticked. */
  function checkWhole() {
    for (const [field] of [inputs(block("key")), inputs(block("name"))]) {
      const found = clean(field.value);
      const taken = rules.taken.some((one) => one.toLowerCase() === found.toLowerCase());
      field.setCustomValidity(taken ? rules.taken_message.replace("{found}", found) : "");
    }
    for (const part of form.querySelectorAll("[data-at-least-one]")) {
      const boxes = inputs(part);
      boxes[0].setCustomValidity(boxes.some((box) => box.checked) ? "" : part.dataset.atLeastOne);
    }
  }

  /* The browser's message, or for a pattern what it asks for. */
  function problemOf(field) {
    if (field.validity.valid || !(showsAll || touched.has(field))) return "";
    return field.validity.patternMismatch ? field.title : field.validationMessage;
  }

  function showProblems() {
    const said = new Map();
    for (const field of fieldsOf(form)) {
      const part = field.closest(".ap-form__question");
      said.set(part, said.get(part) || problemOf(field));
      if (field.type !== "radio" && field.type !== "checkbox") field.setAttribute("aria-invalid", String(Boolean(problemOf(field))));
    }
    for (const [part, problem] of said) {
      const line = part.querySelector(":scope > .ap-form__problem");
      line.textContent = problem;
      line.hidden = !problem;
      part.classList.toggle("ap-form__wrong", Boolean(problem));
    }
  }

  function stateText() {
    const missing = new Set();
    let wrong = 0;
    for (const field of fieldsOf(form).filter((one) => !one.validity.valid)) {
      const isEmptyGroup = field.closest("[data-at-least-one]");
      if (field.validity.valueMissing || isEmptyGroup) missing.add(questionOf(field));
      else wrong += 1;
    }
    const labels = rules.questions.filter((question) => missing.has(question.name)).map((question) => question.label);
    const parts = [];
    if (labels.length) parts.push("Still required: " + labels.join(", ") + ".");
    if (wrong) parts.push(wrong === 1 ? "One answer has a problem." : wrong + " answers have a problem.");
    return parts.join(" ") || "Complete.";
  }

  function addressOf(path, text) {
    const start = rules.repository + "/new/main?filename=" + encodeURIComponent(path);
    const whole = start + "&value=" + encodeURIComponent(text);
    return whole.length <= rules.max_address ? { href: whole, filled: true } : { href: start, filled: false };
  }

  let current = { path: "", text: "", filled: true };

  function update() {
    let answers = answersNow();
    if (keyIsSuggested) {
      inputs(block("key"))[0].value = suggestedKey(answers);
      answers = answersNow();
    }
    const stage = answers["pipeline.stage"];
    for (const part of form.querySelectorAll("[data-stages]")) {
      part.hidden = part.disabled = !part.dataset.stages.split(" ").includes(stage);
    }
    for (const words of form.querySelectorAll("[data-words]")) {
      words.required = inputs(words.parentElement)[0].checked;
    }
    checkWhole();
    showProblems();
    const text = JSON.stringify(entryOf(answers), null, 2) + "\n";
    const path = "entries/" + (clean(answers.key) || "…") + ".json";
    current = { path, text, filled: true };
    at("form-path").textContent = path;
    at("form-json").textContent = text;
    at("form-state").textContent = stateText();
    at("form-state").classList.toggle("ap-form__done", form.checkValidity());
    offer();
    remember(answers);
  }

  function offer() {
    const link = at("form-open");
    link.hidden = !rules.repository;
    if (!form.checkValidity()) {
      link.removeAttribute("href");
      link.setAttribute("role", "link");
      link.setAttribute("aria-disabled", "true");
      link.tabIndex = 0;
      at("form-hint").textContent = "";
      return;
    }
    const address = addressOf(current.path, current.text);
    current.filled = address.filled;
    link.href = address.href;
    for (const name of ["role", "aria-disabled", "tabindex"]) link.removeAttribute(name);
    at("form-hint").textContent = address.filled
      ? "GitHub opens with the file filled in; “Propose new file” there starts the pull request."
      : "The entry is too long for a URL. The button copies it and opens GitHub with the file name; paste it there.";
  }

  /* Before anything leaves the form, every problem is shown, and the first one gets the focus. */
  function ready() {
    if (form.checkValidity()) return true;
    showsAll = true;
    update();
    form.reportValidity();
    return false;
  }

  async function copy() {
    try {
      await navigator.clipboard.writeText(current.text);
      at("form-hint").textContent = "Copied.";
    } catch {
      at("form-hint").textContent = "The browser did not allow copying. Select the text below and copy it.";
      const range = document.createRange();
      range.selectNodeContents(at("form-json"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
    }
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([current.text], { type: "application/json" }));
    link.download = current.path.replace("entries/", "");
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    at("form-hint").textContent = "Saved as " + link.download + "; its place is " + current.path + ".";
  }

  /* A draft outlives a closed window; where storage is not allowed, the form goes without. */
  function remember(answers) {
    try {
      localStorage.setItem(DRAFT, JSON.stringify({ answers, keyIsSuggested }));
    } catch {}
  }

  function restore() {
    let draft = null;
    try {
      draft = JSON.parse(localStorage.getItem(DRAFT));
    } catch {}
    if (!draft?.answers) return;
    keyIsSuggested = draft.keyIsSuggested !== false;
    for (const question of rules.questions) {
      const answer = draft.answers[question.name];
      if (question.kind === "rows") {
        for (const row of Array.isArray(answer) ? answer : []) {
          for (const field of inputs(addRow(question))) {
            field.value = row[field.name] ?? "";
            touched.add(field);
          }
        }
        continue;
      }
      const given = question.choices.length ? [answer ?? ""].flat() : [];
      const other = given.find((word) => question.other && String(word).startsWith(rules.other));
      for (const field of inputs(block(question.name))) {
        if (field.matches("[data-words]")) field.value = other?.slice(rules.other.length + 1) ?? "";
        else if (field.value === rules.other) field.checked = other !== undefined;
        else if (field.type === "checkbox" || field.type === "radio") field.checked = given.includes(field.value);
        else field.value = answer ?? "";
        if (isEmpty(question, answer)) continue;
        touched.add(field);
        field.closest("details")?.setAttribute("open", "");
      }
    }
  }

  /* A pasted BibTeX entry answers the questions about the paper that nobody has answered by hand. */
  const filled = new Map();
  function fillFrom(text) {
    for (const [name, value] of Object.entries(window.apsite.bibtex.answers(text))) {
      const field = inputs(block(name))[0];
      if (field.value && field.value !== filled.get(name)) continue;
      field.value = value;
      filled.set(name, value);
      touched.add(field);
    }
  }

  function touch(event) {
    const name = event.target.closest("[data-question]")?.dataset.question;
    if (!name) return;
    if (event.target.matches("[data-words]") && event.target.value) inputs(event.target.parentElement)[0].checked = true;
    if (name === "paper.bibtex" && event.type === "input") fillFrom(event.target.value);
    if (name === "key" && event.type === "input") keyIsSuggested = !event.target.value;
    /* Leaving a field that was never filled in is no mistake yet. */
    if (event.type === "input" || event.target.value) touched.add(event.target);
    update();
  }

  for (const question of rules.questions) {
    if (question.kind !== "rows") continue;
    block(question.name).querySelector("[data-add]").addEventListener("click", () => {
      inputs(addRow(question))[0].focus();
      update();
    });
  }
  form.addEventListener("input", touch);
  form.addEventListener("change", touch);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    for (const row of form.querySelectorAll(".ap-form__row")) row.remove();
    showsAll = false;
    for (const field of inputs(form)) touched.delete(field);
    keyIsSuggested = true;
    window.setTimeout(update);
  });
  at("form-open").addEventListener("click", (event) => {
    if (!ready()) event.preventDefault();
    else if (!current.filled) copy();
  });
  at("form-open").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !form.checkValidity()) ready();
  });
  at("form-download").addEventListener("click", () => ready() && download());
  at("form-copy").addEventListener("click", () => ready() && copy());
  restore();
  form.hidden = false;
  update();
})();
