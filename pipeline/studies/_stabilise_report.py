"""What a stabilisation study says: who solved it in which arm, and what their gradients were like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import mean_of
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.stabilise import Settings

# Wanted over gains up to 2.5 and lengths up to 150.
WANTED = (("local", "at least", 0.80), ("behaviour", "at most", 0.15), ("curriculum", "at most", 0.40))
MOST_GAIN, MOST_LENGTH = 2.5, 150


def rows_of(found: Sequence[tuple[Key, Result]]) -> list[Row]:
    """A row per arm, gain and length: mean over seeds with its interval."""
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for key, result in found:
        grouped.setdefault((key["arm"], key["gain"], key["length"]), []).append(result)
    rows: list[Row] = []
    for (arm, gain, length), results in grouped.items():
        row: dict[str, Any] = {"arm": arm, "gain": gain, "length": length, "seeds": len(results)}
        row |= mean_of([float(one["right"]) for one in results]).cells("right")
        row |= {"solved": sum(bool(one["solved"]) for one in results) / len(results)}
        row |= {"horizon": sorted(one["horizon"] for one in results)[len(results) // 2]}
        norms = [one["largest_norm"] for one in results]
        row |= {"largest_norm": math.inf if None in norms else max(norms)}
        rows.append(row | {"steps": max(int(one["steps"]) for one in results)})
    return rows


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    rows = rows_of(found)
    shares = solved_shares(found)
    return Report(
        study="stabilise",
        title="Can recordings teach what behaviour alone cannot?",
        sentence=_sentence(settings, shares),
        conditions={**facts, "seeds": settings.seeds, "solved": "95 % right answers on fresh sequences"},
        plots=(
            Plot(
                table=Table(
                    name="right",
                    caption="Share of right answers on fresh sequences, mean over seeds with 95 % intervals; chance "
                    "is 0.5.",
                    rows=tuple({"what": _told(row), **row} for row in rows),
                ),
                draw=_charts.bars(title="Right answers", name="what", value="right", x_label="share right", level=0.5),
            ),
            Plot(
                table=Table(
                    name="gradients",
                    caption="Norm of the gradient before clipping while training: the largest over seeds at each step, "
                    "at the highest gain and the greatest length. What is not finite is left out of the picture.",
                    rows=tuple(_norms(found)),
                ),
                draw=_charts.curves(
                    title="Gradient norms", x="step", y="norm", by="arm", x_label="step", y_label="norm", log_y=True
                ),
            ),
            Plot(
                table=Table(
                    name="by_length",
                    caption="Right answers by the length of the test's sequences, mean over seeds, gain and trained "
                    "length as said.",
                    rows=tuple(_by_length(found)),
                ),
                draw=_charts.curves(
                    title="Longer and shorter than trained", x="tested", y="right", by="what", x_label="steps",
                    y_label="share right", level=0.5,
                ),
            ),
        ),
        tables=(Table(name="solved", caption="Cells solved by arm.", rows=tuple(shares)),),
        remarks=(
            "One system only: the toggle task. The brain-shaped network with feedback and the chaotic system are not "
            "part of this study yet.",
            f"Students of {settings.units} units, {settings.n_channels} electrodes at {settings.snr_db:g} dB.",
        ),
        wanted=_wanted(shares),
    )  # fmt: skip


def solved_shares(found: Sequence[tuple[Key, Result]]) -> list[Row]:
    """Per arm: cells solved, over gains and lengths within what is wanted."""
    grouped: dict[str, list[bool]] = {}
    for key, result in found:
        if (key["gain"] or 0) <= MOST_GAIN and key["length"] <= MOST_LENGTH:
            grouped.setdefault(key["arm"], []).append(bool(result["solved"]))
    return [
        {"arm": arm, "cells": len(solved), "solved": sum(solved)} | mean_of([float(s) for s in solved]).cells("share")
        for arm, solved in grouped.items()
    ]


def _sentence(settings: Settings, shares: Sequence[Row]) -> str:
    told = [f"{row['arm']} {row['solved']} of {row['cells']}" for row in shares]
    gains = ", ".join(f"{gain:g}" for gain in settings.gains if gain <= MOST_GAIN)
    by_arm = {row["arm"]: row["share"] for row in shares}
    head = "No arm was tried."
    if {"local", "behaviour"} <= by_arm.keys():
        head = "Local electrode losses did not help"
        if by_arm["local"] > by_arm["behaviour"]:
            head = "Local electrode losses solved more than behaviour alone"
    lengths = ", ".join(str(n) for n in settings.lengths if n <= MOST_LENGTH)
    return f"{head}: cells solved (gains {gains}, {lengths} steps, {settings.seeds} seeds): {', '.join(told)}."


def _wanted(shares: Sequence[Row]) -> tuple[Row, ...]:
    by_arm = {row["arm"]: row for row in shares}
    return tuple(
        {
            "what": f"cells solved, {arm}",
            "wanted": f"{side} {bound:.0%}",
            "found": f"{by_arm[arm]['share']:.0%} of {by_arm[arm]['cells']}",
            "met": by_arm[arm]["share"] >= bound if side == "at least" else by_arm[arm]["share"] <= bound,
        }
        for arm, side, bound in WANTED
        if arm in by_arm
    )


def _told(row: Row) -> str:
    gain = "" if row["gain"] is None else f", gain {row['gain']:g}"
    return f"{row['arm']}{gain}, T={row['length']}"


def _norms(found: Sequence[tuple[Key, Result]]) -> list[Row]:
    length = max(key["length"] for key, _ in found)
    gain = max((key["gain"] for key, _ in found if key["gain"] is not None), default=None)
    largest: dict[tuple[str, int], float] = {}
    for key, result in found:
        if key["length"] == length and key["gain"] in (gain, None):
            for step, norm in result["norms"]:
                place = (_told({**key}), int(step))
                value = math.inf if norm is None else float(norm)
                largest[place] = max(largest.get(place, 0.0), value)
    return [{"arm": arm, "step": step, "norm": norm} for (arm, step), norm in largest.items() if math.isfinite(norm)]


def _by_length(found: Sequence[tuple[Key, Result]]) -> list[Row]:
    grouped: dict[tuple[str, int], list[float]] = {}
    for key, result in found:
        for tested, right in result["by_length"].items():
            grouped.setdefault((_told({**key}), int(tested)), []).append(float(right))
    return [{"what": what, "tested": n} | mean_of(right).cells("right") for (what, n), right in grouped.items()]
