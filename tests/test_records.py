"""Evaluation records: each way to be wrong has its message, and reading and writing lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from apsite.documents.json_files import to_json
from apsite.errors import DocumentError
from apsite.records import (
    RepeatedAttack,
    Verification,
    read_record,
    record_from_json,
    record_problems,
    record_to_json,
    with_verification,
    write_record,
)
from apsite.vocabulary import Architecture, AttackName, Dataset, ProvenanceKind, Structure
from tests.builders import (
    METHOD,
    MODEL,
    REMOVED,
    RIVAL,
    Document,
    changed,
    own_document,
    record_document,
    verification,
    version_1,
    write_document,
)

PATH = Path(f"evaluations/{METHOD}/{MODEL}.json")
FRACTION = "is above the maximum 1; accuracies and sparsities are fractions, not percentages"

BROKEN: list[tuple[str, Any, str, str]] = [
    # what is set, to what, where the message stands, what it says
    ("schema_version", 3, "schema_version", "3 is not 2"),
    ("schema_version", True, "schema_version", "true is not 2"),
    ("model_key", REMOVED, "", "lacks 'model_key'"),
    ("model_key", 3, "model_key", "3 is not of type string"),
    ("model_key", "x", "model_key", "'x' does not have the required form: <method key>_<network>_<dataset>"),
    ("model_key", "x", "model_key", f"'x' does not match the file name '{MODEL}.json'; rename one"),
    ("model_key", f"{METHOD}_R18_CIFAR10_US_95", "model_key", "does not match the file name"),
    ("model_key", f"{METHOD}_R18_CIFAR10_US_95", "sparsity.declared", "0.9 contradicts the model key, which says 0.95"),
    ("model_key", f"{METHOD}_R99_CIFAR10_US_90", "model_key", "architecture 'R99' is not one of R18, V16, R50, R8"),
    ("method", RIVAL, "method", f"'{RIVAL}' does not match the folder '{METHOD}'"),
    ("method", RIVAL, "method", f"'{RIVAL}' contradicts the model key, which says '{METHOD}'"),
    ("method", None, "method", f"None contradicts the model key, which says '{METHOD}'"),
    ("protocol", "apb-2", "protocol", "'apb-2' is not one of 'apb-1', 'piras-2024', 'custom'"),
    ("dataset", "svhn", "dataset", "'svhn' contradicts the model key, which says 'cifar10'"),
    ("dataset", "CIFAR10", "dataset", "'CIFAR10' is not one of 'cifar10', 'svhn', 'imagenet'"),
    ("architecture", "vgg16", "architecture", "'vgg16' contradicts the model key, which says 'resnet18'"),
    ("architecture", "alexnet", "architecture", "'alexnet' is not one of 'resnet18', 'vgg16', 'resnet50', 'resnet8'"),
    ("structure", "structured", "structure", "'structured' contradicts the model key, which says 'unstructured'"),
    ("structure", None, "structure", "None contradicts the model key, which says 'unstructured'"),
    ("structure", "filter", "structure", "'filter' is not one of 'unstructured', 'structured'"),
    ("granularity", "weights", "granularity", "'weights' is not one of 'weight', 'filter', 'channel', 'kernel'"),
    ("sparsity", 0.9, "sparsity", "0.9 is not of type object"),
    ("sparsity.declared", 90, "sparsity.declared", f"90 {FRACTION}"),
    ("sparsity.declared", 0.95, "sparsity.declared", "0.95 contradicts the model key, which says 0.9"),
    ("sparsity.measured", 90.02, "sparsity.measured", f"90.02 {FRACTION}"),
    ("sparsity.measured", "0.9", "sparsity.measured", "'0.9' is not of type number or null"),
    ("threat_model.norm", "l2", "threat_model.norm", "'l2' is not one of 'linf', null"),
    ("threat_model.epsilon", 0.031, "threat_model.epsilon", "0.031 is not of type string or null"),
    ("threat_model.epsilon", "0.031", "threat_model.epsilon", "'0.031' does not have the required form: Exact"),
    ("threat_model.epsilon", "08/255", "threat_model.epsilon", "'08/255' does not have the required form"),
    ("threat_model.epsilon", "9/8", "threat_model.epsilon", "epsilon must be in (0, 1], not '9/8'"),
    ("results", None, "results", "null is not of type object"),
    ("results.attacks", REMOVED, "results", "lacks 'attacks'; add it (null where the value is not known)"),
    ("results.n_samples", 0, "results.n_samples", "0 is below the minimum 1"),
    ("results.n_samples", 10.5, "results.n_samples", "10.5 is not of type integer or null"),
    ("results.clean_accuracy", 80.54, "results.clean_accuracy", f"80.54 {FRACTION}"),
    ("results.clean_accuracy", "-", "results.clean_accuracy", "'-' is not of type number or null"),
    ("results.attacks", {"autoattack": 0.4}, "results.attacks", '{"autoattack": 0.4} is not of type array'),
    ("results.attacks", ["autoattack"], "results.attacks[0]", "'autoattack' is not of type object"),
    ("results.attacks[0].attack", "pgd", "results.attacks[0].attack", "'pgd' is not one of 'autoattack', 'hofmn'"),
    ("results.attacks[0].robust_accuracy", 43.68, "results.attacks[0].robust_accuracy", f"43.68 {FRACTION}"),
    ("results.attacks[0].robust_accuracy", None, "results.attacks[0].robust_accuracy", "null is not of type number"),
    ("results.attacks[0].accuracy", 0.4, "results.attacks[0]", "has unknown 'accuracy'; known are attack, robust_"),
    (
        "results.attacks[0].stages", [{"attack": "pgd", "attacked": 1, "broken": 0, "robust_after": 1}],
        "results.attacks[0].stages[0].attack", "'pgd' is not one of 'apgd-ce', 'apgd-t', 'fab-t', 'square'",
    ),
    (
        "results.attacks[0].stages", [{"attack": "square", "attacked": -1, "broken": 0, "robust_after": 1}],
        "results.attacks[0].stages[0].attacked", "-1 is below the minimum 0",
    ),
    (
        "results.attacks[0].stages", [{"attack": "square", "attacked": 1, "broken": 0, "robust_after": 1}] * 2,
        "results.attacks[0].stages[1].attack", "'square' is listed twice; keep one",
    ),
    ("results.attacks", [{}], "results.attacks[0]", "lacks 'attack', 'robust_accuracy'"),
    (
        "results.attacks", [{"attack": "hofmn", "robust_accuracy": 0.4}] * 2,
        "results.attacks[1].attack", "'hofmn' is listed twice; keep one",
    ),
    (
        "results.attacks", [{"attack": "hofmn", "robust_accuracy": 0.4, "parameters": {"lr": 1}}],
        "results.attacks[0].parameters", "has unknown 'lr'; known are learning_rate, momentum, weight_decay, dampening",
    ),
    ("results.attacks[0].steps", 200, "results.attacks[0].steps", "is not a result of AutoAttack; remove it"),
    ("results.joint", {"robust_accuracy": 2}, "results.joint.robust_accuracy", f"2 {FRACTION}"),
    ("warnings", None, "warnings", "null is not of type array"),
    ("warnings", [{"code": "Not a code", "message": "x"}], "warnings[0].code", "does not have the required form"),
    ("warnings", ["x"], "warnings[0]", "'x' is not of type object"),
    ("checkpoint.url", "file:///etc/passwd", "checkpoint.url", "https URL, hf://owner/repository/file"),
    ("checkpoint.sha256", "abc", "checkpoint.sha256", "'abc' does not have the required form"),
    ("checkpoint.path", "/home/x", "checkpoint", "has unknown 'path'; known are url, sha256, size, layout, format"),
    ("audit", {}, "audit", "lacks 'parameters', 'nonzero_parameters', 'weights', 'zero_weights', 'macs'"),
    ("settings", {"a b": 1}, "settings", "'a b' does not have the required form"),
    ("settings", {"steps": [1]}, "settings.steps", "[1] is not of type string or number or boolean or null"),
    ("settings", {f"s{i}": 1 for i in range(61)}, "settings", "has 61 members; at most 60 are allowed"),
    ("environment", {"cwd": "x" * 301}, "environment.cwd", "has 301 characters; at most 300 are allowed"),
    ("data", {"split": "test", "known": True}, "data", "lacks 'sha256'"),
    ("passes", {"autoattack": 5}, "passes.autoattack", "5 is not of type object"),
    ("seconds", {"autoattack": -1}, "seconds.autoattack", "-1 is below the minimum 0"),
    ("samples", {"file": "../x.npz", "sha256": "a" * 64}, "samples.file", "'../x.npz' does not have the required form"),
    ("samples", {"file": "x.pkl", "sha256": "a" * 64}, "samples.file", "'x.pkl' does not have the required form"),
    ("verification", verification({}, 8, date="2026-13-01"), "verification.date", "'2026-13-01' does"),
    ("verification", verification({}, 8, seed=-1), "verification.seed", "-1 is below the minimum 0"),
    ("provenance.kind", "rumour", "provenance.kind", "'rumour' is not one of 'published', 'submitted', 'verified'"),
    ("provenance.source", "", "provenance.source", "is empty"),
    ("provenance.location", 3, "provenance.location", "3 is not of type string or null"),
    ("provenance.date", "2 September 2024", "provenance.date", "'2 September 2024' does not have the required form"),
    ("rank", 1, "", "has unknown 'rank'; known are schema_version, model_key, method, protocol, dataset"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "place", "message"), BROKEN, ids=[f"{case[0]}={case[1]!r:.20}" for case in BROKEN]
)
def test_a_broken_record_says_where_what_and_what_is_allowed(field: str, value: Any, place: str, message: str) -> None:
    document = changed(record_document(), field, value)
    matching = [problem for problem in record_problems(PATH, document) if message in problem.problem]
    assert [problem.field for problem in matching] == [place]
    assert str(matching[0]).startswith(f"{PATH}: {place}: " if place else f"{PATH}: ")


def test_a_dense_record_has_no_structure_and_sparsity_zero() -> None:
    document = record_document(f"{METHOD}_R18_CIFAR10_dense")
    path = PATH.with_name(f"{METHOD}_R18_CIFAR10_dense.json")
    assert record_problems(path, document) == []
    wrong = changed(changed(document, "structure", "unstructured"), "sparsity.declared", 0.9)
    assert [(problem.field, problem.problem) for problem in record_problems(path, wrong)] == [
        ("structure", "'unstructured' contradicts the model key, which says None"),
        ("sparsity.declared", "0.9 contradicts the model key, which says 0.0"),
    ]


def test_a_record_in_the_wrong_place_is_an_error(tmp_path: Path) -> None:
    path = write_document(tmp_path / RIVAL / "other.json", record_document())
    fields = [problem.field for problem in record_problems(path, record_document())]
    assert fields == ["model_key", "method"]
    with pytest.raises(DocumentError, match=r"'Tiny_.*' does not match the file name 'other\.json'; rename one"):
        read_record(path)


def test_every_record_of_the_repository_survives_reading_and_writing(repository: Path) -> None:
    paths = sorted((repository / "evaluations").glob("*/*.json"))
    assert len(paths) >= 192
    for path in paths:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
        again = record_to_json(record_from_json(document))
        assert again == document, path
        assert to_json(again) == text, path


def test_a_record_with_every_optional_field_survives_reading_and_writing(tmp_path: Path) -> None:
    document = own_document()
    assert record_problems(PATH, document) == []
    record = record_from_json(document)
    path = write_record(tmp_path, record)
    assert path == tmp_path / METHOD / f"{MODEL}.json"
    assert json.loads(path.read_text(encoding="utf-8")) == document
    assert read_record(path) == record


@pytest.mark.parametrize("document", [record_document(), own_document()], ids=["published", "own run"])
def test_a_record_of_version_1_has_the_same_numbers(document: Document) -> None:
    """It is read like the newest version, and written as that; its own problems have the places of that version."""
    old = version_1(document)
    assert record_problems(PATH, old) == []
    assert record_to_json(record_from_json(old)) == document
    broken = changed(old, "results.autoattack.robust_accuracy", 2)
    assert [problem.field for problem in record_problems(PATH, broken)] == ["results.attacks[0].robust_accuracy"]


@pytest.mark.parametrize(("field", "value", "place", "message"), [
    ("results", None, "results", "null is not of type object"),
    ("results.autoattack", 0.4, "results.attacks[0]", "0.4 is not of type object"),
    ("results.autoattack.robust_accuracy", None, "results.attacks[0]", "lacks 'robust_accuracy'"),
    ("results.autoattack.per_attack", 3, "results.attacks[0].stages", "3 is not of type array"),
    ("results.autoattack.per_attack", {"square": 1}, "results.attacks[0].stages[0]", "1 is not of type object"),
    ("results.hofmn.lr", 1, "results.attacks[1]", "has unknown 'lr'"),
    ("results.joint", 0.2, "results.joint", "0.2 is not of type object"),
    ("results.joint.broken_only_by_pgd", 1, "results.joint.broken_only_by", "'pgd' is not one of 'autoattack'"),
    ("results.attacks", [], "results", "has unknown 'autoattack', 'hofmn'"),
    ("results.area", 1, "results", "has unknown 'area'"),
])  # fmt: skip
def test_a_broken_record_of_version_1_says_what_is_allowed(field: str, value: Any, place: str, message: str) -> None:
    """Converting does not hide what breaks the format, and stops at nothing."""
    problems = record_problems(PATH, changed(version_1(own_document()), field, value))
    assert [problem.field for problem in problems if message in problem.problem] == [place]


def test_a_record_knows_its_words_from_its_key() -> None:
    record = record_from_json(record_document())
    assert (record.method, record.model_key) == (METHOD, MODEL)
    assert (record.dataset, record.architecture) == (Dataset.CIFAR10, Architecture.RESNET18)
    assert record.structure is Structure.UNSTRUCTURED
    assert record.path == Path(METHOD) / f"{MODEL}.json"


def test_the_ranking_figure_is_autoattacks() -> None:
    assert record_from_json(record_document(robust=0.4)).robust_accuracy == 0.4
    assert record_from_json(record_document(robust=None)).robust_accuracy is None


def test_a_verified_record_says_who_vouches() -> None:
    document = changed(changed(own_document(), "provenance.kind", "submitted"), "verification")
    record = record_from_json(document)
    attack = RepeatedAttack(AttackName.AUTOATTACK, claimed=3, drawn=2, broken=1, detectable_inflation=0.25)
    verification = Verification("2026-01-02", 7, 8, 0, (attack,))
    verified = with_verification(record, verification)
    assert verified.provenance.kind is ProvenanceKind.VERIFIED
    assert verified.verification == verification
    assert verified.results == record.results
    assert record_problems(PATH, record_to_json(verified)) == []
