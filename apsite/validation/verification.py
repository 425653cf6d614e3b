"""The rule of a verification: when a maintainer's re-run shows that the results of a record are not inflated.

Clean accuracy is computed again on every sample. Each attack runs again, with another seed, on samples drawn from those
that the record counts as robust under it. A sample that breaks speaks against the record, and none speaks for it; so
few may break as when two seeds of AutoAttack differ. A false claim breaks again, so the number of false claims in the
draw is hypergeometric. `apsite verify` draws by these numbers, and `apsite validate` checks records by them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from apsite.metrics import binomial_limit, hypergeometric_at_most
from apsite.protocol import CLEAN_DIFFERENCE, DETECTION, INFLATION_LIMIT, SEED_DIFFERENCE, VERIFICATION_ALPHA
from apsite.records import EvaluationRecord, RepeatedAttack
from apsite.results import differs
from apsite.vocabulary import AttackName, ProvenanceKind

Found = Iterator[tuple[str, str]]

LEAST_DRAWN = 100
"""Claimed-robust samples that are drawn in any case, where there are so many."""


def breaks_allowed(drawn: int) -> int:
    """How many of the drawn samples may break; of an honest record, more do at most once in a hundred verifications.

    >>> breaks_allowed(4), breaks_allowed(345)
    (0, 3)
    """
    return binomial_limit(drawn, SEED_DIFFERENCE, VERIFICATION_ALPHA)


def detectable_inflation(claimed: int, drawn: int, samples: int) -> float:
    """Smallest share of the evaluated samples whose false claims a draw detects with a probability of 95 %.

    >>> detectable_inflation(4540, 345, 10_000), detectable_inflation(4540, 4, 10_000)
    (0.0099, 0.2393)

    Args:
        claimed: Samples that the record counts as robust.
        drawn: How many of them are attacked again.
        samples: Evaluated samples.

    Returns:
        A fraction in [0, 1]; the share of all claims if nothing less would be detected.
    """
    allowed = breaks_allowed(drawn)

    def detected(false: int) -> bool:
        return hypergeometric_at_most(allowed, claimed, false, drawn) <= 1 - DETECTION

    return bisect_left(range(claimed), True, key=detected) / max(samples, 1)


def conclusive(claimed: int, drawn: int, samples: int) -> bool:
    """Whether a draw is of all claimed-robust samples, or would detect an inflation of less than one point."""
    return drawn == claimed or detectable_inflation(claimed, drawn, samples) < INFLATION_LIMIT


def fewest_to_draw(claimed: int, samples: int) -> int:
    """Fewest claimed-robust samples whose draw is conclusive, from :data:`LEAST_DRAWN` on.

    >>> fewest_to_draw(4540, 10_000), fewest_to_draw(17, 64)
    (345, 17)
    """
    counts = range(min(claimed, LEAST_DRAWN), claimed)
    return next((drawn for drawn in counts if conclusive(claimed, drawn, samples)), claimed)


def claims(record: EvaluationRecord) -> dict[AttackName, tuple[int, int]]:
    """By attack, how many samples a record counts as robust under it, and of how many."""
    found = {}
    for one in record.results.attacks:
        samples = (record.hofmn_samples if one.attack is AttackName.HOFMN else record.results.n_samples) or 0
        found[one.attack] = round(one.robust_accuracy * samples), samples
    return found


def verification_problems(record: EvaluationRecord) -> Found:
    """A record is verified exactly if it has a verification, which came after the run and satisfies the rule."""
    verification, kind, n = record.verification, record.provenance.kind, record.results.n_samples
    if verification is None:
        if kind is ProvenanceKind.VERIFIED:
            yield "verification", "is missing; `apsite verify` writes it"
        return
    if kind is not ProvenanceKind.VERIFIED:
        yield "provenance.kind", f"{kind.value!r} contradicts the field verification; remove it or say 'verified'"
    if verification.date < record.provenance.date:
        yield "verification.date", f"{verification.date!r} is before the run itself, {record.provenance.date!r}"
    if n is None or n > record.dataset.test_samples:
        return  # another rule says so, and a draw from far too many samples would take long to judge
    again, different = verification.samples, verification.clean_differences
    if again != n:
        wrong = f"{again} is not the number of samples of the record, {n}"
        yield "verification.samples", f"{wrong}; clean accuracy is computed again on every sample"
    if different > (limit := int(CLEAN_DIFFERENCE * again)):
        wrong = f"{different} of {again} samples are classified correctly in only one of the two runs"
        yield "verification.clean_differences", f"{wrong}; at most {limit} may be"
    claimed = claims(record)
    if [one.attack for one in verification.attacks] != list(claimed):
        yield "verification.attacks", f"are not those of the record in the same order: {', '.join(claimed)}"
        return
    for one in verification.attacks:
        for field, problem in _attack(one, *claimed[one.attack]):
            yield f"verification.attacks[{one.attack.value}].{field}", problem


def _attack(one: RepeatedAttack, claimed: int, samples: int) -> Found:
    """The claims are those of the record, few broke, and enough were drawn."""
    if one.claimed != claimed:
        yield "claimed", f"{one.claimed} is not what the record states, {claimed} of {samples}"
    elif not one.broken <= one.drawn <= claimed:
        yield "drawn", f"{one.drawn} is not between broken {one.broken} and claimed {claimed}"
    else:
        detects = detectable_inflation(claimed, one.drawn, samples)
        if differs(one.detectable_inflation, detects):
            yield "detectable_inflation", f"{one.detectable_inflation} is not what follows from the draw, {detects}"
        if one.broken > (allowed := breaks_allowed(one.drawn)):
            broke = f"{one.broken} of {one.drawn} samples that the record counts as robust broke"
            yield "broken", f"{broke}; at most {allowed} may, as two seeds of AutoAttack differ"
        if not conclusive(claimed, one.drawn, samples):
            few = f"{one.drawn} of {claimed} samples detect no inflation below {detects * 100:.2f} points"
            least = f"draw at least {fewest_to_draw(claimed, samples)}"
            yield "drawn", f"{few}, and less than {INFLATION_LIMIT * 100:g} is required; {least}"
