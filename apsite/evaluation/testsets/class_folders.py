"""Folders with one folder of images per class."""

from __future__ import annotations

from pathlib import Path

from apsite.errors import DatasetError

MAPPING = "classes.txt"
"""File among the class folders with lines of a folder's name and, as last word, which class it is."""


def class_folders(folder: Path) -> list[str]:
    """Sorted names of the class folders, without hidden ones; none if `folder` is not a folder."""
    there = folder.iterdir() if folder.is_dir() else ()
    return sorted(path.name for path in there if path.is_dir() and not path.name.startswith("."))


def mapping(folder: Path) -> dict[str, str]:
    """Class of each folder by its :func:`plain` name, as :data:`MAPPING` says; empty if there is no such file.

    Raises:
        DatasetError: If the file is not a text.
    """
    try:
        lines = (folder / MAPPING).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{folder / MAPPING}: cannot be read ({error})") from None
    return {" ".join(words[:-1]): words[-1] for words in map(str.split, lines) if words}


def plain(name: str) -> str:
    """Name with single blanks between its words, as :func:`mapping` has it."""
    return " ".join(name.split())
