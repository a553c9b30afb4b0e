"""Local field potential from a wideband signal: low-pass and fewer samples, computed when asked for.

    extract_lfp(signal, rate_hz=1000) -> Signal

Output sample `k` lies at the time of input sample `k * down / up`: the filter is symmetric, so nothing is delayed.
Each segment is filtered by itself; at its ends the first and last value go on. Only what a slice needs is read.

Where every `down`-th sample is kept and `down` has factors, two short filters do the work of a long one, in a third of
the time: the first lets through what the second, at fewer samples, stops (Crochiere and Rabiner, "Multirate Digital
Signal Processing", ch. 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from neuroloom.ingest.streams import Samples, Segment, Signal
from neuroloom.ingest.timebase import FloatArray, Timestamps

STOP_DB = 80.0  # suppression above the new Nyquist frequency; 60 dB is what the LFP must have
RATE_TOLERANCE = 1e-3  # the new rate may differ by this share, which spares a long filter for an odd ratio
MAX_UP = 1000
BLOCK_VALUES = 1 << 22  # input values held at once: 32 MiB of float64
ABREAST = 4  # outputs of one product of matrices
SMALL_PRODUCT = 1_000_000  # multiplications up to which OpenBLAS packs nothing
FEW = 32  # channels: a product of fewer does not pay, and of a multiple of them is quickest


def extract_lfp(signal: Signal, rate_hz: float = 1000.0, low_pass_hz: float | None = None) -> Signal:
    """The signal below `low_pass_hz` (default 0.4 of `rate_hz`) at about `rate_hz`, lazily, as float32.

    The rate is the measured rate of each segment times `up / down`, the simplest ratio within 0.1 % of what was asked:
    30,000.07 Hz becomes 1000.002 Hz, so no sample's time moves. Gains, offsets and the channel table stay.
    Linear-phase Kaiser low-pass (Oppenheim and Schafer, "Discrete-Time Signal Processing", ch. 7), 80 dB down from half
    the new rate on.
    Raises ValueError where the signal is irregular, is not faster than `rate_hz`, or the pass band does not fit.
    """
    low_pass_hz = 0.4 * rate_hz if low_pass_hz is None else low_pass_hz
    _check(signal, rate_hz, low_pass_hz)
    ratio = _ratio(signal.rate_hz, rate_hz)
    stages = _stages(signal.rate_hz, ratio, low_pass_hz)
    segments = (_resampled(segment, ratio, stages) for segment in signal.segments)
    return Signal(
        name=f"{signal.name} lfp",
        modality="lfp",
        segments=tuple(segment for segment in segments if segment.timebase.n_samples),
        channel_names=signal.channel_names,
        unit=signal.unit,
        gain=signal.gain,
        offset=signal.offset,
        device=signal.device,
        table=signal.table,
        provenance={
            "made_by": "lfp",
            "source": signal.name,
            "low_pass_hz": low_pass_hz,
            "stop_hz": signal.rate_hz * float(ratio) / 2,
            "stop_db": STOP_DB,
            "up": ratio.numerator,
            "down": ratio.denominator,
            "n_taps": int(whole_filter(stages).size),
            "ends": "first and last value of each segment go on",
        },
    )


@dataclass(frozen=True, eq=False)
class Stage:
    """A symmetric filter of an odd number of taps, at `up` times the rate of what comes in, and every `down`-th sample.

    Half the number of taps is a multiple of `down`.
    """

    taps: FloatArray
    up: int
    down: int

    @property
    def half(self) -> int:
        """Taps on each side of the middle."""
        return int(self.taps.size // 2)

    @cached_property
    def shifts(self) -> FloatArray:
        """The filter as each of ABREAST outputs in a row wants it, (ABREAST, inputs that they reach)."""
        n = self.taps.size
        shifts = np.zeros((ABREAST, n + (ABREAST - 1) * self.down))
        for k in range(ABREAST):
            shifts[k, k * self.down : k * self.down + n] = self.taps
        return shifts


@dataclass(frozen=True, eq=False)
class Resampled:
    """Lazy samples (K, C), float32, low-passed by one stage after another: `k` at input sample `k * down / up`."""

    samples: Samples
    stages: tuple[Stage, ...]
    n_samples: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n_samples, self.samples.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def __getitem__(self, samples: slice, /) -> NDArray[Any]:
        start, stop, step = samples.indices(self.n_samples)
        if step < 0:
            raise ValueError(f"samples taken in steps of {step}; forward steps are wanted")
        found = np.empty((max(0, stop - start), self.shape[1]), dtype=np.float32)
        for first in range(start, stop, self._block):
            last = min(stop, first + self._block)
            found[first - start : last - start] = self._after(len(self.stages), first, last)
        return found[::step]

    @cached_property
    def _block(self) -> int:
        """Output samples made at once."""
        inputs = BLOCK_VALUES // max(1, self.shape[1])
        up, down = prod(stage.up for stage in self.stages), prod(stage.down for stage in self.stages)
        return max(1, inputs * up // down)

    @cached_property
    def _kind(self) -> type[np.floating[Any]]:
        """What is multiplied. Integers of 16 bits: float32 holds them exactly, and is what comes out."""
        is_short = self.samples.dtype.kind in "iu" and self.samples.dtype.itemsize <= 2
        return np.float32 if is_short and all(stage.up == 1 for stage in self.stages) else np.float64

    def _after(self, n_stages: int, first: int, last: int) -> NDArray[Any]:
        """Samples `first` to `last` of what that many stages make, which goes on beyond the ends of what there is."""
        if n_stages == 0:
            return self._extended(first, last)
        stage, before = self.stages[n_stages - 1], partial(self._after, n_stages - 1)
        return (_thinned if stage.up == 1 else _in_phases)(stage, before, first, last)

    def _extended(self, begin: int, end: int) -> NDArray[Any]:
        """Input samples `begin` to `end`, the ends going on beyond what there is."""
        n = self.samples.shape[0]
        lo, hi = (min(max(at, 0), n) for at in (begin, end))
        lo, hi = min(lo, n - 1), max(hi, 1)  # one at least, to go on with
        inside = np.asarray(self.samples[slice(lo, hi)], dtype=self._kind)
        if lo == begin and hi == end:
            return inside
        return inside[np.clip(np.arange(begin - lo, end - lo), 0, hi - lo - 1)]


Inputs = Callable[[int, int], NDArray[Any]]  # samples first to last of what comes into a stage


def _thinned(stage: Stage, inputs: Inputs, first: int, last: int) -> NDArray[Any]:
    """Outputs of a stage that keeps every `down`-th sample.

    ABREAST outputs at once are a product of matrices, the filter with as many shifts of it, and the inputs that they
    reach, read where they lie, for some channels at a time: as many as make a small product, for which a BLAS copies
    nothing. Groups of outputs lie the same whatever is asked for, so that sums are rounded alike.
    """
    begin = first - first % ABREAST
    n_groups, step = -(-(last - begin) // ABREAST), ABREAST * stage.down
    begin_input = begin * stage.down - stage.half
    reach = stage.shifts.shape[1]
    values = inputs(begin_input, begin_input + (n_groups - 1) * step + reach)
    shifts = stage.shifts.astype(values.dtype)
    reached = sliding_window_view(values, reach, axis=0)[::step].transpose(0, 2, 1)
    made = np.empty((n_groups, ABREAST, values.shape[1]), dtype=values.dtype)
    width = max(1, SMALL_PRODUCT // shifts.size // FEW) * FEW
    for channel in range(0, values.shape[1], width):
        some = slice(channel, channel + width)
        np.matmul(shifts, reached[:, :, some], out=made[:, :, some])
    return made.reshape(-1, values.shape[1])[first - begin : last - begin]


def _in_phases(stage: Stage, inputs: Inputs, first: int, last: int) -> FloatArray:
    """Outputs of a stage that puts `up` samples where one was."""
    from scipy.signal import upfirdn

    up, down, half = stage.up, stage.down, stage.half
    # A block begins at a multiple of `down` inputs: its outputs fall on the filter phases they have in the whole.
    begin = down * ((first * down - half) // (up * down))
    end = ((last - 1) * down + half) // up + 1
    block = np.ascontiguousarray(inputs(begin, end).T)
    lead = half // down - begin // down * up
    made = upfirdn(stage.taps, block, up=up, down=down, axis=1)
    return np.asarray(made[:, first + lead : last + lead].T)


def _resampled(segment: Segment, ratio: Fraction, stages: tuple[Stage, ...]) -> Segment:
    base = segment.timebase
    if isinstance(base, Timestamps):
        raise ValueError("timestamps instead of a rate; an LFP needs a regular rate")
    n = base.n_samples
    # The last sample must not stand for more than half a sample beyond the end: the next segment may begin there.
    within = ((n - 1) * ratio.numerator) // ratio.denominator + 1 if n else 0
    n_made = min(within, int(n * ratio + Fraction(1, 2)))
    samples = Resampled(segment.samples, stages, n_made)
    return Segment(samples=samples, timebase=base.resampled(float(ratio), n_made))


def _ratio(from_hz: float, to_hz: float) -> Fraction:
    """The simplest `up / down` that comes within the tolerance of the wanted rate."""
    for up in range(1, MAX_UP + 1):
        down = max(1, round(up * from_hz / to_hz))
        if abs(from_hz * up / down - to_hz) <= RATE_TOLERANCE * to_hz:
            return Fraction(up, down)
    raise ValueError(f"no ratio up to {MAX_UP} leads from {from_hz:g} Hz to {to_hz:g} Hz")


def _stages(from_hz: float, ratio: Fraction, low_pass_hz: float) -> tuple[Stage, ...]:
    """One filter, or the two that together multiply least for each sample that comes in."""
    up, down = ratio.numerator, ratio.denominator
    stop_hz = from_hz * float(ratio) / 2
    ways: list[tuple[Stage, ...]] = [(_stage(from_hz, up, down, low_pass_hz, stop_hz),)]
    for first in range(2, down) if up == 1 else ():
        if down % first == 0:
            between_hz = from_hz / first
            begun = _stage(from_hz, 1, first, low_pass_hz, between_hz - stop_hz)  # what folds below `stop_hz`
            ways.append((begun, _stage(between_hz, 1, down // first, low_pass_hz, stop_hz)))
    return min(ways, key=_products)


def _products(stages: tuple[Stage, ...]) -> float:
    """Multiplications for each sample that comes in, where nothing is put between samples."""
    kept = np.cumprod([stage.down for stage in stages])
    return float(sum(stage.shifts.shape[1] / n for stage, n in zip(stages, kept, strict=True)))


def _stage(from_hz: float, up: int, down: int, pass_hz: float, stop_hz: float) -> Stage:
    """A filter that is STOP_DB down from `stop_hz` on."""
    from scipy.signal import firwin, kaiserord

    fast_hz = from_hz * up
    n_taps, beta = kaiserord(STOP_DB, (stop_hz - pass_hz) / (fast_hz / 2))
    half = down * -(-n_taps // (2 * down))
    taps = firwin(2 * half + 1, (pass_hz + stop_hz) / 2, window=("kaiser", beta), fs=fast_hz, scale=True)
    return Stage(np.asarray(taps, dtype=np.float64) * up, up, down)


def whole_filter(stages: tuple[Stage, ...]) -> FloatArray:
    """The one filter that stages make together, at `up` times the rate of what comes in."""
    taps, apart = np.ones(1), 1
    for stage in stages:
        spread = np.zeros((stage.taps.size - 1) * apart + 1)
        spread[::apart] = stage.taps
        taps, apart = np.convolve(taps, spread), apart * stage.down
    return taps


def _check(signal: Signal, rate_hz: float, low_pass_hz: float) -> None:
    if not signal.is_regular:
        raise ValueError(f"{signal.name}: has timestamps instead of a rate; an LFP needs a regular rate")
    if signal.segments and not 0 < rate_hz < signal.rate_hz:
        raise ValueError(f"{signal.name}: {rate_hz:g} Hz asked of {signal.rate_hz:g} Hz; a lower rate is wanted")
    if not 0 < low_pass_hz < 0.495 * rate_hz:
        raise ValueError(f"{signal.name}: low-pass at {low_pass_hz:g} Hz; it must lie below {0.495 * rate_hz:g} Hz")
