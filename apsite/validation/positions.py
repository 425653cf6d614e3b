"""Line of a place such as ``results.autoattack`` in a JSON file, for annotations."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
        lines = _lines(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 1
    while place:
        if place in lines:
            return lines[place]
        place = place[: max(place.rfind("."), place.rfind("["), 0)]
    return 1


def _lines(text: str) -> dict[str, int]:
    """Line of each member of a document; of what comes before the first mistake where it is no JSON."""
    lines: dict[str, int] = {}
    parts: list[str | int] = []  # the place of the current container
    keys: list[str | int] = []  # of each open container, the member that comes next
    line, position, after_colon = 1, 0, False
    for match in _PIECE.finditer(text):
        piece = match.group()
        line += text.count("\n", position, match.start())
        position = match.start()
        if piece in ",:":
            after_colon = piece == ":"
            if piece == "," and keys and isinstance(keys[-1], int):
                keys[-1] += 1
            continue
        if piece in "}]":
            if not keys:
                break
            keys.pop()
            if parts:
                parts.pop()
            continue
        in_object = bool(keys) and isinstance(keys[-1], str)
        if in_object and not after_colon:
            keys[-1] = str(json.loads(piece)) if piece.startswith('"') else ""
            lines[json_path([*parts, keys[-1]])] = line
            continue
        after_colon = False
        if keys and isinstance(keys[-1], int):
            lines[json_path([*parts, keys[-1]])] = line
        if piece in "{[":
            if keys:
                parts.append(keys[-1])
            keys.append("" if piece == "{" else 0)
    return lines
