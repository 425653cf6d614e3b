"""Names, URLs and BibTeX that pretend to be something else, and numbers and lists that cost the checks time."""

from __future__ import annotations

import json
from typing import Any

from tests.builders import METHOD, RIVAL, changed, entry_document
from tests.corpus.cases import Bad, entry, record, text
from tests.submissions import ENTRY, OTHERS_ENTRY, RECORD, edit, full_run, write

UNSEEN = "shows nothing or changes how text is shown; remove it"
LATIN = "use ordinary Latin letters, as in the key of the method"
ALIKE = f"is or looks like 'Rival' of {RIVAL}; add what distinguishes them"
BLANK = "begins or ends with a blank; remove it"
HOST = "which is not a public host; give a URL that everybody can open"
SEVERAL = "holds more than one BibTeX entry; keep that of the paper"
COMMAND = "which may do more than set type; remove it"

NAMES = [
    *(entry("name", name, UNSEEN) for name in (
        "Ri\u00adval", "Rival\u200b", "\u200b\u200c\u2060", "\u3164", "Rival\U000e0041\U000e0042", "Ti\u009bny",
        "Ti\uffffny", "Ti\ufffeny", "Tiny\u061c", "\u200eTiny", "Tiny\u200f", "Ti\nny", "Ti\x1bny", "Ti\u202eny",
        "Ti\u2066ny", "\u2800", "\uffa0", "\u115f", "Ti\ufe0fny", "Ti\u034fny", "Ti\ufeffny", "Ti\u180eny",
        "Ti\U0001d173ny", "Ti\ue000ny", "Ti\ufdd0ny", "Ti\U0010ffffny", "Ti\u2028ny", "Ti\x85ny", "Ti\U000e0100ny",
        "Ti\ufffdny", "Ti\u17b4ny",
    )),
    *(entry("name", name, LATIN) for name in (
        "\u0420\u0406\u0423", "\u0392\u0391\u039d", "\u9c81\u68d2\u526a\u679d", "Riv\u0251l", "\u0280ival", "Riva\u01c0", "\U00010411ival", "\u24c7ival", "\U0001f1f7ival",
        "\u212fast", "\ufb01ne",
    )),
    entry("name", "Riv\u0430l", "mixes Cyrillic and Latin letters in the word 'Riv\u0430l'; use one script"),
    entry("name", "H\u0391RP", "mixes Greek and Latin letters"),
    entry("name", "\u03b1Prune", "mixes Greek and Latin letters"),
    entry("name", "\u13a1ival", "mixes Cherokee and Latin letters"),
    entry("name", "\uff32\uff49\uff56\uff41\uff4c", "has full-width or mathematical letters"),
    entry("name", "\U0001d411\U0001d422\U0001d42f\U0001d41a\U0001d425", "has full-width or mathematical letters"),
    entry("name", "Tiny\uff11", "use an ordinary digit, sign or blank"),
    entry("name", "\u2160val", "use an ordinary digit, sign or blank"),
    entry("name", "Riva\u2223", "use an ordinary digit, sign or blank"),
    entry("name", "Tiny\u2605", "use an ordinary digit, sign or blank"),
    entry("name", "Tiny\u0661", "use an ordinary digit, sign or blank"),
    entry("name", "Tiny\uff0b", "use an ordinary digit, sign or blank"),
    entry("name", "Ti\u00a0ny", "use an ordinary digit, sign or blank"),
    entry("name", "Tiny\u00a0", BLANK),
    *(entry("name", name, BLANK) for name in ("Rival ", " Rival", "Rival\u2003", " ", "\u3000")),
    entry("name", "R" + "\u0335" * 36 + "ival", "has more than 1 combining mark over one letter; remove them"),
    entry("name", "T\u0301\u0302iny", "has more than 1 combining mark over one letter"),
    entry("name", "e\u0301lan", "convert it to Unicode's normalization form C"),
    entry("name", "\u0301", "shows nothing; write a text"),
    *(entry("name", name, "has neither a letter nor a digit; write a name") for name in ("-", "..", "++", "\u221e")),
    *(entry("name", name, ALIKE) for name in (
        "rival", "RIVAL", "Riva1", "RivaI", "R\u00edval", "R\u0131val", "Riva\u0142", "Riv\u00e5l", "Riva|", "R\u0336ival", "Rival.", "Rival\u2032",
    )),
    entry("aliases", ["Rival"], ALIKE, "aliases[0]"),
    entry("aliases", ["RivaI"], ALIKE, "aliases[0]"),
    entry("aliases", ["Rival_Roe2O23Other"], f"is or looks like {RIVAL!r} of {RIVAL}", "aliases[0]"),
    entry("aliases", ["rival_roe2023OLD"], f"is or looks like 'Rival_Roe2023Old' of {RIVAL}", "aliases[0]"),
    entry("aliases", [RIVAL], f"{RIVAL!r} is or looks like {RIVAL!r} of {RIVAL}; add", "aliases[0]"),
    Bad("entry alias taken by a method that sorts later", edit(OTHERS_ENTRY, ("aliases", ["Rival_Roe2023Old", METHOD])),
        OTHERS_ENTRY, "aliases[1]", f"{METHOD!r} is or looks like {METHOD!r} of {METHOD}; add what distinguishes them"),
    entry("aliases", ["Ri\u200bval"], UNSEEN, "aliases[0]"),
    entry("aliases", ["T\u0456ny"], "mixes Cyrillic and Latin letters", "aliases[0]"),
    *(entry("aliases", [alias], "has neither a letter nor a digit", "aliases[0]") for alias in (".", "..", "-", "--")),
    *(entry("aliases", [alias], "begins like an option or a path", "aliases[0]") for alias in (
        "-rf", "--help", ".hidden", "..a", "+x", "_a")),
    *(entry("aliases", [alias], "use letters, digits, '_', '.', '+' and '-'", "aliases[0]") for alias in (
        "a b", "a/b", "../a", "~root", "$HOME", "a;b", "a*", "C:x", "a\\b", "a`b", "a(b)", "a=b", "@a", "#a", "a%2f")),
    entry("aliases", [""], "is empty", "aliases[0]"),
    entry("key", "-rf_Doe2024Small", "does not have the required form"),
    entry("paper.title", "Small\ufffe", UNSEEN),
    entry("paper.title", "\u200d" * 300, UNSEEN),
    entry("paper.title", "Small\u200eNetworks", UNSEEN),
    entry("paper.title", "S\u0335\u0336\u0337\u0338mall", "has more than 3 combining marks over one letter"),
    entry("paper.title", "Sm\u0430ll Networks", "mixes Cyrillic and Latin letters in the word"),
    entry("paper.title", "\U0001d412\U0001d426\U0001d41a\U0001d425\U0001d425", "has full-width or mathematical letters"),
    entry("paper.title", "Small Networks ", BLANK),
    entry("paper.title", "Re\u0301seaux", "convert it to Unicode's normalization form C"),
    entry("paper.authors", ["J\u0430ne Doe"], "mixes Cyrillic and Latin letters in the word 'J\u0430ne'", "paper.authors[0]"),
    entry("paper.authors", ["J\u03b1ne Doe"], "mixes Greek and Latin letters", "paper.authors[0]"),
    entry("paper.authors", ["\u3164"], UNSEEN, "paper.authors[0]"),
    entry("paper.authors", ["..."], "has no letter; write a name", "paper.authors[0]"),
    entry("paper.venue", " ", BLANK),
    entry("notes", ["A remark.\u202e"], UNSEEN, "notes[0]"),
    entry("notes", ["One line.\nRi\u00advale"], UNSEEN, "notes[0]"),
    entry("notes", ["\u2063"], UNSEEN, "notes[0]"),
    entry("notes", ["\n"], BLANK, "notes[0]"),
    entry("checkpoints[0].notes", "\U000e0041", UNSEEN),
    entry("reported[0].attack", "PGD\u200b", UNSEEN),
    entry("audit.others", ["C\u0421W"], "mixes Cyrillic and Latin letters", "audit.others[0]"),
    record("notes", ["\u200b"], UNSEEN, "notes[0]"),
    record("provenance.source", " ", BLANK),
    record("provenance.source", "\u00a0", BLANK),
    record("provenance.source", "J\u0430ne Doe", "mixes Cyrillic and Latin letters"),
    record("provenance.source", "-", "has no letter; write a name"),
    record("provenance.location", "Table\u2060 3", UNSEEN),
    record("verification", {"date": "2026-01-02", "samples": 9, "agreement": 1.0, "by": "\u3164"}, UNSEEN, "verification.by"),
    record("environment.device", "GPU\x9b", UNSEEN),
    record("settings.note", " ", BLANK),
    record("data.split", "test\u00ad", UNSEEN),
    record("audit.layers[0].name", "conv\u200b1.weight", UNSEEN),
    record("warnings", [{"code": "x", "message": "\U0001d159"}], UNSEEN, "warnings[0].message"),
]  # fmt: skip

URLS = [
    *(entry("code.url", f"https://{host}/x", HOST) for host in (
        "...", "localhost", "localhost.localdomain.local", "git.localhost", "169.254.169.254", "192.168.1.10", "10.0.0.1",
        "172.16.0.1", "127.0.0.1", "0.0.0.0", "100.64.0.1", "224.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001",
        "127.1", "1.2.3.256", "metadata.google.internal", "printer.local", "intranet", "build.corp", "x.test", "a.onion",
        "1.0.0.127.in-addr.arpa", "127.0.0.1.nip.io", "app-10-0-0-5.example.org", "example..org", ".example.org",
        "example.org.", "localhost.localdomain", "default.svc", "a.b1", "host.docker.internal", "-a.example.org", "a-.example.org", f"{'a' * 64}.org", "LOCALHOST",
    )),
    *(entry("code.url", f"https://example.org:{port}/x", "ports are 1 to 65535") for port in ("99999", "65536", "0", "9" * 30)),
    entry("code.url", "https://example.org/%0d%0aSet-Cookie:a", "holds an encoded control character; remove it"),
    entry("code.url", "https://example.org/a%00.pt", "holds an encoded control character"),
    entry("paper.url", "https://[::1]/x", "does not have the required form"),
    entry("paper.url", "https://169.254.169.254/latest/meta-data", HOST),
    entry("checkpoints[0].url", "https://localhost:8080/model.pt", HOST),
    *(entry("checkpoints[0].url", url, "has an empty part, '.' or '..' in its path; write the path out") for url in (
        "hf://jane/../model.pt", "hf://../../x", "hf://jane/tiny/../../x.pt", "hf://jane//model.pt", "hf://jane/tiny/",
        "hf:///tiny/model.pt", "hf://jane/./model.pt", "hf://jane/tiny@../x.pt", "hf://jane/tiny@/x.pt", "doi:10.5281/%2e%2e/x.pt", "doi:10.5281/../x.pt", "doi:10.5281//x.pt",
    )),
    *(entry("checkpoints[0].url", url, "is not of the form hf://owner/repository/file") for url in (
        "hf://jane/tiny", "hf://model.pt", "hf://-jane/tiny/x.pt", "hf://jane/-tiny/x.pt", "hf://jane/_/x.pt")),
    *(entry("checkpoints[0].url", f"gdrive://{name}", "has an id that begins with a dash") for name in ("-O", "--output=x")),
    entry("changes", [{"date": "2026-01-02", "kind": "corrected", "reason": "x", "url": "https://10.0.0.1/"}], HOST, "changes[0].url"),
    record("checkpoint.url", "https://192.168.0.2/model.pt", HOST),
    record("checkpoint.url", "gdrive://-rf", "has an id that begins with a dash"),
]  # fmt: skip

PAPER = "@article{Doe2024Small, title = {Small}}"
BIBTEX = [
    *(entry("paper.bibtex", bibtex, SEVERAL) for bibtex in (
        f'{PAPER} @preamble{{"\\input{{x}}"}}', f"{PAPER}@article{{b, title={{y}}}}", f"{PAPER} @article{{b}}",
        f"{PAPER}\n@string{{iclr = {{X}}}}", f"{PAPER}\n}}@article{{b, title={{}}", "@a{x, t={a}}\n{@b{y}}",
        "@article{a, title = {@article{b, title = {x}}}}", f"{PAPER} and {{more}}", f"{PAPER}\n@comment{{x}}",
        "@article{a, title = {x}, note = {\n@string (a = b)}}",
    )),
    entry("paper.bibtex", '@preamble{"\\newcommand{\\x}{y}"}', "is a @preamble; give the entry of the paper"),
    entry("paper.bibtex", "@STRING{cvpr = {x}}", "is a @string; give the entry of the paper"),
    entry("paper.bibtex", "@Comment{a}", "is a @comment"),
    entry("paper.bibtex", "@IEEEtranBSTCTL{x, y = {z}}", "is a @ieeetranbstctl"),
    entry("paper.bibtex", "@article(Doe2024Small, title = {Small})", "is not one BibTeX entry"),
    entry("paper.bibtex", f"x {PAPER}", "is not one BibTeX entry"),
    *(entry("paper.bibtex", f"@article{{a, title = {{{command}}}}}", COMMAND) for command in (
        "\\input{/etc/passwd}", "\\write18{id}", "\\immediate\\write 18{id}", "\\include{x}", "\\openin5=x", "\\openout5=x",
        "\\read5 to \\x", "\\def\\x{y}", "\\gdef\\x{y}", "\\let\\a\\b", "\\newcommand{\\x}{y}", "\\renewcommand\\x{y}",
        "\\catcode`\\@=0", "\\csname input\\endcsname x", "\\directlua{os.exit()}", "\\usepackage{x}", "\\special{x}",
        "\\lstinputlisting{/etc/passwd}", "\\verbatiminput{x}", "\\InputIfFileExists{x}{}{}", "\\ShellEscape{id}",
        "\\includegraphics{x}", "\\begin{filecontents}{x}\\end{filecontents}", "^^5cinput x", "\\scantokens{x}",
        "\\expandafter\\x", "\\AtEndDocument{x}", "\\everypar{x}", "\\loop\\repeat", "\\iftrue", "\\makeatletter",
        "\\href{run:/bin/sh}{x}", "\\href{file:///etc/passwd}{x}", "\\hypersetup{x}", "\\ExplSyntaxOn", "\\pdfliteral{x}",
        "\\newread\\x", "\\bibliography{x}", "\\DeclareMathOperator{\\x}{y}",
    )),
    entry("paper.bibtex", "@article{a, title = {Sm\u00adall}}", UNSEEN),
]  # fmt: skip


def flood(path: str, field: str, value: Any, message: str, place: str | None = None) -> Bad:
    """A field with very many members, in a file that is small enough to be read."""
    document = changed(entry_document() if path == ENTRY else full_run(), field, value)
    content = json.dumps(document, separators=(",", ":"))
    return Bad(
        f"flood of {path.split('/', maxsplit=1)[0]}, {field}",
        write(path, content),
        path,
        field if place is None else place,
        message,
    )


FLOODS = [
    flood(ENTRY, "aliases", [{"a": number} for number in range(60_000)], "has 60,000 members; at most 10 are allowed"),
    flood(ENTRY, "notes", [1] * 300_000, "has 300,000 members; at most 30 are allowed"),
    flood(ENTRY, "paper.authors", [["a"]] * 100_000, "has 100,000 members; at most 60 are allowed"),
    flood(ENTRY, "pipeline.pretraining", list(range(100_000)), "has 100,000 members; at most 12 are allowed"),
    flood(ENTRY, "audit.others", ["a"] * 200_000, "has 200,000 members; at most 20 are allowed"),
    flood(ENTRY, "specifics.structure", [{}] * 200_000, "names something twice; name each once"),
    flood(ENTRY, "checkpoints", [{}] * 200_000, "has 200,000 members; at most 200 are allowed"),
    flood(RECORD, "warnings", [1] * 300_000, "has 300,000 members; at most 50 are allowed"),
    flood(RECORD, "changes", [{}] * 200_000, "has 200,000 members; at most 50 are allowed"),
    flood(RECORD, "results.attacks", [{}] * 200_000, "has 200,000 members; at most 20 are allowed"),
    flood(RECORD, "results.attacks[hofmn].search.at_bound", [0] * 300_000, "0 is not one of 'learning_rate'",
          "results.attacks[1].search.at_bound[0]"),
    flood(RECORD, "passes", {f"a{number}": 0 for number in range(60_000)}, "'a0' does not have the required form"),
    text("60,000 unknown fields", json.dumps(entry_document() | dict.fromkeys(map(str, range(60_000)), 0)), "and 59,995 more"),
    text("a name twice behind 90,000 others", "{" + "".join(f'"{n}":0,' for n in range(90_000)) + '"1":0}', "names '1' twice"),
]  # fmt: skip
WHOLE = "is not of type integer; write a whole number, without a point or an exponent"
WHOLE_NUMBERS = [
    Bad("checkpoint of 1e300 bytes", edit(RECORD, ("checkpoint.size", 1e300)), RECORD, "checkpoint.size", f"1e+300 {WHOLE}"),
    record("changes", [{"date": "2026-01-02", "kind": "supersedes", "reason": "x", "version": 1.0}], f"1.0 {WHOLE}", "changes[0].version"),
    record("results.n_samples", 10_000.0, "10000.0 is not of type integer or null; write a whole number"),
    record("audit.weights", 10_000.0, f"10000.0 {WHOLE}"),
    Bad("entry of the year 2024.0", edit(ENTRY, ("paper.year", 2024.0)), ENTRY, "paper.year", f"2024.0 {WHOLE}"),
]  # fmt: skip

PRETENDED = [*NAMES, *URLS, *BIBTEX, *FLOODS, *WHOLE_NUMBERS]
