"""The pictures of a trade-off study."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._exchange import mean_of
from neuroloom.pipeline.studies._report import Plot, Row, Table
from neuroloom.pipeline.studies._surface import MIXED, NONE, Fit, Surface
from neuroloom.pipeline.studies._tradeoff_rows import is_fitted, n_people, plain_for

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.tradeoff import Settings


ISO_STEPS = 9


def iso_rows(settings: Settings, found: Fit, loss: float, people: int) -> list[Row]:
    """Plain hours that reach a loss beside so many recorded hours, per device; those that need none end there."""
    hours = settings.costs.sequence_hours
    rows: list[Row] = []
    for device in found.surface.devices:
        for n in (0.0, *np.geomspace(min(settings.recorded), max(settings.recorded), ISO_STEPS)):
            value = found.estimate(plain_for, device, float(n), loss, people).times(hours)
            if math.isfinite(value.value) and 0 <= value.value <= max(settings.curve) * hours:
                rows.append({"device": device, "loss": loss, "recorded_hours": n * hours} | value.cells("plain_hours"))
    return rows


def _map_rows(settings: Settings, surface: Surface, device: str, people: int) -> list[Row]:
    hours = settings.costs.sequence_hours
    plain = np.unique(np.round(np.geomspace(min(settings.curve), max(settings.curve), 7)))
    recorded = np.round(np.geomspace(min(settings.recorded), max(settings.recorded), 5))
    return [
        {
            "device": device,
            "plain_hours": p * hours,
            "recorded_hours": r * hours,
            "loss": float(surface.loss(device, p, r, people)),
        }
        for p in plain
        for r in (0.0, *recorded)
    ]


def plots(
    settings: Settings,
    cells: Sequence[Mapping[str, Any]],
    rates: Sequence[Row],
    found: Fit,
    frontier: Sequence[Row],
    pays: Sequence[Row],
    surcharges: Sequence[Row],
) -> tuple[Plot, ...]:
    people = settings.recorded_people[-1]
    level = float(found.surface.loss(NONE, settings.curve[-2], 0, people))
    curves = [
        {"what": f"{cell['device']}, {n_people(cell['people'])}", "n": cell["plain"] or cell["recorded"]}
        | mean_of(cell["losses"]).cells("kl")
        for cell in cells
        if is_fitted(cell)
    ]
    least = [row for row in rates if row["recorded"] == min(settings.recorded) and row["people"] == people]
    least = [row for row in least if not row["control"] and row["device"] != MIXED]
    grid = [row for row in least if row["device"] == settings.varied]
    return (
        Plot(
            table=Table(
                name="pays",
                title="Does it pay?",
                caption="What the same money gains: more people instead of one (no device), and each device instead of "
                "none, each with the best numbers of people and hours. Below the line it loses; on it at the right, "
                "both are where the grid ends. Budgets that buy less than was measured are left out.",
                rows=tuple(pays),
            ),
            draw=_charts.curves(
                x="budget", y="gained", by="what", x_label="budget", y_label="loss gained, nats",
                log_x=True, level=0.0,
            ),
        ),
        Plot(
            table=Table(
                name="frontier",
                title="What a budget buys",
                caption="The least loss that a budget buys with each device. Flat ends are where the grid ends.",
                rows=tuple(frontier),
            ),
            draw=_charts.curves(
                x="budget", y="loss", by="device", x_label="budget",
                y_label="divergence from new people, nats", log_x=True, log_y=True,
            ),
        ),
        Plot(
            table=Table(
                name="iso_loss",
                title="Iso-loss curves",
                caption=f"Equal loss ({level:.3f} nats, {people} people): plain hours that are needed beside so many "
                "recorded ones. The steeper, the more a recorded hour is worth.",
                rows=tuple(iso_rows(settings, found, level, people)),
            ),
            draw=_charts.curves(
                x="recorded_hours", y="plain_hours", by="device", x_label="recorded hours",
                y_label="plain hours",
            ),
        ),
        Plot(
            table=Table(
                name="loss_map",
                title=f"Loss, {settings.varied}",
                caption=f"Loss by the surface over plain and recorded hours: {settings.varied}, {people} people.",
                rows=tuple(_map_rows(settings, found.surface, settings.varied, people)),
            ),
            draw=_charts.heat(
                x="recorded_hours", y="plain_hours", value="loss",
                x_label="recorded hours", y_label="plain hours",
            ),
        ),
        Plot(
            table=Table(
                name="surcharge",
                title="Worth of a recorded sequence, by the surface",
                caption="What one recorded sequence counts in plain ones, by the surface. A device breaks even where "
                "its surcharge on an hour is M - 1; pays: at the assumed prices, one person giving so many sequences.",
                rows=tuple(surcharges),
            ),
            draw=_charts.bars(
                name="what", value="M", x_label="M", level=1.0
            ),
        ),
        Plot(
            table=Table(
                name="exchange",
                title="Exchange rate M, as measured",
                caption="The same as measured, cell by cell, on the curve of behaviour alone of as many people, with "
                "95 % intervals over seeds; the dashed line is nothing gained.",
                rows=tuple(rates),
            ),
            draw=_charts.bars(name="what", value="M", x_label="M", level=1.0),
        ),
        Plot(
            table=Table(
                name="learning",
                title="What students reach",
                caption="Loss over sequences, all plain or all recorded.",
                rows=tuple(curves),
            ),
            draw=_charts.curves(
                x="n", y="kl", by="what", x_label="sequences",
                y_label="divergence from new people, nats", log_x=True, log_y=True,
            ),
        ),
        Plot(
            table=Table(
                name="channels_noise",
                title="M by channels and noise",
                caption=f"M of {settings.varied} electrodes by channels and noise, {min(settings.recorded)} sequences.",
                rows=tuple(grid),
            ),
            draw=_charts.heat(
                x="k", y="snr_db", value="M", x_label="channels", y_label="SNR, dB"
            ),
        ),
        Plot(
            table=Table(
                name="capacity",
                title="M by channel capacity",
                caption="M against what the channel can carry, one point per device and variation, "
                f"{min(settings.recorded)} sequences of {people} people.",
                rows=tuple(
                    {**row, "kind": "varied" if row["varied"] else "as set"} for row in least
                ),
            ),
            draw=_charts.curves(
                x="capacity_bits", y="M", by="kind", x_label="bits per step",
                y_label="M", log_x=True, level=1.0,
            ),
        ),
    )  # fmt: skip
