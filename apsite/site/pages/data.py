"""The data as files, and how to cite them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from apsite.columns import COLUMNS
from apsite.documents.references import SURVEY
from apsite.site.downloads import Snapshot, snapshot
from apsite.site.page import Page, SiteFacts

_GITHUB = "https://github.com/"
LISTED = 300
"""Per-sample files up to which the page lists each of them."""
_NOTEBOOK = "blob/main/notebooks/catalogue.ipynb"


def context(facts: SiteFacts) -> dict[str, Any]:
    """Names for the page."""
    catalogue = facts.catalogue
    repository, state = facts.repository or "", snapshot(catalogue)
    placed = [(one, one.path) for one in catalogue.records.values()]
    placed += [(one, one.curve_path) for one in catalogue.curves.values()]
    sampled = [(one, place) for one, place in placed if one.samples is not None]
    folders = Counter((one.dataset.label, one.architecture.label) for one, _ in sampled)
    hosted = repository.removeprefix(_GITHUB) if repository.startswith(_GITHUB) else None
    return {
        "columns": COLUMNS,
        "downloads": facts.downloads,
        "snapshot": state,
        "sampled": [
            (record, f"data/evaluations/{place.with_suffix('.npz').as_posix()}")
            for record, place in sampled
            if record.samples is not None and len(sampled) <= LISTED
        ],
        "folders": sorted(folders.items()) if len(sampled) > LISTED else [],
        "survey": facts.references.get(SURVEY),
        "citation": citation(state, facts.repository),
        "notebook": f"{repository}/{_NOTEBOOK}" if repository else None,
        "colab": f"https://colab.research.google.com/github/{hosted}/{_NOTEBOOK}" if hosted else None,
    }


def citation(state: Snapshot, repository: str | None) -> str:
    """BibTeX entry of a snapshot."""
    fields = {
        "title": "{apsite: the open benchmark of adversarial pruning}",
        "author": "{The apsite maintainers}",
        **({"year": f"{{{state.date[:4]}}}"} if state.date else {}),
        **({"howpublished": f"{{\\url{{{repository}}}}}"} if repository else {}),
        "note": f"{{Data snapshot {state.name}}}",
    }
    return "@misc{apsite,\n" + ",\n".join(f"  {name} = {value}" for name, value in fields.items()) + "\n}"


PAGE = Page(
    path="data.md",
    title="Data files",
    description="All data of the benchmark as CSV and JSON files, with a dated name to cite.",
    context=context,
    hide=("toc",),
)
