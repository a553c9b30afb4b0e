"""BIDS `*_physio.tsv.gz` and `*_stim.tsv.gz`: continuous recordings, whose JSON names the columns and the rate.

    "SamplingFrequency", "StartTime"        seconds after the first sample of the recording of the same name (`X_eeg.*`)
    "Columns"                               cardiac, respiratory, trigger, ..., each with "Units" where they are stated
    "PhysioType": "eyetrack"                timestamp, x_coordinate, y_coordinate, pupil_size: gaze and pupil of an eye

The JSON may lie beside the table or above it. Where a column `timestamp` is there, the samples are at its times: its
unit is stated, or proven by the stated rate. A column named trigger is kept as it is, and what rises in it as events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._bids import applicable, bids_name, stated
from neuroloom.ingest.formats._bids_numbers import read_numbers
from neuroloom.ingest.formats._channels import grouped
from neuroloom.ingest.formats._column_names import SECONDS, place, unit_of_place, unit_of_time
from neuroloom.ingest.formats._row_runs import runs, segments
from neuroloom.ingest.formats._triggers import triggers
from neuroloom.ingest.formats._units import kept_unit
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Signal, Stream
from neuroloom.ingest.timebase import FloatArray, Timebase, Times

TITLE = "BIDS physiology and eye tracking (physio.tsv.gz)"
MODALITY = "behaviour"
KEEPS = "every column as float64 at its start time, with its unit; triggers as events too"
TESTED_ON = "files written by this project to the BIDS specification"

MAX_TRIGGERS = 1_000_000
_EYES = {"left": "left", "right": "right", "both": ""}
_GAZE = {"x_coordinate": "x", "y_coordinate": "y", "pupil_size": "pupil"}


def sniff(path: Path, head: bytes) -> bool:
    """True for a table of that name whose JSON says how often it was sampled."""
    name = bids_name(path)
    if name is None or name.suffix not in ("physio", "stim") or not name.ending.startswith(".tsv") or not head:
        return False
    return bool(applicable(path, name.suffix, ".json"))


def files(path: Path) -> tuple[Path, ...]:
    """The table, and the JSON about it."""
    name = bids_name(path)
    return (path, *(applicable(path, name.suffix, ".json") if name else ()))


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError where the JSON leaves out what is needed, and, naming the line, for damage."""
    said = stated(path)
    names = said.get("Columns")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{path}: its JSON names no Columns; a list of their names is wanted")
    rate_hz = _number(path, said, "SamplingFrequency")
    start_s = _number(path, said, "StartTime", default=0.0)
    values, had_header = read_numbers(path, names)
    repairs: list[str] = [Defect("a header, which BIDS does not want here, left out")] if had_header else []
    found = _times(path, said, names, values, rate_hz, start_s)
    streams: list[Stream] = list(_signals(path, said, names, values, found, repairs))
    signals = [stream for stream in streams if isinstance(stream, Signal)]
    streams += triggers(signals, _codes, most=MAX_TRIGGERS, repairs=repairs)
    return [
        Recording(
            clock=path.name.partition(".")[0],
            format="bids_physio",
            files=files(path),
            streams=tuple(streams),
            repairs=tuple(repairs),
        )
    ]


def _number(path: Path, said: Mapping[str, Any], key: str, *, default: float | None = None) -> float:
    value = said.get(key, default)
    is_number = isinstance(value, int | float) and np.isfinite(value)
    if not is_number or (key == "SamplingFrequency" and value <= 0):
        raise FormatError(f"{path}: {key} in its JSON is {value!r}; a number is wanted")
    return float(value)


def _codes(signal: Signal, samples: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.nan_to_num(samples))


# Times --------------------------------------------------------------------------------------------------------------


def _times(
    path: Path, said: Mapping[str, Any], names: Sequence[str], values: FloatArray, rate_hz: float, start_s: float
) -> list[tuple[slice, Times]]:
    if "timestamp" not in names:
        return [(slice(0, len(values)), Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(values)))]
    stamps = values[:, names.index("timestamp")]
    steps = np.diff(stamps)
    if not np.isfinite(stamps).all() or (steps <= 0).any():
        raise FormatError(f"{path}: its timestamps repeat, go back or are not finite; they must increase")
    scale = _seconds_per_unit(path, said, float(np.median(steps)) if steps.size else 1 / rate_hz, rate_hz)
    return runs(start_s + (stamps - stamps[0]) * scale)


def _seconds_per_unit(path: Path, said: Mapping[str, Any], step: float, rate_hz: float) -> float:
    """Of the column `timestamp`: as stated, else the one unit that agrees with the rate."""
    about = said.get("timestamp")
    unit = unit_of_time(str(about.get("Units", ""))) if isinstance(about, dict) else None
    if unit is not None:
        return SECONDS[unit]
    fitting = [scale for scale in SECONDS.values() if 0.8 < step * scale * rate_hz < 1.25]
    if len(fitting) != 1:
        raise FormatError(
            f"{path}: the unit of its timestamps is not stated; Units of timestamp in its JSON are wanted"
        )
    return fitting[0]


# Signals ------------------------------------------------------------------------------------------------------------


def _signals(
    path: Path,
    said: Mapping[str, Any],
    names: Sequence[str],
    values: FloatArray,
    found: Sequence[tuple[slice, Times]],
    repairs: list[str],
) -> list[Signal]:
    """One Signal per kind and unit."""
    columns = [k for k, name in enumerate(names) if name != "timestamp"]
    told = [_channel(path, said, names[k]) for k in columns]
    made = []
    for kind, unit, suffix, members in grouped([kind for kind, _, _, _ in told], [unit for _, _, unit, _ in told]):
        at = [columns[k] for k in members]
        made.append(
            Signal(
                name=f"{kind}{suffix}",
                modality=kind if kind in ("gaze", "pupil", "sync") else "aux",
                segments=segments(np.ascontiguousarray(values[:, at]), found),
                channel_names=tuple(told[k][1] for k in members),
                unit=unit,
                gain=np.array([told[k][3] for k in members]),
                offset=np.zeros(len(members)),
                provenance=_where(path, said) if kind == "gaze" else {},
            )
        )
    return made


def _where(path: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """What the places of gaze are places of, and the screen as `events.json` states it (metres)."""
    system = str(said.get("SampleCoordinateSystem", "gaze-on-screen"))
    if system != "gaze-on-screen":
        return {"coordinates": system}
    shown = stated(path, "events").get("StimulusPresentation")
    shown = shown if isinstance(shown, dict) else {}
    origin = shown.get("ScreenOrigin", ["top", "left"])
    if origin != ["top", "left"]:
        return {"coordinates": f"screen from {origin}"}
    numbers = [*_pair(shown, "ScreenResolution"), *_pair(shown, "ScreenSize"), shown.get("ScreenDistance")]
    names = ("width_px", "height_px", "width_cm", "height_cm", "distance_cm")
    screen = {
        name: float(value) * (1.0 if name.endswith("px") else 100.0)
        for name, value in zip(names, numbers, strict=True)
        if isinstance(value, int | float) and np.isfinite(value) and value > 0
    }
    return {"screen": screen} if screen else {}


def _pair(said: Mapping[str, Any], key: str) -> list[Any]:
    value = said.get(key)
    return value if isinstance(value, list) and len(value) == 2 else [None, None]


def _channel(path: Path, said: Mapping[str, Any], name: str) -> tuple[str, str, str, float]:
    """Kind ("gaze", "pupil", "sync", "physio"), channel, unit and gain of a column."""
    about = said.get(name)
    unit = str(about.get("Units", "")) if isinstance(about, dict) else ""
    unit = unit or (str(said.get("Units", "")) if isinstance(said.get("Units"), str) else "")
    if str(said.get("PhysioType", "")).lower() == "eyetrack":
        place_of = place(name)
        channel = _GAZE.get(name) or (place_of[0] if place_of else "")
        eye = _EYES.get(str(said.get("RecordedEye", "")).lower(), "")
        channel = f"{channel}_{eye}" if channel in ("x", "y", "pupil") and eye else channel
        if channel.startswith("pupil"):
            return "pupil", channel, unit_of_place(unit) or "a.u.", 1.0
        if channel:
            unit = unit or str(said.get("SampleCoordinateUnits", "") or said.get("SampleCoordinateUnit", ""))
            if not unit:
                raise FormatError(f"{path}: the unit of {name} is not stated; its Units in the JSON are wanted")
            return "gaze", channel, unit_of_place(unit), 1.0
    kept, factor = kept_unit("" if unit.lower() in ("n/a", "arbitrary", "a.u.") else unit)
    return ("sync" if name == "trigger" else "physio"), name, kept, factor
