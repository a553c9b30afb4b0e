from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import ClockMap, Events, Recording, Segment, Signal, Timebase
from neuroloom.pipeline.clocks.alignment import AlignmentError
from neuroloom.pipeline.clocks.pulse_lines import pulse_lines
from neuroloom.pipeline.drops.assembly import align

PULSES_S = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 60))  # irregular, as any useful pulses are


def device(name, *, modality="eeg", offset_s=0.0, drift_ppm=0.0, pulses=None, start=None, n_samples=6000):
    """A recording of 60 s at 100 Hz on a clock of its own, with the pulses it saw."""
    own = (PULSES_S if pulses is None else pulses) * (1 + drift_ppm * 1e-6) + offset_s
    signal = Signal(
        name=modality,
        modality=modality,
        segments=(
            Segment(
                samples=np.zeros((n_samples, 1), dtype=np.int16),
                timebase=Timebase(rate_hz=100, start_s=offset_s, n_samples=n_samples),
            ),
        ),
        channel_names=("a",),
        unit="uV",
        gain=np.ones(1),
        offset=np.zeros(1),
    )
    sync = Events(name="ttl", modality="sync", times_s=own, labels=("1",) * own.size)
    streams = (signal, sync) if own.size else (signal,)
    return Recording(clock=name, format="test", files=(Path(f"{name}.dat"),), streams=streams, start=start)


def test_every_device_lands_on_the_clock_of_the_first_neural_sample():
    session = align([device("gaze", modality="gaze", offset_s=500.0, drift_ppm=80), device("eeg", offset_s=7.0)])
    assert session.clock == "eeg"
    assert session["eeg"].start_s == 0.0
    gaze = next(s for s in session.streams if isinstance(s, Events) and s.device == "gaze")
    assert np.abs(gaze.times_s - PULSES_S).max() < 1e-4
    assert session.clock_maps[0].drift_ppm == pytest.approx(-80, abs=1)


def test_streams_of_one_name_are_told_apart_by_device():
    session = align([device("a"), device("b", offset_s=3.0)])
    assert [s.name for s in session.streams] == ["a eeg", "a ttl", "b eeg", "b ttl"]


def test_pulses_are_picked_out_of_a_line_that_holds_other_events_too():
    eeg, gaze = device("eeg"), device("gaze", modality="gaze", offset_s=500.0)
    others_s = np.random.default_rng(1).uniform(0, 60, 40)
    times_s = np.concatenate([eeg.streams[1].times_s, others_s])
    order = np.argsort(times_s)
    labels = np.array(["sync"] * PULSES_S.size + ["stimulus"] * others_s.size)[order]
    markers = Events(name="markers", modality="sync", times_s=times_s[order], labels=tuple(labels.tolist()))
    found = align([replace(eeg, streams=(eeg.streams[0], markers)), gaze]).clock_maps[0]
    assert (found.n_matched, found.n_lost, found.n_extra) == (60, 0, 0)
    assert "markers sync" in found.method


def test_a_device_may_be_placed_by_way_of_another():
    early, late = PULSES_S[:30], PULSES_S[30:]
    middle = device("middle", modality="gaze", offset_s=40.0)
    home = device("home", modality="wideband", pulses=early)
    far = device("far", modality="pupil", offset_s=-9.0, pulses=late)
    session = align([far, home, middle])
    assert "by way of middle" in next(m.method for m in session.clock_maps if m.source == "far")
    assert session["pupil"].start_s == pytest.approx(0.0, abs=1e-6)


def test_without_pulses_start_times_count_and_their_uncertainty_is_said():
    noon = datetime(2020, 1, 1, 12, tzinfo=UTC)
    none = np.zeros(0)
    late = device("gaze", modality="gaze", pulses=none, start=noon + timedelta(seconds=5))
    session = align([device("eeg", pulses=none, start=noon), late])
    assert session["gaze"].start_s == 5.0
    assert session.uncertainty_ms(session["gaze"]) == 1000.0


EVERY_SECOND_S = np.arange(1.0, 58.0)
NOON = datetime(2020, 1, 1, 12, tzinfo=UTC)


def every_second(*, late_s, stated_s, **more):
    """EEG from noon on, and gaze that began `late_s` later and says `stated_s`; both see a pulse every second."""
    eeg = device("eeg", pulses=EVERY_SECOND_S, start=NOON)
    pulses = EVERY_SECOND_S - late_s
    began = NOON + timedelta(seconds=stated_s)
    gaze = device("gaze", modality="gaze", offset_s=500.0, drift_ppm=20, pulses=pulses[pulses > 0], start=began)
    return align([eeg, gaze], **more)


@pytest.mark.parametrize("stated_s", [3.1, 3.55, 4.0])
def test_pulses_every_second_are_matched_where_start_times_are_known_well_enough(stated_s):
    session = every_second(late_s=3.55, stated_s=stated_s, start_uncertainty_s=0.49)
    assert session["gaze"].start_s == pytest.approx(3.55, abs=1e-3)
    assert "start times told which" in session.clock_maps[0].method
    assert session.clock_maps[0].residual_ms < 0.1


@pytest.mark.parametrize("uncertainty_s", [0.51, None])
def test_pulses_every_second_tell_nothing_where_start_times_are_known_to_half_a_second_only(uncertainty_s):
    session = every_second(late_s=3.55, stated_s=3.6, start_uncertainty_s=uncertainty_s)
    found = session.clock_maps[0]
    assert found.method == "acquisition start times"
    assert found.residual_ms == 1e3 * (uncertainty_s or 1.0)
    assert "ambiguous" in found.notes[0]


def test_devices_started_together_need_no_other_start_times():
    """A probe and an NI-DAQ of one SpikeGLX run, a pulse every second: their files begin within 20 ms."""
    probe = device("probe", modality="wideband", pulses=EVERY_SECOND_S)
    daq = device("nidq", modality="aux", drift_ppm=-30, pulses=EVERY_SECOND_S - 0.008)
    session = align([replace(r, started_with=("run_g0_t0", 0.02)) for r in (probe, daq)])
    assert session["aux"].start_s == pytest.approx(0.008, abs=1e-3)
    assert session.clock_maps[0].drift_ppm == pytest.approx(30, abs=1)


def test_start_times_are_known_best_where_the_recording_began():
    found = every_second(late_s=3.55, stated_s=3.6).clock_maps[0]
    began, later = found.uncertainty_ms([500.0, 500.0 + 36_000])
    assert (began, round(later)) == (1000.0, 2059)


def test_nothing_in_common_is_refused():
    with pytest.raises(AlignmentError, match="no pulses or events"):
        align([device("eeg"), device("gaze", modality="gaze", pulses=np.zeros(0))])


def test_two_subjects_never_mix():
    with pytest.raises(AlignmentError, match="two subjects, 01 and 02"):
        align([device("sub-01_eeg"), device("sub-02_eeg")])


def test_two_subjects_stated_in_the_files_never_mix_either():
    one, other = (replace(device(name), subject={"subject_id": who}) for name, who in (("a", "m1"), ("b", "m2")))
    with pytest.raises(AlignmentError, match="two subjects, m1 and m2"):
        align([one, other])


def test_a_subject_stated_in_a_file_counts_where_no_name_tells():
    session = align([replace(device("a"), subject={"subject_id": "m-7", "species": "Mus musculus"})])
    assert session.subject == "m7"
    assert session.sources[0]["subject"]["species"] == "Mus musculus"


def test_names_tell_subject_session_and_task():
    assert align([device("sub-07_ses-2_task-reach_eeg")]).id == "sub-07_ses-2_task-reach"


def test_two_files_of_one_clock_need_no_pulses():
    none = np.zeros(0)
    band, slow = device("probe", modality="wideband", pulses=none), device("probe", modality="lfp", pulses=none)
    session = align([band, slow])
    assert session.clock_maps == ()
    assert session.stream_names == ["wideband", "lfp"]


def test_a_lab_may_say_that_devices_share_a_clock():
    none = np.zeros(0)
    gaze = device("tracker", modality="gaze", offset_s=3.0, pulses=none)
    session = align([device("eeg", offset_s=1.0, pulses=none), gaze], same_clock=[("eeg", "tracker")])
    assert (session["eeg"].start_s, session["gaze"].start_s) == (0.0, 2.0)


def test_a_shared_clock_of_unknown_devices_is_refused():
    with pytest.raises(AlignmentError, match="no device 'trackr'"):
        align([device("eeg")], same_clock=[("eeg", "trackr")])


def test_a_relation_that_the_devices_measured_is_taken():
    """Both know how they relate to the network's clock: no pulse is needed."""

    def known(recording, offset_s):
        stated = ClockMap(
            source=recording.clock, target="LSL", offset_s=offset_s, span_s=(0, 60), residual_ms=0.3,
            n_matched=12, n_lost=0, n_extra=0, method="clock offsets",
        )  # fmt: skip
        return replace(recording, leads_to=stated)

    none = np.zeros(0)
    eeg, gaze = device("eeg", pulses=none), device("gaze", modality="gaze", offset_s=7.0, pulses=none)
    session = align([known(eeg, 100.0), known(gaze, 95.0)])
    assert session["gaze"].start_s == pytest.approx(2.0)
    assert session.uncertainty_ms(session["gaze"]) == pytest.approx(0.3 * 2**0.5)


def test_the_map_keeps_the_residuals_it_rests_on():
    found = align([device("eeg"), device("gaze", modality="gaze", offset_s=500.0)]).clock_maps[0]
    assert len(found.evidence) == found.n_matched == 60
    assert max(abs(residual_ms) for _, residual_ms in found.evidence) < 0.1


def test_pulses_are_tried_before_events_that_are_more():
    codes = Events(name="codes", modality="events", times_s=np.arange(900) / 10, labels=tuple("abcdefghi" * 100))
    sync = Events(name="sync", modality="sync", times_s=PULSES_S, labels=("pulse",) * PULSES_S.size)
    recording = Recording(streams=(codes, sync), clock="rig", files=(Path("rig.csv"),), format="arrays")
    assert "sync" in [line.name for line in pulse_lines(recording)]
