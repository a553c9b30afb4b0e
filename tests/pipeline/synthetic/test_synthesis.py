"""Electrodes for models, on states whose answer is known."""

import numpy as np
import pytest

from neuroloom.pipeline.synthetic import synthesis
from neuroloom.pipeline.synthetic.synthesis import (
    ElectrodeConfig,
    capacity_bits,
    filtered,
    implant,
    participation_ratio,
)

STEPS, D = 4000, 16


def states(seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    return {"block0": (scale * rng.standard_normal((STEPS, D))).astype(np.float32)}


def recorded(**settings):
    return implant(ElectrodeConfig(n_channels=8, **settings), states(1)).record(states())


def test_noise_is_as_loud_as_asked_per_channel():
    tape = recorded(snr_db=10.0)
    noise = (tape.values_TK - tape.clean_TK).var(axis=0)
    assert 10 * np.log10(tape.clean_TK.var(axis=0) / noise) == pytest.approx(np.full(8, 10.0), abs=0.5)


def test_without_noise_nothing_is_added():
    tape = recorded(snr_db=float("inf"))
    assert np.array_equal(tape.values_TK, tape.clean_TK)
    assert tape.facts.capacity_bits == float("inf")


def test_noise_belongs_to_the_recording():
    assert np.array_equal(recorded().values_TK, recorded().values_TK)
    assert not np.array_equal(recorded().values_TK, recorded(noise_seed=1).values_TK)


def test_a_subject_has_electrodes_of_its_own():
    assert not np.array_equal(recorded(snr_db=np.inf).clean_TK, recorded(snr_db=np.inf, subject_seed=1).clean_TK)


def test_a_layers_loudness_does_not_matter():
    loud = implant(ElectrodeConfig(n_channels=8), states(1, 300.0)).record(states(0, 300.0))
    assert loud.clean_TK == pytest.approx(recorded().clean_TK, rel=1e-4, abs=1e-5)


def test_a_scalp_has_few_spatial_dimensions():
    tape = recorded(kind="eeg", rank=3, snr_db=np.inf)
    assert np.linalg.matrix_rank(tape.clean_TK, tol=1e-2) == 3


def test_spikes_are_counts_of_the_mean_asked_for():
    tape = recorded(kind="spikes", spikes_per_step=0.5)
    assert np.array_equal(tape.values_TK, np.round(tape.values_TK))
    assert tape.values_TK.mean() == pytest.approx(0.5, rel=0.05)


def test_dead_channels_carry_noise_of_nothing():
    tape = recorded(dead=0.25)
    assert (tape.clean_TK.std(axis=0) == 0).sum() == 2


def test_a_burst_is_on_all_channels():
    quiet, spoiled = recorded(), recorded(bursts=0.01)
    hit = (quiet.values_TK != spoiled.values_TK).all(axis=1)
    assert 0.02 < hit.mean() < 0.1


def test_a_channel_that_drops_out_is_flat_for_a_while():
    assert (recorded(dropouts=0.01).values_TK == 0).mean() > 0.1


def test_drift_turns_a_channel_to_other_units():
    still, drifting = recorded(snr_db=np.inf), recorded(snr_db=np.inf, drift=1.0)
    alike = [
        np.corrcoef(still.clean_TK[part, 0], drifting.clean_TK[part, 0])[0, 1]
        for part in (slice(200), slice(-200, None))
    ]
    assert alike[0] > 0.95
    assert abs(alike[1]) < 0.6


def test_a_low_pass_begins_at_rest():
    assert filtered(np.array([[1.0], [1.0], [3.0]], dtype=np.float32), 0.5).ravel().tolist() == [1.0, 1.0, 2.0]


def test_capacity_of_independent_channels_is_shannons():
    clean = np.random.default_rng(0).standard_normal((100_000, 2))
    assert capacity_bits(clean, np.array([3.0, 15.0])) == pytest.approx(1.0 + 2.0, abs=0.01)


def test_participation_counts_filled_dimensions():
    rng = np.random.default_rng(0)
    assert participation_ratio(rng.standard_normal((50_000, 3))) == pytest.approx(3, abs=0.01)
    assert participation_ratio(rng.standard_normal((50_000, 1)) * np.ones(3)) == pytest.approx(1)


def test_shuffled_electrodes_have_the_same_values_at_other_times():
    values = recorded().values_TK
    mixed = synthesis.shuffled(values, 0)
    assert np.array_equal(np.sort(values, axis=0), np.sort(mixed, axis=0))
    assert abs(np.corrcoef(values[:, 0], mixed[:, 0])[0, 1]) < 0.1


def test_a_surrogate_keeps_covariance_and_spectra_only():
    values = filtered(recorded().values_TK, 0.8)
    other = synthesis.surrogate(values, 0)
    assert np.cov(other.T) == pytest.approx(np.cov(values.T), abs=1e-5)
    assert np.abs(np.fft.rfft(other[:, 0]))[1:] == pytest.approx(
        np.abs(np.fft.rfft(values[:, 0]))[1:], rel=1e-3, abs=0.05
    )
    assert abs(np.corrcoef(values[:, 0], other[:, 0])[0, 1]) < 0.3


def test_a_layer_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no layer 'block7' to record; there are block0"):
        implant(ElectrodeConfig(layers=("block7",)), states())


@pytest.mark.parametrize("kind", ["projection", "local", "sparse", "eeg", "spikes"])
def test_what_lies_outside_the_region_is_heard_by_nobody(kind):
    config = ElectrodeConfig(kind=kind, n_channels=8, coverage=0.25, snr_db=np.inf, reach=0.5)
    outside = synthesis.region(config, D) == 0
    assert outside.sum() == 12
    electrodes, changed = implant(config, states(1)), states()
    before = electrodes.record(states())
    changed["block0"][:, outside] += 100.0
    assert np.array_equal(electrodes.record(changed).clean_TK, before.clean_TK)
    assert before.facts.heard <= 4


def test_a_region_holds_neighbours_and_is_the_subjects():
    places = {tuple(synthesis.region(ElectrodeConfig(coverage=0.25, subject_seed=seed), D)) for seed in range(8)}
    assert len(places) > 1
    for place in places:
        assert np.abs(np.diff([*place, place[0]])).sum() == 2  # it begins once and ends once, around the ring


def test_a_sparse_electrode_hears_a_few_units_each_its_own():
    weights = synthesis.placed(ElectrodeConfig(kind="sparse", n_channels=8, reach=0.25), D, 0)
    assert (np.count_nonzero(weights, axis=0) == 4).all()
    assert len({tuple(np.flatnonzero(column)) for column in weights.T}) > 1


def test_channels_differ_in_their_noise_where_that_is_asked_for():
    tape = recorded(snr_db=0.0, snr_spread_db=6.0)
    measured = 10 * np.log10(tape.clean_TK.var(axis=0) / (tape.values_TK - tape.clean_TK).var(axis=0))
    asked = synthesis.snr_of_channels(ElectrodeConfig(n_channels=8, snr_db=0.0, snr_spread_db=6.0))
    assert measured == pytest.approx(asked, abs=0.6)
    assert tape.facts.snr_high_db - tape.facts.snr_low_db == pytest.approx(np.ptp(asked), abs=0.6)
