"""Pages of the benchmark's own data, made once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("altair", reason="the site needs the extra 'site'")

from apsite.catalogue import Catalogue, load_catalogue
from apsite.columns import rows as exported_rows
from apsite.comparable import Judge
from apsite.documents.references import load_references
from apsite.site.charts.curves import load_curves
from apsite.site.page import SiteFacts
from apsite.site.pages import PAGES, written
from tests.site.exported_numbers import LABELS
from tests.site.html_tables import PageContent, read_page

DOCUMENTS = frozenset({"evaluate", "submitting", "protocol", "glossary", "taxonomy-guide"})


def site_facts(catalogue: Catalogue) -> SiteFacts:
    """Facts of a catalogue, with no file written."""
    return SiteFacts(
        catalogue=catalogue,
        judge=Judge(catalogue),
        references=load_references(),
        curves=load_curves(catalogue),
        downloads=[],
        documents=DOCUMENTS,
        bundle="vega.js",
        repository="https://example.org/repository",
    )


def page_text(facts: SiteFacts, path: str) -> str:
    """Markdown of one page; no other is made."""
    page, name, title = next(
        (page, name, title)
        for page in PAGES
        for name, title in page.names(facts).items()
        if page.path.format(name=name) == path
    )
    alone = page if page.members is None else replace(page, members=lambda _: {name: title})
    (made,) = alone.render(facts, facts.templates())
    return made.text


@pytest.fixture(scope="session")
def benchmark_facts(benchmark_data: Catalogue) -> SiteFacts:
    """Facts of the benchmark's own data."""
    return site_facts(benchmark_data)


@pytest.fixture(scope="session")
def benchmark_pages(benchmark_facts: SiteFacts) -> dict[str, PageContent]:
    """Pages of the benchmark's own data, by path."""
    return {page.path: read_page(page.text) for page in written(benchmark_facts)}


@pytest.fixture
def tiny_facts(tiny_data: Path) -> SiteFacts:
    """Facts of a small catalogue with one own run and its per-sample file."""
    return site_facts(load_catalogue(tiny_data))


@pytest.fixture(scope="session")
def exported(benchmark_data):
    """Exported rows by model key, each with its percent and the labels of its words."""
    found = {}
    for row in exported_rows(benchmark_data):
        words = row["model_key"].rsplit("_", 2)
        row["percent"] = int(words[-1]) if words[-1].isdigit() else None
        row |= {"data": LABELS[row["dataset"]], "net": LABELS[row["architecture"]], "kind": row["structure"] or "dense"}
        row["ranks"] = benchmark_data.records[row["model_key"]].protocol.ranks
        found[row["model_key"]] = row
    return found


@pytest.fixture(scope="session")
def verdicts(repository):
    """Per-sample files by model key."""
    return {path.stem: dict(np.load(path)) for path in (repository / "evaluations").glob("*/*.npz")}
