"""Pass counting, folding and predictions."""

import numpy as np
import torch
from torch import nn

from apsite.evaluation.execution import CountedNetwork, as_inputs, folded, predict


def test_passes_are_counted_by_kind(many_boundaries, grey_images):
    """Samples without and with input gradient are counted apart, and the count starts again when taken."""
    counted = CountedNetwork(many_boundaries)
    with torch.no_grad():
        counted(grey_images[:5])
    counted(grey_images[:3].clone().requires_grad_())
    passes = counted.take_passes()
    assert (passes.forward, passes.backward) == (5, 3)
    assert counted.take_passes().forward == 0


def test_a_folded_network_has_the_same_logits_and_no_batch_norm(demo_network, images):
    """Folding removes every batch norm behind a convolution and changes logits by rounding only."""
    x = as_inputs(images.images[:16], torch.device("cpu"))
    faster = folded(demo_network, x)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in faster.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in demo_network.modules())
    with torch.no_grad():
        assert torch.allclose(faster(x), demo_network(x), atol=1e-4)


def test_a_network_that_cannot_be_traced_is_used_as_it_is():
    """Control flow that depends on data cannot be folded; the network itself comes back."""

    class Dynamic(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] if float(x.sum()) > 0 else x.flatten(1)[:, 3:6]

    network = Dynamic()
    assert folded(network, torch.ones(1, 3, 4, 4)) is network


def test_predictions_do_not_depend_on_the_batch_size(demo_network, images):
    """Batches of 7 and of 256 give the same classes."""
    cpu = torch.device("cpu")
    _, small = predict(demo_network, images.images[:50], cpu, 7)
    logits, large = predict(demo_network, images.images[:50], cpu, 256)
    assert np.array_equal(small, large)
    assert logits.shape == (50, 10)


def test_inputs_are_in_the_unit_interval(images):
    """0..255 becomes 0..1 exactly."""
    x = as_inputs(images.images[:4], torch.device("cpu"))
    assert torch.equal(x, torch.from_numpy(images.images[:4]).float() / 255)
