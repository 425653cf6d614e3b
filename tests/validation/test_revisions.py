"""Reading revisions of the repository: exactly what they hold, and nothing that could do harm."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from apsite.errors import ApsiteError
from apsite.validation.revisions import (
    ChangedFile,
    changed_files,
    data_folder,
    merge_base,
    open_catalogue,
    resolve_commit,
    uncommitted_files,
)
from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, own_document, record_document, write_data
from tests.repositories import commit, git, repository_with


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Repository with one method and one own run."""
    return repository_with(tmp_path / "scratch", entry_document(), own_document())


def opened(source: str, repository: Path) -> None:
    """Open the data of a revision, and leave it."""
    with open_catalogue(source, repository):
        pass


def test_a_revision_is_read_as_it_was(scratch: Path) -> None:
    write_data(scratch, entry_document(RIVAL), record_document(f"{METHOD}_R18_CIFAR10_US_95"))
    before = git(scratch, "status", "--porcelain")
    with open_catalogue("main", scratch) as catalogue:
        assert list(catalogue.entries) == [METHOD]
        assert list(catalogue.records) == [MODEL]
        assert (catalogue.root / f"evaluations/{METHOD}/{MODEL}.npz").exists()
    assert git(scratch, "status", "--porcelain") == before
    assert not catalogue.root.exists()


def test_a_folder_is_taken_as_it_is(tiny_data: Path, scratch: Path) -> None:
    with data_folder(str(tiny_data), scratch) as folder:
        assert folder == tiny_data
    assert tiny_data.exists()


def test_data_may_lie_below_the_top_of_the_repository(tmp_path: Path) -> None:
    repository_with(tmp_path / "repo")
    data = write_data(tmp_path / "repo" / "data", entry_document(), record_document())
    commit(tmp_path / "repo")
    with open_catalogue("HEAD", data) as catalogue:
        assert list(catalogue.records) == [MODEL]


@pytest.mark.parametrize("name", ["", "--output=x", "-h", "nowhere", "main:entries", "HEAD^{tree}", "a\nb"])
def test_an_unknown_revision_is_a_mendable_problem(scratch: Path, name: str) -> None:
    """None of these can be taken for an option."""
    with pytest.raises(ApsiteError, match=r"is not a valid revision|neither a folder with data nor a revision"):
        resolve_commit(scratch, name)


def test_a_folder_in_no_repository_is_a_mendable_problem(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is searched above it by way of the environment either."""
    monkeypatch.setenv("GIT_DIR", str(Path(__file__).parents[2] / ".git"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tiny_data.parent))
    with pytest.raises(ApsiteError, match="neither a folder with data nor a revision of the repository"):
        opened("main", tiny_data)


def test_problems_of_a_revision_name_the_revision(scratch: Path) -> None:
    write_data(scratch, changed(entry_document(), "baseline", 1))
    name = commit(scratch)
    with pytest.raises(ApsiteError) as caught:
        opened(name, scratch)
    assert f"\n{name}/entries/{METHOD}.json: baseline: 1 is not of type boolean" in str(caught.value)


def test_a_link_in_a_revision_is_refused(scratch: Path) -> None:
    """It is never written to disk, so nothing can follow it."""
    (scratch / "entries" / "Link_Doe2024Small.json").symlink_to("/etc/passwd")
    with pytest.raises(ApsiteError, match=r"entries/Link_Doe2024Small\.json: is a link; data files are ordinary files"):
        opened(commit(scratch), scratch)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a b.json", "has a name that no data file has"), ("\x1b[31m.json", r"'entries/\\x1b\[31m.json': has a name"),
     (".json", "has a name that no data file has"), ("-x.json", "has a name that no data file has")],
)  # fmt: skip
def test_an_odd_name_in_a_revision_is_refused(scratch: Path, name: str, message: str) -> None:
    (scratch / "entries" / name).write_text("{}")
    with pytest.raises(ApsiteError, match=message):
        opened(commit(scratch), scratch)


def test_a_path_that_leads_outside_is_refused(scratch: Path, tmp_path: Path) -> None:
    """Git's own commands do not make such a tree; a hostile one can hold it."""
    blob = git(scratch, "hash-object", "-w", "README.md")
    entries = scratch / "entries.txt"
    inner = f"100644 blob {blob}\tx.json\n"
    entries.write_text(inner)
    with entries.open() as stream:
        tree = subprocess.run(
            ["git", "-C", str(scratch), "mktree"], stdin=stream, capture_output=True, text=True, check=True
        ).stdout.strip()
        # `git mktree` refuses "..", so the outer tree is written as a raw object.
        raw = b"40000 ..\0" + bytes.fromhex(tree)
        folder = subprocess.run(
            ["git", "-C", str(scratch), "hash-object", "-t", "tree", "--literally", "-w", "--stdin"],
            input=raw, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        top = b"40000 entries\0" + bytes.fromhex(folder)
        root = subprocess.run(
            ["git", "-C", str(scratch), "hash-object", "-t", "tree", "--literally", "-w", "--stdin"],
            input=top, capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
    name = git(scratch, "commit-tree", root, "-m", "Hostile")
    with pytest.raises(ApsiteError, match=r"entries/ cannot be unpacked by `git archive`"):
        opened(name, scratch)
    assert not (tmp_path / "x.json").exists()


def test_a_large_file_in_a_revision_is_refused(scratch: Path) -> None:
    (scratch / "entries" / "Big_Doe2024Small.json").write_text(" " * 1_000_001)
    with pytest.raises(ApsiteError, match=r"Big_Doe2024Small\.json: has 1,000,001 bytes; at most 1,000,000"):
        opened(commit(scratch), scratch)


def test_hooks_filters_and_monitors_of_a_checkout_do_not_run(scratch: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    script = tmp_path / "script.sh"
    script.write_text(f"#!/bin/sh\ntouch {witness}\ncat\n")
    script.chmod(0o755)
    (scratch / ".gitattributes").write_text("*.json filter=evil diff=evil textconv=evil\n")
    commit(scratch)
    for key in ("filter.evil.smudge", "core.fsmonitor", "diff.evil.command", "diff.evil.textconv", "core.pager"):
        git(scratch, "config", key, str(script))
    hook = scratch / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(script.read_text())
    hook.chmod(0o755)
    opened("main", scratch)
    changed_files(scratch, resolve_commit(scratch, "main"))
    assert not witness.exists()


ATTRIBUTES = """\
[attr]evil export-ignore
*.json export-ignore export-subst ident eol=crlf
Small.json evil filter=evil
Rival* working-tree-encoding=UTF-16
entries export-ignore
"""


def test_attributes_of_a_revision_hide_and_change_nothing(scratch: Path, tmp_path: Path) -> None:
    """`git archive` would leave files out, expand keywords, convert line ends and encodings, and call filters."""
    witness = tmp_path / "ran"
    names = [f"entries/{key}.json" for key in (METHOD, RIVAL, "Small")]
    for name in names[1:]:
        (scratch / name).write_bytes(b"$Format:%H$ $Id$\n{}\r\n")
    commit(scratch)  # before the attributes, which would change what is committed
    git(scratch, "config", "filter.evil.smudge", f"touch {witness}; cat")
    for folder in ("", "entries/", "evaluations/"):
        (scratch / f"{folder}.gitattributes").write_text(ATTRIBUTES)
        git(scratch, "add", f"{folder}.gitattributes")
    git(scratch, "commit", "--quiet", "--message", "Hostile")
    (scratch / ".git/info").mkdir(exist_ok=True)
    (scratch / ".git/info/attributes").write_text(ATTRIBUTES)
    with data_folder("main", scratch) as folder:
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == sorted(
            [*names, f"evaluations/{METHOD}/{MODEL}.json", f"evaluations/{METHOD}/{MODEL}.npz"]
        )
        assert (folder / names[0]).read_bytes() == (scratch / names[0]).read_bytes()
        for name in names[1:]:
            assert (folder / name).read_bytes() == b"$Format:%H$ $Id$\n{}\r\n"
    assert not witness.exists()


def test_changed_files_are_all_that_differ(scratch: Path) -> None:
    first = resolve_commit(scratch, "main")
    git(scratch, "checkout", "--quiet", "-b", "work")
    write_data(scratch, entry_document(RIVAL))
    (scratch / ".gitignore").write_text("ignored*\n")
    second = commit(scratch)
    (scratch / "README.md").write_text("Other.\n")
    (scratch / "entries" / f"{METHOD}.json").unlink()
    (scratch / "new file.txt").write_text("x")
    (scratch / "evaluations/ignored.json").write_text("{}")
    (scratch / "entries/link").symlink_to("README.md")
    (scratch / ".gitmodules").write_text('[submodule "x"]\n\tpath = sub\n\turl = ./x\n\tignore = all\n')
    git(scratch, "update-index", "--add", "--cacheinfo", f"160000,{first},sub")
    (scratch / "sub").mkdir()
    committed = [ChangedFile(".gitignore", new=True), ChangedFile(f"entries/{RIVAL}.json", new=True)]
    assert changed_files(scratch, first) == ("", [
        committed[0],
        ChangedFile("README.md"),
        committed[1],
        ChangedFile(f"entries/{METHOD}.json", None),
        ChangedFile("entries/link", "120000", new=True, tracked=False),
        ChangedFile("evaluations/ignored.json", new=True, tracked=False),
        ChangedFile("sub", "160000", new=True),
    ])  # fmt: skip
    assert changed_files(scratch / "entries", first, second) == ("entries/", committed)
    assert merge_base(scratch, "main") == first


@pytest.mark.parametrize("mark", ["--skip-worktree", "--assume-unchanged"])
def test_a_change_that_git_was_told_to_ignore_is_found(scratch: Path, mark: str) -> None:
    """The marks stay as they are; a file that a sparse checkout leaves out is no change."""
    entry, record = f"entries/{METHOD}.json", f"evaluations/{METHOD}/{MODEL}.json"
    git(scratch, "update-index", mark, entry, record)
    if mark == "--skip-worktree":
        (scratch / record).unlink()
    assert changed_files(scratch, resolve_commit(scratch, "main")) == ("", [])
    (scratch / entry).write_text("{}")
    assert git(scratch, "status", "--porcelain") == ""
    assert changed_files(scratch, resolve_commit(scratch, "main")) == ("", [ChangedFile(entry)])
    assert uncommitted_files(scratch) == [entry]
    assert git(scratch, "status", "--porcelain") == ""


def test_a_change_within_size_and_time_is_found(scratch: Path) -> None:
    """Settings of the repository may tell git to look at nothing else."""
    git(scratch, "config", "core.trustCtime", "false")
    git(scratch, "config", "core.checkStat", "minimal")
    path = scratch / f"entries/{METHOD}.json"
    before = path.stat()
    time.sleep(1.1)  # git does not trust a time that is that of its index
    git(scratch, "update-index", "--refresh")
    path.write_bytes(path.read_bytes().replace(b"2024", b"2023"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert git(scratch, "diff", "--name-only") == ""
    assert uncommitted_files(scratch) == [f"entries/{METHOD}.json"]


def test_a_branch_is_compared_with_where_it_began(scratch: Path) -> None:
    """What others added to the main branch since is no change of this one."""
    first = resolve_commit(scratch, "main")
    git(scratch, "checkout", "--quiet", "-b", "work")
    commit(scratch, "Mine")
    git(scratch, "checkout", "--quiet", "main")
    write_data(scratch, entry_document(RIVAL))
    commit(scratch, "Theirs")
    git(scratch, "checkout", "--quiet", "work")
    assert merge_base(scratch, "main") == first
    assert changed_files(scratch, first) == ("", [])


def test_histories_without_a_common_commit_are_a_mendable_problem(scratch: Path) -> None:
    """A shallow clone looks like that."""
    git(scratch, "checkout", "--quiet", "--orphan", "other")
    commit(scratch, "Other")
    with pytest.raises(ApsiteError, match="has no history in common with the checked-out commit; fetch the whole"):
        merge_base(scratch, "main")


def test_json_has_the_same_bytes_whoever_commits_it(scratch: Path, repository: Path) -> None:
    """Line ends of another system do not reach git, so that hashes and the copies in history/ stay right."""
    shutil.copy(repository / ".gitattributes", scratch)
    (scratch / "entries/Windows_Doe2026Small.json").write_bytes(b"{\r\n}\r\n")
    (scratch / "evaluations/x.npz").write_bytes(b"PK\r\n")
    with data_folder(commit(scratch), scratch) as folder:
        assert (folder / "entries/Windows_Doe2026Small.json").read_bytes() == b"{\n}\n"
        assert (folder / "evaluations/x.npz").read_bytes() == b"PK\r\n"
