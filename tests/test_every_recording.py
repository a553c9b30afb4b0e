"""Every file of the folder of real recordings: equal to what a stock reader gives, refused for a reason, or beside one.

A file that comes anew is compared by itself where MNE reads its format; else it is in none of the tables below, and a
test says so.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, Signal, format_of, naming_files, read
from neuroloom.ingest.folders import files_of
from neuroloom.ingest.ledger import Defect

TESTS = Path(__file__).parent / "ingest" / "formats"
QUIET = {"preload": True, "verbose": "error"}

STOCK = {
    "ant": lambda path: mne.io.read_raw_ant(path, **QUIET),
    "blackrock": lambda path: mne.io.read_raw_nsx(path, **QUIET),
    "brainvision": lambda path: mne.io.read_raw_brainvision(path, **QUIET),
    "bti": lambda path: mne.io.read_raw_bti(
        path, path.with_name("test_config_linux"), path.with_name("test_hs_linux"), rename_channels=False, **QUIET
    ),
    "curry": lambda path: mne.io.read_raw_curry(path, **QUIET),
    "edf": lambda path: mne.io.read_raw(path, **QUIET),
    "eeglab": lambda path: mne.io.read_raw_eeglab(path, **QUIET),
    "egi_raw": lambda path: mne.io.read_raw_egi(path, **QUIET),
    "fif": lambda path: mne.io.read_raw_fif(path, **QUIET),
    "gdf": lambda path: mne.io.read_raw_gdf(path, **QUIET),
    "kit": lambda path: mne.io.read_raw_kit(path, **QUIET),
    "neuroscan": lambda path: mne.io.read_raw_cnt(
        path, data_format="int32" if "JWoess" in path.name else "int16", **QUIET
    ),
    "nicolet": lambda path: mne.io.read_raw_nicolet(path.with_suffix(".data"), ch_type="eeg", **QUIET),
    "nihon": lambda path: mne.io.read_raw_nihon(path, **QUIET),
    "persyst": lambda path: mne.io.read_raw_persyst(path, **QUIET),
    "snirf": lambda path: mne.io.read_raw_snirf(path, **QUIET),
}

# Compared in the tests of their format, with a reader of another kind, or in another way; the test names the file.
ELSEWHERE = {
    "abf", "bids_motion", "ctf", "egi_mff", "event_table", "eyelink", "eyelink_edf", "fieldtrip", "gaze_table",
    "glasses_report", "neon", "neuralynx", "nwb", "phy", "pupil_core", "smi", "tobii", "tobii_glasses", "tobii_sdk",
    "trodes", "xdf",
}  # fmt: skip
ELSEWHERE_TOO = (
    "*/test_epochs_onefile.set", "*/testData.nev", "*/test_NEURALSG_raw.ns3",
    "odd/bids/emg_Multimodal/*.edf",
)  # fmt: skip

# Where a test goes over several, by what it calls them.
NAMED_AS = {
    "*/eeg_matchingpennies/*_events.tsv": "eeg/bids/**/*_events.tsv",
    "odd/bids/emg_Multimodal/*.edf": "emg_Multimodal/sub-01/{kind}/sub-01_task-pullstand_{kind}.edf",
    "*/GlassesTestCodeData/*/report.tsv": "report.tsv",
}  # fmt: skip

# Channels of which MNE gives other numbers, or none: the file's own stay.
UNLIKE = {
    "test.bdf Status": "MNE masks the codes of a trigger channel",
    "test_bdf_stim_channel.bdf Status": "MNE masks the codes of a trigger channel",
    "multiple_annotation_chans.bdf Trigger": "MNE gives the integers of a trigger channel",
    "test.edf Status": "MNE gives the integers of a trigger channel",
    "test_stim_channel.edf stAtUs": "MNE gives the integers of a trigger channel",
    "test_stim_channel.edf tRigGer": "MNE gives the integers of a trigger channel",
    "test_uneven_samp.edf 0.2Hz Blk 1/0uV": "MNE resamples it to the rate of the other channel",
    "Ref_channel_omitted Curry7.dap Trigger": "MNE takes a channel without a unit for microvolts",
    "MB0400FU.EEG marks": "MNE leaves the word of marks out",
    "2021-04-23_005.snirf *": "MNE leaves auxiliary channels out",
    "2021-05-05_001.snirf *": "MNE leaves auxiliary channels out",
}

REFUSED = {
    "eeg/bids/bids-examples/eeg_matchingpennies/sub-??/eeg/*_eeg.vhdr": "0 bytes; at least one sample of 10 channels",
    "eeg/curry/mne-testing-data/c,rfDC Curry ?.*": "the file of its samples '.*' is not beside it",
    "eeg/fif/*-eve.fif": "holds a list of events; raw samples are wanted",
    "eeg/fif/*-annot.fif": "holds a list of events; raw samples are wanted",
    "electrode/openephys_meta/ephysiopy/structure.oebin": "is not there; the samples of .* are wanted",
    "electrode/spikeglx_meta/ibl-neuropixel/*.meta": "is not beside it; the samples are wanted",
    "gaze/csv_generic/pymovements/*.[ct]sv": "do(es)? not state .*wanted is a .*toml beside it",
    "gaze/tobii/EMDAT/Tobii4C/4Ctest_fixation.csv": "do not state the unit of time",
    "odd/eeglab_missing_fdt/*/test_raw_h5.set": "the file of its samples 'test_raw.fdt' is not beside it",
    "odd/nwb/pynwb/1.[01].*.nwb": "no series, events, intervals or units in it",
    "odd/nwb/pynwb/1.5.1_timeseries_no_data.nwb": "has no 'data'",
    "odd/nwb/pynwb/2.2.0_subject_no_age__reference.nwb": "no series, events, intervals or units in it",
}

UNKNOWN = (
    "gaze/csv_generic/pymovements/18sat_fixfinal.csv", "gaze/csv_generic/pymovements/*.feather",
    "gaze/csv_generic/pymovements/copco_rm_dummy.csv", "gaze/csv_generic/pymovements/gaze_on_faces_example.csv",
    "gaze/csv_generic/pymovements/gazebase_*.csv", "gaze/csv_generic/pymovements/gazegraph_example.csv",
    "gaze/csv_generic/pymovements/missing_values_example.csv",
    "gaze/csv_generic/pymovements/potsdam_binge_pvt_example.csv", "odd/gaze_tables/saccades/empty.txt",
    "electrode/phy/phy-data/test/test-4ch-1s.dat",
)  # fmt: skip

BESIDE = {
    "connectome/*": "connectomes, which models are built on",
    "*/README*": "words",
    "*/CHANGES": "words",
    "*/LICENSE": "words",
    "*/note.txt": "words",
    "*/.gitignore": "words",
    "*/bids-examples/*/dataset_description.json": "of the data set, not of a recording",
    "*/bids-examples/*/participants.*": "of the data set, not of a recording",
    "odd/bids/emg_Multimodal/dataset_description.json": "of the data set, not of a recording",
    "odd/bids/emg_Multimodal/scans.json": "of the data set, not of a recording",
    "*/task-*_e*.json": "of the data set, and of recordings that it lies above",
    "*/eeg_matchingpennies/code/*": "programs",
    "*/eeg_matchingpennies/stimuli/*": "pictures",
    "*/eeg_matchingpennies/sourcedata/*.xdf": "0 bytes",
    "*/eeg_matchingpennies/sub-*_channels.tsv": "of a recording of 0 bytes",
    "*/eeg_matchingpennies/sub-*.eeg": "0 bytes",
    "*/eeg_matchingpennies/sub-*.vmrk": "of a recording of 0 bytes",
    "eeg/curry/*/c,rfDC Curry 7.rs3": "of a recording whose samples are not here",
    "eeg/eeglab/*/test_chans.locs": "places of electrodes, of no recording here",
    "eeg/egi_mff/*/test_egi_evoked_cat?.txt": "the averages as text, of a recording that is read",
    "electrode/neuralynx/*.mat": "the recording beside it as MATLAB has it",
    "electrode/openephys_meta/*/settings.xml": "settings of no recording here; read in test_openephys.py",
    "electrode/openephys_meta/*/sync_messages.txt": "of a recording whose samples are not here",
    "electrode_behaviour/*/spikes.mat": "spikes in a layout of their own; read as declared in test_arrays.py",
    "gaze/*.seg": "scenes of EMDAT, in a layout of its own",
}

UNIT_TO_SI = {"uV": 1e-6, "µS": 1e-6, "uS": 1e-6}


@pytest.fixture(scope="module")
def named(recordings_dir):
    """Path within the folder -> format, of all that names a recording."""
    tops = [top for top in sorted(recordings_dir.iterdir()) if top.is_dir() and top.name != "connectome"]
    found = [path for top in tops for path in naming_files(top)]
    return {path.relative_to(recordings_dir).as_posix(): format_of(path) for path in found}


def is_like(path, table):
    return next((pattern for pattern in table if fnmatch(path, pattern)), None)


@pytest.mark.parametrize("form", STOCK)
def test_every_recording_equals_what_mne_gives(recordings_dir, named, form):
    mine = [
        p for p, name in named.items() if name == form and not is_like(p, REFUSED) and not is_like(p, ELSEWHERE_TOO)
    ]
    assert mine
    problems = [f"{path}: {problem}" for path in mine for problem in unlike(recordings_dir / path, STOCK[form])]
    assert problems == []


@cache
def recordings_of(path):
    return read(path)


def unlike(path, stock):
    """What is not equal: names, numbers of samples, the rate, samples in SI units where each lies in time."""
    raw = stock(path)
    theirs = dict(zip((name.partition("\x00")[0].casefold() for name in raw.ch_names), raw.get_data(), strict=True))
    (recording,) = recordings_of(path)
    signals = [stream for stream in recording.streams if isinstance(stream, Signal) and stream.n_samples]
    ours = [name.casefold() for signal in signals for name in signal.channel_names]
    if not set(ours) & set(theirs):  # the file names no channel, MNE makes up other names
        theirs = dict(zip(ours, theirs.values(), strict=True))
    for signal in signals:
        for k, name in enumerate(signal.channel_names):
            if is_like(f"{path.name} {name}", UNLIKE):
                continue
            expected = theirs.get(name.casefold())
            if expected is None:
                yield f"{name} is none of MNE's channels"
            elif signal.rate_hz != pytest.approx(raw.info["sfreq"], rel=1e-9):
                yield f"{name} has {signal.rate_hz} Hz, MNE's {raw.info['sfreq']}"
            else:
                yield from differences(signal, k, expected)


def differences(signal, k, expected):
    """Some of MNE's readers keep a gap, as zeros, others close it; some multiply by a gain of float32."""
    n_seen, has_gaps = 0, len(expected) > signal.n_samples
    for segment, values in zip(signal.segments, signal.values(), strict=True):
        at = round((segment.timebase.start_s - signal.start_s) * signal.rate_hz) if has_gaps else n_seen
        ours, part = values[:, k] * UNIT_TO_SI.get(signal.unit, 1.0), expected[at : at + len(values)]
        n_seen = at + len(values)
        if len(part) != len(ours) or not np.allclose(ours, part, rtol=1e-6, atol=1e-7 * np.abs(part).max(initial=0)):
            yield f"{signal.channel_names[k]}: samples {at} to {n_seen} differ"
    if n_seen != len(expected):
        yield f"{signal.channel_names[k]}: {n_seen} samples, MNE has {len(expected)}"


def test_what_is_compared_elsewhere_is_named_there(named):
    for path, form in named.items():
        if is_like(path, REFUSED) or not (form in ELSEWHERE or is_like(path, ELSEWHERE_TOO)):
            continue
        name = next((name for pattern, name in NAMED_AS.items() if fnmatch(path, pattern)), Path(path).name)
        assert name in (TESTS / f"test_{form}.py").read_text(), f"{path}: test_{form}.py does not name it"


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_is_refused_is_refused_for_its_reason(recordings_dir, named, pattern):
    paths = [path for path in named if is_like(path, [pattern])]
    assert paths
    for path in paths:
        with pytest.raises(FormatError, match=REFUSED[pattern]):
            read(recordings_dir / path)


def test_every_format_has_a_place(named):
    assert set(named.values()) <= {*STOCK, *ELSEWHERE, "spikeglx", "openephys"}


def test_every_repair_tells_what_was_found_and_what_was_used(recordings_dir, named):
    lines = [
        line
        for path, form in named.items()
        if form in STOCK and not is_like(path, REFUSED)
        for recording in recordings_of(recordings_dir / path)
        for line in recording.repairs
        if isinstance(line, Defect)
    ]
    assert len(lines) > 5
    assert all(line.found and line.used and not re.search(r"\.$", line.used) for line in lines)


def test_every_file_of_the_index_is_of_a_recording_or_known_to_be_beside_one(recordings_dir, named):
    rows = (recordings_dir / "INDEX.tsv").read_text().splitlines()[1:]
    inside = {row.split("\t")[0] for row in rows}
    for path, form in named.items():
        if is_like(path, REFUSED):
            inside.discard(path)
        else:
            inside -= {file.relative_to(recordings_dir).as_posix() for file in files_of(recordings_dir / path, form)}
            inside = {file for file in inside if not file.startswith(f"{path}/")}
    assert sorted(file for file in inside if not is_like(file, BESIDE) and not is_like(file, UNKNOWN)) == []


@pytest.mark.parametrize("pattern", UNKNOWN)
def test_what_no_format_knows_is_refused(recordings_dir, pattern):
    paths = sorted(recordings_dir.glob(pattern))
    assert paths
    for path in paths:
        with pytest.raises(FormatError, match=r"none of the \d+ formats known here recognises it|is empty"):
            read(path)
