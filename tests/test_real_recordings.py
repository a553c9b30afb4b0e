"""Real files of many formats, all the way: published, read back, and equal to what their reader gives.

That each reader equals the stock reader (MNE, Neo, pynwb, pyxdf) is tested beside it, in tests/ingest/formats.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from neuroloom.ingest import Events, Intervals, Session, Signal, read
from neuroloom.ingest.manifest import verify
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store

FILES = {
    "arrays": "",
    "bdf": "eeg/bdf/mne-python/test.bdf",
    "blackrock": "electrode/blackrock/ndi-matlab/testData.nev",
    "brainvision": "eeg/brainvision/mne-python/test_highpass.vhdr",
    "edf": "eeg/edf/mne-testing-data/test_edf_overlapping_annotations.edf",
    "eeglab": "eeg/eeglab/mne-testing-data/test_raw_2021.set",
    "event_table": "eeg/bids/bids-examples/eeg_matchingpennies/sub-05/eeg/sub-05_task-matchingpennies_events.tsv",
    "eyelink": "gaze/eyelink_asc/mne-testing-data/test_eyelink.asc",
    "fif": "eeg/fif/mne-testing-data/SSS/mgh70_raw.fif",
    "gaze_table": "gaze/pupil_core_csv/pupil-tutorials/10_merge_fixation_and_blink_ids_into_gaze_dataframe/"
    "gaze_positions.csv",
    "nwb": "electrode/nwb_icephys/NWBShowcase/NWB/datatypes.nwb",
    "xdf": "xdf/example-files/clock_resets.xdf",
}
TRACK = "electrode_behaviour/mat_nelpy/nelpy-example-data/linear-track"
TRACK_TOML = """format = "neuroloom arrays"
clock = "trajectory"
[[units]]
name = "ca1"
spike_times = "spikes.mat:spikes.time"
time_unit = "s"
table = { area = "CA1" }
"""


@pytest.fixture(scope="module")
def track(recordings_dir, tmp_path_factory):
    """Sorted hippocampal spikes (MATLAB) and the tracked position of a rat on a linear track, on one clock."""
    folder = tmp_path_factory.mktemp("track") / "drop"
    shutil.copytree(recordings_dir / TRACK, folder)
    (folder / "recording.toml").write_text(TRACK_TOML)
    (folder / "session.toml").write_text('subject = "nelpy"\ntask = "track"\n')
    return folder


def source_of(name, recordings_dir, track):
    return track if name == "arrays" else recordings_dir / FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_published_and_comes_back_as_it_was_read(name, recordings_dir, track, tmp_path):
    path = source_of(name, recordings_dir, track)
    result = ingest_path(path, Store(tmp_path).create(), sorter=None)
    assert result.state == "ingested", result.reason
    assert verify(Store(tmp_path).latest(result.session)) == []
    with Session.open(Store(tmp_path).latest(result.session)) as session:
        for recording in read(path):
            for stream in recording.streams:
                matching = [s for s in session.streams if s.name in (stream.name, f"{recording.clock} {stream.name}")]
                assert len(matching) == 1
                same(stream, matching[0])


def same(read_from, published):
    """Equal samples, gains, labels; times shifted by one number for all."""
    assert published.modality == read_from.modality
    if isinstance(read_from, Signal):
        assert published.unit == read_from.unit
        assert published.channel_names == read_from.channel_names
        assert np.array_equal(published.gain, read_from.gain)
        for ours, theirs in zip(read_from.segments, published.segments, strict=True):
            assert np.array_equal(ours.samples[:], theirs.samples[:], equal_nan=ours.samples.dtype.kind == "f")
            n = ours.timebase.n_samples
            shift = theirs.timebase.seconds(np.arange(n)) - ours.timebase.seconds(np.arange(n))
            assert np.ptp(shift) < 1e-6 if n else True
    elif isinstance(read_from, Events | Intervals):
        assert published.labels == read_from.labels
    else:
        assert [len(train) for train in published.spike_times_s] == [len(train) for train in read_from.spike_times_s]


def test_at_least_ten_formats_are_walked_on_real_files():
    assert len(FILES) >= 10


def test_a_real_session_of_spikes_and_behaviour_is_trained_on(track, tmp_path, record_property):
    """The rat's position from its hippocampal spikes, on time that was not trained on; the scores are as they are."""
    store = Store(tmp_path).create()
    result = ingest_path(track, store, sorter=None)
    assert {stream["modality"] for stream in result.streams} == {"units", "position"}
    config = run_config.RunConfig(
        name="track",
        sessions=(result.session,),
        inputs=("ca1",),
        targets=("position",),
        length_s=10.0,
        bin_s=0.1,
        steps=150,
    )
    preparing.prepare_run(config, store)
    running.train_run("track", store)
    scores = judging.evaluate_run("track", store)
    print(scores)
    network, ridge = (scores.get(port="position", model=model) for model in ("network", "ridge"))
    record_property("network R2", network.value)
    record_property("ridge R2", ridge.value)
    assert network.low <= network.value <= network.high
    assert network.value > scores.get(port="position", model="mean").value
