"""The LFP keeps what is slow, loses what is fast, and moves no sample."""

import numpy as np
import pytest
from scipy.signal import upfirdn

from neuroloom.ingest.lfp import Resampled, extract_lfp, whole_filter
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase, Timestamps


def wideband(*runs, rate_hz=30_000.0, starts_s=(0.0,), gain=1.0):
    segments = tuple(
        Segment(samples=run, timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(run)))
        for run, start_s in zip(runs, starts_s, strict=True)
    )
    n_channels = runs[0].shape[1]
    return Signal(
        name="probe",
        modality="wideband",
        segments=segments,
        channel_names=tuple(f"c{i}" for i in range(n_channels)),
        unit="uV",
        gain=np.full(n_channels, gain),
        offset=np.zeros(n_channels),
    )


def sine(freq_hz, rate_hz=30_000.0, length_s=4.0):
    return np.sin(2 * np.pi * freq_hz * np.arange(int(length_s * rate_hz)) / rate_hz)[:, None]


def level_db(lfp):
    inner = lfp.values()[0][500:-500]
    return 20 * np.log10(np.sqrt(2) * inner.std())


@pytest.mark.parametrize("freq_hz", [501, 777, 1000, 6000, 14_999])
def test_what_lies_above_the_new_nyquist_frequency_is_60_db_down(freq_hz):
    assert level_db(extract_lfp(wideband(sine(freq_hz)))) < -60


def test_the_pass_band_comes_through_unchanged_and_without_delay():
    lfp = extract_lfp(wideband(sine(40)))
    times_s = lfp.segments[0].timebase.seconds(np.arange(lfp.n_samples))
    assert lfp.rate_hz == 1000
    assert np.abs(lfp.values()[0][500:-500, 0] - np.sin(2 * np.pi * 40 * times_s)[500:-500]).max() < 1e-3


@pytest.mark.parametrize("rate_hz", [30_000.0, 24_414.0625])
def test_any_slice_equals_the_same_slice_of_the_whole(rate_hz):
    noise = np.random.default_rng(0).integers(-500, 500, (20_000, 3)).astype("int16")
    samples = extract_lfp(wideband(noise, rate_hz=rate_hz)).segments[0].samples
    whole = samples[:]
    for a, b in [(0, 1), (0, 7), (5, 6), (313, 500), (600, len(whole)), (10, 10)]:
        np.testing.assert_array_equal(samples[a:b], whole[a:b])


def test_blocks_change_nothing(monkeypatch):
    noise = np.random.default_rng(1).standard_normal((20_000, 2))
    whole = extract_lfp(wideband(noise)).segments[0].samples[:]
    monkeypatch.setattr("neuroloom.ingest.lfp.BLOCK_VALUES", 1000)
    np.testing.assert_array_equal(extract_lfp(wideband(noise)).segments[0].samples[:], whole)


@pytest.mark.parametrize(("rate_hz", "n_stages"), [(30_000.0, 2), (24_414.0625, 1), (7_000.0, 1), (25_000.0, 2)])
def test_it_equals_scipy_on_the_whole(rate_hz, n_stages):
    noise = 50 + np.random.default_rng(2).standard_normal((9_000, 1))
    lfp = extract_lfp(wideband(noise, rate_hz=rate_hz))
    samples, up, down = lfp.segments[0].samples, lfp.provenance["up"], lfp.provenance["down"]
    assert isinstance(samples, Resampled)
    assert len(samples.stages) == n_stages
    taps = whole_filter(samples.stages)
    assert taps.size == lfp.provenance["n_taps"]
    half = taps.size // 2
    n_pad = half + -2 * half % down  # more than the filter reaches, and an output falls on the first sample
    made = upfirdn(taps, np.pad(noise[:, 0], n_pad, mode="edge"), up=up, down=down)
    first = (half + n_pad * up) // down
    np.testing.assert_allclose(samples[:][:, 0], made[first : first + samples.n_samples], atol=1e-4)


def test_a_recording_shorter_than_the_filter_goes_on_at_both_ends():
    lfp = extract_lfp(wideband(np.full((40, 2), 7, "int16")))
    np.testing.assert_allclose(lfp.values()[0], np.full((1, 2), 7.0), rtol=1e-6)


def test_the_measured_rate_is_divided_and_no_time_moves():
    lfp = extract_lfp(wideband(np.zeros((30_000, 1)), rate_hz=30_000.07, starts_s=(12.5,)))
    base = lfp.segments[0].timebase
    assert base.start_s == 12.5
    assert base.rate_hz == pytest.approx(30_000.07 / 30, rel=1e-15)
    assert lfp.n_samples == 1000


def test_an_odd_rate_takes_a_ratio_and_says_so():
    lfp = extract_lfp(wideband(sine(40, rate_hz=24_414.0625), rate_hz=24_414.0625))
    up, down = lfp.provenance["up"], lfp.provenance["down"]
    assert up > 1
    assert lfp.rate_hz == pytest.approx(24_414.0625 * up / down)
    assert abs(lfp.rate_hz - 1000) <= 1
    times_s = lfp.segments[0].timebase.seconds(np.arange(lfp.n_samples))
    assert np.abs(lfp.values()[0][500:-500, 0] - np.sin(2 * np.pi * 40 * times_s)[500:-500]).max() < 1e-3


def test_a_gap_is_not_bridged():
    low, high = np.full((3_000, 1), -100, "int16"), np.full((3_000, 1), 100, "int16")
    lfp = extract_lfp(wideband(low, high, starts_s=(0.0, 1.0)))
    assert [s.timebase.start_s for s in lfp.segments] == [0.0, 1.0]
    np.testing.assert_allclose(lfp.values()[0], -100, rtol=1e-6)
    np.testing.assert_allclose(lfp.values()[1], 100, rtol=1e-6)


def test_segments_that_follow_at_once_do_not_overlap():
    runs = (np.zeros((3_001, 1)), np.zeros((3_000, 1)))
    assert len(extract_lfp(wideband(*runs, starts_s=(0.0, 3_001 / 30_000))).segments) == 2


def test_gains_stay_and_values_are_in_the_unit():
    lfp = extract_lfp(wideband(np.full((3_000, 1), 10, "int16"), gain=0.195))
    assert lfp.gain[0] == 0.195
    np.testing.assert_allclose(lfp.values()[0], 1.95, rtol=1e-6)


def test_a_slice_reads_no_more_than_the_filter_reaches():
    class Counting:
        shape, dtype = (3_000_000, 1), np.dtype("int16")
        read = 0

        def __getitem__(self, samples):
            self.read += samples.stop - samples.start
            return np.zeros((samples.stop - samples.start, 1), "int16")

    samples = Counting()
    base = Timebase(rate_hz=30_000.0, n_samples=3_000_000)
    signal = wideband(np.zeros((3, 1)))
    lfp = extract_lfp(Signal(**(vars(signal) | {"segments": (Segment(samples=samples, timebase=base),)})))
    assert samples.read == 0
    lfp.between(50, 51).values()
    assert samples.read < 33_000


def test_what_cannot_be_made_is_refused():
    signal = wideband(np.zeros((300, 1)), rate_hz=500.0)
    with pytest.raises(ValueError, match="a lower rate is wanted"):
        extract_lfp(signal)
    with pytest.raises(ValueError, match="it must lie below"):
        extract_lfp(wideband(np.zeros((300, 1))), low_pass_hz=600)
    irregular = (Segment(samples=np.zeros((2, 1)), timebase=Timestamps(times_s=np.array([0.0, 1.0]))),)
    with pytest.raises(ValueError, match="timestamps instead of a rate"):
        extract_lfp(Signal(**(vars(signal) | {"segments": irregular})))
