"""The workflows: pinned, least privileged, free of findings, and their shell run here as far as it can run."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="workflows are YAML; the extra 'site' brings its reader")

import torch  # noqa: E402 - after the check for what is needed

from apsite.contribution.preview import MARK  # noqa: E402
from apsite.evaluation.runs.demonstration import network_path  # noqa: E402
from apsite.evaluation.runs.survey import survey_files  # noqa: E402
from tests.builders import METHOD, RIVAL, entry_document, own_document, record_document, write_data, write_document  # noqa: E402
from tests.loopback import loopback_server  # noqa: E402
from tests.repositories import commit, git, repository_with  # noqa: E402

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = set((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")) - {GITHUB / "ISSUE_TEMPLATE/config.yml"}
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": sorted(FORMS),
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE/config.yml"],
}

Workflow = dict[str, Any]


def read(path: Path) -> Workflow:
    """A workflow; YAML 1.1 reads the word ``on`` as true, which is put right."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if name is True else name: value for name, value in document.items()}


def jobs() -> Iterator[tuple[str, str, Workflow]]:
    """Every job with its workflow's name and its own."""
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield path.stem, name, job


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool that is installed beside this Python, with no network."""
    found = shutil.which(arguments[0], path=str(Path(sys.executable).parent)) or shutil.which(arguments[0])
    assert found, f"{arguments[0]} is not installed; it is in the extra 'dev'"
    return subprocess.run([found, *arguments[1:]], capture_output=True, text=True, check=False, cwd=ROOT)


def test_zizmor_finds_nothing_at_its_strictest() -> None:
    """No finding of the auditor's persona; what is ignored says why beside the line."""
    done = tool("zizmor", "--persona", "auditor", "--offline", "--no-progress", "--strict-collection", str(GITHUB))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "zizmor: ignore" in line:
                assert re.search(r"zizmor: ignore\[[a-z-]+\] .{20,}", line), f"{path.name}: no reason: {line}"


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_follow_the_schema_of_the_platform(schema: str) -> None:
    assert SCHEMAS[schema]
    done = tool("check-jsonschema", "--builtin-schema", schema, *map(str, SCHEMAS[schema]))
    assert done.returncode == 0, done.stdout


def test_every_action_is_pinned_to_one_commit() -> None:
    pins: dict[str, set[tuple[str, str]]] = {}
    for path in WORKFLOWS:
        for line in path.read_text(encoding="utf-8").splitlines():
            if "uses:" in line:
                match = re.fullmatch(r"\s*(?:- )?uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line)
                assert match, f"{path.name}: {line.strip()}"
                pins.setdefault(match[1], set()).add((match[2], match[3]))
    assert all(len(found) == 1 for found in pins.values()), pins
    assert "actions/checkout" in pins


def test_a_site_is_published_from_the_main_branch_alone() -> None:
    """A run that is started by hand may name any branch."""
    deploy = read(GITHUB / "workflows/deploy.yml")
    assert deploy["jobs"]["build"]["if"] == "github.ref == 'refs/heads/main'"
    assert deploy["jobs"]["deploy"]["needs"] == "build"


def test_rights_are_given_job_by_job() -> None:
    """None by default; writing only where it is needed, and never where code of a proposal runs."""
    may_write = {
        ("preview-comment", "comment"): {"pull-requests"},
        ("deploy", "deploy"): {"pages", "id-token"},
        ("release", "publish"): {"id-token"},
        ("release", "attach"): {"contents"},
        ("fetch-published", "propose"): {"contents", "pull-requests"},
    }
    for path in WORKFLOWS:
        assert read(path)["permissions"] == {}, path.name
    for workflow, name, job in jobs():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert writes == may_write.get((workflow, name), set()), (workflow, name)
        assert job["timeout-minutes"] <= 60


def test_triggers_are_those_that_are_safe() -> None:
    """Nothing runs with rights on a proposal's own event; what follows it checks out the default branch alone."""
    triggers = {path.stem: set(read(path)["on"]) for path in WORKFLOWS}
    assert all("pull_request_target" not in found for found in triggers.values())
    assert {name for name, found in triggers.items() if "workflow_run" in found} == {"preview-comment"}
    assert "paths" not in json.dumps(read(GITHUB / "workflows/data-pr.yml")["on"]), "a required check must always run"
    for step in read(GITHUB / "workflows/preview-comment.yml")["jobs"]["comment"]["steps"]:
        assert "ref" not in step.get("with", {})


def test_steps_are_named_and_take_nothing_untrusted_into_the_shell() -> None:
    for workflow, name, job in jobs():
        for step in job["steps"]:
            place = f"{workflow}.{name}: {step.get('name')}"
            assert step.get("name"), place
            assert "${{" not in step.get("run", ""), place
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, place
            if "cache" in step.get("with", {}):
                assert workflow == "ci", place


# The shell of the steps, run here.
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="the stand-in for gh needs jq")


class Runner:
    """Runs the ``run:`` steps of a job as the platform does, with what cannot run here replaced by what notes its call.

    Steps that use an action are left out, for the platform runs those. Of the others everything runs but

    - ``gh`` and ``pip-audit``, which ask the network; what stands in for ``gh`` answers as the platform would;
    - ``make test``, which would run this test again; its targets are resolved;
    - ``python -m build``, ``pip`` and ``pytest``, which install or take minutes; ``test_distribution.py`` builds both
      archives and uses the wheel alone.

    Args:
        folder: Scratch folder; the job's working directory is ``work`` in it.
        values: Values of expressions such as ``github.token``.
    """

    def __init__(self, folder: Path, **values: str) -> None:
        self.work = folder / "work"
        self.temporary = folder / "temporary"
        self.log = folder / "calls.log"
        self.fixtures = folder / "fixtures"
        for path in (self.work, self.temporary, self.fixtures, folder / "bin"):
            path.mkdir(parents=True, exist_ok=True)
        self.values = {"github.token": "token", "github.repository": "apsite/apsite", **values}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "GH_", "COV_"))},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "GITHUB_REPOSITORY": "apsite/apsite",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "d" * 40,
            "GITHUB_STEP_SUMMARY": str(self.work / "summary.md"),
            "RUNNER_TEMP": str(self.temporary),
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "NO_COLOR": "1",
        }
        note = f'echo "$(basename "$0") $*" >> {self.log}\n'
        version = metadata.version("apsite")
        self._program("apsite", f'exec {sys.executable} -P -m apsite "$@"\n')
        self._program("pip-audit", note)
        self._program("make", note + f'exec {shutil.which("make")} --dry-run --directory {ROOT} "$@" > /dev/null\n')
        self._program(
            "python",
            note
            + f"""case "$*" in
  "-m build") mkdir dist && touch dist/apsite-{version}-py3-none-any.whl dist/apsite-{version}.tar.gz ;;
  "-m pip "* | "-P -m pytest "*) ;;
  *) exit 97 ;;
esac
""",
        )
        self._program(
            "gh", note + f'exec {sys.executable} {Path(__file__).with_name("fake_gh.py")} {self.fixtures} "$@"\n'
        )

    def _program(self, name: str, text: str) -> None:
        path = self.log.parent / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    @property
    def calls(self) -> str:
        """What was called of the programs that are replaced."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def run(self, workflow: str, job: str, before: dict[str, Callable[[], None]] | None = None) -> dict[str, str]:
        """Run the steps of a job in order; gives what each one printed, and ``failed``: the name of a step that failed.

        Args:
            workflow: File name without extension.
            job: Name of the job.
            before: What stands in for an action, by the name of the step that follows it.
        """
        described = read(GITHUB / "workflows" / f"{workflow}.yml")["jobs"][job]
        printed: dict[str, str] = {}
        for step in described["steps"]:
            if step["name"] in (before or {}):
                before[step["name"]]()
            if "run" not in step or not self._wanted(step.get("if"), "failed" in printed):
                continue
            output = self.log.parent / "output"
            output.write_text("", encoding="utf-8")
            environment = {**self.environment, "GITHUB_OUTPUT": str(output)}
            for name, value in {**described.get("env", {}), **step.get("env", {})}.items():
                environment[name] = re.sub(r"\$\{\{ (.*?) \}\}", lambda match: self.values[match[1]], str(value))
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]],
                cwd=self.work / step.get("working-directory", "."), env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            printed[step["name"]] = done.stdout + done.stderr
            if done.returncode:
                printed["failed"] = step["name"]
            for line in output.read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition("=")
                self.values[f"steps.{step.get('id')}.outputs.{name}"] = value
        return printed

    def _wanted(self, condition: str | None, failed: bool) -> bool:
        """Whether a step runs: our conditions are comparisons with texts, joined by 'and'."""
        parts = (condition or "").split(" && ")
        if failed and "always()" not in parts:
            return False
        for part in parts:
            if part in ("", "always()"):
                continue
            name, text = re.fullmatch(r"([\w.-]+) == '(\w+)'", part).groups()
            if self.values.get(name, "") != text:
                return False
        return True


def proposal(folder: Path, change: Callable[[Path], None]) -> dict[str, str]:
    """A pull request as the platform checks it out: merged into its base, with the head as second parent."""
    repository_with(folder, entry_document(), record_document(f"{METHOD}_R18_CIFAR10_US_90"))
    (folder / "constraints.txt").write_text("", encoding="utf-8")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    base = commit(folder, "Settings")
    git(folder, "switch", "--quiet", "--create", "proposal")
    change(folder)
    head = commit(folder)
    git(folder, "switch", "--quiet", "--detach", base)
    git(folder, "merge", "--quiet", "--no-ff", "--message", "Merge", head)
    return {
        "github.event.pull_request.head.sha": head,
        "github.event.pull_request.number": "17",
        "github.event.pull_request.user.login": "jane",
        "github.event.pull_request.head.repo.full_name": "jane/apsite",
    }


def add_method(folder: Path) -> None:
    """A proposal of a method whose name wants to be markup."""
    record = own_document(f"{RIVAL}_R18_CIFAR10_US_90")
    record["provenance"]["kind"] = "submitted"
    del record["verification"]
    write_data(folder, entry_document(RIVAL, name="**R** <img> @all"), record)


@needs_jq
def test_a_proposal_goes_from_the_gate_to_a_comment(tmp_path: Path) -> None:
    checks = Runner(tmp_path / "checks")
    checks.values |= proposal(checks.work / "proposal", add_method)
    printed = checks.run("data-pr", "data")
    assert "failed" not in printed, printed
    assert "pip install --constraint base/constraints.txt ./base[site]" in checks.calls
    assert (checks.work / "base/README.md").exists()
    assert (checks.work / f"preview/site/methods/{RIVAL}.html").exists()

    assert RIVAL in (checks.work / "summary.md").read_text(encoding="utf-8")

    text = (checks.work / "preview.txt").read_text(encoding="utf-8")
    head = checks.values["github.event.pull_request.head.sha"]
    for earlier in ([], [{"id": 8, "body": f"{MARK}\nold", "user": {"login": "github-actions[bot]"}}]):
        comments = commenting(tmp_path / f"comment-{len(earlier)}", head, text, earlier)
        printed = comments.run("preview-comment", "comment")
        assert "failed" not in printed, printed
        posted = json.loads((comments.fixtures / "posted.json").read_text(encoding="utf-8"))
        assert posted["body"].startswith(f"{MARK}\n### Data of this pull request\n\nWritten by the checks")
        assert "New method: **R** <img> @all (" in posted["body"].split("```")[1]
        assert "https://github.com/apsite/apsite/actions/runs/5" in posted["body"]
        wanted = (
            ("PATCH", "repos/apsite/apsite/issues/comments/8")
            if earlier
            else ("POST", "repos/apsite/apsite/issues/17/comments")
        )
        assert (posted["method"], posted["path"]) == wanted


def commenting(
    folder: Path, sha: str, text: str, comments: list[Any] | None = None, files: list[Any] | None = None, **pull: Any
) -> Runner:
    """The second workflow, after a run of the first on the branch ``add`` of ``jane``, which kept a text.

    Args:
        folder: Scratch folder.
        sha: Commit of the run.
        text: Content of the file in the archive.
        comments: Comments of the pull request, besides a forged one.
        files: What the platform says of its files.
        pull: What is different about the pull request that the platform describes.
    """
    event = "github.event.workflow_run"
    runner = Runner(folder, **{
        f"{event}.head_sha": sha, f"{event}.id": "5", f"{event}.head_branch": "add",
        f"{event}.head_repository.owner.login": "jane",
    })  # fmt: skip
    with zipfile.ZipFile(runner.fixtures / "archive.zip", "w") as archive:
        archive.writestr("preview.txt", text)
    size = (runner.fixtures / "archive.zip").stat().st_size
    described = {"number": 17, "state": "open", "head": {"sha": sha, "label": "jane:add"},
                 "base": {"ref": "main", "repo": {"default_branch": "main"}}, **pull}  # fmt: skip
    forged = {"id": 9, "body": f"{MARK}\nforged", "user": {"login": "mallory"}}
    for name, document in {
        "artifacts": {"artifacts": [{"id": 7, "name": "preview-text", "size_in_bytes": size}]},
        "pulls": [described], "files": files or [{"filename": "entries/x.json"}],
        "comments": [forged, *(comments or [])],
    }.items():  # fmt: skip
        (runner.fixtures / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
    return runner


@needs_jq
@pytest.mark.parametrize("file", [
    {"filename": ".github/workflows/data-pr.yml"},
    {"filename": "old.yml", "previous_filename": ".github/workflows/data-pr.yml"},
])  # fmt: skip
def test_a_proposal_that_changes_its_own_checks_is_not_vouched_for(tmp_path: Path, file: dict[str, str]) -> None:
    """The platform runs the workflow of the proposal; its list of files says so, also of a file that was moved away."""
    comments = commenting(tmp_path, "a" * 40, "Fine.\n", files=[{"filename": "entries/x.json"}, file])
    printed = comments.run("preview-comment", "comment")
    assert "failed" not in printed, printed
    posted = json.loads((comments.fixtures / "posted.json").read_text(encoding="utf-8"))
    assert posted["body"].splitlines()[3].startswith("**Do not rely on the checks of this pull request")


@needs_jq
@pytest.mark.parametrize(("pull", "text", "failed"), [
    ({"head": {"sha": "b" * 40, "label": "jane:add"}}, "Fine.\n", None),
    ({"head": {"sha": "a" * 40, "label": "mallory:add"}}, "Fine.\n", None),
    ({"state": "closed"}, "Fine.\n", None),
    ({"base": {"ref": "old", "repo": {"default_branch": "main"}}}, "Fine.\n", None),
    ({}, "```\n@everyone\n", "Write the comment"),
    ({}, "x" * 30_001, "Write the comment"),
    ({}, "x" * 100_001, None),
])  # fmt: skip
def test_nothing_is_posted_about_another_commit_or_in_other_characters(
    tmp_path: Path, pull: dict[str, Any], text: str, failed: str | None
) -> None:
    comments = commenting(tmp_path, "a" * 40, text, **pull)
    assert comments.run("preview-comment", "comment").get("failed") == failed
    assert not (comments.fixtures / "posted.json").exists()


@needs_jq
@pytest.mark.parametrize(("permission", "origin", "author", "passes"), [
    ("write", "apsite/apsite", "jane", True),
    ("admin", "apsite/apsite", "jane", True),
    ("write", "mallory/apsite", "jane", False),
    ("read", "apsite/apsite", "jane", False),
    ("none", "apsite/apsite", "jane", False),
    (None, "apsite/apsite", "jane", False),
    ("admin", "apsite/apsite-fork", "jane", False),
    (None, "apsite/apsite", "github-actions[bot]", True),
    (None, "mallory/apsite", "github-actions[bot]", False),
])  # fmt: skip
def test_only_a_maintainers_own_branch_has_a_maintainers_rights(
    tmp_path: Path, permission: str | None, origin: str, author: str, passes: bool
) -> None:
    """A maintainer may open a pull request from anybody's branch, to which that other one can push at any time.

    One that a workflow of this repository opened is a maintainer's, since only they can start it.
    """

    def retract(folder: Path) -> None:
        record = record_document(f"{METHOD}_R18_CIFAR10_US_90")
        record["changes"] = [{"date": "2026-01-02", "kind": "retracted", "reason": "Wrong images."}]
        write_data(folder, record)

    checks = Runner(tmp_path / "checks")
    checks.values |= proposal(checks.work / "proposal", retract) | {
        "github.event.pull_request.head.repo.full_name": origin,
        "github.event.pull_request.user.login": author,
    }
    if permission:  # of an account that the platform does not know, it says nothing
        write_document(checks.fixtures / "permission.json", {"permission": permission})
    checks._program("apsite", f"""case "$1" in build) ;; *) exec {sys.executable} -P -m apsite "$@" ;; esac\n""")
    printed = checks.run("data-pr", "data")
    text = (checks.work / "preview.txt").read_text(encoding="utf-8")
    found = (printed.get("failed"), text.splitlines()[0].rpartition(": ")[2])
    assert found == ((None, "no problem") if passes else ("Validate", "1 problem")), printed


def test_a_proposal_that_breaks_the_rules_is_stopped_and_still_summarised(tmp_path: Path) -> None:
    checks = Runner(tmp_path / "checks")

    def break_it(folder: Path) -> None:
        add_method(folder)
        entry = entry_document(RIVAL)
        entry["specifics"]["criterion"] = "MAGIC"
        write_data(folder, entry)
        (folder / "README.md").write_text("Changed.\n", encoding="utf-8")

    checks.values |= proposal(checks.work / "proposal", break_it)
    printed = checks.run("data-pr", "data")
    assert printed["failed"] == "Validate"
    assert "::error" in printed["Validate"]
    assert "MAGIC" in printed["Validate"]
    assert "README.md" in printed["Validate"]
    assert "Build the preview" not in printed
    assert "specifics.criterion: 'MAGIC'" in (checks.work / "preview.txt").read_text(encoding="utf-8")


def test_a_proposal_of_code_passes_the_gate_without_a_preview(tmp_path: Path) -> None:
    """The check is required for every pull request, so it must come to an end for this one too."""
    checks = Runner(tmp_path / "checks")
    checks.values |= proposal(
        checks.work / "proposal", lambda folder: write_document(folder / "code.json", {}) and None
    )
    printed = checks.run("data-pr", "data")
    assert "failed" not in printed, printed
    assert {"Summarise", "Build the preview"}.isdisjoint(printed)


@needs_jq
def test_a_run_without_a_text_ends_quietly(tmp_path: Path) -> None:
    comments = commenting(tmp_path, "a" * 40, "")
    write_document(comments.fixtures / "artifacts.json", {"artifacts": []})
    printed = comments.run("preview-comment", "comment")
    assert "failed" not in printed, printed
    assert "Write the comment" not in printed


@pytest.mark.slow
def test_deployment_validates_and_builds(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    write_data(runner.work, entry_document(), record_document())
    runner.values["steps.pages.outputs.base_url"] = "https://fork.example.org/apsite"
    printed = runner.run("deploy", "build")
    assert "failed" not in printed, printed
    page = (runner.work / "build/site/index.html").read_text(encoding="utf-8")
    assert '<link rel="canonical" href="https://fork.example.org/apsite/' in page


def test_a_release_is_built_once_and_tested_as_built(tmp_path: Path) -> None:
    version = metadata.version("apsite")
    runner = Runner(tmp_path)
    repository_with(runner.work, entry_document(), record_document())
    runner.environment["GITHUB_REF_NAME"] = f"v{version}"
    git(runner.work, "update-ref", "refs/remotes/origin/main", "HEAD")
    commit(runner.work, "Not reviewed")
    assert runner.run("release", "build")["failed"].startswith("Check that the tag is on the main branch")
    git(runner.work, "reset", "--quiet", "--hard", "HEAD^")
    printed = runner.run("release", "build")
    assert "failed" not in printed, printed
    assert zipfile.is_zipfile(runner.work / f"snapshot/apsite-data-{version}.zip")
    runner.environment["GITHUB_REF_NAME"] = "v0.0.0"
    shutil.rmtree(runner.work / "dist")
    assert runner.run("release", "build")["failed"] == "Check that the tag names the version"

    archive = runner.work / "dist" / f"apsite-{version}.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        made.addfile(tarfile.TarInfo(f"apsite-{version}/constraints.txt"))
    printed = runner.run("release", "test")
    assert "failed" not in printed, printed
    assert (
        f"--constraint source/constraints.txt {runner.work}/dist/apsite-{version}-py3-none-any.whl[dev]" in runner.calls
    )
    assert "--import-mode=append" in runner.calls

    runner.environment["GITHUB_REF_NAME"] = f"v{version}"
    (runner.work / "files").mkdir()
    (runner.work / "files/a.whl").touch()
    printed = runner.run("release", "attach")
    assert "failed" not in printed, printed
    assert f"gh release create v{version} files/a.whl --verify-tag" in runner.calls


def test_tests_and_scheduled_checks_run_commands_that_are_there(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    write_data(runner.work, entry_document(), record_document())
    runner.values["github.event_name"] = "push"
    for workflow, job in (("ci", "test"), ("ci", "zensical"), ("scheduled", "links"), ("scheduled", "audit")):
        printed = runner.run(workflow, job)
        assert "failed" not in printed, printed
    assert "make test PYTHON=python" in runner.calls
    assert "make zensical PYTHON=python" in runner.calls
    assert "pip-audit --requirement constraints.txt" in runner.calls
    assert "https://example.org/paper" in (runner.work / "links.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("what", ["distances", pytest.param("checkpoints", marks=pytest.mark.slow)])
def test_what_others_published_is_fetched_and_proposed(tmp_path: Path, what: str) -> None:
    """Files that fail, here all but one, are in the report; the first job packs the rest, and the second pushes it."""
    with loopback_server() as server:
        fetch = Runner(tmp_path / "fetch", **{"inputs.what": what})
        with_drive(fetch, server.address)
        prepare(fetch.work, what)
        weights, norms = network_path().read_bytes(), [torch.tensor(value) for value in (0.0, 0.25, 0.01)]
        server.drive |= {"model": weights, survey_files()[0].url.removeprefix("gdrive://"): pickle.dumps(norms)}
        printed = fetch.run("fetch-published", "fetch")
    assert "failed" not in printed, printed
    report = (fetch.work / "report.txt").read_text(encoding="utf-8")
    assert report.splitlines()[0] in (
        "48 distance files: 1 imported, 0 there already, 47 failed",
        "2 published checkpoints: 1 measured, 0 there already, 1 failed",
    )
    assert "Failed: " in report

    propose = Runner(tmp_path / "propose", **{"inputs.what": what})
    base = prepare(propose.work, what)
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    git(propose.work, "remote", "add", "origin", str(tmp_path / "origin"))
    propose.environment["GITHUB_RUN_ID"] = "5"
    (propose.work / "fetched").mkdir()
    for name in ("change.patch", "report.txt"):
        shutil.copy(fetch.work / name, propose.work / "fetched")
    printed = propose.run("fetch-published", "propose")
    assert "failed" not in printed, printed
    branch = f"fetched-{what}-5"
    changed = git(propose.work, "diff", "--name-only", base, branch).split()
    first = survey_files()[0]
    assert (
        changed
        == {
            "distances": [f"evaluations/{first.key.method}/curves/{first.key}.{kind}" for kind in ("json", "npz")],
            "checkpoints": ["evaluations/published_checkpoints.json"],
        }[what]
    )
    assert branch in git(tmp_path / "origin", "branch", "--list")
    assert f"gh pr create --base main --head {branch} --title data: add published {what}" in propose.calls
    assert "there already" in (propose.work / "body.md").read_text(encoding="utf-8")

    (propose.work / "fetched/change.patch").write_text("", encoding="utf-8")
    assert "Nothing is new." in propose.run("fetch-published", "propose")["Propose it"]


def prepare(folder: Path, what: str) -> str:
    """A repository with an entry of two checkpoints, or also that of the first distance file; gives its commit."""
    checkpoints = [
        {"model_key": f"{METHOD}_R8_CIFAR10_US_{percent}", "url": f"gdrive://{name}", "sha256": None}
        for name, percent in (("model", 90), ("gone", 95))
    ]
    repository_with(folder, entry_document(checkpoints=checkpoints))
    if what == "distances":
        shutil.copy(ROOT / f"entries/{survey_files()[0].key.method}.json", folder / "entries")
    return commit(folder)


def with_drive(runner: Runner, address: str) -> None:
    """Let the commands of a runner take a server in place of Google Drive."""
    code = (
        "from apsite.evaluation.testsets import downloads; from apsite.cli import cli; "
        f"downloads.GOOGLE_DRIVE = '{address}/uc'; cli(prog_name='apsite')"
    )
    runner._program("apsite", f'exec {sys.executable} -P -c "{code}" "$@"\n')
    cache = str(runner.log.parent / "cache")
    runner.environment |= {"APSITE_CACHE": cache, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@pytest.mark.parametrize(
    ("path", "tested"), [("entries/x.json", False), ("evaluations/y.npz", False), ("apsite/z.py", True)]
)
def test_a_proposal_of_data_alone_does_not_wait_for_the_tests_of_the_code(
    tmp_path: Path, path: str, tested: bool
) -> None:
    """The jobs succeed all the same, since they are required."""
    runner = Runner(tmp_path)
    runner.values |= proposal(runner.work, lambda folder: write_document(folder / path, {}) and None)
    runner.values["github.event_name"] = "pull_request"
    for job in ("test", "zensical"):
        assert "failed" not in runner.run("ci", job)
    assert ("make test" in runner.calls, "make zensical" in runner.calls) == (tested, tested)


def test_every_job_with_shell_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for workflow, name, job in jobs():
        if any("run" in step for step in job["steps"]):
            assert re.search(rf'"{workflow}", "{name}"', text), f"{workflow}.{name}"
