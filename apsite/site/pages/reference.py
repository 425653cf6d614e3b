"""Pages that are generated from the code and its schemas: file formats and the Python interface."""

from __future__ import annotations

from apsite.site.pages import formats, interface
from apsite.site.writer import Page, PageWriter


def reference_pages(writer: PageWriter) -> list[Page]:
    """The pages on file formats and on the Python interface."""
    return [
        writer.page(
            "formats.md.j2",
            "formats.md",
            "File formats",
            "Every field of entries, records and per-sample files: type, limits and meaning.",
            hide=("navigation", "toc"),
            documents_=[("entry", formats.fields("entry")), ("record", formats.fields("record"))],
            arrays=formats.SAMPLE_ARRAYS,
        ),
        writer.page(
            "python.md.j2",
            "python.md",
            "Python interface",
            "Classes and functions that read the data of the benchmark, load pruned networks and evaluate them.",
            modules=interface.modules(),
            inline=interface.inline,
        ),
    ]
