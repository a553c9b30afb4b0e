"""Wideband to what spikes are sorted on: a chain of steps, stated once, every decision noted.

    to µV -> phase shift of multiplexed converters -> notch -> band-pass -> bad channels out -> reference -> drift

    Chain                 what is done, with which numbers; the defaults need nothing set
    preprocess(signal)    the recording, lazily, and what was decided

Traces come in blocks of `BLOCK_S` from a fixed grid, each computed with margins of its own, so any stretch read lazily
is bit for bit what is saved: see `_aligned_recording.py`. The margins are stated with the decisions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from neuroloom.ingest._aligned_recording import BLOCK_S, aligned
from neuroloom.ingest.bad_channels import bad_by_coherence, bad_by_level, find_bad_channels
from neuroloom.ingest.drift import PRESETS, can_drift, corrected
from neuroloom.ingest.spikeinterface_bridge import from_spikeinterface, positions_um, to_spikeinterface
from neuroloom.ingest.streams import Signal

MIN_SEGMENT_S = 0.05  # below this a 300 Hz filter has nothing to settle on
MIN_REFERENCE_CHANNELS = 8  # the median over fewer channels holds the spike itself
SHIFT_MARGIN_MS = 40.0  # SpikeInterface's own, as the International Brain Laboratory has it
NOTCH_Q = 30.0
# A filter's answer to a border falls by e per period of its slowest pole: after ten, 0.005 % of it is left.
MARGIN_TIMES = 10.0


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What is done to traces before spikes are looked for.

    band_hz: Butterworth, order 5, forward and backward. phase_shift: undo that converters take their channels in turn,
    where the channel table says how late each is (`sample_shift`). notch_hz: mains hum and its harmonics, taken out
    before the band. bad_channels: "auto" (coherence and power where that can be judged, and level), "coherence",
    "level" or "none". reference: "median" or "average" of all good channels, "local" (median of those at 30 to
    `local_um` µm around), or "none"; with fewer than 8 channels there is none. drift: "sorter" leaves it to those
    sorters that correct it themselves, "none" forbids that too, a preset of `drift.py` corrects it here.
    """

    band_hz: tuple[float, float] = (300.0, 6000.0)
    phase_shift: bool = True
    notch_hz: tuple[float, ...] = ()
    bad_channels: Literal["auto", "coherence", "level", "none"] = "auto"
    reference: Literal["median", "average", "local", "none"] = "median"
    local_um: float = 150.0
    drift: str = "sorter"

    def __post_init__(self) -> None:
        if not 0 < self.band_hz[0] < self.band_hz[1]:
            raise ValueError(f"band_hz is {list(self.band_hz)}; from less to more, both above 0, is wanted")
        if not all(0 < hz < 1e6 for hz in self.notch_hz) or not self.local_um > LOCAL_INNER_UM:
            raise ValueError(
                f"notch_hz {list(self.notch_hz)}, local_um {self.local_um}: numbers above 0, and 30, are wanted"
            )
        if self.drift not in ("sorter", "none", *PRESETS):
            raise ValueError(f"drift is {self.drift!r}; there are sorter, none, {', '.join(PRESETS)}")


LOCAL_INNER_UM = 30.0
LEFT_TO_SORTER = "left to the sorter"


@dataclass(frozen=True, kw_only=True, eq=False)
class Preprocessed:
    """A recording ready for sorting.

    recording: SpikeInterface BaseRecording, lazy, float32, µV where the unit is a voltage, good channels only.
    segments: for each of its segments the index of the segment of the signal that it came from.
    bad_channels: name -> why it was left out.
    decisions: what was done and with which numbers, in order, as JSON can hold it.
    sorter_corrects_drift: whether that is left to the sorter; told to it as `corrects_drift` in the provenance.
    """

    recording: Any
    segments: tuple[int, ...]
    bad_channels: Mapping[str, str] = field(default_factory=dict)
    decisions: Mapping[str, Any] = field(default_factory=dict)
    sorter_corrects_drift: bool = False

    def signal(self, name: str) -> Signal:
        """The same as a Signal, lazily."""
        signal = from_spikeinterface(self.recording, name=name)
        return replace(signal, provenance={**signal.provenance, "corrects_drift": self.sorter_corrects_drift})

    def saved(self, folder: Path) -> Preprocessed:
        """The same, its traces computed once and kept in `folder`, which must not be there yet."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
            warnings.simplefilter("ignore", ResourceWarning)  # SpikeInterface leaves closing the file to Python
            saved = self.recording.save(
                folder=folder, chunk_duration=f"{BLOCK_S:g}s", n_jobs=1, progress_bar=False, verbose=False
            )
        return replace(self, recording=saved)


def preprocess(signal: Signal, chain: Chain | None = None, *, seed: int = 0) -> Preprocessed:
    """The chain applied to each segment by itself, lazily.

    Bad channels are found with the coherence and power method of the International Brain Laboratory ("Spike sorting
    pipeline for the International Brain Laboratory", 2022, as in SpikeInterface); with fewer than 16 channels, or where
    that method rejects more than a third of them, by comparing each channel's level with the median level.
    Raises ValueError where the signal is irregular, too slow for the band, holds no segment of 50 ms, or a local
    reference is asked for without positions.
    """
    import spikeinterface.preprocessing as spre

    chain = chain or Chain()
    low_hz, high_hz = _band(signal, chain.band_hz)
    kept = tuple(i for i, s in enumerate(signal.segments) if s.timebase.n_samples >= MIN_SEGMENT_S * signal.rate_hz)
    if not kept:
        raise ValueError(f"{signal.name}: no segment lasts {MIN_SEGMENT_S * 1000:g} ms; spikes need at least one")
    raw = to_spikeinterface(signal)
    if len(kept) < len(signal.segments):
        raw = raw.select_segments(list(kept))
    margins_ms = _margins_ms(low_hz, high_hz, chain.notch_hz)
    shifted, shift_decision = _phase_shifted(_in_microvolts(raw), signal, chain)
    for hz, margin_ms in zip(chain.notch_hz, margins_ms["notch"], strict=True):
        shifted = spre.notch_filter(shifted, freq=hz, q=NOTCH_Q, margin_ms=margin_ms, dtype="float32")
    band = spre.bandpass_filter(
        shifted, freq_min=low_hz, freq_max=high_hz, margin_ms=margins_ms["band"], dtype="float32"
    )
    bad, method = _bad_channels(raw, band, chain, seed)
    good = [channel for channel in raw.channel_ids if str(channel) not in bad]
    clean, reference = _referenced(band.select_channels(good) if bad else band, signal, chain)
    clean, drift = _still(aligned(clean), signal, chain)
    decisions = {
        "phase_shift": shift_decision,
        "notch_hz": list(chain.notch_hz),
        "band_hz": [low_hz, high_hz],
        "filter": "Butterworth, order 5, forward and backward",
        "bad_channels": bad,
        "bad_channel_method": method,
        "reference": reference,
        "drift": drift,
        "positions": raw.get_annotation("positions"),
        "segments_too_short": [i for i in range(len(signal.segments)) if i not in kept],
        "block_s": BLOCK_S,
        "margins_ms": margins_ms,
    }
    return Preprocessed(
        recording=clean,
        segments=kept,
        bad_channels=bad,
        decisions=decisions,
        sorter_corrects_drift=drift == LEFT_TO_SORTER,
    )


def _margins_ms(low_hz: float, high_hz: float, notch_hz: tuple[float, ...]) -> dict[str, Any]:
    """How much is read on each side of a block, so that its borders do not show.

    The slowest pole of a Butterworth of order 5 lies at an angle of 72 degrees: it decays with 2 pi f sin(18 degrees).
    """
    slowest_ms = 1000 / (2 * 3.14159 * low_hz * 0.309)
    return {
        "band": round(MARGIN_TIMES * slowest_ms, 3),
        "notch": [round(MARGIN_TIMES * 1000 * NOTCH_Q / (3.14159 * hz), 3) for hz in notch_hz],
        "phase_shift": SHIFT_MARGIN_MS,
    }


def _phase_shifted(recording: Any, signal: Signal, chain: Chain) -> tuple[Any, str]:
    """Every channel as if it had been sampled when the first was, and what was done."""
    import spikeinterface.preprocessing as spre

    shifts = signal.table.get("sample_shift")
    if not chain.phase_shift:
        return recording, "none: not asked for"
    if shifts is None or any(not isinstance(shift, int | float) for shift in shifts):
        return recording, "none: how late each channel is sampled is not known"
    if not any(shifts):
        return recording, "none: all channels are sampled together"
    moved = spre.phase_shift(recording, margin_ms=SHIFT_MARGIN_MS, inter_sample_shift=list(map(float, shifts)))
    return moved, f"channels sampled up to {max(shifts):.3f} of a sample late are moved back"


def _bad_channels(raw: Any, band: Any, chain: Chain, seed: int) -> tuple[dict[str, str], str]:
    if chain.bad_channels == "none":
        return {}, "none: not asked for"
    if chain.bad_channels == "level":
        return bad_by_level(band, seed), "level against the median"
    if chain.bad_channels == "coherence":
        return bad_by_coherence(raw, seed), "coherence and power"
    return find_bad_channels(raw, band, seed=seed)


def _referenced(recording: Any, signal: Signal, chain: Chain) -> tuple[Any, str]:
    import spikeinterface.preprocessing as spre

    if chain.reference == "none":
        return recording, "none: not asked for"
    if recording.get_num_channels() < MIN_REFERENCE_CHANNELS:
        return recording, f"none: fewer than {MIN_REFERENCE_CHANNELS}"
    if chain.reference == "local":
        if positions_um(signal) is None:
            raise ValueError(f"{signal.name}: a local reference needs to know where its contacts lie; it does not")
        annulus = (LOCAL_INNER_UM, chain.local_um)
        moved = spre.common_reference(recording, reference="local", operator="median", local_radius=annulus)
        return moved, f"median of the good channels {annulus[0]:g} to {annulus[1]:g} µm around"
    moved = spre.common_reference(recording, reference="global", operator=chain.reference)
    return moved, f"{chain.reference} of the good channels"


def _still(recording: Any, signal: Signal, chain: Chain) -> tuple[Any, Any]:
    """Corrected for drift where that is asked for here, and what was found or why it was not looked for."""
    known = positions_um(signal) is not None and can_drift(recording)
    if chain.drift == "none":
        return recording, "none: not asked for"
    if chain.drift == "sorter" and not known:
        return recording, "none: contacts are too few, too far apart, or their places not known"
    if chain.drift == "sorter" and recording.get_num_segments() > 1:
        return recording, "none: sorters correct it in one stretch only; drift = 'dredge_fast' corrects it before them"
    if chain.drift == "sorter":
        return recording, LEFT_TO_SORTER
    if not known:
        raise ValueError(
            f"{signal.name}: drift = {chain.drift!r} needs more than 32 contacts within 60 µm across whose places are "
            f"known; found {recording.get_num_channels()}, {recording.get_annotation('positions') or 'as recorded'}"
        )
    return corrected(recording, chain.drift)


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
