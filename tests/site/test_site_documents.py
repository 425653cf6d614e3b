"""The hand-written pages: they speak of what there is."""

from __future__ import annotations

import re

import pytest

PAGES = ("protocol", "glossary", "taxonomy-guide", "evaluate", "submitting", "architecture", "cli")


@pytest.mark.parametrize("name", PAGES)
def test_pages_begin_with_a_title_and_keep_a_sentence_a_line(repository, name):
    """A page has one first-level heading, and no line of prose holds two sentences."""
    text = (repository / "docs" / f"{name}.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1
    lines = [line for line in prose.splitlines() if line and not line.startswith(("|", "**", "- **", "    "))]
    assert not [line for line in lines if re.search(r"[a-z]\. [A-Z][a-z]+ \w+ \w+", line)]


def test_architecture_names_every_module(repository):
    """The tree of the architecture page has a line for each module, and names none that is gone."""
    text = (repository / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^ +(\w+\.py) ", text, flags=re.MULTILINE))
    modules = {
        path.name
        for folder in (".", "site", "evaluation", "validation")
        for path in (repository / "apsite" / folder).glob("*.py")
        if not path.name.startswith("__")
    }
    assert named == modules, f"docs/architecture.md: missing {modules - named}, gone {named - modules}"
