"""Hand a session on: as a BIDS dataset, or as NWB that opens with nothing extra.

    export_bids(session, root)       EEG, iEEG and their kin as BrainVision through MNE-BIDS, events beside them;
                                     gaze and pupil as eye tracking (`_physio.tsv.gz`); its files in `sourcedata/`
    export_portable(session, folder) the session's files with wideband traces in gzip instead of bitshuffle

What BIDS has no place for is left out by name. Samples keep their integers; memory does not grow with the recording.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest import durable
from neuroloom.ingest._nwb_layout import MAIN_FILE, VOLTS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal
from neuroloom.ingest.timebase import Timebase

DATATYPES = {"eeg": "eeg", "eog": "eeg", "ecg": "eeg", "emg": "emg", "ieeg": "ieeg", "lfp": "ieeg"}
KINDS = {"eeg": "eeg", "eog": "eog", "ecg": "ecg", "emg": "emg", "ieeg": "seeg", "lfp": "seeg"}
EYES = ("gaze", "pupil")
BLOCK_VALUES = 1 << 21
BINARY = {"int16": "INT_16", "int32": "INT_32", "float32": "IEEE_FLOAT_32"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and by stream why the rest was not."""

    files: tuple[Path, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def export_bids(session: Session, root: Path) -> Exported:
    """Add a session to the BIDS dataset at `root`, which is made where it is missing.

    A stream with gaps becomes one run per unbroken segment: BIDS has no gaps. Raises FileExistsError where the
    session is in the dataset already.
    """
    files: list[Path] = []
    left_out: dict[str, str] = {}
    taken = [s for s in session.streams if isinstance(s, Signal) and s.modality in DATATYPES and s.unit in VOLTS]
    for stream in session.streams:
        if stream in taken:
            try:
                files += _write_electric(session, stream, root, several=len(taken) > 1)
            except FileExistsError as error:  # in words that ask for an option of MNE-BIDS
                raise FileExistsError(f"{root}: {session.id} is in that dataset already; another is wanted") from error
        elif isinstance(stream, Signal) and stream.modality in EYES:
            files += _write_eyes(session, stream, root)
        elif not isinstance(stream, Events | Intervals):
            left_out[stream.name] = f"BIDS has no place for {stream.modality}; it is in sourcedata"
    if session.path is not None and session.path.is_dir():
        files += _copied(session, root / "sourcedata" / _names(session)["folder"])
    return Exported(files=tuple(files), left_out=left_out)


def export_portable(session: Session, folder: Path) -> Exported:
    """Write the session into a new folder with filters that every HDF5 has: `session.nwb` holds wideband traces too.

    Raises FileExistsError where the folder is there already.
    """
    from neuroloom.ingest._nwb_write import write_nwb
    from neuroloom.ingest._session_write import head_of

    with durable.new_folder(folder) as staging:
        write_nwb(staging / MAIN_FILE, head_of(session), tuple(session.streams))
    return Exported(files=(folder / MAIN_FILE,))


def _names(session: Session) -> dict[str, str]:
    named = {"subject": session.subject, "session": session.session, "task": session.task or "rest", "run": session.run}
    return named | {"folder": f"sub-{session.subject}/ses-{session.session}"}


def _write_electric(session: Session, signal: Signal, root: Path, *, several: bool) -> Iterator[Path]:
    import mne
    import mne_bids

    datatype = DATATYPES[signal.modality]
    for number, segment in enumerate(signal.segments, 1):
        with tempfile.TemporaryDirectory(prefix="neuroloom-bids-") as work, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = mne.io.read_raw_brainvision(_brainvision(signal, segment, Path(work)), verbose="error")
            raw.set_channel_types(_kinds(signal), verbose="error")
            raw.set_annotations(_annotations(session, segment), verbose="error")
            raw.info["line_freq"] = None
            path = mne_bids.BIDSPath(
                root=root,
                subject=session.subject,
                session=session.session,
                task=session.task or "rest",
                acquisition=_plain(signal.name) if several else None,
                run=session.run or (str(number) if len(signal.segments) > 1 else None),
                datatype=datatype,
                suffix=datatype,
            )
            yield Path(mne_bids.write_raw_bids(raw, path, format="BrainVision", verbose="error").fpath)


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isalnum()) or "signal"


def _kinds(signal: Signal) -> dict[str, str]:
    stated = signal.table.get("kind", ("",) * len(signal.channel_names))
    default = KINDS[signal.modality]
    return {name: KINDS.get(str(kind), default) for name, kind in zip(signal.channel_names, stated, strict=True)}


def _annotations(session: Session, segment: Segment) -> Any:
    """Every event and interval of the session that falls into a segment, its label led by the stream's name."""
    import mne

    start_s, stop_s = segment.timebase.start_s, segment.timebase.stop_s
    rows: list[tuple[float, float, str]] = []
    for stream in session.between(start_s, stop_s).streams:
        if isinstance(stream, Events):
            rows += [(t, 0.0, f"{stream.name}/{x}") for t, x in zip(stream.times_s, stream.labels, strict=True)]
        elif isinstance(stream, Intervals):
            rows += [
                (max(a, start_s), min(b, stop_s) - max(a, start_s), f"{stream.name}/{x}")
                for (a, b), x in zip(stream.bounds_s, stream.labels, strict=True)
            ]
    onsets, lasts, labels = zip(*sorted(rows), strict=True) if rows else ((), (), ())
    return mne.Annotations(np.array(onsets, dtype=float) - start_s, np.array(lasts, dtype=float), list(labels))


def _brainvision(signal: Signal, segment: Segment, folder: Path) -> Path:
    """One segment as a BrainVision triplet: the original integers where there is no offset, else float32 microvolts."""
    base = segment.timebase
    if not isinstance(base, Timebase):
        raise ValueError(f"{signal.name}: has timestamps instead of a rate, which BIDS has no place for")
    to_uV = VOLTS[signal.unit] * 1e6
    kept = segment.samples.dtype.name in BINARY and not signal.offset.any()
    dtype = segment.samples.dtype if kept else np.dtype("float32")
    gains = signal.gain * to_uV if kept else np.ones(len(signal.channel_names))
    rows = max(1, BLOCK_VALUES // max(1, len(signal.channel_names)))
    with (folder / "x.eeg").open("wb") as file:
        for first in range(0, base.n_samples, rows):
            block = np.asarray(segment.samples[slice(first, first + rows)])
            values = block if kept else (block.astype(np.float64) * signal.gain + signal.offset) * to_uV
            file.write(np.ascontiguousarray(values, dtype=dtype.newbyteorder("<")).tobytes())
    channels = "".join(
        f"Ch{i}={name.replace(',', chr(92) + '1')},,{gain:.12g},µV\n"
        for i, (name, gain) in enumerate(zip(signal.channel_names, gains, strict=True), 1)
    )
    header = _VHDR.format(
        n=len(gains), interval=f"{1e6 / base.rate_hz:.12g}", binary=BINARY[dtype.name], channels=channels
    )
    (folder / "x.vhdr").write_text(header, encoding="utf-8")
    (folder / "x.vmrk").write_text(_VMRK, encoding="utf-8")
    return folder / "x.vhdr"


def _write_eyes(session: Session, signal: Signal, root: Path) -> Iterator[Path]:
    """Eye tracking as BIDS has it: a column per channel, times since the session's start in the sidecar."""
    names = _names(session)
    folder = root / names["folder"] / "beh"
    folder.mkdir(parents=True, exist_ok=True)
    for number, segment in enumerate(signal.segments, 1):
        run = names["run"] or (str(number) if len(signal.segments) > 1 else "")
        stem = f"sub-{names['subject']}_ses-{names['session']}_task-{names['task']}"
        stem += (f"_run-{run}" if run else "") + f"_recording-{_plain(signal.name)}_physio"
        path = folder / f"{stem}.tsv.gz"
        if path.exists():
            raise FileExistsError(f"{path}: is there already; nothing in a dataset is replaced")
        irregular = not isinstance(segment.timebase, Timebase)
        with gzip.open(path, "wt", encoding="ascii") as file:
            _rows(file, signal, segment, with_times=irregular)
        sidecar = {
            "SamplingFrequency": segment.timebase.rate_hz,
            "StartTime": segment.timebase.start_s,
            "Columns": [*(["timestamp"] if irregular else []), *signal.channel_names],
            "PhysioType": "eyetrack",
            "Units": signal.unit,
        }
        (folder / f"{stem}.json").write_text(json.dumps(sidecar, indent=1), encoding="utf-8")
        yield path


def _rows(file: Any, signal: Signal, segment: Segment, *, with_times: bool) -> None:
    rows = max(1, BLOCK_VALUES // max(1, len(signal.channel_names)))
    for first in range(0, segment.timebase.n_samples, rows):
        stop = min(first + rows, segment.timebase.n_samples)
        values = np.asarray(segment.samples[slice(first, stop)], dtype=np.float64) * signal.gain + signal.offset
        if with_times:
            values = np.column_stack([segment.timebase.seconds(np.arange(first, stop)), values])
        text = "\n".join("\t".join("n/a" if np.isnan(v) else f"{v:.10g}" for v in row) for row in values)
        file.write(text + "\n")


def _copied(session: Session, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(session.path.iterdir()) if session.path is not None else ():
        shutil.copyfile(path, folder / path.name)
        yield folder / path.name


_VHDR = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile=x.eeg
MarkerFile=x.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels={n}
SamplingInterval={interval}

[Binary Infos]
BinaryFormat={binary}

[Channel Infos]
{channels}"""

_VMRK = """Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile=x.eeg

[Marker Infos]
Mk1=New Segment,,1,1,0
"""
