"""Streams of an XDF file, once their times are known: texts and codes as events, numbers as signals."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from neuroloom.ingest.formats._channels import grouped_signals, numbered
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.formats._xdf_chunks import MAX_TEXTS, Samples, Source, plain, said
from neuroloom.ingest.formats._xdf_clocks import Timing
from neuroloom.ingest.formats._xdf_runs import increasing, regular_times
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events, Segment, Signal, Stream
from neuroloom.ingest.timebase import FloatArray, Times, times_of

_MODALITIES = {
    "eeg": "eeg", "meg": "meg", "ieeg": "ieeg", "ecog": "ieeg", "seeg": "ieeg", "emg": "emg", "eog": "eog",
    "ecg": "ecg", "ekg": "ecg", "gaze": "gaze", "eyetracker": "gaze", "eyetracking": "gaze", "pupil": "pupil",
    "mocap": "position", "position": "position", "markers": "events", "marker": "events", "stringmarker": "events",
    "stringmarkers": "events", "events": "events", "event": "events", "trigger": "events", "triggers": "events",
    "stim": "events",
}  # fmt: skip
_CHANNEL_MODALITIES = {
    "eeg": "eeg", "eog": "eog", "emg": "emg", "ecg": "ecg", "ekg": "ecg", "trigger": "sync", "triggers": "sync",
    "trig": "sync", "trg": "sync", "stim": "sync", "markers": "sync", "ttl": "sync", "misc": "aux", "aux": "aux",
    "accelerometer": "aux", "acc": "aux", "gyroscope": "aux", "diameter": "pupil", "pupil": "pupil",
    "pupildiameter": "pupil",
}  # fmt: skip


def streams_of(path: Path, raw: mmap.mmap, source: Source, timing: Timing, repairs: list[str]) -> list[Stream]:
    """The streams that a stream of the file makes. Raises ValueError, or FormatError, where its times make no sense."""
    return [_markers(source, timing)] if source.format == "string" else _numbers(path, raw, source, timing, repairs)


def _markers(source: Source, timing: Timing) -> Events:
    """Texts as events in order of time; those of further channels are columns."""
    times_s = next(timing.blocks())
    order = np.argsort(times_s, kind="stable")
    columns = [tuple(source.texts[i][k] for i in order) for k in range(source.n_channels)]
    names, _, _ = _channels(source, [])
    is_codes = bool(source.texts) and all(re.fullmatch(r"\s*-?\d{1,10}\s*", text) for text in columns[0])
    return Events(
        name="markers",
        modality="sync" if is_codes else "events",
        times_s=times_s[order],
        labels=columns[0],
        table=dict(zip(names[1:], columns[1:], strict=True)),
        provenance=_provenance(source),
    )


def _numbers(path: Path, raw: mmap.mmap, source: Source, timing: Timing, repairs: list[str]) -> list[Stream]:
    """Numbers as one Signal per modality and unit; codes that come when they come, and those that rise, as events."""
    provenance = _provenance(source)
    runs: list[tuple[int, Times]] = []
    if source.n_samples and source.is_regular:
        runs = regular_times(path, source, timing, provenance, repairs)
    elif source.n_samples:
        stamps_s = timing.all_s(path, source)
        if _type(source) == "events" and source.n_channels == 1 and source.n_samples <= MAX_TEXTS:
            return [_codes(raw, source, stamps_s)]
        runs = [(0, times_of(increasing(path, source, stamps_s, repairs)))]
    segments = [Segment(samples=Samples(raw, source, first, base.n_samples), timebase=base) for first, base in runs]
    signals = _signals(source, segments, provenance, repairs)
    codes = triggers(signals, lambda _, samples: np.nan_to_num(samples), most=MAX_TEXTS, repairs=repairs)
    return [*signals, *codes]


def _codes(raw: mmap.mmap, source: Source, times_s: FloatArray) -> Events:
    order = np.argsort(times_s, kind="stable")
    values = Samples(raw, source, 0, source.n_samples)[0 : source.n_samples][:, 0]
    labels = tuple(f"{value:.15g}" for value in values[order].tolist())
    return Events(
        name="markers", modality="sync", times_s=times_s[order], labels=labels, provenance=_provenance(source)
    )


def _signals(
    source: Source, segments: Sequence[Segment], provenance: Mapping[str, Any], repairs: list[str]
) -> list[Signal]:
    names, units, types = _channels(source, repairs)
    of_stream = "sync" if _type(source) == "events" else _type(source)
    modalities = [_CHANNEL_MODALITIES.get(_key(type_), of_stream) for type_ in types]
    signals = []
    for signal, columns in grouped_signals(segments, names, modalities, units):
        of_channels = tuple(types[i] for i in columns)
        table = {"kind": of_channels} if any(of_channels) else {}
        signals.append(replace(signal, table=table, provenance=provenance))
    return signals


def _channels(source: Source, repairs: list[str]) -> tuple[list[str], list[tuple[str, float]], list[str]]:
    """Per channel its name, unit with gain, and type, as the header has them; names numbered where they must be."""
    found = source.info.findall("desc/channels/channel")
    if len(found) not in (0, source.n_channels):
        repairs.append(
            Defect(
                f"{source.name}: describes {len(found)} of its {source.n_channels} channels",
                f"'ch1' to 'ch{source.n_channels}'",
            )
        )
    if len(found) != source.n_channels:
        found = [ElementTree.Element("channel") for _ in range(source.n_channels)]
    names = [plain(said(channel, "label")) or f"ch{i + 1}" for i, channel in enumerate(found)]
    names = numbered(names, repairs, where=f"{source.name}: ")
    units = [kept_unit(plain(said(channel, "unit"))) for channel in found]
    return names, units, [plain(said(channel, "type")) for channel in found]


def _type(source: Source) -> str:
    return _MODALITIES.get(_key(said(source.info, "type")), "aux")


def _key(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _provenance(source: Source) -> dict[str, Any]:
    """What the stream is called, where it came from and what it is, in the words of its sender."""
    told = {key: plain(said(source.info, key)) for key in ("name", "type", "source_id")}
    told["reference"] = plain(said(source.info, "desc/reference/label"))
    return {f"stream_{key}" if key != "reference" else key: text for key, text in told.items() if text}
