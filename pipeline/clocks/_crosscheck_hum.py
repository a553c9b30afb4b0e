"""The mains hum: two devices in one building hear the same 50 or 60 Hz, so its phase between them must stand still.

    windows spread over the common time -> phase and strength of the hum in both, on session time
      -> the steady turning of the phase difference that explains most of it
      -> turns per second over the mains frequency = seconds per second by which the map's drift is wrong

Design rationale: phases are compared at the same session times, so that the mains' own wandering cancels. Windows may
lie ten seconds apart: the difference turns by less than half a turn in between for any drift below 1000 ppm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import ClockMap, CrossCheck, FloatArray
from neuroloom.pipeline.clocks._crosscheck_traces import bad_channels, is_sampled_evenly

ComplexArray = NDArray[np.complex128]

MAINS_HZ = (50.0, 60.0)
CHEAP_FIRST = ("eog", "eeg", "ecg", "emg", "ieeg", "lfp", "aux", "meg", "wideband")
WINDOW_S, MOST_WINDOWS, FEWEST_WINDOWS = 0.5, 240, 20
MOST_CHANNELS = 8
AUDIBLE = 3.0  # times the amplitude that neighbouring frequencies have
COHERENT = 0.7  # length of the mean phase difference, once its turning is taken off
STEADY_MS = 4.0  # hum changes its phase by itself a little, as loads in the building do
SEARCH = 4096  # turning rates that are tried


@dataclass(frozen=True, kw_only=True, eq=False)
class _Heard:
    """Complex amplitude (W,) of the hum in each window of one channel, and how far it stands out, in the middle."""

    amplitudes: ComplexArray
    loudness: float


def hum_check(session: Session, clock: ClockMap, other: str) -> CrossCheck | None:
    """None where one of the devices has no signal that could hear it; "cannot tell" where it does not."""
    mine, theirs = _signal(session, clock.source), _signal(session, other)
    if mine is None or theirs is None:
        return None
    start_s, stop_s = max(mine.start_s, theirs.start_s), min(mine.stop_s, theirs.stop_s)
    n_windows = min(MOST_WINDOWS, int((stop_s - start_s) / (2 * WINDOW_S)))
    if n_windows < FEWEST_WINDOWS:
        return None
    starts_s = np.linspace(start_s, stop_s - WINDOW_S, n_windows)
    heard = [(hz, _heard(session, mine, starts_s, hz), _heard(session, theirs, starts_s, hz)) for hz in MAINS_HZ]
    hz, a, b = max(heard, key=lambda found: min(found[1].loudness, found[2].loudness))
    if min(a.loudness, b.loudness) < AUDIBLE:
        deaf = mine if a.loudness < b.loudness else theirs
        words = f"No mains hum stands out in {deaf.name}."
        return CrossCheck(kind="mains hum", against=other, verdict="cannot tell", words=words)
    return _judged(clock, other, hz, starts_s + WINDOW_S / 2, a.amplitudes * np.conj(b.amplitudes))


def _judged(clock: ClockMap, other: str, hz: float, times_s: FloatArray, product: ComplexArray) -> CrossCheck:
    """What the phase of the product of two hums, at these times, says of the map's drift."""
    known = np.abs(product) > 0
    times_s, units = times_s[known], product[known] / np.abs(product[known])
    turning, coherence = _turning(times_s, units)
    span_s = float(times_s[-1] - times_s[0])
    drift = -turning / (2 * np.pi * hz)  # a source whose times come out ever later has a hum that loses phase
    apart_ms = drift * span_s * 1e3
    error_rad = np.sqrt(max(-2 * np.log(max(coherence, 1e-6)), 1e-6)) * np.sqrt(12 / times_s.size)
    error_ms = float(error_rad / (2 * np.pi * hz) * 1e3)
    if coherence < COHERENT:
        words = (
            f"The {hz:.0f} Hz hum of the two keeps no phase ({coherence:.0%} coherent): it tells nothing of the drift."
        )
        return CrossCheck(kind="mains hum", against=other, verdict="cannot tell", words=words)
    allowed_ms = STEADY_MS + 3 * error_ms + 3 * clock.residual_ms
    off = abs(apart_ms) > allowed_ms
    words = (
        f"By the phase of the {hz:.0f} Hz hum, {clock.source} and {other} run {abs(drift) * 1e6:.1f} ppm apart after "
        f"the map, {abs(apart_ms):.1f} ms over the recording; up to {allowed_ms:.0f} ms is expected."
    )
    return CrossCheck(
        kind="mains hum",
        against=other,
        verdict="contradicts" if off else "confirms",
        lag_ms=float(apart_ms),
        uncertainty_ms=error_ms,
        words=words,
    )


def _turning(times_s: FloatArray, units: ComplexArray) -> tuple[float, float]:
    """The rate, radians per second, at which unit phasors turn, and how much of them that explains (0 to 1)."""
    spacing_s = float(np.median(np.diff(times_s)))
    rates = np.linspace(-np.pi, np.pi, SEARCH) / spacing_s
    away_s = times_s - times_s.mean()
    lengths = np.abs(np.exp(-1j * rates[:, None] * away_s[None, :]) @ units) / units.size
    best = float(rates[lengths.argmax()])
    fine = best + np.linspace(-1, 1, 401) * (rates[1] - rates[0])
    lengths = np.abs(np.exp(-1j * fine[:, None] * away_s[None, :]) @ units) / units.size
    return float(fine[lengths.argmax()]), float(lengths.max())


def _heard(session: Session, signal: Signal, starts_s: FloatArray, hz: float) -> _Heard:
    """The hum in the channel that hears it best."""
    if signal.rate_hz < 2.5 * (hz + 8):
        return _Heard(amplitudes=np.zeros(starts_s.size, dtype=np.complex128), loudness=0.0)
    bad = bad_channels(session, signal)
    good = [i for i, name in enumerate(signal.channel_names) if name not in bad] or [0]
    columns = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, MOST_CHANNELS).round().astype(int))]
    tones_hz = np.array([hz, hz - 6, hz - 4, hz + 4, hz + 6])
    found = np.zeros((starts_s.size, len(tones_hz), len(columns)), dtype=np.complex128)
    for k, start_s in enumerate(starts_s):
        found[k] = _tones(signal, float(start_s), columns, tones_hz)
    neighbours = np.median(np.abs(found[:, 1:]), axis=(0, 1))
    loudness = np.median(np.abs(found[:, 0]), axis=0) / np.maximum(neighbours, 1e-300)
    best = int(loudness.argmax())
    return _Heard(amplitudes=found[:, 0, best], loudness=float(loudness[best]))


def _tones(signal: Signal, start_s: float, columns: list[int], tones_hz: FloatArray) -> ComplexArray:
    """Complex amplitudes of tones in one window, shape (tones, channels), phases on session time; 0 without samples."""
    for segment in signal.segments:
        part = segment.timebase.samples_between(start_s, start_s + WINDOW_S)
        if part.stop - part.start < 0.9 * WINDOW_S * signal.rate_hz:
            continue
        values = np.asarray(segment.samples[part])[:, columns].astype(np.float64)
        times_s = segment.timebase.seconds(np.arange(part.start, part.stop))
        window = np.hanning(len(values))[:, None]
        values = np.nan_to_num(values - values.mean(axis=0)) * window
        return np.asarray(np.exp(-2j * np.pi * tones_hz[:, None] * times_s[None, :]) @ values / window.sum())
    return np.zeros((tones_hz.size, len(columns)), dtype=np.complex128)


def _signal(session: Session, device: str) -> Signal | None:
    """The cheapest signal to read that may hear the mains."""
    signals = [
        s for s in session.streams
        if isinstance(s, Signal) and s.device == device and s.modality in CHEAP_FIRST and s.n_samples
        and is_sampled_evenly(s) and s.rate_hz >= 2.5 * (MAINS_HZ[0] + 8) and "made_by" not in s.provenance
    ]  # fmt: skip
    return min(signals, key=lambda s: CHEAP_FIRST.index(s.modality), default=None)
