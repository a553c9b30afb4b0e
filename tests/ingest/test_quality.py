"""Each check finds what was put in, and leaves alone what is sound."""

import numpy as np
import pytest

from neuroloom.ingest.quality import quality
from neuroloom.ingest.quality._stretches import MAX_STRETCHES, stretches
from neuroloom.ingest.streams import Segment, Signal, Units
from neuroloom.ingest.timebase import Timebase, Timestamps


def signal(samples, *, modality="eeg", unit="uV", rate_hz=500.0, gain=1.0, times_s=None):
    n_channels = samples.shape[1]
    times = Timebase(rate_hz=rate_hz, n_samples=len(samples)) if times_s is None else Timestamps(times_s=times_s)
    return Signal(
        name="s",
        modality=modality,
        segments=(Segment(samples=samples, timebase=times),),
        channel_names=tuple(f"c{i}" for i in range(n_channels)),
        unit=unit,
        gain=np.full(n_channels, gain),
        offset=np.zeros(n_channels),
    )


def noise(n_channels=8, n_samples=10_000):
    return np.random.default_rng(0).standard_normal((n_samples, n_channels)) * 20


def found(stream):
    return quality([stream])["s"]


def test_sound_channels_are_not_called_bad():
    assert found(signal(noise()))["bad_channels"] == []


def test_a_flat_channel_is_named():
    samples = noise()
    samples[:, 2] = 5.0
    assert found(signal(samples))["reasons"] == {"c2": ["flat", "constant"]}


def test_flat_means_microvolts_whatever_the_unit():
    samples = noise()
    samples[:, 1] *= 1e-3
    assert found(signal(samples * 1e-6, unit="V"))["reasons"] == {"c1": ["flat"]}


def test_a_noisy_channel_is_named_with_its_level():
    samples = noise()
    samples[:, 3] *= 10
    assert found(signal(samples))["reasons"]["c3"] == ["noisy: 10.0 times the median level"]


def test_bridged_channels_are_named_in_pairs():
    samples = noise()
    samples[:, 5] = samples[:, 4] + 0.1 * samples[:, 0]
    assert found(signal(samples))["bad_channels"] == []  # one percent of its own: near, not bridged
    samples[:, 5] = samples[:, 4] + 0.01 * samples[:, 0]
    assert found(signal(samples))["eeg"]["bridged"] == [["c4", "c5"]]


@pytest.mark.parametrize("line_hz", [50, 60])
def test_mains_hum_is_found_at_its_frequency(line_hz):
    hum = 100 * np.sin(2 * np.pi * line_hz * np.arange(10_000) / 500)[:, None]
    eeg = found(signal(noise() + hum))["eeg"]
    other = {50: 60, 60: 50}[line_hz]
    assert min(eeg[f"line_{line_hz}_hz_share"]) > 0.9
    assert max(eeg[f"line_{other}_hz_share"]) < 0.05


def test_an_alpha_rhythm_lies_in_the_alpha_band():
    rhythm = 100 * np.sin(2 * np.pi * 10 * np.arange(10_000) / 500)[:, None]
    assert min(found(signal(noise() + rhythm))["eeg"]["band_shares"]["alpha"]) > 0.9


def test_a_saturated_channel_is_named():
    samples = (noise() * 100).astype("int16")
    samples[1000:1500, 6] = 32767
    assert found(signal(samples, modality="wideband"))["reasons"] == {
        "c6": ["saturated: 5.0% of its values repeat its extremes"]
    }


@pytest.mark.parametrize("kind", ["int16", "uint8", "int32", ">i2"])
def test_integers_are_judged_as_the_same_numbers_are_that_are_not(kind):
    samples = np.random.default_rng(0).integers(0, 9, (3000, 4))
    samples[:, 1] = 3
    samples[1000:1200, 2] = 8
    samples[1000:1002, 3] = 9
    integers, floats = (found(signal(samples.astype(k), modality="wideband")) for k in (kind, "float64"))
    assert integers == floats
    assert set(integers["reasons"]) == {"c1", "c2"}


def test_missing_values_are_counted_per_channel():
    samples = noise()
    samples[:1000, 0] = np.nan
    samples[:, 1] = np.inf
    report = found(signal(samples))
    assert report["signal"]["missing_share"][:3] == [0.1, 1.0, 0.0]
    assert "10.0% of its values are not finite" in report["reasons"]["c0"]
    assert "no finite value" in report["reasons"]["c1"]


def test_a_button_at_rest_is_not_a_bad_channel():
    assert found(signal(np.zeros((1000, 1), "int16"), modality="sync", unit="a.u."))["bad_channels"] == []


def test_lost_gaze_is_counted_and_an_eye_lost_for_long_is_named():
    samples = noise(2) / 20
    samples[:2000, 0] = np.nan
    samples[:8000, 1] = 1e8
    report = found(signal(samples, modality="gaze", unit="deg"))
    assert report["gaze"]["lost_share"] == [0.2, 0.0]
    assert report["gaze"]["out_of_range_share"] == [0.0, 0.8]
    assert report["bad_channels"] == ["c1"]


def test_a_pupil_of_zero_is_lost():
    samples = np.full((100, 1), 900.0)
    samples[:25] = 0
    assert found(signal(samples, modality="pupil", unit="a.u."))["gaze"]["lost_share"] == [0.25]


def test_late_samples_are_counted():
    times_s = np.arange(1000) / 100
    times_s[500:] += 0.5
    timing = found(signal(noise(1, 1000), modality="gaze", unit="deg", times_s=times_s))["timing"]
    assert timing["late_share"] == pytest.approx(1 / 999, rel=1e-4)
    assert timing["longest_interval_ms"] == pytest.approx(510)


def test_gaps_are_counted_in_seconds():
    runs = [Segment(samples=noise(1, 500), timebase=Timebase(rate_hz=500.0, start_s=t, n_samples=500)) for t in (0, 4)]
    report = found(Signal(**(vars(signal(noise(1))) | {"segments": tuple(runs)})))
    assert report["timing"]["gaps_s"] == 3
    assert "1 gap of 3 s, which stays a gap" in report["notes"]


def test_units_are_summed_up():
    trains = (np.array([0.0, 0.001, 10.0]), np.array([5.0]), np.array([]))
    units = Units(name="s", unit_names=("a", "b", "c"), spike_times_s=trains, table={"accepted": (True, False, False)})
    assert found(units)["units"] == {
        "n_units": 3,
        "n_accepted": 1,
        "n_spikes": 4,
        "n_silent": 1,
        "median_rate_hz": 0.1,
        "median_short_interval_share": 0.5,
    }


def test_a_long_signal_is_sampled_over_its_whole_time_in_bounded_memory():
    class Counting:
        shape, dtype = (50_000_000, 4), np.dtype("int16")
        slices: list[slice] = []  # noqa: RUF012

        def __getitem__(self, samples):
            self.slices.append(samples)
            return np.zeros((samples.stop - samples.start, 4), "int16")

    samples = Counting()
    base = Timebase(rate_hz=500.0, n_samples=50_000_000)
    long = Signal(**(vars(signal(noise(4))) | {"segments": (Segment(samples=samples, timebase=base),)}))
    assert len(list(stretches(long))) == MAX_STRETCHES
    assert samples.slices[0].start == 0
    assert samples.slices[-1].stop == 50_000_000
    assert max(s.stop - s.start for s in samples.slices) == 2000
