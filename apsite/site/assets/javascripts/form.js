/* The form that describes a method. It follows the rules of apsite/contribution/questions/, which writes them into the page, so
 * that the same answers give the same bytes here and in `apsite new`. */
(function () {
  "use strict";

  const form = document.getElementById("method-form");
  if (!form) return;
  const rules = JSON.parse(form.querySelector("script[type='application/json']").textContent);
  const DRAFT = "apsite-method-draft";
  const at = (id) => document.getElementById(id);
  const touched = new Set();
  let keyIsSuggested = true;
  let rowNumber = 0;

  /* Rules */

  const clean = (text) =>
    text
      .replace(/\r\n?/g, "\n")
      .replace(/\t/g, "  ")
      .normalize("NFC")
      .replace(/^[ \n\u00a0]+|[ \n\u00a0]+$/g, "");
  const length = (text) => Array.from(text).length;
  const say = (name, values) => rules.messages[name].replace(/\{(\w+)\}/g, (_, part) => String(values[part]));
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
      const words = question.choices.map((choice) => choice.value).filter((word) => chosen.has(word));
      return words.length ? words : null;
    }
    const text = clean(answer ?? "");
    if (!text) return null;
    if (question.kind === "yes-no") return text === "yes" ? true : text === "no" ? false : null;
    if (question.kind === "whole") return new RegExp(rules.whole).test(text) ? Number(text) : null;
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
    for (const name of rules.optional) if (!entry[name].length) delete entry[name];
    return entry;
  }

  function textProblem(question, text) {
    if (question.max_length !== null && length(text) > question.max_length) {
      return say("too_long", { found: length(text), allowed: question.max_length });
    }
    if (question.pattern !== null && !new RegExp(question.pattern).test(text)) {
      return say("pattern", { found: text, allowed: question.pattern_meaning });
    }
    return "";
  }

  function linesProblem(question, given) {
    if (question.max_items !== null && given.length > question.max_items) {
      return say("too_many", { found: given.length, allowed: question.max_items });
    }
    for (const [index, line] of given.entries()) {
      let problem = textProblem(question, line);
      if (!problem && given.indexOf(line) < index && question.name !== "paper.authors") problem = say("twice", { found: line });
      if (problem) return say("line", { line: index + 1, problem });
    }
    return "";
  }

  function rowsProblem(question, rows, answers) {
    if (question.max_items !== null && rows.length > question.max_items) {
      return say("too_many", { found: rows.length, allowed: question.max_items });
    }
    const key = clean(answers.key ?? "");
    for (const [index, row] of rows.entries()) {
      for (const field of question.rows) {
        let problem = problemOf(field, row[field.name], answers);
        const text = clean(row[field.name] ?? "");
        if (!problem && field.name === "model_key" && !text.startsWith(key + "_")) {
          problem = say("foreign", { found: text, allowed: key });
        }
        if (problem) return say("row", { line: index + 1, field: field.label, problem });
      }
    }
    return "";
  }

  function unitProblem(units, structures) {
    if (!structures.length) return "";
    const weight = units.includes("weight");
    const groups = units.some((unit) => unit !== "weight");
    if (structures.includes("unstructured") && !weight) return say("unit_weight", {});
    if (!structures.includes("unstructured") && weight) return say("no_weight", {});
    if (structures.includes("structured")) return groups ? "" : say("unit_group", {});
    return groups ? say("no_group", {}) : "";
  }

  function filesProblem(question, rows) {
    const label = (name) => question.rows.find((field) => field.name === name).label;
    const said = rows.map((row) => Object.fromEntries(question.rows.map(({ name }) => [name, clean(row[name] ?? "")])));
    const seen = new Map();
    for (const [index, row] of said.entries()) {
      const model = row.model_key;
      if (said.filter((other) => other.model_key === model).length > 1 && !row.notes) {
        return say("row", { line: index + 1, field: label("model_key"), problem: say("model_twice", { found: model }) });
      }
      for (const name of ["url", "sha256"]) {
        if (!row[name]) continue;
        if (!seen.has(row[name])) seen.set(row[name], model);
        const first = seen.get(row[name]);
        if (first !== model) {
          const problem = say("file_twice", { found: row[name], allowed: first });
          return say("row", { line: index + 1, field: label(name), problem });
        }
      }
    }
    return "";
  }

  /* In what an answer contradicts the others; the gate would refuse the entry for the same. */
  function conflict(question, answer, answers) {
    if (question.name === "specifics.granularity") return unitProblem(answer, answers["specifics.structure"] ?? []);
    if (question.name === "audit.pgd_over_10_iterations") return answers["audit.pgd"] === "no" ? say("no_pgd", {}) : "";
    if (question.name === "key") {
      const found = new RegExp(rules.key_year).exec(clean(answer).split("_")[1])?.[0];
      const year = clean(answers["paper.year"] ?? "");
      const apart = found && new RegExp(rules.whole).test(year) && Math.abs(Number(found) - Number(year)) > rules.years_apart;
      return apart ? say("years_apart", { found, allowed: year }) : "";
    }
    if (question.name === "paper.bibtex") {
      const text = clean(answer);
      const braces = text.split("{").length === text.split("}").length;
      const whole = new RegExp(rules.bibtex_start).test(text) && text.endsWith("}") && braces;
      return whole && (text.match(/^\s*@/gm) ?? []).length <= 1 ? "" : say("bibtex", {});
    }
    return question.name === "checkpoints" ? filesProblem(question, answer) : "";
  }

  function problemOf(question, answer, answers) {
    if (isEmpty(question, answer)) return question.required ? say("required", {}) : "";
    return ownProblem(question, answer, answers) || conflict(question, answer, answers);
  }

  function ownProblem(question, answer, answers) {
    if (question.kind === "rows") return rowsProblem(question, answer, answers);
    if (question.kind === "lines") return linesProblem(question, lines(answer));
    if (question.kind === "choices") return answer.includes(rules.nothing) && answer.length > 1 ? say("nothing", {}) : "";
    if (question.kind === "choice" || question.kind === "yes-no") return "";
    const text = clean(answer);
    if (question.kind === "whole") {
      const fits = new RegExp(rules.whole).test(text) && Number(text) >= question.minimum && Number(text) <= question.maximum;
      return fits ? "" : say("whole", { found: text, minimum: question.minimum, maximum: question.maximum });
    }
    if (question.kind === "fraction") {
      const fits = new RegExp(rules.fraction).test(text) && Number(text) <= 1;
      return fits ? "" : say("fraction", { found: text });
    }
    const problem = textProblem(question, text);
    if (!problem && question.name === "key" && rules.taken.includes(text)) return say("taken", { found: text });
    return problem;
  }

  function problemsOf(answers) {
    const found = new Map();
    for (const question of askedFor(answers)) {
      const problem = problemOf(question, answers[question.name], answers);
      if (problem) found.set(question.name, problem);
    }
    return found;
  }

  /* The page */

  const block = (name) => form.querySelector('[data-question="' + name + '"]');
  const inputs = (part) => Array.from(part.querySelectorAll("input, textarea, select"));

  function answerOf(question) {
    const part = block(question.name);
    if (question.kind === "rows") {
      return Array.from(part.querySelectorAll(".ap-form__row"), (row) =>
        Object.fromEntries(inputs(row).map((input) => [input.name, input.value])),
      );
    }
    const fields = inputs(part);
    if (question.kind === "choices") return fields.filter((field) => field.checked).map((field) => field.value);
    if (question.choices.length) return fields.find((field) => field.checked)?.value ?? "";
    return fields[0].value;
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

  function showProblem(name, problem) {
    const part = block(name);
    const line = at("answer-" + name.replace(/[._]/g, "-") + "-problem");
    line.textContent = problem;
    line.hidden = !problem;
    for (const field of inputs(part)) {
      if (field.type !== "radio" && field.type !== "checkbox") field.setAttribute("aria-invalid", problem ? "true" : "false");
    }
    part.classList.toggle("ap-form__wrong", Boolean(problem));
  }

  function stateText(found) {
    if (!found.size) return "Complete.";
    const missing = rules.questions.filter((question) => found.get(question.name) === rules.messages.required);
    const wrong = found.size - missing.length;
    const parts = [];
    if (missing.length) parts.push("Still needed: " + missing.map((question) => question.label).join(", ") + ".");
    if (wrong) parts.push(wrong === 1 ? "One answer has a problem." : wrong + " answers have a problem.");
    return parts.join(" ");
  }

  function addressOf(path, text) {
    const start = rules.repository + "/new/main?filename=" + encodeURIComponent(path);
    const whole = start + "&value=" + encodeURIComponent(text);
    return whole.length <= rules.max_address ? { href: whole, filled: true } : { href: start, filled: false };
  }

  let current = { path: "", text: "", found: new Map(), filled: true };

  function update() {
    let answers = answersNow();
    if (keyIsSuggested) {
      inputs(block("key"))[0].value = suggestedKey(answers);
      answers = answersNow();
    }
    const stage = answers["pipeline.stage"];
    for (const part of form.querySelectorAll("[data-stages]")) part.hidden = !part.dataset.stages.split(" ").includes(stage);
    const found = problemsOf(answers);
    for (const question of rules.questions) {
      showProblem(question.name, touched.has(question.name) ? found.get(question.name) ?? "" : "");
    }
    const text = JSON.stringify(entryOf(answers), null, 2) + "\n";
    const path = "entries/" + (clean(answers.key) || "…") + ".json";
    current = { path, text, found, filled: true };
    at("form-path").textContent = path;
    at("form-json").textContent = text;
    at("form-state").textContent = stateText(found);
    at("form-state").classList.toggle("ap-form__done", !found.size);
    offer();
    remember(answers);
  }

  function offer() {
    const link = at("form-open");
    link.hidden = !rules.repository;
    if (current.found.size) {
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
      : "The entry is too long for an address. The button copies it and opens GitHub with the file name; paste it there.";
  }

  /* Before anything leaves the form, every problem is shown, and the first one gets the focus. */
  function ready() {
    if (!current.found.size) return true;
    for (const question of rules.questions) touched.add(question.name);
    update();
    const [name] = current.found.keys();
    const part = block(name);
    (inputs(part).find((field) => !field.closest("[hidden]")) ?? part.querySelector("button"))?.focus();
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
          for (const input of inputs(addRow(question))) input.value = row[input.name] ?? "";
        }
        continue;
      }
      for (const field of inputs(block(question.name))) {
        if (field.type === "checkbox") field.checked = Array.isArray(answer) && answer.includes(field.value);
        else if (field.type === "radio") field.checked = field.value === answer;
        else field.value = answer ?? "";
      }
      if (!isEmpty(question, answer)) touched.add(question.name);
    }
  }

  function touch(event) {
    const name = event.target.closest("[data-question]")?.dataset.question;
    if (!name) return;
    if (name === "key" && event.type === "input") keyIsSuggested = !event.target.value;
    /* Leaving a field that was never filled in is no mistake yet. */
    if (event.type === "input" || event.target.value) touched.add(name);
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
    touched.clear();
    keyIsSuggested = true;
    window.setTimeout(update);
  });
  at("form-open").addEventListener("click", (event) => {
    if (!ready()) event.preventDefault();
    else if (!current.filled) copy();
  });
  at("form-open").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && current.found.size) ready();
  });
  at("form-download").addEventListener("click", () => ready() && download());
  at("form-copy").addEventListener("click", () => ready() && copy());
  restore();
  form.hidden = false;
  update();
})();
