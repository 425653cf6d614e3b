"""A change of the data, and what happens to results later: diff, preview, supersede, amend, migrate."""

from __future__ import annotations

from pathlib import Path

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import emit, emit_json
from apsite.errors import ApsiteError
from apsite.vocabulary import ChangeKind


@cli.command()
@options.root
@options.output_file
@click.argument("base")
@click.argument("head", required=False)
@options.proposal
@click.option("--format", "style", type=click.Choice(["text", "markdown", "json"]), default="text")
def diff(
    root: Path, output: Path | None, base: str, head: str | None, proposal: str | None, style: str
) -> None:  # fmt: skip
    """Show what changes from BASE to HEAD: results, ranks, leaders, ties.

    Each is a folder with entries/ and evaluations/, or a revision of the repository at --root, such as main or a
    commit. Revisions are read without a checkout. HEAD defaults to the files at --root; --proposal is a HEAD that must
    change nothing but data.

    \b
    Examples:
      apsite diff origin/main
      apsite diff v0.1.0 origin/main --format markdown
      apsite diff main --proposal pull-17
    """
    from apsite.contribution.comparison import compare, comparison_to_json
    from apsite.contribution.comparison_text import to_markdown, to_text
    from apsite.validation.revisions import open_catalogue

    if head and proposal:
        raise click.UsageError("give HEAD or --proposal, not both")
    with (
        open_catalogue(base, root) as before,
        open_catalogue(proposal or head or str(root), root, proposal=proposal is not None) as after,
    ):
        found = compare(before, after)
    if style == "json":
        emit_json(comparison_to_json(found), output)
    else:
        emit((to_markdown if style == "markdown" else to_text)(found), output)


@cli.command("preview-summary")
@options.root
@options.output_file
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
@options.output_file
@click.argument("archive", type=options.FILE)
@click.option("--head-sha", required=True, help="Commit for which the checks ran.")
@click.option("--changed-files", type=options.FILE, required=True,
              help="Names of the files that it changes, one per line.")  # fmt: skip
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
@options.root
@click.argument("record", type=options.FILE)
@click.option("--reason", required=True, help="Why the new run is better, as a sentence for readers.")
@click.option("--url", help="Where that was discussed, https only.")
@click.option("--date", help="Date, YYYY-MM-DD.  [default: today]")
@click.option("--by", help="Your name, if you decide as a maintainer what the rules below do not allow.")
def supersede(root: Path, record: Path, reason: str, url: str | None, date: str | None, by: str | None) -> None:
    """Replace the record of a model with RECORD, a new run; the old one moves to history/ unchanged.

    Evaluate the better checkpoint with `apsite eval --output new` first; RECORD is then
    new/<method key>/<model key>.json. The per-sample file next to it is copied, too.

    RECORD ranks if the old record does, has all its attacks and as many samples, and is by the same people unless the
    old result was published. Only maintainers can merge a record that --by marks as their decision.

    \b
    Example:
      apsite supersede new/KEY/MODEL_KEY.json --reason "Trained for longer."
    """
    from apsite.contribution import history

    click.echo(f"Record: {history.supersede(root, record, reason, url=url, date=date, by=by)}")


@cli.command()
@options.root
@click.argument("key")
@click.option("--kind", type=click.Choice(_KINDS), required=True, help="What happened.")
@click.option("--reason", required=True, help="Why, as a sentence for readers.")
@click.option("--url", help="Where it was discussed, https only.")
@click.option("--date", help="Date, YYYY-MM-DD.  [default: today]")
def amend(root: Path, key: str, kind: str, reason: str, url: str | None, date: str | None) -> None:
    """State in the entry or record of KEY that it was corrected, disputed, settled or retracted, and why.

    A disputed record keeps its rank and is marked. A retracted record stays readable but no longer counts; this is
    final. Correct the file itself first. Only maintainers can merge disputes and retractions.

    \b
    Example:
      apsite amend MODEL_KEY --kind disputed --reason "The checkpoint gives other results."
    """
    from apsite.contribution import history

    click.echo(f"Amended: {history.amend(root, key, ChangeKind(kind), reason, url=url, date=date)}")


@cli.command()
@options.root
@click.option("--check", is_flag=True, help="Convert nothing; exit with code 1 if there is something to convert.")
def migrate(root: Path, check: bool) -> None:
    """Convert the records at --root to the newest version of the file format.

    Numbers do not change. Records in history/ keep their bytes, and `apsite` reads every version. If a record has a
    problem, nothing is converted.

    \b
    Example:
      apsite migrate --check
    """
    from apsite.records.documents import migrate as convert
    from apsite.records.documents import outdated
    from apsite.records.versions import VERSION
    from apsite.validation.reports import number

    files = list(outdated(root)) if check else convert(root)
    for path in files:
        click.echo(path)
    if check and files:
        raise ApsiteError(f"{number(len(files), 'record')} to convert to version {VERSION}; run `apsite migrate`")
    converted = f"Converted {number(len(files), 'record')} to version {VERSION} of the file format."
    click.echo(converted if files else "Nothing to convert.")
