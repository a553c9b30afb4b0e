"""XDF, as LabRecorder writes it: chunks of samples of many streams, each on the clock of the computer that sent it.

    stream header       XML: name, type, format, nominal rate, channels
    samples             values of all channels, with a time stamp or, without one, one interval after the last sample
    clock offsets       every few seconds: how far the recorder's clock is ahead of the stream's

One Recording per stream. Numbers stay in the file until they are sliced; texts become events. A stream with a nominal
rate gets the rate measured over each unbroken run of its time stamps; one without keeps every time stamp.
`leads_to` maps its clock to that of the recorder, which all streams of the file share.

Design rationale: pyxdf loads a file whole and skips, with a line in a log, over chunks that it cannot read. Here every
chunk is looked at before anything is made of it, what cannot be read is named in `repairs`, and no more is in memory
than a chunk, besides the time stamps of streams without a rate. pyxdf comes in where the clock of a stream was reset
during the recording (its computer started anew): what belongs together then is its judgement, and the times are those
it gives.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from neuroloom.ingest.formats import FormatError, _gzip
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._xdf_chunks import Source, sources_of
from neuroloom.ingest.formats._xdf_clocks import timing_of
from neuroloom.ingest.formats._xdf_streams import streams_of
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream

TITLE = "XDF"
MODALITY = "eeg"
KEEPS = "samples as stored, gaps, texts as events, clock offsets, channel types and units; not the rest of the header"
TESTED_ON = "the example files of the XDF project; gaps, gaze and several clocks on files written by this project only"


def sniff(path: Path, head: bytes) -> bool:
    """True for the four bytes that an XDF file begins with, zipped or not."""
    if head.startswith(_gzip.SIGNATURE):
        head = _gzip.unpacked_head(head, 4)
    return head[:4] == b"XDF:"


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording per stream, on the stream's own clock; a stream that is empty and without offsets is only named."""
    if path.stat().st_size < 4:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; an XDF file begins with 'XDF:'")
    repairs: list[str] = []
    with path.open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    sources, start = sources_of(path, raw, repairs)
    clocks = _clocks(path, sources)
    recordings = [_recording(path, raw, source, clock) for source, clock in zip(sources, clocks, strict=True)]
    empty = [r for r in recordings if r.leads_to is None and not any(_length(stream) for stream in r.streams)]
    repairs += [f"{r.clock}: holds no samples and no clock offsets: left out" for r in empty]
    kept = [recording for recording in recordings if recording not in empty]
    if not kept:
        raise FormatError(f"{path}: {len(recordings)} streams, none with samples; at least one is wanted")
    kept[0] = replace(kept[0], repairs=(*repairs, *kept[0].repairs))
    return _with_starts(kept, start)


def _clocks(path: Path, sources: Sequence[Source]) -> list[str]:
    """A name for each stream's clock; the ids are added where names are equal, or like that of the recorder's clock."""
    names = [source.name for source in sources]
    if len({*names, "LSL"}) <= len(names):
        names = [f"{source.name} {source.id}" for source in sources]
    return [f"{path.stem} {name}" for name in names]


def _recording(path: Path, raw: mmap.mmap, source: Source, clock: str) -> Recording:
    repairs: list[str] = []
    try:
        timing = timing_of(path, raw, source, clock, repairs)
        streams = streams_of(path, raw, source, timing, repairs)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{path}: {source.name!r}: {error}") from error
    return Recording(
        clock=clock,
        format="xdf",
        files=(path,),
        streams=tuple(streams),
        repairs=tuple(repairs),
        leads_to=timing.leads_to,
    )


def _length(stream: Stream) -> int:
    return stream.n_samples if isinstance(stream, Signal) else len(stream.labels) if isinstance(stream, Events) else 0


def _with_starts(recordings: Sequence[Recording], start: datetime | None) -> list[Recording]:
    """When each stream began: the file's date, and by how much it came later than the first that runs at a rate.

    None for events and other streams without a rate that nothing relates to the others: they may begin at any time.
    """
    if start is None:
        return list(recordings)
    begun = [(r, _first_s(r)) for r in recordings]
    on_lsl = {r.clock: float(r.leads_to.seconds(t)) for r, t in begun if r.leads_to is not None and t is not None}
    regular = [
        r.clock for r in recordings if any(isinstance(s, Signal) and s.is_regular and s.segments for s in r.streams)
    ]
    zero_s = min((on_lsl[clock] for clock in regular if clock in on_lsl), default=None)
    dated = []
    for recording in recordings:
        seconds = on_lsl[recording.clock] - zero_s if recording.clock in on_lsl and zero_s is not None else None
        seconds = 0.0 if seconds is None and recording.clock in regular else seconds
        dated.append(replace(recording, start=later(start, seconds)))
    return dated


def _first_s(recording: Recording) -> float | None:
    times = [s.start_s for s in recording.streams if isinstance(s, Signal) and s.segments]
    times += [float(s.times_s[0]) for s in recording.streams if isinstance(s, Events) and s.times_s.size]
    return min(times, default=None)
