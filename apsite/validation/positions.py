"""Line of a place such as ``results.attacks[hofmn]`` in a JSON file, for annotations."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

from apsite.documents.schema import json_path

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_MAX_BYTES = 1_000_000


def line_of(path: Path, place: str) -> int:
    """Line of a place in a file, 1 being the first; of what surrounds it where the place itself is missing."""
    if path.suffix != ".json" or not place:
        return 1
    try:
        if path.is_symlink() or path.stat().st_size > _MAX_BYTES:
            return 1
        text = path.read_text(encoding="utf-8")
        lines, place = _lines(text), _numbered(place, text)
    except (OSError, ValueError):
        return 1
    while place:
        if place in lines:
            return lines[place]
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return 1


def _numbered(place: str, text: str) -> str:
    """A place whose list items go by their attack, such as ``attacks[hofmn]``, with their numbers instead."""
    if not re.search(r"\[[a-z]", place):
        return place
    found, parts = json.loads(text), []
    for part in re.findall(r"[^.\[\]]+", place):
        step: Any = int(part) if isinstance(found, list) and part.isdigit() else part
        if isinstance(found, list) and not part.isdigit():
            names = [item.get("attack") if isinstance(item, dict) else None for item in found]
            step = names.index(part) if part in names else part
        try:
            found = found[step]
        except (LookupError, TypeError):
            found = None
        parts.append(step)
    return json_path(parts)


@functools.lru_cache(1)  # a file can have many problems
def _lines(text: str) -> dict[str, int]:
    """Line of each member of a document; of what comes before the first mistake where it is no JSON."""
    lines: dict[str, int] = {}
    keys: list[str | int] = []  # of each open container, its current member
    line, position, after_colon = 1, 0, False
    for match in _PIECE.finditer(text):
        piece = match.group()
        line += text.count("\n", position, match.start())
        position = match.start()
        if piece in ",:":
            after_colon = piece == ":"
            if piece == "," and keys and isinstance(keys[-1], int):
                keys[-1] += 1
        elif piece in "}]":
            if not keys:
                break
            keys.pop()
        elif keys and isinstance(keys[-1], str) and not after_colon:
            keys[-1] = str(json.loads(piece)) if piece.startswith('"') else ""
            lines[json_path(keys)] = line
        else:
            after_colon = False
            if keys and isinstance(keys[-1], int):
                lines[json_path(keys)] = line
            if piece in "{[":
                keys.append("" if piece == "{" else 0)
    return lines
