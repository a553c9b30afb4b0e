"""Wideband to what spikes are sorted on: band-pass, bad channels out, common median reference; every decision noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroloom.ingest.spikeinterface_bridge import from_spikeinterface, to_spikeinterface
from neuroloom.ingest.streams import Signal

MIN_SEGMENT_S = 0.05  # below this a 300 Hz filter has nothing to settle on
COHERENCE_MIN_CHANNELS = 16  # the coherence method compares each channel with the median of 11 neighbours
MAX_BAD_SHARE = 1 / 3  # a detector that rejects more than this does not fit the recording and is not believed
MIN_REFERENCE_CHANNELS = 8  # the median over fewer channels holds the spike itself
NOISY_TIMES_MEDIAN, DEAD_TIMES_MEDIAN = 5.0, 0.1
SAMPLED_STRETCHES, STRETCH_S = 40, 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Preprocessed:
    """A recording ready for sorting.

    recording: SpikeInterface BaseRecording, lazy, float32, µV where the unit is a voltage, good channels only.
    segments: for each of its segments the index of the segment of the signal that it came from.
    bad_channels: name -> why it was left out.
    decisions: what was done and with which numbers, in order, as JSON can hold it.
    """

    recording: Any
    segments: tuple[int, ...]
    bad_channels: Mapping[str, str] = field(default_factory=dict)
    decisions: Mapping[str, Any] = field(default_factory=dict)

    def signal(self, name: str) -> Signal:
        """The same as a Signal, lazily."""
        return from_spikeinterface(self.recording, name=name)


def preprocess(signal: Signal, band_hz: tuple[float, float] = (300.0, 6000.0), *, seed: int = 0) -> Preprocessed:
    """Band-pass each segment, leave out bad channels, subtract the median over the good ones.

    Bad channels are found with the coherence and power method of the International Brain Laboratory ("Spike sorting
    pipeline for the International Brain Laboratory", 2022, as in SpikeInterface); with fewer than 16 channels, or where
    that method rejects more than a third of them, by comparing each channel's level with the median level.
    Raises ValueError where the signal is irregular, too slow for the band, or holds no segment of 50 ms.
    """
    import spikeinterface.preprocessing as spre

    low_hz, high_hz = _band(signal, band_hz)
    kept = tuple(i for i, s in enumerate(signal.segments) if s.timebase.n_samples >= MIN_SEGMENT_S * signal.rate_hz)
    if not kept:
        raise ValueError(f"{signal.name}: no segment lasts {MIN_SEGMENT_S * 1000:g} ms; spikes need at least one")
    raw = to_spikeinterface(signal)
    if len(kept) < len(signal.segments):
        raw = raw.select_segments(list(kept))
    band = spre.bandpass_filter(_in_microvolts(raw), freq_min=low_hz, freq_max=high_hz, dtype="float32")
    bad, method = find_bad_channels(raw, band, seed=seed)
    good = [channel for channel in raw.channel_ids if str(channel) not in bad]
    clean = band.select_channels(good) if bad else band
    referenced = len(good) >= MIN_REFERENCE_CHANNELS
    if referenced:
        clean = spre.common_reference(clean, reference="global", operator="median")
    decisions = {
        "band_hz": [low_hz, high_hz],
        "filter": "Butterworth, order 5, forward and backward",
        "bad_channels": bad,
        "bad_channel_method": method,
        "reference": "median of the good channels" if referenced else f"none: fewer than {MIN_REFERENCE_CHANNELS}",
        "positions": raw.get_annotation("positions"),
        "segments_too_short": [i for i in range(len(signal.segments)) if i not in kept],
    }
    return Preprocessed(recording=clean, segments=kept, bad_channels=bad, decisions=decisions)


def find_bad_channels(raw: Any, band: Any, *, seed: int = 0) -> tuple[dict[str, str], str]:
    """Channels to leave out with the reason for each, and the name of the method that was believed.

    raw, band: the recording before and after the band-pass, channels and segments alike. Never rejects all channels.
    """
    by_level = _bad_by_level(band, seed)
    long_enough = min(raw.get_num_samples(i) for i in range(raw.get_num_segments())) > raw.sampling_frequency
    if raw.get_num_channels() < COHERENCE_MIN_CHANNELS or not raw.has_scaleable_traces() or not long_enough:
        return by_level, "level against the median"
    by_coherence = _bad_by_coherence(raw, seed)
    if len(by_coherence) > MAX_BAD_SHARE * raw.get_num_channels():
        return by_level, f"level against the median (coherence rejected {len(by_coherence)} channels: not believed)"
    return by_coherence | by_level, "coherence and power, and level against the median"


def _bad_by_level(band: Any, seed: int) -> dict[str, str]:
    levels = _levels(band, seed)
    alive = levels[np.isfinite(levels) & (levels > 0)]
    median = float(np.median(alive)) if alive.size else 0.0
    bad = {}
    for channel, level in zip(band.channel_ids, levels, strict=True):
        if not np.isfinite(level):
            bad[str(channel)] = "has values that are not finite"
        elif level == 0:
            bad[str(channel)] = "flat"
        elif level > NOISY_TIMES_MEDIAN * median:
            bad[str(channel)] = f"noisy: {level / median:.1f} times the median level"
        elif level < DEAD_TIMES_MEDIAN * median:
            bad[str(channel)] = f"dead: {level / median:.2f} times the median level"
    if len(bad) == len(levels):
        raise ValueError("every channel is flat or not finite in the spike band; at least one that records is wanted")
    return bad


def _levels(band: Any, seed: int) -> Any:
    """Median absolute deviation per channel, over stretches spread over the recording: spikes hardly move it."""
    rng = np.random.default_rng(seed)
    lengths = np.array([band.get_num_samples(i) for i in range(band.get_num_segments())])
    n_stretch = int(STRETCH_S * band.sampling_frequency)
    per_stretch = []
    for segment in rng.choice(len(lengths), size=SAMPLED_STRETCHES, p=lengths / lengths.sum()):
        start = int(rng.integers(0, max(1, lengths[segment] - n_stretch + 1)))
        stop = min(int(lengths[segment]), start + n_stretch)
        traces = band.get_traces(segment_index=int(segment), start_frame=start, end_frame=stop)
        per_stretch.append(np.median(np.abs(traces - np.median(traces, axis=0)), axis=0))
    return np.median(per_stretch, axis=0)


def _bad_by_coherence(raw: Any, seed: int) -> dict[str, str]:
    import spikeinterface.preprocessing as spre

    reasons = {
        "dead": "dead: little in common with its neighbours",
        "noise": "noisy: high power near the Nyquist frequency",
        "out": "outside the brain",
    }
    _, labels = spre.detect_bad_channels(
        raw, method="coherence+psd", seed=seed, job_kwargs={"n_jobs": 1, "progress_bar": False}
    )
    return {str(c): reasons[str(label)] for c, label in zip(raw.channel_ids, labels, strict=True) if label != "good"}


def _in_microvolts(raw: Any) -> Any:
    import spikeinterface.preprocessing as spre

    if raw.has_scaleable_traces():
        return spre.scale_to_uV(raw)
    scaled = spre.scale(
        raw,
        gain=raw.get_property("gain_to_physical_unit"),
        offset=raw.get_property("offset_to_physical_unit"),
        dtype="float32",
    )
    scaled.delete_property("gain_to_physical_unit")
    scaled.delete_property("offset_to_physical_unit")
    return scaled


def _band(signal: Signal, band_hz: tuple[float, float]) -> tuple[float, float]:
    """The band, its upper edge lowered to 45 % of the rate where it must be."""
    if not signal.is_regular:
        raise ValueError(f"{signal.name}: has timestamps instead of a rate; spikes need a regular rate")
    low_hz, high_hz = band_hz
    high_hz = min(high_hz, 0.45 * signal.rate_hz)
    if not 0 < low_hz < high_hz / 2:
        raise ValueError(
            f"{signal.name}: sampled at {signal.rate_hz:g} Hz; spikes from {low_hz:g} Hz up need more than "
            f"{2 * low_hz / 0.45:g} Hz"
        )
    return low_hz, high_hz
