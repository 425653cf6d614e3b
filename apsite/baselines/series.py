"""A series of baselines: one dense network, pruned by several criteria, fine-tuned and evaluated.

Every step leaves a file and is not done again while that file is of these very settings, so a series that was
interrupted resumes where it stopped. ``series.json``, next to the checkpoints, says what each model cost and
how it fared before fine-tuning. What can be known to fail is found out before anything is trained.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from apsite.baselines.finetuning import Format, Search, Source, Written, finetune, load, load_dense, prune, pruning_of
from apsite.baselines.pruning import masks_for
from apsite.baselines.series_file import Pruning, Series
from apsite.documents.json_files import read_json, to_json, write_json
from apsite.errors import ApsiteError, DatasetError, EvaluationError
from apsite.evaluation.attacks.execution import CountedNetwork, predict
from apsite.evaluation.checkpoints.packed import read_about, write_checkpoint
from apsite.evaluation.checkpoints.reading import read_checkpoint
from apsite.evaluation.runs.environment import choose_device
from apsite.evaluation.runs.evaluate import Request, run_request
from apsite.evaluation.runs.manifest import ModelOutcome, Status, run_manifest
from apsite.evaluation.testsets.datasets import ImageSet, load_test_set
from apsite.keys import ModelKey
from apsite.progress import Reporter
from apsite.records import read_record
from apsite.vocabulary import AttackName, Granularity, ProvenanceKind

REPORT = "series.json"
BEFORE = 32
"""Images on which AutoAttack looks at a network before fine-tuning, at most: a network near chance requires no more."""


@dataclass(frozen=True)
class Places:
    """Folders of a series, and the device: ``None`` for CUDA where there is one.

    `test_data` may be ``embedded``; `work` is for pruned networks and states of interrupted runs.
    """

    training_data: Path
    test_data: Path | str
    records: Path = Path("evaluations")
    work: Path = Path(".apsite")
    device: str | None = None


def run_series(
    series: Series, places: Places, reporter: Reporter, *, only: Sequence[str] = (), fresh: bool = False
) -> Iterator[ModelOutcome]:
    """Make and evaluate the networks of a series, the dense one first, or `only` some model keys in this order.

    The dense network is always made, and evaluated only if it is among them. `fresh` repeats everything, except a dense
    network that was given.

    Yields:
        The outcome of each evaluation, in order; a failure ends that model only.

    Raises:
        ApsiteError: If a key is not of this series, another record is where one would be written,
            the network cannot be pruned as the series says, or the dense network cannot be made.
    """
    known = {str(one.key): one for one in series.prunings}
    unknown = [key for key in only if key not in series.models]
    if unknown:
        raise EvaluationError(f"{unknown[0]} is not a model of {series.path}; it has {', '.join(series.models)}")
    if series.threads is not None:
        torch.set_num_threads(series.threads)
    wanted = [known[key] for key in only or known if key in known]
    for one in wanted:
        _check_place(_request(series, places, one.key, one.granularity, fresh=fresh))
    dense = replace(series.source, checkpoint=_dense(series, places, wanted, reporter, fresh=fresh))
    whole = load_test_set(series.source.dataset, places.test_data)
    images, _ = whole.chosen(series.settings.n_examples, series.settings.sample)
    for key in only or series.models:
        if key == str(series.dense):
            yield from run_manifest([_request(series, places, series.dense, None, fresh=fresh)], reporter)
            continue
        reporter.say(f"{key}: pruning")
        try:
            made = _pruned(series, places, known[key], dense, images, reporter, fresh=fresh)
        except ApsiteError as error:
            reporter.say(f"{key}: failed: {error}")
            yield ModelOutcome(known[key].key, Status.FAILED, None, None, str(error))
            continue
        request = _request(series, places, known[key].key, known[key].granularity, fresh=fresh)
        yield from run_manifest([replace(request, notes=(*request.notes, *made))], reporter)


def _dense(series: Series, places: Places, wanted: Sequence[Pruning], reporter: Reporter, *, fresh: bool) -> Path:
    """Checkpoint of the dense network; trained where it is not there, once it is known that it can be pruned."""
    path = series.checkpoint(series.dense)
    if series.given is not None or (path.exists() and not fresh):
        load_dense(replace(series.source, checkpoint=path))
        return path
    network = load(series.source, series.training.seed).network
    for one in wanted:
        try:
            masks_for(network, one.criterion, one.locality, one.key.sparsity)
        except ApsiteError as error:
            raise EvaluationError(f"{one.key}: {error}") from None
    reporter.say(f"{series.dense}: training, since {path} is not there")
    written = finetune(
        series.source, series.training, places.training_data, path, written=Format(half=True),
        device=places.device, precision=series.precision, run_dir=places.work / "runs", fresh=fresh, reporter=reporter,
    )  # fmt: skip
    _note(series, series.dense, {"training": _training(written)})
    return path


def _pruned(
    series: Series, places: Places, pruning: Pruning, dense: Source, images: ImageSet, reporter: Reporter,
    *, fresh: bool,
) -> tuple[str, ...]:  # fmt: skip
    """Prune and fine-tune one network, unless its checkpoint is there; gives remarks for its record.

    The report is written step by step, and what it lacks is found out by the next run, wherever this one is stopped.
    """
    path, work = series.checkpoint(pruning.key), places.work / "series" / series.folder.name
    masked, tuned = (work / f"{pruning.key}.{step}.safetensors" for step in ("pruned", "float32"))
    settings = pruning.criterion, pruning.locality, pruning.key.sparsity
    search = None if pruning.search is None else Search(
        pruning.search, places.training_data, places.device, series.precision, places.work / "runs", fresh
    )  # fmt: skip
    described = json.loads(to_json(pruning_of(load_dense(dense), dense, *settings, search=search)))
    made = {"pruning": described, "recipe": json.loads(to_json(asdict(series.finetuning)))}
    ready = not fresh and read_about(path).get("series") == made
    if not ready and path.exists() and not fresh:
        raise EvaluationError(
            f"{path}: was made with other settings than {series.path} has now, or from another dense network; remove "
            "it or give --fresh"
        )
    noted = _report(series).get(str(pruning.key), {})
    done = {name: value for name, value in read_about(masked).items() if name != "environment"} == described
    if search is None or fresh or not (done or (ready and noted.get("before"))):
        written = prune(dense, *settings, masked, written=Format(packed=True), search=search, reporter=reporter)
        if search:
            noted = _note(series, pruning.key, {"search": _training(written)})
    if not ready and (fresh or "finetuning" not in noted or read_about(tuned).get("series") != made):
        others = {key: model for key, model in _report(series).items() if key != str(pruning.key)}
        kept = {str(pruning.key): {"search": noted["search"]}} if search and "search" in noted else {}
        _write_report(series, others | kept)
        written = finetune(
            replace(dense, checkpoint=masked), series.finetuning, places.training_data, tuned,
            written=Format(packed=True), device=places.device, precision=series.precision,
            run_dir=places.work / "runs", fresh=fresh, note={"series": made}, reporter=reporter,
        )  # fmt: skip
        noted = _note(series, pruning.key, {"finetuning": _training(written)})
    if not ready:
        write_checkpoint(path, read_checkpoint(tuned).state, half=True, packed=True, about=read_about(tuned))
    if "half" not in noted and read_about(tuned).get("series") == made:
        reporter.say(f"{pruning.key}: what half precision changes")
        noted = _note(series, pruning.key, {"half": _half(series, tuned, path, images, places)})
    if noted.get("before") is None:
        before = _before(series, places, pruning, masked, images, reporter)
        _note(series, pruning.key, {"criterion": pruning.criterion.value, "locality": pruning.locality.value,
                                    "before": before})  # fmt: skip
    origin = series.dense if series.given is None else f"the dense network with SHA-256 {described['dense_sha256']}"
    learned = f", learned with {pruning.search.summary}" if pruning.search else ""
    return (
        f"Pruned from {origin} by {pruning.criterion}, {pruning.locality}{learned}; fine-tuned with "
        f"{series.finetuning.summary}.",
    )


def _check_place(request: Request) -> None:
    """Refuse to replace a record that is not of this series, before hours of training rather than after them."""
    target = request.target
    if target is None or not target.exists():
        return
    record = read_record(target)
    if record.provenance.kind is ProvenanceKind.PUBLISHED:
        raise EvaluationError(
            f"{target}: is a result published by {record.provenance.source}; choose another --output, and put the "
            "new record in its place with `apsite supersede`, which keeps both"
        )
    if request.overwrite:
        return
    if not request.checkpoint.exists() or read_checkpoint(request.checkpoint).sha256 != record.checkpoint.sha256:
        raise EvaluationError(
            f"{target}: holds a record of another checkpoint than {request.checkpoint}; choose another --output, "
            "remove the record, or give --fresh to repeat everything"
        )


def _before(
    series: Series, places: Places, pruning: Pruning, masked: Path, images: ImageSet, reporter: Reporter
) -> dict[str, Any]:
    """Accuracies of a pruned network that was not fine-tuned, under AutoAttack alone, on the first images."""
    reporter.say(f"{pruning.key}: AutoAttack before fine-tuning")
    request = Request(
        checkpoint=masked, key=pruning.key, layout=series.source.layout, granularity=pruning.granularity,
        settings=replace(series.settings, attacks=(AttackName.AUTOATTACK,)), output=None, device=places.device,
        run_dir=places.work / "runs",
    )  # fmt: skip
    few = images.first(min(BEFORE, len(images)))
    results = run_request(request, reporter, images=few).record.results
    names = {"n_samples": "n_samples", "clean_accuracy": "clean_accuracy", "autoattack": "aa_robust_accuracy"}
    return {name: getattr(results, field) for name, field in names.items()}


def _half(series: Series, whole: Path, half: Path, images: ImageSet, places: Places) -> dict[str, Any]:
    """What half precision changes, on all test images if available: predictions, largest difference of logits."""
    with contextlib.suppress(DatasetError):
        images = load_test_set(series.source.dataset, places.training_data)
    device = choose_device(places.device)
    logits = []
    for path in (whole, half):
        network = load(replace(series.source, checkpoint=path)).network.eval().to(device)
        values, _ = predict(CountedNetwork(network), images.images, device, 128)
        logits.append(np.asarray(values.cpu()))
    return {
        "n_samples": len(images), "predictions_changed": int((logits[0].argmax(1) != logits[1].argmax(1)).sum()),
        "largest_logit_difference": float(np.abs(logits[0] - logits[1]).max()), "size": half.stat().st_size,
    }  # fmt: skip


def _request(series: Series, places: Places, key: ModelKey, granularity: Granularity | None, *, fresh: bool) -> Request:
    path = series.checkpoint(key)
    return Request(
        checkpoint=path, key=key, layout=series.source.layout, granularity=granularity, data_dir=places.test_data,
        settings=series.settings_of(key), output=places.records, device=places.device, run_dir=places.work / "runs",
        fresh=fresh, overwrite=fresh,
        url=None if series.checkpoint_url is None or series.given else f"{series.checkpoint_url}/{path.name}",
        source=series.author, notes=series.notes,
    )  # fmt: skip


def _training(written: Written) -> dict[str, Any]:
    """What a training cost, for the report."""
    names = ("recipe", "precision", "device", "threads", "torch")
    about = {**written.about, **written.about.get("environment", {})}  # type: ignore[dict-item]
    return {"seconds": round(written.seconds, 1), **{name: about[name] for name in names}}


def _report(series: Series) -> dict[str, dict[str, Any]]:
    """What the report says of each model; empty where there is none."""
    path = series.folder / REPORT
    models = read_json(path).get("models") if path.exists() else {}
    if not isinstance(models, dict):
        raise EvaluationError(f"{path}: has no models; remove or correct the file")
    for key, model in models.items():
        if not isinstance(model, dict):
            raise EvaluationError(f"{path}: {key} must be an object; remove or correct the file")
    return models


def _note(series: Series, key: ModelKey, values: Mapping[str, Any]) -> dict[str, Any]:
    """Add what is known of a model to the report, and give all that is known of it."""
    report = _report(series)
    report[str(key)] = {**report.get(str(key), {}), **values}
    _write_report(series, report)
    return report[str(key)]


def _write_report(series: Series, models: Mapping[str, Any]) -> None:
    ordered = {key: models[key] for key in series.models if key in models}
    planned = {str(key): series.settings_of(key).n_examples for key in series.keys}
    document = {"schema_version": 1, "series": series.path.name, "planned": planned, "models": ordered}
    write_json(series.folder / REPORT, document)
