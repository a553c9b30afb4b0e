"""A probe that moves, and traces as if it had not."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import Segment, Signal, Timebase
from neuroloom.ingest.preprocessing import LEFT_TO_SORTER, Chain, preprocess

pytestmark = pytest.mark.slow
RATE_HZ = 10_000.0
SECONDS, N_CHANNELS, SPACING_UM, STEP_UM = 24, 36, 20.0, 30.0


def moving(step_um=STEP_UM) -> Signal:
    """Twenty units along 36 contacts; halfway, all are `step_um` further up.

    Not at even distances: among units each 34 µm apart, a move by 30 looks like one by -4.
    """
    rng = np.random.default_rng(3)
    n = int(SECONDS * RATE_HZ)
    samples = rng.normal(0, 5, (n, N_CHANNELS)).astype(np.float32)
    height = np.arange(N_CHANNELS) * SPACING_UM
    depths_um = 60 + 34.0 * np.arange(20) + rng.uniform(-17, 17, 20)
    shape = -np.exp(-(((np.arange(20) - 6) / 1.6) ** 2)) + 0.3 * np.exp(-(((np.arange(20) - 12) / 3) ** 2))
    for unit_um in depths_um:
        size_uV = rng.uniform(150, 350)
        fired = np.sort(rng.integers(0, n - 30, 10 * SECONDS))
        for at in fired:
            depth = unit_um + (step_um if at > n / 2 else 0.0)
            samples[at : at + 20] += size_uV * shape[:, None] * np.exp(-(((height - depth) / 35) ** 2))
    return Signal(
        name="probe",
        modality="wideband",
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=RATE_HZ, n_samples=n)),),
        channel_names=tuple(f"c{i}" for i in range(N_CHANNELS)),
        unit="uV",
        gain=np.ones(N_CHANNELS),
        offset=np.zeros(N_CHANNELS),
        table={"x_um": (0.0,) * N_CHANNELS, "y_um": tuple(height.tolist())},
    )


CHAIN = Chain(drift="rigid_fast", bad_channels="none", band_hz=(300.0, 4000.0))


@pytest.fixture(scope="module")
def signal():
    return moving()


@pytest.fixture(scope="module")
def still(signal):
    return preprocess(signal, CHAIN)


def places_um(recording):
    """Depth of the largest deflection of each of the strongest peaks, before and after the step: the mean of each."""
    traces = recording.get_traces(segment_index=0)
    return traces[: len(traces) // 2].std(axis=0), traces[len(traces) // 2 :].std(axis=0)


def test_a_step_of_the_probe_is_found(still):
    assert still.decisions["drift"]["preset"] == "rigid_fast"
    assert still.decisions["drift"]["range_um"] == pytest.approx(STEP_UM, abs=6)


def test_where_activity_lies_is_the_same_before_and_after(signal, still):
    moved = preprocess(signal, replace(CHAIN, drift="none"))
    (before, after), (before_still, after_still) = places_um(moved.recording), places_um(still.recording)
    inner = slice(4, -4)
    assert np.corrcoef(before_still[inner], after_still[inner])[0, 1] > np.corrcoef(before[inner], after[inner])[0, 1]
    assert np.corrcoef(before_still[inner], after_still[inner])[0, 1] > 0.8


def test_corrected_traces_are_the_same_lazy_or_saved(still, tmp_path):
    saved = still.saved(tmp_path / "saved").recording
    for start, stop in ((0, 100), (9_990, 10_010), (195_000, 205_000)):
        lazy = still.recording.get_traces(segment_index=0, start_frame=start, end_frame=stop)
        assert np.array_equal(lazy, saved.get_traces(segment_index=0, start_frame=start, end_frame=stop))


def test_a_step_during_a_gap_is_found_and_segments_keep_their_times(signal):
    samples = signal.segments[0].samples
    half = len(samples) // 2
    parts = tuple(
        Segment(samples=part, timebase=Timebase(rate_hz=RATE_HZ, start_s=start_s, n_samples=half))
        for part, start_s in ((samples[:half], 5.0), (samples[half:], 500.0))
    )
    found = preprocess(replace(signal, segments=parts), CHAIN)
    assert found.decisions["drift"]["range_um"] == pytest.approx(STEP_UM, abs=6)
    assert [segment.timebase.start_s for segment in found.signal("probe").segments] == [5.0, 500.0]


def test_drift_is_left_to_a_sorter_that_corrects_it_unless_forbidden(signal):
    left, forbidden = (preprocess(signal, Chain(drift=drift, bad_channels="none")) for drift in ("sorter", "none"))
    assert left.decisions["drift"] == LEFT_TO_SORTER
    assert left.signal("probe").provenance["corrects_drift"] is True
    assert forbidden.signal("probe").provenance["corrects_drift"] is False
