"""Answers about a paper from its BibTeX entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsite.contribution.bibtex import answers_from_bibtex
from apsite.documents.texts import bibtex_problem
from apsite.errors import ApsiteError

PAPER = r"""@inproceedings{Doe2026Small,
	title = {{Small} Networks \& {W}eißer},
	author = {Doe, Jane and van der M{\"u}ller, J{\'e}r{\^o}me},
	booktitle = {International Conference ({ICLR})},
	year = {2026},
	doi = {https://doi.org/10.1234/abc_d}
}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "paper.bib"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_paper_is_read(tmp_path: Path) -> None:
    answers = answers_from_bibtex(write(tmp_path, PAPER))
    assert answers == {
        "paper.title": "Small Networks & Weißer",
        "paper.authors": ["Jane Doe", "Jérôme van der Müller"],
        "paper.venue": "International Conference (ICLR)",
        "paper.year": "2026",
        "paper.url": "https://doi.org/10.1234/abc_d",
        "paper.bibtex": PAPER,
    }


@pytest.mark.parametrize(("fields", "venue", "url"), [
    ("eprint = {2409.01249}, archivePrefix = {arXiv}", "arXiv", "https://arxiv.org/abs/2409.01249"),
    ("journal = {Pattern Recognition}, url = {http://example.org/a}", "Pattern Recognition", "https://example.org/a"),
    ("note = {none}", None, None),
])  # fmt: skip
def test_venue_and_address_come_from_what_there_is(tmp_path: Path, fields: str, venue: str, url: str) -> None:
    answers = answers_from_bibtex(write(tmp_path, f"@misc{{a, title = {{T}}, {fields}}}"))
    assert answers.get("paper.venue") == venue
    assert answers.get("paper.url") == url
    assert "paper.year" not in answers


def test_one_of_several_entries_is_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, PAPER + "@misc{other, title = {Other}}")
    with pytest.raises(ApsiteError, match="2 entries; choose one with --bibtex-key: Doe2026Small, other"):
        answers_from_bibtex(path)
    assert answers_from_bibtex(path, "other")["paper.title"] == "Other"
    with pytest.raises(ApsiteError, match="has no entry 'third'; it has Doe2026Small, other"):
        answers_from_bibtex(path, "third")


@pytest.mark.parametrize(
    ("text", "message"), [("@article{a, title = {open", "is not BibTeX"), ("just words", "holds no BibTeX entry")]
)
def test_what_is_no_bibtex_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ApsiteError, match=message):
        answers_from_bibtex(write(tmp_path, text))


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ApsiteError, match="cannot be read"):
        answers_from_bibtex(tmp_path / "none.bib")
    (tmp_path / "latin.bib").write_bytes(b"@misc{a, title = {\xe9}}")
    with pytest.raises(ApsiteError, match="not UTF-8"):
        answers_from_bibtex(tmp_path / "latin.bib")
    with pytest.raises(ApsiteError, match="more than 200,000 bytes"):
        answers_from_bibtex(write(tmp_path, PAPER + "%" * 200_000))


def test_remarks_around_the_entry_are_left_out(tmp_path: Path) -> None:
    """Programs that keep references write some into their files; the gate wants one entry and nothing else."""
    answers = answers_from_bibtex(write(tmp_path, f"% Encoding: UTF-8\n\n{PAPER}\n@Comment{{jabref-meta: x;}}\n"))
    assert bibtex_problem(answers["paper.bibtex"].strip()) == ""
    assert "Encoding" not in answers["paper.bibtex"]
    assert answers["paper.year"] == "2026"
