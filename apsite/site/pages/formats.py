"""File formats, field by field."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import schema_fields


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page, which does not depend on the data."""
    return {
        "kinds": {kind: schema_fields.fields(kind) for kind in ("entry", "record", "published")},
        "arrays": schema_fields.SAMPLE_ARRAYS,
    }


PAGE = Page(
    path="formats.md",
    title="File formats",
    description="Every field of entries, records and per-sample files: type, limits and meaning.",
    context=context,
)
