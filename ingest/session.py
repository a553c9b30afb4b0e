"""What happened, on one clock: the published session, a folder of valid NWB files that is whole or absent.

    FOLDER/                          never changes once it has this name; a new version is a new folder
      session.nwb                    everything but wideband samples: gzip-1, shuffle, fletcher32
      <stream>.nwb                   one companion per wideband stream: bitshuffle-lz4, fletcher32 (needs hdf5plugin);
                                     named with its digest in the index of session.nwb, never by an HDF5 link
      manifest.json                  digests of files and datasets, versions, lineage, consent: see `manifest.py`

    session.nwb, in the words of NWB 2 (times in seconds on the session clock)
      /session_start_time            `start`, taken as UTC where it names no time zone; 1970-01-01 where not known
      /general/subject               subject_id, and what a source states under "subject"; sex "U", age "P0Y/" if not
      /general/extracellular_ephys   a device per electric stream, a group per shank, an electrode per channel: its
                                     name, its area, and where its place is known rel_x and rel_y, in microns
      /acquisition/<stream>          ElectricalSeries: eeg, ieeg, lfp, emg, eog, ecg (wideband: in its companion);
                                     TimeSeries: meg, fnirs, sync, aux, and electric ones whose unit is no kind of volt
      /processing/ecephys            signals that a step of ours made (LFP in `LFP`); second and later Units
      /processing/behavior           EyeTracking, Position (SpatialSeries), PupilTracking, BehavioralTimeSeries
      /processing/misc/<stream>      Events: event_times, label, further columns
      /intervals/<stream>            Intervals: start_time, stop_time, label, further columns; `trials` the first trials
      /units                         Units: spike_times, unit_name, further columns
      /scratch/neuroloom             the index: JSON, exact, all that `Session.open` reads

    A series' name is the stream's, with what NWB or a file system cannot hold replaced by "_", then
      _segment000                    where a stream has gaps: one series per unbroken segment, nothing is bridged
      _part00                        where channels cannot share a series: an ElectricalSeries has one offset, any other
                                     series one gain and one offset, a SpatialSeries three columns at most

    The index
      version                        2; older ones are read, see `_nwb_older.py`
      subject, session, task, run, clock, start, clock_maps, sources, quality  the fields of Session
      streams                        in order; each kind, name, modality, device, provenance, and
        signal                       unit, channel_names, gain, offset (per channel), table, segments: n_samples, dtype,
                                     start_s and rate_hz or the path of timestamps, with knots (sample, seconds) where
                                     those say it all; parts: path and columns;
                                     "file" and "digest" where a companion holds it
        events, intervals, units     path, n_rows, and how labels and columns are stored; without rows there is no path
      NaN and infinities are written {"$float": "nan"}; tuples come back as lists, dates and paths as text

Samples keep their integers: value in volts = conversion * channel_conversion * sample + offset, with the exact gain and
offset per channel in the index. Rates are stored as 64-bit numbers, so a stock reader's times agree to the bit.

Design rationale: opening through the index takes half a millisecond where pynwb needs 50 to 90. Events are a plain
DynamicTable with `event_times` since AnnotationSeries is deprecated, stock readers do not know EventsTable yet, and
pynapple drops intervals of no length. Each Units stream is a table of its own since their columns differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest._nwb_read import StoredStreams, session_fields
from neuroloom.ingest.streams import Events, Signal, Stream, Units
from neuroloom.ingest.timebase import ClockMap, FloatArray

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, repr=False)
class Session:
    """Streams of one subject's session, **all on one clock**, whose zero is the first sample of the device it is of.

    clock: the device whose clock this is. clock_maps: how every other device's time was carried over to it.
    sources: per recording what it was read from: {"clock", "format", "files", "digests", "drop", "repairs", "start",
        "subject", "expects"}.
    quality: findings about streams, by stream name: {"eeg": {"bad_channels": [...], ...}}.
    """

    subject: str
    session: str = "01"
    task: str = ""
    run: str = ""
    clock: str
    streams: Sequence[Stream]
    start: datetime | None = None
    clock_maps: tuple[ClockMap, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    quality: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __repr__(self) -> str:
        where = f", {self.path}" if self.path is not None else ""
        return (
            f"<Session {self.id} on the clock of {self.clock}: {', '.join(self.stream_names) or 'no streams'}{where}>"
        )

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import session_html

        return session_html(self)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def id(self) -> str:
        """`sub-01_ses-02_task-reach_run-1`, less the task and the run where there is none."""
        rest = (("task", self.task), ("run", self.run))
        return f"sub-{self.subject}_ses-{self.session}" + "".join(f"_{key}-{value}" for key, value in rest if value)

    def __getitem__(self, name: str) -> Stream:
        """The stream of that name; KeyError lists those there are."""
        names = self.stream_names
        if name not in names:
            raise KeyError(f"{self.id} has no stream {name!r}; it has {names}")
        return self.streams[names.index(name)]

    @property
    def stream_names(self) -> list[str]:
        """The names of its streams; reads nothing."""
        return self.streams.names if isinstance(self.streams, StoredStreams) else [s.name for s in self.streams]

    def between(self, start_s: float, stop_s: float) -> Session:
        """Every stream between two times of the session clock; still lazy until values are asked for."""
        return replace(self, streams=tuple(stream.between(start_s, stop_s) for stream in self.streams))

    @property
    def missing(self) -> tuple[str, ...]:
        """Modalities that whoever dropped the recordings expects and that are not there (yet)."""
        expected = dict.fromkeys(name for source in self.sources for name in source.get("expects", ()))
        return tuple(name for name in expected if name not in {stream.modality for stream in self.streams})

    def uncertainty_ms(self, stream: Stream) -> float:
        """How well the times of a stream are known on the session clock: the residual of its device's clock map."""
        return max((m.residual_ms for m in self.clock_maps if m.source == stream.device), default=0.0)

    def uncertainty_at_ms(self, stream: Stream, times_s: FloatArray) -> FloatArray:
        """The same at each of these session times, same shape: it grows where pulses are far or scatter more."""
        found = np.zeros(np.shape(times_s))
        for clock in self.clock_maps:
            if clock.source == stream.device:
                found = np.maximum(found, clock.uncertainty_ms(clock.inverse_seconds(times_s)))
        return found

    @classmethod
    def open(cls, path: Path | str) -> Session:
        """The session of a published folder, or what one of its NWB files holds; reads the index and nothing else.

        A companion opened by itself has no sources, quality or clock maps. Raises SessionFileError where there is no
        session file.
        """
        return cls(**session_fields(Path(path)))

    def save(self, folder: Path | str, *, progress: Progress | None = None, point: bool = False) -> Session:
        """Publish: write everything into a new folder, verify it, make it durable; the folder is whole or absent.

        progress: called with the bytes of samples written and their total. point: companions taken over from an older
        version are symbolic links to it, which the caller makes real; else they are linked.
        Returns the session as it now lies in `folder`. Raises FileExistsError where `folder` is there already.
        """
        from neuroloom.ingest._session_write import write_session

        write_session(self, Path(folder), progress, point=point)
        return Session.open(folder)

    def plot(
        self, start_s: float | None = None, stop_s: float | None = None, *, streams: Sequence[str] | None = None
    ) -> Any:
        """A matplotlib figure of its streams over session time, seconds; see `plotting.py`.

        start_s, stop_s: all that was recorded where they are left out. streams: only these, in this order.
        Raises KeyError for a stream that is not there, ValueError where nothing lies between the two times.
        """
        from neuroloom.ingest.plotting import plot_session

        return plot_session(self, start_s, stop_s, streams)

    def close(self) -> None:
        """Let go of the files; whatever is read afterwards opens them again."""
        if isinstance(self.streams, StoredStreams):
            for file in self.streams.files():
                file.close()

    def summary(self) -> dict[str, Any]:
        """What it holds, for a list or a page: {"session", "subject", "clock", "start", "streams", "sync"}.

        streams: name, modality, n_channels (labels of Events and Intervals count as none), n_samples (moments,
        intervals, or spikes of all units), rate_hz (None where there is none), unit, start_s, duration_s.
        sync: per clock map from, to, method, offset_s, drift_ppm, residual_ms, n_matched, n_lost, n_extra.
        """
        return {
            "session": self.id,
            "subject": self.subject,
            "clock": self.clock,
            "start": self.start.isoformat() if self.start else None,
            "streams": [stream_summary(stream) for stream in self.streams],
            "sync": [clock_summary(clock) for clock in self.clock_maps],
        }


def stream_summary(stream: Stream) -> dict[str, Any]:
    """One line about a stream, whether of a Session or of a Recording; see `Session.summary`."""
    if isinstance(stream, Signal):
        counts = (len(stream.channel_names), stream.n_samples, stream.rate_hz or None, stream.unit)
        span_s = (stream.start_s, stream.stop_s)
    elif isinstance(stream, Units):
        counts = (len(stream.unit_names), sum(len(t) for t in stream.spike_times_s), None, "")
        span_s = _span_s([t for train in stream.spike_times_s if len(train) for t in (train[0], train[-1])])
    else:
        times_s = stream.times_s if isinstance(stream, Events) else stream.bounds_s.ravel()
        counts, span_s = (0, len(stream.labels), None, ""), _span_s(times_s)
    n_channels, n_samples, rate_hz, unit = counts
    return {
        "name": stream.name,
        "modality": stream.modality,
        "n_channels": n_channels,
        "n_samples": n_samples,
        "rate_hz": rate_hz,
        "unit": unit,
        "start_s": span_s[0],
        "duration_s": span_s[1] - span_s[0],
    }


def clock_summary(clock: ClockMap) -> dict[str, Any]:
    """One line about a clock map; see `Session.summary`."""
    kept = ("method", "offset_s", "drift_ppm", "residual_ms", "n_matched", "n_lost", "n_extra")
    return {"from": clock.source, "to": clock.target} | {key: getattr(clock, key) for key in kept}


def _span_s(times_s: Sequence[float] | FloatArray) -> tuple[float, float]:
    return (float(min(times_s)), float(max(times_s))) if len(times_s) else (0.0, 0.0)
