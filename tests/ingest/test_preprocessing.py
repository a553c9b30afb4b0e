"""What is done to traces before spikes are looked for, and that it is said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Segment, Signal, Timebase
from neuroloom.ingest.preprocessing import Chain, preprocess

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


def multiplexed(n_channels=16, seconds=2.5) -> Signal:
    """Channels on a line, each sampled a little later than the one before."""
    places = {"x_um": (0.0,) * n_channels, "y_um": tuple(20.0 * i for i in range(n_channels))}
    return replace(
        traces(n_channels, seconds), table={**places, "sample_shift": tuple(i / n_channels for i in range(n_channels))}
    )


CHAINS = {
    "as it comes": Chain(),
    "everything": Chain(notch_hz=(50.0, 100.0), reference="local", bad_channels="level", band_hz=(300.0, 5000.0)),
    "as little as can be": Chain(phase_shift=False, bad_channels="none", reference="none"),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_what_is_saved_is_bit_for_bit_what_is_read_lazily_however_it_is_cut(chain, tmp_path: Path):
    prepared = preprocess(multiplexed(), chain)
    whole = prepared.saved(tmp_path / "saved").recording.get_traces(segment_index=0)
    lazy = prepared.recording
    for start, stop in ((0, 50_000), (0, 100), (19_990, 20_010), (33_333, 33_334), (44_000, 50_000)):
        assert np.array_equal(lazy.get_traces(segment_index=0, start_frame=start, end_frame=stop), whole[start:stop])


@pytest.mark.parametrize("where", [20_000, 40_000])
def test_the_borders_of_blocks_do_not_show(where):
    """A block is computed with what lies around it: at its border the traces are those of the whole filtered."""
    import spikeinterface.preprocessing as spre

    from neuroloom.ingest.spikeinterface_bridge import to_spikeinterface

    signal = traces()
    plain = Chain(reference="none", bad_channels="none")
    ours = preprocess(signal, plain).recording.get_traces(segment_index=0)
    whole = spre.bandpass_filter(to_spikeinterface(signal), freq_min=300, freq_max=6000, dtype="float32", margin_ms=100)
    theirs = whole.get_traces(segment_index=0)
    assert np.abs(ours - theirs)[where - 200 : where + 200].max() < 0.01  # of 10 µV


def test_channels_that_are_sampled_in_turn_are_moved_back():
    """A tone of 1 kHz that all channels see at once, stored with each one's delay, is alike on all of them again."""
    signal = multiplexed()
    late = np.array(signal.table["sample_shift"])
    time = (np.arange(signal.n_samples)[:, None] + late) / RATE_HZ
    signal.segments[0].samples[:] = 100 * np.sin(2 * np.pi * 1000 * time)
    found = preprocess(signal, Chain(reference="none", bad_channels="none"))
    moved = found.recording.get_traces(segment_index=0)[10_000:40_000]
    left = preprocess(signal, Chain(reference="none", bad_channels="none", phase_shift=False))
    assert np.ptp(moved, axis=1).max() < 2 < 20 < np.ptp(left.recording.get_traces(segment_index=0), axis=1).max()
    assert found.decisions["phase_shift"].startswith("channels sampled up to 0.938 of a sample late")


def test_hum_inside_the_band_goes_with_its_notch():
    signal = traces()
    n = signal.n_samples
    hum = 300 * np.sin(2 * np.pi * 350 * np.arange(n) / RATE_HZ)
    signal.segments[0].samples[:] += hum[:, None]
    alone = Chain(reference="none", bad_channels="none")
    before, after = (
        preprocess(signal, c).recording.get_traces(segment_index=0)[20_000:60_000].std()
        for c in (alone, replace(alone, notch_hz=(350.0,)))
    )
    assert before > 100
    assert after < 12


def test_a_local_reference_without_places_is_refused():
    with pytest.raises(ValueError, match="a local reference needs to know where its contacts lie"):
        preprocess(traces(), Chain(reference="local"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"band_hz": (6000.0, 300.0)}, "from less to more"),
        ({"drift": "sideways"}, "there are sorter, none, dredge_fast"),
        ({"notch_hz": (0.0,)}, "numbers above 0"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_when_it_is_stated(given, said):
    with pytest.raises(ValueError, match=said):
        Chain(**given)


def test_drift_needs_many_contacts_close_together():
    with pytest.raises(ValueError, match="needs more than 32 contacts within 60 µm across"):
        preprocess(multiplexed(), Chain(drift="dredge_fast"))
    assert preprocess(multiplexed()).decisions["drift"].startswith("none: contacts are too few")
