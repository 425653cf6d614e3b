"""Texts that contributors write: what names, lines, remarks, URLs and BibTeX may hold, and when two names look alike.

The JSON Schemas name these rules as ``format``. Each takes a text and returns what is wrong with it, or an empty text.
Scripts and variants of letters follow from the names that Unicode gives them, so there is no table of them.

Source: Unicode Technical Standard #39, Unicode Security Mechanisms: restriction levels, confusable detection.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import unicodedata
from collections.abc import Callable, Collection
from urllib.parse import unquote

_LINE = "^[^\\u0000-\\u001F\\u007F-\\u009F\\u00AD\\u200B\\u200E\\u200F\\u2028-\\u202E\\u2060-\\u206F\\uFEFF]*$"
_TEXT = _LINE.replace("\\u001F", "\\u0009\\u000B-\\u001F", 1)
PATTERNS = {"name": _LINE, "alias": _LINE, "person": _LINE, "line": _LINE, "text": _TEXT, "bibtex": _TEXT}
"""What browsers and other programs can check of a format: a regular expression of both Python and JavaScript."""

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Characters of other categories that show nothing, or take the place of what could not be read.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc\ufffd\U0001d159"
    "\U000e0100-\U000e01ef]"
)
# Joiners within words of Arabic and Indic scripts, and the emoji style of a symbol, are part of ordinary texts.
_JOINED = re.compile("(?<=[\u0620-\u0dff])[\u200c\u200d](?=[\u0620-\u0dff])|(?<=[\u203c-\u3299])\ufe0f")
_ALIKE = {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "COPTIC", "CHEROKEE"}
"""Scripts with letters of the same shape."""
_MATHS = {"LATIN", "GREEK"}
"""Scripts that share a word in titles, as in μTransfer."""
_SIGNS = "·×÷±–—−‘’“”′…→≤≥∞§†‡°"  # noqa: RUF001
"""Signs that the name of a method may have besides those of ASCII and superscripts."""
_LATIN = re.compile("LATIN (SMALL|CAPITAL) (?:LETTER|LIGATURE) (?:DOTLESS |SHARP )?([A-Z]{1,2}|ETH|THORN)(?: WITH .*)?")
"""Unicode's names of the Latin letters that languages use, without those of phonetics."""


def line_problem(text: str, *, marks: int = 3, mixed: Collection[str] = _MATHS) -> str:
    """What is wrong with one line in any script, such as a title.

    Args:
        text: The line.
        marks: Most combining marks over a letter, after composition.
        mixed: Scripts that may share a word although they have letters of the same shape.
    """
    if text.isascii() and text.isprintable() and text == text.strip():
        return ""
    row = 0
    for letter in _JOINED.sub("", text):
        category = unicodedata.category(letter)
        if category in _UNSEEN or _BLANK.match(letter):
            return f"holds {_named(letter)}, which shows nothing or changes how text is shown; remove it"
        row = row + 1 if category in ("Mn", "Me") else 0
        if row > marks:
            return f"has more than {marks} combining mark{'s' * (marks > 1)} over one letter; remove them"
    if text != text.strip():
        return "begins or ends with a blank; remove it"
    if text and all(unicodedata.category(letter)[0] in "MZ" for letter in text):
        return "shows nothing; write a text"
    if not unicodedata.is_normalized("NFC", text):
        return "has accents as characters of their own; convert it to Unicode's normalization form C"
    for word in re.split(r"[\W\d_]+", text):
        scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in word} & _ALIKE
        if len(scripts) > 1 and not scripts <= set(mixed):
            names = " and ".join(sorted(name.title() for name in scripts))
            return f"mixes {names} letters in the word {word[:40]!r}; use one script"
        if sum(map(_styled, word)) > 1:
            return f"has full-width or mathematical letters in {word[:40]!r}; use ordinary letters"
    return ""


def text_problem(text: str) -> str:
    """What is wrong with a text of one or more lines."""
    problems = (line_problem(line.strip(" \u3000")) for line in text.split("\n"))
    return next(filter(None, problems), "" if text == text.strip() else "begins or ends with a blank; remove it")


def person_problem(text: str) -> str:
    """What is wrong with the name of a person or group, which may be of any script."""
    nameless = "" if any(map(str.isalnum, text)) else "has no letter; write a name"
    return line_problem(text, mixed=()) or nameless


def name_problem(text: str) -> str:
    """What is wrong with the name of a method: Latin letters, ASCII digits and signs, as its key has to be ASCII."""
    if found := line_problem(text, marks=1, mixed=()):
        return found
    for letter in text:
        if letter.isascii():
            continue
        name, category = unicodedata.name(letter), unicodedata.category(letter)
        if (category[0] == "L" or "LETTER" in name) and (not _LATIN.fullmatch(name) or _styled(letter, "<")):
            return f"holds {_named(letter)}; use ordinary Latin letters, as in the key of the method"
        if category[0] not in "LM" and category != "No" and letter not in _SIGNS:
            return f"holds {_named(letter)}; use an ordinary digit, sign or blank"
    return "" if re.search("[a-z0-9]", skeleton(text)) else "has neither a letter nor a digit; write a name"


def alias_problem(text: str) -> str:
    """What is wrong with another key of a method, which people type as an option and which may name a folder."""
    odd = next((letter for letter in text if not (letter.isalnum() or letter in "_.+-")), "")
    if found := name_problem(text):
        return found
    if odd:
        return f"holds {odd!r}; use letters, digits, '_', '.', '+' and '-'"
    return "" if text[0].isalnum() else "begins like an option or a path; begin with a letter or a digit"


def skeleton(text: str) -> str:
    """Text that two names share if they look alike: without accents, case and marks at the ends, shapes merged.

    >>> skeleton("Rïval") == skeleton("RIVAL") == skeleton("Riva1")
    True
    """
    letters = (letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter)[0] != "M")
    latin = ((letter, _LATIN.fullmatch(unicodedata.name(letter, ""))) for letter in letters)
    plain = "".join(letter if name is None or letter.isascii() else name[2].lower() for letter, name in latin)
    shapes = str.maketrans("i1|!0–—−‘’′", "llllo---'''")  # noqa: RUF001
    return " ".join(plain.replace("rn", "m").replace("vv", "w").casefold().translate(shapes).split()).strip("-_.,:;'")


_NOT_PUBLIC = {
    "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost", "onion",
    "private", "svc", "test",
}  # fmt: skip
"""Last labels of host names that nobody else can reach. Source: RFC 6761, RFC 6762, RFC 7686, and common use."""


def url_problem(url: str) -> str:
    """What is wrong with a URL of the right form: a host that is not public, a port, a path that leads elsewhere."""
    scheme, _, rest = url.partition(":")
    host, *path = rest.removeprefix("//").split("/")
    if scheme == "https":
        name, _, port = host.partition(":")
        if port and not 0 < int(port[:6]) < 65_536:
            return f"has the port {port[:10]}; ports are 1 to 65535"
        if not _public(name.lower()):
            return f"leads to {name[:80]!r}, which is not a public host; give a URL that everybody can open"
        return "holds an encoded control character; remove it" if re.search("%([01].|7f)", rest, re.I) else ""
    parts = re.split("[/@]" if scheme == "hf" else "/", unquote(rest.removeprefix("//")))
    if scheme != "gdrive" and {"", ".", ".."} & {*parts}:
        return "has an empty part, '.' or '..' in its path; write the path out"
    if scheme == "hf" and (len(path) < 2 or not (host[0] + path[0][0]).isalnum()):
        return "is not of the form hf://owner/repository/file"
    dash = scheme == "gdrive" and host.startswith("-")
    return "has an id that begins with a dash; copy it from the link to the file" if dash else ""


def _public(host: str) -> bool:
    """Whether a host is a domain name or an IPv4 host of the public internet, as far as its text says."""
    if re.search(r"(^|\.)([0-9]+|0x[0-9a-f]*)$", host):  # programs read it as an address
        return _global(host)
    labels = host.split(".")
    ordinary = all(re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in labels) and len(host) <= 253
    within = re.search(r"(?<![0-9])[0-9]+([.-][0-9]+){3}(?![0-9])", host)  # as in 127.0.0.1.nip.io
    known = re.fullmatch("[a-z]{2,}|xn--[a-z0-9-]+", labels[-1]) and labels[-1] not in _NOT_PUBLIC
    return len(labels) > 1 and ordinary and bool(known) and (within is None or _global(within[0]))


def _global(address: str) -> bool:
    try:
        found = ipaddress.IPv4Address(address.replace("-", "."))
        return found.is_global and not found.is_multicast
    except ValueError:
        return False


# Commands that read or write files, run programs or define commands, by parts of their names.
_ACTING = re.compile(
    "input|include|write|open(in|out)|^(new)?read|def$|^(future)?let$|command|declare|environment|catcode|csname|^the$|"
    "^(direct|late)lua|special|expand|shell|syntax|setup|package|document|require|import|^load|verbatim|listing|every|"
    "^at(begin|end)|immediate|scantokens|^after|jobname|file|image|graphic|^pdf|bibliography|resource|makeat|^loop$|"
    "^repeat$|mode$|message|typeout|^show|^(end|begin|stop|bye|dump|global|outer|if(?!f$).*)$",
    re.IGNORECASE,
)
_NO_PAPER = {"comment", "control", "ieeetranbstctl", "preamble", "set", "string", "xdata"}
"""Entries of BibTeX and biblatex that define or set something."""


def bibtex_problem(text: str) -> str:
    """What is wrong with a BibTeX entry: it is a single entry of a paper, and its commands do no more than set type."""
    if found := text_problem(text):
        return found
    kind = re.match(r"@([A-Za-z]+)\s*\{\s*[^\s,{}]+", text)
    depths = list(itertools.accumulate((sign == "{") - (sign == "}") for sign in text))
    if kind is None or not text.endswith("}") or depths[-1]:
        return "is not one BibTeX entry such as '@inproceedings{key, title = {…}}'; check its braces"
    if 0 in depths[kind.end() : -1] or re.search(r"@\s*[A-Za-z]+\s*[{(]", text[1:]):
        return "holds more than one BibTeX entry; keep that of the paper"
    if kind[1].lower() in _NO_PAPER:
        return f"is a @{kind[1].lower()}; give the entry of the paper, such as @inproceedings"
    commands = filter(_ACTING.search, re.findall(r"\\([A-Za-z]+)", text))
    elsewhere = re.search(r"\^\^|\\href\s*\{(?!\s*(https?|mailto):)", text)  # ^^ hides letters, run: starts programs
    acting = next(commands, elsewhere[0] if elsewhere else "")
    return f"holds the command {acting[:40]}, which may do more than set type; remove it" if acting else ""


FORMATS: dict[str, Callable[[str], str]] = {
    "name": name_problem, "alias": alias_problem, "person": person_problem, "line": line_problem,
    "text": text_problem, "bibtex": bibtex_problem, "url": url_problem,
}  # fmt: skip
"""Rules by the ``format`` of a field in the JSON Schemas."""
_LONGEST = 4_000  # characters of a field; ``maxLength`` refuses what is longer


def format_problem(name: str, text: str) -> str:
    """What is wrong with a text under a rule of :data:`FORMATS`; nothing if it is longer than any field may be."""
    return FORMATS[name](text) if len(text) <= _LONGEST else ""


def _styled(letter: str, tags: str | tuple[str, ...] = ("<font>", "<wide>", "<narrow>")) -> bool:
    """Whether a character is the mathematical, full-width or half-width variant of another."""
    return unicodedata.decomposition(letter).startswith(tags)


def _named(letter: str) -> str:
    return f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".rstrip()
