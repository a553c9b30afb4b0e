"""Where an EEG shows a blink or a muscle instead of a brain: marks, in bounded memory; no sample is altered.

    eeg_artefacts(eeg, bad_channels) -> Intervals "eeg artefacts", labels "blink" and "muscle"

    blink    after Kleifges et al. 2017, Front Neurosci 11:12 (BLINKER): on a frontal or eye channel, 1 to 20 Hz, what
             stands 1.5 standard deviations above the mean for 50 ms or more; here only where its peak is above 5, so
             that alpha waves are none. Kept where blinks are 3 to 50 times as large as what lies between them.
    muscle   after Muthukumaraswamy 2013, Front Hum Neurosci 7:138, as MNE-Python marks it: the envelope at 110 to
             140 Hz, as z-scores added up over channels, above 4. Slower recordings: at 37 to 47 % of their rate.

Centre and spread are medians of stretches over the whole recording, so that artefacts do not hide themselves.
Shapes: T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest._blocks import Block, blocks
from neuroloom.ingest._runs import merged, runs_of
from neuroloom.ingest._threads import ahead
from neuroloom.ingest.quality._stretches import stretches
from neuroloom.ingest.streams import Intervals, Signal
from neuroloom.ingest.timebase import FloatArray

FRONTAL = ("fp1", "fp2", "fpz", "af7", "af8", "eog", "veog", "heog")
BLINK_HZ, EDGE_SD, PEAK_SD = (1.0, 20.0), 1.5, 5.0
MIN_BLINK_S, MAX_BLINK_S, BLINK_RATIO = 0.05, 1.0, (3.0, 50.0)
MUSCLE_HZ, MUSCLE_SHARES, MUSCLE_Z = (110.0, 140.0), (0.37, 0.47), 4.0
MUSCLE_SMOOTHING_HZ, BETWEEN_MUSCLE_S = 4.0, 0.1
MIRROR_S, LEAST_GAIN = 0.25, 1e-4
MIN_BLINK_RATE_HZ, MIN_MUSCLE_RATE_HZ = 60.0, 200.0
MARGIN_S = 2.0
MAD = 1.4826  # a median absolute deviation times this is the standard deviation of a normal distribution

Bounds = list[tuple[float, float]]


class _Level(NamedTuple):
    """Centre and spread per channel, shape (C,)."""

    centre: FloatArray
    spread: FloatArray


def is_fit(signal: Signal) -> bool:
    """Whether it is EEG, or a channel beside the eye, at a rate at which artefacts show."""
    is_one = signal.modality in ("eeg", "eog") and bool(signal.segments)
    return is_one and signal.is_regular and signal.rate_hz >= MIN_BLINK_RATE_HZ


def eeg_artefacts(eeg: Signal, bad_channels: Collection[str] = ()) -> Intervals:
    """Blinks and bursts of muscle activity, in order of time; bad channels have no say.

    Raises ValueError where `is_fit` is False.
    """
    if not is_fit(eeg):
        raise ValueError(f"{eeg.name}: {eeg.modality} at {eeg.rate_hz:g} Hz; EEG at 60 Hz or more is wanted")
    good = tuple(name for name in eeg.channel_names if name not in bad_channels)
    channel, blinks = _blinks(eeg, good)
    found = [(*bounds, "blink") for bounds in blinks]
    if eeg.modality == "eeg" and eeg.rate_hz >= MIN_MUSCLE_RATE_HZ and good:
        found += [(*bounds, "muscle") for bounds in _muscle(eeg.channels(good))]
    found.sort()
    return Intervals(
        name=f"{eeg.name} artefacts",
        bounds_s=np.array([row[:2] for row in found], dtype=np.float64).reshape(-1, 2),
        labels=tuple(row[2] for row in found),
        device=eeg.device,
        provenance={"made_by": "eeg_artefacts", "source": eeg.name} | ({"blinks_of": channel} if channel else {}),
    )


# Blinks ------------------------------------------------------------------------------------------------------------


def _blinks(eeg: Signal, good: tuple[str, ...]) -> tuple[str, Bounds]:
    """The channel on which blinks stand out most, and its blinks; "" and none where there is no such channel."""
    best: tuple[float, str, Bounds] = (0.0, "", [])
    for name in _beside_eyes(eeg, good):
        channel = eeg.channels((name,))
        filter_ = partial(_band_passed, rate_hz=eeg.rate_hz, band_hz=BLINK_HZ)
        level = _level(channel, filter_)
        for sign in (1.0, -1.0):  # a bipolar channel may stand on its head
            ratio, bounds = _peaks(channel, filter_, level, sign)
            if bounds and BLINK_RATIO[0] <= ratio <= BLINK_RATIO[1] and ratio > best[0]:
                best = (ratio, name, bounds)
    return best[1:]


def _beside_eyes(eeg: Signal, good: tuple[str, ...]) -> list[str]:
    """Channels that see blinks, by a word of their names: "EEG Fp1-Ref" is Fp1."""
    if eeg.modality == "eog":
        return list(good)
    words = {name: name.casefold().replace("-", " ").replace(".", " ").split() for name in good}
    return [name for name in good if any(word in FRONTAL for word in words[name])]


def _peaks(
    channel: Signal, filter_: Callable[[FloatArray], FloatArray], level: _Level, sign: float
) -> tuple[float, Bounds]:
    """How much blinks stand out, and their bounds."""
    bounds: Bounds = []
    within, between = np.zeros(2), np.zeros(2)  # sum and count of what is above 0 in blinks and between them
    if level.spread[0] <= 0:
        return 0.0, []
    for block in blocks(channel, MARGIN_S):
        z = sign * ((filter_(block.values) - level.centre) / level.spread)[:, 0]
        found = [run for run in runs_of(z > EDGE_SD) if z[run[0] : run[1]].max() > PEAK_SD]
        blinked = np.zeros(len(z), dtype=np.bool_)
        for first, stop in found:
            blinked[first:stop] = True
            if block.own.start <= first < block.own.stop:
                bounds += _in_seconds(channel, block, np.array([[first, stop]]))
        above = z > 0
        for tally, inside in ((within, blinked), (between, ~blinked)):
            tally += (z[above & inside].sum(), np.count_nonzero(above & inside))
    lasting = [(a, b) for a, b in bounds if MIN_BLINK_S <= b - a <= MAX_BLINK_S]
    means = [tally[0] / tally[1] if tally[1] else 0.0 for tally in (within, between)]
    return (means[0] / means[1] if means[1] else 0.0), lasting


def _band_passed(values: FloatArray, *, rate_hz: float, band_hz: tuple[float, float]) -> FloatArray:
    """Values (T, C) between two frequencies, zero-phase; too few of them give zeros."""
    from scipy.signal import butter, sosfiltfilt

    sos = butter(4, (band_hz[0], min(band_hz[1], 0.45 * rate_hz)), "bandpass", fs=rate_hz, output="sos")
    if len(values) <= 3 * (2 * len(sos) + 1):
        return np.zeros_like(values)
    return np.asarray(sosfiltfilt(sos, values - values.mean(axis=0), axis=0))


# Muscle ------------------------------------------------------------------------------------------------------------


def _muscle(eeg: Signal) -> Bounds:
    """Stretches in which the fast activity of all channels together is too large."""
    from scipy.signal import butter, sosfiltfilt

    low, high = MUSCLE_HZ if 0.47 * eeg.rate_hz >= MUSCLE_HZ[1] else (s * eeg.rate_hz for s in MUSCLE_SHARES)
    enveloped = partial(_envelope, rate_hz=eeg.rate_hz, band_hz=(low, high))
    level = _level(eeg, lambda values: enveloped(values).values)
    alive = level.spread > 0
    if not alive.any():
        return []
    bounds: Bounds = []
    for block in ahead(blocks(eeg, MARGIN_S)):
        envelope = enveloped(block.values)
        z = ((envelope.values - level.centre) / np.where(alive, level.spread, 1))[:, alive]
        total = z.sum(axis=1) / np.sqrt(alive.sum())
        smoothing = butter(4, MUSCLE_SMOOTHING_HZ, "lowpass", fs=envelope.rate_hz, output="sos")
        mirrored = int(MIRROR_S * envelope.rate_hz)
        if len(total) <= mirrored:
            continue
        total = sosfiltfilt(smoothing, total, padtype="even", padlen=mirrored)
        found = envelope.samples(merged(runs_of(total > MUSCLE_Z), int(BETWEEN_MUSCLE_S * envelope.rate_hz)))
        inside = (found[:, 0] >= block.own.start) & (found[:, 0] < block.own.stop)
        bounds += _in_seconds(eeg, block, found[inside])
    return bounds


class _Envelope(NamedTuple):
    """Amplitudes (K, C) at `rate_hz`, and the sample (K,) at which each is."""

    values: FloatArray
    at: FloatArray
    rate_hz: float

    def samples(self, runs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Runs of amplitudes as runs of samples, (N, 2)."""
        return np.column_stack([np.rint(self.at[runs[:, 0]]), np.rint(self.at[runs[:, 1] - 1]) + 1]).astype(np.int64)


def _envelope(values: FloatArray, rate_hz: float, band_hz: tuple[float, float]) -> _Envelope:
    """Amplitude of values (T, C) between two frequencies, at the rate that its band needs.

    A Butterworth filter there and back, and the analytic signal of what it lets through, in one transform each way: the
    way back is of the band's frequencies alone. Both ends go on as their mirror image, turned round.
    """
    from scipy.fft import ifft, next_fast_len, rfft
    from scipy.signal import butter, sosfreqz

    n_own, n_channels = values.shape
    pad = min(int(MIRROR_S * rate_hz), n_own - 1)
    n = next_fast_len(n_own + 2 * pad, real=True)
    padded = np.zeros((n_channels, n), np.float32)
    own = padded[:, pad : pad + n_own]
    own[:] = (values - values.mean(axis=0)).T
    padded[:, :pad] = 2 * own[:, :1] - own[:, pad:0:-1]
    padded[:, pad + n_own : 2 * pad + n_own] = 2 * own[:, -1:] - own[:, -2 : -2 - pad : -1]
    sos = butter(4, band_hz, "bandpass", fs=rate_hz, output="sos")
    gain = 2 * np.abs(sosfreqz(sos, np.arange(n // 2 + 1) * rate_hz / n, fs=rate_hz)[1]) ** 2
    passed = np.flatnonzero(gain > LEAST_GAIN)
    band = slice(passed[0], passed[-1] + 1)
    found = rfft(padded, axis=1)[:, band] * gain[band].astype(np.float32)
    n_kept = next_fast_len(found.shape[1])
    amplitude = np.abs(ifft(found, n=n_kept, axis=1)) * (n_kept / n)
    at = np.arange(n_kept) * (n / n_kept) - pad
    kept = (at >= 0) & (at <= n_own - 1)
    return _Envelope(amplitude[:, kept].T, at[kept], rate_hz * n_kept / n)


# Both --------------------------------------------------------------------------------------------------------------


def _level(signal: Signal, filter_: Callable[[FloatArray], FloatArray]) -> _Level:
    """Median and spread of the filtered signal over stretches of the whole recording."""
    filtered = [filter_(np.nan_to_num(values, posinf=0, neginf=0)) for _, values in stretches(signal)]
    seen = np.concatenate(filtered)
    centre = np.median(seen, axis=0)
    return _Level(centre, MAD * np.median(np.abs(seen - centre), axis=0))


def _in_seconds(signal: Signal, block: Block, found: NDArray[np.int64]) -> Bounds:
    base = signal.segments[block.segment].timebase
    return [(float(base.seconds(block.first + a)), float(base.seconds(block.first + b - 1))) for a, b in found]
