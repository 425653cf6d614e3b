/* Reads a BibTeX entry: title, authors, venue, year and URL as a form asks for them. */
(function () {
  "use strict";

  const ACCENTS = { "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307", u: "\u0306", v: "\u030c", H: "\u030b", c: "\u0327", k: "\u0328", r: "\u030a" };
  const LETTERS = { o: "ø", O: "Ø", l: "ł", L: "Ł", ss: "ß", ae: "æ", AE: "Æ", oe: "œ", OE: "Œ", aa: "å", AA: "Å", i: "ı", j: "ȷ" };

  /** Text of a field without TeX's commands and braces. */
  function plain(value) {
    return value
      .replace(/\\(['`^"~=.])\s*\{?\\?([A-Za-z])\}?/g, (_, accent, letter) => letter + ACCENTS[accent])
      .replace(/\\([uvHckr])(?:\s+|\s*\{)\\?([A-Za-z])\}?/g, (_, accent, letter) => letter + ACCENTS[accent])
      .replace(/\\(ss|ae|AE|oe|OE|aa|AA|o|O|l|L|i|j)(?![A-Za-z])\s*/g, (_, name) => LETTERS[name])
      .replace(/\\([&%$#_{}])/g, "$1")
      .replace(/\\[A-Za-z]+\s*/g, "")
      .replace(/[{}$]/g, "")
      .replace(/---/g, "—")
      .replace(/--/g, "–")
      .replace(/~/g, " ")
      .replace(/\s+/g, " ")
      .trim()
      .normalize("NFC");
  }

  /** Fields of the first entry of a text by their names in small letters; null where there is none. */
  function fieldsOf(text) {
    const start = /@\s*([A-Za-z]+)\s*\{\s*[^\s,{}]+\s*,/.exec(text);
    if (!start || /^(string|comment|preamble)$/i.test(start[1])) return null;
    const found = {};
    let at = start.index + start[0].length;
    const name = /\s*([A-Za-z][\w-]*)\s*=\s*/y;
    for (;;) {
      name.lastIndex = at;
      const head = name.exec(text);
      if (!head) return found;
      at = name.lastIndex;
      const first = text[at];
      let depth = 0;
      let end = at;
      for (; end < text.length; end += 1) {
        const letter = text[end];
        if (letter === "\\") end += 1;
        else if (letter === "{") depth += 1;
        else if (letter === "}" && depth > 0) depth -= 1;
        else if (depth === 0 && (letter === "," || letter === "}")) break;
        else if (letter === '"' && first === '"' && depth === 0 && end > at) {
          end += 1;
          break;
        }
      }
      let value = text.slice(at, end).trim();
      if (/^".*"$/s.test(value) || /^\{.*\}$/s.test(value)) value = value.slice(1, -1);
      found[head[1].toLowerCase()] = value;
      while (end < text.length && /[\s,]/.test(text[end])) end += 1;
      at = end;
    }
  }

  /** A name as papers print it: "Last, First" becomes "First Last". */
  function person(name) {
    const parts = name.split(",").map((part) => part.trim());
    return parts.length === 1 ? parts[0] : [parts[parts.length - 1], ...parts.slice(0, -1)].join(" ");
  }

  window.apsite.bibtex = {
    /** Answers by the name of their question; those that the entry does not give are left out. */
    answers(text) {
      const fields = fieldsOf(text);
      if (!fields) return {};
      const get = (...names) => names.map((name) => plain(fields[name] ?? "")).find(Boolean) ?? "";
      const authors = (fields.author ?? "").split(/\s+and\s+/i).map((name) => person(plain(name))).filter((name) => name && name !== "others");
      const doi = get("doi").replace(/^https?:\/\/(dx\.)?doi\.org\//, "");
      const arxiv = /arxiv/i.test(get("archiveprefix", "journal", "eprinttype")) ? get("eprint") : "";
      const url = [get("url"), doi && "https://doi.org/" + doi, arxiv && "https://arxiv.org/abs/" + arxiv].find((one) => one?.startsWith("https://"));
      const answers = {
        "paper.title": get("title"),
        "paper.authors": authors.join("\n"),
        "paper.venue": get("booktitle", "journal", "journaltitle", "publisher", "howpublished"),
        "paper.year": /(?:19|20)\d\d/.exec(get("year", "date"))?.[0] ?? "",
        "paper.url": url ?? "",
      };
      return Object.fromEntries(Object.entries(answers).filter(([, value]) => value));
    },
  };
})();
