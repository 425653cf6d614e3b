"""A change of the data, and what happens to results later: diff, preview, supersede, amend."""

from __future__ import annotations

import json
from pathlib import Path

import click

from apsite.cli.group import cli
from apsite.cli.options import emit, output_file_option, root_option
from apsite.vocabulary import ChangeKind

_FILE = click.Path(dir_okay=False, path_type=Path)


@cli.command()
@root_option
@output_file_option
@click.argument("base")
@click.argument("head", required=False)
@click.option("--format", "style", type=click.Choice(["text", "markdown", "json"]), default="text", show_default=True)
def diff(root: Path, output: Path | None, base: str, head: str | None, style: str) -> None:
    """Show what changes from BASE to HEAD: results, ranks, leaders, ties.

    Each is a folder with entries/ and evaluations/, or a revision of the repository at --root, such as main or a
    commit. Revisions are read without a checkout. HEAD defaults to the files at --root.

    \b
    Examples:
      apsite diff origin/main
      apsite diff v0.1.0 origin/main --format markdown
    """
    from apsite.contribution.comparison import compare, comparison_to_json
    from apsite.contribution.comparison_text import to_markdown, to_text
    from apsite.validation.revisions import open_catalogue

    with open_catalogue(base, root) as before, open_catalogue(head or str(root), root) as after:
        found = compare(before, after)
    if style == "json":
        emit(json.dumps(comparison_to_json(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n", output)
    else:
        emit((to_markdown if style == "markdown" else to_text)(found), output)


@cli.command("preview-summary")
@root_option
@output_file_option
@click.option("--base", required=True, help="Revision that the pull request would change, such as origin/main.")
@click.option("--maintainer", is_flag=True, help="Apply the rules for maintainers, as in `apsite validate`.")
def preview_summary(root: Path, output: Path | None, base: str, maintainer: bool) -> None:
    """Write what a pull request with the data at --root changes, or the problems of its data, as plain text.

    For the workflow that runs on the pull request. Problems of the data do not change the exit code; `apsite validate`
    fails on them.

    \b
    Example:
      apsite preview-summary --base origin/main --output preview.txt
    """
    from apsite.contribution.preview import preview_text

    emit(preview_text(root, base, maintainer=maintainer), output)


@cli.command("preview-comment")
@output_file_option
@click.argument("archive", type=_FILE)
@click.option("--head-sha", required=True, help="Commit for which the checks ran.")
@click.option("--changed-files", type=_FILE, required=True, help="Names of the files that it changes, one per line.")
@click.option("--run-url", required=True, help="URL of the run of the checks.")
def preview_comment(output: Path | None, archive: Path, head_sha: str, changed_files: Path, run_url: str) -> None:
    """Write the comment on a pull request from ARCHIVE, which holds the text of `apsite preview-summary`.

    ARCHIVE is untrusted. It must hold one small file of plain characters, which the comment shows in a code fence. Take
    all options from the platform. The comment warns if the pull request changes its own checks.

    \b
    Example:
      apsite preview-comment preview.zip --head-sha "$HEAD_SHA" --changed-files files.txt --run-url "$RUN_URL"
    """
    from apsite.contribution import preview

    names = changed_files.read_text(encoding="utf-8", errors="replace").splitlines()
    text = preview.read_preview(archive)
    emit(preview.comment(text, head=head_sha, changed_files=names, run_url=run_url), output)


_KINDS = [kind.value for kind in ChangeKind if kind is not ChangeKind.SUPERSEDES]


@cli.command()
@root_option
@click.argument("record", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why the new run is better, as a sentence for readers.")
@click.option("--url", help="Where that was discussed, https only.")
@click.option("--date", help="Day, as year-month-day.  [default: today]")
def supersede(root: Path, record: Path, reason: str, url: str | None, date: str | None) -> None:
    """Put RECORD, a new run, in the place of the record of the same model, which moves to history/ as it is.

    Evaluate the better checkpoint with `apsite eval --output new` first; RECORD is then
    new/<method key>/<model key>.json, and the per-sample file beside it comes along.

    \b
    Example:
      apsite supersede new/KEY/MODEL_KEY.json --reason "Trained for longer."
    """
    from apsite.contribution import history

    click.echo(f"Record: {history.supersede(root, record, reason, url=url, date=date)}")


@cli.command()
@root_option
@click.argument("key")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What happened.")
@click.option("--reason", required=True, help="Why, as a sentence for readers.")
@click.option("--url", help="Where it was discussed, https only.")
@click.option("--date", help="Day, as year-month-day.  [default: today]")
def amend(root: Path, key: str, kind: str, reason: str, url: str | None, date: str | None) -> None:
    """Note in the entry or record of KEY that it was corrected, disputed, settled or retracted, and why.

    A disputed record keeps its rank and is marked. A retracted one stays readable and no longer counts; that is final.
    Make the correction itself in the file first. Disputes and retractions are merged as a maintainer's change.

    \b
    Example:
      apsite amend MODEL_KEY --kind disputed --reason "The checkpoint gives other figures."
    """
    from apsite.contribution import history

    click.echo(f"Amended: {history.amend(root, key, ChangeKind(kind), reason, url=url, date=date)}")
