"""The Python interface: public names, signatures and docstrings."""

from __future__ import annotations

from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import docstrings


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page, which does not depend on the data."""
    return {"modules": docstrings.modules(), "inline": docstrings.inline}


PAGE = Page(
    path="python.md",
    title="Python interface",
    description="Classes and functions that read the data of the benchmark, load pruned networks and evaluate them.",
    context=context,
    hide=(),
)
