"""Answers about a paper from its BibTeX entry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from apsite.contribution.questions.answers import clean
from apsite.documents.texts import bibtex_problem
from apsite.errors import ApsiteError

_MAX_BYTES = 200_000
_VENUES = ("booktitle", "journal", "journaltitle", "howpublished", "school", "publisher")


def answers_from_bibtex(path: Path, key: str | None = None) -> dict[str, Any]:
    """Title, authors, venue, year, URL and text of a BibTeX entry, as answers of :mod:`apsite.contribution.questions`.

    `key` selects one of several entries in the file.

    Raises:
        ApsiteError: If the file cannot be read, is not BibTeX, has no such entry or several to choose from.
    """
    from pybtex.database import BibliographyDataError, parse_string
    from pybtex.scanner import PybtexSyntaxError

    text = _read(path)
    try:
        bibliography = parse_string(text, "bibtex")  # type: ignore[no-untyped-call]
    except (PybtexSyntaxError, BibliographyDataError) as error:
        raise ApsiteError(f"{path}: is not BibTeX: {' '.join(str(error).split())}") from None
    names = list(bibliography.entries)
    if not names:
        raise ApsiteError(f"{path}: holds no BibTeX entry; write one such as '@article{{…}}'")
    if key is None and len(names) > 1:
        raise ApsiteError(f"{path}: holds {len(names)} entries; choose one with --bibtex-key: {', '.join(names[:10])}")
    if key is not None and key not in bibliography.entries:
        raise ApsiteError(f"{path}: has no entry {key!r}; it has {', '.join(names[:10])}")
    entry = bibliography.entries[key if key is not None else names[0]]
    year = re.search(r"\b(19|20)[0-9]{2}\b", str(entry.fields.get("year", entry.fields.get("date", ""))))
    answers = {
        "paper.title": _plain(entry.fields.get("title", "")),
        "paper.authors": [_person(person) for person in entry.persons.get("author", ())],
        "paper.venue": _venue(entry.fields),
        "paper.year": year[0] if year else "",
        "paper.url": _address(entry.fields),
        # A file may hold remarks of the program that wrote it, which are no part of the entry.
        "paper.bibtex": text if len(names) == 1 and not bibtex_problem(clean(text)) else entry.to_string("bibtex"),
    }
    return {name: answer for name, answer in answers.items() if answer}


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ApsiteError(f"{path}: has more than {_MAX_BYTES:,} bytes; keep only the entry of the paper")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ApsiteError(f"{path}: is not UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise ApsiteError(f"{path}: cannot be read: {error.strerror}") from None


def _plain(text: str) -> str:
    """LaTeX as plain characters: accents decoded, braces and repeated spaces gone."""
    from pybtex.richtext import Text

    return " ".join(str(Text.from_latex(text)).split())  # type: ignore[no-untyped-call]


def _person(person: Any) -> str:
    parts = [name for part in ("first", "middle", "prelast", "last", "lineage") for name in person.get_part(part)]
    return _plain(" ".join(parts))


def _venue(fields: Any) -> str:
    arxiv = "arXiv" if fields.get("eprint") or "arxiv" in str(fields.get("url", "")).lower() else ""
    return next((_plain(fields[name]) for name in _VENUES if fields.get(name)), arxiv)


def _address(fields: Any) -> str:
    """URL of the paper, preferably the publisher's permanent one."""
    if fields.get("doi"):
        return "https://doi.org/" + re.sub(r"^(https?://(dx\.)?doi\.org/|doi:)", "", _plain(fields["doi"]))
    if fields.get("url"):
        return re.sub(r"^http://", "https://", _plain(fields["url"]))
    if re.fullmatch(r"[0-9]{4}\.[0-9]{4,5}(v[0-9]+)?", str(fields.get("eprint", ""))):
        return f"https://arxiv.org/abs/{fields['eprint']}"
    return ""
