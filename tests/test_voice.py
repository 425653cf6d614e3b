"""Pages, help, messages and docstrings use the standard terms."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
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


def lines_of(path: Path) -> Iterator[Line]:
    """Lines of a page as it is written."""
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        yield Line(path.relative_to(ROOT).as_posix(), number, text)


def found(lines: list[Line]) -> list[str]:
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


def prose_of(path: Path) -> Iterator[Line]:
    """Lines of messages, help and docstrings of a module: its literals that have a space."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for offset, text in enumerate(node.value.splitlines()):
                yield Line(path.relative_to(ROOT).as_posix(), node.lineno + offset, text)


def pages() -> list[Line]:
    """Hand-written pages, the README and its neighbours, forms of the platform, notebooks, and help of the Makefile."""
    patterns = ("*.md", "*.cff", "*.yml", "Makefile", "docs/*.md", "notebooks/*.ipynb", ".github/**/*.md",
                ".github/*/*.yml")  # fmt: skip
    paths = sorted({path for pattern in patterns for path in ROOT.glob(pattern)})
    return [line for path in paths for line in lines_of(path)]


def schemas() -> list[Line]:
    """The JSON Schemas, whose descriptions are shown in messages and pages."""
    return [line for path in sorted((ROOT / "apsite/documents/schemas").glob("*.json")) for line in lines_of(path)]


def code() -> list[Line]:
    """Messages, help and docstrings of the package, the benchmarks and the scripts."""
    folders = ("apsite", "benchmarks", "scripts")
    return [line for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) for line in prose_of(path)]


def site() -> list[Line]:
    """What templates and scripts of the site show: no markup and no expressions, but the texts in them."""
    shown = []
    for line in (line for path in sorted((ROOT / "apsite/site/templates").glob("*.j2")) for line in lines_of(path)):
        text = re.sub(r"\{[{%].*?[%}]\}", lambda found: " ".join(re.findall(r"'([^']* [^']*)'", found[0])), line.text)
        text = re.sub(r"<.*?>", lambda found: " ".join(re.findall(r'(?:label|title)="([^"]*)"', found[0])), text)
        shown.append(line._replace(text=re.sub(r"\{ #.*?\}", "", text)))
    scripts = (line for path in sorted((ROOT / "apsite/site/assets").rglob("*.js")) for line in lines_of(path))
    texts = (line._replace(text=" ".join(re.findall(r'"([A-Z][^"]* [^"]*)"', line.text))) for line in scripts)
    return [*shown, *texts]


@pytest.mark.parametrize("place", [pages, schemas, code, site])
def test_texts_use_the_standard_words(place: Callable[[], list[Line]]) -> None:
    """Each old word is named with its place and with what to write instead."""
    assert not (problems := found(place())), "\n".join(["", *problems])


def test_old_words_are_found() -> None:
    """In any inflection and case, and within f-strings; names of a cited plot or a module are let through."""
    assert found([Line("x.md", 3, "Its Verdicts stand there.")]) == [
        "x.md:3: 'Verdicts': write result; robust / not robust",
        "x.md:3: 'stand': write is, is in, is next to",
    ]
    assert not found([Line("docs/cluster.md", 1, "--address=here")])
