"""What the checks of clocks look at: which channels hear the eyes, their traces on a grid of session time, and lags.

Everything is read in blocks; a trace is one number per bin, NaN where nothing was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Intervals, Signal
from neuroloom.ingest.timebase import FloatArray, Timestamps

FRONTAL = ("fp1", "fp2", "fpz", "af7", "af8", "af3", "af4", "afz")
POSTERIOR = ("pz", "p3", "p4", "poz", "po3", "po4", "oz", "o1", "o2", "p7", "p8")
BLOCK_VALUES = 1 << 21
LONGEST_BLINK_S = 1.0  # beyond, the eye was lost
CLIP = 8.0  # spreads: one cable that was pulled must not outweigh all blinks
LEAST_PEAK = 8.0  # spreads of the correlation at other lags
MOST_RIVAL = 0.65  # of the peak may be reached at another lag


@dataclass(frozen=True, kw_only=True)
class Lag:
    """Where two traces fit: the second is `lag_s` late. peak: in spreads of other lags. n: events it rests on."""

    lag_s: float
    peak: float
    n: int


def frontal(signal: Signal, bad: frozenset[str]) -> FloatArray | None:
    """Weights of channels, shape (C,), that add up blinks and saccades; None where no channel is near the eyes."""
    names = [_plain(name) for name in signal.channel_names]
    good = np.array([name not in bad for name in signal.channel_names])
    near = np.array([signal.modality == "eog" or name in FRONTAL or "eog" in name for name in names]) & good
    if signal.modality not in ("eeg", "eog") or not near.any():
        return None
    return np.asarray(near / near.sum())


def radial(signal: Signal, bad: frozenset[str]) -> FloatArray | None:
    """Weights of channels near the eyes less those at the back of the head, where spikes of eye muscles are largest."""
    weights = frontal(signal, bad)
    if weights is None:
        return None
    back = np.array([_plain(name) in POSTERIOR and name not in bad for name in signal.channel_names], dtype=np.float64)
    return weights - (back / back.sum() if back.any() else 0)


def _plain(name: str) -> str:
    """ "EEG Fp1-REF" is fp1."""
    return re.sub(r"^(eeg|eog)[\s_]+|[-_\s](ref|le|a1|a2|m1|m2|av|avg)$", "", name.strip().casefold()).strip()


def bad_channels(session: Session, signal: Signal) -> frozenset[str]:
    """What quality checks found bad in a signal."""
    return frozenset(map(str, session.quality.get(signal.name, {}).get("bad_channels", ())))


def blinks_s(session: Session, device: str) -> FloatArray:
    """Blinks of an eye tracker, shape (B, 2), of either eye: its own, or found in its gaze by `gaze_events`."""
    stated = [
        stream.bounds_s
        for stream in session.streams
        if isinstance(stream, Intervals) and stream.device == device and "blink" in stream.name.casefold()
    ]
    found = np.concatenate(stated) if stated else np.empty((0, 2))
    return _merged(found[found[:, 1] - found[:, 0] < LONGEST_BLINK_S])


def _merged(bounds_s: FloatArray) -> FloatArray:
    """Both eyes blink together: intervals that touch are one."""
    ordered = bounds_s[np.argsort(bounds_s[:, 0], kind="stable")]
    merged: list[list[float]] = []
    for start_s, stop_s in ordered.tolist():
        if merged and start_s <= merged[-1][1] + 0.05:
            merged[-1][1] = max(merged[-1][1], stop_s)
        else:
            merged.append([start_s, stop_s])
    return np.array(merged, dtype=np.float64).reshape(-1, 2)


def blocks(signal: Signal, weights: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Times (T,) and the weighted sum of channels (T,), block by block."""
    for times_s, values, _ in padded_blocks(signal, weights, 0.0):
        yield times_s, values


def padded_blocks(
    signal: Signal, weights: FloatArray, margin_s: float
) -> Iterator[tuple[FloatArray, FloatArray, slice]]:
    """The same, each reaching `margin_s` into its neighbours of the segment; and which of its samples are its own."""
    columns = np.flatnonzero(weights)
    scaled, offset = weights[columns] * signal.gain[columns], float(weights @ signal.offset)
    for segment in signal.segments:
        base = segment.timebase
        size = max(1024, BLOCK_VALUES // max(1, len(signal.channel_names)))
        margin = int(margin_s * base.rate_hz)
        for first in range(0, base.n_samples, size):
            last = min(first + size, base.n_samples)
            start, stop = max(first - margin, 0), min(last + margin, base.n_samples)
            samples = np.asarray(segment.samples[start:stop])[:, columns].astype(np.float64)
            own = slice(first - start, last - start)
            yield base.seconds(np.arange(start, stop)), samples @ scaled + offset, own


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Bins of `bin_s` seconds from `start_s` on."""

    start_s: float
    bin_s: float
    n_bins: int

    def means(self, parts: Iterator[tuple[FloatArray, FloatArray]]) -> FloatArray:
        """Mean of the samples in each bin, NaN where there is none."""
        total, count = np.zeros(self.n_bins), np.zeros(self.n_bins)
        for times_s, values in parts:
            bins = np.floor((times_s - self.start_s) / self.bin_s).astype(np.int64)
            kept = (bins >= 0) & (bins < self.n_bins) & np.isfinite(values)
            total += np.bincount(bins[kept], values[kept], self.n_bins)
            count += np.bincount(bins[kept], minlength=self.n_bins)
        return np.asarray(np.divide(total, count, out=np.full(self.n_bins, np.nan), where=count > 0))

    def boxes(self, bounds_s: FloatArray) -> FloatArray:
        """Share of each bin that lies in an interval, near enough: 1 in every bin an interval touches."""
        level = np.zeros(self.n_bins + 1)
        bins = np.clip(np.floor((bounds_s - self.start_s) / self.bin_s), 0, self.n_bins).astype(np.int64)
        np.add.at(level, bins[:, 0], 1)
        np.add.at(level, np.minimum(bins[:, 1] + 1, self.n_bins), -1)
        return np.asarray(np.minimum(np.cumsum(level)[:-1], 1.0))


def overlap(session: Session, bin_s: float, *signals: Signal) -> Grid | None:
    """The grid over the time that all of these were recorded; None for less than half a minute."""
    start_s = max(signal.start_s for signal in signals)
    stop_s = min(signal.stop_s for signal in signals)
    if stop_s - start_s < 30.0:
        return None
    return Grid(start_s=start_s, bin_s=bin_s, n_bins=int((stop_s - start_s) / bin_s))


def standardised(values: FloatArray) -> FloatArray:
    """In robust spreads around the median, clipped, 0 where unknown; all 0 where nothing varies."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros_like(values)
    middle = float(np.median(values[known]))
    spread = 1.4826 * float(np.median(np.abs(values[known] - middle)))
    if not spread > 0:
        return np.zeros_like(values)
    return np.where(known, np.clip((np.nan_to_num(values) - middle) / spread, -CLIP, CLIP), 0.0)


def best_lag(events: FloatArray, trace: FloatArray, bin_s: float, *, near_s: float, n: int) -> Lag | None:
    """The lag by which `trace` follows `events` best, both (T,); None where no lag stands out.

    near_s: lags nearer to the best than this belong to its peak.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    if not events.any() or not trace.any():
        return None
    size = events.size
    n_fft = next_fast_len(2 * size)
    centred = events - events.mean()
    full = irfft(np.conj(rfft(centred, n_fft)) * rfft(trace - trace.mean(), n_fft), n_fft)
    reach = size // 2
    lags = np.arange(-reach, reach + 1)
    correlation = np.concatenate([full[-reach:], full[: reach + 1]]) / (size - np.abs(lags))
    spread = 1.4826 * float(np.median(np.abs(correlation - np.median(correlation))))
    if not spread > 0:
        return None
    height = np.abs(correlation - np.median(correlation)) / spread
    k = int(height.argmax())
    elsewhere = np.abs(lags - lags[k]) * bin_s > near_s
    if height[k] < LEAST_PEAK or (height[elsewhere].max(initial=0) > MOST_RIVAL * height[k]):
        return None
    return Lag(lag_s=float(_centre(height, k, lags)) * bin_s, peak=float(height[k]), n=n)


def _centre(height: FloatArray, k: int, lags: NDArray[np.int64]) -> float:
    """The middle of the peak at half its height, which noise at the very top does not move."""
    first = last = k
    while first > 0 and height[first - 1] > height[k] / 2:
        first -= 1
    while last < height.size - 1 and height[last + 1] > height[k] / 2:
        last += 1
    weights = height[first : last + 1] - height[k] / 2
    return float((weights * lags[first : last + 1]).sum() / weights.sum())


def is_sampled_evenly(signal: Signal) -> bool:
    """True where no segment has timestamps of its own."""
    return not any(isinstance(segment.timebase, Timestamps) for segment in signal.segments)
