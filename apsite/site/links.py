"""URLs: relative ones between pages, and the allowed external ones."""

from __future__ import annotations

import posixpath
from urllib.parse import quote, urlsplit


def relative(page: str, target: str) -> str:
    """Relative URL of `target` from `page`; both are paths inside the site, `target` may end in ``#fragment``."""
    path, mark, fragment = target.partition("#")
    start = posixpath.dirname(page) or "."
    address = posixpath.relpath(path, start) if path else ""
    return quote(address) + mark + fragment


def external(address: str | None) -> str | None:
    """URL that a page may link to: ``https`` unchanged, known hosts translated, anything else ``None``."""
    if address is None or any(character.isspace() or ord(character) < 32 for character in address):
        return None
    scheme, _, rest = address.partition(":")
    if scheme == "https":
        try:
            return address if urlsplit(address).hostname else None
        except ValueError:
            return None
    if scheme == "hf":
        parts = rest.removeprefix("//").split("/")
        if len(parts) < 3:
            return None
        return f"https://huggingface.co/{'/'.join(map(quote, parts[:2]))}/blob/main/{'/'.join(map(quote, parts[2:]))}"
    if scheme == "gdrive":
        return f"https://drive.google.com/file/d/{quote(rest.removeprefix('//'), safe='')}/view"
    if scheme == "doi":
        return f"https://doi.org/{quote(rest)}"
    return None
