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
    """Say what changes from BASE to HEAD: results, ranks, leaders, ties.

    Each is a folder with entries/ and evaluations/, or a revision of the repository at --root, such as main or a
    commit; a revision is read from git's objects, and nothing is checked out. Without HEAD, the files at --root.

    \b
    Examples:
      apsite diff origin/main
      apsite diff v0.1.0 origin/main --format markdown
    """
    from apsite.contribution.comparison import compare, comparison_to_json
    from apsite.contribution.comparison_text import to_markdown, to_text
    from apsite.validation.revisions import open_catalogue

    with open_catalogue(base, root) as before, open_catalogue(head or str(root), root) as after:
        document = comparison_to_json(compare(before, after))
    if style == "json":
        emit(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", output)
    else:
        emit((to_markdown if style == "markdown" else to_text)(document), output)


@cli.command("preview-summary")
@root_option
@output_file_option
@click.option("--base", required=True, help="Revision that the pull request would change, such as origin/main.")
@click.option("--pull-request", type=click.IntRange(1, 99_999_999), required=True, help="Its number.")
@click.option("--head-sha", required=True, help="Its head: full name of the commit that is checked.")
@click.option("--maintainer", is_flag=True, help="It is a maintainer's, as for `apsite validate`.")
def preview_summary(
    root: Path, output: Path | None, base: str, pull_request: int, head_sha: str, maintainer: bool
) -> None:
    """Check a pull request's data at --root and summarise it for `apsite preview-comment`.

    Meant for the workflow that runs on the pull request. Problems of the data are in the summary and do not change the
    exit code; `apsite validate` is what fails.

    \b
    Example:
      apsite preview-summary --base origin/main --pull-request 17 --head-sha "$HEAD_SHA" --output summary.json
    """
    from apsite.contribution.comparison import compare
    from apsite.contribution.preview import summary_document, summary_text
    from apsite.validation import validate
    from apsite.validation.revisions import open_catalogue, resolve_commit

    base_commit = resolve_commit(root, base)
    report = validate(root, changed_since=base_commit, maintainer=maintainer)
    comparison = None
    if not report.problems:
        with open_catalogue(base_commit, root) as before, open_catalogue(str(root), root) as after:
            comparison = compare(before, after)
    document = summary_document(
        pull_request=pull_request,
        head=head_sha,
        base=base_commit,
        counts={"entries": report.entries, "records": report.records, "sample_files": report.sample_files},
        problems=[(_relative(one.path, root), one.field, one.problem) for one in report.problems],
        comparison=comparison,
    )
    emit(summary_text(document), output)


@cli.command("preview-comment")
@output_file_option
@click.argument("artifact", type=_FILE)
@click.option("--run-head", required=True, help="Commit for which the checks ran, as the platform states it.")
@click.option("--number", "number_only", is_flag=True, help="Print the number of the pull request and nothing else.")
@click.option(
    "--pull-request-file", "answer", type=_FILE, help="The platform's description of it: its API's answer, JSON."
)
@click.option(
    "--changed-files", type=_FILE, help='The platform\'s list of the files it changes: JSON, {"files": [name, …]}.'
)
@click.option("--artifact-url", help="Address at which the built site can be had.")
def preview_comment(
    output: Path | None,
    artifact: Path,
    run_head: str,
    number_only: bool,
    answer: Path | None,
    changed_files: Path | None,
    artifact_url: str | None,
) -> None:
    """Write the comment on a pull request from ARTIFACT, the archive that its checks have uploaded.

    ARTIFACT is not trusted: it must hold one small file of one schema, about the commit that the checks ran for. First
    ask for the --number it names, fetch the description of that pull request from the platform, then give it with
    --pull-request-file: the comment is written only if its head is that same commit. With --changed-files it warns of a
    proposal that changes the workflows, for the checks are then its own.

    \b
    Example:
      apsite preview-comment summary.zip --run-head "$HEAD_SHA" --number
    """
    from apsite.contribution import preview

    if number_only == (answer is not None):
        raise click.UsageError("give either --number or --pull-request-file")
    summary = preview.read_artifact(artifact, run_head)
    if answer is None:
        emit(f"{summary['pull_request']}\n", output)
        return
    preview.check_pull_request(artifact, summary, answer)
    names = None if changed_files is None else preview.changed_names(changed_files)
    emit(preview.comment(summary, artifact_url, names), output)


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


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
