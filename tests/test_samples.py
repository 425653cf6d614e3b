"""The per-sample file: the same bytes for the same verdicts, and nothing in it is trusted."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from apsite.errors import ApsiteError, DocumentError
from apsite.samples import MAX_ARRAY_BYTES, MAX_FILE_BYTES, SampleResults, read_samples, samples_bytes, write_samples
from apsite.vocabulary import Attack
from tests.builders import samples

Arrays = dict[str, NDArray[Any]]
ATTACKS = list(Attack)


@st.composite
def any_samples(draw: st.DrawFn) -> SampleResults:
    """Verdicts that do not contradict each other, with or without each attack."""
    n = draw(st.integers(1, 30))
    attacks = sorted(draw(st.sets(st.sampled_from(ATTACKS))), key=ATTACKS.index)
    with_autoattack, with_hofmn = draw(st.booleans()), draw(st.booleans())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def part_of(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return flags & (random.random(n) < 0.8)

    clean = part_of(np.ones(n, dtype=np.bool_))
    result = SampleResults(
        np.sort(random.choice(50_000, n, replace=False)).astype(np.int32),
        random.integers(0, 1000, n).astype(np.int16),
        clean,
    )
    if with_autoattack:
        after, flags = {}, clean
        for attack in attacks:
            flags = after[attack] = part_of(flags)
        result = replace(result, aa_robust=flags if after else part_of(clean), robust_after=after)
    if with_hofmn:
        found = np.where(part_of(clean), random.uniform(0.001, 1, n), np.inf).astype(np.float32)
        result = replace(result, distance=np.where(clean, found, np.float32(0)), tuning=part_of(clean))
    return result


def equal(first: SampleResults, second: SampleResults) -> bool:
    """Whether two sets of verdicts are the same, array for array and type for type."""
    a, b = first.arrays(), second.arrays()
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and (a[name] == b[name]).all() for name in a)


def good_arrays() -> Arrays:
    """Arrays of the eight samples by name."""
    return samples().arrays()


def save(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    """Write arrays without any check."""
    np.savez_compressed(path, **options, **arrays)
    return path


def pack(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip archive of raw members."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: NDArray[Any]) -> bytes:
    """Content of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def npy_claiming(shape: str) -> bytes:
    """``.npy`` file of three booleans whose header claims another shape."""
    header = f"{{'descr': '|b1', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + b"\x01\x01\x01"


def raw_members() -> dict[str, bytes]:
    """The smallest file that can be read, as members of the archive."""
    return {
        "index.npy": npy(np.arange(3, dtype=np.int32)),
        "label.npy": npy(np.zeros(3, dtype=np.int16)),
        "clean_correct.npy": npy(np.ones(3, dtype=np.bool_)),
    }


@given(verdicts=any_samples())
def test_samples_read_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, verdicts: SampleResults) -> None:
    path = tmp_path_factory.getbasetemp() / "samples.npz"
    digest = write_samples(path, verdicts)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    again = read_samples(path)
    assert equal(again, verdicts)
    assert list(again.robust_after) == list(verdicts.robust_after)
    assert len(again) == len(verdicts.index)
    assert samples_bytes(again) == samples_bytes(verdicts)


def test_the_same_verdicts_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the time nor the place of writing is in the file, so its hash identifies the verdicts."""
    first = samples_bytes(samples())
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    write_samples(tmp_path / "other.npz", samples())
    assert (tmp_path / "other.npz").read_bytes() == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_file_has_the_documented_arrays(tmp_path: Path) -> None:
    """Names and types are the contract for anyone who reads it with numpy alone."""
    write_samples(tmp_path / "a.npz", samples())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert {name: str(archive[name].dtype) for name in archive.files} == {
            "index": "int32", "label": "int16", "clean_correct": "bool", "aa_robust": "bool", "distance": "float32",
            "tuning": "bool", "robust_after_apgd_ce": "bool", "robust_after_apgd_t": "bool",
            "robust_after_fab_t": "bool", "robust_after_square": "bool",
        }  # fmt: skip


def test_arrays_of_other_types_are_stored_in_the_documented_ones() -> None:
    """What torch or Python hands over, such as int64, does not reach the file."""
    wide = replace(
        samples(), index=np.arange(8), label=samples().label.astype(int), distance=samples().distance.astype(float)
    )  # type: ignore[union-attr]
    assert samples_bytes(wide) == samples_bytes(samples())


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ApsiteError, match="cannot be written"):
        write_samples(tmp_path / "file" / "a.npz", samples())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class Sentinel:
    """Object whose unpickling leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["index", "distance", "note"])
def test_an_object_array_is_refused_and_not_unpickled(tmp_path: Path, name: str) -> None:
    """Code in a contributed file never runs."""
    trace = tmp_path / "code-ran"
    hostile = np.array([Sentinel(trace)] + [None] * 7, dtype=object)
    arrays = {**good_arrays(), name: hostile}
    del arrays["tuning"]
    path = save(tmp_path / "a.npz", arrays, allow_pickle=True)
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file \(" + name + r" holds objects"):
        read_samples(path)
    assert not trace.exists()
    with np.load(path, allow_pickle=True) as archive:
        assert len(archive[name]) == 8
    assert trace.exists(), "the sentinel works: unpickling would have been noticed"


def test_a_bare_pickle_is_refused_and_not_unpickled(tmp_path: Path) -> None:
    import pickle

    trace = tmp_path / "code-ran"
    (tmp_path / "a.npz").write_bytes(pickle.dumps(Sentinel(trace)))
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file \(it is not a zip archive"):
        read_samples(tmp_path / "a.npz")
    assert not trace.exists()


@pytest.mark.parametrize(("change", "field", "message"), [
    ({"index": None}, "index", "is missing from the file"),
    ({"label": None}, "label", "is missing from the file"),
    ({"clean_correct": None}, "clean_correct", "is missing from the file"),
    ({"tuning": None, "images": np.zeros(8, np.uint8)}, "images", "is not a known array; known are index, label"),
    ({"tuning": None, "robust_after_pgd": np.zeros(8, bool)}, "robust_after_pgd", "is not a known array"),
    ({"index": np.arange(8)}, "index", "is int64 of shape (8,); int32 of shape (8,) is required"),
    ({"index": np.arange(8, dtype=">i4")}, "index", "is >i4 of shape (8,); int32 of shape (8,) is required"),
    ({"index": np.int32(5)}, "index", "is int32 of shape (); int32 of shape (1,) is required"),
    ({"label": np.zeros((8, 1), np.int16)}, "label", "is int16 of shape (8, 1); int16 of shape (8,) is required"),
    ({"label": np.zeros(7, np.int16)}, "label", "is int16 of shape (7,); int16 of shape (8,) is required"),
    ({"clean_correct": np.ones(8, np.uint8)}, "clean_correct", "is uint8 of shape (8,); bool of shape (8,) is"),
    ({"distance": np.zeros(8)}, "distance", "is float64 of shape (8,); float32 of shape (8,) is required"),
    ({"tuning": np.zeros(8, "U3")}, "tuning", "is <U3 of shape (8,); bool of shape (8,) is required"),
    ({"robust_after_square": np.zeros(3, bool)}, "robust_after_square", "is bool of shape (3,); bool of shape (8"),
])  # fmt: skip
def test_an_undocumented_array_is_refused(tmp_path: Path, change: dict[str, Any], field: str, message: str) -> None:
    arrays = {name: array for name, array in {**good_arrays(), **change}.items() if array is not None}
    with pytest.raises(DocumentError) as caught:
        read_samples(save(tmp_path / "a.npz", arrays))
    assert caught.value.field == field
    assert message in caught.value.problem


def flags(text: str) -> NDArray[np.bool_]:
    """Flags from a text of ones and zeros."""
    return np.array([letter == "1" for letter in text])


def distances(**at: float) -> NDArray[np.float32]:
    """The good distances with some replaced, such as ``s2=-1``."""
    values = good_arrays()["distance"].copy()
    for name, value in at.items():
        values[int(name[1:])] = value
    return values


ASCENDING = "must be ascending with no duplicate, from 0 on"


@pytest.mark.parametrize(("change", "field", "message"), [
    ({"index": np.array([0, 1, 2, 3, 4, 5, 7, 6], np.int32)}, "index", ASCENDING),
    ({"index": np.array([0, 1, 2, 3, 4, 5, 6, 6], np.int32)}, "index", ASCENDING),
    ({"index": np.arange(-1, 7, dtype=np.int32)}, "index", ASCENDING),
    ({"index": np.array([5, 6, 7, 8, 9, 10, 11, -(2**31)], np.int32)}, "index", ASCENDING),
    ({"aa_robust": flags("11100010")}, "aa_robust", "marks samples as robust that are misclassified"),
    ({"aa_robust": flags("11110000")}, "aa_robust", "does not equal the flags after the last attack"),
    ({"aa_robust": None}, "aa_robust", "does not equal the flags after the last attack"),
    ({"distance": distances(s2=-1)}, "distance", "holds a negative or NaN value"),
    ({"distance": distances(s2=np.nan)}, "distance", "holds a negative or NaN value"),
    ({"distance": distances(s2=-np.inf)}, "distance", "holds a negative or NaN value"),
    ({"distance": distances(s2=0)}, "distance", "must be 0 exactly where clean_correct is false"),
    ({"distance": distances(s7=0.1)}, "distance", "must be 0 exactly where clean_correct is false"),
    ({"robust_after_apgd_ce": flags("11111010")}, "robust_after_apgd-ce", "marks samples as robust that were"),
    ({"robust_after_apgd_t": flags("11110100")}, "robust_after_apgd-t", "marks samples as robust that were"),
    ({"robust_after_fab_t": flags("11111000")}, "robust_after_fab-t", "marks samples as robust that were"),
    ({"robust_after_square": flags("11101000")}, "robust_after_square", "marks samples as robust that were"),
])  # fmt: skip
def test_arrays_that_contradict_each_other_are_refused(
    tmp_path: Path, change: dict[str, Any], field: str, message: str
) -> None:
    arrays = {name: array for name, array in {**good_arrays(), **change}.items() if array is not None}
    with pytest.raises(DocumentError) as caught:
        read_samples(save(tmp_path / "a.npz", arrays))
    assert caught.value.field == field
    assert message in caught.value.problem


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    empty = {name: array[:0] for name, array in good_arrays().items()}
    with pytest.raises(DocumentError, match="index: holds no sample"):
        read_samples(save(tmp_path / "a.npz", empty))


def test_a_large_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(DocumentError, match="is over 10,000,000 bytes"):
        read_samples(tmp_path / "a.npz")


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    """A few kilobytes of zeros can claim gigabytes of memory."""
    bomb = npy(np.zeros(MAX_ARRAY_BYTES + 1, dtype=np.bool_))
    path = pack(tmp_path / "a.npz", {**raw_members(), "tuning.npy": bomb}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 50_000
    with pytest.raises(DocumentError, match=r"tuning\.npy would take 20,000,129 bytes; at most 19,"):
        read_samples(path)


def test_an_archive_of_many_members_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz", {f"{number}.npy": b"" for number in range(33)})
    with pytest.raises(DocumentError, match="holds 33 arrays; at most 32 are allowed"):
        read_samples(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which of them counts would depend on the reader."""
    path = pack(tmp_path / "a.npz", raw_members())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("index.npy", npy(np.arange(1, 4, dtype=np.int32)))
    with pytest.raises(DocumentError, match=r"'index\.npy' is there twice"):
        read_samples(path)
    path = pack(tmp_path / "b.npz", {**raw_members(), "index": npy(np.arange(1, 4, dtype=np.int32))})
    with pytest.raises(DocumentError, match=r"index is not an array; the names of arrays end in \.npy"):
        read_samples(path)


@pytest.mark.parametrize("shape", [
    "(1000000000000000,)", "(2, 99999999999)", "(99999999999999999999999,)", "(-3,)", "(10000000,)", "((1,),)",
    "(True,)",
])  # fmt: skip
def test_a_header_that_claims_another_shape_is_refused(tmp_path: Path, shape: str) -> None:
    path = pack(tmp_path / "a.npz", {**raw_members(), "clean_correct.npy": npy_claiming(shape)})
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file \(.*\); write it with `apsite eval`"):
        read_samples(path)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is not an array"),
    (b"hello", "is not an array"),
    (b"\x93NUMPY", "is not a readable .npz file"),
    (b"\x93NUMPY\x01\x00\xff\xff{", "is not a readable .npz file"),
    (b"\x93NUMPY\x09\x00", "is not a readable .npz file"),
])  # fmt: skip
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = pack(tmp_path / "a.npz", {**raw_members(), "index.npy": content})
    with pytest.raises(DocumentError, match=re.escape(message)):
        read_samples(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, compression: int) -> None:
    """numpy writes stored or deflated members only."""
    path = pack(tmp_path / "a.npz", raw_members(), compression)
    with pytest.raises(DocumentError, match="is encrypted or compressed in an unusual way"):
        read_samples(path)


def with_comment(content: bytes) -> bytes:
    return content[:-2] + (5).to_bytes(2, "little") + b"hello"


def between(content: bytes) -> bytes:
    """Foreign bytes between the members and their list, which all readers of zip archives jump over."""
    start = int.from_bytes(content[-6:-2], "little")
    return content[:start] + b"hidden" + content[start:-6] + (start + 6).to_bytes(4, "little") + content[-2:]


def repacked(content: bytes, *, behind: bytes = b"", **described: Any) -> bytes:
    """The same members, one of them described in another way, or with other bytes behind its stream."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for number, name in enumerate(old.namelist()):
            info = zipfile.ZipInfo(name)
            for field, value in described.items():
                setattr(info, field, value)
            new.writestr(info, old.read(name))
            if behind and not number:
                buffer.write(behind)
                info.compress_size += len(behind)
                new.start_dir = buffer.tell()
                buffer.seek(info.header_offset + 18)
                buffer.write(struct.pack("<L", info.compress_size))
    return buffer.getvalue()


@pytest.mark.parametrize("change", [
    lambda content: b"<html></html>" + content,
    lambda content: content + bytes(1000),
    with_comment,
    between,
    lambda content: content[:-18] + b"\x01\x00" + content[-16:],
    lambda content: content.replace(b"clean_correct.npy", b"clean_corr.npy\0xe"),
    lambda content: content.replace(b"clean_correct.npy", b"clean_corrupt.npy", 1),
    lambda content: content[:-22] + b"PK\x06\x06" + bytes(52) + b"PK\x06\x07" + bytes(16) + content[-22:],
    lambda content: repacked(content, extra=b"\x99\x99\x04\x00code"),
    lambda content: repacked(content, comment=b"code"),
    lambda content: repacked(content, compress_type=zipfile.ZIP_DEFLATED, behind=b"code"),
    lambda content: repacked(content, behind=b"code"),
    lambda content: content.replace(b"'shape': (3,), } ", b"'shape': (3,), }#"),
], ids=[
    "in front", "behind", "comment", "between", "part of several", "name cut at NUL", "two names", "64-bit records",
    "extra field", "comment of a member", "behind a compressed stream", "behind an array", "comment in a header",
])  # fmt: skip
def test_an_archive_holds_its_arrays_and_nothing_else(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """Else one file could be a page or a program as well, or carry what no check sees."""
    content = pack(tmp_path / "a.npz", raw_members()).read_bytes()
    assert read_samples(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(change(content))
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file"):
        read_samples(tmp_path / "a.npz")


def test_a_flag_is_0_or_1(tmp_path: Path) -> None:
    """Any other byte counts as true in one program and as 255 in another."""
    members = raw_members()
    members["clean_correct.npy"] = members["clean_correct.npy"][:-1] + b"\xff"
    with pytest.raises(DocumentError, match="clean_correct holds flags that are neither 0 nor 1"):
        read_samples(pack(tmp_path / "a.npz", members))


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file"):
        read_samples(tmp_path / "a.npz")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="is missing; add the file that `apsite eval` wrote next to the record"):
        read_samples(tmp_path / "absent.npz")
    with pytest.raises(DocumentError, match=r"is not a readable \.npz file"):
        read_samples(tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    write_samples(tmp_path / "real.npz", samples())
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    with pytest.raises(
        DocumentError, match="is a symbolic link; links are not allowed here, so put the file itself there"
    ):
        read_samples(tmp_path / "link.npz")


@given(damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_file_is_refused_or_read_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    content = bytearray(samples_bytes(samples()))
    for position, value in damage:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    try:
        read = read_samples(path)
    except DocumentError as error:
        assert error.path == path  # noqa: PT017  (both outcomes are right)
    else:
        assert len(read) == 8
