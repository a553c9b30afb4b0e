"""A Signal to SpikeInterface and back, and nothing is lost on the way."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import Segment, Signal, Timebase, Timestamps
from neuroloom.ingest.spikeinterface_bridge import DUMMY_SPACING_UM, from_spikeinterface, to_spikeinterface


def signal(**changed) -> Signal:
    """Two segments of two channels at 1 kHz that count up, with a gap of 9 s."""
    segments = tuple(
        Segment(
            samples=np.arange(20, dtype=np.int16).reshape(10, 2) + 100 * k,
            timebase=Timebase(rate_hz=1000.0, start_s=10.0 * k, n_samples=10),
        )
        for k in range(2)
    )
    fields = {
        "name": "probe",
        "modality": "wideband",
        "segments": segments,
        "channel_names": ("a", "b"),
        "unit": "mV",
        "gain": np.array([0.1, 0.2]),
        "offset": np.array([1.0, 0.0]),
    }
    return Signal(**(fields | changed))


def test_samples_segments_and_times_arrive():
    recording = to_spikeinterface(signal())
    assert recording.get_num_segments() == 2
    assert recording.get_traces(segment_index=1, start_frame=2, end_frame=4).tolist() == [[104, 105], [106, 107]]
    assert recording.get_times(segment_index=1)[0] == 10.0


def test_gains_are_to_microvolts():
    recording = to_spikeinterface(signal())
    assert recording.get_channel_gains() == pytest.approx([100.0, 200.0])
    assert recording.get_channel_offsets() == pytest.approx([1000.0, 0.0])


def test_a_unit_that_is_no_voltage_is_not_called_one():
    recording = to_spikeinterface(signal(unit="a.u."))
    assert not recording.has_scaleable_traces()
    assert recording.get_property("physical_unit").tolist() == ["a.u.", "a.u."]


def test_volts_that_the_recording_behind_does_not_know_of_are_told_to_spikeinterface():
    from spikeinterface.core import NumpyRecording

    bare = NumpyRecording([np.ones((10, 2), dtype=np.float32)], sampling_frequency=1000.0)
    told = to_spikeinterface(replace(from_spikeinterface(bare, name="probe"), unit="uV"))
    assert told.get_channel_gains() == pytest.approx([1.0, 1.0])
    assert told.get_traces(return_in_uV=True)[0] == pytest.approx([1.0, 1.0])
    assert to_spikeinterface(from_spikeinterface(bare, name="probe")) is bare


def test_there_and_back_again_is_the_same():
    made = from_spikeinterface(to_spikeinterface(signal()), name="probe")
    for ours, theirs in zip(signal().values(), made.values(), strict=True):
        assert ours * 1000 == pytest.approx(theirs)
    assert [s.timebase for s in made.segments] == [s.timebase for s in signal().segments]


def test_known_positions_are_taken_and_unknown_ones_are_said_to_stand_in():
    known = to_spikeinterface(signal(table={"x_um": (0.0, 0.0), "y_um": (0.0, 25.0)}))
    assert known.get_channel_locations()[:, 1].tolist() == [0.0, 25.0]
    unknown = to_spikeinterface(signal())
    assert unknown.get_channel_locations()[1, 1] == DUMMY_SPACING_UM
    assert "stands in" in unknown.get_annotation("positions")
    assert from_spikeinterface(unknown, name="x").table == {}


def test_names_that_repeat_are_told_apart():
    assert list(to_spikeinterface(signal(channel_names=("a", "a"))).channel_ids) == ["0:a", "1:a"]


def test_timestamps_stay_timestamps():
    times = Timestamps(times_s=np.array([0.0, 0.1, 0.35]))
    one = replace(signal(), segments=(Segment(samples=np.zeros((3, 2)), timebase=times),))
    assert to_spikeinterface(one).get_times(segment_index=0).tolist() == [0.0, 0.1, 0.35]


def test_nothing_to_hand_over_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        to_spikeinterface(signal(segments=()))
