"""Taxonomy entries: each way to be wrong has its message, and what is right is read completely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apsite.entries import Step, entry_from_json, entry_problems, read_entry
from apsite.errors import DocumentError
from apsite.vocabulary import (
    Architecture,
    Criterion,
    Dataset,
    Granularity,
    Locality,
    Objective,
    Schedule,
    Stage,
    Structure,
)
from tests.builders import METHOD, REMOVED, changed, entry_document, write_document

PATH = Path(f"entries/{METHOD}.json")
OBJECTIVES = ", ".join(repr(word.value) for word in Objective)
HTTPS = "does not have the required form: Where to read it, https only."

BROKEN: list[tuple[str, Any, str, str]] = [
    # what is set, to what, where the message stands, what it says
    ("schema_version", 2, "schema_version", "2 is not 1"),
    ("key", "tiny", "key", "'tiny' does not have the required form: <Name>_<FirstAuthor><Year><FirstTitleWord>"),
    ("key", "Tiny_Doe2024Other", "key", "'Tiny_Doe2024Other' does not match the file name; rename one"),
    ("key", REMOVED, "", "lacks 'key'; add it"),
    ("key", None, "key", "null is not of type string"),
    ("name", "", "name", "is empty"),
    ("name", "x" * 41, "name", "has 41 characters; at most 40 are allowed"),
    ("name", "Ti\u202eny", "name", "U+202E RIGHT-TO-LEFT OVERRIDE, which shows nothing"),
    ("name", 7, "name", "7 is not of type string"),
    ("aliases", "Tiny_Doe2024Old", "aliases", "'Tiny_Doe2024Old' is not of type array"),
    ("aliases", ["a/b"], "aliases[0]", "holds '/'; use letters, digits, '_', '.', '+' and '-'"),
    ("aliases", ["<script>"], "aliases[0]", "holds '<'; use letters, digits"),
    ("aliases", ["a", "a"], "aliases", "names something twice; name each once"),
    ("aliases", [f"a{i}" for i in range(11)], "aliases", "has 11 members; at most 10 are allowed"),
    ("baseline", "no", "baseline", "'no' is not of type boolean"),
    ("paper", None, "paper", "null is not of type object"),
    ("paper.title", REMOVED, "paper", "lacks 'title'; add it (null where the value is not known)"),
    ("paper.titel", "x", "paper", "has unknown 'titel'; known are title, authors, venue, year, url, bibtex"),
    ("paper.authors", [], "paper.authors", "is empty; give at least one"),
    ("paper.authors", "Jane Doe", "paper.authors", "'Jane Doe' is not of type array"),
    ("paper.year", 24, "paper.year", "24 is below the minimum 1980"),
    ("paper.year", 2101, "paper.year", "2101 is above the maximum 2100"),
    ("paper.year", "2024", "paper.year", "'2024' is not of type integer"),
    ("paper.url", "http://example.org", "paper.url", f"'http://example.org' {HTTPS}"),
    ("paper.url", "javascript:alert(1)", "paper.url", f"'javascript:alert(1)' {HTTPS}"),
    ("paper.url", 'https://example.org/"x', "paper.url", HTTPS),
    ("paper.url", "n/a", "paper.url", HTTPS),
    ("paper.url", 5, "paper.url", "5 is not of type string or null"),
    ("paper.bibtex", "", "paper.bibtex", "is empty"),
    ("code", "https://example.org", "code", "'https://example.org' is not of type object or null"),
    ("code.url", "git@example.org:x", "code.url", "does not have the required form: Repository, https only."),
    ("code.url", None, "code.url", "null is not of type string"),
    ("code.licence", "MIT", "code", "has unknown 'licence'; known are url"),
    ("pipeline", {}, "pipeline", "lacks 'stage'"),
    ("pipeline", "after", "pipeline", "'after' is not of type object"),
    ("pipeline.stage", "later", "pipeline.stage", "'later' is not 'after' or 'before' or 'during'"),
    ("pipeline.stage", "A", "pipeline.stage", "'A' is not 'after' or 'before' or 'during'"),
    ("pipeline.stage", "before", "pipeline", "lacks 'pruning', 'training'; add it"),
    ("pipeline.stage", "before", "pipeline", "has unknown 'pretraining', 'finetuning'; known are stage, pruning"),
    ("pipeline.stage", "during", "pipeline", "has unknown 'pretraining', 'finetuning', 'schedule'; known are stage"),
    ("pipeline.pretraining", ["PGD"], "pipeline.pretraining[0]", f"'PGD' is not one of {OBJECTIVES}"),
    ("pipeline.pretraining", ["n.s."], "pipeline.pretraining[0]", "'n.s.' is not one of"),
    ("pipeline.pretraining", ["NT", "NT"], "pipeline.pretraining", "names something twice"),
    ("pipeline.finetuning", "NT", "pipeline.finetuning", "'NT' is not of type array or null"),
    ("pipeline.finetuning", REMOVED, "pipeline", "lacks 'finetuning'"),
    ("pipeline.schedule", [], "pipeline.schedule", "is empty; give at least one"),
    ("pipeline.schedule", ["1S"], "pipeline.schedule[0]", "'1S' is not one of 'one-shot', 'iterative'"),
    ("specifics.structure", ["filter"], "specifics.structure[0]", "'filter' is not one of 'unstructured', 'str"),
    ("specifics.structure", [], "specifics.structure", "is empty; give at least one"),
    ("specifics.structure", None, "specifics.structure", "null is not of type array"),
    ("specifics.granularity", ["weights"], "specifics.granularity[0]", "is not one of 'weight', 'filter', 'channel'"),
    ("specifics.locality", ["G"], "specifics.locality[0]", "'G' is not one of 'local', 'global'"),
    ("specifics.criterion", "lwm", "specifics.criterion", "'lwm' is not one of 'LWM', 'SOLWM', 'RELWM', 'LIS'"),
    ("specifics.criterion", "other: a, b", "specifics.criterion", "or other: and a few words (at most 60"),
    ("specifics.granularity", ["other:x"], "specifics.granularity[0]", "'layer', or other: and a few words"),
    ("sources", {"papers": "x"}, "sources", "'papers' does not have the required form: a field of the entry, such as"),
    ("sources", {"paper": ""}, "sources.paper", "is empty"),
    ("reported[0].by", "", "reported[0].by", "is empty"),
    ("other_compression", ["pruning"], "other_compression[0]", "'pruning' is not one of 'quantization'"),
    ("host_methods", [], "host_methods", "is empty; give at least one"),
    ("audit", [], "audit", "[] is not of type object or null"),
    ("audit.pgd", "yes", "audit.pgd", "'yes' is not of type boolean or null"),
    ("audit.autoattack", REMOVED, "audit", "lacks 'autoattack'"),
    ("audit.others", "CW", "audit.others", "'CW' is not of type array"),
    ("reported[0].sparsity", 90, "reported[0].sparsity", "90 is above the maximum 1; accuracies and sparsities are fr"),
    ("reported[0].sparsity", -0.1, "reported[0].sparsity", "-0.1 is below the minimum 0"),
    ("reported[0].robust_accuracy", 47.1, "reported[0].robust_accuracy", "are fractions, not percentages"),
    ("reported[0].dataset", "CIFAR10", "reported[0].dataset", "'CIFAR10' is not one of 'cifar10', 'svhn', 'imagenet'"),
    ("reported[0].architecture", "ResNet18", "reported[0].architecture", "'ResNet18' is not one of 'resnet18'"),
    ("reported[0].attack", REMOVED, "reported[0]", "lacks 'attack'"),
    ("notes", "A remark.", "notes", "'A remark.' is not of type array"),
    ("notes[0]", "x" * 1001, "notes[0]", "has 1,001 characters; at most 1,000 are allowed"),
    ("notes", REMOVED, "", "lacks 'notes'"),
    ("checkpoints[0].model_key", "Tiny", "checkpoints[0].model_key", "<method key>_<network>_<dataset>_<US|S|SS>"),
    ("checkpoints[0].url", "ftp://example.org/x", "checkpoints[0].url", "https URL, hf://owner/repository/file"),
    ("checkpoints[0].sha256", "A" * 64, "checkpoints[0].sha256", "does not have the required form"),
    ("checkpoints[0].sha256", REMOVED, "checkpoints[0]", "lacks 'sha256'; add it (null where the value is not known)"),
    ("colour", "red", "", "has unknown 'colour'; known are schema_version, key, name, aliases, baseline, in_survey, p"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "place", "message"), BROKEN, ids=[f"{case[0]}={case[1]!r:.20}" for case in BROKEN]
)
def test_a_broken_entry_says_where_what_and_what_is_allowed(field: str, value: Any, place: str, message: str) -> None:
    document = changed(entry_document(), field, value)
    matching = [problem for problem in entry_problems(PATH, document) if message in problem.problem]
    assert [problem.field for problem in matching] == [place]
    assert str(matching[0]).startswith(f"{PATH}: {place}: " if place else f"{PATH}: ")


def test_a_broken_entry_cannot_be_read(tmp_path: Path) -> None:
    path = write_document(tmp_path / f"{METHOD}.json", changed(entry_document(), "baseline", 0))
    with pytest.raises(DocumentError, match="baseline: 0 is not of type boolean"):
        read_entry(path)


def test_a_good_entry_is_read_completely(tmp_path: Path) -> None:
    document = entry_document(aliases=["Tiny_Doe2024Old"])
    assert entry_problems(PATH, document) == []
    entry = read_entry(write_document(tmp_path / f"{METHOD}.json", document))
    assert (entry.key, entry.name, entry.aliases, entry.baseline) == (METHOD, "Tiny", ("Tiny_Doe2024Old",), False)
    assert (entry.paper.title, entry.paper.authors, entry.paper.venue) == ("Small Networks", ("Jane Doe",), "ICLR")
    assert (entry.paper.year, entry.paper.url) == (2024, "https://example.org/paper")
    assert entry.paper.bibtex == "@article{Doe2024Small}"
    assert entry.code_url == "https://example.org/code"
    assert entry.pipeline.stage is Stage.AFTER
    assert entry.pipeline.steps == (Step("pretraining", (Objective.AT_PGD,)), Step("finetuning", (Objective.AT_PGD,)))
    assert entry.pipeline.schedule == (Schedule.ONE_SHOT,)
    assert entry.specifics.structure == (Structure.UNSTRUCTURED,)
    assert entry.specifics.granularity == (Granularity.WEIGHT,)
    assert entry.specifics.locality == (Locality.GLOBAL,)
    assert entry.specifics.criterion is Criterion.LIS
    assert entry.audit is not None
    assert (entry.audit.autoattack, entry.audit.pgd, entry.audit.others) == (True, True, ("CW",))
    assert (entry.audit.robustness_curve, entry.audit.pgd_over_10_iterations) == (False, None)
    (reported,) = entry.reported
    assert (reported.dataset, reported.architecture) == (Dataset.CIFAR10, Architecture.RESNET18)
    assert (reported.structure, reported.attack) == (Structure.UNSTRUCTURED, "PGD")
    assert (reported.sparsity, reported.robust_accuracy) == (0.9, 0.5)
    (checkpoint,) = entry.checkpoints
    assert (checkpoint.model_key, checkpoint.url) == (f"{METHOD}_R18_CIFAR10_US_90", "hf://jane/tiny/model.pt")
    assert (checkpoint.sha256, checkpoint.file_format, checkpoint.notes) == (None, None, None)
    assert entry.notes == ("A remark.",)


def test_not_specified_and_no_such_step_are_different_things() -> None:
    """``null`` becomes ``None``; an empty list stays empty; D-methods have no schedule."""
    document = changed(entry_document(), "pipeline.pretraining", None)
    document = changed(document, "pipeline.finetuning", [])
    document = changed(document, "pipeline.schedule", None)
    document = changed(document, "specifics.granularity", None)
    document = changed(document, "specifics.locality", None)
    document = {**document, "audit": None, "code": None}
    del document["checkpoints"]
    assert entry_problems(PATH, document) == []
    entry = entry_from_json(document)
    assert entry.pipeline.steps == (Step("pretraining", None), Step("finetuning", ()))
    assert entry.pipeline.schedule is entry.specifics.granularity is entry.specifics.locality is None
    assert entry.audit is entry.code_url is None
    assert entry.checkpoints == ()

    during = changed(document, "pipeline", {"stage": "during", "training": ["TRADES"]})
    assert entry_problems(PATH, during) == []
    assert entry_from_json(during).pipeline.schedule is None
