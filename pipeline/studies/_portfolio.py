"""What a budget buys: people, plain hours and recorded hours, on a fitted surface.

    price = people who have to be found * (recruiting + device + risk) + hours * (wage + device's hour)

People drop out: so many more have to be found and equipped, and those who leave are paid for half of their hours.
Nothing is bought that was not measured: sequences, recorded sequences and people stay within the grid, and what more
money would give is not said. Currency and hours are those of the settings; they are assumptions, not findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from neuroloom.pipeline.config import Config
from neuroloom.pipeline.studies._surface import NONE, Surface

Doubles = NDArray[np.float64]
STEPS = 25  # amounts of recorded sequences that are tried


class Costs(Config):
    """Of anybody who takes part. sequence_hours: how long one sequence of the study is held to take in life.

    person_hour: wage and room. recruiting: per person who is found. dropout: share who leave before the end.
    """

    person_hour: float = Field(default=30.0, ge=0)
    recruiting: float = Field(default=50.0, ge=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    sequence_hours: float = Field(default=1.0, gt=0)


class DeviceCosts(Config):
    """Beside those. hour: per recorded hour. person: per person (caps, surgery). risk: what harm to them is weighed as,
    in money. dropout: share of those equipped who leave before the end.
    """

    hour: float = Field(default=0.0, ge=0)
    person: float = Field(default=0.0, ge=0)
    risk: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


NOTHING = DeviceCosts()


@dataclass(frozen=True, kw_only=True)
class Prices:
    """devices: costs by name."""

    costs: Costs
    devices: Mapping[str, DeviceCosts]

    def of(self, device: str) -> DeviceCosts:
        return NOTHING if device == NONE else self.devices[device]

    def per_person(self, device: str) -> float:
        """To have one person who stays."""
        own = self.of(device)
        return (self.costs.recruiting + own.person + own.risk) / self._stay(device)

    def per_sequence(self, device: str, *, recorded: bool) -> float:
        """To have one sequence of somebody who stays."""
        hour = self.costs.person_hour + (self.of(device).hour if recorded else 0.0)
        return hour * self.costs.sequence_hours * (1 + 0.5 * (1 / self._stay(device) - 1))

    def total(self, device: str, people: float, plain: float, recorded: float) -> float:
        """Of a portfolio."""
        hours = plain * self.per_sequence(device, recorded=False) + recorded * self.per_sequence(device, recorded=True)
        return people * self.per_person(device) + hours

    def _stay(self, device: str) -> float:
        return (1 - self.costs.dropout) * (1 - self.of(device).dropout)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What was measured: most and least sequences, sequences with electrodes, and people."""

    least: float
    most: float
    least_recorded: float
    most_recorded: float
    most_people: int


@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """What is bought, and the loss it comes to. at_the_edge: more money would go beyond what was measured."""

    device: str
    people: int
    plain: float
    recorded: float
    loss: float
    price: float
    at_the_edge: bool


def best(
    surface: Surface, prices: Prices, reach: Reach, budget: float, *, devices: Sequence[str], people: int = 0
) -> Portfolio | None:
    """The least loss that a budget buys with one of the devices (NONE is one). None where it buys nothing at all.

    people: so many and no other number; 0 for any.
    """
    found = [
        bought
        for device in devices
        for number in ([people] if people else range(1, reach.most_people + 1))
        if (bought := _with(surface, prices, reach, budget, device, number)) is not None
    ]
    return min(found, key=lambda one: (round(one.loss, 9), one.price)) if found else None


def _with(surface: Surface, prices: Prices, reach: Reach, budget: float, device: str, people: int) -> Portfolio | None:
    left = budget - people * prices.per_person(device)
    one_plain, one_recorded = (max(prices.per_sequence(device, recorded=r), 1e-9) for r in (False, True))
    recorded = np.zeros(1)
    if device != NONE:
        recorded = np.geomspace(reach.least_recorded, reach.most_recorded, STEPS)
    plain = (left - recorded * one_recorded) / one_plain
    possible = (plain >= 0) & (np.minimum(plain, reach.most) + recorded >= reach.least)
    if left <= 0 or not possible.any():
        return None
    recorded, plain = recorded[possible], np.minimum(plain[possible], reach.most)
    effective = surface.effective(device, plain, recorded)
    # What would count as more than the longest plain curve is counted as its end.
    spare = np.maximum(effective - reach.most, 0)
    plain = np.maximum(plain - spare, 0)
    loss = surface.loss_at(np.minimum(surface.effective(device, plain, recorded), reach.most), people)
    price = people * prices.per_person(device) + plain * one_plain + recorded * one_recorded
    i = int(np.lexsort((price, np.round(loss, 9)))[0])
    return Portfolio(
        device=device,
        people=people,
        plain=float(plain[i]),
        recorded=float(recorded[i]),
        loss=float(loss[i]),
        price=float(price[i]),
        at_the_edge=bool(spare[i] > 0 or plain[i] >= reach.most),
    )


@dataclass(frozen=True, kw_only=True)
class Mixed:
    """What is bought where some people have one device and others another, or none. recorded: sequences by device."""

    people: Mapping[str, int]
    plain: float
    recorded: Mapping[str, float]
    loss: float
    price: float

    @property
    def team(self) -> str:
        """Who has what: "eeg-like on 3, surface on 1"."""
        return ", ".join(f"{device} on {n}" for device, n in self.people.items())


def best_mixed(
    surface: Surface, prices: Prices, reach: Reach, budget: float, *, devices: Sequence[str]
) -> Mixed | None:
    """The least loss that a budget buys with two of the devices (NONE is one), each on some people. None for nothing.

    What both record adds up, and who gives little counts as less than a person (`Surface.of_team`); each device stays
    within the recorded sequences that were measured. Plain hours are paid as those of whoever is cheaper by the hour.
    """
    found = [
        bought
        for pair in combinations(devices, 2)
        for people in _teams(pair, reach.most_people)
        if (bought := _with_team(surface, prices, reach, budget, people)) is not None
    ]
    return min(found, key=lambda one: (round(one.loss, 9), one.price)) if found else None


def _teams(pair: tuple[str, str], most: int) -> Iterator[dict[str, int]]:
    for one in range(1, most):
        for other in range(1, most - one + 1):
            yield {pair[0]: one, pair[1]: other}


def _with_team(
    surface: Surface, prices: Prices, reach: Reach, budget: float, people: Mapping[str, int]
) -> Mixed | None:
    left = budget - sum(n * prices.per_person(device) for device, n in people.items())
    if left <= 0:
        return None
    amounts = [
        np.zeros(1) if device == NONE else np.geomspace(reach.least_recorded, reach.most_recorded, STEPS)
        for device in people
    ]
    grid = dict(zip(people, (each.ravel() for each in np.meshgrid(*amounts)), strict=True))
    hour = max(min(prices.per_sequence(device, recorded=False) for device in people), 1e-9)
    spent = sum((prices.per_sequence(d, recorded=True) * n for d, n in grid.items()), start=np.zeros(1))
    counted, _ = surface.of_team(0.0, grid, people)
    plain = np.minimum(np.minimum((left - spent) / hour, reach.most), np.maximum(reach.most - counted, 0))
    possible = (left >= spent) & (plain + sum(grid.values()) >= reach.least)
    if not possible.any():
        return None
    plain, grid = plain[possible], {device: n[possible] for device, n in grid.items()}
    effective, number = surface.of_team(plain, grid, people)
    loss = surface.loss_at(np.minimum(effective, reach.most), number)
    price = budget - left + spent[possible] + plain * hour
    i = int(np.lexsort((price, np.round(loss, 9)))[0])
    return Mixed(
        people=dict(people),
        plain=float(plain[i]),
        recorded={device: float(n[i]) for device, n in grid.items() if device != NONE},
        loss=float(loss[i]),
        price=float(price[i]),
    )
