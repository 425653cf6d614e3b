"""The text about a pull request: what is written is read back, and every archive that is anything else is refused."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.contribution.comparison_text import NOT_PLAIN, plain
from apsite.contribution.preview import FILE_NAME, MARK, MAX_BYTES, comment, preview_text, read_preview
from apsite.errors import ApsiteError
from tests.builders import RIVAL, entry_document, record_document, write_data
from tests.repositories import repository_with

HEAD, RUN = "a" * 40, "https://github.com/apsite/apsite/actions/runs/5"
HOSTILE = (
    "<img src=x onerror=alert(1)> ``` ~~~ `code` [a](javascript:x) | @everyone #1 \x1b[31m\r::error::x\u202e\u200b"
)


def archive(path: Path, content: bytes | str, name: str = FILE_NAME, mode: int = 0, method: int = 8) -> Path:
    """Zip archive with one file."""
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = method
    with zipfile.ZipFile(path, "w") as target:
        target.writestr(info, content)
    return path


def commented(text: str, files: list[str] | None = None) -> str:
    """Comment with a text."""
    return comment(text, head=HEAD, changed_files=files or ["entries/x.json"], run_url=RUN)


def fenced(markdown: str) -> str:
    """What is inside the one code fence of a comment."""
    lines = markdown.splitlines()
    first, last = (number for number, line in enumerate(lines) if line.startswith("```"))
    return "\n".join(lines[first + 1 : last])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Repository with one method, to which another has been added."""
    folder = repository_with(tmp_path / "repo", entry_document(), record_document())
    return write_data(folder, entry_document(RIVAL), record_document(f"{RIVAL}_R18_CIFAR10_US_90", robust=0.5))


def test_a_text_is_read_back_as_it_was_written(root: Path, tmp_path: Path) -> None:
    text = preview_text(root, "main", maintainer=True)
    assert text.startswith(f"2 entries, 2 records, 0 per-sample files: no problem\n\nNew method: Rival ({RIVAL})\n")
    assert read_preview(archive(tmp_path / "a.zip", text)) == text
    made = commented(text)
    assert made.startswith(
        f"{MARK}\n### Data of this pull request\n\nWritten by the checks of this pull request at {HEAD}"
    )
    assert fenced(made) == text.rstrip("\n")
    assert f"[The run]({RUN})" in made


def test_problems_take_the_place_of_the_comparison(root: Path) -> None:
    for number in range(30):
        (root / f"entries/{number}.json").write_text("{}")
    first, blank, *lines = preview_text(root, "main", maintainer=True).splitlines()
    count = int(first.split(": ")[1].split()[0])
    assert count >= 30
    assert (blank, len(lines), lines[-1]) == ("", 21, f"and {count - 20} more")
    assert lines[0].startswith("entries/0.json: ")


def test_a_long_text_is_shortened_at_a_line(root: Path, tmp_path: Path) -> None:
    """The comment stays within the limit of the platform."""
    for number in range(500):
        write_data(root, entry_document(f"M{number}_Doe2024Small", name=f"Methöd {number}" + "x" * 25))
    text = preview_text(root, "main", maintainer=True)
    assert MAX_BYTES - 200 < len(text.encode()) <= MAX_BYTES
    assert text.splitlines()[-3].endswith("_Doe2024Small)")
    assert text.splitlines()[-1].startswith("Shortened; run 'apsite validate'")
    assert len(commented(read_preview(archive(tmp_path / "a.zip", text)))) < 65_536


@given(st.text(max_size=200))
def test_no_text_leaves_the_fence(text: str) -> None:
    """Whatever a file or a method may be called: written plain, it is allowed, and the fence holds all of it."""
    shown = plain(f"{HOSTILE}{text}")
    assert NOT_PLAIN.search(shown) is None
    made = commented(shown)
    assert made.count("`") == 6 + 4
    assert fenced(made) == "\n".join(shown.rstrip("\n").splitlines())


@pytest.mark.parametrize("letter", [*"`\t\r\0\x1b\x7f\x85\xa0\xad", *map(chr, (
    0x300, 0x34F, 0x5D0, 0x61C, 0x115F, 0x200B, 0x200D, 0x200E, 0x2028, 0x202E, 0x2066, 0x2800, 0x3164, 0xFE0F, 0xFEFF,
    0xE000, 0xE0041,
))])  # fmt: skip
def test_a_character_that_could_mislead_is_refused(tmp_path: Path, letter: str) -> None:
    """Backquotes, control, bidirectional and invisible characters, of which the writer makes question marks."""
    with pytest.raises(ApsiteError, match=r"preview\.txt: holds '.*', which no comment may hold"):
        read_preview(archive(tmp_path / "a.zip", f"New method: a{letter}b\n"))
    assert NOT_PLAIN.search(plain(letter)) is None


GOOD = "New method: Méthode \u03b1 – 1 → 2 (x)\n"


@pytest.mark.parametrize(
    "name", ["../preview.txt", "/etc/preview.txt", "folder/preview.txt", "preview.txt/", "PREVIEW.TXT", "a\x1b[31m"]
)
def test_another_name_in_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is unpacked to disk, and only one name is read."""
    with pytest.raises(ApsiteError, match=r"does not hold exactly one file, preview\.txt"):
        read_preview(archive(tmp_path / "a.zip", GOOD, name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_more_or_fewer_files_are_refused(tmp_path: Path) -> None:
    for names in ([FILE_NAME, "more.txt"], [FILE_NAME, FILE_NAME], []):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as target, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                target.writestr(name, GOOD)
        with pytest.raises(ApsiteError, match="does not hold exactly one file"):
            read_preview(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("kind", "method"),
    [(kind, 8) for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)]
    + [(0, zipfile.ZIP_BZIP2), (0, zipfile.ZIP_LZMA)],
)
def test_a_link_a_device_or_an_unusual_compression_is_refused(tmp_path: Path, kind: int, method: int) -> None:
    with pytest.raises(ApsiteError, match="is not an ordinary file, or compressed in an unusual way"):
        read_preview(archive(tmp_path / "a.zip", GOOD, mode=kind and kind | 0o644, method=method))


def test_an_oversized_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApsiteError, match="is a link, or larger than 100,000 bytes"):
        read_preview(archive(tmp_path / "a.zip", b" " * 200_000, method=0))
    bomb = archive(tmp_path / "bomb.zip", b" " * 50_000_000)
    with pytest.raises(ApsiteError, match="is larger than 30,000 bytes"):
        read_preview(bomb)
    lie = bomb.read_bytes().replace((50_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(ApsiteError, match="is not a readable archive"):
        read_preview(tmp_path / "lie.zip")


def test_what_is_no_archive_of_text_is_refused(tmp_path: Path) -> None:
    good = archive(tmp_path / "good.zip", GOOD)
    assert read_preview(good) == GOOD
    (tmp_path / "text.zip").write_text("x")
    (tmp_path / "cut.zip").write_bytes(good.read_bytes()[:-30])
    (tmp_path / "link.zip").symlink_to(good)
    archive(tmp_path / "nested.zip", good.read_bytes())
    archive(tmp_path / "bytes.zip", b"\xff\xfe")
    (tmp_path / "folder.zip").mkdir()
    for name in ("missing", "text", "cut", "nested", "bytes", "folder"):
        with pytest.raises(ApsiteError, match=r"is not a readable archive|does not hold|which no comment may hold"):
            read_preview(tmp_path / f"{name}.zip")
    with pytest.raises(ApsiteError, match="is a link"):
        read_preview(tmp_path / "link.zip")


def test_a_damaged_archive_never_ends_in_a_traceback(tmp_path: Path) -> None:
    content = archive(tmp_path / "good.zip", GOOD, method=0).read_bytes()
    path = tmp_path / "bad.zip"
    for position in range(len(content)):
        for value in (0, 255, content[position] ^ 1):
            path.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            try:
                assert NOT_PLAIN.search(read_preview(path)) is None
            except ApsiteError as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_a_proposal_that_may_have_changed_its_checks_is_said_first() -> None:
    """Also where the platform does not list all of its files."""
    many = [f"entries/{number}.json" for number in range(3_000)]
    for files in (["README.md", ".github/workflows/data-pr.yml"], [".github/x"], many):
        assert commented(GOOD, files).splitlines()[3].startswith("**Do not rely on the checks of this pull request")
    for files in (many[:2_999], ["x/.github/y.yml", ".githubx"]):
        assert commented(GOOD, files).splitlines()[3].startswith("Written by the checks")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"head": "main"}, "--head-sha 'main': is not the full name of a commit"),
        ({"changed_files": []}, "--changed-files: lists no file"),
        *(({"run_url": url}, "is not a plain https URL") for url in (
            "http://x.org", "https://x.org/)[a](javascript:x", "https://x.org/a b", "javascript:x", "")),
    ],
)  # fmt: skip
def test_what_the_platform_would_not_give_is_refused(wrong: dict[str, object], message: str) -> None:
    """A mistake of the workflow must not become a comment without its warning."""
    with pytest.raises(ApsiteError, match=message.replace("(", r"\(")):
        comment(GOOD, **{"head": HEAD, "changed_files": ["x"], "run_url": RUN, **wrong})
