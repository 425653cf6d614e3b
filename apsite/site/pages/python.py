"""The Python interface: public names, signatures and docstrings; a page for the package and one for each module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apsite.site.page import Page, SiteFacts
from apsite.site.tables import docstrings


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page of the package, which does not depend on the data."""
    package, *modules = docstrings.modules()
    return {"package": package, "modules": modules, "inline": docstrings.inline}


def members(facts: SiteFacts) -> Mapping[str, str]:
    """Titles of the pages of modules by the name of the module."""
    return {module.name: module.path for module in docstrings.modules()[1:]}


def module(facts: SiteFacts, name: str) -> dict[str, Any]:
    """Names for the page of one module."""
    found = context(facts)
    return found | {"module": next(one for one in found["modules"] if one.name == name)}


PAGE = Page(
    path="python.md",
    title="Python interface",
    description="Classes and functions that read the data of the benchmark, load pruned networks and evaluate them.",
    context=context,
    hide=(),
)
MODULES_PAGE = Page(
    path="python/{name}.md",
    title="Modules",
    description="Classes and functions of {title}, with their arguments and results.",
    context=module,
    template="module.md.j2",
    members=members,
    hide=("navigation",),
    listed=False,
)
