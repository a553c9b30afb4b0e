"""A copy beside its person, as the page of a run shows it: calibration, drift, damage, and every measure.

What `pipeline.fidelity` wrote is read with care: what has another form is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.pipeline.review.figures import BLUE, CYCLE, INK, MUTED, ORANGE, Picture, drawing, label, picture
from neuroloom.pipeline.review.run_scores import is_number
from neuroloom.pipeline.review.text import count, number, visible

MOST_PORTS = 8
MOST_BARS = 20
MOST_ROWS = 400
NUMBERS = ("copy", "person", "departure", "low", "high")


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """One measure as the table shows it; numbers that are not known are None."""

    port: str
    session: str
    aspect: str
    name: str
    copy: float | None
    person: float | None
    departure: float | None
    low: float | None
    high: float | None
    departs: bool
    tested: bool


@dataclass(frozen=True, kw_only=True)
class DamageRow:
    """What one kind of damage costs one port; bits per act."""

    where: str
    kind: str
    what: str
    lost: float
    low: float
    high: float
    kept: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class FidelityView:
    """What the section shows. curves: port -> (expected, found, how many); over_time: port -> (seconds, excess)."""

    sentences: tuple[str, ...]
    measures: tuple[MeasureRow, ...]
    n_more: int
    pictures: tuple[Picture, ...]

    @classmethod
    def read(cls, content: Any) -> FidelityView | None:
        """The view of a document; None where it is not one."""
        if not isinstance(content, Mapping) or not isinstance(content.get("ports"), list):
            return None
        ports = [port for port in content["ports"] if isinstance(port, Mapping)]
        rows = [row for port in ports for row in _measures(port)]
        lines = content.get("sentences")
        drawn = [
            _reliability({_where(p): _table(p.get("reliability"), 3) for p in ports[:MOST_PORTS]}),
            _over_time({_where(p): _table(p.get("over_time"), 2) for p in ports[:MOST_PORTS]}),
            *_damage(list(_damages(content.get("damage")))),
        ]
        return cls(
            sentences=tuple(str(line) for line in lines) if isinstance(lines, list) else (),
            measures=tuple(rows[:MOST_ROWS]),
            n_more=max(0, len(rows) - MOST_ROWS),
            pictures=tuple(one for one in drawn if one is not None),
        )


def _measures(port: Mapping[str, Any]) -> Iterator[MeasureRow]:
    rows = port.get("measures")
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping):
            continue
        what = f": {row['what']}" if row.get("what") else ""
        numbers: dict[str, Any] = {key: _number(row.get(key)) for key in NUMBERS}
        yield MeasureRow(
            port=str(port.get("port")),
            session=str(port.get("session")),
            aspect=str(row.get("aspect")),
            name=f"{row.get('name')}{what}",
            departs=row.get("departs") is True,
            tested=row.get("tested") is not False,
            **numbers,
        )


def _damages(rows: Any) -> Iterator[DamageRow]:
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping):
            continue
        values = [_number(row.get(key)) for key in ("lost", "low", "high")]
        if all(value is not None for value in values):
            lost, low, high = (float(value or 0.0) / np.log(2) for value in values)
            yield DamageRow(
                where=_where(row), kind=str(row.get("kind")), what=str(row.get("what")), lost=lost, low=low, high=high,
                kept=_number(row.get("kept")),
            )  # fmt: skip


def _reliability(curves: Mapping[str, FloatArray]) -> Picture | None:
    shown = {name: curve for name, curve in curves.items() if len(curve)}
    if not shown:
        return None
    with drawing(560, 420) as figure:
        axes = figure.add_subplot()
        axes.set_title("calibration")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9)
        _lines(axes, {name: curve[:, :2] for name, curve in shown.items()}, legend="upper left")
        axes.set(xlabel="expected by the copy", ylabel="done by the person", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        worst = max(float(np.abs(curve[:, 0] - curve[:, 1]).max()) for curve in shown.values())
        return picture(
            figure,
            title="Calibration",
            alt=f"Calibration of {count(len(shown), 'port')}; furthest from the diagonal by {number(worst)}.",
            caption="Answers: how often something was done, over the chance the copy gave it, in tenths. Movements: "
            "share of values below each tenth of what the copy expected. On the diagonal the copy is right about its "
            "own certainty.",
        )


def _lines(axes: Any, curves: Mapping[str, FloatArray], *, legend: str) -> None:
    """A line per port, (N, 2), with its name."""
    for i, (name, curve) in enumerate(curves.items()):
        axes.plot(*curve.T, "o-", color=CYCLE[i % len(CYCLE)], markersize=4, label=label(name, 34))
    axes.grid()
    axes.legend(loc=legend, fontsize=8)


def _over_time(curves: Mapping[str, FloatArray]) -> Picture | None:
    shown = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not shown:
        return None
    with drawing(560, 420) as figure:
        axes = figure.add_subplot()
        axes.set_title("over time")
        axes.axhline(0, color=MUTED, linewidth=0.9)
        _lines(axes, {name: curve / (60, 1) for name, curve in shown.items()}, legend="upper left")
        axes.set(xlabel="session time (min)", ylabel="worse than the copy expects")
        return picture(
            figure,
            title="Over time",
            alt=f"By how much the copy does worse than it expects, over time, for {count(len(shown), 'port')}.",
            caption="Each point is a piece of held-out time. Answers: surprise beyond what the copy expects, bits per "
            "answer; movements: squared error over the expected one, less 1. An exact copy stays around 0.",
        )


def _damage(rows: Sequence[DamageRow]) -> Iterator[Picture | None]:
    for where in list(dict.fromkeys(row.where for row in rows))[:MOST_PORTS]:
        own = [row for row in rows if row.where == where]
        lesions = sorted((row for row in own if row.kind != "noise"), key=lambda row: -row.lost)[:MOST_BARS]
        if lesions:
            yield _lesions(where, lesions)
    yield _noise(rows)


def _lesions(where: str, rows: Sequence[DamageRow]) -> Picture:
    with drawing(560, 120 + 22 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.set_title(f"without an area or pathway: {label(where, 34)}")
        places = np.arange(len(rows))
        colours = [ORANGE if row.kind == "area" else BLUE for row in rows]
        axes.barh(places, [row.lost for row in rows], 0.62, color=colours)
        axes.hlines(places, [row.low for row in rows], [row.high for row in rows], color=INK, linewidth=1.2)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(places, [label(row.what, 30) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("bits per act lost")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return picture(
            figure,
            title=f"Lesions: {visible(where, 60)}",
            alt=f"What is lost of {label(where, 60)} without each area or pathway; most without "
            f"{label(rows[0].what, 30)}, {number(rows[0].lost)} bits per act.",
            caption="Orange: an area is silenced. Blue: a pathway is cut. With 95 % intervals; the largest only.",
        )


def _noise(rows: Sequence[DamageRow]) -> Picture | None:
    noisy = [row for row in rows if row.kind == "noise" and row.kept is not None and _is_number(row.what)]
    names = list(dict.fromkeys(row.where for row in noisy))[:MOST_PORTS]
    if not names:
        return None
    with drawing(560, 420) as figure:
        axes = figure.add_subplot()
        axes.set_title("under noise")
        axes.axhline(0, color=MUTED, linewidth=0.9)
        points = {n: sorted((float(row.what), row.kept or 0.0) for row in noisy if row.where == n) for n in names}
        _lines(axes, {name: np.array(each) for name, each in points.items()}, legend="lower left")
        axes.set(
            xlabel="noise, over a unit's own spread", ylabel="kept of what it knows", xscale="log", ylim=(-0.6, 1.05)
        )
        return picture(
            figure,
            title="Noise",
            alt=f"What {count(len(names), 'port')} keep of what they know under noise in the drive of all units.",
            caption="What is known: likelihood beyond the mean of training time. 1: all is kept; 0: nothing is.",
        )


def _where(row: Mapping[str, Any]) -> str:
    return f"{row.get('port')} · {row.get('session')}"


def _table(rows: Any, width: int) -> FloatArray:
    """Rows of numbers, (N, width); those with anything else in them are left out."""
    whole = [row for row in rows if isinstance(row, list) and len(row) == width] if isinstance(rows, list) else []
    known = [row for row in whole if all(_number(value) is not None for value in row)]
    return np.asarray(known, dtype=np.float64).reshape(-1, width)


def _number(value: object) -> float | None:
    return float(value) if is_number(value) else None


def _is_number(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False
