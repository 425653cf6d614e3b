"""The hand-written pages: they speak of what there is."""

from __future__ import annotations

import itertools
import re

import pytest

from apsite.metrics import wilson_interval
from apsite.vocabulary import Architecture

PAGES = (
    "protocol", "glossary", "taxonomy-guide", "evaluate", "submitting", "maintaining", "governance", "security",
    "architecture", "cli",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_pages_begin_with_a_title_and_keep_a_sentence_a_line(repository, name):
    text = (repository / "docs" / f"{name}.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", prose, flags=re.MULTILINE)) == 1
    lines = [line for line in prose.splitlines() if line and not line.startswith(("|", "**", "- **", "    "))]
    assert not [line for line in lines if re.search(r"[a-z]\. [A-Z][a-z]+ \w+ \w+", line)]


def test_the_glossary_is_in_order(repository):
    lines = (repository / "docs/glossary.md").read_text(encoding="utf-8").splitlines()
    terms = [above for above, line in itertools.pairwise(lines) if line.startswith(":   ")]
    assert len(terms) > 40
    words = [re.sub(r"[^a-z0-9 -]", "", term.lower()) for term in terms]
    assert words == sorted(set(words))


def test_architecture_names_every_module(repository):
    """The tree of the architecture page has one line per module, in its room; a room without lines is named alone."""
    text = (repository / "docs/architecture.md").read_text(encoding="utf-8")
    tree = text.partition("## Modules")[2].partition("```text")[2].partition("```")[0]
    named, rooms = set(), []
    for line in tree.strip().splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        rooms = [*rooms[:depth], name]
        named.add("".join(rooms))
    present = {path for path in (repository / "apsite").rglob("*.py") if not path.name.startswith("__")}
    modules = {path.relative_to(repository).as_posix() for path in present}
    folded = tuple(
        room for room in named if room.endswith("/") and not any(one != room and room in one for one in named)
    )
    listed = {name for name in named if name.endswith(".py")}
    missing = {name for name in modules - listed if not name.startswith(folded)}
    assert (missing, listed - modules) == (set(), set()), "docs/architecture.md: missing, gone"
    assert not [room for room in named - listed if not (repository / room).is_dir()]


def test_architecture_names_every_folder_of_the_repository(repository):
    text = (repository / "docs/architecture.md").read_text(encoding="utf-8")
    tree = text.partition("## The repository")[2].partition("## Modules")[0]
    named = set(re.findall(r"^([\w.]+/|mkdocs\.yml|Makefile|constraints\.txt) ", tree, flags=re.MULTILINE))
    ignored = {line.strip("/") for line in (repository / ".gitignore").read_text(encoding="utf-8").splitlines()}
    folders = {f"{path.name}/" for path in repository.iterdir() if path.is_dir() and path.name not in ignored}
    shown = {name for name in folders if not name.startswith(".") or name == ".github/"}
    assert named - {"mkdocs.yml", "Makefile", "constraints.txt"} == {name for name in shown if "egg-info" not in name}


def test_documents_name_every_workflow_and_required_check(repository):
    import yaml

    workflows = {path.stem: path for path in (repository / ".github/workflows").glob("*.yml")}
    security = (repository / "docs/security.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", security, flags=re.MULTILINE)) == set(workflows)
    gate = yaml.safe_load(workflows["data-pr"].read_text(encoding="utf-8"))["jobs"]["data"]["name"]
    assert f"`{gate}`" in (repository / "docs/maintaining.md").read_text(encoding="utf-8")


def test_the_readme_names_files_that_exist(repository):
    """Its addresses are whole, since the package index shows it too."""
    text = (repository / "README.md").read_text(encoding="utf-8")
    linked = [*re.findall(r"\]\(([^)#]+)\)", text), *re.findall(r'(?:src|srcset)="([^"]+)"', text)]
    assert not [address for address in linked if not address.startswith("https://")]
    files = [path for address in linked for path in re.findall(r"apsite/apsite/(?:blob|raw)/main/(.+)", address)]
    assert len(files) > 5
    assert not [path for path in files if not (repository / path).is_file()]
    pages = [page for address in linked for page in re.findall(r"apsite\.github\.io/apsite/(.+)\.html", address)]
    assert len(pages) > 5
    sources = [repository / "docs", repository / "apsite/site/templates"]
    assert not [page for page in pages if not any(list(folder.glob(f"{page}.md*")) for folder in sources)]
    assert "make demo" in text
    assert "make test" in text
    audiences = re.findall(r"^\*\*(\w+)\*\*", text, flags=re.MULTILINE)
    assert audiences == ["Readers", "Authors", "Maintainers", "Programmers"]
    for path in (repository / ".github/images").iterdir():
        assert path.name in text
        assert path.stat().st_size < 200_000


def test_the_readme_states_the_figures_of_the_demonstration(repository, benchmark_data):
    (record,) = (
        one
        for _, one in benchmark_data.every_record()
        if one.results.n_samples == 256 and one.key.architecture is Architecture.RESNET8
    )
    robust = round(record.robust_accuracy * 256)
    bounds = "–".join(f"{bound * 100:.1f}" for bound in wilson_interval(robust, 256))
    clean, under_autoattack = (
        f"{share * 100:.1f} %" for share in (record.results.clean_accuracy, record.robust_accuracy)
    )
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert (
        f"classifies {clean} correctly and keeps {under_autoattack} ({robust} images, 95 % interval {bounds})" in text
    )
    under_hofmn = float(re.search(r"and ([0-9.]+) % under HO-FMN", text)[1]) / 100
    # The record is of one configuration of HO-FMN, and two break at least as many.
    assert record.results.joint.robust_accuracy <= under_hofmn <= record.results.hofmn.robust_accuracy


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"])
def test_documents_at_the_root_link_files_that_exist(repository, name):
    text = (repository / name).read_text(encoding="utf-8")
    linked = [path for path in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if not path.startswith("https://")]
    assert not [path for path in linked if not (repository / path).is_file()]
    assert linked or name != "CONTRIBUTING.md"


def test_documents_name_paths_that_exist(repository):
    pattern = re.compile(r"`((?:apsite|baselines|benchmarks|docs|notebooks|scripts|tests|\.github)/[\w./-]+)`")
    named = {
        (path.name, word)
        for path in [*repository.glob("*.md"), *(repository / "docs").glob("*.md")]
        for word in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert not [(name, word) for name, word in sorted(named) if not (repository / word).exists()]
