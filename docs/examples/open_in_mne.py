"""A stream of a session file as a Raw of MNE, by h5py alone: values, types, bad channels, places, annotations.

python docs/examples/open_in_mne.py [SESSION.NWB]
"""

import json
import sys

import h5py
import mne
import numpy as np

VOLTS = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}


def raw_of(path, name="eeg"):
    """A stream of volts in one unbroken segment, places in the head's frame; time 0 is its first sample."""
    with h5py.File(path) as file:
        index = json.loads(file["scratch/neuroloom"][()])
        signal = next(stream for stream in index["streams"] if stream["name"] == name)
        (segment,) = signal["segments"]
        samples = np.empty((segment["n_samples"], len(signal["channel_names"])))
        for part in segment["parts"]:
            samples[:, part.get("columns", slice(None))] = file[part["path"]][:]
        marks = [row for stream in index["streams"] for row in marks_of(file, stream)]
    values = (samples * signal["gain"] + signal["offset"]) * VOLTS[signal["unit"]]
    raw = mne.io.RawArray(values.T, mne.create_info(signal["channel_names"], segment["rate_hz"], types_of(signal)))
    raw.info["bads"] = index["quality"].get(name, {}).get("bad_channels", [])
    raw.set_montage(mne.channels.make_dig_montage(places_of(signal), coord_frame="head"), on_missing="ignore")
    onsets, durations, labels = zip(*marks, strict=True) if marks else ((), (), ())
    return raw.set_annotations(mne.Annotations(np.array(onsets) - segment["start_s"], durations, labels))


def types_of(signal):
    known = mne.io.get_channel_type_constants()
    kinds = signal["table"].get("kind", [signal["modality"]] * len(signal["channel_names"]))
    return [next((k for k in (kind, signal["modality"]) if k in known), "misc") for kind in kinds]


def places_of(signal):
    """Metres by channel; what is not known is NaN, which JSON has not, and is written {"$float": "nan"}."""
    columns = [signal["table"].get(axis, []) for axis in ("x_mm", "y_mm", "z_mm")]
    places = zip(signal["channel_names"], zip(*columns, strict=True), strict=False)
    return {c: np.array(xyz) / 1e3 for c, xyz in places if not any(isinstance(x, dict) for x in xyz)}


def marks_of(file, stream):
    """Start, duration and label of each event or interval of a stream."""
    if stream["kind"] not in ("events", "intervals") or not stream["n_rows"]:
        return []
    rows = file[stream["path"]]
    starts = rows["event_times" if stream["kind"] == "events" else "start_time"][:]
    durations = np.zeros(len(starts))
    if stream["kind"] == "intervals":
        durations = rows["stop_time"][:] - starts
    elif "duration_s" in rows:
        durations = np.nan_to_num(rows["duration_s"][:])
    return zip(starts, durations, rows["label"].asstr()[:], strict=True)


if __name__ == "__main__":
    mne.set_log_level("error")
    raw = raw_of(sys.argv[1] if len(sys.argv) > 1 else "store/sessions/sub-07_ses-2/v001/session.nwb")
    print(len(raw.ch_names), "channels at", raw.info["sfreq"], "Hz, bad:", ", ".join(raw.info["bads"]))
    print(len(raw.annotations), "annotations, the first", raw.annotations.description[0])
