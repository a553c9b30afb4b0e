"""A signal at every zoom: least and greatest values of runs of samples, of runs of those, and so on.

    FOLDER/<session>_display-KEY/          a cache in `derived/`, by the digest of the session: safe to delete
      pyramid.json                         {"format": 1, "streams": {name: {"number", "bins": [64, 256, ...]}}}
      NNN.L.npy                            signal NNN, level L: (K, 2, C), in the type the samples have

A bin of level 0 holds `bins[0]` samples of one segment, a bin of the next `FACTOR` times as many; the last bin of a
segment may hold fewer, and no bin reaches over a gap. What is finer than level 0 is read from the session itself: at
any zoom a column is made of real samples, and no window reads more than a few million of them.
Shapes: K bins or columns, C channels, T samples.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.envelopes import columns_of, widen
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Segment, Signal, as_slice
from neuroloom.ingest.timebase import FloatArray

FORMAT = 1
LISTING = "pyramid.json"
FACTOR = 4
FINEST_FAST, FINEST_SLOW, FAST_HZ = 64, 16, 900.0  # samples per bin of level 0, by the signal's rate
FEWEST_BINS = 512  # a level with no more is the last
CHUNK_VALUES = 1 << 22
SKETCHED = 32
MOST_VALUES = 1 << 30  # what is built while a page waits; beyond, whoever wants one builds it on its own time

Chosen = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Level:
    """Bins of `bin` samples each, (K, 2, C); `first`: the first bin of every segment."""

    bin: int
    values: NDArray[Any]
    first: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Display:
    """A signal that can be looked at from any distance."""

    signal: Signal
    levels: tuple[Level, ...]

    def window(self, start_s: float, stop_s: float, n_columns: int, channels: Chosen | None = None) -> FloatArray:
        """Least and greatest value per column, in the signal's unit: (K, 2, C); NaN where nothing was recorded.

        A bin that reaches over the edge of a column counts to the one that its middle lies in.
        Where columns are narrower than samples are apart, those between two samples of a segment lie on the line that
        joins them. channels: columns of the signal, all where left out.
        """
        chosen = np.arange(len(self.signal.channel_names)) if channels is None else channels
        found = np.full((n_columns, 2, chosen.size), np.nan)
        per_column = (stop_s - start_s) / n_columns * self.signal.rate_hz
        level = max((one for one in self.levels if one.bin <= per_column), key=lambda one: one.bin, default=None)
        for number, segment in enumerate(self.signal.segments):
            samples = segment.timebase.samples_between(start_s, stop_s)
            if samples.stop <= samples.start and per_column >= 1:
                continue
            if level is not None:
                self._from_level(level, number, samples, chosen, (start_s, stop_s), found)
            else:
                self._from_samples(segment, samples, chosen, (start_s, stop_s), found)
        gain, offset = self.signal.gain[chosen], self.signal.offset[chosen]
        found = found * gain + offset
        flipped = gain < 0
        found[:, :, flipped] = found[:, ::-1, flipped]
        return found

    def sketch(self, start_s: float, stop_s: float, n_columns: int) -> FloatArray:
        """As `window`, of the first `SKETCHED` samples of each column alone: for signals without a pyramid."""
        edges_s = np.linspace(start_s, stop_s, n_columns + 1)[:-1]
        width_s = min(SKETCHED / self.signal.rate_hz, (stop_s - start_s) / n_columns)
        return np.concatenate([self.window(edge_s, edge_s + width_s, 1) for edge_s in edges_s])

    def _from_level(
        self, level: Level, number: int, samples: slice, chosen: Chosen, of_s: tuple[float, float], found: FloatArray
    ) -> None:
        bins = np.arange(samples.start // level.bin, -(-samples.stop // level.bin))
        segment = self.signal.segments[number]
        middles = np.minimum((bins + 0.5) * level.bin, segment.timebase.n_samples - 1).astype(np.int64)
        at = level.first[number]
        rows = np.asarray(level.values[at + bins[0] : at + bins[-1] + 1], dtype=np.float64)[:, :, as_slice(chosen)]
        columns = columns_of(segment.timebase.seconds(middles), of_s, len(found))
        widen(found[:, 0], found[:, 1], columns, rows[:, 0], rows[:, 1])

    def _from_samples(
        self, segment: Segment, samples: slice, chosen: Chosen, of_s: tuple[float, float], found: FloatArray
    ) -> None:
        wide = slice(max(samples.start - 1, 0), min(samples.stop + 1, segment.timebase.n_samples))
        if wide.stop <= wide.start:
            return
        values_TC = _finite(np.asarray(segment.samples[wide])[:, as_slice(chosen)].astype(np.float64))
        times_s = segment.timebase.seconds(np.arange(wide.start, wide.stop))
        inside = (times_s >= of_s[0]) & (times_s < of_s[1])
        if inside.any():
            columns = columns_of(times_s[inside], of_s, len(found))
            widen(found[:, 0], found[:, 1], columns, values_TC[inside], values_TC[inside])
        if len(times_s) < 2 * len(found):
            _join(found, times_s, values_TC, of_s)


def _join(found: FloatArray, times_s: FloatArray, values_TC: FloatArray, of_s: tuple[float, float]) -> None:
    """Fills columns between two samples with the line that joins them; a lost sample (NaN) joins nothing."""
    centres_s = of_s[0] + (np.arange(len(found)) + 0.5) * (of_s[1] - of_s[0]) / len(found)
    between = (centres_s >= times_s[0]) & (centres_s <= times_s[-1])
    for channel in range(values_TC.shape[1]):
        empty = between & np.isnan(found[:, 0, channel])
        found[empty, :, channel] = np.interp(centres_s[empty], times_s, values_TC[:, channel])[:, None]


def displays(session: Session, folder: Path | None, most_values: int = MOST_VALUES) -> dict[str, Display]:
    """Every signal of a session with its pyramid, from the cache in `folder` or built into it.

    Without a folder, or for a session that lies in none, in memory. Signals of more than `most_values` samples that
    have none yet are left out.
    """
    signals = _signals(session)
    if folder is None or session.path is None:
        small = {name: signal for name, signal in signals.items() if _size(signal) <= most_values}
        return {name: Display(signal, tuple(_levels(signal, None, 0))) for name, signal in small.items()}
    home = place_of(session, folder)
    if not (home / LISTING).is_file():
        if sum(map(_size, signals.values())) > most_values:
            return {}
        _build(signals, home)
    return _opened(signals, home)


def place_of(session: Session, folder: Path) -> Path:
    """The folder of a session's pyramid in a cache, there or not."""
    assert session.path is not None
    return folder / f"{session.id}_display-{manifest.digest_of(session.path).rpartition(':')[2][:16]}"


def _signals(session: Session) -> dict[str, Signal]:
    return {s.name: s for s in session.streams if isinstance(s, Signal) and s.segments and s.channel_names}


def _size(signal: Signal) -> int:
    return signal.n_samples * len(signal.channel_names)


def _build(signals: Mapping[str, Signal], home: Path) -> None:
    if home.is_dir():
        shutil.rmtree(home)  # a cache somebody emptied by half is built again
    try:
        with durable.new_folder(home) as staging:
            listed = {
                name: {"number": number, "bins": [level.bin for level in _levels(signal, staging, number)]}
                for number, (name, signal) in enumerate(signals.items())
            }
            durable.write_json(staging / LISTING, {"format": FORMAT, "streams": listed})
    except OSError:
        if not (home / LISTING).is_file():  # another process may have put the same there meanwhile
            raise


def _opened(signals: Mapping[str, Signal], home: Path) -> dict[str, Display]:
    said = json.loads((home / LISTING).read_text(encoding="utf-8"))
    if said.get("format") != FORMAT:
        shutil.rmtree(home)
        _build(signals, home)
        return _opened(signals, home)
    found = {}
    for name, row in said["streams"].items():
        levels = [
            Level(
                bin=n_samples,
                values=np.load(home / f"{row['number']:03d}.{depth}.npy", mmap_mode="r", allow_pickle=False),
                first=_first_bins(signals[name], n_samples)[:-1],
            )
            for depth, n_samples in enumerate(row["bins"])
        ]
        found[name] = Display(signals[name], tuple(levels))
    return found


def _levels(signal: Signal, folder: Path | None, number: int) -> Iterator[Level]:
    """Level by level, each made of the one before it; in files of a folder, or in memory."""
    n_samples = FINEST_FAST if signal.rate_hz > FAST_HZ else FINEST_SLOW
    rows: Iterable[tuple[int, NDArray[Any]]] = _binned(signal, n_samples)
    depth = 0
    while True:
        first = _first_bins(signal, n_samples)
        level = Level(bin=n_samples, values=_array(signal, folder, number, depth, first[-1]), first=first[:-1])
        for at, some in rows:
            level.values[at : at + len(some)] = some
        yield level
        if first[-1] <= FEWEST_BINS * len(signal.segments):
            return
        n_samples, depth = n_samples * FACTOR, depth + 1
        rows = _coarser(level, first, _first_bins(signal, n_samples))


def _array(signal: Signal, folder: Path | None, number: int, depth: int, n_bins: int) -> NDArray[Any]:
    kind = signal.segments[0].samples.dtype
    shape = (n_bins, 2, len(signal.channel_names))
    dtype = np.dtype(np.float32) if kind.kind == "f" else kind
    if folder is None:
        return np.empty(shape, dtype)
    return durable.new_array(folder / f"{number:03d}.{depth}.npy", shape, dtype)


def _first_bins(signal: Signal, n_samples: int) -> tuple[int, ...]:
    """The first bin of every segment, and behind them the number of all bins."""
    counts = [-(-segment.timebase.n_samples // n_samples) for segment in signal.segments]
    return tuple(int(n) for n in np.concatenate([[0], np.cumsum(counts)]))


def _binned(signal: Signal, n_samples: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """Level 0, a piece at a time: its first bin, and (K, 2, C)."""
    n_chunk = max(1, CHUNK_VALUES // len(signal.channel_names) // n_samples) * n_samples
    for at, segment in zip(_first_bins(signal, n_samples), signal.segments, strict=False):
        for first in range(0, segment.timebase.n_samples, n_chunk):
            values_TC = np.asarray(segment.samples[first : min(first + n_chunk, segment.timebase.n_samples)])
            yield at + first // n_samples, _reduced(values_TC, values_TC, n_samples)


def _coarser(level: Level, first: Sequence[int], above: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """The next level from one: segment by segment, a piece at a time."""
    n_chunk = max(1, CHUNK_VALUES // level.values.shape[2] // FACTOR) * FACTOR
    for start, stop, at in zip(first[:-1], first[1:], above, strict=False):
        for begin in range(start, stop, n_chunk):
            rows = level.values[begin : min(begin + n_chunk, stop)]
            yield at + (begin - start) // FACTOR, _reduced(rows[:, 0], rows[:, 1], FACTOR)


def _reduced(low_TC: NDArray[Any], high_TC: NDArray[Any], n: int) -> NDArray[Any]:
    """Least and greatest of every `n` rows, (K, 2, C); the last bin of what is left."""
    if low_TC.dtype.kind == "f":
        low_TC, high_TC = _finite(low_TC), _finite(high_TC)
    whole, n_channels = len(low_TC) // n * n, low_TC.shape[1]
    parts = []
    for rows, n_each in ((slice(0, whole), n), (slice(whole, None), len(low_TC) - whole)):
        if len(low_TC[rows]):
            low, high = (side[rows].reshape(-1, n_each, n_channels) for side in (low_TC, high_TC))
            parts.append(np.stack([_least(low, np.fmin), _least(high, np.fmax)], axis=1))
    return np.concatenate(parts)


def _least(values_KTC: NDArray[Any], of_two: np.ufunc) -> NDArray[Any]:
    """The least (or greatest) along the middle axis, by halves: far faster than a reduction over few channels."""
    while values_KTC.shape[1] > 1:
        n = values_KTC.shape[1]
        half = of_two(values_KTC[:, : n // 2], values_KTC[:, n // 2 : n // 2 * 2])
        values_KTC = np.concatenate([half, values_KTC[:, -1:]], axis=1) if n % 2 else half
    return values_KTC[:, 0]


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.isfinite(values), values, np.nan)
