"""Method keys and model keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsite import numbers
from apsite.documents.schema import load_schema
from apsite.keys import METHOD_KEY, ModelKey
from apsite.vocabulary import Architecture, Dataset, Structure

METHOD = "HARP_Zhao2023Holistic"

NETWORKS, DATASETS = ("|".join(term.code for term in kind) for kind in (Architecture, Dataset))

method_keys = st.from_regex(METHOD_KEY, fullmatch=True)
networks = st.sampled_from(Architecture)
datasets = st.sampled_from(Dataset)
percents = st.integers(1, 99) | st.integers(100, 9999).map(lambda hundredths: hundredths / 100)
pruned_keys = st.builds(ModelKey, method_keys, networks, datasets, st.sampled_from(Structure), percents)
dense_keys = st.builds(ModelKey, method_keys, networks, datasets, st.none(), st.none())


@given(pruned_keys | dense_keys)
def test_a_model_key_reads_back_as_itself(key: ModelKey) -> None:
    assert ModelKey.parse(str(key)) == key


@given(pruned_keys | dense_keys)
def test_the_schemas_accept_every_model_key(key: ModelKey) -> None:
    assert re.search(load_schema("record")["$defs"]["model_key"]["pattern"], str(key))


@given(method_keys, networks, datasets, st.sampled_from(Structure), st.integers(100, 9999))
def test_a_key_of_words_and_a_fraction_has_percent_without_needless_decimals(
    method: str, network: Architecture, dataset: Dataset, structure: Structure, hundredths: int
) -> None:
    key = ModelKey.of(method, network, dataset, structure, hundredths / 10_000)
    assert (key.percent, key.sparsity) == (hundredths / 100, hundredths / 10_000)
    assert isinstance(key.percent, int) == (hundredths % 100 == 0)
    whole, decimals = divmod(hundredths, 100)
    assert key.percent_code == (f"{whole}p{decimals:02}".rstrip("0") if decimals else f"{whole}")
    assert str(key).endswith(f"_{structure.code}_{key.percent_code}")


@pytest.mark.parametrize(("sparsity", "code", "label", "compared"), [
    (0.90, "90", "90 %", True),
    (0.995, "99p5", "99.5 %", False),
    (0.9375, "93p75", "93.75 %", False),  # a level of the survey's Table 9
    (0.9005, "90p05", "90.05 %", False),
    (0.80, "80", "80 %", False),
])  # fmt: skip
def test_a_sparsity_has_one_text_in_keys_and_one_on_pages(
    sparsity: float, code: str, label: str, compared: bool
) -> None:
    key = ModelKey.of(METHOD, Architecture.RESNET18, Dataset.CIFAR10, Structure.UNSTRUCTURED, sparsity)
    assert str(key) == f"{METHOD}_R18_CIFAR10_US_{code}"
    assert ModelKey.parse(str(key)) == key
    assert (key.sparsity, f"{key.percent} %", numbers.sparsity(sparsity), key.compared) == (
        sparsity, label, label, compared,
    )  # fmt: skip


def test_a_dense_key_has_no_structure_and_sparsity_zero() -> None:
    key = ModelKey.of(METHOD, Architecture.VGG16, Dataset.SVHN, None, 0.0)
    assert str(key) == f"{METHOD}_V16_SVHN_dense"
    assert (key.structure, key.percent, key.sparsity) == (None, None, 0.0)


def test_a_published_key_is_spelt_as_in_the_survey() -> None:
    key = ModelKey.parse(f"{METHOD}_R18_CIFAR10_US_90")
    assert key == ModelKey(METHOD, Architecture.RESNET18, Dataset.CIFAR10, Structure.UNSTRUCTURED, 90)


@pytest.mark.parametrize(("text", "message"), [
    ("", f"is not of the form <method key>_<{NETWORKS}>_<{DATASETS}>_<US|S|SS>_<percent>"),
    (METHOD, "is not of the form <method key>_"),
    (f"{METHOD}_R18_CIFAR10", "is not of the form"),
    (f"{METHOD}_R18_CIFAR10_US", "is not of the form"),
    (f"{METHOD}_R18_CIFAR10_US_90_x", "is not of the form"),
    (f"{METHOD}_R18_CIFAR10_Dense", "is not of the form"),
    (f"{METHOD}_R99_CIFAR10_US_90", "architecture 'R99' is not one of R18, V16, R50, R8"),
    (f"{METHOD}_R99_CIFAR10_dense", "architecture 'R99' is not one of R18, V16, R50, R8"),
    (f"{METHOD}_R18_cifar10_US_90", "dataset 'cifar10' is not one of CIFAR10, SVHN, ImageNet"),
    (f"{METHOD}_R18_CIFAR10_us_90", "structure 'us' is not one of US, S"),
    (f"{METHOD}_R18_CIFAR10_US_0", "sparsity '0' is not a percentage from 1 to 99.99 with at most two decimals"),
    (f"{METHOD}_R18_CIFAR10_US_100", "sparsity '100' is not a percentage from 1 to 99.99 with at most two decimals"),
    (f"{METHOD}_R18_CIFAR10_US_9.5", "sparsity '9.5' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_95p0", "such as 90, 99p5 or 93p75, without a zero at the end"),
    (f"{METHOD}_R18_CIFAR10_US_93p750", "sparsity '93p750' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_90p50", "sparsity '90p50' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_0p5", "sparsity '0p5' is not a percentage from 1 to 99.99"),
    (f"{METHOD}_R18_CIFAR10_US_95p", "sparsity '95p' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_95P5", "sparsity '95P5' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_09", "sparsity '09' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_90\n", r"sparsity '90\n' is not a percentage"),
    (f"{METHOD}_R18_CIFAR10_US_٩٠", "is not a percentage"),
    ("HARP_zhao2023Holistic_R18_CIFAR10_US_90", "method key 'HARP_zhao2023Holistic' is not of the form"),
    ("HARP_Zhao23Holistic_R18_CIFAR10_US_90", "<Name>_<FirstAuthor><Year><FirstTitleWord>"),
    ("HÄRP_Zhao2023Holistic_R18_CIFAR10_US_90", "such as 'HARP_Zhao2023Holistic'"),
])  # fmt: skip
def test_a_malformed_model_key_says_which_part_is_wrong_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelKey.parse(text)


@pytest.mark.parametrize(("structure", "sparsity", "message"), [
    (Structure.UNSTRUCTURED, 0.93751, "with at most two decimals, such as 0.90, 0.995 or 0.9375, not 0.93751"),
    (Structure.UNSTRUCTURED, 0.99999, "must be a percentage from 1 to 99.99"),
    (Structure.UNSTRUCTURED, float("nan"), "sparsity must be a fraction such as 0.90"),
    (Structure.UNSTRUCTURED, 90, "sparsity must be a fraction such as 0.90"),
    (Structure.UNSTRUCTURED, 0.0, "must be a percentage from 1 to 99.99 with"),
    (Structure.UNSTRUCTURED, 1.0, "sparsity must be a fraction such as 0.90"),
    (Structure.STRUCTURED, -0.5, "sparsity must be a fraction such as 0.90"),
    (None, 0.9, "a dense model has neither structure nor sparsity"),
])  # fmt: skip
def test_parts_that_contradict_each_other_make_no_key(
    structure: Structure | None, sparsity: float, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ModelKey.of(METHOD, Architecture.RESNET18, Dataset.CIFAR10, structure, sparsity)


@pytest.mark.parametrize(("structure", "percent"), [(Structure.UNSTRUCTURED, None), (None, 90)])
def test_structure_and_percentage_go_together(structure: Structure | None, percent: int | None) -> None:
    with pytest.raises(ValueError, match="a dense model has neither structure nor sparsity; a pruned one has both"):
        ModelKey(METHOD, Architecture.RESNET18, Dataset.CIFAR10, structure, percent)


def test_a_network_of_no_registered_family_has_a_key() -> None:
    key = ModelKey.parse("HARP_Zhao2023Holistic_other-My-Net_CIFAR10_US_90")
    network = Architecture("other:My-Net")
    assert key.architecture is network
    assert (str(key).split("_")[2], network.label, network.registered) == ("other-My-Net", "My-Net", False)
    assert network not in list(Architecture)
    assert sorted([network, Architecture.RESNET8]) == [Architecture.RESNET8, network]
    for name in ("My Net", "", "a" * 31, "-x", "Größe", "a_b", "a\n"):
        with pytest.raises(ValueError, match="not a valid Architecture"):
            Architecture(f"other:{name}")
