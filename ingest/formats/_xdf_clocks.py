"""Clocks of XDF streams: how each relates to the recorder's, by offsets that were measured every few seconds.

timing_of     that relation, and the time stamps of a stream; where its clock was reset, as pyxdf puts them right
"""

from __future__ import annotations

import io
import logging
import mmap
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.clock_fit import evidence_of, fit_clock
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._xdf_chunks import OFFSET, SAMPLES, STREAM, Source, stamps_of
from neuroloom.ingest.timebase import ClockMap, FloatArray

MAX_STAMPS = 1 << 23  # of streams whose every time stamp is kept: those without a rate, or with a clock that was reset
FEW_OFFSETS, FEW_OFFSETS_MS = 5, 1.0  # fewer give no drift; one or two no residual: a round trip on a network has less
OUTLIER_MS, OUTLIER_SPREADS = 0.1, 5.0  # an offset is left out where it is this far off, and by so many spreads
MAX_DRIFT = 0.01  # no clock that works is 1 % off

Blocks = Callable[[], Iterator[FloatArray]]


@dataclass(frozen=True, eq=False)
class Timing:
    """How a stream's clock relates to the recorder's, and the time stamps of its samples, block by block."""

    leads_to: ClockMap | None
    blocks: Blocks
    cuts: tuple[int, ...] = ()  # samples before which its clock was reset

    def all_s(self, path: Path, source: Source) -> FloatArray:
        """Every time stamp; for streams that keep them."""
        if source.n_samples > MAX_STAMPS:
            raise FormatError(
                f"{path}: {source.name!r} has {source.n_samples} samples without a rate or with a clock that was "
                f"reset; up to {MAX_STAMPS} are wanted"
            )
        return np.concatenate([np.zeros(0), *self.blocks()])


def timing_of(path: Path, raw: mmap.mmap, source: Source, clock: str, repairs: list[str]) -> Timing:
    """Of a stream on a clock of that name. Raises FormatError where pyxdf fails on one that was reset."""
    own = Timing(None, lambda: stamps_of(raw, source))
    offsets = np.array([source.offset_times_s, source.offset_values_s], dtype=np.float64)
    lsl = f"{path.stem} LSL"
    if source.n_samples and _jumps(offsets).any():
        reset = _reset(path, source, clock, lsl, offsets, own, repairs)
        if reset is not None:
            return reset
    return replace(own, leads_to=_relation(clock, lsl, offsets))


def _relation(clock: str, lsl: str, offsets: NDArray[np.float64]) -> ClockMap | None:
    """A line through the offsets that fit, bent where held-out ones ask for it; None without any."""
    times_s, values_s = offsets
    if not times_s.size:
        return None
    anchor_s = float(np.median(times_s))
    offset_s, slope, fits = _line(times_s - anchor_s, values_s)
    times_s, values_s, n_extra = times_s[fits], values_s[fits], int((~fits).sum())
    relation = ClockMap(
        source=clock,
        target=lsl,
        offset_s=offset_s,
        drift_ppm=slope * 1e6,
        anchor_s=anchor_s,
        span_s=(float(times_s.min()), float(times_s.max())),
        residual_ms=0.0,
        n_matched=times_s.size,
        n_lost=0,
        n_extra=n_extra,
        method="XDF clock offsets",
    )
    if times_s.size >= FEW_OFFSETS:
        relation = _bent(relation, times_s, values_s)
    residuals_ms = (times_s + values_s - relation.seconds(times_s)) * 1e3
    return replace(relation, residual_ms=_residual_ms(residuals_ms), evidence=evidence_of(times_s, residuals_ms))


def _bent(relation: ClockMap, times_s: FloatArray, values_s: FloatArray) -> ClockMap:
    """The line, or a broken one where that predicts held-out offsets better; what was tried is kept."""
    order = np.unique(times_s, return_index=True)[1]
    fit = fit_clock(times_s[order], values_s[order])
    known = replace(relation, wander_ppm=fit.wander_ppm, tried=fit.tried)
    if not fit.knots:
        return known
    at_s = np.array([at for at, _ in fit.knots])
    return replace(known.through_points(at_s, at_s + fit.lag(at_s)), method="XDF clock offsets, piecewise")


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float, NDArray[np.bool_]]:
    """Offset at x = 0, slope, and which points the line rests on.

    The slope is the median over pairs half the points apart (Theil's incomplete method, 1950), which a quarter of the
    points may contradict; then least squares over those that lie near that line.
    """
    slope, half, order = 0.0, x.size // 2, np.argsort(x, kind="stable")
    if x.size >= FEW_OFFSETS:
        dx, dy = (v[order][-half:] - v[order][:half] for v in (x, y))
        slope = float(np.median(dy[dx > 0] / dx[dx > 0])) if (dx > 0).any() else 0.0
    slope = slope if abs(slope) < MAX_DRIFT else 0.0
    offset = float(np.median(y - slope * x))
    residuals = np.abs(y - offset - slope * x)
    fits = residuals <= max(OUTLIER_SPREADS * 1.4826 * float(np.median(residuals)), OUTLIER_MS * 1e-3)
    if slope and fits.sum() >= FEW_OFFSETS:
        dx, dy = x[fits] - x[fits].mean(), y[fits] - y[fits].mean()
        slope = float(dx @ dy / (dx @ dx)) if dx.any() else slope
        offset = float(y[fits].mean() - slope * x[fits].mean())
    return offset, slope, fits


def _residual_ms(residuals_ms: FloatArray) -> float:
    found = _rms(residuals_ms)
    return max(found, FEW_OFFSETS_MS) if residuals_ms.size < 3 else found


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _jumps(offsets: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Between which offsets the clock went back, or jumped by more than a second against the recorder's."""
    if offsets.shape[1] < 2:
        return np.zeros(0, dtype=np.bool_)
    steps_s = np.diff(offsets[1])
    return np.asarray((np.diff(offsets[0]) < 0) | (np.abs(steps_s - np.median(steps_s)) > 1.0))


def _reset(
    path: Path,
    source: Source,
    clock: str,
    lsl: str,
    offsets: NDArray[np.float64],
    own: Timing,
    repairs: list[str],
) -> Timing | None:
    """The time stamps as pyxdf puts them on the recorder's clock; None where it finds no reset."""
    times_s, firsts = _by_pyxdf(path, source, own.all_s(path, source), offsets)
    if not firsts:
        return None
    repairs.append(f"{source.name}: {len(firsts)} resets of its clock: its times are those of the recorder's clock")
    cuts = np.flatnonzero(_jumps(offsets)) + 1
    maps = [m for part in np.split(offsets, cuts, axis=1) if (m := _relation(clock, lsl, part)) is not None]
    n_matched = sum(m.n_matched for m in maps)
    recorder_s = offsets.sum(axis=0)
    relation = ClockMap(
        source=clock,
        target=lsl,
        offset_s=0.0,
        span_s=(float(recorder_s.min()), float(recorder_s.max())),
        residual_ms=float(np.sqrt(sum(m.n_matched * m.residual_ms**2 for m in maps) / n_matched)),
        n_matched=n_matched,
        n_lost=0,
        n_extra=sum(m.n_extra for m in maps),
        method=f"XDF clock offsets, {len(firsts)} reset{'s' * (len(firsts) > 1)}",
    )
    return Timing(relation, lambda: iter([times_s]), tuple(firsts))


def _by_pyxdf(
    path: Path, source: Source, stamps_s: FloatArray, offsets: NDArray[np.float64]
) -> tuple[FloatArray, list[int]]:
    """Time stamps on the recorder's clock as pyxdf puts them there, and the first sample after each reset it finds."""
    import pyxdf

    log, quiet = logging.getLogger("pyxdf.pyxdf"), logging.NullHandler()
    log.addHandler(quiet)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = _times_only(source, stamps_s, offsets)
            (stream,), _ = pyxdf.load_xdf(file, synchronize_clocks=True, dejitter_timestamps=False)
    except Exception as error:
        why = one_line(error)
        raise FormatError(f"{path}: the clock of {source.name!r} was reset; pyxdf fails on it ({why})") from error
    finally:
        log.removeHandler(quiet)
    runs = stream["info"]["clock_segments"]
    return np.asarray(stream["time_stamps"], dtype=np.float64), [int(first) for first, _ in runs[1:]]


def _times_only(source: Source, stamps_s: FloatArray, offsets: NDArray[np.float64]) -> io.BytesIO:
    """An XDF file of the stream's time stamps and offsets: all that pyxdf needs, and nothing it could stumble over."""
    info = "<info><name>x</name><type></type><channel_count>1</channel_count><channel_format>int8</channel_format>"
    info += f"<nominal_srate>{source.nominal_hz}</nominal_srate></info>"
    rows = np.zeros(stamps_s.size, dtype=[("length", "u1"), ("stamp_s", "<f8"), ("value", "i1")])
    rows["length"], rows["stamp_s"] = 8, stamps_s
    bodies = [(STREAM, info.encode()), (SAMPLES, b"\x08" + struct.pack("<Q", rows.size) + rows.tobytes())]
    bodies += [(OFFSET, struct.pack("<dd", *offset)) for offset in offsets.T.tolist()]
    chunks = [b"\x08" + struct.pack("<QHI", 6 + len(body), tag, 1) + body for tag, body in bodies]
    return io.BytesIO(b"XDF:" + b"".join(chunks))
