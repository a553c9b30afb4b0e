"""What BIDS sidecars say of a recording, whatever format it is in: names of files tell which sidecars are about which.

    X_channels.tsv        type -> the signal a channel is of; status -> column bad_in_file; other columns as they are
    *_electrodes.tsv      with *_coordsystem.json, which states the unit: columns x_mm, y_mm, z_mm, NaN where not known
    X_eeg.json            mains frequency and reference, into the provenance of signals
    participants.tsv      sex, age, handedness and species of the subject
    *_scans.tsv           acq_time: when a recording began, where its own header does not say
    X_events.tsv          is a recording of its own (`event_table`), on the clock of X

What a recording's own file says of samples, gains, units, rates and dates wins; where a sidecar contradicts it, that is
said in `repairs`. A recording is a file: runs, tasks and sessions of a dataset are separate recordings, and nothing
relates their clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats._bids import (
    applicable,
    bids_name,
    is_recording,
    is_said,
    levels,
    read_rows,
    stated,
)
from neuroloom.ingest.formats._channels import in_file_order
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._dates import iso_date
from neuroloom.ingest.formats._json import read_object
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal, Stream

MODALITIES = {
    "EEG": "eeg", "EOG": "eog", "VEOG": "eog", "HEOG": "eog", "ECG": "ecg", "EMG": "emg", "SEEG": "ieeg",
    "ECOG": "ieeg", "DBS": "ieeg", "MEGMAG": "meg", "MEGGRADAXIAL": "meg", "MEGGRADPLANAR": "meg", "MEGREFMAG": "meg",
    "TRIG": "sync", "SYSCLOCK": "sync", "EYEGAZE": "gaze", "PUPIL": "pupil", "MISC": "aux", "OTHER": "aux",
    "AUDIO": "aux", "PPG": "aux", "RESP": "aux", "GSR": "aux", "TEMP": "aux", "ADC": "aux", "DAC": "aux",
}  # fmt: skip
_PER_M = {"m": 1e3, "cm": 10.0, "mm": 1.0}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
_AGES = {"year": "Y", "years": "Y", "month": "M", "months": "M", "week": "W", "weeks": "W", "day": "D", "days": "D"}
_READ = frozenset({"name", "type", "status", "units"})
_IN_WORDS = ("coordinates", "not measured")  # how a description ends that says by itself what places are
_SIDECAR_NAME = "sidecar_name"  # column of what channels.tsv calls a channel whose own file calls it otherwise
VOLTS = ("V", "uV", "mV", "nV")
MAX_RATE_ERROR = 0.01
_ELECTRIC = ("eeg", "ieeg", "emg", "meg", "nirs")


def sidecars(path: Path) -> tuple[Path, ...]:
    """The files that say more of a recording, the most general first; none for a name that is not BIDS's."""
    name = bids_name(path)
    if name is None or not is_recording(path):
        return ()
    found = applicable(path, name.suffix, ".json")
    if name.suffix in _ELECTRIC:
        for suffix, ending in (("channels", ".tsv"), ("electrodes", ".tsv"), ("coordsystem", ".json")):
            found += applicable(path, suffix, ending)
        found += _spaces(path)
    about = [file for folder in levels(path) for file in (folder / "participants.tsv", folder / "participants.json")]
    scans = applicable(path, "scans", ".tsv")
    return tuple(dict.fromkeys([*(file for file in about if is_there(file)), *scans, *found]))


def with_sidecars(path: Path, recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings of a file with what its sidecars say. Raises FormatError, naming the file, for a damaged one."""
    beside = sidecars(path)
    if not beside:
        return list(recordings)
    return [_told(path, recording, beside) for recording in recordings]


def _told(path: Path, recording: Recording, beside: tuple[Path, ...]) -> Recording:
    repairs: list[str] = []
    name = bids_name(path)
    streams = recording.streams
    if name is not None and name.suffix in _ELECTRIC:
        streams = _streams(path, recording.streams, repairs)
    return replace(
        recording,
        files=tuple(dict.fromkeys([*recording.files, *beside])),
        streams=streams,
        start=recording.start or _acquired(path),
        repairs=(*recording.repairs, *repairs),
        subject={**_participant(path), **recording.subject},
    )


# Channels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where an electrode is: columns and values, and the coordinates they are in."""

    columns: Mapping[str, tuple[float, ...]]
    frame: str


def _streams(path: Path, streams: tuple[Stream, ...], repairs: list[str]) -> tuple[Stream, ...]:
    rows = {row.get("name", ""): row for file in applicable(path, "channels", ".tsv")[-1:] for row in read_rows(file)}
    signals = [stream for stream in streams if isinstance(stream, Signal)]
    rows = _by_name(signals, rows, repairs)
    repairs += _contradictions(path, signals, rows)
    said = _provenance(path)
    made: list[Stream] = []
    for stream in streams:
        made += _split(stream, rows, said) if isinstance(stream, Signal) else [stream]
    made = [_placed(path, stream, rows, repairs) if isinstance(stream, Signal) else stream for stream in made]
    return tuple(_named_apart(made))


def _by_name(
    signals: Sequence[Signal], rows: dict[str, dict[str, str]], repairs: list[str]
) -> dict[str, dict[str, str]]:
    """The rows by the names that the recording gives its channels; by their order where no name is the same.

    The order is that of the file over all its signals, which a reader has parted by kind and unit.
    """
    names = [name for signal in signals for name in signal.channel_names]
    if not rows or set(rows) & set(names):
        unknown = [name for name in rows if name not in names]
        if unknown and rows:
            repairs.append(Defect(f"channels.tsv: {shown(unknown)} not in the recording", "not applied"))
        return rows
    ordered = in_file_order(signals)
    if len(rows) == len(names) and ordered is not None:
        first = f"{next(iter(rows))!r} for {ordered[0]!r}"
        repairs.append(Defect("channels.tsv: no name is the recording's own", f"taken in their order, {first} first"))
        return {name: {**row, _SIDECAR_NAME: row["name"]} for name, row in zip(ordered, rows.values(), strict=True)}
    why = "" if ordered is not None else ", and their order in the file is not known"
    repairs.append(
        Defect(f"channels.tsv: names {len(rows)} channels, none of the recording's {len(names)}{why}", "not applied")
    )
    return {}


def _contradictions(path: Path, signals: Sequence[Signal], rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Where sidecars say another rate, or volts where the file says none, or the other way round."""
    found = []
    rate = stated(path).get("SamplingFrequency")
    rates = {signal.rate_hz for signal in signals}
    if isinstance(rate, int | float) and rates and all(abs(own / rate - 1) > MAX_RATE_ERROR for own in rates if rate):
        found.append(f"SamplingFrequency in its JSON is {rate:g}, the file's is {max(rates):g} Hz; the file's is kept")
    for signal in signals:
        told = {rows[name]["units"] for name in signal.channel_names if is_said(rows.get(name, {}).get("units"))}
        wrong = sorted(unit for unit in told if (kept_unit(_spelled(unit))[0] == "uV") != (signal.unit in VOLTS))
        if wrong:
            found.append(f"channels.tsv: units {shown(wrong)}, the file's is {signal.unit}; the file's is kept")
    return found


def _spelled(unit: str) -> str:
    return unit.replace("microV", "uV").replace("milliV", "mV")


def _split(signal: Signal, rows: Mapping[str, Mapping[str, str]], said: Mapping[str, Any]) -> list[Signal]:
    """A signal per modality that its channels are of."""
    kinds = [rows.get(name, {}).get("type", "").upper() for name in signal.channel_names]
    modalities = [MODALITIES.get(kind, signal.modality) for kind in kinds]
    made = []
    for modality in dict.fromkeys(modalities):
        names = tuple(n for n, m in zip(signal.channel_names, modalities, strict=True) if m == modality)
        part = signal if len(names) == len(signal.channel_names) else signal.channels(names)
        is_same = modality == signal.modality
        own = signal.name if is_same else signal.name.replace(signal.modality, modality, 1)
        told = own if is_same or modality in own else f"{modality} {own}"
        table = {**part.table, **_columns(part.channel_names, rows)}
        made.append(replace(part, name=told, modality=modality, table=table, provenance={**part.provenance, **said}))
    return made


def _columns(names: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[Any, ...]]:
    """What channels.tsv says of these channels, column by column."""
    if not any(name in rows for name in names):
        return {}
    there = list(dict.fromkeys(key for name in names for key in rows.get(name, {})))
    said = {key: tuple(rows.get(name, {}).get(key, "") for name in names) for key in there}
    table: dict[str, tuple[Any, ...]] = {}
    if "type" in said:
        table["kind"] = tuple(kind.lower() for kind in said["type"])
    if "status" in said:
        table["bad_in_file"] = tuple(status.lower() == "bad" for status in said["status"])
    for key, column in said.items():
        if key and key not in _READ and any(is_said(cell) for cell in column):
            table[key] = tuple(cell if is_said(cell) else "" for cell in column)
    return table


def _named_apart(streams: Sequence[Stream]) -> list[Stream]:
    """Streams of one name numbered."""
    seen: dict[str, int] = {}
    made: list[Stream] = []
    for stream in streams:
        seen[stream.name] = seen.get(stream.name, 0) + 1
        made.append(stream if seen[stream.name] == 1 else replace(stream, name=f"{stream.name} {seen[stream.name]}"))
    return made


def _provenance(path: Path) -> dict[str, Any]:
    """Mains frequency and reference, as the JSON about a recording states them."""
    said, name = stated(path), bids_name(path)
    kind = {"eeg": "EEG", "ieeg": "iEEG", "emg": "EMG"}.get(name.suffix if name else "", "")
    found = {"power_line_hz": said.get("PowerLineFrequency"), "reference": said.get(f"{kind}Reference")}
    return {key: value for key, value in found.items() if value not in (None, "", "n/a")}


# Electrodes ---------------------------------------------------------------------------------------------------------


def _spaces(path: Path) -> list[Path]:
    """Electrodes and their systems of coordinates are told apart by `space-`, which recordings do not carry."""
    name = bids_name(path)
    found = []
    for folder in levels(path):
        for file in (
            sorted(folder.glob("*_coordsystem.json"))
            + sorted(folder.glob("*_electrodes.tsv"))
            + sorted(folder.glob("space-*_coordsystem.json"))
        ):
            other = bids_name(file)
            if name is None or other is None or "space" not in other.entities or not is_there(file):
                continue
            entities = {key: value for key, value in other.entities.items() if key != "space"}
            if entities.items() <= name.entities.items():
                found.append(file)
    return list(dict.fromkeys(found))


def _placed(path: Path, signal: Signal, rows: Mapping[str, Mapping[str, str]], repairs: list[str]) -> Signal:
    """The signal with the places of its channels' electrodes."""
    tables = applicable(path, "electrodes", ".tsv") or [f for f in _spaces(path) if f.name.endswith("_electrodes.tsv")]
    if not tables:
        return signal
    electrodes = read_rows(tables[-1])
    found = [_electrode(electrodes, name, rows.get(name, {})) for name in signal.channel_names]
    if not any(found):
        return signal
    units = {key: unit for key in {_space(row) for row in found if row} if (unit := _unit(path, tables[-1], key))}
    if not units:
        repairs.append(f"{tables[-1].name}: no coordsystem.json states a unit of its coordinates: positions left out")
        return signal
    place = _columns_of_places(found, units)
    if place is None:
        return signal
    return replace(
        signal, table={**signal.table, **place.columns}, provenance={**signal.provenance, "positions": place.frame}
    )


def _electrode(electrodes: Sequence[Mapping[str, str]], channel: str, row: Mapping[str, str]) -> Mapping[str, str]:
    """Of a channel: the one that channels.tsv names, in its group, else the one of its own name; {} for none."""
    named, group = row.get("signal_electrode", ""), row.get("group", "")
    for electrode in electrodes:
        if is_said(named) and electrode.get("name") == named and electrode.get("group", group) == group:
            return electrode
    names = (channel, row.get(_SIDECAR_NAME, channel))
    return next((electrode for electrode in electrodes if electrode.get("name") in names), {})


def _space(electrode: Mapping[str, str]) -> str:
    space = electrode.get("coordinate_system", "")
    return space if is_said(space) else ""


def _unit(path: Path, table: Path, space: str) -> tuple[str, str] | None:
    """Unit and name of a system of coordinates, None where nothing states it. space: "" for that of the table."""
    name = bids_name(table)
    wanted = space or (name.entities.get("space", "") if name else "")
    for file in reversed([*applicable(path, "coordsystem", ".json"), *_spaces(path)]):
        other = bids_name(file)
        if other is None or other.suffix != "coordsystem" or other.entities.get("space", "") != wanted:
            continue
        said = read_object(file)
        units = next((str(v) for key, v in said.items() if key.endswith("CoordinateUnits")), "")
        system = next((str(v) for key, v in said.items() if key.endswith("CoordinateSystem")), "")
        words = next((str(v) for key, v in said.items() if key.endswith("CoordinateSystemDescription")), "")
        if is_said(units) and system in ("", "Other"):
            return units, wanted or (words if words.endswith(_IN_WORDS) else system)
        if is_said(units):
            return units, system
    return None


def _columns_of_places(found: Sequence[Mapping[str, str]], units: Mapping[str, tuple[str, str]]) -> _Place | None:
    """x_mm, y_mm, z_mm; x_percent and so on of what is no length. What is in another unit than the first is NaN."""
    first = next((units[_space(row)] for row in found if row and _space(row) in units), None)
    if first is None:
        return None
    scale = _PER_M.get(first[0])
    unit = "mm" if scale is not None else first[0]
    places = np.full((len(found), 3), np.nan)
    for k, row in enumerate(found):
        if row and _space(row) in units and units[_space(row)][0] == first[0]:
            places[k] = [_coordinate(row.get(axis, "")) * (scale or 1.0) for axis in "xyz"]
    if not np.isfinite(places).any():
        return None
    systems = dict.fromkeys(units[_space(row)][1] for row in found if row and _space(row) in units)
    columns: dict[str, tuple[Any, ...]] = {f"{a}_{unit}": tuple(places[:, k].tolist()) for k, a in enumerate("xyz")}
    if len(systems) > 1:
        columns["coordinate_system"] = tuple(_space(row) for row in found)
    told = " and ".join(s for s in systems if s) or "unnamed"
    return _Place(columns, told if told.endswith(_IN_WORDS) else f"{told} coordinates")


def _coordinate(text: str) -> float:
    try:
        return float(text) if is_said(text) else float("nan")
    except ValueError:
        return float("nan")


# Subject and date ---------------------------------------------------------------------------------------------------


def _participant(path: Path) -> dict[str, str]:
    """Sex, age and species, as participants.tsv has them, in NWB's words."""
    name = bids_name(path)
    for folder in levels(path):
        table = folder / "participants.tsv"
        if name is None or not is_there(table):
            continue
        for row in read_rows(table):
            if row.get("participant_id") == f"sub-{name.entities['sub']}":
                return _said_of(row, read_object(about) if is_there(about := folder / "participants.json") else {})
    return {}


def _said_of(row: Mapping[str, str], about: Mapping[str, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    sex = _SEXES.get(row.get("sex", "").lower())
    if sex:
        said["sex"] = sex
    for key in ("handedness", "species", "strain"):
        if is_said(row.get(key)):
            said[key] = row[key]
    column = about.get("age")
    unit = str(column.get("Units", "year")).lower() if isinstance(column, Mapping) else "year"
    age, letter = row.get("age", "").removesuffix("+"), _AGES.get(unit)
    if is_said(age) and letter and age.replace(".", "", 1).isdigit():
        said["age"] = f"P{float(age):g}{letter}" + ("/" if row["age"].endswith("+") else "")
    return said


def _acquired(path: Path) -> Any:
    """`acq_time` of its row in scans.tsv; None where there is none."""
    for table in applicable(path, "scans", ".tsv"):
        for row in read_rows(table):
            try:
                told = path.relative_to(table.parent).as_posix()
            except ValueError:
                continue
            if row.get("filename") == told and is_said(row.get("acq_time")):
                return iso_date(row["acq_time"])
    return None
