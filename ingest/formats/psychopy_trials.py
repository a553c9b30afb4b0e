"""PsychoPy's table of trials (CSV): a row per turn of a loop, on the experiment's clock in seconds.

    thisRow.t, <component>.started, <component>.stopped      when: a row begins at the first of them, and lasts till the
                                                             next row begins
    <loop>.thisN, <loop>.thisRepN, ...                       which loop it is of: the label of the trial
    <keyboard>.keys, <keyboard>.rt                           responses

    trials        every other column as PsychoPy wrote it, conditions and answers
    components    each component's start, labelled by its name
    responses     each answer, at its component's start plus the reaction time, labelled by the key

Rows outside any loop (instructions) are no trials. A table without any times has no clock and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._dates import later
from neuroloom.ingest.formats._messages import shown
from neuroloom.ingest.formats._people import stated_subject
from neuroloom.ingest.formats._tables import TextTable, is_known, is_text, number, texts, typed, whole
from neuroloom.ingest.formats._vendor_tables import is_of, vendor_table
from neuroloom.ingest.ledger import Defect
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Stream

TITLE = "PsychoPy trials (CSV)"
MODALITY = "trials"
KEEPS = "every column of every trial, starts of components, responses; not rows outside a loop"
TESTED_ON = "files written by this project as PsychoPy's Builder writes them"

MAX_BYTES = 1 << 28  # of text: its rows are held in memory
_ABOUT = frozenset({"participant", "session", "date", "expName", "psychopyVersion", "frameRate", "expStart", "OS", ""})
_STARTED = re.compile(r"(\d{4}-\d\d-\d\d)[ _](\d\d)h(\d\d)\.(\d\d)\.(\d{1,6}) ?([+-]\d{4})?")


@dataclass(frozen=True)
class _Row:
    """A row that has a time. loop: which it is of, "" for none."""

    start_s: float
    stop_s: float
    loop: str
    cells: Sequence[str]


def sniff(path: Path, head: bytes) -> bool:
    """True for a table with the columns of PsychoPy's loops or of its experiments."""
    return is_text(head) and is_of(path, "psychopy_trials")


def files(path: Path) -> tuple[Path, ...]:
    """The table itself."""
    return (path,)


def read(path: Path) -> list[Recording]:
    """One Recording. Raises FormatError where no column tells when, and, naming the line, where a row is damaged."""
    found = vendor_table(path)
    if found is None:
        raise FormatError(f"{path}: no line names the columns of PsychoPy above rows of as many cells; one is wanted")
    table = whole(found[1], max_bytes=MAX_BYTES)[0]
    repairs: list[str] = []
    rows = _rows(table, repairs)
    streams: list[Stream] = []
    loops = [row for row in rows if row.loop] or rows
    if len(loops) < len(rows):
        repairs.append(f"{len(rows) - len(loops)} rows outside any loop are no trials: left out")
    streams.append(_trials(table, loops))
    streams += _moments(table, rows)
    return [
        Recording(
            clock=path.stem,
            format="psychopy_trials",
            files=(path,),
            streams=tuple(streams),
            start=_start(table, rows),
            repairs=tuple(repairs),
            subject=stated_subject(_said(table, rows, "participant")),
        )
    ]


def _rows(table: TextTable, repairs: list[str]) -> list[_Row]:
    """Those that have a time, in order of time."""
    starts = [k for k, name in enumerate(table.names) if name.endswith(".started")]
    stops = [k for k, name in enumerate(table.names) if name.endswith(".stopped")]
    at = table.names.index("thisRow.t") if "thisRow.t" in table.names else None
    if at is None and not starts:
        raise FormatError(
            f"{table.path}: columns {shown(table.names)} do not tell when a row began; thisRow.t or "
            "<component>.started, which PsychoPy saves as onset times, is wanted"
        )
    all_cells = [cells for _, cells in texts(table)]
    loop_of = _loops(table, all_cells)
    found, n_without = [], 0
    for cells in all_cells:
        begun = [_seconds(cells[k]) for k in ([at] if at is not None else [])] + [_seconds(cells[k]) for k in starts]
        known = [value for value in begun if value is not None]
        if not known:
            n_without += any(is_known(cell) for cell in cells)
            continue
        ended = [value for k in stops if (value := _seconds(cells[k])) is not None]
        found.append(_Row(min(known), max([*known, *ended]), loop_of(cells), cells))
    if n_without:
        repairs.append(Defect(f"{n_without} rows without any time left out"))
    if not found:
        raise FormatError(f"{table.path}: no row with a time; some are wanted")
    return sorted(found, key=lambda row: row.start_s)


def _seconds(cell: str) -> float | None:
    value = number(cell)
    return value if value is not None and np.isfinite(value) else None


def _loops(table: TextTable, rows: Sequence[Sequence[str]]) -> Any:
    """What tells the loop of a row: the innermost, which counts the furthest."""
    counts = [(name[: -len(".thisN")], k) for k, name in enumerate(table.names) if name.endswith(".thisN")]
    counts.sort(key=lambda one: -len({row[one[1]] for row in rows}))
    return lambda cells: next((loop for loop, k in counts if is_known(cells[k])), "")


def _trials(table: TextTable, rows: Sequence[_Row]) -> Intervals:
    """A row lasts until the next one begins; the last one until the last thing in it that is told."""
    nexts = [row.start_s for row in rows[1:]] + [rows[-1].stop_s]
    bounds_s = np.array([(row.start_s, stop_s) for row, stop_s in zip(rows, nexts, strict=True)])
    kept = {name: k for k, name in enumerate(table.names) if name not in _ABOUT}
    return Intervals(
        name="trials",
        modality="trials",
        bounds_s=bounds_s,
        labels=tuple(row.loop or "row" for row in rows),
        table={name: typed([row.cells[k] for row in rows]) for name, k in kept.items()},
    )


def _moments(table: TextTable, rows: Sequence[_Row]) -> list[Stream]:
    at = {name: k for k, name in enumerate(table.names)}
    begun: list[tuple[float, str]] = []
    answers: list[tuple[float, str]] = []
    for row in rows:
        for name, k in at.items():
            if name.endswith(".started") and (time_s := _seconds(row.cells[k])) is not None:
                component = name.removesuffix(".started")
                begun.append((time_s, component))
                answers += _answers(row, at, component, time_s)
    made: list[Stream] = []
    for name, moments in (("components", begun), ("responses", answers)):
        if moments:
            moments.sort(key=lambda one: one[0])
            times_s = np.array([time_s for time_s, _ in moments])
            made.append(Events(name=name, times_s=times_s, labels=tuple(label for _, label in moments)))
    return made


def _answers(row: _Row, at: Mapping[str, int], component: str, start_s: float) -> list[tuple[float, str]]:
    """What was pressed, and when; several keys of one component come as Python's lists."""
    keys, rts = at.get(f"{component}.keys"), at.get(f"{component}.rt")
    if keys is None or rts is None:
        return []
    said = [re.findall(r"[^\[\],'\"\s]+", row.cells[k]) for k in (keys, rts)]
    pairs = zip(*said, strict=False)
    return [(start_s + rt, key) for key, text in pairs if key != "None" and (rt := _seconds(text)) is not None]


def _said(table: TextTable, rows: Sequence[_Row], name: str) -> str:
    """What a column says, where every row says the same."""
    if name not in table.names:
        return ""
    found = {row.cells[table.names.index(name)] for row in rows} - {""}
    if len(found) > 1 and name == "participant":
        raise FormatError(f"{table.path}: holds {len(found)} participants, {shown(sorted(found))}; one is wanted")
    return found.pop() if len(found) == 1 else ""


def _start(table: TextTable, rows: Sequence[_Row]) -> datetime | None:
    """`expStart` is when the experiment's clock was 0; `date` is when its dialog was opened, which is no time of it."""
    said = _STARTED.fullmatch(_said(table, rows, "expStart"))
    if said is None:
        return None
    stamp = f"{said[1]} {said[2]}:{said[3]}:{said[4]}.{said[5]}{said[6] or ''}"
    try:
        begun = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S.%f%z" if said[6] else "%Y-%m-%d %H:%M:%S.%f")
    except ValueError:
        return None
    return later(begun, rows[0].start_s)
