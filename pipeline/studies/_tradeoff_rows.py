"""The tables of a trade-off study: cells, exchange rates, what budgets buy, whether people or devices pay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._exchange import Estimate, exchange_rate, mean_of
from neuroloom.pipeline.studies._portfolio import Portfolio, Prices, Reach, best, best_mixed
from neuroloom.pipeline.studies._report import Row
from neuroloom.pipeline.studies._surface import HEAD, MIXED, NONE, Fit, Point, Surface

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.tradeoff import Settings

ROUNDING = 1e-6


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
    return f"{name}, N={cell['recorded'] or cell['plain']}, {n_people(cell['people'])}"


def n_people(n: int) -> str:
    return "1 person" if n == 1 else f"{n} people"


def exchange_rows(settings: Settings, cells: Sequence[Mapping[str, Any]]) -> list[Row]:
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


def fitted_rows(cells: Sequence[Mapping[str, Any]], surface: Surface) -> list[Row]:
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


def surface_rows(found: Fit) -> list[Row]:
    rows: list[Row] = [{"number": name} | found.estimate(_number, name).cells("value") for name in HEAD]
    for device in found.surface.devices:
        for i, name in enumerate((f"M at {found.surface.typical:.0f} sequences", "reach")):
            value = found.estimate(_number_of_device, device, i)
            rows.append({"number": f"{device}: {name}"} | value.cells("value"))
    return rows


def frontier_rows(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
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


def portfolio_rows(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
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


def mixed_rows(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
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


def plain_for(surface: Surface, device: str, recorded: float, loss: float, people: int) -> float:
    """Plain sequences that reach a loss beside so many recorded ones; negative where none are needed."""
    return surface.needed(loss, people) - float(surface.rate(device, recorded)) * recorded


def _loss(bought: Portfolio | None) -> float:
    return math.nan if bought is None else bought.loss


def gain_rows(settings: Settings, found: Fit, prices: Prices, reach: Reach) -> list[Row]:
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


def surcharge_rows(settings: Settings, found: Fit, prices: Prices) -> list[Row]:
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
