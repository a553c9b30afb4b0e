"""Open Ephys' events and spikes: small arrays per folder, in sample numbers of the stream they came with.

TTL        states (line up: n, down: -n), or before 0.6 channels and channel_states    -> sync Events
text       messages, by people and by plugins                                           -> Events
spikes     electrode and cluster of each                                                -> Units
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._npy import array_of, same_length
from neuroloom.ingest.formats._openephys_structure import Noted, Structure, inner
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events, Units
from neuroloom.ingest.timebase import FloatArray

_MAX_EVENTS = 50_000_000


def events_of(structure: Structure, noted: Noted, name: str, repairs: list[str]) -> Events | None:
    """The events of a folder, None where it holds none, or of a kind that has no label."""
    folder = inner(structure.folder, noted.folder, "events")
    if not folder.is_dir():
        repairs.append(Defect(f"events/{noted.folder} is not there", "read without"))
        return None
    if (folder / "text.npy").is_file():
        return _messages(folder, noted, name)
    if (folder / "states.npy").is_file():
        states = array_of(folder / "states.npy", kinds="iu")
    elif (folder / "channel_states.npy").is_file():
        states = array_of(folder / "channel_states.npy", kinds="iu")
    else:
        repairs.append(f"events/{noted.folder}: neither lines nor texts: left out")
        return None
    samples = _numbers(folder)
    same_length(folder, states, samples)
    return _lines(np.asarray(states[:]).astype(np.int64), _seconds(folder, samples, noted), name)


def _lines(states: NDArray[np.int64], times_s: FloatArray, name: str) -> Events | None:
    order = np.argsort(times_s, kind="stable")
    states, times_s = states[order], times_s[order]
    rises, widths, labels = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=np.int64)]
    for line in np.unique(states[states > 0]).tolist():
        up, down = times_s[states == line], np.append(times_s[states == -line], np.nan)
        rises.append(up)
        widths.append(down[np.searchsorted(down[:-1], up, side="right")] - up)
        labels.append(np.full(up.size, line))
    order = np.argsort(np.concatenate(rises), kind="stable")
    if not order.size:
        return None
    return Events(
        name=name,
        modality="sync",
        times_s=np.concatenate(rises)[order],
        labels=tuple(str(line) for line in np.concatenate(labels)[order].tolist()),
        table={"high_s": tuple(np.concatenate(widths)[order].tolist())},
    )


def _messages(folder: Path, noted: Noted, name: str) -> Events | None:
    texts = array_of(folder / "text.npy", kinds="SU")
    samples = _numbers(folder)
    same_length(folder, texts, samples)
    times_s = _seconds(folder, samples, noted)
    order = np.argsort(times_s, kind="stable")
    said = [t.decode("utf-8", "replace") if isinstance(t, bytes) else t for t in texts[:].tolist()]
    labels = tuple(said[i].strip("\x00 ") for i in order.tolist())
    return Events(name=name, times_s=times_s[order], labels=labels) if labels else None


def _numbers(folder: Path) -> NDArray[Any]:
    """Sample numbers: called timestamps before 0.6, when they were no seconds yet."""
    sixth = folder / "sample_numbers.npy"
    name = next(
        (n for n in ("sample_numbers.npy", "timestamps.npy", "spike_times.npy") if (folder / n).is_file()), None
    )
    if name is None:
        raise FormatError(f"{sixth}: is not there; the sample number of each event is wanted")
    found = array_of(folder / name, kinds="iu")
    if len(found) > _MAX_EVENTS:
        raise FormatError(f"{folder / name}: {len(found)} events; at most {_MAX_EVENTS} are wanted")
    return found


def _seconds(folder: Path, samples: NDArray[Any], noted: Noted) -> FloatArray:
    numbers = np.asarray(samples[:]).astype(np.float64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**53:
        raise FormatError(f"{folder}: an event at sample {numbers.min():.0f}; numbers from 0 on are wanted")
    return np.asarray(numbers / noted.rate_hz)


def units_of(structure: Structure, noted: Noted, name: str, repairs: list[str]) -> Units | None:
    """Spikes cut while recording: a unit per electrode and cluster; cluster 0 is what was sorted to none."""
    folder = inner(structure.folder, noted.folder, "spikes")
    if not folder.is_dir():
        repairs.append(Defect(f"spikes/{noted.folder} is not there", "read without"))
        return None
    times_s = _seconds(folder, _numbers(folder), noted)
    clusters = _first(folder, ("clusters.npy", "spike_clusters.npy"), times_s.size)
    electrodes = _first(folder, ("electrode_indices.npy", "spike_electrode_indices.npy"), times_s.size)
    same_length(folder, times_s, clusters, electrodes)
    pairs = sorted(set(zip(electrodes.tolist(), clusters.tolist(), strict=True)))
    if not pairs:
        return None
    return Units(
        name=name,
        unit_names=tuple(f"{electrode}#{cluster}" for electrode, cluster in pairs),
        spike_times_s=tuple(np.sort(times_s[(electrodes == e) & (clusters == c)]) for e, c in pairs),
        table={
            "electrode": tuple(electrode for electrode, _ in pairs),
            "kind": tuple("sorted" if cluster else "unsorted" for _, cluster in pairs),
        },
    )


def _first(folder: Path, names: tuple[str, ...], n: int) -> NDArray[Any]:
    """The first of these arrays that is there, zeros where none is."""
    name = next((name for name in names if (folder / name).is_file()), None)
    return np.zeros(n, dtype=np.int64) if name is None else np.asarray(array_of(folder / name, kinds="iu")[:])


def together(parts: Sequence[Any]) -> Any:
    """The events or units of several recordings, which follow one another, as one stream."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], Units):
        return _units_together(parts)
    times_s = np.concatenate([part.times_s for part in parts])
    order = np.argsort(times_s, kind="stable").tolist()
    labels = [label for part in parts for label in part.labels]
    columns = {key: [value for part in parts for value in part.table.get(key, ())] for key in parts[0].table}
    return replace(
        parts[0],
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order),
        table={key: tuple(values[i] for i in order) for key, values in columns.items()},
    )


def _units_together(parts: Sequence[Units]) -> Units:
    names = tuple(dict.fromkeys(name for part in parts for name in part.unit_names))
    where = [dict(zip(part.unit_names, range(len(part.unit_names)), strict=True)) for part in parts]
    rows = [next((part, at[name]) for part, at in zip(parts, where, strict=True) if name in at) for name in names]
    trains = [
        np.sort(np.concatenate([p.spike_times_s[at[name]] for p, at in zip(parts, where, strict=True) if name in at]))
        for name in names
    ]
    return replace(
        parts[0],
        unit_names=names,
        spike_times_s=tuple(trains),
        table={key: tuple(part.table[key][row] for part, row in rows) for key in parts[0].table},
    )
