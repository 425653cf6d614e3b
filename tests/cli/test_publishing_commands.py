"""The archive of all data, and the addresses that it names."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

from apsite.catalogue import load_catalogue
from apsite.export import addresses, snapshot_bytes


def test_the_same_data_gives_the_same_archive(tiny_data: Path) -> None:
    (tiny_data / "LICENSE-DATA").write_text("CC BY 4.0\n", encoding="utf-8")
    first = snapshot_bytes(load_catalogue(tiny_data))
    for path in tiny_data.rglob("*"):
        path.touch()
    assert snapshot_bytes(load_catalogue(tiny_data)) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        names = set(archive.namelist())
        files = {path.relative_to(tiny_data).as_posix() for path in tiny_data.rglob("*") if path.is_file()}
        assert names == files | {"apsite.csv", "apsite.json", "SHA256SUMS"}
        for line in archive.read("SHA256SUMS").decode().splitlines():
            digest, _, name = line.partition("  ")
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
            names.remove(name)
    assert names == {"SHA256SUMS"}


def test_each_address_is_listed_once(tiny_data: Path) -> None:
    found = addresses(load_catalogue(tiny_data))
    assert found == [
        "https://example.org/paper", "https://example.org/code", "hf://jane/tiny/model.pt",
        "https://example.org/model.pt",
    ]  # fmt: skip


def test_commands_write_archive_and_list(run, tiny_data: Path, tmp_path: Path) -> None:
    result = run("snapshot", "--root", tiny_data, "--output", tmp_path / "out/data.zip")
    digest = hashlib.sha256((tmp_path / "out/data.zip").read_bytes()).hexdigest()
    assert result.stdout.startswith(digest)
    lines = run("links", "--root", tiny_data).stdout.splitlines()
    assert "https://huggingface.co/jane/tiny/blob/main/model.pt" in lines
    assert all(line.startswith("https://") for line in lines)
