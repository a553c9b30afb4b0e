"""What was dropped beside a recording and belongs to it: existing sortings, and where its electrodes lie.

    sortings     phy, Kilosort, SpikeInterface: spikes counted in samples become Units of the recording that was sorted
                 (found by the name of the file, or where the drop has but one wide band); the recording is then not
                 sorted again. `[sortings]` of session.toml says it where nothing else does, of an NWB file of units too
    probes       `probe.json` (probeinterface's format) or `[probe]` of session.toml, where the files have none

Design rationale: both happen before recordings are aligned, on the device's own clock: which sample a spike is at has
nothing to do with other devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.probes import ProbeError, known_probe, read_probe, with_probe
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.sortings import COUNTED, PlacingError, counts, placed
from neuroloom.ingest.streams import Signal, Units
from neuroloom.pipeline.drops.sidecar import FILE_NAME, ProbeNotes

PROBE_FILE = "probe.json"
Place = tuple[Recording, Signal]


def with_sortings(recordings: Sequence[Recording], said: Mapping[str, str]) -> list[Recording]:
    """The recordings, with the spikes of sortings among them put into those that were sorted.

    said: device of a sorting -> stream or device that was sorted. Raises FormatError where none fits.
    """
    sortings = [r for r in recordings if _is_sorting(r, said)]
    others = [r for r in recordings if r not in sortings]
    alone = [r for r in sortings if not _wide_bands(others)]
    for sorting in alone:
        if any("segment" in stream.provenance for stream in sorting.streams):
            raise FormatError(
                f"{sorting.files[0]}: sorted in {len(sorting.streams)} segments, whose times only the recording that "
                "was sorted has; both dropped together are wanted"
            )
    for sorting in (r for r in sortings if r not in alone):
        recording, signal = _sorted_from(sorting, others, said)
        others[others.index(recording)] = _joined(recording, signal, sorting)
    return [*others, *alone]


def _is_sorting(recording: Recording, said: Mapping[str, str]) -> bool:
    units = [stream for stream in recording.streams if isinstance(stream, Units)]
    counted = any(counts(stream) for stream in units)
    return len(units) == len(recording.streams) > 0 and (counted or recording.clock in said)


def _wide_bands(recordings: Sequence[Recording]) -> list[Place]:
    return [
        (recording, stream)
        for recording in recordings
        for stream in recording.streams
        if isinstance(stream, Signal) and stream.modality == "wideband" and stream.segments
    ]


def _sorted_from(sorting: Recording, others: Sequence[Recording], said: Mapping[str, str]) -> Place:
    places = _wide_bands(others)
    names = [f"{signal.name} of {recording.clock}" for recording, signal in places]
    told = said.get(sorting.clock)
    if told is not None:
        found = [(r, s) for r, s in places if told in (r.clock, s.name)]
    else:
        sources = {str(name) for stream in sorting.streams for name in stream.provenance.get("source", ())}
        found = [(r, s) for r, s in places if sources & {file.name for file in r.files}] or places
    if len(found) != 1:
        raise FormatError(
            f"{sorting.files[0]}: a sorting of which of {', '.join(names)}? [sortings] of session.toml can say: "
            f'"{sorting.clock}" = "..."'
        )
    return found[0]


def _joined(recording: Recording, signal: Signal, sorting: Recording) -> Recording:
    parts = [stream for stream in sorting.streams if isinstance(stream, Units)]
    if not counts(parts[0]):  # seconds, from the first sample of what was sorted
        parts = [replace(part, provenance={**part.provenance, COUNTED: signal.rate_hz}) for part in parts]
    try:
        units = replace(placed(parts, signal), name=f"{signal.name} units")
    except PlacingError as error:
        raise FormatError(f"{sorting.files[0]}: {error}") from error
    taken = {stream.name for stream in recording.streams}
    if units.name in taken:
        units = replace(units, name=f"{signal.name} units {sorting.clock}")
    return replace(
        recording,
        streams=(*recording.streams, units),
        files=(*recording.files, *sorting.files),
        format=f"{recording.format}, {sorting.format}",
        repairs=(*recording.repairs, *sorting.repairs),
    )


def with_probes(recordings: Sequence[Recording], folder: Path | None, said: ProbeNotes | None) -> list[Recording]:
    """The recordings, with electrode positions where a signal of electrodes has none.

    folder: of the drop, where `probe.json` may lie. said: `[probe]` of its `session.toml`.
    Raises FormatError where the probe is not known, or fits no signal.
    """
    source = _probe_said(folder, said)
    if source is None:
        return list(recordings)
    named, probe = source
    reasons: list[str] = []
    placed_any = False
    found = []
    for recording in recordings:
        streams = []
        for stream in recording.streams:
            if (
                isinstance(stream, Signal)
                and stream.modality in ("wideband", "lfp", "ieeg")
                and not _has_places(stream)
            ):
                try:
                    stream, placed_any = with_probe(stream, probe), True
                except ProbeError as error:
                    reasons.append(str(error))
            streams.append(stream)
        found.append(replace(recording, streams=tuple(streams)))
    if not placed_any:
        why = reasons[0] if reasons else "every signal of electrodes has its positions already, or there is none"
        raise FormatError(f"{named}: fits no signal: {why}")
    return found


def _has_places(signal: Signal) -> bool:
    return any(x is not None for x in signal.table.get("x_um", ()))


def _probe_said(folder: Path | None, said: ProbeNotes | None) -> tuple[str, Any] | None:
    """What to call the probe in messages, and the probe; None where nothing is said of one."""
    if folder is None:
        return None
    try:
        if said is not None and said.model:
            named = f"{folder / FILE_NAME}: [probe] {said.manufacturer} {said.model}"
            return named, _chosen(known_probe(said.manufacturer, said.model), said)
        path = folder / (said.file if said is not None else PROBE_FILE)
        if said is None and not is_there(path):
            return None
        if path.parent != folder or not is_there(path):
            raise FormatError(f"{folder / FILE_NAME}: [probe] file {path.name!r} is no file of the drop; one is wanted")
        return str(path), _chosen(read_probe(path), said)
    except ProbeError as error:
        raise FormatError(str(error)) from error


def _chosen(probe: Any, said: ProbeNotes | None) -> Any:
    """The contacts that were recorded, in order, each at a channel of its own."""
    if said is None or said.contacts is None:
        return probe
    first, last = said.contacts
    one = probe.probes[0] if hasattr(probe, "probes") else probe
    if last > one.get_contact_count():
        raise ProbeError(f"[probe] contacts {first} to {last} of a probe that has {one.get_contact_count()}")
    chosen = one.get_slice(np.arange(first, last))
    chosen.set_device_channel_indices(np.arange(last - first))
    return chosen
