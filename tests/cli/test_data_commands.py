"""Commands that read the data: validate, export, show, and help."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apsite.catalogue import load_catalogue
from apsite.cli import cli
from apsite.numbers import percent
from apsite.vocabulary import Architecture
from tests.builders import METHOD, MODEL, RIVAL, changed, entry_document, record_document, write_data
from tests.cli.conftest import Run


@pytest.fixture
def broken_data(tmp_path: Path) -> Path:
    """Data folder with two problems."""
    return write_data(
        tmp_path / "broken", changed(entry_document(), "baseline", 1), changed(record_document(), "dataset", "svhn")
    )


def test_validate_passes_the_benchmarks_own_data(run: Run, repository: Path) -> None:
    result = run("validate", "--root", repository)
    assert result.stdout.endswith(": no problem\n")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_validate_counts_what_it_read(run: Run, tiny_data: Path) -> None:
    assert run("validate", "--root", tiny_data).stdout == "2 entries, 4 records, 1 per-sample file: no problem\n"


def test_validate_reports_every_problem_and_fails(run: Run, broken_data: Path) -> None:
    result = run("validate", "--root", broken_data, code=1)
    first, second, last = result.stdout.splitlines()
    assert first == f"{broken_data}/entries/{METHOD}.json: baseline: 1 is not of type boolean"
    assert second == (
        f"{broken_data}/evaluations/{METHOD}/{MODEL}.json: dataset: 'svhn' contradicts the model key, "
        "which says 'cifar10'"
    )
    assert last == "0 entries, 0 records, 0 per-sample files: 2 problems"


def test_validate_speaks_json(run: Run, tiny_data: Path, broken_data: Path) -> None:
    good = run("validate", "--root", tiny_data, "--format", "json")
    assert json.loads(good.stdout) == {"entries": 2, "records": 4, "sample_files": 1, "problems": [], "uncommitted": []}
    bad = run("validate", "--root", broken_data, "--format", "json", code=1)
    assert [problem["field"] for problem in json.loads(bad.stdout)["problems"]] == ["baseline", "dataset"]
    assert json.loads(bad.stdout)["problems"][0]["path"] == f"{broken_data}/entries/{METHOD}.json"


@pytest.mark.parametrize("style", ["text", "json", "github"])
def test_validate_survives_a_hostile_file_name(tiny_data: Path, style: str) -> None:
    (tiny_data / "entries" / "a\n::error::\x1b[31m\udcff.json").write_text("{}")
    result = subprocess.run(
        [sys.executable, "-m", "apsite", "validate", "--root", str(tiny_data), "--format", style],
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr == b""
    assert b"\x1b" not in result.stdout
    assert b"\n::error" not in result.stdout
    assert result.stdout.startswith(b"::error file=") is (style == "github")
    assert b"lacks 'schema_version'" in result.stdout


@pytest.mark.parametrize("command", [["validate"], ["export"], ["show"], ["show", METHOD]])
def test_a_folder_without_data_is_a_mendable_problem(run: Run, tmp_path: Path, command: list[str]) -> None:
    result = run(*command, "--root", tmp_path, code=1)
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: {tmp_path}: has no folder 'entries'; run this in a checkout of the benchmark's repository, "
        "or name one with --root\n"
    )


@pytest.mark.parametrize("command", [["export"], ["show"], ["show", METHOD]])
def test_broken_data_is_not_shown(run: Run, broken_data: Path, command: list[str]) -> None:
    """Half a table would look like a whole one."""
    result = run(*command, "--root", broken_data, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: 2 problems in the data:\n")


def test_export_writes_csv(run: Run, repository: Path) -> None:
    result = run("export", "--root", repository)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert sum(row["provenance"] == "published" for row in rows) >= 192
    assert result.stderr == ""


def test_export_writes_json(run: Run, tiny_data: Path) -> None:
    result = run("export", "--root", tiny_data, "--format", "json")
    assert [row["model_key"] for row in json.loads(result.stdout)] == [
        f"{RIVAL}_R18_CIFAR10_US_95",
        MODEL,
        f"{METHOD}_R18_CIFAR10_US_95",
        f"{METHOD}_V16_SVHN_dense",
    ]


def test_export_writes_a_file(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    result = run("export", "--root", tiny_data, "--output", target)
    assert (result.stdout, result.stderr) == ("", f"Written: {target}\n")
    assert target.read_text(encoding="utf-8") == run("export", "--root", tiny_data).stdout


def test_export_to_a_place_that_cannot_be_written_is_a_mendable_problem(
    run: Run, tiny_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = run("export", "--root", tiny_data, "-o", tmp_path / "file" / "table.csv", code=1)
    assert result.stderr.startswith(f"Error: {tmp_path}/file/table.csv: cannot be written: ")
    assert result.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"data", "file"}


def test_show_prints_the_leaderboards(run: Run, repository: Path) -> None:
    result = run("show", "--root", repository)
    for title in ("CIFAR-10, unstructured pruning, ResNet18", "SVHN, structured pruning, VGG16"):
        assert title in result.stdout
    first = result.stdout.split("VGG16")[0]
    (flyingbird,) = (line for line in first.splitlines() if "FlyingBird" in line)
    assert flyingbird.count("★") == 3
    assert "★ 80.69 / 46.49" in flyingbird
    (radmm,) = (line for line in first.splitlines() if "RADMM" in line)
    assert "80.54 / 43.68" in radmm
    assert "★" not in radmm


def test_show_marks_one_leader_of_structured_pruning(run: Run, repository: Path) -> None:
    result = run("show", "--root", repository, "--dataset", "cifar10", "--arch", "vgg16", "--structure", "structured")
    marked = [line for line in result.stdout.splitlines() if "★" in line and "leads" not in line]
    assert len(marked) == 1
    assert "TwinRep" in marked[0]
    assert marked[0].count("★") == 3


def test_show_shows_dashes_where_there_is_no_record(run: Run, repository: Path) -> None:
    result = run("show", "--root", repository, "--dataset", "svhn", "--arch", "vgg16", "--structure", "unstructured")
    (line,) = (line for line in result.stdout.splitlines() if "RobustBird" in line)
    assert line.count("–") == 1
    assert "0.00" not in line


def test_show_says_when_nothing_fits(run: Run, repository: Path) -> None:
    result = run("show", "--root", repository, "--dataset", "imagenet", "--structure", "structured")
    assert (result.stdout, result.stderr) == ("", "No ranked result matches these options.\n")


@pytest.mark.parametrize("name", ["RFP_Lim2021Robustness", "RSR_Lim2021Robustness", "RFP", "rfp"])
def test_show_knows_a_method_by_key_alias_and_name(run: Run, repository: Path, name: str) -> None:
    result = run("show", "--root", repository, name)
    assert "RFP (RFP_Lim2021Robustness)" in result.stdout
    assert "prunes after training; pretraining: AT-Features; finetuning: AT-Features" in result.stdout
    assert "structure: structured; locality: local; criterion: HGM (highest gradient magnitude)" in result.stdout


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("RST", ["pruning: AT-PGD; training: none"]),
        ("AWT", ["locality: not specified"]),
        ("Deadwooding", ["pretraining: not specified; finetuning: KD, AT-FGSM"]),
    ],
)
def test_show_tells_none_from_not_specified(run: Run, repository: Path, name: str, lines: list[str]) -> None:
    text = run("show", "--root", repository, name).stdout
    for line in lines:
        assert line in text


def test_show_lists_every_result_of_a_method(run: Run, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run("show", "--root", tiny_data, METHOD).stdout
    (own,) = (line for line in text.splitlines() if "verified" in line)
    for cell in ("CIFAR-10 ResNet18", "US 90 %", "75.00", "37.50", "25.00", "verified*"):
        assert cell in own
    assert "* not ranked: reduced run" in text
    (dense,) = (line for line in text.splitlines() if "dense" in line)
    for cell in ("SVHN VGG16", "80.00", "–", "published"):
        assert cell in dense
    assert "…" not in text


def test_show_prints_contributed_text_as_it_is(run: Run, tmp_path: Path) -> None:
    document = changed(entry_document(name="[red]Tiny[/red]"), "paper.title", "On [bold]Pruning[/] [/nonsense]")
    root = write_data(tmp_path / "data", document, record_document())
    assert "[red]Tiny[/red]" in run("show", "--root", root).stdout
    assert "On [bold]Pruning[/] [/nonsense]." in run("show", "--root", root, METHOD).stdout


def test_show_of_an_unknown_method_names_the_nearest(run: Run, tiny_data: Path) -> None:
    result = run("show", "--root", tiny_data, "Tiny_Doe2024Smal", code=1)
    assert result.stdout == ""
    assert "Error: method 'Tiny_Doe2024Smal' has no entry in " in result.stderr
    assert f"did you mean {METHOD}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validate", "--format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["export", "--format", "xlsx"], "'xlsx' is not one of 'csv', 'json'"),
        (["export", "--output", "."], "File '.' is a directory"),
        (["show", "--dataset", "mnist"], "'mnist' is not one of 'cifar10', 'svhn', 'imagenet'"),
        (["show", "--arch", "R18"], "'R18' is not one of 'resnet18', 'vgg16', 'resnet50', 'resnet8'"),
        (["show", "--structure", "filter"], "'filter' is not one of 'unstructured', 'structured'"),
        (["show", METHOD, RIVAL], "unexpected extra argument"),
        (["validate", "--root"], "requires an argument"),
        (["validate", "--strict"], "No such option"),
        (["valiate"], "No such command"),
        (["validate", "--root", __file__], "is a file"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str], message: str) -> None:
    result = run(*arguments, code=2)
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_with_a_sentence(run: Run, option: str) -> None:
    result = run(option)
    for name, command in cli.commands.items():
        assert f"\n  {name}" in result.stdout
        assert command.help
    assert "Exit codes: 0 success, 1 a problem that you can fix, 2 wrong usage" in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_and_option_has_help(run: Run, name: str) -> None:
    """No option without a word about it, unless its choices say it all."""
    assert run(name, "--help").stdout.startswith(f"Usage: apsite {name} ")
    for parameter in cli.commands[name].params:
        if parameter.param_type_name == "option" and not hasattr(parameter.type, "choices"):
            assert getattr(parameter, "help", None), parameter.name


def test_the_version_is_that_of_the_package(run: Run) -> None:
    from importlib import metadata

    assert run("--version").stdout == f"apsite, version {metadata.version('apsite')}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["eval", "--help"], ["show", "--help"], ["--version"]])
def test_help_is_quick_because_it_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from apsite.cli import cli\n"
        "try: cli(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'pandas', 'numpy', 'jsonschema', 'altair', 'mkdocs', 'optuna', 'rich', 'scipy'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_export_speaks_robustbench(run: Run, tiny_data: Path) -> None:
    result = run("export", "--root", tiny_data, "--format", "robustbench")
    assert json.loads(result.stdout)[MODEL]["autoattack_acc"] == "37.50"


@pytest.mark.parametrize("columns", [32, 40, 50, 60, 72, 80, 120])
def test_every_robust_accuracy_is_shown_in_a_narrow_terminal(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:  # fmt: skip
    """Clean accuracy goes first; nothing is cut off."""
    monkeypatch.setenv("COLUMNS", str(columns))
    catalogue = load_catalogue(repository)
    shown = run("show", "HARP", "--root", repository).stdout
    for record in catalogue.records_of("HARP_Zhao2023Holistic"):
        assert percent(record.robust_accuracy) in shown
    boards = run("show", "--root", repository, "--arch", "resnet18").stdout
    for record in catalogue.records.values():
        if (
            record.architecture is Architecture.RESNET18
            and record.structure
            and not catalogue.entries[record.method].baseline
        ):
            assert percent(record.robust_accuracy) in boards
    assert "\u2026" not in shown + boards
    assert ("clean / AutoAttack" in boards) == (columns >= 80)
    assert max(map(len, boards.splitlines())) <= columns
