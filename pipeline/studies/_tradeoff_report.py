"""What a trade-off study says: exchange rates, iso-loss curves, what budgets buy, and whether people or devices pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroloom.pipeline.studies import _charts
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import Estimate, exchange_rate, mean_of
from neuroloom.pipeline.studies._portfolio import Portfolio, Prices, Reach, best, best_mixed
from neuroloom.pipeline.studies._report import Plot, Report, Row, Table
from neuroloom.pipeline.studies._surface import HEAD, MIXED, NONE, Fit, Point, Surface, fit

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.tradeoff import Settings

ISO_STEPS = 9
ROUNDING = 1e-6


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it, from as many cells as are there for every seed."""
    cells = cells_of(found, settings.seeds)
    points = [point_of(cell) for cell in cells if is_fitted(cell)]
    rates = _rates(settings, cells)
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
    frontier = _frontier(settings, surface, prices, reach)
    pays = _pays(settings, surface, prices, reach)
    surcharges = _surcharges(settings, surface, prices)
    tested = _fit_rows(cells, surface.surface)
    return Report(
        study="tradeoff",
        title=TITLE,
        sentence=_sentence(settings, pays, surcharges),
        conditions={**facts, "seeds": settings.seeds, "test": "people who are in nobody's training"},
        plots=_plots(settings, cells, rates, surface, frontier, pays, surcharges),
        tables=(
            Table(
                name="portfolios",
                title="What to buy with a budget",
                caption="What is best bought with each budget, with any device or none. share: of the surfaces of "
                "seeds drawn anew, how many choose this device. at_the_edge: more money would go beyond the grid.",
                rows=tuple(_portfolios(settings, surface, prices, reach)),
            ),
            Table(
                name="mixed",
                title="What to buy where people may have different devices",
                caption="The same where some people have one device and others another, or none, as far as what two "
                "devices recorded adds up. gained: nats on the best portfolio above. That it adds up is assumed; the "
                "teams among the cells that were not fitted test it.",
                rows=tuple(_mixed(settings, surface, prices, reach)),
            ),
            Table(
                name="fit",
                title="How well the surface fits",
                caption="Loss of every cell beside what the surface says. What was not fitted tests it.",
                rows=tuple(tested),
            ),
            Table(name="surface", title="The surface", caption="The surface's numbers.", rows=tuple(_numbers(surface))),
            Table(
                name="candidates",
                title="Every student",
                caption="Every student: its cell, its weight of electrodes, its held-out behaviour and its test.",
                rows=tuple({**key, **candidate} for key, result in found for candidate in result["candidates"]),
            ),
        ),
        remarks=_remarks(settings, rates, tested),
    )


TITLE = "More devices, or more people?"


def cells_of(found: Sequence[tuple[Key, Result]], n_seeds: int) -> list[dict[str, Any]]:
    """A cell over its seeds: its key, per seed the loss that held-out behaviour chose. All seeds, or it waits."""
    plain = {
        (key["people"], key["plain"], key["seed"]): result["candidates"][0]
        for key, result in found
        if key["device"] == NONE
    }
    grouped: dict[str, list[dict[str, Any]]] = {}
    for key, result in found:
        alone = plain.get((key["people"], key["plain"] + key["recorded"], key["seed"]))
        if alone is None:
            continue
        chosen = min([alone, *result["candidates"]], key=lambda c: float(c["validation_nats"]))
        cell = {name: value for name, value in key.items() if name != "seed"}
        grouped.setdefault(str(cell), []).append({"cell": cell, "chosen": chosen, "facts": result["facts"]})
    return [
        {
            **group[0]["cell"],
            "losses": tuple(float(one["chosen"]["kl"]) for one in group),
            "known": tuple(float(one["chosen"]["kl_known"]) for one in group),
            "strengths": " ".join(f"{one['chosen']['strength']:g}" for one in group),
            "facts": group[0]["facts"],
        }
        for group in grouped.values()
        if len(group) == n_seeds
    ]


def is_fitted(cell: Mapping[str, Any]) -> bool:
    """Neither a control nor a variation nor a mixture."""
    return not {"control", "k", "team"} & cell.keys() and not (cell["plain"] and cell["recorded"])


def point_of(cell: Mapping[str, Any]) -> Point:
    """As the surface takes it."""
    return Point(
        device=cell["device"],
        plain=cell["plain"],
        recorded=cell["recorded"],
        people=cell["people"],
        losses=cell["losses"],
    )


def told(cell: Mapping[str, Any]) -> str:
    """A cell in words: "surface, k=6, -10 dB, 64 recorded of 4 people"."""
    words = [cell.get("control", ""), cell["device"]]
    name = " ".join(word for word in words if word)
    if "team" in cell:
        name = ", ".join(f"{device} on {n}" for device, n in cell["team"].items())
    if "k" in cell:
        name += f", k={cell['k']}, {cell['snr_db']:g} dB"
    return f"{name}, N={cell['recorded'] or cell['plain']}, {_people(cell['people'])}"


def _people(n: int) -> str:
    return "1 person" if n == 1 else f"{n} people"


def _rates(settings: Settings, cells: Sequence[Mapping[str, Any]]) -> list[Row]:
    """M as measured: of every cell whose sequences are all recorded, on the curve of as many people."""
    rows: list[Row] = []
    for cell in cells:
        curve = {c["plain"]: c["losses"] for c in cells if c["device"] == NONE and c["people"] == cell["people"]}
        if cell["device"] == NONE or cell["plain"] or len(curve) < 2:
            continue
        facts = cell["facts"]
        row = {"what": told(cell), "device": cell["device"], "control": cell.get("control", "")}
        row |= {"recorded": cell["recorded"], "people": cell["people"]}
        if cell["device"] != MIXED:
            as_set = settings.devices[cell["device"]]
            snr_db = facts.get("snr_db") if as_set.kind == "spikes" else cell.get("snr_db", as_set.snr_db)
            row |= {"k": facts.get("n_channels"), "snr_db": snr_db}
            row |= {"varied": "k" in cell}
            row |= {name: facts.get(name) for name in ("k_over_d", "k_over_participation", "capacity_bits")}
        row |= exchange_rate(curve, cell["losses"], cell["recorded"]).cells("M")
        rows.append(row | mean_of(cell["losses"]).cells("kl") | {"strengths": cell["strengths"]})
    return rows


def _fit_rows(cells: Sequence[Mapping[str, Any]], surface: Surface) -> list[Row]:
    rows: list[Row] = []
    for cell in cells:
        if {"control", "k"} & cell.keys():
            continue
        row = {name: cell[name] for name in ("device", "plain", "recorded", "people")} | {"fitted": is_fitted(cell)}
        if team := cell.get("team"):
            row["device"] = told(cell).split(", N=")[0]
            shares = {device: cell["recorded"] * n / cell["people"] for device, n in team.items()}
            said = float(surface.loss_at(*surface.of_team(cell["plain"], shares, team)))
        else:
            said = float(surface.loss(cell["device"], cell["plain"], cell["recorded"], cell["people"]))
        rows.append(
            row | mean_of(cell["losses"]).cells("kl") | {"surface": said, "known": mean_of(cell["known"]).value}
        )
    return rows


def _numbers(found: Fit) -> list[Row]:
    rows: list[Row] = [{"number": name} | found.estimate(_number, name).cells("value") for name in HEAD]
    for device in found.surface.devices:
        for i, name in enumerate((f"M at {found.surface.typical:.0f} sequences", "reach")):
            value = found.estimate(_number_of_device, device, i)
            rows.append({"number": f"{device}: {name}"} | value.cells("value"))
    return rows


def _frontier(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
    """The least loss per budget, device by device."""
    rows: list[Row] = []
    for device in (NONE, *found.surface.devices):
        for budget in settings.budgets:
            bought = best(found.surface, prices, reach, budget, devices=[device])
            if bought is None:
                continue
            loss = found.estimate(_least, prices, reach, budget, [device])
            rows.append({"device": device, "budget": budget} | loss.cells("loss") | _bought(settings, bought))
    return rows


def _portfolios(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
    names = [NONE, *found.surface.devices]
    rows: list[Row] = []
    for budget in settings.budgets:
        bought = best(found.surface, prices, reach, budget, devices=names)
        if bought is None:
            continue
        others = [best(one, prices, reach, budget, devices=names) for one in found.drawn]
        same = sum(one is not None and one.device == bought.device for one in others) / len(others)
        numbers = [one.people for one in others if one is not None]
        row = {"budget": budget, "device": bought.device, "share": same} | _bought(settings, bought)
        row |= {"people_low": min(numbers, default=None), "people_high": max(numbers, default=None)}
        loss = found.estimate(_least, prices, reach, budget, names)
        rows.append(row | loss.cells("loss"))
    return rows


def _mixed(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
    """Per budget the best portfolio of two devices, and what it gains on the best of one."""
    names = [NONE, *found.surface.devices]
    rows: list[Row] = []
    for budget in settings.budgets:
        bought = best_mixed(found.surface, prices, reach, budget, devices=names)
        gained = found.estimate(_gained_by_mixing, prices, reach, budget, names)
        if bought is None or math.isnan(gained.value):
            continue
        hours = settings.costs.sequence_hours
        row = {"budget": budget, "team": bought.team, "plain_hours": bought.plain * hours}
        row |= {"recorded_hours": ", ".join(f"{device} {n * hours:.0f}" for device, n in bought.recorded.items())}
        loss = found.estimate(_least_mixed, prices, reach, budget, names)
        row |= {"price": bought.price} | loss.cells("loss") | gained.cells("gained")
        rows.append(row | {"pays": "open" if abs(gained.value) < ROUNDING else _verdict(gained, 0.0)})
    return rows


def _least_mixed(surface: Surface, prices: Prices, reach: Reach, budget: float, devices: Sequence[str]) -> float:
    bought = best_mixed(surface, prices, reach, budget, devices=devices)
    return math.nan if bought is None else bought.loss


def _gained_by_mixing(surface: Surface, prices: Prices, reach: Reach, budget: float, devices: Sequence[str]) -> float:
    one = _least(surface, prices, reach, budget, devices)
    return one - _least_mixed(surface, prices, reach, budget, devices)


def _bought(settings: Settings, bought: Portfolio) -> dict[str, Any]:
    hours = settings.costs.sequence_hours
    return {
        "people": bought.people,
        "plain_hours": bought.plain * hours,
        "recorded_hours": bought.recorded * hours,
        "price": bought.price,
        "at_the_edge": bought.at_the_edge,
    }


def _least(surface: Surface, prices: Prices, reach: Reach, budget: float, devices: Sequence[str]) -> float:
    return _loss(best(surface, prices, reach, budget, devices=devices))


def _gained(surface: Surface, prices: Prices, reach: Reach, budget: float, device: str, people: int) -> float:
    """Of the best without any device (of so many people, 0 for any), by the device."""
    before = _loss(best(surface, prices, reach, budget, devices=[NONE], people=people))
    return before - _least(surface, prices, reach, budget, [device])


def _number(surface: Surface, name: str) -> float:
    return float(getattr(surface, name))


def _number_of_device(surface: Surface, device: str, place: int) -> float:
    return surface.devices[device][place]


def _rate(surface: Surface, device: str, recorded: float) -> float:
    return float(surface.rate(device, recorded))


def _plain_for(surface: Surface, device: str, recorded: float, loss: float, people: int) -> float:
    """Plain sequences that reach a loss beside so many recorded ones; negative where none are needed."""
    return surface.needed(loss, people) - float(surface.rate(device, recorded)) * recorded


def _loss(bought: Portfolio | None) -> float:
    return math.nan if bought is None else bought.loss


def _pays(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
    """Per budget, in nats: what more people gain on one alone, and what each device gains on the best without any."""
    rows: list[Row] = []
    for what, device, people in (
        ("more people instead of one", NONE, 1),
        *((f"{name} instead of no device", name, 0) for name in found.surface.devices),
    ):
        for budget in settings.budgets:
            gained = found.estimate(_gained, prices, reach, budget, device, people)
            if not math.isnan(gained.value):
                rows.append({"what": what, "device": device, "budget": budget} | gained.cells("gained"))
    return rows


def _surcharges(settings: Settings, found: Fit, prices: Prices) -> list[Row]:
    """Per device: M by the surface, the surcharge on an hour at which it breaks even (M - 1), and that as assumed."""
    rows: list[Row] = []
    for device in found.surface.devices:
        for n in settings.recorded:
            rate = found.estimate(_rate, device, n)
            plain = prices.per_sequence(NONE, recorded=False)
            hour = prices.per_sequence(device, recorded=True) / plain - 1
            person = (prices.per_person(device) - prices.per_person(NONE)) / (n * plain)
            row = {"what": f"{device}, {n} recorded", "device": device, "recorded": n} | rate.cells("M")
            row |= {"break_even": rate.value - 1, "surcharge_hours": hour, "surcharge_one_person": hour + person}
            rows.append(row | {"pays": _verdict(rate, 1 + hour + person)})
    return rows


def _verdict(rate: Estimate, price: float) -> str:
    return "yes" if rate.low > price else "no" if rate.high < price else "open"


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


def iso_rows(settings: Settings, found: Fit, loss: float, people: int) -> list[Row]:
    """Plain hours that reach a loss beside so many recorded hours, per device; those that need none end there."""
    hours = settings.costs.sequence_hours
    rows: list[Row] = []
    for device in found.surface.devices:
        for n in (0.0, *np.geomspace(min(settings.recorded), max(settings.recorded), ISO_STEPS)):
            value = found.estimate(_plain_for, device, float(n), loss, people).times(hours)
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


def _plots(
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
        {"what": f"{cell['device']}, {_people(cell['people'])}", "n": cell["plain"] or cell["recorded"]}
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
