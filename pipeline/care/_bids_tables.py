"""What BIDS says beside a recording, of a session's signals: channels, electrodes, the recording; who was recorded.

    channel_rows(session, signals)     channels.tsv: type, unit, status with the words of the file and of our checks
    electrode_rows(signals)            electrodes.tsv in mm, and coordsystem.json
    recording_json(...)                X_eeg.json and its kin
    participant(session)               a row of participants.tsv
    merged(text, row, key)             a table of the dataset with a row added, or filled up

Only what the session holds is said: names and dates of birth are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroloom.ingest import bids
from neuroloom.ingest.eeg_positions import AXES, positions_mm
from neuroloom.ingest.formats._bids import is_said
from neuroloom.ingest.quality.said_by_file import COLUMN, SAID, WHY
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal
from neuroloom.pipeline.care._bids_text import cell, table_text

TYPES = {"eeg": "EEG", "eog": "EOG", "ecg": "ECG", "emg": "EMG", "ieeg": "SEEG", "lfp": "SEEG"}
KINDS = {"eeg": "EEG", "ieeg": "iEEG", "emg": "EMG"}  # of a datatype, as its JSON spells it
COUNTED = {
    "eeg": ("EEG", "EOG", "ECG", "EMG", "Misc", "Trigger"),
    "ieeg": ("ECOG", "SEEG", "EEG", "EOG", "ECG", "EMG", "Misc", "Trigger"),
    "emg": ("EMG", "EOG", "ECG", "Misc", "Trigger"),
}
HEAD_FRAME = "head coordinates"  # of MNE: x through the ears, y through the nose, as CapTrak has them
SYSTEMS = ("CapTrak", "EEGLAB", "EEGLAB-HJ", "CTF", "ElektaNeuromag", "4DBti", "KitYokogawa", "ChietiItab")
DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
PEOPLE = ("participant_id", "age", "sex", "handedness", "species", "strain")
_SAID_ELSEWHERE = frozenset({"kind", COLUMN, WHY, *AXES, "name", "type", "units", "status"})


def channel_rows(session: Session, signals: Sequence[Signal]) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and a row per channel of the file."""
    rows = [row for signal in signals for row in _channels(session, signal)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [[row.get(name, "n/a") for name in names] for row in rows]


def _channels(session: Session, signal: Signal) -> list[dict[str, str]]:
    found = session.quality.get(signal.name, {}).get("reasons", {})
    more = {key: column for key, column in signal.table.items() if key not in _SAID_ELSEWHERE}
    n = len(signal.channel_names)
    bad_in_file, why = signal.table.get(COLUMN, (False,) * n), signal.table.get(WHY, ("",) * n)
    rows = []
    for k, name in enumerate(signal.channel_names):
        ours = [str(reason) for reason in found.get(name, ()) if not str(reason).startswith(SAID)]
        words = [str(why[k])] if why[k] else []
        found_here = f"found by neuroloom: {', '.join(ours)}"
        words += [found_here] if ours and found_here not in words else []
        row = {
            "name": cell(name),
            "type": type_of(signal, k),
            "units": "uV",
            "status": "bad" if bad_in_file[k] or ours else "good",
            "status_description": cell("; ".join(words)),
        }
        rows.append(row | {key: cell(column[k]) for key, column in more.items()})
    return rows


def type_of(signal: Signal, channel: int) -> str:
    """What BIDS calls the kind of a channel."""
    stated = str(signal.table.get("kind", ("",) * len(signal.channel_names))[channel]).upper()
    fits = bids.MODALITIES.get(stated) == signal.modality
    return stated if fits else TYPES[signal.modality]


def electrode_rows(signals: Sequence[Signal], datatype: str) -> tuple[list[list[str]], dict[str, Any]] | None:
    """Rows of name, x, y, z, and the system they are in, as the first signal with places has it; None without any."""
    placed = [signal for signal in signals if np.isfinite(positions_mm(signal)).any()]
    frames = [str(signal.provenance.get("positions", "")) for signal in placed]
    if not placed:
        return None
    same = [signal for signal, frame in zip(placed, frames, strict=True) if frame == frames[0]]
    rows = [
        [cell(name), *(cell(float(x)) for x in place)]
        for signal in same
        for name, place in zip(signal.channel_names, positions_mm(signal), strict=True)
    ]
    system = "CapTrak" if frames[0] == HEAD_FRAME else frames[0].removesuffix(" coordinates")
    key = f"{KINDS[datatype]}Coordinate"
    said = {f"{key}System": system if system in SYSTEMS else "Other", f"{key}Units": "mm"}
    if system not in SYSTEMS:
        said[f"{key}SystemDescription"] = frames[0] or "not stated"
    return rows, said


def recording_json(session: Session, signals: Sequence[Signal], datatype: str, duration_s: float) -> dict[str, Any]:
    """What is known of a recording as a whole; n/a for what BIDS wants and nobody has said."""
    types = [type_of(signal, k) for signal in signals for k in range(len(signal.channel_names))]
    stated = signals[0].provenance
    kind = KINDS[datatype]
    said: dict[str, Any] = {
        "TaskName": session.task or "rest",
        f"{kind}Reference": str(stated.get("reference", "n/a")),
        "SamplingFrequency": signals[0].rate_hz,
        "PowerLineFrequency": stated.get("power_line_hz", "n/a"),
        "SoftwareFilters": "n/a",
        "RecordingDuration": duration_s,
        "RecordingType": "continuous",
    }
    said |= {"EMGPlacementScheme": "Other", "EMGPlacementSchemeDescription": "n/a"} if datatype == "emg" else {}
    counted = {name: sum(t.lower() == name.lower() for t in types) for name in COUNTED[datatype]}
    counted |= {"EOG": sum(t.endswith("EOG") for t in types)} if "EOG" in counted else {}
    return said | {f"{name}ChannelCount": n for name, n in counted.items()}


def participant(session: Session) -> dict[str, str]:
    """Who was recorded, as far as a session says it: age in years, sex, species."""
    about: dict[str, str] = {}
    for source in session.sources:
        said = source.get("subject")
        about |= {str(k): str(v) for k, v in said.items() if v} if isinstance(said, Mapping) else {}
    found = {"participant_id": f"sub-{session.subject}", "age": _years(about.get("age", "")), "sex": about.get("sex")}
    found["sex"] = found["sex"] if found["sex"] in ("F", "M", "O") else None
    found |= {key: about[key] for key in ("handedness", "species", "strain") if key in about}
    return {key: cell(value) for key, value in found.items()}


def _years(age: str) -> str:
    """`P25Y` as 25, `P90Y/` as 90+; "" for what is not known."""
    number, letter = age.removeprefix("P").rstrip("/")[:-1], age.rstrip("/")[-1:]
    if letter not in DAYS or not number.replace(".", "", 1).isdigit() or age == "P0Y/":
        return ""
    return f"{float(number) * DAYS[letter] / DAYS['Y']:.6g}" + ("+" if age.endswith("/") else "")


def participants_json() -> dict[str, Any]:
    """What the columns are that we write."""
    return {
        "age": {"Description": "age at the recording", "Units": "year"},
        "sex": {"Description": "sex", "Levels": {"F": "female", "M": "male", "O": "other"}},
    }


def merged(text: str, row: Mapping[str, str], key: str) -> str:
    """A table with the row in it; what a row of that key says already stays, what it does not say is filled in."""
    lines = [line.split("\t") for line in text.splitlines() if line.strip()]
    names = list(dict.fromkeys([*(name.strip() for name in lines[0]), *row])) if lines else list(row)
    rows = [dict(zip(names, (value.strip() for value in line), strict=False)) for line in lines[1:]]
    mine = next((one for one in rows if one.get(key) == row[key]), None)
    if mine is None:
        rows.append(mine := {})
    mine.update({name: value for name, value in row.items() if not is_said(mine.get(name))})
    return table_text(names, [[one.get(name, "n/a") or "n/a" for name in names] for one in rows])
