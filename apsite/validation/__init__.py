"""The checks of `apsite validate`: every problem of a data folder, in one run.

The same rules apply locally and on a pull request. Each has a module: allowed files (``files``), impossible
numbers (``plausibility``), records against their per-sample files (``sample_files``), what several documents say
together (``together``), and what a proposed change may touch (``proposal``).
"""

from __future__ import annotations

from apsite.validation.gate import Report, validate
from apsite.validation.plausibility import plausibility_problems
from apsite.validation.sample_files import recounted, samples_problems

__all__ = ["Report", "plausibility_problems", "recounted", "samples_problems", "validate"]
