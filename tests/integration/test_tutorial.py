"""The tutorial, typed as it stands: its output is the one that the page prints and explains."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="evaluating needs the extra 'eval'")

from tests.cli.conftest import apsite


@pytest.mark.slow
def test_the_tutorial_prints_what_the_page_says(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = re.sub(r"\\\n\s*", " ", (repository / "docs/evaluate.md").read_text(encoding="utf-8"))
    part = page.partition("## Try it")[2].partition("## Your checkpoint")[0]
    commands = [shlex.split(line)[1:] for line in re.findall(r"^\$ (apsite .+)$", part, flags=re.MULTILINE)]
    assert [words[0] for words in commands] == ["audit", "eval", "verify"]
    network = "apsite/demo/resnet8_lamp_90.safetensors"
    (tmp_path / network).parent.mkdir(parents=True)
    (tmp_path / network).write_bytes((repository / network).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    audit, evaluation, verification = (apsite(*words).stdout for words in commands)
    figures = re.findall(r"^│ (.+?) +│ +(\d+) │ +[\d.]+ │", part, flags=re.MULTILINE)
    assert len(figures) == 7
    assert re.findall(r"^│ (.+?) +│ +(\d+) │ +[\d.]+ │", evaluation, flags=re.MULTILINE) == figures
    audited = re.findall(r"^(Parameters|Multiply-accumulates|Sparsity measured) +(.+)$", part, flags=re.MULTILINE)
    assert len(audited) == 3
    for name, value in audited:
        assert re.search(rf"│ {name} +│ {re.escape(value)} +│", audit)
    clean, robust, withstood = (int(dict(figures)[name]) for name in ("clean (no attack)", "AutoAttack", "HO-FMN"))
    assert f"Of 32 images {clean} are classified correctly, and after the four attacks of AutoAttack {robust}" in part
    assert f"for {withstood} images" in part
    assert "The results are verified" in verification
