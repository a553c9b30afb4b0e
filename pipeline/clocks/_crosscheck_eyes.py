"""Blinks and saccades: an eye tracker sees them, and so do electrodes near the eyes. Do they see them at one time?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Intervals, Signal
from neuroloom.ingest.timebase import ClockMap, CrossCheck, FloatArray
from neuroloom.pipeline.clocks._crosscheck_traces import (
    Grid,
    Lag,
    bad_channels,
    best_lag,
    blinks_s,
    blocks,
    frontal,
    is_sampled_evenly,
    overlap,
    padded_blocks,
    radial,
    standardised,
)

BLINK_BIN_S, BLINK_NEAR_S = 0.02, 1.0
BLINK_TOLERANCE_S, BLINK_KNOWN_S = (
    0.15,
    0.06,
)  # a lid is down before a tracker loses the eye, and up after it has it back
SPIKE_BIN_S, SPIKE_NEAR_S = 0.004, 0.1
SPIKE_TOLERANCE_S, SPIKE_KNOWN_S = 0.03, 0.01  # trackers say that a saccade began some ms after it did
SPIKE_BAND_HZ = (20.0, 90.0)
FILTER_S, LEAST_FILTERED = 0.5, 64
FEWEST_BLINKS, FEWEST_SACCADES = 10, 20
PART_S = 300.0  # a wrong drift smears a lag over an hour; over five minutes it does not
SLOWEST_HZ = 1.0  # slower waves are no blinks


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What both devices saw: the tracker's moments as bounds (E, 2), the electrodes' trace (T,)."""

    tracker: str
    bounds_s: FloatArray
    trace: FloatArray
    grid: Grid
    channels: str


def blink_check(session: Session, clock: ClockMap, other: str) -> CrossCheck | None:
    """Blinks of whichever of two devices is the eye tracker, in electrodes of the other; None where neither is."""
    for tracker, amplifier in ((clock.source, other), (other, clock.source)):
        bounds_s = blinks_s(session, tracker)
        gaze = _gaze(session, tracker)
        signal = _near_eyes(session, amplifier, least_hz=2 / BLINK_BIN_S)
        if gaze is None or signal is None or len(bounds_s) < FEWEST_BLINKS:
            continue
        weights = frontal(signal, bad_channels(session, signal))
        grid = overlap(session, BLINK_BIN_S, gaze, signal)
        if weights is None or grid is None:
            continue
        trace = standardised(_above(grid.means(blocks(signal, weights)), SLOWEST_HZ * BLINK_BIN_S))
        seen = _Seen(tracker=tracker, bounds_s=bounds_s, trace=trace, grid=grid, channels=_names(signal, weights))
        lags = list(_lags(seen, BLINK_NEAR_S, FEWEST_BLINKS))
        return _judged("blinks", seen, lags, session, clock, other, BLINK_TOLERANCE_S, BLINK_KNOWN_S)
    return None


def saccade_check(session: Session, clock: ClockMap, other: str) -> CrossCheck | None:
    """Saccades of the eye tracker, in the spikes of eye muscles that electrodes of the other device hear."""
    for tracker, amplifier in ((clock.source, other), (other, clock.source)):
        onsets_s = _saccades_s(session, tracker)
        gaze = _gaze(session, tracker)
        signal = _near_eyes(session, amplifier, least_hz=2.2 * SPIKE_BAND_HZ[0] / 0.45)
        if gaze is None or signal is None or onsets_s.size < FEWEST_SACCADES:
            continue
        weights = radial(signal, bad_channels(session, signal))
        grid = overlap(session, SPIKE_BIN_S, gaze, signal)
        if weights is None or grid is None:
            continue
        trace = standardised(np.log(grid.means(_band_power(signal, weights)) + 1e-30))
        bounds_s = np.stack([onsets_s, onsets_s + SPIKE_BIN_S], axis=1)
        seen = _Seen(tracker=tracker, bounds_s=bounds_s, trace=trace, grid=grid, channels=_names(signal, weights))
        lags = list(_lags(seen, SPIKE_NEAR_S, FEWEST_SACCADES))
        return _judged("saccadic spikes", seen, lags, session, clock, other, SPIKE_TOLERANCE_S, SPIKE_KNOWN_S)
    return None


def _judged(
    kind: str,
    seen: _Seen,
    lags: list[Lag],
    session: Session,
    clock: ClockMap,
    other: str,
    tolerance_s: float,
    known_s: float,
) -> CrossCheck:
    what = "blinks" if kind == "blinks" else "saccades"
    if not lags:
        words = f"{len(seen.bounds_s)} {what} of {seen.tracker}: no lag stands out in {seen.channels}."
        return CrossCheck(kind=kind, against=other, verdict="cannot tell", words=words)
    worst = max(lags, key=lambda lag: abs(lag.lag_s))
    # The trace of the electrodes follows the tracker by the lag: then the tracker's times come out too early.
    late_s = -worst.lag_s if seen.tracker == clock.source else worst.lag_s
    allowed_s = tolerance_s + 3e-3 * float(clock.uncertainty_ms(float(np.mean(clock.span_s))))
    verdict = "confirms" if abs(worst.lag_s) <= allowed_s else "contradicts"
    where = f" at the worst of {len(lags)} stretches" if len(lags) > 1 else ""
    words = (
        f"{worst.n} {what} of {seen.tracker} show in {seen.channels} {abs(worst.lag_s) * 1e3:.0f} ms "
        f"{'later' if worst.lag_s > 0 else 'earlier'}{where}; up to {allowed_s * 1e3:.0f} ms is expected."
    )
    return CrossCheck(
        kind=kind,
        against=other,
        verdict="confirms" if verdict == "confirms" else "contradicts",
        lag_ms=late_s * 1e3,
        uncertainty_ms=known_s * 1e3,
        words=words,
    )


def _lags(seen: _Seen, near_s: float, fewest: int) -> Iterator[Lag]:
    """The lag over everything, and of every stretch of five minutes that has enough to tell."""
    grid = seen.grid
    whole = best_lag(grid.boxes(seen.bounds_s), seen.trace, grid.bin_s, near_s=near_s, n=len(seen.bounds_s))
    if whole is not None:
        yield whole
    n_parts = int(grid.n_bins * grid.bin_s // PART_S)
    for bins in np.array_split(np.arange(grid.n_bins), n_parts) if n_parts > 1 else []:
        part = Grid(start_s=grid.start_s + bins[0] * grid.bin_s, bin_s=grid.bin_s, n_bins=bins.size)
        stop_s = part.start_s + part.n_bins * part.bin_s
        inside = (seen.bounds_s[:, 0] >= part.start_s) & (seen.bounds_s[:, 1] < stop_s)
        if inside.sum() < fewest:
            continue
        found = best_lag(
            part.boxes(seen.bounds_s[inside]), seen.trace[bins], grid.bin_s, near_s=near_s, n=int(inside.sum())
        )
        if found is not None:
            yield found


def _gaze(session: Session, device: str) -> Signal | None:
    signals = [s for s in session.streams if isinstance(s, Signal) and s.device == device and s.segments]
    return next((s for s in signals if s.modality in ("gaze", "pupil")), None)


def _near_eyes(session: Session, device: str, least_hz: float) -> Signal | None:
    """The signal with channels near the eyes, EOG before EEG."""
    signals = [
        s for s in session.streams
        if isinstance(s, Signal) and s.device == device and s.segments and s.rate_hz >= least_hz
        and is_sampled_evenly(s) and frontal(s, bad_channels(session, s)) is not None
    ]  # fmt: skip
    return min(signals, key=lambda s: s.modality != "eog", default=None)


def _names(signal: Signal, weights: FloatArray) -> str:
    near = [name for name, weight in zip(signal.channel_names, weights, strict=True) if weight > 0]
    return ", ".join(near[:4]) + (" and others" if len(near) > 4 else "")


def _saccades_s(session: Session, device: str) -> FloatArray:
    """Onsets of saccades as the tracker states them or were found in its gaze; without those within a blink."""
    mine = [s for s in session.streams if s.device == device]
    stated = [s.bounds_s[:, 0] for s in mine if isinstance(s, Intervals) and "saccade" in s.name.casefold()]
    onsets_s = np.sort(np.concatenate(stated)) if stated else np.zeros(0)
    lids_s = blinks_s(session, device)
    if lids_s.size:
        after = np.searchsorted(lids_s[:, 0] - 0.1, onsets_s, side="right") - 1
        onsets_s = onsets_s[(after < 0) | (onsets_s > lids_s[after, 1] + 0.1)]
    return np.asarray(onsets_s[np.diff(onsets_s, prepend=-np.inf) > 0.02])  # both eyes start together


def _above(trace: FloatArray, cutoff: float) -> FloatArray:
    """Without what is slower than `cutoff` cycles per bin; NaN stays."""
    from scipy.ndimage import uniform_filter1d

    known = np.isfinite(trace)
    if not known.any():
        return trace
    filled = np.where(known, np.nan_to_num(trace), np.median(trace[known]))
    smooth = uniform_filter1d(filled, max(3, int(1 / cutoff)), mode="nearest")
    return np.where(known, filled - smooth, np.nan)


def _band_power(signal: Signal, weights: FloatArray) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Squares of the band in which eye muscles fire, block by block."""
    from scipy.signal import butter, sosfiltfilt

    low_hz, high_hz = SPIKE_BAND_HZ
    band = butter(4, [low_hz, min(high_hz, 0.45 * signal.rate_hz)], "bandpass", fs=signal.rate_hz, output="sos")
    for times_s, values, own in padded_blocks(signal, weights, FILTER_S):
        if values.size > LEAST_FILTERED:
            yield times_s[own], sosfiltfilt(band, np.nan_to_num(values))[own] ** 2
