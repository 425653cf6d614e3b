"""The closed sets of terms: what the JSON Schemas allow, and each term with all its properties."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite import vocabulary
from apsite.documents.references import SURVEY, load_references
from apsite.documents.schema import load_schema
from apsite.vocabulary import (
    OTHER_CODE,
    OTHER_NAME,
    Criterion,
    Dataset,
    Objective,
    Protocol,
    Stage,
    Structure,
    Term,
    epsilon_value,
)

ENUMS = [
    kind for _, kind in inspect.getmembers(vocabulary, inspect.isclass) if issubclass(kind, Term) and kind is not Term
]


def test_the_schemas_get_their_terms_from_the_vocabulary() -> None:
    dataset, model_key = (load_schema("record")["$defs"][name] for name in ("dataset", "model_key"))
    assert dataset["anyOf"][0] == {"enum": list(Dataset)}
    assert dataset["anyOf"][1]["pattern"] == f"^{Dataset.other_form()}$"
    datasets = "|".join(dataset.code for dataset in Dataset)
    assert (
        f"_(?:{datasets}|{OTHER_CODE}{OTHER_NAME})_(?:(?:US|S|SS)_[1-9][0-9]?(?:p[0-9]?[1-9])?|dense)$"
        in model_key["pattern"]
    )


def test_a_pipeline_has_one_form_per_stage() -> None:
    forms = load_schema("entry")["properties"]["pipeline"]["oneOf"]
    assert [form["properties"]["stage"]["const"] for form in forms] == list(Stage)


@pytest.mark.parametrize("name", ["method_key", "model_key", "sha256", "dataset", "architecture", "structure"])
def test_both_schemas_define_a_shared_word_alike(name: str) -> None:
    assert load_schema("entry")["$defs"][name] == load_schema("record")["$defs"][name]


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_every_term_is_described_and_no_two_look_alike(kind: type[Term]) -> None:
    """Codes, labels and meanings are there and unique; only natural training has no citation."""
    for name in {"code", "label", "heading", "meaning", "citation"} & kind.__annotations__.keys():
        facts = [getattr(term, name) for term in kind]
        assert len(set(facts)) == len(kind)
        assert [fact for fact in facts if not fact] == ([None] if name == "citation" else [])


def test_terms_sort_as_they_are_listed() -> None:
    assert sorted([Dataset.IMAGENET, Dataset.SVHN, Dataset.CIFAR10]) == list(Dataset)[:3]
    assert max(Structure) is Structure.SEMI_STRUCTURED
    assert max(Criterion.SO, Criterion("other: a")) == "other: a"
    assert Dataset.CIFAR10 <= Dataset.CIFAR10 < Dataset.SVHN >= Dataset.CIFAR10
    assert sorted(["t", Dataset.SVHN, "a"]) == ["a", "svhn", "t"]


def test_sparsities_are_those_of_the_benchmark() -> None:
    """Survey, section 4.2."""
    assert Structure.UNSTRUCTURED.sparsities == (0.90, 0.95, 0.99)
    assert Structure.STRUCTURED.sparsities == (0.50, 0.75, 0.90)


def test_datasets_have_their_official_sizes_and_budgets() -> None:
    assert {word.value: (word.test_samples, word.epsilon) for word in Dataset} == {
        "cifar10": (10_000, "8/255"),
        "svhn": (26_032, "8/255"),
        "imagenet": (50_000, "4/255"),
        "cifar100": (10_000, "8/255"),
        "tiny-imagenet": (10_000, "4/255"),
    }


def test_the_classes_of_a_test_set_add_up() -> None:
    assert [(len(word.class_counts), sum(word.class_counts)) for word in Dataset] == [
        (10, 10_000), (10, 26_032), (1000, 50_000), (100, 10_000), (200, 10_000),
    ]  # fmt: skip


def test_only_custom_runs_never_rank() -> None:
    assert [protocol for protocol in Protocol if not protocol.ranks] == [Protocol.CUSTOM]


@pytest.mark.parametrize(
    ("objective", "number"),
    [
        (Objective.AT_PGD, 12), (Objective.TRADES, 14), (Objective.MART, 35), (Objective.AT_UNLABELED, 33),
        (Objective.LBGAT, 36), (Objective.AT_FGSM, 45), (Objective.AT_FAST, 38), (Objective.AT_SCALE, 57),
        (Objective.AT_FEATURES, 43), (Objective.CNI, 40), (Objective.KD, 5),
    ],
)  # fmt: skip
def test_objectives_cite_the_paper_that_the_survey_cites(objective: Objective, number: int) -> None:
    assert load_references()[str(objective.citation)].number == number


def test_the_reference_list_is_the_survey_and_its_bibliography() -> None:
    references = load_references()
    numbers = [reference.number for reference in references.values() if reference.number is not None]
    assert numbers[:70] == list(range(1, 71))
    assert "Piras2024Adversarial" in references
    assert references["Piras2024Adversarial"].number is None
    for key, reference in references.items():
        assert reference.key == key
        assert reference.authors
        assert reference.title
        assert reference.venue
        assert str(reference.year) in key or (key == SURVEY and str(reference.year - 1) in key)
        assert reference.url is None or reference.url.startswith("https://")


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_budget_is_the_quotient_of_its_text(numerator: int, denominator: int) -> None:
    text = f"{numerator}/{denominator}"
    if numerator <= denominator:
        assert epsilon_value(text) == numerator / denominator
    else:
        with pytest.raises(ValueError, match=r"epsilon must be in \(0, 1\]"):
            epsilon_value(text)


@pytest.mark.parametrize(
    "text", ["", "8", "8/", "/255", "8/255/1", "0.031", "-8/255", "8/0", "8/255\n", "٨/255", "8 /255", "1/1000000"]
)
def test_a_budget_that_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="epsilon must be a fraction such as '8/255'"):
        epsilon_value(text)


def test_a_budget_of_zero_is_refused() -> None:
    """Robust accuracy at 0 is clean accuracy, not a threat model."""
    with pytest.raises(ValueError, match=r"epsilon must be in \(0, 1\]"):
        epsilon_value("0/255")
