"""Dataclasses from JSON documents, and documents from dataclasses.

Field names, closed sets and optional fields are stated once, in the dataclasses. A field with a default is left out of
the document where it has that default; a field without one is always written. Documents are checked against their JSON
Schema before they are read, so the converter checks nothing and changes no number: ``1`` stays a whole number.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter

from cattrs import Converter

from apsite.protocol import Scalar

converter = Converter(omit_if_default=True, detailed_validation=False, unstruct_collection_overrides={tuple: list})
converter.register_unstructure_hook(StrEnum, attrgetter("value"))
for _kind in (float, Scalar):
    converter.register_structure_hook(_kind, lambda value, _: value)
