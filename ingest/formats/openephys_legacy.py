"""Open Ephys, legacy format: a file per channel, each a text header of 1024 bytes and then records.

    100_CH1.continuous        records of 1024 big-endian int16 with the sample number of the first
    all_channels.events       16 bytes per event: sample number, line, up or down
    STp0.0n0.spikes           spikes with their waveform; the cluster they were sorted to
    messages.events           text: sample number, message

Files whose names end in `_2`, `_3` belong to another experiment, in which sample numbers begin anew: a Recording (and a
drop) of their own. The first file of an experiment names the others. Second = sample number / rate.

Design rationale: neo.rawio.OpenEphysRawIO, which the tests compare with, fills gaps with zeros, cuts channels to what
all have, refuses two rates in one folder, and gives no spikes unless it is asked for a stretch of time. Here a jump of
the sample number begins a segment, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._blocks import Blocks, Run, alike, runs_of, stacked
from neuroloom.ingest.formats._channels import numbered, unique_streams
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._openephys_signals import kind_of_channel
from neuroloom.ingest.formats._sets import head as head_of
from neuroloom.ingest.formats._sets import members
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Signal, Stream, Units

TITLE = "Open Ephys (legacy)"
MODALITY = "wideband"
TESTED_ON = "files written by this project only"
KEEPS = "every int16 sample with its gain, gaps, lines that go up, messages, spike times by cluster; not waveforms"

HEADER_BYTES = 1024
_MAGIC = b"header.format = 'Open Ephys Data Format'"
_SUFFIXES = (".continuous", ".events", ".spikes")
_RECORD = np.dtype([
    ("number", "<i8"), ("n", "<u2"), ("recording", "<u2"), ("samples", ">i2", 1024), ("marker", "u1", 10),
])  # fmt: skip
_EVENT = np.dtype([
    ("number", "<i8"), ("position", "<i2"), ("type", "u1"), ("processor", "u1"), ("state", "u1"), ("line", "u1"),
    ("recording", "<u2"),
])  # fmt: skip
_SPIKE_HEAD = np.dtype([
    ("type", "u1"), ("number", "<i8"), ("software", "<i8"), ("source", "<u2"), ("n_channels", "<u2"),
    ("n_samples", "<u2"), ("cluster", "<u2"), ("electrode", "<u2"),
])  # fmt: skip
_MARKER = bytes([0, 1, 2, 3, 4, 5, 6, 7, 8, 255])
_TTL = 3


@dataclass(frozen=True, kw_only=True)
class _Header:
    channel: str
    rate_hz: float
    gain: float
    version: float
    created: datetime | None


def sniff(path: Path, head: bytes) -> bool:
    """True for the words that the header of each such file begins with."""
    return head.lstrip().startswith(_MAGIC)


def files(path: Path) -> tuple[Path, ...]:
    """For the file that names an experiment, all its files in the folder; for any other, itself."""
    number = _experiment(path)
    found = members(path, _SUFFIXES, lambda file: _experiment(file) == number and _is_one(file))
    texts = path.with_name("messages.events" if number == 1 else f"messages_{number}.events")
    return (*found, texts) if len(found) > 1 and is_there(texts) and texts not in found else found


def _is_one(path: Path) -> bool:
    return head_of(path, 64).lstrip().startswith(_MAGIC)


def _experiment(path: Path) -> int:
    """`100_CH1_2` is of the second experiment; `100_CH1` of the first."""
    match = re.search(r"_(\d{1,6})$", path.stem)
    return int(match[1]) if match is not None else 1


def read(path: Path) -> list[Recording]:
    """One Recording: a Signal per kind of channel, rate and gaps; lines that go up, messages, units."""
    found = files(path)
    repairs: list[str] = []
    binary = [file for file in found if _is_one(file)]
    headers = {file: _header(file) for file in binary}
    streams: list[Stream] = [*_signals({f: h for f, h in headers.items() if f.suffix == ".continuous"}, repairs)]
    for file, stated in headers.items():
        if file.suffix == ".events":
            streams += _events(file, stated, repairs)
        elif file.suffix == ".spikes":
            streams += _units(file, stated, repairs)
    for file in found:
        if file not in headers:
            streams += _messages(file, next(iter(headers.values())).rate_hz, repairs)
    if not streams:
        raise FormatError(f"{path}: {len(found)} files without a sample, spike or event; some are wanted")
    number = _experiment(path)
    folder = path.parent.name if len(found) > 1 else path.stem
    return [
        Recording(
            clock=folder if number == 1 or len(found) == 1 else f"{folder} experiment{number}",
            format="openephys_legacy",
            files=found,
            streams=_named_apart(streams),
            start=min((h.created for h in headers.values() if h.created is not None), default=None),
            repairs=tuple(repairs),
        )
    ]


def _named_apart(streams: Sequence[Stream]) -> tuple[Stream, ...]:
    return unique_streams(streams)


def _header(path: Path) -> _Header:
    raw = head_of(path, HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise FormatError(f"{path}: {len(raw)} bytes; a header has {HEADER_BYTES}: cut off, or still being copied")
    found = dict(re.findall(r"header\.(\w+)\s*=\s*'?([^';]*)'?;", raw.decode("latin-1")))
    stated = re.fullmatch(r"(\d{1,2}-\w{3}-\d{4} \d{6})", found.get("date_created", "").strip())
    created = None
    if stated is not None:
        try:
            created = datetime.strptime(stated[1], "%d-%b-%Y %H%M%S")
        except ValueError:
            created = None
    return _Header(
        channel=found.get("channel", "").strip() or path.stem,
        rate_hz=_number(path, found, "sampleRate"),
        gain=_number(path, found, "bitVolts") if path.suffix == ".continuous" else 1.0,
        version=float(found["version"]) if re.fullmatch(r"\d+\.\d+", found.get("version", "").strip()) else 0.4,
        created=created,
    )


def _number(path: Path, found: Mapping[str, str], key: str) -> float:
    try:
        value = float(found.get(key, ""))
    except ValueError as error:
        raise FormatError(f"{path}: {key} is {found.get(key)!r}; a number is wanted") from error
    if not 0 < value < 1e9:
        raise FormatError(f"{path}: {key} is {value}; a number above 0 is wanted")
    return value


def _rows(path: Path, dtype: np.dtype[Any], repairs: list[str]) -> NDArray[Any]:
    n, rest = divmod(path.stat().st_size - HEADER_BYTES, dtype.itemsize)
    if rest:
        repairs.append(Defect(f"{path.name}: {rest} bytes after the last whole record left out"))
    return np.memmap(path, dtype, mode="r", offset=HEADER_BYTES, shape=(n,)) if n else np.zeros(0, dtype)


def _signals(headers: Mapping[Path, _Header], repairs: list[str]) -> list[Signal]:
    groups: dict[Any, list[tuple[str, _Header, Sequence[Run]]]] = {}
    for file, stated in headers.items():
        runs = _runs(file, stated, repairs)
        if runs:
            key = (kind_of_channel(stated.channel, stated.rate_hz), alike(runs, stated.rate_hz))
            groups.setdefault(key, []).append((stated.channel, stated, runs))
    signals = []
    for (kind, _), group in groups.items():
        group.sort(key=lambda channel: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", channel[0])])
        names = numbered([name for name, _, _ in group], repairs)
        in_volts = kind == "aux"  # what bitVolts counts: microvolts of electrodes, volts of other inputs
        signals.append(
            Signal(
                name=kind,
                modality=kind,
                segments=stacked([runs for _, _, runs in group]),
                channel_names=tuple(names),
                unit="uV",
                gain=np.array([stated.gain * (1e6 if in_volts else 1.0) for _, stated, _ in group]),
                offset=np.zeros(len(group)),
            )
        )
    return signals


def _runs(path: Path, stated: _Header, repairs: list[str]) -> list[Run]:
    rows = _rows(path, _RECORD, repairs)
    if not len(rows):
        return []
    if (rows["n"] > 1024).any():
        raise FormatError(f"{path}: a record of {int(rows['n'].max())} samples; 1024 is the most")
    wrong = np.flatnonzero((rows["marker"] != np.frombuffer(_MARKER, "u1")).any(axis=1))
    if wrong.size:
        raise FormatError(f"{path}: record {int(wrong[0])} does not end with the marker of one; the file is damaged")
    if not 0 <= int(rows["number"].min()) <= int(rows["number"].max()) < 1 << 53:
        raise FormatError(f"{path}: sample number {int(rows['number'].min())}; numbers from 0 on are wanted")
    at = HEADER_BYTES + np.arange(len(rows), dtype=np.int64) * _RECORD.itemsize + 12
    counts, ticks = rows["n"].astype(np.int64), rows["number"].astype(np.int64)
    raw = np.memmap(path, np.uint8, mode="r")
    try:
        return runs_of(Blocks(raw, np.dtype(">i2"), at, counts, ticks, stated.rate_hz, stated.rate_hz))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error


def _events(path: Path, stated: _Header, repairs: list[str]) -> list[Stream]:
    """Lines that go up, labelled by their number. Files of version 0.1 state when a buffer began, and where in it."""
    rows = _rows(path, _EVENT, repairs)
    rows = rows[rows["type"] == _TTL]
    numbers = rows["number"].astype(np.int64) + (rows["position"].astype(np.int64) if stated.version < 0.2 else 0)
    order = np.argsort(numbers, kind="stable")
    rows, times_s = rows[order], numbers[order] / stated.rate_hz
    streams: list[Stream] = []
    for processor in np.unique(rows["processor"]).tolist():
        here = rows["processor"] == processor
        up, lines = here & (rows["state"] == 1), rows["line"]
        high = [
            _high_s(times_s, here & (lines == lines[k]) & (rows["state"] == 0), k) for k in np.flatnonzero(up).tolist()
        ]
        if high:
            streams.append(
                Events(
                    name=f"ttl {processor}",
                    modality="sync",
                    times_s=times_s[up],
                    labels=tuple(str(line) for line in lines[up].tolist()),
                    table={"high_s": tuple(high)},
                )
            )
    return streams


def _high_s(times_s: NDArray[np.float64], falls: NDArray[np.bool_], k: int) -> float:
    after = np.flatnonzero(falls[k:])
    return float(times_s[k + after[0]] - times_s[k]) if after.size else float("nan")


def _units(path: Path, stated: _Header, repairs: list[str]) -> list[Stream]:
    """A unit per cluster; cluster 0 is what was sorted to none."""
    if path.stat().st_size <= HEADER_BYTES + _SPIKE_HEAD.itemsize:
        return []
    first = np.fromfile(path, _SPIKE_HEAD, 1, offset=HEADER_BYTES)[0]
    n, m = int(first["n_channels"]), int(first["n_samples"])
    if not 0 < n <= 1024 or not 0 < m <= 4096:
        raise FormatError(f"{path}: spikes of {n} channels and {m} samples; more than 0 of both are wanted")
    rest = 2 + 3 + 8 + 2 + 2 * n * m + 4 * n + 2 * n + 2  # place, color, components, rate, waveform, gains, limits
    rows = _rows(
        path, np.dtype([*((k, _SPIKE_HEAD[k]) for k in _SPIKE_HEAD.names or ()), ("rest", f"V{rest}")]), repairs
    )
    if (rows["n_channels"] != n).any() or (rows["n_samples"] != m).any():
        raise FormatError(f"{path}: spikes of several shapes; all as the first, {n} channels of {m}, are wanted")
    times_s = rows["number"].astype(np.int64) / stated.rate_hz
    clusters = np.unique(rows["cluster"]).tolist()
    return [
        Units(
            name=f"{path.stem} spikes",
            unit_names=tuple(f"{path.stem}#{cluster}" for cluster in clusters),
            spike_times_s=tuple(np.sort(times_s[rows["cluster"] == cluster]) for cluster in clusters),
            table={
                "channel": (stated.channel,) * len(clusters),
                "kind": tuple("sorted" if cluster else "unsorted" for cluster in clusters),
            },
        )
    ]


def _messages(path: Path, rate_hz: float, repairs: list[str]) -> list[Stream]:
    """Lines of a sample number and a text; what has no number is noted."""
    lines = path.read_bytes()[: 1 << 24].decode("utf-8", "replace").splitlines()
    found = [
        (int(m[1]), m[2].strip()) for line in lines if (m := re.match(r"\s*(\d{1,15})[\s,]+(.*)", line)) is not None
    ]
    if len(found) < len([line for line in lines if line.strip()]):
        repairs.append(Defect(f"{path.name}: lines without a sample number left out"))
    found.sort(key=lambda entry: entry[0])
    times_s = np.array([number for number, _ in found], dtype=np.float64) / rate_hz
    return [Events(name="messages", times_s=times_s, labels=tuple(text for _, text in found))] if found else []
