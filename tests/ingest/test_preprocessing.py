"""What is done to traces before spikes are looked for, and that it is said."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import Segment, Signal, Timebase
from neuroloom.ingest.preprocessing import preprocess

RATE_HZ = 20_000.0


def traces(n_channels=8, seconds=4.0, **changed) -> Signal:
    """Noise of 10 µV with a hum of 1 mV common to all channels; `changed`: channel number -> its values."""
    rng = np.random.default_rng(0)
    n = int(seconds * RATE_HZ)
    hum = 1000 * np.sin(2 * np.pi * 50 * np.arange(n) / RATE_HZ)
    samples = (rng.normal(0, 10, (n, n_channels)) + hum[:, None]).astype(np.float32)
    for channel, values in changed.items():
        samples[:, int(channel.removeprefix("ch"))] = values
    return Signal(
        name="probe",
        modality="wideband",
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=RATE_HZ, n_samples=n)),),
        channel_names=tuple(f"c{i}" for i in range(n_channels)),
        unit="uV",
        gain=np.ones(n_channels),
        offset=np.zeros(n_channels),
    )


def test_slow_waves_are_filtered_out():
    clean = preprocess(traces()).recording.get_traces(segment_index=0)[5000:-5000]
    assert 3 < clean.std() < 10


def test_what_is_common_to_all_channels_is_taken_away():
    common = np.random.default_rng(1).normal(0, 50, int(4 * RATE_HZ))
    shared = traces()
    shared.segments[0].samples[:] += common[:, None]
    clean = preprocess(shared)
    assert clean.decisions["reference"] == "median of the good channels"
    assert clean.recording.get_traces(segment_index=0).std() < 15


def test_few_channels_are_not_referenced_since_their_median_holds_the_spike():
    assert preprocess(traces(4)).decisions["reference"].startswith("none")


def test_flat_and_noisy_channels_are_left_out_with_their_reasons():
    loud = np.random.default_rng(2).normal(0, 500, int(4 * RATE_HZ))
    found = preprocess(traces(ch2=0.0, ch5=loud))
    assert found.bad_channels["c2"] == "flat"
    assert found.bad_channels["c5"].startswith("noisy")
    assert found.recording.get_num_channels() == 6
    assert found.decisions["bad_channels"] == found.bad_channels


def test_all_channels_flat_is_refused():
    flat = traces()
    flat.segments[0].samples[:] = 0
    with pytest.raises(ValueError, match="every channel is flat"):
        preprocess(flat)


def test_segments_too_short_for_the_filter_are_named():
    signal = traces()
    n = int(0.01 * RATE_HZ)
    scrap = Segment(samples=signal.segments[0].samples[:n], timebase=Timebase(rate_hz=RATE_HZ, start_s=10, n_samples=n))
    found = preprocess(replace(signal, segments=(*signal.segments, scrap)))
    assert found.decisions["segments_too_short"] == [1]
    assert found.segments == (0,)


def test_the_band_ends_below_the_nyquist_frequency():
    slow = traces()
    base = Timebase(rate_hz=8000.0, n_samples=slow.n_samples)
    found = preprocess(replace(slow, segments=(replace(slow.segments[0], timebase=base),)))
    assert found.decisions["band_hz"] == [300.0, 3600.0]
