"""Epochs that MNE saved in FIF: stretches around events, each at the time it was recorded.

    matrix of float32 or float64     (epochs, channels, samples), the numbers as stored
    list of events                   one a stretch: the sample of the recording it was cut around, its code
    rate before decimation           what those samples are counted at
    metadata                         columns of the events

Where two stretches share samples, so that one time would be there twice, or where nothing tells when they were
recorded, they lie one after the other, a second apart, and that is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._fif_events import rows_of
from neuroloom.ingest.formats._fif_tags import Part, Tag, bytes_of, numbers_of, text_of
from neuroloom.ingest.formats._json import parsed
from neuroloom.ingest.streams import Events, Segment
from neuroloom.ingest.timebase import Timebase

BLOCK = 373
APART_S = 1.0  # enough for no filter and no window to join two stretches
MOST = 100_000  # stretches

# Kinds of blocks and tags, as the format and MNE number them.
_EVENTS, _METADATA = 361, 3811
_COMMENT, _FIRST, _EPOCHS, _LIST, _RATE_BEFORE, _BASELINE_FROM, _BASELINE_TO = 206, 208, 302, 3561, 3803, 3568, 3569
_MATRIX = 1 << 30
_DTYPES: dict[int, np.dtype[Any]] = {4: np.dtype(">f4"), 5: np.dtype(">f8")}


@dataclass(frozen=True, eq=False)
class Epochs:
    """All stretches of a file and those that follow it. start_s: of each stretch; event_s: of what it was cut around.

    stretches: per epoch samples (C, T), big-endian as in the file. codes (E, 3): sample, code before, code.
    """

    stretches: list[NDArray[Any]]
    rate_hz: float
    start_s: NDArray[np.float64]
    event_s: NDArray[np.float64]
    codes: NDArray[np.int64]
    labels: tuple[str, ...]
    table: dict[str, tuple[Any, ...]]
    is_placed: bool

    def segments(self, columns: NDArray[np.int64]) -> tuple[Segment, ...]:
        """Some channels, a Segment per stretch in order of time."""
        rate_hz = self.rate_hz
        return tuple(
            Segment(
                samples=_Stretch(stretch, columns),
                timebase=Timebase(rate_hz=rate_hz, start_s=float(start_s), n_samples=stretch.shape[1]),
            )
            for stretch, start_s in zip(self.stretches, self.start_s, strict=True)
        )

    def events(self) -> Events:
        """What the stretches were cut around, with what was noted of each."""
        table = {
            "code": tuple(self.codes[:, 2].tolist()),
            "code_before": tuple(self.codes[:, 1].tolist()),
            **self.table,
        }
        return Events(name="events", times_s=self.event_s, labels=self.labels, table=table)


class _Stretch:
    """Some channels of an epoch: samples (T, C), taken from the file when sliced."""

    def __init__(self, stretch: NDArray[Any], columns: NDArray[np.int64]) -> None:
        self._stretch, self._columns = stretch, columns
        self.shape = (stretch.shape[1], len(columns))
        self.dtype = stretch.dtype.newbyteorder("=")

    def __getitem__(self, part: slice, /) -> NDArray[Any]:
        return np.ascontiguousarray(self._stretch[self._columns, part].T, dtype=self.dtype)


def epochs_of(parts: Sequence[Part], rate_hz: float, n_channels: int, repairs: list[str]) -> Epochs:
    """The epochs of a file and its later parts. Raises FormatError for what is none, and for none at all."""
    first = parts[0]
    tags = _tags(first, BLOCK)
    stretches = [stretch for part in parts for stretch in _stretches(part, n_channels)]
    codes = np.concatenate([_codes(part) for part in parts])
    if not len(stretches) == len(codes) <= MOST:
        raise FormatError(
            f"{first.path}: {len(stretches)} epochs and {len(codes)} events; as many, and at most {MOST}, are wanted"
        )
    if not len(codes):
        raise FormatError(f"{first.path}: holds no epoch; some are wanted")
    order = np.argsort(codes[:, 0], kind="stable")
    stretches, codes = [stretches[k] for k in order], codes[order]
    offset_s = _number(first, tags, _FIRST) / rate_hz
    if not 0 < (before_hz := _number(first, tags, _RATE_BEFORE) if _RATE_BEFORE in tags else rate_hz) < np.inf:
        raise FormatError(f"{first.path}: {before_hz} Hz before decimation; a finite rate above 0 is wanted")
    event_s = codes[:, 0] / before_hz
    length_s = stretches[0].shape[1] / rate_hz
    doubt = _doubt(event_s, length_s, 0.5 / rate_hz, is_told=_RATE_BEFORE in tags)
    if doubt:
        repairs.append(f"{doubt}: its {len(codes)} epochs are put {APART_S:g} s apart, their true times not known")
        event_s = np.arange(len(codes)) * (length_s + APART_S) - offset_s
    if _BASELINE_FROM in tags or _BASELINE_TO in tags:
        repairs.append(f"{first.path.name}: the mean {_baseline(first, tags)} is subtracted from each epoch; kept so")
    noted = [row for part in parts for row in _metadata(part, repairs)]
    return Epochs(
        stretches=stretches,
        rate_hz=rate_hz,
        start_s=event_s + offset_s,
        event_s=event_s,
        codes=codes,
        labels=_labels(first, codes[:, 2]),
        table=_columns([noted[k] for k in order]) if len(noted) == len(codes) else {},
        is_placed=not doubt,
    )


def _tags(part: Part, kind: int) -> dict[int, Tag]:
    """The tags of the first block of a kind; of two of one kind the last."""
    return {tag.kind: tag for block in part.of(kind)[:1] for tag in block.tags}


def _number(part: Part, tags: Mapping[int, Tag], kind: int) -> float:
    if kind not in tags:
        raise FormatError(f"{part.path}: its epochs have no tag {kind}; a number is wanted there")
    return float(numbers_of(part.path, part.raw, tags[kind])[0])


def _stretches(part: Part, n_channels: int) -> list[NDArray[Any]]:
    """Views (C, T) of the matrix of a part, whose sizes stand behind its numbers: samples, channels, epochs, 3."""
    tag = _tags(part, BLOCK).get(_EPOCHS)
    if tag is None:
        raise FormatError(f"{part.path}: its epochs have no samples; some are wanted")
    dtype = _DTYPES.get(tag.type & ~_MATRIX)
    if dtype is None:
        raise FormatError(
            f"{part.path}: epochs of type {tag.type & ~_MATRIX}; real numbers of 32 or 64 bits are wanted"
        )
    end = tag.at + 16 + tag.size
    if tag.size < 16 or end > part.raw.size:
        raise FormatError(f"{part.path}: epochs of {tag.size} bytes, behind the end of the file; it is cut off")
    n_samples, channels, n_epochs, n_axes = np.frombuffer(part.raw.data, ">i4", 4, end - 16).tolist()
    expected = dtype.itemsize * max(n_samples, 0) * max(channels, 0) * max(n_epochs, 0)
    if n_axes != 3 or channels != n_channels or n_samples < 1 or expected != tag.size - 16:
        raise FormatError(
            f"{part.path}: epochs of {n_epochs} x {channels} x {n_samples} in {tag.size} bytes; "
            f"{n_channels} channels, and as many bytes as they take, are wanted"
        )
    whole = np.frombuffer(part.raw.data, dtype, n_epochs * channels * n_samples, tag.at + 16)
    return list(whole.reshape(n_epochs, channels, n_samples))


def _codes(part: Part) -> NDArray[np.int64]:
    """Rows of sample, code before, code."""
    tag = _tags(part, _EVENTS).get(_LIST)
    if tag is None or not bytes_of(part.path, part.raw, tag)[1]:
        return np.zeros((0, 3), np.int64)
    return rows_of(part, numbers_of(part.path, part.raw, tag))


def _doubt(event_s: NDArray[np.float64], length_s: float, tolerance_s: float, *, is_told: bool) -> str:
    """Why stretches cannot lie where their events say, "" where they can."""
    if not is_told:
        return "nothing tells at what rate the samples of its events are counted"
    near = np.flatnonzero(np.diff(event_s) < length_s - tolerance_s)
    return f"epochs {near[0] + 1} and {near[0] + 2} overlap in time" if near.size else ""


def _baseline(part: Part, tags: Mapping[int, Tag]) -> str:
    first, last = (
        f"{_number(part, tags, kind):g} s" if kind in tags else open_end
        for kind, open_end in ((_BASELINE_FROM, "the start"), (_BASELINE_TO, "the end"))
    )
    return f"from {first} to {last}"


def _labels(part: Part, codes: NDArray[np.int64]) -> tuple[str, ...]:
    """Names of codes where the file gives them, else the codes."""
    tag = _tags(part, _EVENTS).get(_COMMENT)
    stated = [entry.rpartition(":") for entry in (text_of(part, tag).split(";") if tag is not None else [])]
    names = {code: name for name, _, code in stated}
    return tuple(names.get(str(code), str(code)) for code in codes.tolist())


def _metadata(part: Part, repairs: list[str]) -> list[Mapping[str, Any]]:
    """A row per epoch, none where the file has no metadata."""
    tag = _tags(part, _METADATA).get(_COMMENT)
    if tag is None:
        return []
    rows = parsed(part.path, text_of(part, tag).encode("utf-8"), "metadata: ")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        repairs.append(f"{part.path.name}: its metadata are no rows; left out")
        return []
    return rows


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Numbers where all values are (NaN for none), else texts ("" for none)."""
    return {
        name: _column([row.get(name) for row in rows]) for name in dict.fromkeys(name for row in rows for name in row)
    }


def _column(values: Sequence[Any]) -> tuple[Any, ...]:
    if all(value is None or isinstance(value, int | float) for value in values):
        return tuple(float("nan") if value is None else float(value) for value in values)
    return tuple("" if value is None else str(value) for value in values)
