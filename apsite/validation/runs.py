"""What every run of `apsite eval` states, counted again: settings, search, passes, data and hashes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

from apsite import protocol
from apsite.errors import EvaluationError
from apsite.official_sets import known_sha256
from apsite.protocol import CHECKING, FLOAT32_CHECK, EngineName, Precision, Sample, Settings
from apsite.records import EvaluationRecord
from apsite.results import differs
from apsite.vocabulary import Attack, AttackName, Dataset, Protocol

Found = Iterator[tuple[str, str]]

_EMPTY = hashlib.sha256().hexdigest()
_RANDOM = 50
"""Bytes to which 64 random hexadecimal digits are never compressed; a million of them take 53 at least."""
_AGAIN = "run `apsite eval` again"


def run_problems(record: EvaluationRecord) -> Found:
    """What the record of an own run says of it that no run gives."""
    for rule in (_settings, _sample, _attacks, _float32_check, _search, _fixed_configuration, _costs, _data, _files):
        yield from rule(record)


def hash_problem(digest: str | None) -> str | None:
    """What is wrong with a SHA-256 that nobody computed, such as zeros; ``None`` for any other.

    >>> hash_problem("0" * 64)
    'is no SHA-256 of a file but a placeholder; state that of the file'
    """
    if digest is None:
        return None
    if digest == _EMPTY:
        return "is the SHA-256 of an empty file; state that of the file"
    if len(zlib.compress(digest.encode())) < _RANDOM:
        return "is no SHA-256 of a file but a placeholder; state that of the file"
    return None


def _settings(record: EvaluationRecord) -> Found:
    """Settings are those that the command has, with the number of samples and the attacks of the results."""
    stated, n = record.settings, record.results.n_samples
    if stated is None:
        return
    if record.protocol is Protocol.APB_1:
        try:
            Settings.from_scalars(stated)
        except EvaluationError as error:
            yield "settings", f"are not those of a run: {error}"
        for name in stated.keys() - Settings().as_scalars(record.dataset).keys():
            yield f"settings.{name}", f"is not a setting of `apsite eval`; {_AGAIN}"
    examples = stated.get("n_examples")
    if examples is not None and n is not None and examples != n:
        yield "settings.n_examples", f"{examples} is not results.n_samples {n}; {_AGAIN}"
    attacks = {result.attack.value for result in record.results.attacks}
    if isinstance(named := stated.get("attacks"), str) and set(named.split(",")) != attacks:
        yield "settings.attacks", f"{named!r} is not what results.attacks has, {','.join(sorted(attacks))!r}; {_AGAIN}"


def _sample(record: EvaluationRecord) -> Found:
    """The images of a reduced run are those that the settings name, and clean accuracy is that of the whole set."""
    data, n, whole = record.data, record.results.n_samples, record.results.whole_set
    stated = {**protocol.EARLIER, **(record.settings or {})}
    reduced = n is not None and n < record.dataset.ranked_samples
    if reduced and data is not None and stated.get("n_examples") == n:
        expected = f"{stated['sample']} {n} test samples"
        if data.split != expected:
            yield "data.split", f"{data.split!r} is not {expected!r}, which the settings name; {_AGAIN}"
        if stated["sample"] == Sample.RANDOM and whole is None:
            yield (
                "results.whole_set",
                f"is missing; a run on a random sample classifies the whole test set, so {_AGAIN}",
            )
    if whole is None or n is None:
        return
    correct, right = (
        round(a * b) for a, b in ((whole.clean_accuracy, whole.n_samples), (record.results.clean_accuracy or 0, n))
    )
    if not reduced or whole.n_samples != record.dataset.ranked_samples:
        yield (
            "results.whole_set.n_samples",
            f"{whole.n_samples} is for a run on fewer than {record.dataset.ranked_samples}; {_AGAIN}",
        )
    elif not right <= correct <= whole.n_samples - (n - right) or differs(
        correct / whole.n_samples, whole.clean_accuracy
    ):
        yield (
            "results.whole_set.clean_accuracy",
            f"{whole.clean_accuracy} is not that of {whole.n_samples} images of which {n} have {right} right; {_AGAIN}",
        )


def _attacks(record: EvaluationRecord) -> Found:
    """AutoAttack `standard` is four attacks, a screening the first two."""
    results = record.results
    if results.autoattack is not None and (
        lacking := [one.value for one in record.stages if one not in results.stages]
    ):
        place = f"{results.place(AttackName.AUTOATTACK)}.stages"
        yield place, f"lacks {', '.join(lacking)}; AutoAttack standard runs four attacks, so {_AGAIN}"
    stated = {**protocol.EARLIER, **(record.settings or {})}
    dropping = stated.get("fab_drop_rows") is True and stated.get("engine") == EngineName.FAST
    for attack, count in results.stages.items():
        place, dropped = f"{results.stage_place(attack)}.dropped_rows", count.dropped_rows
        rows = protocol.targets_of(record.dataset.classes) * count.robust_after
        most = rows if dropping and attack is Attack.FAB_T else 0
        if dropped is not None and dropped > most:
            yield place, f"{dropped} exceeds {most}, the most that such a run drops; {_AGAIN}"


def _float32_check(record: EvaluationRecord) -> Found:
    """A search in lower precision was checked on as many survivors as the rule says, with another seed."""
    results, stated = record.results, {**protocol.EARLIER, **(record.settings or {})}
    if results.autoattack is None:
        return
    check, place = results.autoattack.float32_check, f"{results.place(AttackName.AUTOATTACK)}.float32_check"
    if stated.get("precision") == Precision.FLOAT32:
        if check is not None:
            yield place, f"belongs to a search in lower precision, and settings.precision is float32; {_AGAIN}"
        return
    if check is None:
        yield place, f"is missing; a search in lower precision ends with it, so {_AGAIN}"
        return
    survivors = min(protocol.CHECKED_SURVIVORS, round(results.autoattack.robust_accuracy * (results.n_samples or 0)))
    if check.samples != survivors:
        yield f"{place}.samples", f"{check.samples} is not the {survivors} survivors that are checked; {_AGAIN}"
    if check.broken > check.samples:
        yield f"{place}.broken", f"{check.broken} exceeds the {check.samples} samples that were attacked; {_AGAIN}"
    if check.seed == stated.get("seed"):
        yield f"{place}.seed", f"{check.seed} is that of the search, settings.seed, and must be another; {_AGAIN}"


def _search(record: EvaluationRecord) -> Found:
    """The search of HO-FMN has all that its result follows from, and a median that images allow."""
    hofmn, place = record.results.hofmn, record.results.place(AttackName.HOFMN)
    if hofmn is None:
        return
    lacking = [name for name in protocol.SEARCH_SPACE if name not in hofmn.parameters]
    if lacking and (hofmn.search is not None or hofmn.parameters):
        yield f"{place}.parameters", f"lacks {', '.join(lacking)}, which the search found; {_AGAIN}"
    if hofmn.search is None:
        if record.protocol is Protocol.APB_1 and record.results.clean_accuracy:
            yield f"{place}.search", f"is missing; apb-1 searches for the parameters, so {_AGAIN}"
        return
    if not lacking and set(hofmn.search.at_bound) != set(found := protocol.at_bounds(hofmn.parameters)):
        yield f"{place}.search.at_bound", f"is not what the parameters give, {', '.join(found) or 'none'}; {_AGAIN}"
    if not 0 < hofmn.search.best_median <= 1:
        yield (
            f"{place}.search.best_median",
            f"{hofmn.search.best_median} is not in (0, 1], which images allow; {_AGAIN}",
        )
    for name, value in (("trials", hofmn.search.trials), ("steps", hofmn.search.steps)):
        if (stated := (record.settings or {}).get(f"search_{name}")) is not None and stated != value:
            yield f"{place}.search.{name}", f"{value} is not settings.search_{name} {stated}; {_AGAIN}"


def _fixed_configuration(record: EvaluationRecord) -> Found:
    """The final attack had the second configuration, that of the protocol, if and only if the settings say so."""
    hofmn, n = record.results.hofmn, record.results.n_samples
    if hofmn is None or n is None or record.settings is None:
        return
    place = f"{record.results.place(AttackName.HOFMN)}.fixed_configuration"
    attacked, stated = round((record.results.clean_accuracy or 0) * n), {**protocol.EARLIER, **record.settings}
    fixed = hofmn.fixed_configuration
    if (fixed is not None) != (stated["fixed_configuration"] is True and attacked > 0):
        found = "is missing" if fixed is None else "is stated"
        yield place, f"{found}, and settings.fixed_configuration is {stated['fixed_configuration']!r}; {_AGAIN}"
    if fixed is None:
        return
    if dict(fixed.parameters) != dict(protocol.FIXED_CONFIGURATION):
        yield f"{place}.parameters", f"are not those of the protocol, {dict(protocol.FIXED_CONFIGURATION)}; {_AGAIN}"
    if fixed.closer > attacked:
        yield f"{place}.closer", f"{fixed.closer} exceeds the {attacked} samples that were attacked; {_AGAIN}"


def _costs(record: EvaluationRecord) -> Found:
    """Passes and time of each phase, and no fewer passes than the attack makes on the samples that it did not break."""
    least = dict(_least_passes(record))
    if record.passes is None or record.seconds is None:
        place = "passes" if record.passes is None else "seconds"
        yield place, "is missing; `apsite eval` writes the record of a run"
        return
    for phase in sorted((record.passes.keys() | record.seconds.keys()) - set(PHASES)):
        yield f"passes.{phase}", f"is not a phase of a run; phases are {', '.join(PHASES)}"
    for phase, fewest in least.items():
        passes, seconds = record.passes.get(phase), record.seconds.get(phase)
        made = 0 if passes is None else passes.forward + passes.backward
        if made < fewest:
            yield f"passes.{phase}", f"{made} in all are fewer than the {fewest} that such a run makes; {_AGAIN}"
        if fewest and seconds is None:
            yield f"seconds.{phase}", f"is missing, though the phase was run; {_AGAIN}"
        elif seconds is not None and made > _FASTEST * (seconds + _ROUNDING):
            yield f"seconds.{phase}", f"{seconds} is too little time for {made} passes; {_AGAIN}"


def _least_passes(record: EvaluationRecord) -> Iterator[tuple[str, int]]:
    """Fewest passes of each phase of a run with such results."""
    results = record.results
    n, hofmn, classes = results.n_samples or 0, results.hofmn, record.dataset.classes
    yield "clean", n if results.whole_set is None else results.whole_set.n_samples
    for attack, count in results.stages.items():
        saved = protocol.FAB_SAVED_STEPS * (count.dropped_rows or 0)
        yield attack.value, max(count.attacked, protocol.least_passes(attack, classes) * count.robust_after - saved)
    if results.autoattack is not None and (check := results.autoattack.float32_check):
        passes = sum(protocol.least_passes(attack, classes) for attack in CHECKING)
        yield FLOAT32_CHECK, (check.samples - check.broken) * passes
    if hofmn is not None:
        correct = round((results.clean_accuracy or 0) * n)
        configurations = 1 if hofmn.fixed_configuration is None else 2
        yield AttackName.HOFMN.value, configurations * correct * (hofmn.steps or 0)
        if hofmn.search is not None and not record.leaves_out_tuning:
            yield "hofmn-search", hofmn.search.trials * hofmn.search.samples * hofmn.search.steps


PHASES = ("clean", *(attack.value for attack in Attack), FLOAT32_CHECK, "hofmn-search", *(
    attack.value for attack in AttackName if attack is not AttackName.AUTOATTACK
))  # fmt: skip
"""Phases of a run, as its passes and times name them."""
_FASTEST, _ROUNDING = 1e9, 0.001
"""Passes per second that no device makes, and the seconds to which times are rounded."""


def _data(record: EvaluationRecord) -> Found:
    """The images are called known only if their hash is the official one."""
    data, n, dataset = record.data, record.results.n_samples, record.dataset
    if data is None or n is None:
        return
    official = known_sha256(dataset, n) if data.split.startswith(("first", "whole")) else None
    if data.whole is not None:
        if data.known:
            yield "data.known", f"is true, but {dataset.value} is not registered; set it to false"
        if (wrong := hash_problem(data.whole.sha256)) is not None:
            yield "data.whole.sha256", wrong
        if (n == dataset.test_samples) != (data.sha256 == data.whole.sha256):
            same = "is that of" if n != dataset.test_samples else "is not that of"
            yield "data.sha256", f"{same} the whole set, though {n} of its {dataset.test_samples} images are; {_AGAIN}"
    if data.known and dataset in (Dataset.IMAGENET, Dataset.TINY_IMAGENET):
        yield "data.known", f"is true, but no hash of {dataset.label} is known; set it to false"
    if official is not None and data.known and data.sha256 != official:
        yield "data.sha256", f"is not {official}, that of the official images, though data.known is true; {_AGAIN}"
    if n == dataset.test_samples and not data.known and data.sha256 == official:
        yield "data.known", "is false, but data.sha256 is that of the official images; set it to true"


def _files(record: EvaluationRecord) -> Found:
    """Hashes are of files that exist, each of its own, and the checkpoint holds its parameters."""
    checkpoint, audit = record.checkpoint, record.audit
    seen: dict[str, str] = {}
    for place, digest in (
        ("checkpoint.sha256", checkpoint.sha256),
        ("checkpoint.factory_sha256", checkpoint.factory_sha256),
        ("data.sha256", record.data.sha256 if record.data else None),
        ("samples.sha256", record.samples.sha256 if record.samples else None),
    ):
        if (wrong := hash_problem(digest)) and place != "checkpoint.sha256":
            yield place, wrong
        elif digest is not None and (first := seen.setdefault(digest, place)) != place:
            yield place, f"is also {first}; two files have two hashes"
    if checkpoint.size is None and record.protocol is Protocol.APB_1:
        yield "checkpoint.size", "is missing; `apsite eval` writes the record of a run"
    if checkpoint.size is not None and audit is not None and checkpoint.size < max(1, audit.nonzero_parameters // 8):
        held = f"cannot hold {audit.nonzero_parameters} parameters that are not zero"
        yield "checkpoint.size", f"{checkpoint.size} bytes {held}; state the size of the evaluated file"
