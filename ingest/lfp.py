"""Local field potential from a wideband signal: low-pass and fewer samples, computed when asked for.

    extract_lfp(signal, rate_hz=1000) -> Signal

Output sample `k` lies at the time of input sample `k * down / up`: the filter is symmetric, so nothing is delayed.
Each segment is filtered by itself; at its ends the first and last value go on. Only what a slice needs is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
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
    taps = _low_pass(signal.rate_hz, ratio, low_pass_hz)
    segments = (_resampled(segment, ratio, taps) for segment in signal.segments)
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
            "n_taps": int(taps.size),
            "ends": "first and last value of each segment go on",
        },
    )


@dataclass(frozen=True, eq=False)
class Resampled:
    """Lazy samples (K, C), float32, low-passed: sample `k` at input sample `k * down / up`.

    taps: odd in number, symmetric, at `up` times the input rate; half their number is a multiple of `down`.
    """

    samples: Samples
    up: int
    down: int
    taps: FloatArray
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
            found[first - start : last - start] = self._filtered(first, last)
        return found[::step]

    @cached_property
    def _block(self) -> int:
        """Output samples made at once."""
        inputs = BLOCK_VALUES // max(1, self.shape[1])
        return max(1, inputs * self.up // self.down)

    def _filtered(self, first: int, last: int) -> NDArray[Any]:
        return self._thinned(first, last) if self.up == 1 else self._in_phases(first, last)

    def _thinned(self, first: int, last: int) -> NDArray[Any]:
        """Where every `down`-th sample is kept: ABREAST outputs at once are a product of matrices, the filter with as
        many shifts of it, and the inputs that they reach, read where they lie, for some channels at a time: as many as
        make a small product, for which a BLAS copies nothing. Groups of outputs lie the same whatever is asked for, so
        that sums are rounded alike. Integers of 16 bits are multiplied as float32, which holds them exactly and is what
        comes out.
        """
        begin = first - first % ABREAST
        n_groups = -(-(last - begin) // ABREAST)
        shifts, step = self._shifts, ABREAST * self.down
        begin_input = begin * self.down - self.taps.size // 2
        inputs = self._extended(begin_input, begin_input + (n_groups - 1) * step + shifts.shape[1], shifts.dtype)
        reached = sliding_window_view(inputs, shifts.shape[1], axis=0)[::step].transpose(0, 2, 1)
        made = np.empty((n_groups, ABREAST, self.shape[1]), dtype=shifts.dtype)
        width = max(1, SMALL_PRODUCT // shifts.size // FEW) * FEW
        for channel in range(0, self.shape[1], width):
            some = slice(channel, channel + width)
            np.matmul(shifts, reached[:, :, some], out=made[:, :, some])
        return made.reshape(-1, self.shape[1])[first - begin : last - begin]

    @cached_property
    def _shifts(self) -> FloatArray:
        """The filter as each of ABREAST outputs in a row wants it, (ABREAST, inputs that they reach)."""
        is_short = self.samples.dtype.kind in "iu" and self.samples.dtype.itemsize <= 2
        n = self.taps.size
        shifts = np.zeros((ABREAST, n + (ABREAST - 1) * self.down), dtype=np.float32 if is_short else np.float64)
        for k in range(ABREAST):
            shifts[k, k * self.down : k * self.down + n] = self.taps
        return shifts

    def _in_phases(self, first: int, last: int) -> FloatArray:
        from scipy.signal import upfirdn

        half = self.taps.size // 2
        # A block begins at a multiple of `down` inputs: its outputs fall on the filter phases they have in the whole.
        begin = self.down * ((first * self.down - half) // (self.up * self.down))
        end = ((last - 1) * self.down + half) // self.up + 1
        block = np.ascontiguousarray(self._extended(begin, end).T)
        lead = half // self.down - begin // self.down * self.up
        made = upfirdn(self.taps, block, up=self.up, down=self.down, axis=1)
        return np.asarray(made[:, first + lead : last + lead].T)

    def _extended(self, begin: int, end: int, kind: Any = np.float64) -> NDArray[Any]:
        """Input samples `begin` to `end`, the ends going on beyond what there is."""
        n = self.samples.shape[0]
        inside = np.asarray(self.samples[slice(max(0, min(begin, n - 1)), max(1, min(end, n)))], dtype=kind)
        before, after = max(0, -begin), max(0, end - n)
        if not (before or after):
            return inside
        return np.pad(inside, ((before, after), (0, 0)), mode="edge")


def _resampled(segment: Segment, ratio: Fraction, taps: FloatArray) -> Segment:
    base = segment.timebase
    if isinstance(base, Timestamps):
        raise ValueError("timestamps instead of a rate; an LFP needs a regular rate")
    n = base.n_samples
    # The last sample must not stand for more than half a sample beyond the end: the next segment may begin there.
    within = ((n - 1) * ratio.numerator) // ratio.denominator + 1 if n else 0
    n_made = min(within, int(n * ratio + Fraction(1, 2)))
    samples = Resampled(segment.samples, ratio.numerator, ratio.denominator, taps, n_made)
    return Segment(samples=samples, timebase=base.resampled(float(ratio), n_made))


def _ratio(from_hz: float, to_hz: float) -> Fraction:
    """The simplest `up / down` that comes within the tolerance of the wanted rate."""
    for up in range(1, MAX_UP + 1):
        down = max(1, round(up * from_hz / to_hz))
        if abs(from_hz * up / down - to_hz) <= RATE_TOLERANCE * to_hz:
            return Fraction(up, down)
    raise ValueError(f"no ratio up to {MAX_UP} leads from {from_hz:g} Hz to {to_hz:g} Hz")


def _low_pass(from_hz: float, ratio: Fraction, low_pass_hz: float) -> FloatArray:
    from scipy.signal import firwin, kaiserord

    fast_hz = from_hz * ratio.numerator
    stop_hz = from_hz * float(ratio) / 2
    n_taps, beta = kaiserord(STOP_DB, (stop_hz - low_pass_hz) / (fast_hz / 2))
    half = ratio.denominator * -(-n_taps // (2 * ratio.denominator))
    cutoff_hz = (low_pass_hz + stop_hz) / 2
    taps = firwin(2 * half + 1, cutoff_hz, window=("kaiser", beta), fs=fast_hz, scale=True)
    return np.asarray(taps, dtype=np.float64) * ratio.numerator


def _check(signal: Signal, rate_hz: float, low_pass_hz: float) -> None:
    if not signal.is_regular:
        raise ValueError(f"{signal.name}: has timestamps instead of a rate; an LFP needs a regular rate")
    if signal.segments and not 0 < rate_hz < signal.rate_hz:
        raise ValueError(f"{signal.name}: {rate_hz:g} Hz asked of {signal.rate_hz:g} Hz; a lower rate is wanted")
    if not 0 < low_pass_hz < 0.495 * rate_hz:
        raise ValueError(f"{signal.name}: low-pass at {low_pass_hz:g} Hz; it must lie below {0.495 * rate_hz:g} Hz")
