"""Blackrock's .nev: packets of one size, each with a time and an id that says what it is: events, and sorted spikes.

table_of       the packets, memory-mapped, and what the header states
streams_of     the streams they make, since the clock was last set back
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blackrock_records import date_of, last_part, records, seconds_of, text_of, unwrapped
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.streams import Events, Stream, Units
from neuroloom.ingest.timebase import FloatArray

_KINDS = {0: "unsorted", 255: "noise"} | {unit: "sorted" for unit in range(1, 17)}
_TRELLIS_STIMULATION = range(5121, 5633)

_NEV_HEAD = np.dtype([
    ("id", "S8"), ("version", "u1", 2), ("flags", "<u2"), ("n_bytes", "<u4"), ("packet_bytes", "<u4"),
    ("resolution", "<u4"), ("sample_hz", "<u4"), ("date", "<u2", 8), ("program", "S32"), ("comment", "S256"),
    ("n_extended", "<u4"),
])  # fmt: skip
_NEV_EXTENDED = np.dtype({  # NEUEVWAV has a factor, NEUEVLBL a label
    "names": ["id", "electrode_id", "factor", "label"], "formats": ["S8", "<u2", "<u2", "S16"],
    "offsets": [0, 8, 12, 10], "itemsize": 32,
})  # fmt: skip
_OVERFLOWN, _OVERFLOWN_NV = 21516, 152592.547  # 152592 nV per bit do not fit 16 bits: the vendor's own correction
# Ids of packets of a .nev: 0 is an input, up to _SYSTEM come electrodes.
_SYSTEM, _COMMENT, _FRAME, _BUTTON, _CONTINUED = 0x8000, 0xFFFF, 0xFFFE, 0xFFFC, 0x8000
_OTHERS = {_CONTINUED: "continuing another packet", 0xFFFD: "tracked objects", 0xFFFB: "configuration"}
_MAX_PACKET_BYTES = 1 << 16
_DISORDER_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Table:
    """The packets of a .nev, a memory map, with their ticks, and what its header states.

    continues: True for packets that go on with the one before and so have no time of their own.
    """

    packets: NDArray[Any]
    ticks: NDArray[np.int64]
    continues: NDArray[np.bool_]
    resolution: int
    start: datetime | None
    is_trellis: bool
    has_analog: bool
    labels: dict[int, str]
    nanovolts: dict[int, float]


def table_of(path: Path, repairs: list[str]) -> Table:
    """The packets of a .nev. Raises FormatError where its header does not fit the file."""
    head = records(path, _NEV_HEAD)[0]
    version = tuple(head["version"].tolist())
    n_bytes, packet_bytes, n_extended = (int(head[name]) for name in ("n_bytes", "packet_bytes", "n_extended"))
    tick_bytes = 8 if version[0] >= 3 else 4
    resolution, size = int(head["resolution"]), path.stat().st_size
    if resolution == 0 or not tick_bytes + 16 <= packet_bytes <= _MAX_PACKET_BYTES:
        raise FormatError(
            f"{path}: packets of {packet_bytes} bytes with times in 1/{resolution} s; {tick_bytes + 16} to "
            f"{_MAX_PACKET_BYTES} bytes and a resolution above 0 are wanted"
        )
    extended = records(path, _NEV_EXTENDED, n_extended, _NEV_HEAD.itemsize)
    if not _NEV_HEAD.itemsize + extended.nbytes <= n_bytes <= size:
        raise FormatError(f"{path}: states {n_bytes} bytes of headers with {n_extended} entries; the file has {size}")
    n, rest = divmod(size - n_bytes, packet_bytes)
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole packet left out"))
    dtype = _packet_dtype(tick_bytes, packet_bytes)
    packets = np.memmap(path, dtype, mode="r", offset=n_bytes, shape=(n,)) if n else np.zeros(0, dtype)
    continues = packets["tick"] == np.iinfo(dtype["tick"]).max
    ticks = np.zeros(n, dtype=np.int64)
    ticks[~continues] = unwrapped(packets["tick"][~continues])
    wave, label = (extended[extended["id"] == name] for name in (b"NEUEVWAV", b"NEUEVLBL"))
    return Table(
        packets=packets,
        ticks=ticks,
        continues=continues,
        resolution=resolution,
        start=date_of(head["date"]),
        is_trellis=b"trellis" in head["program"].lower(),
        has_analog=version < (2, 3),
        labels={int(row["electrode_id"]): text_of(row["label"]) for row in label},
        nanovolts={
            int(row["electrode_id"]): _OVERFLOWN_NV if row["factor"] == _OVERFLOWN else float(row["factor"])
            for row in wave
        },
    )


def _packet_dtype(tick_bytes: int, packet_bytes: int) -> np.dtype[Any]:
    """A packet of a .nev: every kind begins with its time and id; what follows is read as its kind has it."""
    fields: dict[str, tuple[Any, int]] = {
        "id": ("<u2", 0), "code": ("u1", 2), "number": ("<u2", 2), "value": ("<u2", 4), "analog": (("<i2", (5,)), 6),
        "frame": ("<u4", 4), "elapsed": ("<u4", 8), "source": ("<u4", 12),
        "text": (f"V{packet_bytes - tick_bytes - 8}", 8),
    }  # fmt: skip
    return np.dtype(
        {
            "names": ["tick", *fields],
            "formats": [f"<u{tick_bytes}", *(kind for kind, _ in fields.values())],
            "offsets": [0, *(at + tick_bytes for _, at in fields.values())],
            "itemsize": packet_bytes,
        }
    )


def streams_of(path: Path, table: Table, day_s: int, repairs: list[str]) -> list[Stream]:
    """The units and events of a .nev, in order of time."""
    kept = slice(_after_reset(path, table, repairs), None)
    packets, continues = table.packets[kept], table.continues[kept]
    ids = packets["id"].copy()
    ids[continues & (ids != _COMMENT)] = _CONTINUED
    times_s = seconds_of(table.ticks[kept], table.resolution, day_s)
    electrodes = (ids >= 1) & (ids < _SYSTEM)
    stimulation = electrodes & table.is_trellis & np.isin(ids, _TRELLIS_STIMULATION)
    streams = _inputs(packets, ids == 0, times_s, table.has_analog)
    if stimulation.any():
        labels = [str(i - _TRELLIS_STIMULATION[0] + 1) for i in ids[stimulation].tolist()]
        streams.append(_events("stimulation", "events", times_s[stimulation], labels))
    streams += _comments(packets, ids == _COMMENT, continues, times_s)
    streams += _frames(packets, ids == _FRAME, times_s)
    if (ids == _BUTTON).any():
        labels = [str(kind) for kind in packets["number"][ids == _BUTTON].tolist()]
        streams.append(_events("button", "events", times_s[ids == _BUTTON], labels))
    streams += _units(packets, ids, electrodes & ~stimulation, times_s, table)
    for other in np.unique(ids[ids >= _SYSTEM]).tolist():
        if other not in (_COMMENT, _FRAME, _BUTTON):
            what = _OTHERS.get(other, "of a kind that is not known")
            repairs.append(f"{path.name}: {int((ids == other).sum())} packets {other:#06x} ({what}) left out")
    return streams


def _after_reset(path: Path, table: Table, repairs: list[str]) -> int:
    """The first packet since the clock was last set back. Packets out of order by milliseconds are no such sign."""
    timed = np.flatnonzero((table.packets["id"] < _SYSTEM) & ~table.continues)
    ticks = table.ticks[timed]
    back = np.flatnonzero(np.diff(ticks) < -int(_DISORDER_S * table.resolution)) + 1
    if not back.size:
        return 0
    edges = [0, *back.tolist(), ticks.size]
    spans_s = [float(np.ptp(ticks[a:b])) / table.resolution for a, b in pairwise(edges)]
    last_part(path, spans_s, repairs)
    return int(timed[back[-1]])


def _events(
    name: str, modality: str, times_s: FloatArray, labels: Sequence[str], table: Mapping[str, Any] | None = None
) -> Events:
    order = np.argsort(times_s, kind="stable")
    columns = {key: tuple(np.asarray(values)[order].tolist()) for key, values in (table or {}).items()}
    return Events(
        name=name,
        modality=modality,
        times_s=times_s[order],
        labels=tuple(labels[i] for i in order.tolist()),
        table=columns,
    )


def _inputs(packets: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray, has_analog: bool) -> list[Stream]:
    """Digital and serial input, analog inputs that crossed a threshold, periodic samples: labelled by their value."""
    reasons = packets["code"]
    lines = {
        "digital input": here & (reasons & 0x81 == 0x01),
        "serial input": here & (reasons & 0x81 == 0x81),
        **{f"analog input {k}": here & (reasons & (1 << k) != 0) for k in range(1, 6)},
        "periodic input": here & (reasons & 0x40 != 0),
    }
    lines["other input"] = here & ~np.any(list(lines.values()), axis=0)
    streams: list[Stream] = []
    for name, chosen in lines.items():
        if chosen.any():
            analog = has_analog and name.startswith("analog")
            values = packets["analog"][chosen, int(name[-1]) - 1] if analog else packets["value"][chosen]
            streams.append(_events(name, "sync", times_s[chosen], [str(value) for value in values.tolist()]))
    return streams


def _comments(
    packets: NDArray[Any], here: NDArray[np.bool_], continues: NDArray[np.bool_], times_s: FloatArray
) -> list[Stream]:
    """Comments, those of several packets joined."""
    at: list[int] = []
    texts: list[str] = []
    for k in np.flatnonzero(here).tolist():
        raw = packets["text"][k].tobytes()
        text = raw.decode("utf-16-le", "replace") if packets["code"][k] == 1 else raw.decode("latin-1")
        text = text.partition("\x00")[0]
        if continues[k] and texts:
            texts[-1] += text
        elif not continues[k]:
            at.append(k)
            texts.append(text)
    return [_events("comments", "events", times_s[at], [text.strip() for text in texts])] if at else []


def _frames(packets: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray) -> list[Stream]:
    """Video frames as they were taken, labelled by their number."""
    found = packets[here]
    if not found.size:
        return []
    labels = [str(frame) for frame in found["frame"].tolist()]
    table = {"file": found["number"], "source": found["source"], "elapsed_ms": found["elapsed"]}
    return [_events("video frames", "sync", times_s[here], labels, table)]


def _units(
    packets: NDArray[Any], ids: NDArray[Any], here: NDArray[np.bool_], times_s: FloatArray, table: Table
) -> list[Stream]:
    """Spikes sorted while recording: one unit per electrode and class."""
    spikes = np.flatnonzero(here)
    if not spikes.size:
        return []
    classes = packets["code"][spikes]
    order = np.lexsort((times_s[spikes], classes, ids[spikes]))
    spikes, classes = spikes[order], classes[order]
    cuts = np.flatnonzero((np.diff(ids[spikes].astype(np.int64)) != 0) | (np.diff(classes.astype(np.int64)) != 0)) + 1
    trains = np.split(times_s[spikes], cuts)
    firsts = [0, *cuts.tolist()]
    electrode_ids, unit_classes = ids[spikes][firsts].tolist(), classes[firsts].tolist()
    return [
        Units(
            name="units",
            unit_names=tuple(f"ch{i}#{c}" for i, c in zip(electrode_ids, unit_classes, strict=True)),
            spike_times_s=tuple(trains),
            table={
                "channel": tuple(table.labels.get(i) or f"chan{i}" for i in electrode_ids),
                "electrode_id": tuple(electrode_ids),
                "kind": tuple(_KINDS.get(c, "reserved") for c in unit_classes),
            },
        )
    ]
