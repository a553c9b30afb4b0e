"""A device whose clock drifts unevenly: what becomes of its samples in files, filters and sorters."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuroloom.ingest import ClockMap, CrossCheck, PiecewiseTimebase, Segment, Session, Signal, Timebase
from neuroloom.ingest._nwb_layout import clock_map_entry, clock_map_of, decoded, encoded
from neuroloom.ingest.lfp import extract_lfp
from neuroloom.ingest.spikeinterface_bridge import to_spikeinterface

# Half a second in, the clock stops losing 0.1 % and gains 0.1 %: large enough to check by eye.
BENT = ClockMap(
    source="probe", target="amp", offset_s=10.0, span_s=(0.0, 1.0), residual_ms=0.1, n_matched=20, n_lost=0, n_extra=0,
    method="pulses, piecewise", knots=((0.0, 0.0), (0.5, 5e-4), (1.0, 0.0)), wander_ppm=3.0,
    tried=(("offset", 0.3), ("piecewise", 0.1)), notes=("pulses of one edge only",),
    checks=(CrossCheck(kind="blinks", against="amp", verdict="confirms", lag_ms=2.0, uncertainty_ms=30.0, words="w"),),
)  # fmt: skip


def probe(modality: str, rate_hz: float, n_samples: int) -> Signal:
    samples = np.arange(2 * n_samples, dtype=np.int16).reshape(n_samples, 2)
    return Signal(
        name="probe",
        modality=modality,
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=rate_hz, n_samples=n_samples)),),
        channel_names=("a", "b"),
        unit="uV",
        gain=np.ones(2),
        offset=np.zeros(2),
        device="probe",
    )


@pytest.mark.parametrize(
    ("modality", "file"), [("eeg", "session.nwb"), ("wideband", "probe.nwb"), ("gaze", "session.nwb")]
)
def test_a_bent_signal_is_saved_exactly_and_a_stock_reader_finds_a_time_per_sample(
    tmp_path: Path, modality: str, file: str
) -> None:
    moved = probe(modality, 1000.0, 1000).on(BENT)
    assert isinstance(moved.segments[0].timebase, PiecewiseTimebase)
    with Session(subject="01", clock="amp", streams=(moved,)).save(tmp_path / "s") as saved:
        assert saved["probe"].segments[0].timebase == moved.segments[0].timebase
    with h5py.File(tmp_path / "s" / file) as stored:
        found: list[h5py.Dataset] = []
        stored.visititems(lambda path, item: found.append(item) if path.endswith("/timestamps") else None)
        np.testing.assert_allclose(found[0][:], BENT.seconds(np.arange(1000) / 1000), rtol=0, atol=1e-12)


def test_a_bent_map_comes_back_with_all_its_evidence() -> None:
    assert clock_map_of(decoded(encoded(clock_map_entry(BENT)))) == BENT


def test_a_map_of_a_file_from_before_there_were_bends_opens() -> None:
    entry = clock_map_entry(replace(BENT, knots=(), checks=(), tried=(), notes=(), wander_ppm=0.0))
    old = {key: value for key, value in entry.items() if key not in ("knots", "checks", "tried", "notes", "wander_ppm")}
    assert clock_map_of(old).seconds(0.5) == 10.5


def test_a_bent_signal_is_one_segment_and_the_window_across_the_bend_is_whole() -> None:
    moved = probe("eeg", 1000.0, 1000).on(BENT)
    window = moved.between(10.4, 10.6)
    assert len(window.segments) == 1
    assert window.n_samples == pytest.approx(200, abs=1)
    assert moved.is_regular


def test_the_lfp_of_a_bent_signal_lies_at_the_times_of_the_samples_it_is_made_of() -> None:
    wideband = probe("wideband", 30000.0, 30000)
    before, after = extract_lfp(wideband).on(BENT), extract_lfp(wideband.on(BENT))
    samples = np.arange(after.n_samples)
    np.testing.assert_allclose(
        after.segments[0].timebase.seconds(samples), before.segments[0].timebase.seconds(samples), atol=1e-9
    )


def test_spikeinterface_takes_a_bent_signal_at_its_mean_rate() -> None:
    recording = to_spikeinterface(probe("wideband", 30000.0, 30000).on(BENT))
    assert recording.get_num_segments() == 1
    assert recording.get_sampling_frequency() == pytest.approx(30000.0)
