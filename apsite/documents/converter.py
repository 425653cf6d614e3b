"""Dataclasses from JSON documents, and documents from dataclasses.

Field names, closed sets and optional fields are stated once, in the dataclasses. A field with a default is left out of
the document where it has that default; a field without one is always written. Documents are checked against their JSON
Schema before they are read, so the converter checks nothing and changes no number: ``1`` stays a whole number.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Any

from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from apsite.protocol import Scalar

converter = Converter(
    omit_if_default=True,
    detailed_validation=False,
    unstruct_collection_overrides={tuple: list},
)
converter.register_unstructure_hook(StrEnum, attrgetter("value"))
for _kind in (float, Scalar):
    converter.register_structure_hook(_kind, lambda value, _: value)


ALWAYS = override(omit_if_default=False)
"""Write this field also where it has its default."""


def fields_of(kind: type[Any], **rules: Any) -> None:
    """Set how fields of a dataclass are written: :data:`ALWAYS`, or ``override(rename="name in the document")``."""
    read = make_dict_structure_fn(kind, converter, _cattrs_detailed_validation=False, **rules)
    written = make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=True, **rules)
    converter.register_structure_hook(kind, read)
    converter.register_unstructure_hook(kind, written)
