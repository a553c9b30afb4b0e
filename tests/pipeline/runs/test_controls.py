"""Controls keep what they must keep and break what they must break."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neuroloom.pipeline.runs.controls import phase_randomised
from neuroloom.pipeline.runs.windowing import Windows, windows

Simulate = Callable[..., Any]


@pytest.fixture(scope="module")
def session(simulated: Simulate) -> Any:
    return simulated(duration_s=240, n_units=8).session


@pytest.fixture(scope="module")
def data(session: Any) -> Windows:
    return windows([session], length_s=1.0)


@pytest.fixture(scope="module")
def shuffled(session: Any) -> Windows:
    return windows([session], length_s=1.0, shuffle_recording=True)


@pytest.fixture(scope="module")
def surrogate(session: Any) -> Windows:
    return windows([session], length_s=1.0, surrogate=True)


def in_block(data: Windows, port: str, split: str = "train") -> np.ndarray:
    (one,) = data.sessions.values()
    return np.concatenate([one.targets_at(port, *block)[0] for block in one.blocks[split]])


@pytest.mark.parametrize("port", ["gaze", "trials_choice"])
def test_behaviour_is_not_touched(data: Windows, shuffled: Windows, surrogate: Windows, port: str) -> None:
    for control in (shuffled, surrogate):
        np.testing.assert_array_equal(in_block(control, port), in_block(data, port))


@pytest.mark.parametrize("split", ["train", "validation", "held_out"])
def test_a_shuffled_recording_has_the_same_values_at_other_times(data: Windows, shuffled: Windows, split: str) -> None:
    before, after = in_block(data, "units", split), in_block(shuffled, "units", split)
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    assert np.abs(np.corrcoef(before.mean(1), after.mean(1))[0, 1]) < 0.3


def test_shuffling_keeps_what_ports_say_of_each_other(data: Windows, shuffled: Windows) -> None:
    before, after = (np.concatenate([in_block(d, "units"), in_block(d, "eeg")], axis=1) for d in (data, shuffled))
    np.testing.assert_allclose(np.corrcoef(before.T), np.corrcoef(after.T), atol=1e-5)


def test_shuffling_breaks_what_the_recording_says_of_behaviour(data: Windows, shuffled: Windows) -> None:
    def best(d: Windows) -> float:
        eeg, gaze = in_block(d, "eeg"), in_block(d, "gaze")
        return float(np.abs(np.corrcoef(eeg.T, gaze.T)[:3, 3:]).max())

    assert best(data) > 0.5
    assert best(shuffled) < 0.25


def test_masks_move_with_the_values(session: Any) -> None:
    plain = windows([session], length_s=1.0)
    (one,) = plain.sessions.values()
    one.features["units"].valid[one.features["units"].values.sum(1) > 3] = False
    from neuroloom.pipeline.runs.controls import shuffled as shuffle

    (moved,) = shuffle(plain).sessions.values()
    for block in (b for blocks in moved.blocks.values() for b in blocks):
        made = moved.features["units"]
        busy = made.values[slice(*block)].sum(1) > 3
        assert not made.valid[slice(*block)][busy].any()
        assert made.valid[slice(*block)][~busy].all()


def test_in_gaps_between_splits_a_control_knows_nothing(shuffled: Windows) -> None:
    (one,) = shuffled.sessions.values()
    blocks = sorted(b for blocks in one.blocks.values() for b in blocks)
    gap = slice(blocks[0][1], blocks[1][0])
    assert not one.features["eeg"].valid[gap].any()


def test_a_surrogate_keeps_covariance_and_spectra_of_signals() -> None:
    rng = np.random.default_rng(0)
    latent = np.convolve(rng.standard_normal(1030), np.ones(31) / 31, mode="valid")
    values = np.stack([latent, latent + 0.05 * rng.standard_normal(1000), rng.standard_normal(1000)], axis=1)
    known = np.ones_like(values, dtype=bool)
    found = phase_randomised(values, known, np.zeros(3, dtype=bool), np.random.default_rng(1))
    np.testing.assert_allclose(np.cov(found.T), np.cov(values.T), atol=1e-10)
    spectra = [np.abs(np.fft.rfft(x - x.mean(0), axis=0)) for x in (values, found)]
    np.testing.assert_allclose(*spectra, atol=1e-8)
    assert abs(np.corrcoef(found[:, 0], values[:, 0])[0, 1]) < 0.5


def test_a_surrogate_of_spikes_has_each_units_counts_and_nearly_their_covariance(
    data: Windows, surrogate: Windows
) -> None:
    (one,) = data.sessions.values()
    (other,) = surrogate.sessions.values()
    for first, last in one.blocks["train"]:
        before, after = (np.asarray(d.features["units"].values[first:last]) for d in (one, other))
        np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))
    before, after = in_block(data, "units"), in_block(surrogate, "units")
    upper = np.triu_indices(8, 1)
    correlations = [np.corrcoef(x.T)[upper] for x in (before, after)]
    assert np.corrcoef(*correlations)[0, 1] > 0.95
    assert np.abs(correlations[0] - correlations[1]).max() < 0.1


def test_a_surrogate_says_nothing_of_behaviour(data: Windows, surrogate: Windows) -> None:
    eeg, gaze = in_block(surrogate, "eeg"), in_block(surrogate, "gaze")
    assert np.abs(np.corrcoef(eeg.T, gaze.T)[:3, 3:]).max() < 0.25


def test_a_control_is_said_and_repeatable(session: Any, shuffled: Windows, surrogate: Windows) -> None:
    assert (shuffled.control, surrogate.control) == ("shuffled recording", "surrogate")
    again = windows([session], length_s=1.0, shuffle_recording=True)
    np.testing.assert_array_equal(in_block(again, "units"), in_block(shuffled, "units"))
    other = windows([session], length_s=1.0, shuffle_recording=True, seed=1)
    assert not np.array_equal(in_block(other, "units"), in_block(shuffled, "units"))


def test_two_controls_at_once_are_refused(session: Any) -> None:
    with pytest.raises(ValueError, match="a control is one of them"):
        windows([session], shuffle_recording=True, surrogate=True)
