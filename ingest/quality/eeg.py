"""EEG and other field potentials: flat, noisy and bridged channels, hum of the mains, and a spectrum per channel.

Bridged electrodes by the variance of their difference, after Tenke and Kayser 2001, Clin Neurophysiol 112:545, and
Alschuler et al. 2014, Clin Neurophysiol 125:484. Noisy channels by a robust z-score of the logarithm of their
level, after the deviation criterion of PREP (Bigdely-Shamlo et al. 2015, Front Neuroinform 9:16), which takes 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.eeg_positions import positions_mm
from neuroloom.ingest.streams import TO_MICROVOLTS, Signal, Stream
from neuroloom.ingest.timebase import FloatArray
from neuroloom.ingest.words import count

from ._finding import Finding
from ._stretches import Reading, found_alone

TITLE = "flat, noisy and bridged channels, mains hum"
MODALITIES = ("eeg", "ieeg", "lfp", "meg", "eog", "ecg", "emg")
SAME_KIND = ("eeg", "meg", "ieeg", "lfp")  # channels that can be judged by one another
FLAT_UV = 0.1  # an electrode on a head shows more than this (standard deviation), amplifier noise included
NOISY_Z, MIN_CHANNELS = 5.0, 4
MIN_LOG_SPREAD = 0.1  # decades; among channels that are all alike a small difference is not noise
MAX_LINE_SHARE = 0.5
BRIDGED_SHARE = 1e-3  # of the channels' own variance is left in the difference of two bridged ones
BANDS_HZ = {"delta": (1, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30), "gamma": (30, 100)}


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """Means over the stretches; C channels, F frequencies.

    sd: (C,). psd_CF: power density. difference_CC: variance of the difference of two channels over their own mean.
    """

    sd: FloatArray
    freqs_hz: FloatArray
    psd_CF: FloatArray
    difference_CC: FloatArray


def applies(stream: Stream) -> bool:
    """Field potentials and the like, with a rate."""
    return isinstance(stream, Signal) and stream.modality in MODALITIES and stream.n_samples > 1 and stream.is_regular


def check(stream: Stream) -> Finding:
    """Level, mains share at 50 and 60 Hz, bridged pairs and band powers per channel."""
    if not isinstance(stream, Signal):
        raise ValueError(f"{stream.name}: a {type(stream).__name__}; this check is for a Signal")
    return found_alone(stream, begin(stream))


def begin(stream: Signal) -> Reading:
    """The same, told of one stretch after another."""
    return _Sums(stream)


def _judged(stream: Signal, found: _Measured) -> Finding:
    line = {f"line_{hz}_hz_share": _share(found, hz - 1.5, hz + 1.5) for hz in (50, 60)}
    pairs = _bridged(found, stream.channel_names) if stream.modality in ("eeg", "ieeg") else []
    notes = [f"{a} and {b} are bridged: they record the same" for a, b in pairs]
    for key, share in line.items():
        loud = int(np.count_nonzero(share > MAX_LINE_SHARE))
        notes += [f"{key.split('_')[1]} Hz hum is over half the power of {count(loud, 'channel')}"] if loud else []
    placed = int(np.isfinite(positions_mm(stream)).all(axis=1).sum())
    if stream.modality == "eeg":
        notes += _asked_for(stream, placed)
    bands = {name: _share(found, low, high) for name, (low, high) in BANDS_HZ.items()}
    return Finding(
        values={
            "sd": found.sd,
            "unit": stream.unit,
            **line,
            "band_shares": bands,
            "bridged": pairs,
            "n_placed": placed,
        },
        bad_channels=_bad(stream, found, pairs),
        notes=tuple(notes),
    )


def _asked_for(stream: Signal, placed: int) -> list[str]:
    """What an EEG's reader and its lab have not said."""
    notes = []
    if "reference" not in stream.provenance and "reference" not in stream.table:
        notes.append('its reference is not stated; `[eeg] reference = "Cz"` in session.toml says it')
    if not placed:
        notes.append('the places of its channels are not known; `[eeg] montage = "..."` in session.toml names the cap')
    return notes


class _Sums:
    """Running sums over the stretches; C channels, F frequencies."""

    def __init__(self, stream: Signal) -> None:
        n_channels = len(stream.channel_names)
        self._stream = stream
        self._n_fft = max(2, min(int(2 * stream.rate_hz), max(s.timebase.n_samples for s in stream.segments)))
        self._weight, self._n_psd = 0, 0
        self._variance, self._apart = np.zeros(n_channels), np.zeros((n_channels, n_channels))
        self._psd_CF = np.zeros((n_channels, self._n_fft // 2 + 1))

    def add(self, _originals: NDArray[Any], values: NDArray[np.float64]) -> None:
        """Add up a stretch, (T, C)."""
        from scipy.signal import welch

        values = _centred(values)
        self._weight += len(values)
        covariance = values.T @ values
        own = np.diag(covariance)
        self._variance += own
        self._apart += own[:, None] + own[None, :] - 2 * covariance
        if len(values) >= self._n_fft:
            rate_hz = self._stream.rate_hz
            self._psd_CF += welch(values, fs=rate_hz, nperseg=self._n_fft, axis=0)[1].T * len(values)
            self._n_psd += len(values)

    def finding(self) -> Finding:
        """See `check`."""
        own = (self._variance[:, None] + self._variance[None, :]) / 2
        ratio = np.divide(self._apart, own, out=np.full_like(own, np.inf), where=own > 0)
        np.fill_diagonal(ratio, np.inf)
        found = _Measured(
            sd=np.sqrt(self._variance / max(1, self._weight)),
            freqs_hz=np.arange(self._n_fft // 2 + 1, dtype=np.float64) * self._stream.rate_hz / self._n_fft,
            psd_CF=self._psd_CF / max(1, self._n_psd),
            difference_CC=ratio,
        )
        return _judged(self._stream, found)


def _centred(values: FloatArray) -> FloatArray:
    """Values without the mean of their channel's finite ones; what is not finite becomes 0."""
    finite = np.isfinite(values)
    if finite.all():
        return np.asarray(values - values.mean(axis=0))
    mean = np.where(finite, values, 0.0).sum(axis=0) / np.maximum(1, finite.sum(axis=0))
    return np.where(finite, values - mean, 0.0)


def _share(found: _Measured, low_hz: float, high_hz: float) -> FloatArray:
    """Share of the power above 1 Hz that lies in a band, per channel; NaN where the band lies beyond Nyquist."""
    if high_hz > found.freqs_hz[-1] and low_hz >= found.freqs_hz[-1]:
        return np.full(len(found.sd), np.nan)
    total = found.psd_CF[:, found.freqs_hz >= 1].sum(axis=1)
    band = found.psd_CF[:, (found.freqs_hz >= low_hz) & (found.freqs_hz < high_hz)].sum(axis=1)
    return np.asarray(np.divide(band, total, out=np.full_like(band, np.nan), where=total > 0))


def _bridged(found: _Measured, names: tuple[str, ...]) -> list[tuple[str, str]]:
    rows, columns = np.nonzero(np.triu(found.difference_CC < BRIDGED_SHARE, k=1))
    return [(names[i], names[j]) for i, j in zip(rows, columns, strict=True)]


def _bad(stream: Signal, found: _Measured, pairs: list[tuple[str, str]]) -> dict[str, str]:
    scale = TO_MICROVOLTS.get(stream.unit)
    flat = found.sd * scale < FLAT_UV if scale is not None else found.sd == 0
    bad = {stream.channel_names[i]: "flat" for i in np.flatnonzero(flat)}
    alive = ~flat & (found.sd > 0)
    if stream.modality in SAME_KIND and alive.sum() >= MIN_CHANNELS:
        level = np.log10(found.sd, out=np.zeros_like(found.sd), where=alive)
        median = np.median(level[alive])
        spread = max(MIN_LOG_SPREAD, 1.4826 * float(np.median(np.abs(level[alive] - median))))
        z = np.where(alive, (level - median) / spread, 0.0)
        for i in np.flatnonzero(z > NOISY_Z):
            bad[stream.channel_names[i]] = f"noisy: {10 ** (level[i] - median):.1f} times the median level"
    for a, b in pairs:
        bad.setdefault(a, f"bridged with {b}")
        bad.setdefault(b, f"bridged with {a}")
    return bad
