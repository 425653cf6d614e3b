"""Pages about the data as such: its files and how to cite them, and what changed in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apsite.catalogue import Catalogue
from apsite.documents.references import Reference
from apsite.site.downloads import Download, Snapshot, snapshot
from apsite.site.news import news
from apsite.site.pages.survey import CITATION
from apsite.site.writer import Page, PageWriter

_GITHUB = "https://github.com/"
_NOTEBOOK = "blob/main/notebooks/catalogue.ipynb"


def data_pages(
    writer: PageWriter,
    catalogue: Catalogue,
    references: Mapping[str, Reference],
    downloads: Sequence[Download],
    repository: str | None,
) -> list[Page]:
    """The page of files and the page of updates."""
    state = snapshot(catalogue)
    hosted = repository is not None and repository.startswith(_GITHUB)
    return [
        writer.page(
            "data.md.j2",
            "data.md",
            "Data",
            "Everything that the benchmark knows, as CSV and JSON files, with a dated name to cite.",
            hide=("toc",),
            downloads=downloads,
            snapshot=state,
            sampled=[record for record in catalogue.records.values() if record.samples is not None],
            survey=references.get(CITATION),
            citation=citation(state, repository),
            notebook=f"{repository}/{_NOTEBOOK}" if repository else None,
            colab=f"https://colab.research.google.com/github/{repository.removeprefix(_GITHUB)}/{_NOTEBOOK}"
            if repository and hosted
            else None,
        ),
        writer.page(
            "updates.md.j2",
            "updates.md",
            "Updates of the data",
            "What was added to the benchmark, verified, corrected, disputed or withdrawn, by date.",
            hide=("toc",),
            events=news(catalogue),
        ),
    ]


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
