"""Fitting checkpoints to networks: strict, whatever wrapped the weights, and never with random ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import apsite
from apsite.errors import CheckpointError, NetworkError
from apsite.evaluation.checkpoints.loading import Declared, explain_layouts, load_network, open_network
from apsite.evaluation.checkpoints.networks.registry import layouts
from apsite.vocabulary import Architecture, Dataset
from tests.fitting import X, checkpoint_of, equal_outputs, logits, network_of

RESNET8, RESNET18, VGG16 = Architecture.RESNET8, Architecture.RESNET18, Architecture.VGG16
BIRD = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])


@pytest.fixture
def small():
    return network_of("resnet8")


@pytest.fixture(scope="module")
def large():
    return network_of("base_resnet18")


# --- the public function ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["resnet8", Architecture.RESNET8])
@pytest.mark.parametrize("kind", [str, Path])
def test_load_network_gives_the_network_of_a_file(tmp_path, small, architecture, kind):
    path = tmp_path / "a.pt"
    torch.save({"state_dict": small.state_dict()}, path)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    network = apsite.load_network(kind(path), architecture=architecture)
    assert torch.equal(torch.rand(3), expected)
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(logits(network), logits(small))


def test_load_network_takes_the_name_of_a_layout_as_architecture(tmp_path):
    """For a new method whose file has the tensors of a published one."""
    network = network_of("robustbird_resnet18")
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors", architecture="flyingbird_resnet18", dataset="svhn")
    assert torch.equal(logits(loaded), logits(network))


def test_load_network_refuses_words_it_does_not_know(tmp_path, small):
    save_file(small.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(NetworkError, match=r"'alexnet' is not one of resnet18, vgg16, .*, nor a factory"):
        load_network(tmp_path / "a.safetensors", architecture="alexnet")
    with pytest.raises(ValueError, match="'mnist' is not a valid Dataset"):
        load_network(tmp_path / "a.safetensors", architecture="resnet8", dataset="mnist")


# --- wrappers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "module.model.", "module.basic_model.", "net.", "_orig_mod.", "module.module.", "1."],
)
def test_prefixes_of_wrappers_are_removed_and_reported(small, prefix):
    """DataParallel, attack wrappers and compiled modules put names before those of the network."""
    state = {prefix + name: value for name, value in small.state_dict().items()}
    fitted = open_network(checkpoint_of(state), Declared(RESNET8))
    assert equal_outputs(fitted, small)
    assert fitted.notes == (f"Prefix {prefix!r} removed from the names of tensors.",)


def test_a_prefix_of_some_tensors_only_is_an_error(small):
    state = dict(small.state_dict())
    state["module.linear.bias"] = state.pop("linear.bias")
    with pytest.raises(CheckpointError, match=r"1 missing \(linear.bias\); 1 unexpected \(module.linear.bias\)"):
        open_network(checkpoint_of(state), Declared(RESNET8))


@pytest.mark.parametrize("prefix", ["", "model.", "module.model.", "module."])
def test_a_layout_whose_own_names_start_with_a_prefix_fits_with_and_without_it(large, prefix):
    """Li20's network sits under ``model``; its own script saves the inner module."""
    state = {prefix + name: value for name, value in large.state_dict().items()}
    fitted = open_network(checkpoint_of(state), Declared(RESNET18, "Li20_Li2020Towards"))
    assert fitted.layout == "li20_resnet18"
    assert equal_outputs(fitted, large)


@pytest.fixture(scope="module")
def doubled():
    return network_of("li20_vgg16")


@pytest.mark.parametrize("form", ["both", "first", "second", "inner"])
def test_tensors_with_two_names_may_be_stored_under_either(doubled, form):
    """Li20's VGG16 registers its parts twice, and its script saves the sequence alone, with keys 0.* and 3.*."""
    state = doubled.state_dict()
    if form == "first":
        state = {name: value for name, value in state.items() if not name.startswith("model.")}
    elif form != "both":
        state = {name: value for name, value in state.items() if name.startswith("model.")}
    if form == "inner":
        state = {name.removeprefix("model."): value for name, value in state.items()}
    fitted = open_network(checkpoint_of(state), Declared(VGG16))
    assert fitted.layout == "li20_vgg16"
    assert equal_outputs(fitted, doubled)
    assert ("87 tensors have two names, of which the file holds one." in fitted.notes) == (form != "both")


def test_two_names_of_one_tensor_must_agree(doubled):
    """Ordinary loading would silently take the last."""
    state = {**doubled.state_dict(), "model.3.3.bias": torch.ones(10)}
    with pytest.raises(CheckpointError, match=r"classifier.3.bias, model.3.3.bias are one tensor and hold different"):
        open_network(checkpoint_of(state), Declared(VGG16))


def test_old_files_without_batch_norm_counters_fit(small):
    """Before torch 0.4.1 there were none, and evaluation does not use them; some but not all is damage."""
    state = {name: value for name, value in small.state_dict().items() if not name.endswith("num_batches_tracked")}
    fitted = open_network(checkpoint_of(state), Declared(RESNET8))
    assert equal_outputs(fitted, small)
    assert "Batch-norm counters set to 0" in fitted.notes[0]
    state["bn1.num_batches_tracked"] = torch.tensor(1)
    with pytest.raises(CheckpointError, match="8 missing"):
        open_network(checkpoint_of(state), Declared(RESNET8))


# --- normalisation in the file ----------------------------------------------------------------------------------------


def with_constants(state, constants, prefix, shape=(3,)):
    mean, std = constants
    return {f"{prefix}mean": torch.tensor(mean).view(shape), f"{prefix}std": torch.tensor(std).view(shape), **state}


@pytest.mark.parametrize("outer", ["", "module."])
def test_constants_of_a_normalising_wrapper_are_applied(small, outer):
    """A sequence of a normalisation and a network, wrapped or not: the file says what its forward pass is."""
    state = {f"1.{name}": value for name, value in small.state_dict().items()}
    state = {outer + name: value for name, value in with_constants(state, BIRD, "0.", (1, 3, 1, 1)).items()}
    fitted = open_network(checkpoint_of(state), Declared(RESNET8))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in BIRD)
    assert torch.allclose(logits(fitted.network), logits(small, (X - mean) / std), atol=1e-5)
    assert "is applied before the network" in fitted.notes[-1]


def test_stored_constants_equal_to_the_layout_s_are_not_applied_twice():
    """RobustBird's older files hold the constants as buffers."""
    network = network_of("robustbird_resnet18")
    state = with_constants(network.state_dict(), BIRD, "normalize.")
    fitted = open_network(checkpoint_of(state), Declared(RESNET18, "RobustBird_Chen2021Sparsity"))
    assert equal_outputs(fitted, network)


def test_stored_constants_other_than_the_layout_s_are_an_error():
    network = network_of("robustbird_resnet18")
    state = with_constants(network.state_dict(), ([0.5] * 3, [0.5] * 3), "normalize.")
    with pytest.raises(CheckpointError, match=r"normalisation in the file \(mean \[0.5, 0.5, 0.5\].* in the layout"):
        open_network(checkpoint_of(state), Declared(RESNET18, layout="robustbird_resnet18"))


# --- which layout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (None, "base_resnet18"),
        ("New_Author2026Paper", "base_resnet18"),
        ("HARP_Zhao2023Holistic", "base_resnet18"),
        ("RADMM_Ye2019Sparsity", "radmm_resnet18"),
        ("TwinRep_Li2023Learning", "twinrep_resnet18"),
        ("PwoA_Jian2022Pruning", "pwoa_resnet18"),
    ],
)
def test_equal_layouts_are_chosen_by_the_method_and_then_by_order(large, method, name):
    """All give the same outputs, so a new method needs to say nothing."""
    assert open_network(checkpoint_of(large.state_dict()), Declared(RESNET18, method)).layout == name


@pytest.fixture(scope="module")
def biased():
    """Tensors that RADMM, RobustBird and FlyingBird share for VGG16."""
    return network_of("radmm_vgg16")


def test_layouts_with_equal_tensors_and_different_outputs_are_not_guessed(biased):
    """RADMM does not normalise inside its VGG16 and RobustBird does; the method or a name decides."""
    checkpoint = checkpoint_of(biased.state_dict())
    with pytest.raises(CheckpointError) as caught:
        open_network(checkpoint, Declared(VGG16, "New_Author2026Paper"))
    assert "fits the layouts radmm_vgg16, robustbird_vgg16_bn, flyingbird_vgg16_bn, with the same tensors" in str(
        caught.value
    )
    assert "Say which with --layout" in str(caught.value)
    plain = open_network(checkpoint, Declared(VGG16, "RADMM_Ye2019Adversarial"))
    assert equal_outputs(plain, biased)
    bird = open_network(checkpoint, Declared(VGG16, "FlyingBird_Chen2021Sparsity"))
    named = open_network(checkpoint, Declared(VGG16, "New_Author2026Paper", layout="robustbird_vgg16_bn"))
    assert torch.equal(logits(bird.network), logits(named.network))
    assert not equal_outputs(bird, biased)
    assert any(note.startswith("Inputs are normalised inside the network (mean [0.4914") for note in bird.notes)


def test_constants_in_the_file_settle_what_the_tensors_cannot(biased):
    """With the same normalisation in the file, all three give the same outputs."""
    state = with_constants(biased.state_dict(), BIRD, "normalize.")
    fitted = open_network(checkpoint_of(state), Declared(VGG16))
    bird = open_network(checkpoint_of(biased.state_dict()), Declared(VGG16, layout="robustbird_vgg16_bn"))
    assert torch.equal(logits(fitted.network), logits(bird.network))


def test_a_published_method_in_another_layout_is_noted(biased):
    """A file of a known method need not have its published layout; nothing else may be ambiguous then."""
    fitted = open_network(checkpoint_of(biased.state_dict()), Declared(VGG16, "RobustBird"))
    assert not any("Not the layout" in note for note in fitted.notes)
    network = network_of("twinrep_vgg16")
    fitted = open_network(checkpoint_of(network.state_dict()), Declared(VGG16, "HYDRA_Sehwag2020Hydra"))
    assert fitted.layout == "twinrep_vgg16"
    assert "Not the layout of HYDRA's published checkpoints; twinrep_vgg16 fits." in fitted.notes


def test_a_layout_for_named_use_is_not_found_by_its_tensors():
    """ResNet50 with the ImageNet constants inside has the tensors of the plain one."""
    network = network_of("resnet50", Dataset.IMAGENET)
    found = open_network(checkpoint_of(network.state_dict()), Declared(Architecture.RESNET50, None, Dataset.IMAGENET))
    assert found.layout == "resnet50"
    named = open_network(
        checkpoint_of(network.state_dict()),
        Declared(Architecture.RESNET50, None, Dataset.IMAGENET, layout="resnet50_normalised"),
    )
    assert named.layout == "resnet50_normalised"
    assert "Inputs are normalised inside the network (mean [0.485, 0.456, 0.406]" in " ".join(named.notes)


def test_a_named_layout_must_be_one_of_the_architecture_and_dataset(small):
    checkpoint = checkpoint_of(small.state_dict())
    with pytest.raises(
        NetworkError, match=r"layout 'base_resnet18' is not one of those for resnet8 and cifar10: resnet8"
    ):
        open_network(checkpoint, Declared(RESNET8, layout="base_resnet18"))
    with pytest.raises(CheckpointError, match=r"no layout of resnet8 is for imagenet. For another network give"):
        open_network(checkpoint, Declared(RESNET8, dataset=Dataset.IMAGENET))


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_a_wrong_architecture_is_named_with_the_right_one(large):
    with pytest.raises(CheckpointError) as caught:
        open_network(checkpoint_of(large.state_dict()), Declared(VGG16))
    message = str(caught.value)
    assert message.startswith("a.pt: does not fit any layout of vgg16 (122 tensors). It fits resnet18 (base_resnet18, ")
    assert "declare that instead" in message
    assert "\n" not in message


def test_missing_unexpected_and_misshapen_tensors_are_listed_with_the_best_layout(large):
    state = dict(large.state_dict())
    del state["layer1.0.conv1.weight"]
    state["fc.weight"], state["linear.bias"] = torch.zeros(3), torch.zeros(100)
    with pytest.raises(CheckpointError) as caught:
        open_network(checkpoint_of(state), Declared(RESNET18))
    message = str(caught.value)
    assert "Best is base_resnet18: 1 missing (layer1.0.conv1.weight); 1 unexpected (fc.weight); 1 misshapen" in message
    assert "linear.bias [100] instead of [10]" in message
    assert "mad_resnet18 23 missing; 1 unexpected; 1 misshapen" in message
    assert message.endswith("For another network give a factory, --arch path/to/file.py:factory.")


def test_a_named_layout_that_does_not_fit_is_refused_with_the_one_that_does(large):
    with pytest.raises(CheckpointError) as caught:
        open_network(checkpoint_of(large.state_dict()), Declared(RESNET18, layout="robustbird_resnet18"))
    assert "does not fit layout robustbird_resnet18 (122 tensors). It fits resnet18 (base_resnet18" in str(caught.value)


@pytest.mark.parametrize("name", ["conv1.weight", "layer2.0.bn1.running_var", "linear.bias"])
def test_no_tensor_may_be_missing(small, name):
    """Nothing is ever left at its random initialisation, statistics of batch norm included."""
    state = {key: value for key, value in small.state_dict().items() if key != name}
    with pytest.raises(CheckpointError, match=rf"1 missing \({name}\)"):
        open_network(checkpoint_of(state), Declared(RESNET8))


def test_layouts_are_explained_best_first(large):
    fits = explain_layouts(checkpoint_of(large.state_dict()))
    assert [fit.layout.name for fit in fits if fit.match.fits] == [
        "base_resnet18",
        "radmm_resnet18",
        "twinrep_resnet18",
        "li20_resnet18",
        "pwoa_resnet18",
    ]
    assert len(fits) == len(layouts())
    assert [fit.match.distance for fit in fits] == sorted(fit.match.distance for fit in fits)
    assert all(bool(fit.match.reason) != fit.match.fits for fit in fits)
    assert {fit.layout.architecture for fit in explain_layouts(checkpoint_of({}), Dataset.IMAGENET)} == {
        Architecture.RESNET50
    }
