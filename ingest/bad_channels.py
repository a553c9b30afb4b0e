"""Channels of a probe that are not worth sorting, each with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np

COHERENCE_MIN_CHANNELS = 16  # the coherence method compares each channel with the median of 11 neighbours
MAX_BAD_SHARE = 1 / 3  # a detector that rejects more than this does not fit the recording and is not believed
NOISY_TIMES_MEDIAN, DEAD_TIMES_MEDIAN = 5.0, 0.1
SAMPLED_STRETCHES, STRETCH_S = 40, 0.5


def find_bad_channels(raw: Any, band: Any, *, seed: int = 0) -> tuple[dict[str, str], str]:
    """Channels to leave out with the reason for each, and the name of the method that was believed.

    raw, band: the recording before and after the band-pass, channels and segments alike. Never rejects all channels.
    """
    by_level = bad_by_level(band, seed)
    long_enough = min(raw.get_num_samples(i) for i in range(raw.get_num_segments())) > raw.sampling_frequency
    if raw.get_num_channels() < COHERENCE_MIN_CHANNELS or not raw.has_scaleable_traces() or not long_enough:
        return by_level, "level against the median"
    by_coherence = bad_by_coherence(raw, seed)
    if len(by_coherence) > MAX_BAD_SHARE * raw.get_num_channels():
        return by_level, f"level against the median (coherence rejected {len(by_coherence)} channels: not believed)"
    return by_coherence | by_level, "coherence and power, and level against the median"


def bad_by_level(band: Any, seed: int) -> dict[str, str]:
    """Channels whose level differs much from the median level, flat ones, and those with values that are not finite."""
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


def bad_by_coherence(raw: Any, seed: int) -> dict[str, str]:
    """Channels that have little in common with their neighbours, much power at the top, or lie outside the brain."""
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
