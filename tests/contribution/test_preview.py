"""The summary of a pull request: what is written is read back, and every archive that is anything else is refused."""

from __future__ import annotations

import io
import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.catalogue import Catalogue
from apsite.contribution.comparison import compare
from apsite.contribution.preview import (
    FILE_NAME,
    MARK,
    MAX_COMMENT,
    changed_names,
    check_pull_request,
    comment,
    read_artifact,
    summary_document,
    summary_text,
)
from apsite.errors import ApsiteError
from tests.builders import changed

HEAD, BASE, OTHER = "a" * 40, "b" * 40, "c" * 40
COUNTS = {"entries": 28, "records": 193, "sample_files": 1}
HOSTILE = "<img src=x onerror=alert(1)> `code` [a](javascript:x) | @everyone #1 \x1b[31m\n::error::x\u202e"


def summary(catalogue: Catalogue | None = None, problems: list[tuple[str, str, str]] | None = None) -> dict[str, Any]:
    """Summary of a pull request that adds the whole catalogue, or of one that changes nothing."""
    comparison = None
    if catalogue is not None:
        comparison = compare(Catalogue(catalogue.root, {}, {}), catalogue)
    return summary_document(
        pull_request=12, head=HEAD, base=BASE, counts=COUNTS, problems=problems or [], comparison=comparison
    )


def archive(path: Path, content: bytes | str, name: str = FILE_NAME, mode: int = 0, method: int = 8) -> Path:
    """Zip archive with one file."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = method
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(info, content)
    return path


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[[Any], Path]:
    """Function that packs a document."""
    return lambda document: archive(tmp_path / "artifact.zip", json.dumps(document))


def answer(tmp_path: Path, number: Any = 12, state: str = "open", head: str = HEAD) -> Path:
    """The platform's description of a pull request."""
    path = tmp_path / "pull.json"
    path.write_text(json.dumps({"number": number, "state": state, "head": {"sha": head, "ref": "x"}, "title": HOSTILE}))
    return path


def test_a_summary_is_read_back_as_it_was_written(tmp_path: Path, benchmark_data: Catalogue) -> None:
    """And makes a comment of bounded size that carries the mark."""
    written = summary(benchmark_data)
    path = archive(tmp_path / "artifact.zip", summary_text(written))
    assert read_artifact(path, HEAD) == written
    check_pull_request(path, written, answer(tmp_path))
    text = comment(written, "https://example.org/runs/1/artifacts/2")
    assert text.startswith(f"{MARK}\nChecked at aaaaaaaaaaaa, against bbbbbbbbbbbb: 28 entries, 193 records")
    assert "The lists are shortened; `apsite diff` shows all of it." in text
    assert len(text) <= MAX_COMMENT + 100
    assert written["shortened"] is True
    assert max(len(part) for part in (written["comparison"]["records"], written["comparison"]["settings"])) == 60


def test_problems_are_listed_and_hide_the_comparison(tmp_path: Path) -> None:
    """The first twenty, with the count of all."""
    written = summary(problems=[(f"entries/{number}.json", "key", "is wrong") for number in range(30)])
    text = comment(read_artifact(archive(tmp_path / "a.zip", summary_text(written)), HEAD))
    assert "**30 to mend.**" in text
    assert text.count("\n- `entries/") == 20
    assert "What changes" not in text


def test_contributed_text_has_no_meaning_in_the_comment() -> None:
    """Tags, links, mentions, tables, commands and directions stay within a code span."""
    text = comment(summary(problems=[(HOSTILE, HOSTILE, HOSTILE)]))
    (line,) = [line for line in text.splitlines() if line.startswith("- ")]
    outside = "".join(line.split("`")[0::2])
    assert outside == "- , : "
    assert line.count("`") == 6
    assert not any(ord(letter) < 32 or letter == "\u202e" for letter in line)
    assert "\n::error" not in text


@given(st.text(max_size=200))
def test_no_text_leaves_its_code_span(text: str) -> None:
    """Whatever a file may be called."""
    found = comment(summary(problems=[(text, text, text)]))
    line = found.split("validate` says the same on your machine.\n\n")[1]
    assert "".join(line.split("`")[0::2]) in ("- , : \n", "- : \n")
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pull_request", "12", r"pull_request: '12' is not of type integer"),
        ("pull_request", "12; rm -rf /", "pull_request: '12; rm -rf /' is not of type integer"),
        ("pull_request", 0, "pull_request: 0 is below the minimum 1"),
        ("pull_request", -3, "below the minimum"),
        ("pull_request", 10**9, "pull_request: 1000000000 is above the maximum"),
        ("pull_request", True, "pull_request: true is not of type integer"),
        ("head", OTHER, f"head: {OTHER} is not the commit for which the checks ran, {HEAD}"),
        ("head", "main", "head: 'main' does not have the form needed here"),
        ("base", "$(id)", "base: '\\$\\(id\\)' does not have the form needed here"),
        ("base", BASE + "\n", "base: .* does not have the form needed here"),
        ("schema_version", 2, "schema_version: 2 is not 1"),
        ("html", "<b>", "has unknown 'html'"),
        ("counts.problems", "<b>", "counts.problems: '<b>' is not of type integer"),
        ("counts.entries", -1, "below the minimum"),
        ("problems", [{"path": "a\nb", "field": "", "problem": ""}], r"problems\[0\]\.path: .* does not have the form"),
        ("problems", [{"path": "a", "field": "", "problem": "x" * 601}], r"problems\[0\]\.problem: has 601 characters"),
        ("problems", [{"path": "a", "field": "", "problem": "", "url": "https://x"}], r"\[0\]: has unknown 'url'"),
        ("problems", [{"path": "a", "field": "", "problem": ""}] * 21, "problems: has 21 members; at most 20"),
        ("comparison", "<script>", "comparison: '<script>' is not of type object or null"),
        ("comparison.records[0].model_key", "[x](https://evil.example)", r"\]\.model_key: .* the form needed"),
        ("comparison.records[0].kind", "**won**", r"records\[0\]\.kind: '\*\*won\*\*' is not one of 'added'"),
        ("comparison.records[0].name", "a\x1b[0m", r"records\[0\]\.name: .* does not have the form"),
        ("comparison.records[0].name", "x" * 41, r"records\[0\]\.name: has 41 characters; at most 40"),
        ("comparison.records[0].after.autoattack", "99.9 % <b>", r"after\.autoattack: .* is not of type number"),
        ("comparison.records[0].after.autoattack", 99.9, r"after\.autoattack: 99.9 is above the maximum 1"),
        ("comparison.records[0].after.provenance", "trusted", r"after\.provenance: 'trusted' is not one of"),
        ("comparison.records[0].after.warnings", ["<b>"], r"after\.warnings\[0\]: '<b>' does not have the form"),
        ("comparison.records[0].fields", ["a b"], r"records\[0\]\.fields\[0\]: 'a b' does not have the form"),
        ("comparison.settings[0].dataset", "mnist", r"settings\[0\]\.dataset: 'mnist' is not one of 'cifar10'"),
        ("comparison.settings[0].percent", 0.9, r"settings\[0\]\.percent: 0.9 is not of type integer"),
        ("comparison.settings[0].leader_after", "x\ny", r"settings\[0\]\.leader_after: .* does not have the form"),
        ("comparison.settings[0].models[0].rank_after", "1", r"rank_after: '1' is not of type integer"),
        ("comparison.methods.added[0].key", "../../etc", r"added\[0\]\.key: .* does not have the form"),
        ("comparison.methods.added[0].url", "https://x", r"methods\.added\[0\]: has unknown 'url'"),
    ],
)  # fmt: skip
def test_a_summary_that_says_anything_else_is_refused(
    artifact: Callable[[Any], Path], benchmark_data: Catalogue, field: str, value: Any, message: str
) -> None:
    """Numbers are numbers, words are closed, names are short, and nothing stands beside them."""
    with pytest.raises(ApsiteError, match=message):
        read_artifact(artifact(changed(summary(benchmark_data), field, value)), HEAD)


@pytest.mark.parametrize("field", ["pull_request", "head", "base", "counts", "problems", "comparison", "shortened"])
def test_a_summary_without_a_field_is_refused(artifact: Callable[[Any], Path], field: str) -> None:
    """Nothing has a default."""
    with pytest.raises(ApsiteError, match=f"lacks '{field}'"):
        read_artifact(artifact(changed(summary(), field)), HEAD)


GOOD = summary_text(summary())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../summary.json", r"holds '\.\./summary\.json'; exactly one file, summary\.json, is allowed"),
        ("/etc/summary.json", "exactly one file"),
        ("folder/summary.json", "exactly one file"),
        ("summary.json/", "exactly one file"),
        ("SUMMARY.JSON", "exactly one file"),
        ("summary.json\x1b[31m", r"holds 'summary\.json\\x1b\[31m'"),
        ("number.txt", "holds 'number.txt'"),
    ],
)
def test_another_name_in_the_archive_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """Nothing is unpacked to disk, and only one name is read."""
    with pytest.raises(ApsiteError, match=message):
        read_artifact(archive(tmp_path / "a.zip", GOOD, name), HEAD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_more_or_fewer_files_are_refused(tmp_path: Path) -> None:
    """Also the same name twice, and none."""
    for names in ([FILE_NAME, "more.txt"], [FILE_NAME, FILE_NAME], []):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                target.writestr(name, GOOD)
        with pytest.raises(ApsiteError, match=r"exactly one file, summary\.json, is allowed"):
            read_artifact(tmp_path / "a.zip", HEAD)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_a_link_or_device_in_the_archive_is_refused(tmp_path: Path, kind: int) -> None:
    """By its mode in the archive."""
    with pytest.raises(ApsiteError, match="is a link or something else that is no ordinary file"):
        read_artifact(archive(tmp_path / "a.zip", GOOD, mode=kind | 0o644), HEAD)


def test_an_unusual_compression_is_refused(tmp_path: Path) -> None:
    """Only stored and deflated."""
    with pytest.raises(ApsiteError, match="compressed in an unusual way"):
        read_artifact(archive(tmp_path / "a.zip", GOOD, method=zipfile.ZIP_LZMA), HEAD)


def test_an_oversized_archive_is_refused(tmp_path: Path) -> None:
    """By its size on disk, by the size it states, and whatever it unpacks to."""
    with pytest.raises(ApsiteError, match=r"has 4[0-9]{2},[0-9]{3} bytes; at most 300,000 are allowed"):
        read_artifact(archive(tmp_path / "a.zip", b" " * 400_000, method=0), HEAD)
    with pytest.raises(ApsiteError, match="is over 600,000 bytes"):
        read_artifact(archive(tmp_path / "bomb.zip", b" " * 50_000_000), HEAD)
    content = archive(tmp_path / "lie.zip", b" " * 50_000_000).read_bytes()
    lie = content.replace((50_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(ApsiteError, match=r"is not a readable zip archive|is not JSON"):
        read_artifact(tmp_path / "lie.zip", HEAD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "an object is needed"),
        (b"[" * 100_000, "is nested deeper than 12 levels"),
        (b'{"a": NaN}', "holds NaN"),
        (b'{"a": 1, "a": 2}', "names 'a' twice"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b"", "is not JSON"),
        (b"PK\x03\x04", "is not JSON"),
    ],
)
def test_content_that_is_no_clean_json_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The reader is that of contributed files."""
    with pytest.raises(ApsiteError, match=message):
        read_artifact(archive(tmp_path / "a.zip", content), HEAD)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    """Missing, a folder, a link, text, a cut archive, an archive within an archive."""
    good = archive(tmp_path / "good.zip", GOOD)
    (tmp_path / "text.zip").write_text("x")
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "link.zip").symlink_to(good)
    archive(tmp_path / "nested.zip", good.read_bytes())
    (tmp_path / "folder.zip").mkdir()
    for name, message in {
        "missing.zip": "is not a readable zip archive", "text.zip": "is not a readable zip archive",
        "cut.zip": "is not a readable zip archive", "link.zip": "is a symbolic link",
        "nested.zip": "is not UTF-8|is not JSON", "folder.zip": "is not a readable zip archive",
    }.items():  # fmt: skip
        with pytest.raises(ApsiteError, match=message):
            read_artifact(tmp_path / name, HEAD)


def test_a_damaged_archive_never_ends_in_a_traceback(tmp_path: Path) -> None:
    """Every byte of a good archive is changed in turn; it is read as it was, or refused with one line."""
    content = archive(tmp_path / "good.zip", GOOD, method=0).read_bytes()
    refused: list[str] = []
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path = tmp_path / "bad.zip"
        path.write_bytes(bytes(damaged))
        try:
            found = read_artifact(path, HEAD)
        except ApsiteError as error:
            refused.append(str(error))
        else:
            assert found == json.loads(GOOD)
    assert len(refused) > len(content) // 6
    assert not any("\n" in message for message in refused)


@pytest.mark.parametrize("head", ["", "HEAD", "a" * 39, "a" * 41, "A" * 40, "a" * 40 + "\n", "../" * 13 + "a"])
def test_the_commit_of_the_run_must_be_a_full_name(tmp_path: Path, head: str) -> None:
    """A short one could be met by another commit."""
    with pytest.raises(ApsiteError, match="is not the full name of a commit"):
        read_artifact(archive(tmp_path / "a.zip", GOOD), head)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"number": 13}, "pull_request: 12 is not the pull request described, 13"),
        ({"number": "12"}, "pull_request: 12 is not the pull request described"),
        ({"head": OTHER}, "is not the head of pull request 12; it has moved on, or the summary lies"),
        ({"state": "closed"}, "'closed': pull request 12 is not open"),
    ],
)
def test_a_summary_about_another_pull_request_is_refused(
    tmp_path: Path, described: dict[str, Any], message: str
) -> None:
    """The platform's word decides: whoever names somebody else's pull request is refused, for its head differs."""
    path = archive(tmp_path / "a.zip", GOOD)
    with pytest.raises(ApsiteError, match=message):
        check_pull_request(path, read_artifact(path, HEAD), answer(tmp_path, **described))


@pytest.mark.parametrize("content", ["{}", "[]", '{"number": 12, "state": "open", "head": 3}', "x"])
def test_an_answer_that_describes_nothing_is_refused(tmp_path: Path, content: str) -> None:
    """Such as an error message of the platform."""
    (tmp_path / "pull.json").write_text(content)
    with pytest.raises(ApsiteError, match=r"pull\.json"):
        check_pull_request(tmp_path / "a.zip", json.loads(GOOD), tmp_path / "pull.json")


@pytest.mark.parametrize(
    "url", ["http://example.org", "javascript:alert(1)", "https://example.org/a)b", "https://x\n", "https://a b", ""]
)
def test_an_address_that_could_leave_its_link_is_refused(url: str) -> None:
    """Plain https only."""
    with pytest.raises(ApsiteError, match="is not a plain https address"):
        comment(json.loads(GOOD), url)


def test_a_proposal_that_may_have_changed_its_checks_is_said_first() -> None:
    """Whether or not it can be seen in what the platform lists; names are shown as text."""
    said = comment(summary(), changed_files=["README.md", f".github/{HOSTILE}"]).splitlines()
    assert said[0] == MARK
    assert said[1].startswith("**Do not rely on the checks of this pull request, nor on the rest of this comment:**")
    assert "<img src=x onerror=alert(1)> 'code'" in said[1]
    many = [f"entries/{number}.json" for number in range(300)]
    assert "300 files or more" in comment(summary(), changed_files=many).splitlines()[1]
    for harmless in (None, [], many[:299], ["x/.github/y.yml", ".githubx"]):
        assert comment(summary(), changed_files=harmless).splitlines()[1].startswith("Checked at")


@pytest.mark.parametrize("content", ["{}", "[]", '{"files": 1}', '{"files": [1]}', "x"])
def test_a_list_of_files_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    """No warning must not come from no list."""
    path = tmp_path / "changed-files.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ApsiteError, match=r"changed-files\.json"):
        changed_names(path)


@pytest.mark.parametrize(("name", "value"), [("head", "main"), ("base", ""), ("pull_request", 0)])
def test_a_summary_of_nothing_is_not_written(name: str, value: Any) -> None:
    """The writer checks with the same schema."""
    arguments = {"pull_request": 1, "head": HEAD, "base": BASE, name: value}
    with pytest.raises(ApsiteError, match=f"summary.json: {name}: "):
        summary_document(**arguments, counts=COUNTS, problems=[], comparison=None)


def test_the_archive_is_read_without_unpacking(tmp_path: Path) -> None:
    """Also one that was made in memory by another tool, with extra fields."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(FILE_NAME, GOOD)
    path = tmp_path / "a.zip"
    path.write_bytes(buffer.getvalue())
    assert read_artifact(path, HEAD)["pull_request"] == 12
