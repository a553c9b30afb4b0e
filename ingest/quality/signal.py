"""Any sampled signal: channels that stand still, values not finite, impossible, or stuck at the converter's limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.streams import Signal, Stream

from ._finding import Finding
from ._stretches import Reading, found_alone

TITLE = "constant, saturated, impossible or missing values"
MAX_MISSING_SHARE = 0.05
MAX_SATURATED_SHARE = 0.01
MOST = {"uV": 1e8}  # 100 V: no electrode gives more, and no converter of a laboratory takes it
MOST_OF_ANY = 1e30  # in any unit: bytes that are no numbers, read as such
MIN_RUN = 3  # a converter at its limit repeats its extreme value; a lone extreme sample is just the largest
MAY_STAND_STILL = (
    "sync",
    "behaviour",
    "position",
    "aux",
    "gaze",
    "pupil",
)  # a button, a lost eye: at rest is not broken


@dataclass(eq=False)
class _Tally:
    """Running counts per channel, shape (C,)."""

    stream: Signal
    seen: int
    missing: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    at_low: NDArray[np.int64]
    at_high: NDArray[np.int64]
    largest: NDArray[np.float64]  # of the values, whatever their sign

    @classmethod
    def of(cls, stream: Signal) -> _Tally:
        """Nothing seen yet."""
        n_channels = len(stream.channel_names)
        zeros = np.zeros(n_channels, dtype=np.int64)
        inf = np.full(n_channels, np.inf)
        return cls(stream, 0, zeros.copy(), inf.copy(), -inf, zeros.copy(), zeros.copy(), np.zeros(n_channels))

    def add(self, originals: NDArray[Any], values: NDArray[np.float64]) -> None:
        """Count a stretch of originals and values, both (T, C)."""
        self.seen += len(values)
        way = _integers if _are_whole(originals, values) else self._finite
        counted, low, high = way(originals, values)
        least, most = np.minimum(low, self.low), np.maximum(high, self.high)
        self.at_low = np.where(low < self.low, 0, self.at_low) + _in_runs(counted == least)
        self.at_high = np.where(high > self.high, 0, self.at_high) + _in_runs(counted == most)
        self.low, self.high = least, most

    def finding(self) -> Finding:
        """See `check`."""
        return _found(self.stream, self)

    def _finite(
        self, originals: NDArray[Any], values: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
        """What is compared, NaN where it is not finite, and its extremes."""
        finite = np.isfinite(values)
        self.missing += (~finite).sum(axis=0)
        self.largest = np.maximum(self.largest, np.abs(values).max(axis=0, initial=0.0, where=finite))
        as_float = np.where(finite, originals.astype(np.float64), np.nan)
        low = np.where(finite, as_float, np.inf).min(axis=0, initial=np.inf)
        high = np.where(finite, as_float, -np.inf).max(axis=0, initial=-np.inf)
        return as_float, low, high


def applies(stream: Stream) -> bool:
    """Every sampled signal with samples."""
    return isinstance(stream, Signal) and stream.n_samples > 0


def check(stream: Stream) -> Finding:
    """Shares per channel; a channel is bad when it never moves, when too much of it is missing or saturated, and when a
    value of it is more than anything measured has.
    """
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    return found_alone(stream, begin(stream))


def begin(stream: Signal) -> Reading:
    """The same, told of one stretch after another."""
    return _Tally.of(stream)


def _found(stream: Signal, tally: _Tally) -> Finding:
    missing = tally.missing / max(1, tally.seen)
    constant = tally.low >= tally.high
    saturated = np.where(constant, 0.0, (tally.at_low + tally.at_high) / max(1, tally.seen))
    two_level = stream.modality in MAY_STAND_STILL
    most = MOST.get(stream.unit, MOST_OF_ANY)
    bad: dict[str, str] = {}
    for i, name in enumerate(stream.channel_names):
        if missing[i] == 1:
            bad[name] = "no finite value"
        elif tally.largest[i] > most:
            bad[name] = (
                f"reaches {tally.largest[i]:.2g} {stream.unit}, more than can be measured; its bytes may be no numbers"
            )
        elif constant[i] and not two_level:
            bad[name] = "constant"
        elif missing[i] > MAX_MISSING_SHARE and not two_level:
            bad[name] = f"{missing[i]:.1%} of its values are not finite"
        elif saturated[i] > MAX_SATURATED_SHARE and not two_level:
            bad[name] = f"saturated: {saturated[i]:.1%} of its values repeat its extremes"
    return Finding(
        values={"samples_seen": tally.seen, "missing_share": missing, "saturated_share": saturated},
        bad_channels=bad,
    )


def _integers(
    originals: NDArray[Any], _values: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """The same of integers, which are compared as they are: half the time."""
    return originals, originals.min(axis=0).astype(np.float64), originals.max(axis=0).astype(np.float64)


def _are_whole(originals: NDArray[Any], values: NDArray[np.float64]) -> bool:
    """True for integers of up to 32 bits, which are finite all where gain and offset are: the first row tells."""
    is_integer = originals.dtype.kind in "iu" and originals.dtype.itemsize <= 4
    return bool(is_integer and len(values) and np.isfinite(values[0]).all())


def _in_runs(extreme: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Per channel how many of the true samples, shape (T, C), lie in runs of at least `MIN_RUN`."""
    starts = extreme[:-2] & extreme[1:-1] & extreme[2:]
    if not starts.any():
        return np.zeros(extreme.shape[1], dtype=np.int64)
    in_run = np.zeros_like(extreme)
    in_run[:-2] |= starts
    in_run[1:-1] |= starts
    in_run[2:] |= starts
    return np.asarray(in_run.sum(axis=0), dtype=np.int64)
