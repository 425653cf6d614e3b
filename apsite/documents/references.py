"""The reference list: papers that entries, records and the vocabulary cite by key."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources

SURVEY = "Piras2024Adversarial"
"""Key of the survey whose taxonomy and results the benchmark started from."""


@dataclass(frozen=True)
class Reference:
    """A cited paper: its key, such as ``Madry2018Towards``, and authors as the survey prints them.

    `number` is that of the survey's bibliography; ``None`` for the survey itself and later additions.
    """

    key: str
    number: int | None
    authors: tuple[str, ...]
    title: str
    venue: str
    year: int
    url: str | None

    @property
    def bibtex(self) -> str:
        """BibTeX entry of the paper."""
        fields = {
            "title": f"{{{self.title}}}", "author": " and ".join(self.authors), "journal": self.venue,
            "year": str(self.year), **({"url": self.url} if self.url else {}),
        }  # fmt: skip
        lines = (f"  {name} = {{{value.replace('&', chr(92) + '&')}}}" for name, value in fields.items())
        return f"@article{{{self.key},\n" + ",\n".join(lines) + "\n}"


@functools.cache
def load_references() -> dict[str, Reference]:
    """All references by key, in the order of the survey's bibliography."""
    text = resources.files("apsite.documents").joinpath("references.json").read_text(encoding="utf-8")
    return {key: Reference(key, **item | {"authors": tuple(item["authors"])}) for key, item in json.loads(text).items()}
