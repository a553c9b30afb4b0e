"""BIDS `*_motion.tsv`: what a system for tracking motion recorded, whose channels.tsv says what each column is.

    X_motion.tsv (or .tsv.gz)      numbers without a header
    X_channels.tsv                 name, component, type (POS, ORNT, VEL, ACC, GYRO, ...), tracked_point, units
    X_motion.json                  SamplingFrequencyEffective (as measured), else SamplingFrequency

Per tracked point a signal: "position <point>" of places, "acceleration <point>" and so on of the rest. A channel of
type LATENCY holds the time of each sample, seconds since the first, and is used as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._bids import applicable, bids_name, is_said, read_rows, stated
from neuroloom.ingest.formats._bids_numbers import read_numbers
from neuroloom.ingest.formats._column_names import unit_of_place
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray, Timebase, Times

TITLE = "BIDS motion (motion.tsv)"
MODALITY = "position"
KEEPS = "every channel as float64 with its unit, type, tracked point and status; latencies as times"
TESTED_ON = "real files of MNE-Python's testing data (optical tracking) and bids-examples"

_KINDS = {
    "POS": "position", "ORNT": "orientation", "VEL": "velocity", "ACC": "acceleration", "GYRO": "rotation",
    "ANGACC": "angular acceleration", "ANGVEL": "angular velocity", "MAGN": "magnetic field", "JNTANG": "joint angle",
    "MISC": "motion",
}  # fmt: skip


def sniff(path: Path, head: bytes) -> bool:
    """True for a table of that name."""
    name = bids_name(path)
    return bool(head) and name is not None and name.suffix == "motion" and name.ending in (".tsv", ".tsv.gz")


def files(path: Path) -> tuple[Path, ...]:
    """The table, its channels and the JSON about it. Raises FormatError where it has no channels."""
    return (path, _channels_file(path), *applicable(path, "motion", ".json"))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError where rate or units are not stated, and, naming the line, for damage."""
    channels = read_rows(_channels_file(path))
    for needed in ("name", "type", "units"):
        if not channels or needed not in channels[0]:
            raise FormatError(f"{_channels_file(path)}: no column {needed!r}; name, type and units are wanted")
    names = [row["name"] for row in channels]
    values, had_header = read_numbers(path, names)
    found = _times(path, channels, values)
    return [
        Recording(
            clock=path.name.partition(".")[0],
            format="bids_motion",
            files=files(path),
            streams=tuple(_signals(path, channels, values, found)),
            start=iso_date(str(stated(path).get("StartTime", ""))),
            repairs=("a header, which BIDS does not want here, left out",) if had_header else (),
        )
    ]


def _channels_file(path: Path) -> Path:
    found = applicable(path, "channels", ".tsv")
    if not found:
        raise FormatError(f"{path}: no channels.tsv of it beside or above it; it says what the columns are")
    return found[-1]


def _times(path: Path, channels: Sequence[Mapping[str, str]], values: FloatArray) -> list[tuple[slice, Times]]:
    latencies = [k for k, row in enumerate(channels) if row["type"].upper() == "LATENCY"]
    if latencies:
        times_s = values[:, latencies[0]]
        if not np.isfinite(times_s).all() or (np.diff(times_s) <= 0).any():
            raise FormatError(f"{path}: its latencies repeat, go back or are not finite; they must increase")
        return runs(times_s)
    said = stated(path)
    rate = said.get("SamplingFrequencyEffective")
    rate = rate if isinstance(rate, int | float) and rate > 0 else said.get("SamplingFrequency")
    if not isinstance(rate, int | float) or not (np.isfinite(rate) and rate > 0):
        raise FormatError(f"{path}: SamplingFrequency in its JSON is {rate!r}; a number above 0 is wanted")
    return [(slice(0, len(values)), Timebase(rate_hz=float(rate), n_samples=len(values)))]


def _signals(
    path: Path, channels: Sequence[Mapping[str, str]], values: FloatArray, found: Sequence[tuple[slice, Times]]
) -> list[Signal]:
    """A Signal per type, tracked point and unit, in the order of their first channels."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for k, row in enumerate(channels):
        kind = row["type"].upper()
        if kind == "LATENCY":
            continue
        if not is_said(row["units"]) and kind not in ("MISC", "ORNT"):
            raise FormatError(f"{_channels_file(path)}: the units of {row['name']} are not stated; they are wanted")
        unit = unit_of_place(row["units"]) if is_said(row["units"]) else "a.u."
        point = row.get("tracked_point", "")
        groups.setdefault((_KINDS.get(kind, kind.lower()), point if is_said(point) else "", unit), []).append(k)
    named = [(kind, point) for kind, point, _ in groups]
    made = []
    for (kind, point, unit), members in groups.items():
        alone = named.count((kind, point)) == 1
        made.append(
            Signal(
                name=" ".join(part for part in (kind, point, "" if alone else unit) if part),
                modality="position" if kind == "position" else "behaviour",
                segments=segments(np.ascontiguousarray(values[:, members]), found),
                channel_names=tuple(channels[k]["name"] for k in members),
                unit=unit,
                gain=np.ones(len(members)),
                offset=np.zeros(len(members)),
            )
        )
    return made
