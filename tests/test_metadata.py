"""What the package and the citation say of the project: the same, and what is tested."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="citation and workflows are YAML; the extra 'site' brings its reader")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    """The package as its build describes it."""
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def citation(repository: Path) -> dict[str, Any]:
    """The citation file."""
    return yaml.safe_load((repository / "CITATION.cff").read_text(encoding="utf-8"))


def test_there_is_one_version(project: dict[str, Any], citation: dict[str, Any]) -> None:
    assert project["version"] == str(citation["version"]) == metadata.version("apsite")


def test_package_citation_and_site_name_the_same_addresses(
    repository: Path, project: dict[str, Any], citation: dict[str, Any]
) -> None:
    site = yaml.safe_load((repository / "mkdocs.yml").read_text(encoding="utf-8"))
    assert project["urls"]["Homepage"] == citation["url"] == site["site_url"]
    assert project["urls"]["Source"] == citation["repository-code"] == site["repo_url"]
    assert project["license"] == citation["license"]
    assert all(address.startswith("https://") for address in project["urls"].values())


def test_the_citation_names_the_survey(citation: dict[str, Any]) -> None:
    from apsite.documents.references import load_references

    survey = load_references()["Piras2024Adversarial"]
    (reference,) = citation["references"]
    assert (reference["title"], reference["year"], reference["url"]) == (survey.title, survey.year, survey.url)
    assert f"{reference['journal']} {reference['volume']}, {reference['start']}" == survey.venue
    named = [f"{author['given-names'][0]}. {author['family-names']}" for author in reference["authors"]]
    assert named == list(survey.authors)


def test_the_package_names_the_pythons_that_are_tested(repository: Path, project: dict[str, Any]) -> None:
    workflow = yaml.safe_load((repository / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    (tested,) = (job["strategy"]["matrix"]["python"] for job in workflow["jobs"].values() if "strategy" in job)
    prefix = "Programming Language :: Python :: 3."
    assert [f"3.{name.removeprefix(prefix)}" for name in project["classifiers"] if name.startswith(prefix)] == tested
    assert project["requires-python"] == f">={tested[0]}"
