"""Hand a session on: as a BIDS dataset, or as NWB that opens with nothing extra.

    export_bids(session, root)       EEG and iEEG with the EOG, ECG and EMG that were recorded with them, and EMG, as
                                     BrainVision; events, channels, electrodes, participants as the session holds them;
                                     gaze, pupil, and EOG and ECG by themselves as `_physio.tsv.gz`; the session's own
                                     files in `sourcedata/`
    export_portable(session, folder) the session's files with wideband traces in gzip instead of bitshuffle

What BIDS has no place for is left out by name. Samples keep their integers; memory does not grow with the recording.

Design rationale: names are checked by MNE-BIDS, which reads the dataset back in the tests. Its `write_raw_bids` does
not write it: that knows of events as labels alone, of channels as good, and of a person by a date of birth.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest import durable
from neuroloom.ingest._nwb_layout import MAIN_FILE, VOLTS
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal
from neuroloom.ingest.timebase import FloatArray, Timebase
from neuroloom.pipeline.care import _bids_tables as tables
from neuroloom.pipeline.care._bids_dataset import PEOPLE, added
from neuroloom.pipeline.care._bids_events import Marks, marks_of, screen_of, write_events
from neuroloom.pipeline.care._bids_text import cell, json_text, table_text, write_json, write_table

DATATYPES = {"eeg": "eeg", "ieeg": "ieeg", "lfp": "ieeg"}  # of what has a file of its own
ORDER = ("eeg", "ieeg", "emg")  # onsets count from the first of them
BESIDE = ("eog", "ecg", "emg")  # recorded with another on one clock, at one rate, they are channels of its file
EYES = ("gaze", "pupil")
ROWS = 1 << 14  # of text, written at once
BLOCK_VALUES = 1 << 21
MOST_HALVED = 8  # times: 1/512 of the least step an original sample can make is little enough
BINARY = {"int16": "INT_16", "int32": "INT_32", "float32": "IEEE_FLOAT_32"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and by stream why the rest was not."""

    files: tuple[Path, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _File:
    """Signals of one clock and rate that make one recording of a dataset, the one it is named after first."""

    datatype: str
    signals: tuple[Signal, ...]

    @property
    def first(self) -> Signal:
        return self.signals[0]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What goes where. files: the one that onsets count from first."""

    files: tuple[_File, ...]
    physio: tuple[tuple[Signal, ...], ...]
    left_out: dict[str, str]


def export_bids(session: Session, root: Path) -> Exported:
    """Add a session to the BIDS dataset at `root`, which is made where it is missing. All of it is added, or nothing.

    A stream with gaps becomes one run per unbroken segment: BIDS has no gaps. Raises FileExistsError where the
    session is in the dataset already, ValueError where it holds nothing that BIDS has a place for.
    """
    plan = _plan(session)
    main = plan.files[0].first if plan.files else None
    marks = marks_of(session, main)
    if not plan.files and not plan.physio:
        raise ValueError(f"{session.id}: holds no EEG, iEEG, EMG, gaze or pupil; BIDS has no place for the rest")
    with added(root, session.id) as staging:
        written: list[Path] = []
        for one in plan.files:
            written += _write_electric(session, one, plan, marks, root, staging)
        for signals in plan.physio:
            written += _write_physio(session, signals, main, staging)
        if main is None:
            folder = staging / _folder(session) / "beh"
            about = screen_of(plan.physio)
            write_events(folder, _stem(session, "beh", None, None), marks.rows, from_s=0.0, about=about)
        _write_scans(session, plan, staging)
        if session.path is not None and session.path.is_dir():
            written += _copied(session, staging / "sourcedata" / _folder(session))
        names = [path.relative_to(staging) for path in written]
    return Exported(files=tuple(root / name for name in names), left_out={**plan.left_out, **marks.left_out})


def export_portable(session: Session, folder: Path) -> Exported:
    """Write the session into a new folder with filters that every HDF5 has: `session.nwb` holds wideband traces too.

    Raises FileExistsError where the folder is there already.
    """
    from neuroloom.ingest._nwb_write import write_nwb
    from neuroloom.ingest._session_write import head_of

    with durable.new_folder(folder) as staging:
        write_nwb(staging / MAIN_FILE, head_of(session), tuple(session.streams))
    return Exported(files=(folder / MAIN_FILE,))


# What goes where ----------------------------------------------------------------------------------------------------


def _plan(session: Session) -> _Plan:
    left_out: dict[str, str] = {}
    electric: list[Signal] = []
    slow: list[Signal] = []
    for stream in session.streams:
        if isinstance(stream, Events | Intervals):
            continue
        if why := _why_not(stream):
            left_out[stream.name] = f"{why}; it is in sourcedata"
        elif isinstance(stream, Signal):
            (slow if stream.modality in EYES else electric).append(stream)
    files: list[_File] = []
    beside = [signal for signal in electric if signal.modality in BESIDE]
    for signal in electric:
        if signal.modality in DATATYPES:
            mine = [other for other in beside if _is_together(signal, other)]
            beside = [other for other in beside if not any(other is one for one in mine)]
            files.append(_File(datatype=DATATYPES[signal.modality], signals=(signal, *mine)))
    files += [_File(datatype="emg", signals=(signal,)) for signal in beside if signal.modality == "emg"]
    slow += [signal for signal in beside if signal.modality != "emg"]
    files.sort(key=lambda one: (one.first.device != session.clock, ORDER.index(one.datatype)))
    return _Plan(files=tuple(files), physio=tuple(_in_tables(slow)), left_out=left_out)


def _in_tables(signals: Sequence[Signal]) -> Iterator[tuple[Signal, ...]]:
    """What lies in one table: gaze and the pupil that was seen with it; all else by itself."""
    rest = list(signals)
    while rest:
        first = rest.pop(0)
        mine = [s for s in rest if first.modality in EYES and s.modality in EYES and _is_together(first, s)]
        rest = [signal for signal in rest if not any(signal is one for one in mine)]
        yield (first, *mine)


def _why_not(stream: Any) -> str:
    """Why a stream has no place in the dataset, "" where it has one."""
    if not isinstance(stream, Signal) or stream.modality not in (*DATATYPES, *BESIDE, *EYES):
        return f"{stream.modality} is not handed on as BIDS"
    if not stream.segments or not stream.channel_names:
        return "holds no samples"
    if stream.provenance.get("replaces"):
        return f"computed here of {stream.provenance['replaces']}; BIDS keeps that among derivatives"
    if stream.modality in EYES:
        return ""
    if stream.unit not in VOLTS:
        return f"is in {stream.unit}; BIDS wants volts of {stream.modality}"
    if not all(isinstance(segment.timebase, Timebase) for segment in stream.segments):
        return "has times of its own instead of one rate, which BIDS has no place for"
    return ""


def _is_together(one: Signal, other: Signal) -> bool:
    """Whether two signals were recorded on one clock, at the same moments."""
    times, others = ([segment.timebase for segment in signal.segments] for signal in (one, other))
    return one.device == other.device and times == others


def _folder(session: Session) -> Path:
    return Path(f"sub-{session.subject}", f"ses-{session.session}")


def _stem(session: Session, datatype: str, acquisition: str | None, run: str | None) -> str:
    """`sub-01_ses-01_task-rest`, with an acquisition and a run where there are any; MNE-BIDS checks it."""
    import mne_bids

    path = mne_bids.BIDSPath(
        subject=session.subject,
        session=session.session,
        task=_plain(session.task or "rest"),
        acquisition=acquisition,
        run=run,
        datatype=datatype,
    )
    return str(path.basename)


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isalnum()) or "signal"


def _run(session: Session, number: int, n_segments: int) -> str | None:
    """The run of a segment; of a session that is a run itself 1 becomes 101, 102 and so on."""
    if n_segments == 1:
        return session.run or None
    return f"{session.run}{number:02d}" if session.run else str(number)


def _stems(session: Session, one: _File, plan: _Plan) -> list[str]:
    """A stem per segment of a recording."""
    several = sum(other.datatype == one.datatype for other in plan.files) > 1
    acquisition = _plain(one.first.name) if several else None
    n = len(one.first.segments)
    return [_stem(session, one.datatype, acquisition, _run(session, k, n)) for k in range(1, n + 1)]


# Electric signals ----------------------------------------------------------------------------------------------------


def _write_electric(
    session: Session, one: _File, plan: _Plan, marks: Marks, root: Path, staging: Path
) -> Iterator[Path]:
    """A recording and what BIDS has beside it, once per segment; gives the headers."""
    folder = _folder(session) / one.datatype
    is_main = one is plan.files[0]
    stems = _stems(session, one, plan)
    for k, stem in enumerate(stems):
        if (root / folder / f"{stem}_{one.datatype}.vhdr").exists():
            raise FileExistsError(f"{root}: {session.id} is in that dataset already ({stem}); another is wanted")
        segments = [signal.segments[k] for signal in one.signals]
        base = segments[0].timebase
        (staging / folder).mkdir(parents=True, exist_ok=True)
        path = staging / folder / f"{stem}_{one.datatype}"
        yield _brainvision(session, one, segments, path, marks.markers if is_main else ())
        said = tables.recording_json(session, one.signals, one.datatype, base.n_samples / base.rate_hz)
        write_json(staging / folder / f"{stem}_{one.datatype}.json", said)
        write_table(staging / folder / f"{stem}_channels.tsv", *tables.channel_rows(session, one.signals))
        if is_main:
            rows = [_of_segment(stream, one.first, k) for stream in marks.rows]
            about = screen_of(plan.physio)
            write_events(staging / folder, stem, rows, from_s=base.start_s, about=about)
    _write_electrodes(session, one, folder, stems, root, staging)


def _of_segment(stream: Events | Intervals, signal: Signal, k: int) -> Events | Intervals:
    """What happened from the start of a segment to that of the next; what came before the first is the first's."""
    starts_s = [segment.timebase.start_s for segment in signal.segments]
    from_s = starts_s[k] if k else -np.inf
    to_s = starts_s[k + 1] if k + 1 < len(starts_s) else np.inf
    at_s = stream.times_s if isinstance(stream, Events) else stream.bounds_s[:, 0]
    rows = np.flatnonzero((at_s >= from_s) & (at_s < to_s))
    if len(rows) == len(stream.labels):
        return stream
    table = {key: tuple(column[i] for i in rows) for key, column in stream.table.items()}
    labels = tuple(stream.labels[i] for i in rows)
    if isinstance(stream, Events):
        return Events(name=stream.name, modality=stream.modality, times_s=at_s[rows], labels=labels, table=table)
    return Intervals(
        name=stream.name, modality=stream.modality, bounds_s=stream.bounds_s[rows], labels=labels, table=table
    )


def _write_electrodes(
    session: Session, one: _File, folder: Path, stems: Sequence[str], root: Path, staging: Path
) -> None:
    """Places of a session's electrodes; under the name of the recording where the dataset has others of that name."""
    found = tables.electrode_rows(one.signals, one.datatype)
    if found is None:
        return
    rows, system = found
    texts = {"electrodes.tsv": table_text(["name", "x", "y", "z"], rows), "coordsystem.json": json_text(system)}
    short = f"sub-{session.subject}_ses-{session.session}"
    for place in (root, staging):
        if any(_differs(place / folder / f"{short}_{ending}", text) for ending, text in texts.items()):
            short = ""
    for stem in [short] if short else stems:
        for ending, text in texts.items():
            if not (root / folder / f"{stem}_{ending}").exists():
                (staging / folder / f"{stem}_{ending}").write_text(text, encoding="utf-8")


def _differs(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") != text


def _write_scans(session: Session, plan: _Plan, staging: Path) -> None:
    """When each recording began, and who was recorded: rows that the dataset's tables get."""
    folder = _folder(session)
    rows = []
    for one in plan.files:
        for stem, segment in zip(_stems(session, one, plan), one.first.segments, strict=True):
            when = session.start and session.start + timedelta(seconds=segment.timebase.start_s)
            told = when.replace(tzinfo=None).isoformat() if when else "n/a"
            rows.append([f"{one.datatype}/{stem}_{one.datatype}.vhdr", told])
    if rows:
        name = f"sub-{session.subject}_ses-{session.session}_scans.tsv"
        write_table(staging / folder / name, ["filename", "acq_time"], rows)
    said = tables.participant(session)
    write_table(staging / PEOPLE, list(said), [list(said.values())])


def _brainvision(
    session: Session, one: _File, segments: Sequence[Segment], path: Path, markers: Sequence[Events]
) -> Path:
    """Segments of the same moments as a BrainVision triplet; gives its header."""
    base = segments[0].timebase
    names = [name for signal in one.signals for name in signal.channel_names]
    spelled = _spelled(one.signals, segments)
    rows = max(1, BLOCK_VALUES // len(names))
    with path.with_suffix(".eeg").open("wb") as file:
        for first in range(0, base.n_samples, rows):
            part = slice(first, min(first + rows, base.n_samples))
            block = np.hstack([np.asarray(segment.samples[part]) for segment in segments])
            file.write(np.ascontiguousarray(spelled.of(block), dtype=spelled.dtype.newbyteorder("<")).tobytes())
    references = [str(r) for s in one.signals for r in s.table.get("reference", ("",) * len(s.channel_names))]
    channels = "".join(
        f"Ch{i}={_escaped(name)},{_escaped(reference)},{float(gain)!r},µV\n"
        for i, (name, reference, gain) in enumerate(zip(names, references, spelled.gain_uV, strict=True), 1)
    )
    said = {"n": len(names), "interval": repr(1e6 / base.rate_hz), "binary": BINARY[spelled.dtype.name]}
    path.with_suffix(".vhdr").write_text(_VHDR.format(**said, stem=path.name, channels=channels), encoding="utf-8")
    path.with_suffix(".vmrk").write_text(_markers(session, base, path.name, markers), encoding="utf-8")
    return path.with_suffix(".vhdr")


@dataclass(frozen=True, eq=False)
class _Spelled:
    """How samples are written: factor * original + shift as dtype, of which one is gain_uV; (C,) each, or 1 and 0."""

    dtype: np.dtype[Any]
    gain_uV: FloatArray
    factor: Any = 1
    shift: Any = 0

    def of(self, block: Any) -> Any:
        """A block of original samples, (T, C), as it is written."""
        return block if np.ndim(self.factor) == 0 else block.astype(self.factor.dtype) * self.factor + self.shift


def _spelled(signals: Sequence[Signal], segments: Sequence[Segment]) -> _Spelled:
    """The original integers where all are of one type and have no offset, else what comes nearest in BrainVision.

    BrainVision knows no offset, and an offset is seldom a whole multiple of the gain. Integers of 16 bits go into 32
    with a gain that is halved as often as there is room: what is lost is half of that at most, the same for all samples
    of a channel. Anything else becomes float32 microvolts.
    """
    gain = np.concatenate([signal.gain * VOLTS[signal.unit] * 1e6 for signal in signals])
    offset = np.concatenate([signal.offset * VOLTS[signal.unit] * 1e6 for signal in signals])
    dtypes = {segment.samples.dtype for segment in segments}
    dtype = segments[0].samples.dtype
    if len(dtypes) == 1 and dtype.name in BINARY and not offset.any():
        return _Spelled(dtype, gain)
    if all(one.kind in "iu" and one.itemsize <= 2 for one in dtypes) and gain.all():
        in_gains = offset / gain
        room = np.floor(np.log2(2.0**31 / (np.abs(in_gains) + 2.0**16 + 1)))
        if (room >= 0).all():
            factor = 2 ** np.minimum(room, MOST_HALVED).astype(np.int64)
            return _Spelled(np.dtype("int32"), gain / factor, factor, np.rint(in_gains * factor).astype(np.int64))
    return _Spelled(np.dtype("float32"), np.ones(len(gain)), gain, offset)


def _escaped(text: str) -> str:
    return cell(text).replace(",", "\\1") if text else ""


def _markers(session: Session, base: Any, stem: str, markers: Sequence[Events]) -> str:
    """When the first sample was taken, and the markers that the recording's own file had."""
    when = session.start and session.start + timedelta(seconds=base.start_s)
    lines = [f"New Segment,,1,1,0{when.strftime(',%Y%m%d%H%M%S%f') if when else ''}"]
    for stream in markers:
        columns = (stream.times_s, stream.table["duration_s"], stream.table["kind"], stream.labels)
        for time_s, lasts_s, kind, label in zip(*columns, strict=True):
            at, lasts = round((time_s - base.start_s) * base.rate_hz) + 1, round(lasts_s * base.rate_hz)
            lines.append(f"{_escaped(kind)},{_escaped(label)},{at},{lasts},0")
    return _VMRK.format(stem=stem, markers="".join(f"Mk{i}={line}\n" for i, line in enumerate(lines, 1)))


# Tables of samples ---------------------------------------------------------------------------------------------------


def _write_physio(session: Session, signals: Sequence[Signal], main: Signal | None, staging: Path) -> Iterator[Path]:
    """Signals of the same moments as a table, a column per channel; the sidecar says when, from the start of `main` on.

    Gaze and pupil are eye tracking, EOG and ECG physiology. They lie beside the recording they belong to.
    """
    folder = staging / _folder(session) / (DATATYPES.get(main.modality, main.modality) if main is not None else "beh")
    folder.mkdir(parents=True, exist_ok=True)
    from_s = main.start_s if main is not None else 0.0
    first = signals[0]
    for number, segment in enumerate(first.segments, 1):
        stem = _stem(session, "beh", None, _run(session, number, len(first.segments)))
        stem = f"{stem}_recording-{_plain(first.name)}_physio"
        irregular = not isinstance(segment.timebase, Timebase)
        with gzip.open(folder / f"{stem}.tsv.gz", "wt", encoding="ascii") as file:
            _rows(file, signals, number - 1, with_times=irregular)
        sidecar: dict[str, Any] = {
            "SamplingFrequency": segment.timebase.rate_hz,
            "StartTime": segment.timebase.start_s - from_s,
            "Columns": [*(["timestamp"] if irregular else []), *(n for s in signals for n in s.channel_names)],
            "PhysioType": "eyetrack" if first.modality in EYES else "generic",
        }
        sidecar |= {name: {"Units": signal.unit} for signal in signals for name in signal.channel_names}
        if irregular:
            sidecar["timestamp"] = {"Units": "s"}
        write_json(folder / f"{stem}.json", sidecar)
        yield folder / f"{stem}.tsv.gz"


def _rows(file: Any, signals: Sequence[Signal], number: int, *, with_times: bool) -> None:
    """The values of a segment of each signal, with all their digits."""
    base = signals[0].segments[number].timebase
    for first in range(0, base.n_samples, ROWS):
        part = slice(first, min(first + ROWS, base.n_samples))
        values = [np.asarray(s.segments[number].samples[part], dtype=np.float64) * s.gain + s.offset for s in signals]
        times = [base.seconds(np.arange(part.start, part.stop))] if with_times else []
        text = "\n".join("\t".join(map(cell, row)) for row in np.column_stack([*times, *values]).tolist())
        file.write(text + "\n")


def _copied(session: Session, folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(session.path.iterdir()) if session.path is not None else ():
        shutil.copyfile(path, folder / path.name)
        yield folder / path.name


_VHDR = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg
MarkerFile={stem}.vmrk
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
DataFile={stem}.eeg

[Marker Infos]
{markers}"""
