"""Fetching files: whole, continued, refused; no request leaves this machine."""

import hashlib
import io
import os
import sys
import tarfile
import types
from dataclasses import replace

import numpy as np
import pytest

from apsite.documents.json_files import read_json
from apsite.evaluation.testsets import downloads
from apsite.evaluation.testsets.datasets import TEST_SETS, fetch_test_set, load_test_set
from apsite.evaluation.testsets.downloads import DownloadError, fetch, pinned
from apsite.evaluation.testsets.official import Download
from apsite.progress import PlainReporter, Reporter
from apsite.vocabulary import Dataset
from tests.loopback import QUOTA, loopback_server

CONTENT = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
QUIET = Reporter()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine, reached without any proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with loopback_server() as running:
        yield running


def test_a_file_arrives_whole_and_is_fetched_once(server, tmp_path):
    url = server.serve("model.pt", CONTENT)
    target = tmp_path / "new" / "model.pt"
    log = io.StringIO()
    assert fetch(url, target, PlainReporter(log), known_hash=SHA256, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["model.pt"]
    fetch(url, target, PlainReporter(log), known_hash=SHA256)
    assert server.ranges_asked == [None]
    assert "model.pt: 3.0 MB" in log.getvalue()
    assert "model.pt: already there, checksum right" in log.getvalue()


def test_a_link_is_followed_and_a_pipe_never_replaced(server, tmp_path):
    url, link, pipe = server.serve("model.pt", CONTENT), tmp_path / "link.pt", tmp_path / "pipe"
    link.symlink_to(tmp_path / "elsewhere.pt")
    os.mkfifo(pipe)
    fetch(url, link, Reporter(), known_hash=SHA256)
    assert link.is_symlink()
    assert (tmp_path / "elsewhere.pt").read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="is not an ordinary file, and is not replaced"):
        fetch(url, pipe, Reporter(), known_hash=SHA256)
    assert pipe.is_fifo()


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    url = server.serve("model.pt", CONTENT, cut_after=1_000_000)
    target = tmp_path / "model.pt"
    with pytest.raises(
        DownloadError, match=r"cannot be fetched .*1\.0 MB are kept, run the same command again to resume"
    ):
        fetch(url, target, QUIET, known_hash=SHA256)
    assert not target.exists()
    assert (tmp_path / "model.pt.part").read_bytes() == CONTENT[:1_000_000]
    fetch(url, target, QUIET, known_hash=SHA256)
    assert target.read_bytes() == CONTENT
    assert server.ranges_asked == [None, "bytes=1000000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_file_that_changed_in_between_starts_again(server, tmp_path):
    """Halves of two different files are never joined."""
    url = server.serve("model.pt", CONTENT, cut_after=1_000_000)
    with pytest.raises(DownloadError):
        fetch(url, tmp_path / "model.pt", QUIET)
    server.serve("model.pt", CONTENT[::-1])
    fetch(url, tmp_path / "model.pt", QUIET)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("options", [{"validator": False}, {"ranges": False}])
def test_a_host_that_cannot_continue_sends_all_again(server, tmp_path, options):
    """Without an entity tag or without ranges the file is still right in the end."""
    url = server.serve("model.pt", CONTENT, cut_after=1_000_000, **options)
    with pytest.raises(DownloadError) as caught:
        fetch(url, tmp_path / "model.pt", QUIET)
    assert ("are kept" in str(caught.value)) == options.get("validator", True)
    fetch(url, tmp_path / "model.pt", QUIET, known_hash=SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


def test_a_finished_part_needs_no_more_bytes(server, tmp_path):
    """A download that was stopped between its last byte and its renaming is taken as it is."""
    url = server.serve("model.pt", CONTENT)
    (tmp_path / "model.pt.part").write_bytes(CONTENT)
    (tmp_path / "model.pt.part.tag").write_text(server.files["model.pt"].tag)
    fetch(url, tmp_path / "model.pt", QUIET, known_hash=SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_a_wrong_checksum_removes_the_file(server, tmp_path):
    url = server.serve("model.pt", CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"does not have the checksum md5:00; it was removed"):
        fetch(url, tmp_path / "model.pt", QUIET, known_hash="md5:00")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_that_is_there_is_replaced(server, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"damaged")
    fetch(server.serve("model.pt", CONTENT), tmp_path / "model.pt", QUIET, known_hash=SHA256)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "a web page in place of the file"),
        (b"\n <HTML><head>", "a web page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html>', "a web page"),
        (b"", "the host sent nothing"),
    ],
)
def test_a_web_page_or_nothing_is_not_a_file(server, tmp_path, content, message):
    """File hosts send pages in place of files; none is left behind under the name of a checkpoint."""
    with pytest.raises(DownloadError, match=message):
        fetch(server.serve("model.pt", content), tmp_path / "model.pt", QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_an_unknown_address_have_their_own_messages(server, tmp_path):
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+: .*404"):
        fetch(f"{server.address}/gone", tmp_path / "gone", QUIET)
    with pytest.raises(DownloadError, match=r"start with https://, doi:, hf:// or gdrive://"):
        fetch("ftp://host/file", tmp_path / "file", QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot be made"):
        fetch(server.serve("model.pt", CONTENT), tmp_path / "file" / "model.pt", QUIET)


def test_a_checkpoint_is_pinned_at_first_use(tmp_path):
    """The first hash is remembered by address; another file from there is refused, a declared hash goes first."""
    pins, file = tmp_path / "pins.json", tmp_path / "file"
    file.write_bytes(b"one")
    digest = hashlib.sha256(b"one").hexdigest()
    assert pinned("https://a", file, pins, None) == digest
    assert pinned("https://a", file, pins, digest) == digest
    assert pinned("https://b", file, pins, None) == digest
    file.write_bytes(b"two")
    with pytest.raises(DownloadError, match=r"not .* as it had when it was first fetched .*the file was changed"):
        pinned("https://a", file, pins, None)
    with pytest.raises(DownloadError, match="as its entry declares"):
        pinned("https://c", file, pins, digest)
    assert read_json(pins) == {"https://a": digest, "https://b": digest}


def archive(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as files:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            files.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def publish(server, monkeypatch):
    """Makes an archive on the server the official one of CIFAR-10."""

    def publish(content: bytes) -> None:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        name, files = "cifar-10-binary.tar.gz", TEST_SETS[Dataset.CIFAR10]
        file = Download(server.serve(name, content), name, f"md5:{md5}", len(content), "cifar-10-batches-bin")
        monkeypatch.setitem(TEST_SETS, Dataset.CIFAR10, replace(files, download=file))

    return publish


def test_a_dataset_is_fetched_unpacked_and_readable(server, publish, tmp_path):
    rows = np.zeros((10_000, 3073), np.uint8)
    rows[:, 0] = np.arange(10_000) % 10
    publish(archive(("cifar-10-batches-bin/test_batch.bin", rows.tobytes()), ("elsewhere/file", b"x")))
    assert fetch_test_set(Dataset.CIFAR10, tmp_path / "data", QUIET) == tmp_path / "data"
    assert load_test_set(Dataset.CIFAR10, tmp_path / "data").labels[:3].tolist() == [0, 1, 2]
    assert not (tmp_path / "data" / "elsewhere").exists()
    fetch_test_set(Dataset.CIFAR10, tmp_path / "data", QUIET)
    assert len(server.ranges_asked) == 1


def test_a_hostile_member_stays_inside_the_folder(publish, tmp_path):
    """A path that leads out of the folder ends the unpacking and writes nothing there."""
    publish(archive(("cifar-10-batches-bin/../../escaped", b"x")))
    with pytest.raises(DownloadError, match=r"cannot be unpacked .*remove it and fetch it again"):
        fetch_test_set(Dataset.CIFAR10, tmp_path / "data", QUIET)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"no archive", "cannot be unpacked", id="text"),
        pytest.param(archive(("cifar-10-batches-bin/a", CONTENT))[:-2000], "cannot be unpacked", id="cut"),
        pytest.param(archive(("other/a", b"x")), "has no folder 'cifar-10-batches-bin'", id="other-content"),
    ],
)
def test_an_archive_of_the_wrong_content_is_named(publish, tmp_path, content, message):
    publish(content)
    with pytest.raises(DownloadError, match=message):
        fetch_test_set(Dataset.CIFAR10, tmp_path, QUIET)


def test_imagenet_is_never_fetched(tmp_path):
    with pytest.raises(DownloadError, match=r"its terms: .* after registration; https://image-net\.org\); put "):
        fetch_test_set(Dataset.IMAGENET, tmp_path, QUIET)


def test_every_official_address_is_complete():
    """Each has a checksum of a known algorithm, a size, and https where its authors offer it."""
    for file in filter(None, (files.download for files in TEST_SETS.values())):
        algorithm, _, digest = file.known_hash.partition(":")
        assert len(digest) == 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
        assert file.url.endswith(file.name)
        assert file.size > 10**7


def test_the_cache_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("APSITE_CACHE", str(tmp_path))
    assert downloads.data_dir() == tmp_path / "data"
    monkeypatch.delenv("APSITE_CACHE")
    assert downloads.cache_dir().name == "apsite"


def module(monkeypatch, name: str, **attributes) -> None:
    fake = types.ModuleType(name)
    vars(fake).update(attributes)
    monkeypatch.setitem(sys.modules, name, fake)


@pytest.fixture
def drive(server, monkeypatch):
    """The server in the place of Google Drive."""
    monkeypatch.setattr(downloads, "GOOGLE_DRIVE", f"{server.address}/uc")
    return server


def test_google_drive_gives_small_files_at_once_and_large_ones_after_a_form(drive, tmp_path):
    """A cut download is continued, by the form's URL."""
    drive.drive["small"] = CONTENT[:100]
    fetch("gdrive://small", tmp_path / "small.pt", QUIET)
    assert (tmp_path / "small.pt").read_bytes() == CONTENT[:100]
    drive.serve_large("a-1_b", CONTENT, cut_after=1_000_000)
    with pytest.raises(DownloadError, match=r"1\.0 MB are kept"):
        fetch("gdrive://a-1_b", tmp_path / "model.pt", QUIET)
    fetch("gdrive://a-1_b", tmp_path / "model.pt", QUIET)
    assert (tmp_path / "model.pt").read_bytes() == CONTENT
    assert drive.ranges_asked[-1] == "bytes=1000000-"


def test_a_file_shorter_than_promised_is_not_taken(server, tmp_path):
    with pytest.raises(DownloadError, match="cannot be fetched"):
        fetch(server.serve("model.pt", CONTENT[:100], length=200), tmp_path / "model.pt", QUIET)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (QUOTA, "does not give this file: Sorry, you can't .* time. Too many users .* downloaded this file recently."),
        (b"<html><body>Sign in</body></html>", "it sent a web page in place of the file"),
        (None, "404 .*; the file may have been removed"),
    ],
)
def test_a_refusal_of_google_drive_is_one_message(drive, tmp_path, page, message):
    if page is not None:
        drive.serve("uc?export=download&id=abc", page)
    with pytest.raises(DownloadError, match=f"gdrive://abc: .*{message}"):
        fetch("gdrive://abc", tmp_path / "model.pt", QUIET)
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_limit_is_not_taken(server, tmp_path):
    with pytest.raises(DownloadError, match="has more than 1,000,000 bytes; it was not fetched"):
        fetch(server.serve("model.pt", CONTENT), tmp_path / "model.pt", QUIET, limit=1_000_000)
    assert list(tmp_path.iterdir()) == []


def test_the_hub_gives_the_named_file_and_revision(monkeypatch, tmp_path):
    """``hf://owner/repository@revision/folder/file``; the revision may be left out."""
    asked = []
    (tmp_path / "cached").write_bytes(b"weights")

    def hf_hub_download(repository, name, *, revision):
        asked.append((repository, name, revision))
        return str(tmp_path / "cached")

    module(monkeypatch, "huggingface_hub", hf_hub_download=hf_hub_download)
    fetch("hf://owner/name/folder/model.pt", tmp_path / "a.pt", QUIET)
    fetch("hf://owner/name@v1/model.pt", tmp_path / "b.pt", QUIET)
    assert asked == [("owner/name", "folder/model.pt", None), ("owner/name", "model.pt", "v1")]
    assert (tmp_path / "b.pt").read_bytes() == b"weights"
    with pytest.raises(DownloadError, match="not of the form hf://owner/repository/file"):
        fetch("hf://owner", tmp_path / "c.pt", QUIET)


def test_an_error_of_the_hub_is_one_message(monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError("offline")

    module(monkeypatch, "huggingface_hub", hf_hub_download=fail)
    with pytest.raises(DownloadError, match=r"hf://owner/name/f: cannot be fetched \(offline\)"):
        fetch("hf://owner/name/f", tmp_path / "f", QUIET)


@pytest.mark.parametrize(("url", "library"), [("hf://a/b/c", "huggingface_hub")])
def test_a_missing_library_says_what_to_install(monkeypatch, tmp_path, url, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DownloadError, match=rf"needs the package {library}: pip install 'apsite\[fetch\]'"):
        fetch(url, tmp_path / "file", QUIET)


def test_a_doi_is_resolved_by_pooch(monkeypatch, tmp_path):
    import pooch.downloaders

    class Downloader:
        def __call__(self, url, output, _):
            if "missing" in url:
                raise ValueError("Invalid DOI")
            assert url == "doi:10.5281/zenodo.1/model.pt"
            (tmp_path / "model.pt.part").write_bytes(b"weights")
            assert output == str(tmp_path / "model.pt.part")

    monkeypatch.setattr(pooch.downloaders, "DOIDownloader", Downloader)
    fetch("doi:10.5281/zenodo.1/model.pt", tmp_path / "model.pt", QUIET)
    assert (tmp_path / "model.pt").read_bytes() == b"weights"
    with pytest.raises(DownloadError, match="Invalid DOI"):
        fetch("doi:10.5281/missing/x", tmp_path / "x", QUIET)


def test_a_google_drive_that_cannot_be_reached_is_not_taken_for_a_removed_file(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "GOOGLE_DRIVE", "http://127.0.0.1:1/uc")
    with pytest.raises(DownloadError, match=r"^gdrive://a: Google Drive cannot be reached \(ConnectionError\); check"):
        fetch("gdrive://a", tmp_path / "a.pt", QUIET)
