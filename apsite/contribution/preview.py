"""The summary that the checks of a pull request write, and the comment that is made from it.

Two workflows meet here. The first runs on the pull request with a token that can only read, and writes the summary; the
second may write comments and therefore believes nothing: the archive must hold one small file of one schema, about the
commit that the run was for and the pull request that has this commit as its head. A proposal can also change the first
workflow, which no check of the archive can tell; so the comment says when it does, as the platform lists its files.
What it posts is our own template
with closed words, numbers and names in code spans.
"""

from __future__ import annotations

import json
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apsite.contribution.comparison import Comparison, comparison_to_json, shortened
from apsite.contribution.comparison_text import code, to_markdown
from apsite.documents.json_files import parse_json, read_json
from apsite.documents.schema import schema_problems
from apsite.errors import ApsiteError, DocumentError
from apsite.validation.reports import counted

FILE_NAME = "summary.json"
"""The one file of the archive."""
MARK = "<!-- apsite-preview -->"
"""First line of the comment, by which the workflow finds the one that it wrote before."""
MAX_ARCHIVE_BYTES = 300_000
MAX_SUMMARY_BYTES = 600_000
MAX_COMMENT = 60_000
"""Characters; GitHub refuses comments of more than 65,536."""
MAX_LISTED_FILES = 300
"""Files that the platform names in a comparison of two commits; of more, it leaves out the rest."""
WORKFLOWS = ".github/"
"""Where a proposal can change the checks that run on it: the platform takes workflows from the proposal."""
LIST_LIMIT = 60
PROBLEM_LIMIT = 20

_COMMIT = re.compile(r"[0-9a-f]{40}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, OverflowError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def summary_document(
    *,
    pull_request: int,
    head: str,
    base: str,
    counts: Mapping[str, int],
    problems: Sequence[tuple[str, str, str]],
    comparison: Comparison | None,
) -> dict[str, Any]:
    """Summary of a checked pull request, its lists shortened to what a comment can hold.

    Args:
        pull_request: Its number.
        head: Commit that was checked.
        base: Commit that it was compared with.
        counts: ``entries``, ``records`` and ``sample_files`` that were read.
        problems: File, place in it and message of each problem.
        comparison: What changes; ``None`` where the data cannot be compared.

    Raises:
        ApsiteError: If a commit or the number is none.
    """
    whole = None if comparison is None else comparison_to_json(comparison)
    short = None if whole is None else shortened(whole, LIST_LIMIT)
    document = {
        "schema_version": 1,
        "pull_request": pull_request,
        "head": head,
        "base": base,
        "counts": {**counts, "problems": len(problems)},
        "problems": [
            {"path": _line(path, 400), "field": _line(field, 300), "problem": _line(problem, 600)}
            for path, field, problem in problems[:PROBLEM_LIMIT]
        ],
        "comparison": short,
        "shortened": short != whole or len(problems) > PROBLEM_LIMIT,
    }
    for found in schema_problems(Path(FILE_NAME), "preview", document):
        raise ApsiteError(str(found))
    return document


def read_artifact(path: Path, run_head: str) -> dict[str, Any]:
    """Summary in an untrusted archive, checked in every respect but whose pull request it is.

    Args:
        path: The archive that the first workflow uploaded.
        run_head: Commit for which that workflow ran, as the platform states it.

    Raises:
        ApsiteError: If the archive is not exactly one ordinary ``summary.json`` of the schema about that commit.
    """
    if not _COMMIT.fullmatch(run_head):
        raise ApsiteError(f"--run-head {run_head!r}: is not the full name of a commit, 40 hexadecimal digits")
    document = parse_json(path / FILE_NAME, _only_file(path))
    for problem in schema_problems(path / FILE_NAME, "preview", document):
        raise problem
    if document["head"] != run_head:
        raise DocumentError(
            path / FILE_NAME, "head", f"{document['head']} is not the commit for which the checks ran, {run_head}"
        )
    return document


def check_pull_request(path: Path, summary: Mapping[str, Any], answer: Path) -> None:
    """Check that a summary is about the pull request that it names.

    Args:
        path: The archive, for messages.
        summary: What :func:`read_artifact` gave.
        answer: File with the platform's own description of the pull request: its API's answer, JSON.

    Raises:
        ApsiteError: If number or head differ, or if it is no longer open.
    """
    try:
        described = read_json(answer)
        number, state, head = described["number"], described["state"], described["head"]["sha"]
    except (KeyError, TypeError):
        raise DocumentError(answer, "", "is not the description of a pull request: number, state, head.sha") from None
    if type(number) is not int or number != summary["pull_request"]:
        raise DocumentError(
            path / FILE_NAME, "pull_request", f"{summary['pull_request']} is not the pull request described, {number}"
        )
    if head != summary["head"]:
        raise DocumentError(
            path / FILE_NAME,
            "head",
            f"{summary['head']} is not the head of pull request {number}; it has moved on, or the summary lies",
        )
    if state != "open":
        raise DocumentError(answer, "state", f"{state!r}: pull request {number} is not open; nothing is to be said")


def changed_names(answer: Path) -> list[str]:
    """Files that a pull request changes, from the platform's comparison of two commits: ``{"files": [name, ...]}``.

    Raises:
        ApsiteError: If the file is not such a list.
    """
    files = read_json(answer).get("files")
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise DocumentError(answer, "files", "is not a list of file names")
    return files


def comment(
    summary: Mapping[str, Any], artifact_url: str | None = None, changed_files: Sequence[str] | None = None
) -> str:
    """Comment for the pull request, in Markdown.

    Args:
        summary: What :func:`read_artifact` gave.
        artifact_url: Where the built site can be had; from the platform, not from the archive.
        changed_files: What :func:`changed_names` gave. A proposal that changes the workflows has written its own
            checks, which the comment then says before anything else.

    Raises:
        ApsiteError: If the address is not of the ``https`` kind.
    """
    counts, comparison = summary["counts"], summary["comparison"]
    read = counted(counts["entries"], counts["records"], counts["sample_files"])
    lines = [
        MARK,
        *_own_checks(changed_files or ()),
        f"Checked at {summary['head'][:12]}, against {summary['base'][:12]}: {read}.",
        "",
    ]
    if counts["problems"]:
        lines += [f"**{counts['problems']:,} to mend.** `apsite validate` says the same on your machine.", ""]
        for one in summary["problems"]:
            place = f"{code(one['path'])}, {code(one['field'])}" if one["field"] else code(one["path"])
            lines.append(f"- {place}: {code(one['problem'])}")
        lines.append("")
    if comparison is not None:
        lines += [to_markdown(comparison), *_warning_lines(comparison)]
    if summary["shortened"]:
        lines += ["The lists are shortened; `apsite diff` shows all of it.", ""]
    if artifact_url is not None:
        if not re.fullmatch(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/#-]*)?", artifact_url):
            raise ApsiteError(f"--artifact-url {artifact_url!r}: is not a plain https address")
        lines += [f"The site as it would be: [download]({artifact_url}), unpack it, and run `apsite serve FOLDER`."]
    text = "\n".join(lines).rstrip() + "\n"
    if len(text) <= MAX_COMMENT:
        return text
    whole_lines = text[:MAX_COMMENT].rpartition("\n")[0]
    return f"{whole_lines}\n\nThis comment is shortened; `apsite diff` shows all of it.\n"


def _own_checks(changed_files: Sequence[str]) -> list[str]:
    """What a reader must know before the rest: that the proposal may have had a hand in what the checks say."""
    own = [name for name in changed_files if name.startswith(WORKFLOWS)]
    if own:
        shown = ", ".join(code(name) for name in own[:PROBLEM_LIMIT])
        return [
            f"**Do not rely on the checks of this pull request, nor on the rest of this comment:** it changes {shown}, "
            "and so the checks themselves.",
            "",
        ]
    if len(changed_files) >= MAX_LISTED_FILES:
        return [
            f"**It changes {MAX_LISTED_FILES} files or more:** see whether {code(WORKFLOWS)} is among them; "
            "if it is, do not rely on the checks.",
            "",
        ]
    return []


def _warning_lines(comparison: Mapping[str, Any]) -> list[str]:
    """Warnings that the new records carry."""
    found = [
        f"- {code(one['model_key'])}: {', '.join(map(code, one['after']['warnings']))}"
        for one in comparison["records"]
        if one["after"] is not None and one["after"]["warnings"]
    ]
    return ["### Warnings of these records", "", *found, ""] if found else []


def _only_file(path: Path) -> bytes:
    """Content of the one file that the archive may hold."""
    if path.is_symlink():
        raise DocumentError(path, "", "is a symbolic link; give the archive itself")
    try:
        size = path.stat().st_size
        if size > MAX_ARCHIVE_BYTES:
            raise DocumentError(path, "", f"has {size:,} bytes; at most {MAX_ARCHIVE_BYTES:,} are allowed")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if [member.filename for member in members] != [FILE_NAME]:
                names = ", ".join(ascii(member.filename)[:60] for member in members[:3]) or "nothing"
                raise DocumentError(path, "", f"holds {names}; exactly one file, {FILE_NAME}, is allowed")
            (member,) = members
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise DocumentError(path, FILE_NAME, "is a link or something else that is no ordinary file")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise DocumentError(path, FILE_NAME, "is encrypted or compressed in an unusual way")
            if member.file_size > MAX_SUMMARY_BYTES:
                raise DocumentError(path, FILE_NAME, f"is over {MAX_SUMMARY_BYTES:,} bytes")
            with archive.open(member) as stream:
                content = stream.read(MAX_SUMMARY_BYTES + 1)
    except _UNREADABLE as error:
        raise DocumentError(path, "", f"is not a readable zip archive ({type(error).__name__})") from None
    if len(content) > MAX_SUMMARY_BYTES:
        raise DocumentError(path, FILE_NAME, f"is over {MAX_SUMMARY_BYTES:,} bytes")
    return content


def _line(text: str, limit: int) -> str:
    """One line of bounded length that any terminal and any page can show."""
    shown = _CONTROL.sub("?", text.encode("utf-8", "replace").decode("utf-8"))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def summary_text(document: Mapping[str, Any]) -> str:
    """Content of ``summary.json``."""
    return json.dumps(document, ensure_ascii=True, allow_nan=False) + "\n"
