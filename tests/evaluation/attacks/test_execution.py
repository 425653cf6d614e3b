"""Pass counting, lanes and predictions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from apsite.errors import NetworkError
from apsite.evaluation.attacks.execution import CountedNetwork, StoppedError, as_inputs, predict
from apsite.evaluation.attacks.lanes import Lanes, batch_slices


def test_passes_are_counted_by_kind(many_boundaries, grey_images):
    counted = CountedNetwork(many_boundaries)
    with torch.no_grad():
        counted(grey_images[:5])
    counted(grey_images[:3].clone().requires_grad_())
    passes = counted.take_passes()
    assert (passes.forward, passes.backward) == (5, 3)
    assert counted.take_passes().forward == 0


def test_a_pass_is_counted_outside_of_what_a_graph_captures(many_boundaries, grey_images):
    counted = CountedNetwork(many_boundaries)
    logits = counted.forward(grey_images[:5])
    assert torch.equal(logits, many_boundaries(grey_images[:5]))
    assert (counted.forward_passes, counted.backward_passes) == (0, 0)
    counted.count(logits, gradient=True)
    counted.count(torch.full((2, 3), float("nan")), gradient=False)
    assert (counted.forward_passes, counted.backward_passes) == (2, 5)
    with pytest.raises(NetworkError, match="NaN or infinite logits"):
        counted.take_passes()


def test_passes_from_several_threads_are_all_counted(many_boundaries, grey_images):
    """Lanes share one counter and one listener."""
    counted, heard = CountedNetwork(many_boundaries), []
    counted.listener = heard.append
    with Lanes(4) as lanes:
        lanes.run([lambda: [counted(grey_images[:2]) for _ in range(50)]] * 8)
    assert counted.take_passes().forward == sum(heard) == 800


def test_a_failure_in_one_lane_ends_the_others(many_boundaries, grey_images):
    counted = CountedNetwork(many_boundaries)

    def endless():
        while True:
            counted(grey_images[:1])

    def failing():
        raise ValueError("lost")

    with Lanes(2, counted.stop) as lanes, pytest.raises(ValueError, match="lost"):
        lanes.run([endless, failing])
    with pytest.raises(StoppedError):
        counted(grey_images[:1])


@given(st.integers(1, 300), st.sampled_from([1, 9]), st.integers(1, 128), st.integers(1, 8))
def test_shares_cover_all_samples_and_fill_the_lanes(count, each, rows, lanes):
    """Every sample is in one share, none is too large, and no lane has a sample a round more than its part."""
    parts = batch_slices(count, each, rows, lanes)
    assert [position for part in parts for position in range(part.start, part.stop)] == list(range(count))
    assert all(1 <= part.stop - part.start <= max(1, rows // each) for part in parts)
    rounds = -(-len(parts) // lanes)
    assert rounds * max(part.stop - part.start for part in parts) < count / lanes + rounds


def test_predictions_do_not_depend_on_the_batch_size(demo_network, images):
    cpu = torch.device("cpu")
    _, small = predict(demo_network, images.images[:50], cpu, 7)
    logits, large = predict(demo_network, images.images[:50], cpu, 256)
    assert np.array_equal(small, large)
    assert logits.shape == (50, 10)


def test_inputs_are_in_the_unit_interval(images):
    x = as_inputs(images.images[:4], torch.device("cpu"))
    assert torch.equal(x, torch.from_numpy(images.images[:4]).float() / 255)
