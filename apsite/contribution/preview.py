"""The text that the checks of a pull request write, and the comment that shows it.

Two workflows meet here. The first runs on the pull request with a read-only token, so it is untrusted: it may run what
the pull request brings. It writes one text. The second may comment. It takes the number of the pull request, the commit
and the changed files from the platform alone; of the text it checks size and characters, and shows it in a code fence
that no allowed character can close.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from pathlib import Path

from apsite.contribution.comparison import compare
from apsite.contribution.comparison_text import NOT_PLAIN, plain, to_text
from apsite.errors import ApsiteError, DocumentError
from apsite.validation import validate
from apsite.validation.reports import summary
from apsite.validation.revisions import open_catalogue

FILE_NAME = "preview.txt"
"""The one file of the archive."""
MARK = "<!-- apsite-preview -->"
"""First line of the comment, by which the workflow finds the one that it wrote before."""
MAX_BYTES = 30_000
"""Size of the text; GitHub refuses comments of more than 65,536 characters."""
MAX_ARCHIVE_BYTES = 100_000
MAX_LISTED_FILES = 3_000
"""Files of a pull request that the platform lists; it leaves out any more."""
WORKFLOWS = ".github/"
"""Where a pull request can change the checks that run on it: the platform takes its workflows from there."""
PROBLEM_LIMIT = 20

_SHORTENED = "Shortened; run 'apsite validate' and 'apsite diff' to see everything."
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, OverflowError, MemoryError, zipfile.BadZipFile, zlib.error)


def preview_text(root: Path, base: str, *, maintainer: bool = False) -> str:
    """What a pull request with the data at `root` changes since `base`, or the problems of its data, as plain text.

    Raises:
        ApsiteError: If there is no data at `root`, or no such revision.
    """
    report = validate(root, changed_since=base, maintainer=maintainer)
    if report.problems:
        lines = [f"{str(problem).replace(f'{root}/', '', 1)}\n" for problem in report.problems[:PROBLEM_LIMIT]]
        more = len(report.problems) - PROBLEM_LIMIT
        changes = "".join(lines) + (f"and {more} more\n" if more > 0 else "")
    else:
        with open_catalogue(base, root) as before, open_catalogue(str(root), root) as after:
            changes = to_text(compare(before, after))
    text = plain(f"{summary(report)}\n\n{changes}")
    if len(text.encode()) <= MAX_BYTES:
        return text
    kept = text.encode()[: MAX_BYTES - len(_SHORTENED) - 2].decode("utf-8", "ignore")
    return f"{kept.rpartition(chr(10))[0]}\n\n{_SHORTENED}"


def read_preview(archive: Path) -> str:
    """The text in an untrusted archive, read without unpacking it.

    Raises:
        ApsiteError: If the archive is not exactly one small ordinary :data:`FILE_NAME` of allowed characters.
    """
    try:
        if archive.is_symlink() or archive.stat().st_size > MAX_ARCHIVE_BYTES:
            raise DocumentError(archive, "", f"is a link, or larger than {MAX_ARCHIVE_BYTES:,} bytes")
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if [member.filename for member in members] != [FILE_NAME]:
                raise DocumentError(archive, "", f"does not hold exactly one file, {FILE_NAME}")
            (member,) = members
            kind, packing = stat.S_IFMT(member.external_attr >> 16), member.compress_type
            if kind not in (0, stat.S_IFREG) or packing not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DocumentError(archive, FILE_NAME, "is not an ordinary file, or compressed in an unusual way")
            with opened.open(member) as stream:
                content = stream.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except _UNREADABLE as error:
        raise DocumentError(archive, "", f"is not a readable archive of UTF-8 text ({type(error).__name__})") from None
    if len(content) > MAX_BYTES:
        raise DocumentError(archive, FILE_NAME, f"is larger than {MAX_BYTES:,} bytes")
    if found := NOT_PLAIN.search(text):
        raise DocumentError(archive, FILE_NAME, f"holds {found[0]!a}, which no comment may hold")
    return text


def comment(text: str, *, head: str, changed_files: list[str], run_url: str) -> str:
    """Comment for a pull request, in Markdown; only the text in its code fence is untrusted.

    Args:
        text: What :func:`read_preview` returned.
        head: Commit for which the checks ran, from the platform, as the following two.
        changed_files: If workflows are among them, or not all are listed, the comment begins with a warning.
        run_url: URL of the run of the checks.

    Raises:
        ApsiteError: If one of the three is not what the platform gives.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", head):
        raise ApsiteError(f"--head-sha {head!r}: is not the full name of a commit, 40 hexadecimal digits")
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/#-]*)?", run_url):
        raise ApsiteError(f"--run-url {run_url!r}: is not a plain https URL")
    if not changed_files:
        raise ApsiteError("--changed-files: lists no file; a pull request changes at least one")
    lines = [MARK, "### Data of this pull request", ""]
    if len(changed_files) >= MAX_LISTED_FILES or any(name.startswith(WORKFLOWS) for name in changed_files):
        change = f"it changes `{WORKFLOWS}`, or {MAX_LISTED_FILES:,} files or more"
        lines += [f"**Do not rely on the checks of this pull request, nor on the text below:** {change}, so it may "
                  "have changed the checks themselves.", ""]  # fmt: skip
    return "\n".join([
        *lines,
        f"Written by the checks of this pull request at {head}; nobody has reviewed it:",
        "", "```text", text.rstrip("\n"), "```", "",
        f"[The run]({run_url}) keeps the site with this change as `preview-site`: download and unpack it, then run "
        "`apsite serve FOLDER`.", "",
    ])  # fmt: skip
