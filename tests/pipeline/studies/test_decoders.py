"""Decoders of steps on data small enough to know what can be read."""

import pytest
import torch

from neuroloom.pipeline.studies import _decoders
from neuroloom.pipeline.studies._decoders import (
    Components,
    Scaler,
    cross_fitted,
    known_rows,
    linear,
    mlp,
    nats,
    side_by_side,
    windowed,
)


def noisy(n=200, seed=0):
    """Two classes, told by one of two features; their best nats are far below log 2."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (n,), generator=generator)
    x = torch.randn(n, 2, generator=generator)
    x[:, 0] += 4.0 * y
    return x - x.mean(0), y


def exclusive(n=400, seed=0):
    """A class that only the product of two features tells."""
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0] * x[:, 1] > 0).long()


def test_a_window_holds_the_last_steps_newest_first():
    e = torch.tensor([[[1.0], [2.0], [3.0]]])
    assert windowed(e, 2)[0].tolist() == [[1, 0], [2, 1], [3, 2]]


def test_a_flat_channel_stays_flat():
    scaler = Scaler.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert scaler(torch.tensor([[3.0, 9.0]])).tolist() == [[1.0, 0.0]]


def test_what_is_not_known_is_scaled_to_nothing():
    scaler = Scaler.of(torch.tensor([[1.0], [3.0], [float("nan")]]))
    assert scaler(torch.tensor([[float("nan")], [3.0]])).tolist() == [[0.0], [1.0]]


LOUD_AND_QUIET = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])


@pytest.mark.parametrize(("flatness", "ratio"), [(0.0, 4.0), (0.5, 2.0), (1.0, 1.0)])
def test_a_loud_component_is_brought_nearer_to_a_quiet_one(flatness, ratio):
    variance = Components.of(LOUD_AND_QUIET, flatness)(LOUD_AND_QUIET).square().mean(dim=0)
    assert float(variance.max() / variance.min()) == pytest.approx(ratio)


def test_what_is_no_louder_than_the_noise_is_left_out():
    kept = Components.above_noise(LOUD_AND_QUIET)(LOUD_AND_QUIET).square().mean(dim=0)
    assert sorted(kept.tolist()) == pytest.approx([0.0, 2.0 * (1 - 0.5 / 2.0) ** 2], abs=1e-6)


def test_components_that_are_not_flattened_keep_distances():
    turned = Components.of(LOUD_AND_QUIET, 0.0)(LOUD_AND_QUIET)
    assert turned @ turned.T == pytest.approx(LOUD_AND_QUIET @ LOUD_AND_QUIET.T, abs=1e-6)


def test_a_component_that_nothing_fills_stays_empty():
    rows = torch.stack([LOUD_AND_QUIET[:, 0], LOUD_AND_QUIET[:, 0]], dim=1)
    variance = Components.of(rows, 1.0)(rows).square().mean(dim=0)
    assert sorted(variance.tolist()) == pytest.approx([0.0, 1.0], abs=1e-6)


def test_components_of_what_is_not_known_are_not_known():
    nan = float("nan")
    rows = torch.cat([LOUD_AND_QUIET, torch.tensor([[nan, 1.0]])])
    found = Components.of(rows, 1.0)(rows)
    assert found[-1].isnan().all()
    assert not found[:-1].isnan().any()


def test_a_linear_decoder_reads_a_class():
    assert nats(linear(*noisy(), 2, 1e-3), *noisy(seed=1)) < 0.15


def test_a_small_network_reads_what_no_linear_decoder_can():
    x, y = exclusive()
    held = exclusive(seed=1)
    assert nats(linear(x, y, 2, 1e-3), *held) > 0.65
    assert nats(mlp((x, y), held, 2, epochs=60), *held) < 0.4


def test_rows_of_unknown_class_are_not_fitted_to():
    x, y = noisy()
    y[::2] = _decoders.UNKNOWN
    assert nats(linear(x, y, 2, 1e-3), *noisy(seed=1)) < 0.15


def test_a_sequence_is_decoded_by_what_was_fitted_on_others():
    """Noise with one class per sequence: fitted on itself a decoder would know it, fitted on others it cannot."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 4, 300, generator=generator), torch.randint(2, (6, 4), generator=generator)
    own = linear(x.flatten(0, 1), y.flatten(), 2, 1e-4)
    assert nats(own, x.flatten(0, 1), y.flatten()) < 0.05
    found = cross_fitted(x, y, lambda known: linear(*known, 2, 1e-4))
    assert float(-found.gather(-1, y[..., None]).mean()) > 0.5


def test_one_sequence_cannot_be_decoded_by_others():
    with pytest.raises(ValueError, match="two at least"):
        cross_fitted(torch.zeros(1, 4, 2), torch.zeros(1, 4, dtype=torch.long), lambda known: linear(*known, 2, 0.1))


def test_kinds_of_features_weigh_the_same_by_what_the_training_sequences_hold():
    loud, quiet = torch.full((4, 3, 2), 50.0), torch.full((4, 3, 8), 0.1)
    quiet[3] = 1e6  # not a training sequence
    quiet[0, 0, 0] = torch.nan
    both = side_by_side([loud, quiet], torch.arange(3))
    lengths = [part[:3].square().sum(dim=-1).mean().sqrt() for part in (both[..., :2], both[..., 2:])]
    assert lengths == pytest.approx([_decoders.ROW_LENGTH] * 2, rel=1e-4)
    assert both[0, 0, 2] == 0


def test_what_is_shown_tells_a_network_what_electrodes_do_not():
    """The class is whether an electrode is positive, turned round where the other of two symbols is shown."""
    generator = torch.Generator().manual_seed(0)
    e, shown = torch.randn(60, 8, 3, generator=generator), torch.randint(2, (60, 8), generator=generator)
    y = ((e[..., 0] > 0).long() + shown) % 2
    x = side_by_side([e, torch.nn.functional.one_hot(shown, 2).float()], torch.arange(60))
    held = known_rows(x[50:], y[50:])
    found = cross_fitted(x[:50], y[:50], lambda known: mlp(known, held, 2, epochs=60))
    assert float(-found.gather(-1, y[:50, :, None]).mean()) < 0.45
    blind = cross_fitted(e[:50], y[:50], lambda known: linear(*known, 2, 1e-3))
    assert float(-blind.gather(-1, y[:50, :, None]).mean()) > 0.65
