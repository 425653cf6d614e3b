"""Pages, help, messages and docstrings use the standard terms."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

WORDS = {
    r"mend(s|ed|ing|able)?": "fix, correct",
    r"verdicts?": "result; robust / not robust",
    r"figures?": "number, value, result; a figure is a plot",
    r"stands?|stood": "is, is in, is next to",
    r"(can|could|may) be had": "available at, download from",
    r"spelt|spells?|spelled|spelling": "written as, label",
    r"(go|goes|going|went|gone) on": "resume, continue",
    r"naive": "baseline, simple",
    r"graphics cards?": "GPU",
    r"address(es)?": "URL",
    r"needed|needless": "required",
    r"budgets?": "perturbation size ε, or its value (ε = 8/255)",
    r"(is|are) none (that|of)": "is not a valid …",
    r"told|tells?": "described in, see",
    r"closed words|words? of (the|an?) (vocabulary|entry|entries|options?|enum|taxonomy)": "value, term",
    r"an? (?!lot)(\w+) a \w+": "one … per …",
    r"the (one )?gate": "the checks, `apsite validate`",
    r"holes?": "vulnerability",
    r"asks? ahead": "evaluate speculatively",
    r"for nothing": "wasted",
}
"""What readers should not meet, as regular expressions of whole words, and what to write instead."""

EXCEPTIONS = {
    ("docs/cluster.md", r"--address="): "an option of Ray",
    ("*.py", r"`[^`]+`|\bdatum\.\w+|^ +\w+: "): "a name of the code",
}
"""Text that may hold such words, by file and regular expression, each with its reason."""


class Line(NamedTuple):
    """A line that readers meet: its file, its number there, and its text."""

    path: str
    number: int
    text: str


def lines_of(*patterns: str) -> Iterator[Line]:
    """Lines of the files that patterns name."""
    for path in sorted({path for pattern in patterns for path in ROOT.glob(pattern)}):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield Line(path.relative_to(ROOT).as_posix(), number, text)


def found(lines: Iterable[Line]) -> list[str]:
    """Each use of a word that has a better one: where, what, and what to write instead."""
    problems = []
    for line in lines:
        text = line.text
        for pattern, allowed in EXCEPTIONS:
            if fnmatch(line.path, pattern):
                text = re.sub(allowed, "", text)
        problems += [
            f"{line.path}:{line.number}: '{match[0]}': write {better}"
            for word, better in WORDS.items()
            for match in re.finditer(rf"\b(?:{word})\b", text, re.IGNORECASE)
        ]
    return problems


def pages() -> Iterator[Line]:
    """Hand-written pages, files of the platform, notebooks, the Makefile, and the schemas that messages quote."""
    yield from lines_of("*.md", "*.cff", "*.yml", "Makefile", "docs/*.md", "notebooks/*.ipynb", ".github/**/*.md")
    yield from lines_of(".github/*/*.yml", "apsite/documents/schemas/*.json")


def code() -> Iterator[Line]:
    """Messages, help and docstrings of the package, the benchmarks and the scripts: literals that have a space."""
    for path in (path for folder in ("apsite", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
                for offset, text in enumerate(node.value.splitlines()):
                    yield Line(path.relative_to(ROOT).as_posix(), node.lineno + offset, text)


def site() -> Iterator[Line]:
    """What templates and scripts of the site show: no markup and no expressions, but the texts in them."""
    for line in lines_of("apsite/site/templates/*.j2", "apsite/site/theme/*.html"):
        text = re.sub(r"\{[{%].*?[%}]\}", lambda found: " ".join(re.findall(r"'([^']* [^']*)'", found[0])), line.text)
        text = re.sub(r"<.*?>", lambda found: " ".join(re.findall(r'(?:label|title)="([^"]*)"', found[0])), text)
        yield line._replace(text=re.sub(r"\{ #.*?\}", "", text))
    for line in lines_of("apsite/site/assets/**/*.js"):
        yield line._replace(text=" ".join(re.findall(r'"([A-Z][^"]* [^"]*)"', line.text)))


@pytest.mark.parametrize("place", [pages, code, site])
def test_texts_use_the_standard_words(place: Callable[[], Iterator[Line]]) -> None:
    assert not (problems := found(place())), "\n".join(["", *problems])


def test_old_words_are_found() -> None:
    assert found([Line("x.md", 3, "Its Verdicts stand there.")]) == [
        "x.md:3: 'Verdicts': write result; robust / not robust",
        "x.md:3: 'stand': write is, is in, is next to",
    ]
    assert not found([Line("docs/cluster.md", 1, "--address=here")])
