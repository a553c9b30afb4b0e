"""Other software opens a published session, in a process that cannot import neuroloom."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import Timebase, Timestamps

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "open_in_mne.py"
RATE_HZ = 29999.123456789
N = 30000
HEAD = """
import json, sys, warnings
warnings.simplefilter("ignore")
sys.modules["neuroloom"] = None  # whatever imports it fails
folder = sys.argv[1]
"""


def _signal(name: str, modality: str, samples: Any, base: Timebase | Timestamps, **more: Any) -> Signal:
    n_channels = samples.shape[1]
    rest = {"unit": "uV", "gain": np.ones(n_channels), "offset": np.zeros(n_channels)}
    names = tuple(f"c{i}" for i in range(n_channels))
    segment = Segment(samples=samples, timebase=base)
    return Signal(name=name, modality=modality, segments=(segment,), channel_names=names, **{**rest, **more})


def _ramp(n_samples: int, n_channels: int) -> Any:
    return (np.arange(n_samples * n_channels) % 1000).astype(np.int16).reshape(n_samples, n_channels)


def _streams() -> tuple[Stream, ...]:
    gaze_s = np.array([0.0, 0.101, 0.2])
    return (
        _signal("eeg", "eeg", _ramp(500, 2), Timebase(rate_hz=250.0007, start_s=0.25, n_samples=500),
                gain=np.array([0.1, 0.2]), offset=np.array([5.0, 5.0]),
                table={"kind": ("eeg", "eog"), "x_mm": (-30.0, np.nan), "y_mm": (80.0, np.nan),
                       "z_mm": (5.0, np.nan)}),
        _signal("probe", "wideband", _ramp(N, 4), Timebase(rate_hz=RATE_HZ, start_s=1.5, n_samples=N),
                gain=np.full(4, 2.34375)),
        _signal("gaze", "gaze", np.arange(6.0).reshape(3, 2), Timestamps(times_s=gaze_s), unit="deg"),
        Events(name="triggers", times_s=np.array([0.5, 0.75]), labels=("go", "stop")),
        Intervals(name="trials", modality="trials", bounds_s=np.array([[0.0, 1.0], [1.5, 2.0]]), labels=("a", "b")),
        Units(name="units", unit_names=("7", "9"), spike_times_s=(np.array([0.1, 0.2, 0.9]), np.array([0.3])),
              table={"snr": (4.5, 2.5)}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("published") / "s"
    streams, found = _streams(), {"eeg": {"bad_channels": ["c1"]}}
    Session(subject="01", clock="amp", streams=streams, quality=found).save(target)
    return target


@pytest.fixture
def elsewhere(folder: Path) -> Callable[[str], Any]:
    def run(code: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", HEAD + code, str(folder)], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_plain_h5py_reads_volts_and_times(elsewhere: Callable[[str], Any]) -> None:
    found = elsewhere("""
import h5py
with h5py.File(f"{folder}/session.nwb") as file:
    series = file["acquisition/eeg"]
    data = series["data"]
    volts = data[1] * data.attrs["conversion"] * series["channel_conversion"][:] + data.attrs["offset"]
    start = series["starting_time"]
    print(json.dumps([volts.tolist(), float(start[()]), float(start.attrs["rate"])]))
""")
    assert found[0] == pytest.approx([(2 * 0.1 + 5) * 1e-6, (3 * 0.2 + 5) * 1e-6], rel=1e-12)
    assert found[1:] == [0.25, 250.0007]


def test_h5py_with_hdf5plugin_reads_a_companion(elsewhere: Callable[[str], Any]) -> None:
    code = """
import h5py, hdf5plugin
with h5py.File(f"{folder}/probe.nwb") as file:
    print(json.dumps(file["acquisition/probe/data"][-1].tolist()))
"""
    assert elsewhere(code) == [996, 997, 998, 999]


def test_spikeinterface_reads_microvolts_and_times_of_a_probe(elsewhere: Callable[[str], Any]) -> None:
    volts, times_s, rate_hz, ids = elsewhere("""
import hdf5plugin
from spikeinterface.extractors import read_nwb_recording
recording = read_nwb_recording(f"{folder}/probe.nwb", electrical_series_path="acquisition/probe")
traces = recording.get_traces(start_frame=10, end_frame=11, return_in_uV=True)
times = recording.get_times()
print(json.dumps([traces[0].tolist(), [times[0], times[-1]], recording.sampling_frequency,
                  [str(i) for i in recording.channel_ids]]))
""")
    assert volts == pytest.approx([40 * 2.34375, 41 * 2.34375, 42 * 2.34375, 43 * 2.34375], rel=1e-6)
    assert times_s == pytest.approx([1.5, 1.5 + (N - 1) / RATE_HZ], abs=1e-6)
    assert rate_hz == RATE_HZ
    assert len(ids) == 4


def test_spikeinterface_reads_eeg_with_its_offset(elsewhere: Callable[[str], Any]) -> None:
    microvolts = elsewhere("""
from spikeinterface.extractors import read_nwb_recording
recording = read_nwb_recording(f"{folder}/session.nwb", electrical_series_path="acquisition/eeg")
print(json.dumps(recording.get_traces(start_frame=1, end_frame=2, return_in_uV=True)[0].tolist()))
""")
    assert microvolts == pytest.approx([2 * 0.1 + 5, 3 * 0.2 + 5], rel=1e-6)


def test_spikeinterface_reads_the_units(elsewhere: Callable[[str], Any]) -> None:
    trains = elsewhere("""
from spikeinterface.extractors import read_nwb_sorting
sorting = read_nwb_sorting(f"{folder}/session.nwb", sampling_frequency=30000.0, t_start=0.0)
print(json.dumps([sorting.get_unit_spike_train(unit).tolist() for unit in sorting.unit_ids]))
""")
    assert trains == [[3000, 6000, 27000], [9000]]


def test_pynapple_reads_every_stream_at_its_times(elsewhere: Callable[[str], Any]) -> None:
    found = elsewhere("""
import pynapple as nap
data = nap.load_file(f"{folder}/session.nwb")
eeg, units, gaze = data["eeg"], data["units"], data["gaze"]
print(json.dumps({
    "eeg": [eeg.t[0], eeg.t[-1], len(eeg)], "gaze": [gaze.t.tolist(), gaze.d[:].tolist()],
    "units": [units[i].t.tolist() for i in units.index], "snr": [float(x) for x in units["snr"]],
    "trials": data["trials"].values.tolist(), "labels": data["trials"]["label"].tolist(),
    "triggers": data["triggers"].t.tolist(),
}))
""")
    assert found["eeg"] == pytest.approx([0.25, 0.25 + 499 / 250.0007, 500], abs=1e-6)
    assert found["gaze"] == [[0.0, 0.101, 0.2], [[0, 1], [2, 3], [4, 5]]]
    assert found["units"] == [[0.1, 0.2, 0.9], [0.3]]
    assert found["snr"] == [4.5, 2.5]
    assert (found["trials"], found["labels"]) == ([[0.0, 1.0], [1.5, 2.0]], ["a", "b"])
    assert found["triggers"] == [0.5, 0.75]


def test_mne_gets_values_types_bad_channels_places_and_annotations(elsewhere: Callable[[str], Any]) -> None:
    found = elsewhere(f"""
import runpy
raw = runpy.run_path({str(EXAMPLE)!r})["raw_of"](f"{{folder}}/session.nwb")
places = raw.get_montage().get_positions()
marks = raw.annotations
print(json.dumps({{
    "volts": raw[:, 1][0][:, 0].tolist(), "n": int(raw.n_times), "rate": raw.info["sfreq"], "names": raw.ch_names,
    "types": raw.get_channel_types(), "bads": raw.info["bads"], "frame": places["coord_frame"],
    "places": {{name: place.tolist() for name, place in places["ch_pos"].items()}},
    "marks": [[float(a), float(b), str(c)] for a, b, c in zip(marks.onset, marks.duration, marks.description)],
}}))
""")
    assert found["volts"] == pytest.approx([(2 * 0.1 + 5) * 1e-6, (3 * 0.2 + 5) * 1e-6], rel=1e-12)
    assert (found["n"], found["rate"], found["names"]) == (500, 250.0007, ["c0", "c1"])
    assert (found["types"], found["bads"], found["frame"]) == (["eeg", "eog"], ["c1"], "head")
    assert found["places"]["c0"] == pytest.approx([-0.03, 0.08, 0.005])
    # Of the trials from 0 to 1 s and 1.5 to 2 s, MNE cuts off what lies before the EEG, which begins at 0.25 s.
    assert found["marks"] == [[0.0, 0.75, "a"], [0.25, 0.0, "go"], [0.5, 0.0, "stop"], [1.25, 0.5, "b"]]


def test_pynwb_reads_labels_and_electrodes(elsewhere: Callable[[str], Any]) -> None:
    found = elsewhere("""
from pynwb import NWBHDF5IO
with NWBHDF5IO(f"{folder}/session.nwb", "r") as io:
    nwb = io.read()
    events = nwb.processing["misc"]["triggers"]
    print(json.dumps([list(events["label"][:]), list(nwb.electrodes["channel_name"][:]), nwb.subject.subject_id,
                      nwb.processing["behavior"]["EyeTracking"]["gaze"].unit]))
""")
    assert found == [["go", "stop"], ["c0", "c1"], "01", "degrees"]


@pytest.mark.parametrize("name", ["session.nwb", "probe.nwb"])
def test_the_files_are_valid_by_their_own_specification(elsewhere: Callable[[str], Any], name: str) -> None:
    code = f"""
import hdf5plugin, pynwb
print(json.dumps([str(e) for e in pynwb.validate(path=folder + "/{name}")]))
"""
    assert elsewhere(code) == []


@pytest.mark.parametrize("name", ["session.nwb", "probe.nwb"])
def test_the_inspector_finds_nothing_critical(elsewhere: Callable[[str], Any], name: str) -> None:
    code = f"""
import hdf5plugin
from nwbinspector import Importance, inspect_nwbfile
found = list(inspect_nwbfile(nwbfile_path=folder + "/{name}", importance_threshold=Importance.CRITICAL))
print(json.dumps([m.message for m in found]))
"""
    assert elsewhere(code) == []
