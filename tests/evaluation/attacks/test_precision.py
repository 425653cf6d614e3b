"""Arithmetic of CUDA: what it is set to, by whichever switches a program uses, and that it is put back."""

from __future__ import annotations

import subprocess
import sys

import pytest

CHANGES = {
    "none": "",
    "older switches": "cudnn.allow_tf32 = False; matmul.allow_tf32 = True",
    "newer switches": "matmul.fp32_precision = 'tf32'; cudnn.conv.fp32_precision = 'ieee'",
}
STATE = (
    "[one.fp32_precision == 'tf32' for one in (matmul, cudnn.conv, cudnn.rnn)] + [cudnn.deterministic, cudnn.benchmark]"
)


@pytest.mark.parametrize("change", CHANGES)
def test_arithmetic_is_set_and_put_back(change: str) -> None:
    """In a process of its own, since torch keeps these settings for all of one; nested as a search in a run is."""
    program = f"""
import torch
from apsite.evaluation.attacks.precision import Precision, arithmetic
matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
{CHANGES[change]}
before = {STATE}
with arithmetic(Precision.FLOAT32):
    exact = {STATE}
    with arithmetic(Precision.TF32):
        quick = {STATE}
    assert {STATE} == exact
assert {STATE} == before, (before, {STATE})
assert exact == [False, False, False, True, False], exact
assert quick == [True, True, True, True, False], quick
"""
    subprocess.run([sys.executable, "-c", program], check=True)
