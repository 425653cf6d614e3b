"""Commands for proposing a method: new, submit-check."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from apsite.cli import options
from apsite.cli.group import cli
from apsite.cli.options import emit_json
from apsite.errors import ApsiteError

if TYPE_CHECKING:
    from apsite.contribution.questions import Question


def _parameter(question: Question) -> str:
    """Name of the option's value among the arguments of the command."""
    return f"answer_{question.option.replace('-', '_')}"


class _QuestionsCommand(click.Command):
    """A command with an option for each question, made when it is called: the schema takes time to read."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options of the questions, then those of the command."""
        from apsite.contribution.questions import questions

        if not any(parameter.name == _parameter(questions()[0]) for parameter in self.params):
            self.params = [*map(_option, questions()), *self.params]
        return super().get_params(ctx)


def _option(question: Question) -> click.Option:
    """Option that answers a question in advance."""
    from apsite.contribution.questions import Kind

    several = question.kind in (Kind.LINES, Kind.CHOICES, Kind.ROWS)
    words = [choice.value for choice in question.choices] + (["none"] if question.allows_nothing else [])
    text = question.help
    if question.rows:
        text += " A JSON object with " + ", ".join(field.name for field in question.rows) + "."
    kind = options.OpenChoice if question.other else click.Choice
    if question.other:
        text += f" Or {question.other.meaning}."
    return click.Option(
        [f"--{question.option}", _parameter(question)],
        multiple=several,
        type=kind(words, case_sensitive=False) if words else str,
        help=text + (" Repeat for several." if several else ""),
    )


@cli.command(cls=_QuestionsCommand)
@click.option("--from-bibtex", type=options.FILE,
              help="Read title, authors, venue, year, URL and BibTeX from this file.")  # fmt: skip
@click.option("--bibtex-key", help="Which entry of that file, if it has several.")
@click.option("--non-interactive", is_flag=True, help="Ask no questions; anything without an option is not specified.")
@click.option("--print", "only_print", is_flag=True, help="Print the entry and write nothing.")
@options.root
def new(
    root: Path, from_bibtex: Path | None, bibtex_key: str | None, non_interactive: bool, only_print: bool, **given: Any
) -> None:
    """Describe a method: answer questions, get its entry and the next commands.

    \b
    Examples:
      apsite new --from-bibtex paper.bib
      apsite new --non-interactive --from-bibtex paper.bib --name HARP --stage after \\
          --pretraining TRADES --finetuning TRADES --structure unstructured --criterion LIS

    The form on the site asks the same questions, and the same answers give the same file. An option answers its
    question in advance. Leave an answer empty if the paper does not say.
    """
    from apsite.contribution.bibtex import answers_from_bibtex
    from apsite.contribution.questions import document, problems, questions, suggested_key
    from apsite.contribution.submission import next_commands, taken_keys
    from apsite.documents.json_files import write_json
    from apsite.entries import entry_problems

    answers = answers_from_bibtex(from_bibtex, bibtex_key) if from_bibtex is not None else {}
    for question in questions():
        answer = given[_parameter(question)]
        if answer not in (None, ()):
            answers[question.name] = _given(question, answer)
    _check_stage(answers)
    taken = taken_keys(root)
    if not non_interactive:
        _ask_all(answers, taken)
    elif "key" not in answers:
        answers["key"] = suggested_key(answers)
    wrong = problems(answers, taken)
    if {"name", "paper.title", "paper.authors", "paper.year"} & set(wrong) and not answers.get("key"):
        del wrong["key"]  # it is made from these
    if wrong:
        options = {question.name: question.option for question in questions()}
        raise ApsiteError("\n".join(f"--{options[name]}: {problem}" for name, problem in wrong.items()))
    entry = document(answers)
    path = root / "entries" / f"{entry['key']}.json"
    for problem in entry_problems(path, entry):
        raise problem
    if only_print:
        emit_json(entry)
        return
    if path.exists():
        raise ApsiteError(f"{path}: exists; change that file, or choose another key with --key")
    if not (root / "entries").is_dir():
        click.echo(
            f"{root}: has no entries/ yet, so this starts a new benchmark. For a pull request, run the command in a "
            "clone of the repository, or give one with --root.",
            err=True,
        )
    write_json(path, entry)
    (root / "evaluations" / entry["key"]).mkdir(parents=True, exist_ok=True)
    click.echo(f"Written: {path}", err=True)
    click.echo(next_commands(entry["key"], root), nl=False)


def _check_stage(answers: Mapping[str, Any]) -> None:
    """Refuse an answer for which the pipeline stage does not ask; it would be left out without a word."""
    from apsite.contribution.questions import questions

    stage = answers.get("pipeline.stage")
    staged = [question for question in questions() if question.stages]
    for question in (question for question in staged if question.name in answers):
        if stage is None:
            raise click.UsageError(f"--{question.option} needs --stage, which says when the method prunes")
        if stage not in question.stages:
            asked = ", ".join(f"--{other.option}" for other in staged if stage in other.stages)
            raise click.UsageError(f"--{question.option} does not apply to a method that prunes {stage} training; "
                                   f"its steps are {asked or 'none'}")  # fmt: skip


def _given(question: Question, answer: Any) -> Any:
    """Answer of an option; rows come as JSON objects."""
    if not question.rows:
        return list(answer) if isinstance(answer, tuple) else answer
    rows = []
    for text in answer:
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise click.UsageError(f"--{question.option}: is not JSON: {error.msg}: {text}") from None
        fields = [field.name for field in question.rows]
        if not isinstance(row, dict) or not set(row) <= set(fields):
            raise click.UsageError(f"--{question.option}: needs a JSON object with {', '.join(fields)}, not {text}")
        rows.append({field: "" if value is None else str(value) for field, value in row.items()})
    return rows


def _ask_all(answers: dict[str, Any], taken: set[str]) -> None:
    """Ask the open questions, each until its answer is valid."""
    from apsite.contribution.questions import INTRODUCTIONS, RARE, answer_problem, asked, is_empty, suggested_key

    click.echo("Leave an answer empty if the paper does not say. Ctrl-C quits without writing anything.", err=True)
    section, seen, skipped = "", set[str](), False
    while question := next((open_ for open_ in asked(answers) if open_.name not in seen), None):
        seen.add(question.name)
        known = answers.get(question.name)
        if not is_empty(question, known) and not answer_problem(question, known, answers, taken):
            continue
        if question.section != section:
            section = question.section
            click.secho(f"\n{section}", bold=True, err=True)
            rare = section == RARE
            skipped = rare and not click.confirm(f"  {INTRODUCTIONS[RARE]} Describe any?", default=False, err=True)
        if skipped:
            continue
        _explain(question)
        default = suggested_key(answers) if question.name == "key" else ""
        _ask_until_valid(question, answers, taken, default)


def _ask_until_valid(
    question: Question, answers: dict[str, Any], taken: Collection[str] = (), default: str = ""
) -> None:
    """Put the answer to one question into `answers`; show each problem and ask again."""
    from apsite.contribution.questions import answer_problem

    while True:
        answers[question.name] = _ask(question, default)
        problem = answer_problem(question, answers[question.name], answers, taken)
        if not problem:
            return
        click.secho(f"  {problem}", fg="red", err=True)


def _explain(question: Question) -> None:
    click.echo(f"\n{question.label}: {question.help}", err=True)
    for number, choice in enumerate(question.choices, 1):
        label = "" if choice.label == choice.value else f" {choice.label}."
        click.echo(f"  {number}  {choice.value:<12}{label} {choice.meaning}".rstrip(), err=True)
    if question.other:
        click.echo(f"     {question.other.meaning}", err=True)
    if question.allows_nothing:
        click.echo("     none         There is no such step.", err=True)


def _ask(question: Question, default: str) -> Any:
    from apsite.contribution.questions import Kind

    match question.kind:
        case Kind.ROWS:
            return _ask_rows(question)
        case Kind.LINES:
            example = f", such as {question.example!r}" if question.example else ""
            click.echo(f"  One per line{example}. End with an empty line.", err=True)
            return _ask_lines()
        case Kind.LONG:
            click.echo("  Paste it. End with an empty line.", err=True)
            return "\n".join(_ask_lines())
        case Kind.CHOICES:
            typed = _prompt("  Terms or numbers, separated by commas")
            return [_word(question, part.strip()) for part in typed.split(",") if part.strip()]
        case Kind.CHOICE | Kind.YES_NO:
            return _word(question, _prompt("  Term or number"))
    return _prompt(f"  For example {question.example!r}" if question.example and not default else "  Answer", default)


def _ask_lines() -> list[str]:
    return list(iter(lambda: _prompt("  "), ""))


def _ask_rows(question: Question) -> list[Mapping[str, str]]:
    rows: list[Mapping[str, str]] = []
    while click.confirm(f"  Add {'another' if rows else 'one'}?", default=False, err=True):
        row: dict[str, Any] = {}
        for field in question.rows:
            _explain(field)
            _ask_until_valid(field, row)
        rows.append(row)
    return rows


def _prompt(text: str, default: str = "") -> str:
    answer: str = click.prompt(text, default=default, show_default=bool(default), err=True)
    return answer


def _word(question: Question, typed: str) -> str:
    """A word from its number, in letters of either case, or from the first letter of yes and no; else as typed."""
    from apsite.contribution.questions import NOTHING, Kind

    if typed.isascii() and typed.isdigit() and 1 <= int(typed) <= len(question.choices):
        return question.choices[int(typed) - 1].value
    words = {choice.value.lower(): choice.value for choice in question.choices}
    if question.allows_nothing:
        words[NOTHING] = NOTHING
    if question.kind is Kind.YES_NO:
        words |= {word[0]: word for word in words}
    return words.get(typed.strip().lower(), typed)


@cli.command("submit-check")
@click.argument("key")
@click.option("--body", is_flag=True, help="Print only the text for the pull request.")
@options.as_json
@options.root
def submit_check(root: Path, key: str, body: bool, as_json: bool) -> None:
    """Check the submission of method KEY: what is complete, what is missing, what the pull request changes.

    \b
    Example:
      apsite submit-check HARP_Zhao2023Holistic
      gh pr create --title "Add HARP" --body "$(apsite submit-check HARP_Zhao2023Holistic --body)"

    Exits with 1 while something is missing.
    """
    from apsite.contribution.submission import check_submission, checklist_text

    submission = check_submission(root, key)
    if as_json:
        emit_json({**asdict(submission), "ready": submission.ready})
    elif body:
        click.echo(submission.body, nl=False)
    else:
        click.echo(checklist_text(submission), nl=False)
        click.echo(f"\nThe text for the pull request: apsite submit-check {key} --body", err=True)
    if not submission.ready:
        raise click.exceptions.Exit(1)
