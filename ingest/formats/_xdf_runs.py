"""Time stamps of an XDF stream at a rate: the rate measured over each unbroken run, or else the stamps themselves.

    regular_times     per run its first sample and its times
    increasing        time stamps one after another, for streams that keep every one

Design rationale: like pyxdf, a line is put through the time stamps of a run; but where they stay off it for seconds
(one of the project's example files: by 0.2 s), a line would be wrong by as much, and the time stamps are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._xdf_chunks import Source
from neuroloom.ingest.formats._xdf_clocks import MAX_STAMPS, Timing
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.timebase import FloatArray, Timebase, Times, times_of

BREAK_S, BREAK_SAMPLES = 1.0, 5  # a longer interval between samples is a gap (pyxdf: 1 s and 500 samples)
UNEVEN_MS, UNEVEN_S = 10.0, 10.0  # time stamps this far off their common rate, on average over so long, are kept


@dataclass
class _Run:
    """Sums over the time stamps of an unbroken run, for the line that comes nearest to them."""

    first: int
    n: int = 0
    zero_s: float = 0.0
    sums: FloatArray = field(default_factory=lambda: np.zeros(4))  # of x, x*x, t, x*t

    def add(self, stamps_s: FloatArray) -> None:
        """More time stamps; x counts samples, t seconds, both from the first of the run."""
        if not self.n:
            self.zero_s = float(stamps_s[0])
        x = np.arange(self.n, self.n + stamps_s.size, dtype=np.float64)
        t = stamps_s - self.zero_s
        self.sums += (x.sum(), x @ x, t.sum(), x @ t)
        self.n += stamps_s.size

    def timebase(self, nominal_hz: float) -> Timebase:
        """The measured rate; that of the header where there is but one sample."""
        if self.n < 2:
            return Timebase(rate_hz=nominal_hz, start_s=self.zero_s, n_samples=self.n)
        x, xx, t, xt = self.sums
        interval_s = float((self.n * xt - x * t) / (self.n * xx - x * x))
        if interval_s <= 0:
            raise ValueError(f"the time stamps of {self.n} samples do not go on; times that increase are wanted")
        start_s = self.zero_s + float(t - interval_s * x) / self.n
        return Timebase(rate_hz=1 / interval_s, start_s=start_s, n_samples=self.n)


def _runs(source: Source, timing: Timing) -> list[_Run]:
    """A run ends where the next sample comes much later, earlier, or after a reset."""
    runs: list[_Run] = []
    limit_s = max(BREAK_S, BREAK_SAMPLES * source.interval_s)
    at, before_s = 0, 0.0
    for stamps_s in timing.blocks():
        far = np.abs(np.diff(stamps_s, prepend=before_s)) > limit_s
        far[[cut - at for cut in timing.cuts if at <= cut < at + far.size]] = True
        far[0] |= not runs
        firsts = np.flatnonzero(far).tolist()
        if firsts[:1] != [0]:
            runs[-1].add(stamps_s[: firsts[0] if firsts else None])
        for first, stop in pairwise([*firsts, stamps_s.size]):
            runs.append(_Run(at + first))
            runs[-1].add(stamps_s[first:stop])
        at, before_s = at + stamps_s.size, float(stamps_s[-1])
    return runs


def regular_times(
    path: Path,
    source: Source,
    timing: Timing,
    provenance: dict[str, Any],
    repairs: list[str],
) -> list[tuple[int, Times]]:
    """Per run its first sample and the rate measured over it; the time stamps themselves where they follow no rate.

    provenance: gets the nominal rate, and how far the time stamps lie off the measured one.
    """
    runs = _runs(source, timing)
    firsts = [run.first for run in runs]
    bases = _bases(path, source, runs)
    rms_ms, most_ms, lasting_ms = _off(source, timing, runs, bases)
    provenance |= {
        "nominal_rate_hz": source.nominal_hz,
        "time_stamps_off_one_rate_ms": {"rms": rms_ms, "most": most_ms},
    }
    if lasting_ms <= UNEVEN_MS:
        return list(zip(firsts, bases, strict=True))
    told = f"{source.name}: time stamps stay {lasting_ms:.0f} ms off one rate for seconds"
    if source.n_samples > MAX_STAMPS:
        repairs.append(f"{told}, and are too many to be kept: times are those of one rate")
        return list(zip(firsts, bases, strict=True))
    repairs.append(f"{told}: kept as they are")
    stamps_s = np.split(timing.all_s(path, source), firsts[1:])
    times = [times_of(increasing(path, source, part, repairs)) for part in stamps_s]
    return list(zip(firsts, times, strict=True))


def _bases(path: Path, source: Source, runs: Sequence[_Run]) -> list[Timebase]:
    bases = [run.timebase(source.nominal_hz) for run in runs]
    for run, (earlier, later) in zip(runs[1:], pairwise(bases), strict=True):
        if later.start_s < earlier.stop_s - 0.5 / later.rate_hz:
            raise FormatError(
                f"{path}: {source.name!r} goes back from {earlier.stop_s:.3f} s to {later.start_s:.3f} s at sample "
                f"{run.first}, and no clock offsets tell by how much; times that go on are wanted"
            )
    return bases


def _off(source: Source, timing: Timing, runs: Sequence[_Run], bases: Sequence[Timebase]) -> tuple[float, float, float]:
    """How far time stamps lie from those of the bases, ms: root mean square, most, and most over `UNEVEN_S`.

    Jitter goes to and fro from sample to sample and is gone from the last; what remains is no jitter.
    """
    step = max(int(UNEVEN_S * source.nominal_hz), 20)
    sums_s = np.zeros(source.n_samples // step + 1)
    squares = most_s = 0.0
    at = 0
    firsts = np.array([run.first for run in runs])
    starts_s, rates_hz = np.array([(base.start_s, base.rate_hz) for base in bases]).T
    for stamps_s in timing.blocks():
        samples = np.arange(at, at + stamps_s.size)
        which = np.searchsorted(firsts, samples, side="right") - 1
        off_s = stamps_s - starts_s[which] - (samples - firsts[which]) / rates_hz[which]
        squares, most_s = squares + float(off_s @ off_s), max(most_s, float(np.abs(off_s).max()))
        np.add.at(sums_s, samples // step, off_s)
        at += stamps_s.size
    n_whole = at // step
    lasting_s = float(np.abs(sums_s[:n_whole]).max()) / step if n_whole else 0.0
    return (squares / at) ** 0.5 * 1e3, most_s * 1e3, lasting_s * 1e3


def increasing(path: Path, source: Source, times_s: FloatArray, repairs: list[str]) -> FloatArray:
    """Time stamps one after another; equal ones are set apart by next to nothing, in their order."""
    steps_s = np.diff(times_s)
    if (steps_s < -BREAK_S).any():
        at = int(steps_s.argmin()) + 1
        raise FormatError(
            f"{path}: {source.name!r} goes back by {-steps_s.min():.3f} s at sample {at}, and no clock offsets tell by "
            "how much; times that go on are wanted"
        )
    if (steps_s > 0).all():
        return times_s
    least_s = max(1e-8, 4 * float(np.spacing(np.abs(times_s).max())))
    ramp_s = np.arange(times_s.size) * least_s
    apart_s = np.maximum.accumulate(times_s - ramp_s) + ramp_s
    n, moved_ms = int((steps_s <= 0).sum()), float(np.abs(apart_s - times_s).max()) * 1e3
    repairs.append(Defect(f"{source.name}: {n} time stamps repeat or go back: moved on by up to {moved_ms:.3g} ms"))
    return np.asarray(apart_s)
