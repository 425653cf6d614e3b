"""A corpus of bad submissions, by what is wrong with them."""

from __future__ import annotations

from tests.corpus.entries import ENTRIES
from tests.corpus.files import IDENTITY, RAW
from tests.corpus.identity import PRETENDED
from tests.corpus.plausibility import IMPLAUSIBLE
from tests.corpus.proposals import PROPOSALS
from tests.corpus.records import WORDS
from tests.corpus.runs import RUNS
from tests.corpus.sample_files import SAMPLED

CORPUS = [*ENTRIES, *WORDS, *RAW, *IDENTITY, *SAMPLED, *PRETENDED, *IMPLAUSIBLE, *RUNS, *PROPOSALS]
