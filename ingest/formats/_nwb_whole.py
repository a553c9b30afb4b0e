"""Streams of an NWB file as a whole: parts of a series of ours made one again, and a name for each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neuroloom.ingest.formats._nwb_series import Rows
from neuroloom.ingest.streams import Segment, Signal, Stream
from neuroloom.ingest.timebase import Times, Timestamps

_PART = re.compile(r"(.+?)(?:_segment\d{3})?(?:_part\d{2})?", re.S)


def joined(found: Sequence[Stream]) -> list[Stream]:
    """The streams, those made whole again that a session of ours had stored in parts."""
    groups: dict[str, list[Stream]] = {}
    for stream in found:
        match = _PART.fullmatch(stream.name)
        groups.setdefault(match[1] if match else stream.name, []).append(stream)
    joined: list[Stream] = []
    for name, members in groups.items():
        signals = [member for member in members if isinstance(member, Signal)]
        whole = _whole(name, signals) if 1 < len(signals) == len(members) else None
        joined += members if whole is None else [whole]
    return joined


def _whole(name: str, signals: Sequence[Signal]) -> Signal | None:
    """One Signal of its parts: `_partNN` side by side, `_segmentNNN` in a row. None where they do not fit together."""
    rows: dict[str, list[Signal]] = {}
    for signal in signals:
        rows.setdefault(re.sub(r"_part\d{2}$", "", signal.name), []).append(signal)
    try:
        wide = [_side_by_side(parts) for parts in rows.values()]
        first = wide[0]
        for other in wide[1:]:
            alike = [(s.channel_names, s.unit, s.modality, s.gain.tolist(), s.offset.tolist()) for s in (first, other)]
            if alike[0] != alike[1]:
                return None
        segments = sorted((s for signal in wide for s in signal.segments), key=lambda s: s.timebase.start_s)
        about = dict(first.provenance) | {"nwb_path": name}
        return replace(first, name=name, segments=tuple(segments), provenance=about)
    except ValueError:
        return None


def _side_by_side(parts: Sequence[Signal]) -> Signal:
    """Channels of the same times as one Signal. Raises ValueError where their times, units or modalities differ."""
    first = parts[0]
    if len(parts) == 1:
        return first
    segments = []
    for one in zip(*(part.segments for part in parts), strict=True):
        rows = [s.samples for s in one if isinstance(s.samples, Rows)]
        apart = {(r.first, r.shape[0]) for r in rows} | {(p.unit, p.modality) for p in parts}
        if len(rows) < len(one) or len(apart) != 2 or any(not _same(one[0].timebase, s.timebase) for s in one):
            raise ValueError("parts of different times or units")
        shape = (rows[0].shape[0], sum(r.shape[1] for r in rows))
        paths = tuple(path for r in rows for path in r.paths)
        samples = Rows(rows[0].file, paths, rows[0].first, shape, np.result_type(*(r.dtype for r in rows)))
        segments.append(Segment(samples=samples, timebase=one[0].timebase))
    return replace(
        first,
        segments=tuple(segments),
        channel_names=tuple(name for part in parts for name in part.channel_names),
        gain=np.concatenate([part.gain for part in parts]),
        offset=np.concatenate([part.offset for part in parts]),
        table={key: tuple(v for part in parts for v in part.table.get(key, ())) for key in first.table},
    )


def _same(a: Times, b: Times) -> bool:
    if isinstance(a, Timestamps) and isinstance(b, Timestamps):
        return bool(np.array_equal(a.times_s, b.times_s))
    return a == b


def named(streams: Sequence[Stream]) -> list[Stream]:
    """Each stream by the last part of its path; by more of it where two end alike, and for stimuli."""
    paths = [stream.name for stream in streams]
    last = Counter(path.rpartition("/")[2] for path in paths)
    names = []
    for path in paths:
        name = path.rpartition("/")[2]
        longer = path.removeprefix("/acquisition/").removeprefix("/processing/").strip("/")
        names.append(name if last[name] == 1 and not path.startswith("/stimulus/") else longer)
    if len(set(names)) < len(names):
        names = paths
    return [replace(stream, name=name) for stream, name in zip(streams, names, strict=True)]
