"""Records that break a rule of theirs."""

from __future__ import annotations

from tests.builders import METHOD, REMOVED, RIVAL
from tests.corpus.cases import record
from tests.submissions import MODELS

WORDS = [
    record("schema_version", "1", "'1' is not 2"),
    record("model_key", MODELS[95], "does not match the file name"),
    record("model_key", f"{METHOD}_R18_CIFAR10_US_0", "does not have the required form"),
    record("model_key", f"{METHOD}_R99_CIFAR10_US_90", "architecture 'R99' is not one of R18, V16, R50, R8"),
    record("method", RIVAL, "does not match the folder"),
    record("protocol", "apb-2", "'apb-2' is not one of 'apb-1', 'piras-2024', 'custom'"),
    record("protocol", "apb-1 ", "is not one of 'apb-1'"),
    record("dataset", "svhn", "'svhn' contradicts the model key, which says 'cifar10'"),
    record("architecture", "vgg16", "'vgg16' contradicts the model key, which says 'resnet18'"),
    record("structure", "structured", "'structured' contradicts the model key, which says 'unstructured'"),
    record("granularity", "filter", "'filter' is not what unstructured pruning removes; 'weight' or null is"),
    record("granularity", "weights", "'weights' is not one of 'weight', 'filter', 'channel', 'kernel'"),
    record("sparsity.declared", 90, "90 is above the maximum 1; accuracies and sparsities are fractions"),
    record("sparsity.declared", 0.95, "0.95 contradicts the model key, which says 0.9"),
    record("threat_model.norm", "l2", "'l2' is not one of 'linf', null"),
    record("threat_model.epsilon", "0.031", "'0.031' does not have the required form"),
    record("threat_model.epsilon", 0.03137, "is not of type string or null; required: Exact ε in input units, as text such as 8/255"),
    record("results.clean_accuracy", 80.0, "80.0 is above the maximum 1"),
    record("results.clean_accuracy", "0.8", "'0.8' is not of type number or null"),
    record("results.attacks", REMOVED, "lacks 'attacks'", "results"),
    record("results.attacks[autoattack].accuracy", 0, "has unknown 'accuracy'", "results.attacks[0]"),
    record("results.attacks[autoattack].steps", 200, "is not a result of AutoAttack; remove it", "results.attacks[0].steps"),
    record("results.attacks[hofmn].attack", "autoattack", "'autoattack' is listed twice; keep one", "results.attacks[1].attack"),
    record("warnings", "none", "'none' is not of type array"),
    record("checkpoint.url", "ftp://example.org/x", "does not have the required form"),
    record("checkpoint.url", "/home/jane/model.pt", "does not have the required form"),
    record("checkpoint.sha256", "A" * 64, "does not have the required form"),
    record("settings.note", "x" * 301, "has 301 characters; at most 300 are allowed"),
    record("environment", {f"v{number}": 1 for number in range(61)}, "has 61 members; at most 60 are allowed"),
    record("environment.path", ["/home"], "is not of type string or number or boolean or null"),
    record("provenance.kind", "peer-reviewed", "'peer-reviewed' is not one of 'published', 'submitted', 'verified'"),
    record("provenance.source", "", "is empty"),
    record("provenance.date", "01/02/2026", "does not have the required form"),
    record("provenance.date", "2026-02-30", "'2026-02-30' is not a day of the calendar"),
    record("provenance.date", "2099-01-01", "'2099-01-01' is in the future"),
    record("samples.file", "../../../etc/passwd.npz", "does not have the required form"),
    record("samples.file", f"{MODELS[95]}.npz", f"must be '{MODELS[90]}.npz'"),
    record("leader", True, "has unknown 'leader'", ""),
]  # fmt: skip
