"""One session into arrays: each stream becomes the ports that `features.py` lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest import durable
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Stream, Units
from neuroloom.models.ports import CLASSES, COUNTS, EVENTS, Port
from neuroloom.pipeline.runs._binning import (
    FILTER_REACH_BINS,
    Grid,
    box,
    counts,
    filtered,
    grid_of,
    impulses,
    means,
    power,
    power_reach_bins,
    signal_spans_s,
)
from neuroloom.pipeline.runs._labels import areas, is_answer, is_saccades, latest, positions_mm, saccades_known
from neuroloom.pipeline.runs.features import FeatureConfig, Features, Flags, PortFeatures
from neuroloom.pipeline.verdicts import APPROVED, REVIEWED

KINDS = {
    "eeg": "eeg", "meg": "meg", "lfp": "lfp", "ieeg": "lfp", "gaze": "gaze", "pupil": "gaze",
    "position": "continuous", "behaviour": "continuous", "emg": "continuous", "fnirs": "continuous",
}  # fmt: skip


def built(session: Session, config: FeatureConfig, folder: Path | None) -> Features:
    """All features of a session, in memory maps that lie in `folder`, or in memory where that is None."""
    grid = grid_of(session, config.bin_s)
    builder = _Builder(session=session, config=config, grid=grid, folder=folder)
    unknown = [name for name in (*config.streams, *config.kinds) if name not in [s.name for s in session.streams]]
    if unknown:
        raise ValueError(f"{session.id}: no stream {unknown[0]!r}; it has {[s.name for s in session.streams]}")
    for stream in session.streams:
        if config.streams and stream.name not in config.streams:
            continue
        if (instead := _instead(session, stream, config)) is not None:
            builder.skipped[stream.name] = f"{instead} stands in its place"
            continue
        builder.add(stream)
    return Features(
        session_id=session.id,
        bin_s=config.bin_s,
        start_s=grid.start_s,
        n_bins=grid.n_bins,
        ports=builder.ports,
        skipped=builder.skipped,
        subject=session.subject,
        recorded="" if session.start is None else session.start.isoformat(),
    )


def _instead(session: Session, stream: Stream, config: FeatureConfig) -> str | None:
    """The signal that stands in a stream's place, unless streams were asked for by name."""
    if not config.derived or config.streams:
        return None
    return next((other.name for other in session.streams if other.provenance.get("replaces") == stream.name), None)


class _Builder:
    """Adds the ports of one stream after another; arrays lie in `folder`, or in memory where there is none."""

    def __init__(self, *, session: Session, config: FeatureConfig, grid: Grid, folder: Path | None) -> None:
        self.session, self.config, self.grid, self.folder = session, config, grid, folder
        self.ports: dict[str, PortFeatures] = {}
        self.skipped: dict[str, str] = {}

    def add(self, stream: Stream) -> None:
        if isinstance(stream, Units):
            self._add_units(stream)
        elif isinstance(stream, Signal):
            self._add_signal(stream)
        elif isinstance(stream, Intervals):
            self._add_labels(stream, stream.bounds_s[:, 0])
            if stream.modality == "trials":
                self._add_choice(stream)
        else:
            self._add_labels(stream, stream.times_s)

    def _add_units(self, units: Units) -> None:
        n_units = len(units.unit_names)
        accepted, kinds = units.table.get("accepted", (True,) * n_units), units.table.get("kind", ("",) * n_units)
        rows = [i for i in range(n_units) if accepted[i] and kinds[i] != "noise"]
        if not rows:
            self.skipped[units.name] = "no accepted unit"
            return
        names = tuple(units.unit_names[i] for i in rows)
        made = self._new(units, units.name, self._kind(units, "spikes", COUNTS), names, areas(units, rows), rows=rows)
        for column, row in enumerate(rows):
            made.values[:, column] = counts(units.spike_times_s[row], self.grid)
        spans = [s for o in self.session.streams if isinstance(o, Signal) and o.device == units.device and o.modality
                 in ("wideband", "lfp", "ieeg") for s in signal_spans_s(o)]  # fmt: skip
        known = self.grid.whole_bins(spans) if spans else np.ones(self.grid.n_bins, dtype=np.bool_)
        made.valid[:] = (known & self._usable(units))[:, None]
        made.valid[:, [name in self._bad(units.name) for name in names]] = False

    def _add_signal(self, signal: Signal) -> None:
        kind = self._kind(signal, KINDS.get(signal.modality, ""))
        if not kind:
            self.skipped[signal.name] = f"{signal.modality} has no features of its own"
            return
        if not signal.segments or not signal.channel_names:
            self.skipped[signal.name] = "no samples"
            return
        placed = areas(signal, range(len(signal.channel_names)))
        zero_phase = kind in ("eeg", "meg", "lfp") and signal.is_regular and signal.rate_hz > 2 / self.grid.bin_s
        reach = FILTER_REACH_BINS if zero_phase else 0
        made = self._new(signal, signal.name, kind, signal.channel_names, placed, reach_bins=reach)
        if zero_phase:
            filtered(signal, self.grid, made.values, made.valid)
        else:  # a volume of BOLD is one observation: held, it would count as several
            means(signal, self.grid, made.values, made.valid, hold=kind != "bold")
        self._mask(signal, made, blinks=kind == "gaze")
        for band, (low_hz, high_hz) in self.config.bands.items() if zero_phase else ():
            reach = power_reach_bins(low_hz, high_hz, self.grid)
            made = self._new(signal, f"{signal.name}_{band}", "lfp", signal.channel_names, placed, reach_bins=reach)
            power(signal, self.grid, made.values, made.valid, low_hz=low_hz, high_hz=high_hz)
            self._mask(signal, made, blinks=False)

    def _add_labels(self, stream: Events | Intervals, times_s: NDArray[np.float64]) -> None:
        names = tuple(sorted(set(stream.labels)))
        if not names:
            self.skipped[stream.name] = "no events"
            return
        usual = "saccades" if is_saccades(stream) else "stimulus"
        kind = self._kind(stream, usual, (*EVENTS, "tokens"))
        if kind == "tokens":
            self._add_tokens(stream, names, times_s)
            return
        made = self._new(stream, stream.name, kind, names, ("",) * len(names))
        numbers = np.array([names.index(label) for label in stream.labels])
        impulses(times_s, numbers, self.grid, made.values)
        known = saccades_known(stream, self.session, self.grid) if kind == "saccades" else True
        made.valid[:] = (known & self._usable(stream))[:, None]

    def _add_tokens(self, stream: Stream, names: tuple[str, ...], times_s: NDArray[np.float64]) -> None:
        if len(names) < 2:
            self.skipped[stream.name] = "text of a single token"
            return
        made = self._new(stream, stream.name, "tokens", ("token",), ("",), class_names=names)
        numbers = np.array([names.index(label) for label in getattr(stream, "labels", ())])
        n_lost = latest(times_s, numbers, self.grid, made.values[:, 0], made.valid[:, 0])
        if n_lost:
            self.skipped[f"{stream.name}: {n_lost} tokens"] = "another one follows in the same bin"
        made.valid[:] &= self._usable(stream)[:, None]

    def _kind(self, stream: Stream, usual: str, allowed: tuple[str, ...] = ()) -> str:
        """The kind that was asked for, or the usual one. Raises ValueError where it does not fit the stream."""
        kind = self.config.kinds.get(stream.name, usual)
        fits = kind in allowed if allowed else kind not in (*COUNTS, *CLASSES, *EVENTS)
        if not fits:
            what = type(stream).__name__.lower()
            raise ValueError(
                f"{self.session.id}: {stream.name} as {kind!r}, which {what} cannot be; "
                f"{'one of ' + ', '.join(allowed) if allowed else 'a kind of signal'} is wanted"
            )
        return kind

    def _add_choice(self, trials: Intervals) -> None:
        answers = trials.table.get(self.config.choice_column)
        classes = tuple(sorted({str(answer) for answer in answers or () if is_answer(answer)}))
        if answers is None or len(classes) < 2:
            return
        made = self._new(trials, f"{trials.name}_choice", "choice", ("choice",), ("",), class_names=classes)
        for row, answer in enumerate(answers):
            if is_answer(answer):
                bins = self.grid.bins_of(*self._decision_s(trials, row))
                made.values[bins] = classes.index(str(answer))
                made.valid[bins] = True
        made.valid[:] &= self._usable(trials)[:, None]

    def _decision_s(self, trials: Intervals, row: int) -> tuple[float, float]:
        start_s, stop_s = (float(t) for t in trials.bounds_s[row])
        declared = [trials.table.get(f"decision_{edge}_s") for edge in ("start", "stop")]
        if declared[0] is not None and declared[1] is not None:
            return start_s + float(declared[0][row]), start_s + float(declared[1][row])
        earliest, latest = self.config.decision_window_s
        return max(stop_s + earliest, start_s), stop_s + latest

    def _new(
        self,
        stream: Stream,
        name: str,
        kind: str,
        channels: tuple[str, ...],
        areas: tuple[str, ...],
        *,
        rows: Sequence[int] | None = None,
        reach_bins: int = 0,
        class_names: tuple[str, ...] = (),
    ) -> PortFeatures:
        shape = (self.grid.n_bins, len(channels))
        made = PortFeatures(
            port=Port(
                name=name,
                kind=kind,
                channel_names=channels,
                areas=areas,
                n_classes=len(class_names),
                bin_s=self.grid.bin_s,
            ),
            values=self._array("values", shape, np.float32),
            valid=self._array("valid", shape, np.bool_),
            extrapolated=self._array("extrapolated", shape[:1], np.bool_),
            uncertainty_ms=self.session.uncertainty_ms(stream),
            uncertainty_T_ms=self._array("uncertainty_ms", shape[:1], np.float32),
            reach_bins=reach_bins,
            class_names=class_names,
            positions_mm=positions_mm(stream, range(len(channels)) if rows is None else rows),
        )
        made.extrapolated[:] = self._extrapolated(stream)
        made.uncertainty_T_ms[:] = self.session.uncertainty_at_ms(stream, self.grid.centres_s())
        self.ports[name] = made
        return made

    def _array(self, what: str, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
        if self.folder is None:
            return np.zeros(shape, dtype=dtype)
        return durable.new_array(self.folder / f"{len(self.ports):03d}.{what}.npy", shape, dtype)

    def _extrapolated(self, stream: Stream) -> Flags:
        """True where a bin lies beyond the pulses that its device's clock map rests on."""
        centres_s = self.grid.centres_s()
        beyond = np.zeros(self.grid.n_bins, dtype=np.bool_)
        for clock_map in self.session.clock_maps:
            if clock_map.source == stream.device:
                beyond |= ~clock_map.covers(clock_map.inverse_seconds(centres_s))
        return beyond

    def _usable(self, stream: Stream) -> Flags:
        """False in bins that an interval of the session declares invalid."""
        wrong = [i for i in self.session.streams if isinstance(i, Intervals) and i.name == "invalid_times"]
        return ~box(np.concatenate([i.bounds_s for i in wrong]) if wrong else np.empty((0, 2)), self.grid)

    def _mask(self, signal: Signal, made: PortFeatures, *, blinks: bool) -> None:
        usable = self._usable(signal)
        if blinks:
            usable &= ~box(self._blinks_s(signal), self.grid)
        source = str(signal.provenance.get("source", signal.name))
        usable &= ~box(self._artefacts_s(source), self.grid)
        made.valid[:] &= usable[:, None]
        bad = self._bad(signal.name, source)
        made.valid[:, [name in bad for name in signal.channel_names]] = False
        made.values[:] = np.where(made.valid, made.values, 0)

    def _bad(self, *streams: str) -> set[str]:
        """Channels that files and quality checks call bad and no reviewer calls good, and those reviewers call bad."""
        found = [self.session.quality.get(stream, {}) for stream in streams]
        called, bad, good = (
            {name for of in found for name in of.get(key, ())} for key in ("bad_channels", REVIEWED, APPROVED)
        )
        return (called - good) | bad

    def _artefacts_s(self, source: str) -> NDArray[np.float64]:
        """Marks of an EEG, and of what was made from it, that the config does not want to train on."""
        found = [
            stream.bounds_s[[label in self.config.artefacts for label in stream.labels]]
            for stream in self.session.streams
            if isinstance(stream, Intervals)
            and stream.provenance.get("made_by") == "eeg_artefacts"
            and stream.provenance.get("source") == source
            and stream.labels
        ]
        return np.concatenate(found) if found else np.empty((0, 2))

    def _blinks_s(self, signal: Signal) -> NDArray[np.float64]:
        found = [
            stream.bounds_s[[("blink" in f"{stream.name} {label}".lower()) for label in stream.labels]]
            for stream in self.session.streams
            if isinstance(stream, Intervals) and stream.device == signal.device and stream.labels
        ]
        return np.concatenate(found) if found else np.empty((0, 2))
