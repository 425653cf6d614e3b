"""Strict reading and atomic writing of JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite.documents.json_files import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, atomic_file, read_json, to_json, write_json
from apsite.errors import ApsiteError, DocumentError

plain = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"))  # noqa: E501  # fmt: skip
documents = st.dictionaries(
    st.text(st.characters(codec="utf-8")), plain | st.lists(plain) | st.dictionaries(st.text("ab"), plain)
)


def nested(levels: int) -> bytes:
    """Object of so many levels."""
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def names_in(folder: Path) -> list[str]:
    """Names of everything in a folder, temporary files too."""
    return sorted(path.name for path in folder.iterdir())


def refusal(path: Path, content: bytes) -> str:
    """Message with which a file of this content is refused; it names the file."""
    path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        read_json(path)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.problem


@given(document=documents)
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "document.json"
    write_json(path, document)
    again = read_json(path)
    assert again == document
    assert list(again) == list(document)


@pytest.mark.parametrize(("content", "message"), [
    (b'{"a": 1, "a": 2}', "names 'a' twice in one object; keep one of them"),
    (b'{"x": [{"a": 1, "b": 1, "a": 1}]}', "names 'a' twice in one object"),
    (b'{"a": NaN}', "holds NaN, which is not a JSON number; use null for an unknown value"),
    (b'{"a": Infinity}', "holds Infinity, which is not a JSON number"),
    (b'{"a": -Infinity}', "holds -Infinity, which is not a JSON number"),
    (b'{"a": 1e999}', "holds the number 1e999, which is too large"),
    (b'{"a": -1e999}', "holds the number -1e999, which is too large"),
    (b'{"a": ' + b"9" * 19 + b"}", "holds a whole number of 19 digits, which is too large"),
    (b'{"a": -' + b"9" * 5000 + b"}", "holds a whole number of 5000 digits, which is too large"),
    (b'{"a": "\\ud800"}', r"holds half a surrogate pair, such as \ud800"),
    (b'{"\\udc00": 1}', "holds half a surrogate pair"),
    (b"[1]", "holds a JSON list; an object is required"),
    (b'"text"', "holds a JSON str; an object is required"),
    (b"null", "holds a JSON NoneType; an object is required"),
    (b"", "is not JSON: Expecting value at line 1, column 1"),
    (b'{"a": 1,\n}', "is not JSON:"),
    (b"{'a': 1}", "is not JSON:"),
    (b'{"a": 1} x', "is not JSON: Extra data at line 1, column 10"),
    (b'{"a": "\x00"}', "is not JSON: Invalid control character"),
    (b'\xef\xbb\xbf{"a": 1}', "is not JSON: Unexpected UTF-8 BOM"),
    ('{"a": "\u00f6"}'.encode("latin-1"), "is not UTF-8 (byte 7); save it as UTF-8"),
    ('{"a": 1}'.encode("utf-16"), "is not UTF-8 (byte 0)"),
    (nested(MAX_DEPTH + 1), "is nested deeper than 12 levels"),
    (b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "is nested deeper than 12 levels"),
    (nested(100_000), "is nested deeper than 12 levels"),
    (b"[" * 200_000, "is nested deeper than 12 levels"),
    (b'{"a": "' + b"x" * MAX_BYTES + b'"}', "bytes; at most 1,000,000 are allowed"),
])  # fmt: skip
def test_a_file_that_other_parsers_let_pass_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(tmp_path / "a.json", content)


@pytest.mark.parametrize(
    "content", [nested(MAX_DEPTH), b'{"a": "' + b"x" * (MAX_BYTES - 9) + b'"}', b'{"a": 9223372036854775807}']
)
def test_the_limits_themselves_are_allowed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read_json(path) == json.loads(content)


def test_a_pair_of_surrogates_is_one_character(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert read_json(path) == {"a": "\U0001f600"}


def test_a_link_is_refused_even_if_it_leads_to_a_good_file(tmp_path: Path) -> None:
    """A contributed link could name any file of the machine that checks it."""
    (tmp_path / "real.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    with pytest.raises(
        DocumentError, match="is a symbolic link; links are not allowed here, so put the file itself there"
    ):
        read_json(tmp_path / "link.json")


@pytest.mark.parametrize(
    ("name", "message"), [("absent.json", "cannot be read: No such file"), (".", "is not an ordinary file")]
)
def test_what_is_not_a_file_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)):
        read_json(tmp_path / name)


def test_a_hostile_file_name_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a\n::error::\x1b[31m\udcff.json"
    with pytest.raises(DocumentError) as caught:
        read_json(path)
    message = str(caught.value)
    assert message.isprintable()
    assert r"a\n::error::\x1b[31m\udcff.json" in message
    assert caught.value.path == path


def test_documents_have_one_text(tmp_path: Path) -> None:
    assert (
        to_json({"b": [1, {"ö": None}], "a": 0.1})
        == '{\n  "b": [\n    1,\n    {\n      "ö": null\n    }\n  ],\n  "a": 0.1\n}\n'
    )
    write_json(tmp_path / "new" / "folder" / "a.json", {"a": "ö"})
    assert (tmp_path / "new/folder/a.json").read_bytes() == '{\n  "a": "ö"\n}\n'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_json_number_is_never_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": value})
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.txt"]


def test_the_name_is_taken_only_when_the_content_is_complete(tmp_path: Path) -> None:
    """Readers see the old file or the new one, never a part."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApsiteError, match=r"a\.json: cannot be written: .*; choose a folder that you can write to"):
        write_json(tmp_path / "file" / "a.json", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(
        ApsiteError, match="cannot be written: Permission denied; choose a folder that you can write to"
    ):
        write_json(folder / "a.json", {})
    assert names_in(folder) == []


def test_a_refused_folder_is_an_error_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, also where the tests run as root: the operating system's refusal is simulated."""

    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(
        ApsiteError, match="cannot be written: Permission denied; choose a folder that you can write to"
    ):
        write_json(tmp_path / "a.json", {})
    assert names_in(tmp_path) == []


def test_a_target_that_is_a_folder_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ApsiteError, match=r"a\.json: is a folder; name a file in it"):
        write_json(tmp_path / "a.json", {})
    assert names_in(tmp_path) == ["a.json"]


def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ApsiteError, match="cannot be written: No space left"), atomic_file(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")
    assert names_in(tmp_path) == []


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "there.json")
    for content in ({"a": 1}, {"a": 2}):
        write_json(tmp_path / "link.json", content)
        assert (tmp_path / "link.json").is_symlink()
        assert read_json(tmp_path / "there.json") == content


def test_a_pipe_or_device_is_written_to_and_never_replaced(tmp_path):
    """As root, a replaced device would be gone for the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_json(pipe, {"a": 1})
    assert json.loads(reader.communicate()[0]) == {"a": 1}
    assert pipe.is_fifo()
    write_json(Path("/dev/null"), {"a": 1})
    assert Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
