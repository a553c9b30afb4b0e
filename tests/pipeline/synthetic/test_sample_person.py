import numpy as np
import pytest

from neuroloom.pipeline.synthetic.sample_brain import live
from neuroloom.pipeline.synthetic.sample_devices import (
    BAD_EEG_CHANNELS,
    CLOCKS,
    EEG_POSITIONS,
    lead_field,
    record_person,
)


@pytest.fixture(scope="module")
def brain():
    return live(60.0, seed=3)


def test_the_same_seed_is_the_same_life(brain):
    assert np.array_equal(brain.state_TA, live(60.0, seed=3).state_TA)


def test_choices_follow_the_stimulus_mostly(brain):
    assert 0.7 <= (brain.choice == brain.side).mean() < 1


def test_units_fire_at_their_rates(brain):
    counts = np.array([t.size for t in brain.spike_times_s])
    expected = brain.binned_rate(0.02, 3000).sum(axis=0)
    assert np.abs(counts - expected).max() < 0.15 * expected.max()  # refractoriness takes a few per cent


def test_no_unit_fires_within_two_milliseconds(brain):
    assert min(np.diff(times).min() for times in brain.spike_times_s) > 0.002


def test_device_clocks_invert():
    times = np.array([0.0, 100.0])
    for clock in CLOCKS.values():
        assert clock.true_seconds(clock.seconds(times)) == pytest.approx(times)


def test_lead_field_is_average_referenced_and_strongest_over_the_area():
    gain = lead_field()
    assert gain.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert list(EEG_POSITIONS)[int(gain[:, 0].argmax())] in ("O1", "O2")  # V1


def test_devices_write_their_files(tmp_path):
    record_person(tmp_path, duration_s=10)
    suffixes = {path.suffix for path in tmp_path.iterdir()}
    assert suffixes == {".bin", ".meta", ".eeg", ".vhdr", ".vmrk", ".asc", ".toml"}
    assert set(BAD_EEG_CHANNELS) <= set(EEG_POSITIONS)
