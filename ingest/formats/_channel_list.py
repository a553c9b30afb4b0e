"""Channels as most formats of EEG and MEG list them, and the Signals they make: one per kind and unit.

    Channel         name, kind, unit with gain and offset, and what else is known of it
    signals_of      those of one kind and unit together, in the order of their first
    uniquely        channels whose names are apart

A kind is spelled as MNE does: "eeg", "eog", "mag", "stim" ...; one not in KINDS is "aux".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from neuroloom.ingest.formats._channels import columns_of, grouped, numbered
from neuroloom.ingest.streams import Segment, Signal

# Kind of a channel: name of the Signal, modality.
KINDS = {
    "mag": ("magnetometers", "meg"), "grad": ("gradiometers", "meg"), "ref_meg": ("meg references", "meg"),
    "eeg": ("eeg", "eeg"), "csd": ("csd", "eeg"), "eog": ("eog", "eog"), "ecg": ("ecg", "ecg"), "emg": ("emg", "emg"),
    "seeg": ("seeg", "ieeg"), "ecog": ("ecog", "ieeg"), "dbs": ("dbs", "ieeg"), "stim": ("stim", "sync"),
    "eyegaze": ("gaze", "gaze"), "pupil": ("pupil", "pupil"), "fnirs": ("fnirs", "fnirs"),
    "pos": ("position", "position"), "vel": ("velocity", "behaviour"), "acc": ("acceleration", "behaviour"),
    "gyro": ("gyroscope", "behaviour"), "magn": ("magnetometer", "behaviour"), "ornt": ("orientation", "behaviour"),
    "jntang": ("joint angle", "behaviour"), "angvel": ("angular velocity", "behaviour"),
    "angacc": ("angular acceleration", "behaviour"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Channel:
    """Value in `unit` = gain * number in the file + offset. about: further columns of the channel table."""

    name: str
    kind: str
    unit: str
    gain: float = 1.0
    offset: float = 0.0
    about: Mapping[str, Any] = field(default_factory=dict)


def uniquely(channels: Sequence[Channel], repairs: list[str]) -> list[Channel]:
    """The channels; those that have the name of another are numbered, and that is said."""
    names = numbered([channel.name for channel in channels], repairs)
    return [replace(channel, name=name) for channel, name in zip(channels, names, strict=True)]


def signals_of(
    segments: Sequence[Segment],
    channels: Sequence[Channel],
    repairs: list[str],
    *,
    stated: Mapping[str, Any] | None = None,
) -> list[Signal]:
    """A Signal per kind and unit. segments: samples (T, C) of all channels. stated: of all Signals, as provenance."""
    named = uniquely(channels, repairs)
    signals = []
    for kind, unit, suffix, columns in grouped([c.kind for c in named], [c.unit for c in named]):
        name, modality = KINDS.get(kind, (kind, "aux"))
        members = [named[i] for i in columns]
        signals.append(
            Signal(
                name=f"{name}{suffix}",
                modality=modality,
                segments=tuple(replace(s, samples=columns_of(s.samples, columns)) for s in segments),
                channel_names=tuple(channel.name for channel in members),
                unit=unit,
                gain=np.array([channel.gain for channel in members], dtype=np.float64),
                offset=np.array([channel.offset for channel in members], dtype=np.float64),
                table={"kind": (kind,) * len(members), **_columns(members)},
                provenance=dict(stated or {}),
            )
        )
    return signals


def _columns(channels: Sequence[Channel]) -> dict[str, tuple[Any, ...]]:
    """What is known of any of them; where one says nothing, NaN among numbers, "" among texts, else False."""
    keys = dict.fromkeys(key for channel in channels for key in channel.about)
    table = {}
    for key in keys:
        example = next(channel.about[key] for channel in channels if key in channel.about)
        absent = "" if isinstance(example, str) else False if isinstance(example, bool) else float("nan")
        values = tuple(channel.about.get(key, absent) for channel in channels)
        if not all(value == "" or value != value for value in values):
            table[key] = values
    return table
