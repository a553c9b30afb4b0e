"""Presentation's .log (Neurobehavioral Systems): events in tenths of a millisecond since the scenario began.

    Scenario - stroop
    Logfile written - 10/24/2013 14:02:03

    Subject  Trial  Event Type  Code      Time    TTime  Uncertainty  Duration  Uncertainty  ReqTime  ...

    s01      1      Picture     red_left  123456  0      1            ...
    s01      1      Response    2         131234  7778   1

    Event Type  Code  Type  Response  RT  ...                  a second table, where stimuli have responses

A stream per type of event ("picture", "sound", "response", "pulse", "port input"), labelled by the code; pulses and
port inputs are sync. The second table becomes "scored stimuli": hit, miss, incorrect, and the reaction time. Columns
are separated by tabs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._sidecars import sidecar
from neuroloom.ingest.formats._tables import is_known, is_text, number, typed
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events

TITLE = "Presentation log (Neurobehavioral Systems)"
MODALITY = "events"
KEEPS = "every event with its code, trial, times, uncertainties and durations; stimuli as scored; not requested times"
TESTED_ON = "files written by this project to Presentation's documentation"

MAX_BYTES = 1 << 28  # of text: its rows are held in memory
_UNIT_S = 1e-4
_SYNC = ("pulse", "port input")
_NEEDED = ("Event Type", "Code", "Time")

Row = tuple[int, list[str]]


def sniff(path: Path, head: bytes) -> bool:
    """True for its first line and the header of its events."""
    if not is_text(head) or sidecar(path, "event_table") is not None:
        return False
    text = _decoded(head)
    return text.lstrip("\ufeff").startswith("Scenario -") and "Event Type\tCode\tTime" in text


def files(path: Path) -> tuple[Path, ...]:
    """The file itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError, naming the line, for a time that is no number, and for several subjects."""
    tables = list(_tables(path))
    if not tables:
        raise FormatError(f"{path}: no line names Event Type, Code and Time; a table of events is wanted")
    header, rows = tables[0]
    subjects = {cells[header.index("Subject")] for _, cells in rows} if "Subject" in header else set()
    if len(subjects) > 1:
        raise FormatError(f"{path}: holds {len(subjects)} subjects, {shown(sorted(subjects))}; one is wanted")
    streams = [*_events(path, header, rows)]
    if len(tables) > 1 and set(_NEEDED) <= set(tables[1][0]) and tables[1][1]:
        streams.append(_scored(path, *tables[1]))
    if not streams:
        raise FormatError(f"{path}: no events below its header; some are wanted")
    return [
        Recording(
            clock=path.stem,
            format="presentation",
            files=(path,),
            streams=tuple(streams),
            subject=stated_subject(min(subjects, default="")),
        )
    ]


def _decoded(raw: bytes) -> str:
    """Text as Presentation writes it: UTF-8, UTF-16 where it says so, or else one byte per letter."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tables(path: Path) -> Iterator[tuple[list[str], list[Row]]]:
    """Each header that names events, and the rows below it, up to a blank line."""
    if path.stat().st_size > MAX_BYTES:
        raise FormatError(f"{path}: {path.stat().st_size} bytes of text; at most {MAX_BYTES} are read, split it")
    header: list[str] = []
    rows: list[Row] = []
    for line, text in enumerate(_decoded(path.read_bytes()).splitlines(), start=1):
        cells = [cell.strip() for cell in text.split("\t")]
        if "Event Type" in cells and "Code" in cells:
            if header:
                yield header, rows
            header, rows = cells, []
        elif header and not text.strip() and rows:
            yield header, rows
            header, rows = [], []
        elif header and text.strip():
            rows.append((line, cells + [""] * (len(header) - len(cells))))
    if header:
        yield header, rows


def _seconds(path: Path, line: int, cells: Sequence[str], at: int | None) -> float:
    """NaN for what is blank; "next" and "other" are lengths that Presentation does not know either."""
    if at is None or not is_known(cells[at]) or cells[at] in ("next", "other"):
        return float("nan")
    value = number(cells[at])
    if value is None:
        raise FormatError(f"{path}: line {line}: {cells[at][:40]!r} is no number; tenths of a millisecond are wanted")
    return value * _UNIT_S


def _events(path: Path, header: Sequence[str], rows: Sequence[Row]) -> list[Events]:
    at: Mapping[str, int] = {name: k for k, name in reversed(list(enumerate(header)))}
    missing = [name for name in _NEEDED if name not in at]
    if missing:
        raise FormatError(f"{path}: no column {missing[0]} in {shown(header)}; it is wanted")
    kinds: dict[str, list[tuple[float, list[str], int]]] = {}
    for line, cells in rows:
        time_s = _seconds(path, line, cells, at["Time"])
        if np.isnan(time_s):
            raise FormatError(f"{path}: line {line}: no time; tenths of a millisecond are wanted")
        kinds.setdefault(cells[at["Event Type"]].lower() or "event", []).append((time_s, cells, line))
    return [_stream(path, kind, sorted(found, key=lambda row: row[0]), header, at) for kind, found in kinds.items()]


def _stream(
    path: Path,
    kind: str,
    rows: Sequence[tuple[float, list[str], int]],
    header: Sequence[str],
    at: Mapping[str, int],
) -> Events:
    uncertain = [k for k, name in enumerate(header) if name == "Uncertainty"]
    times: Mapping[str, int | None] = {
        "since_trial_s": at.get("TTime"),
        "uncertainty_s": uncertain[0] if uncertain else None,
        "duration_s": at.get("Duration"),
        "duration_uncertainty_s": uncertain[1] if len(uncertain) > 1 else None,
    }
    table: dict[str, tuple[Any, ...]] = {
        told: typed([row[1][at[name]] for row in rows])
        for name, told in (("Trial", "trial"), ("Stim Type", "stimulus_type"), ("Pair Index", "pair"))
        if name in at and any(row[1][at[name]] for row in rows)
    }
    for told, column in times.items():
        values = tuple(_seconds(path, line, cells, column) for _, cells, line in rows)
        if np.isfinite(values).any():
            table[told] = values
    return Events(
        name=kind,
        modality="sync" if kind in _SYNC else "events",
        times_s=np.array([row[0] for row in rows]),
        labels=tuple(row[1][at["Code"]] for row in rows),
        table=table,
    )


def _scored(path: Path, header: Sequence[str], rows: Sequence[Row]) -> Events:
    at = {name: k for k, name in reversed(list(enumerate(header)))}
    times = ((_seconds(path, line, cells, at["Time"]), line, cells) for line, cells in rows)
    timed = sorted((row for row in times if np.isfinite(row[0])), key=lambda row: row[0])
    table: dict[str, tuple[Any, ...]] = {
        told: tuple(cells[at[name]] for _, _, cells in timed)
        for name, told in (("Event Type", "event_type"), ("Type", "score"), ("Response", "response"))
        if name in at
    }
    if "RT" in at:
        table["rt_s"] = tuple(_seconds(path, line, cells, at["RT"]) for _, line, cells in timed)
    return Events(
        name="scored stimuli",
        times_s=np.array([time_s for time_s, _, _ in timed]),
        labels=tuple(cells[at["Code"]] for _, _, cells in timed),
        table=table,
    )
