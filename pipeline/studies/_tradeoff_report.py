"""What a trade-off study says: exchange rates, iso-loss curves, what budgets buy, and whether people or devices pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._portfolio import Prices, Reach
from neuroloom.pipeline.studies._report import Report, Row, Table
from neuroloom.pipeline.studies._surface import NONE, fit
from neuroloom.pipeline.studies._tradeoff_plots import plots
from neuroloom.pipeline.studies._tradeoff_rows import (
    ROUNDING,
    cells_of,
    exchange_rows,
    fitted_rows,
    frontier_rows,
    gain_rows,
    is_fitted,
    mixed_rows,
    point_of,
    portfolio_rows,
    surcharge_rows,
    surface_rows,
)

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.tradeoff import Settings

TITLE = "More devices, or more people?"


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it, from as many cells as are there for every seed."""
    cells = cells_of(found, settings.seeds)
    points = [point_of(cell) for cell in cells if is_fitted(cell)]
    rates = exchange_rows(settings, cells)
    if not any(p.device == NONE for p in points) or not any(p.device != NONE for p in points):
        sentence = "Nothing to say yet: cells without a device and with one are wanted, for every seed."
        return Report(study="tradeoff", title=TITLE, sentence=sentence, conditions=facts)
    surface = fit(points, draws=settings.draws)
    prices = Prices(costs=settings.costs, devices=settings.prices)
    reach = Reach(
        least=min(settings.curve),
        most=max(settings.curve),
        least_recorded=min(settings.recorded),
        most_recorded=max(settings.recorded),
        most_people=settings.most,
    )
    frontier = frontier_rows(settings, surface, prices, reach)
    pays = gain_rows(settings, surface, prices, reach)
    surcharges = surcharge_rows(settings, surface, prices)
    tested = fitted_rows(cells, surface.surface)
    return Report(
        study="tradeoff",
        title=TITLE,
        sentence=_sentence(settings, pays, surcharges),
        conditions={**facts, "seeds": settings.seeds, "test": "people who are in nobody's training"},
        plots=plots(settings, cells, rates, surface, frontier, pays, surcharges),
        tables=(
            Table(
                name="portfolios",
                title="What to buy with a budget",
                caption="What is best bought with each budget, with any device or none. share: of the surfaces of "
                "seeds drawn anew, how many choose this device. at_the_edge: more money would go beyond the grid.",
                rows=tuple(portfolio_rows(settings, surface, prices, reach)),
            ),
            Table(
                name="mixed",
                title="What to buy where people may have different devices",
                caption="The same where some people have one device and others another, or none, as far as what two "
                "devices recorded adds up. gained: nats on the best portfolio above. That it adds up is assumed; the "
                "teams among the cells that were not fitted test it.",
                rows=tuple(mixed_rows(settings, surface, prices, reach)),
            ),
            Table(
                name="fit",
                title="How well the surface fits",
                caption="Loss of every cell beside what the surface says. What was not fitted tests it.",
                rows=tuple(tested),
            ),
            Table(name="surface", title="The surface", caption="Its numbers.", rows=tuple(surface_rows(surface))),
            Table(
                name="candidates",
                title="Every student",
                caption="Every student: its cell, its weight of electrodes, its held-out behaviour and its test.",
                rows=tuple({**key, **candidate} for key, result in found for candidate in result["candidates"]),
            ),
        ),
        remarks=_remarks(settings, rates, tested),
    )


def _sentence(settings: Settings, pays: Sequence[Row], surcharges: Sequence[Row]) -> str:
    budget = settings.budgets[(len(settings.budgets) - 1) // 2]
    at = [row for row in pays if row["budget"] == budget]
    people = "; ".join(_told_gain(row) for row in at if row["device"] == NONE)
    devices = "; ".join(f"{row['device']} {_told_gain(row)}" for row in at if row["device"] != NONE)
    paying = sorted({row["device"] for row in surcharges if row["pays"] == "yes"})
    return (
        f"For {budget:,.0f} at assumed prices, nats gained on people never met ({settings.seeds} seeds): more people "
        f"{people or 'not affordable'}; {devices or 'no device affordable'}. "
        f"{'Paid for itself: ' + ', '.join(paying) if paying else 'No device surely paid'}."
    )


def _told_gain(row: Row) -> str:
    return f"{row['gained']:+.3f} ({row['gained_low']:+.3f} to {row['gained_high']:+.3f})"


def _remarks(settings: Settings, rates: Sequence[Row], tested: Sequence[Row]) -> tuple[str, ...]:
    off = [abs(math.log(row["surface"] / row["kl"])) for row in tested if row["fitted"]]
    said = [
        "Prices, drop-out and the length of a sequence are settings, not findings: other ones, other portfolios. "
        f"Here a sequence is held to be {settings.costs.sequence_hours:g} h at {settings.costs.person_hour:g} an hour.",
        f"Intervals: bootstrap over {settings.seeds} seeds (each with people of its own), 95 %. Nothing is said beyond "
        f"{max(settings.curve)} effective sequences, {max(settings.recorded)} recorded and {settings.most} people.",
        f"The surface lies within {np.median(off):.1%} of fitted cells (median), {max(off):.1%} at most.",
    ]
    for row in tested:
        if not row["fitted"]:
            inside = row["kl_low"] <= row["surface"] <= row["kl_high"]
            said.append(
                f"Not fitted: {row['plain']} plain and {row['recorded']} recorded ({row['device']}), loss "
                f"{row['kl']:.3f} ({row['kl_low']:.3f} to {row['kl_high']:.3f}); the surface says "
                f"{row['surface']:.3f}, "
                f"{'inside' if inside else 'outside'} of that."
            )
    helped = [str(row["what"]) for row in rates if row["control"] and row["M_low"] > 1 + ROUNDING]
    if helped:
        said.append(f"A control helped, so part of the gain is no information: {', '.join(helped)}.")
    elif any(row["control"] for row in rates):
        said.append("Electrodes at wrong times helped nobody.")
    return tuple(said)
