"""The loss as a function of what was collected, fitted to the cells of a grid.

    L = floor + scale * (N_eff + onset)^-power + between / people
    N_eff = plain + gain * recorded^reach

Loss falls as a power of the data towards a floor (Hestness et al. 2017), after an onset during which little is learned
(the form POW4 of learning curves: Viering and Loog 2023), with terms of separate resources added as Hoffmann et al.
2022 do; recorded sequences count as plain ones by a power law of their own, the form
of effective data transferred of Hernandez et al. 2021. Fitted as Hoffmann et al. 2022 fit: a Huber loss of logarithms.
What differs between people is averaged over those who were in the training, so its share falls as 1 / people: the
variance of a mean.

The exchange rate of a device follows: M = gain * recorded^(reach - 1), what one recorded sequence counts in plain ones.
Intervals: the seeds are drawn anew with replacement and the surface is fitted again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.studies._exchange import LEVEL, Estimate

Doubles = NDArray[np.float64]
NONE = "none"
MIXED = "mixed"  # several devices, each on people of its own
HUBER = 0.02  # of the logarithm: two per cent
REACH_WIDTH = 0.3  # how far from 1 the reach of a device goes without good reason
GAIN_WIDTH = 3.0  # the same of the logarithm of its exchange rate
DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class Point:
    """A cell over its seeds. plain, recorded: sequences; losses: one per seed."""

    device: str
    plain: float
    recorded: float
    people: float
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A fitted law. devices: per device its exchange rate at `typical` recorded sequences, and its reach."""

    floor: float
    onset: float
    scale: float
    power: float
    between: float
    typical: float
    devices: Mapping[str, tuple[float, float]]

    def rate(self, device: str, recorded: float | Doubles) -> Doubles:
        """M: plain sequences that one recorded sequence counts as; 1 without a device."""
        if device == NONE:
            return np.ones_like(np.asarray(recorded, dtype=np.float64))
        at_typical, reach = self.devices[device]
        safe = np.maximum(np.asarray(recorded, dtype=np.float64), 1e-9)
        return np.asarray(at_typical * (safe / self.typical) ** (reach - 1))

    def effective(self, device: str, plain: float | Doubles, recorded: float | Doubles) -> Doubles:
        """N_eff, in plain sequences."""
        return np.asarray(plain + self.rate(device, recorded) * recorded)

    def of_team(
        self, plain: float | Doubles, recorded: Mapping[str, float | Doubles], people: Mapping[str, int]
    ) -> tuple[Doubles, Doubles]:
        """N_eff where several devices recorded, each by its own rate, and the people that they count as.

        recorded, people: by device, NONE for people without any, who then give the plain sequences; else all do. Who
        gives little counts little: (sum c)^2 / sum c^2 over what each gives, all of them where all give as much. That
        devices add up is assumed, not fitted.
        """
        number = sum(people.values())
        given = {
            device: np.asarray(self.rate(device, recorded.get(device, 0.0)) * recorded.get(device, 0.0))
            for device in people
        }
        giving = [NONE] if NONE in people else list(people)
        for device in giving:
            given[device] = given[device] + np.asarray(plain) * (people[device] / sum(people[d] for d in giving))
        whole = sum(given.values(), start=np.zeros(()))
        squares = sum((given[device] ** 2 / people[device] for device in people), start=np.zeros(()))
        counted = np.where(squares > 0, whole**2 / np.maximum(squares, 1e-300), number)
        return np.asarray(whole), np.asarray(counted)

    def loss_at(self, effective: float | Doubles, people: float | Doubles) -> Doubles:
        """L of so many effective sequences from so many people."""
        learned = self.scale * (np.asarray(effective) + self.onset) ** -self.power
        return np.asarray(self.floor + learned + self.between / people)

    def loss(self, device: str, plain: float | Doubles, recorded: float | Doubles, people: float) -> Doubles:
        """L."""
        return self.loss_at(self.effective(device, plain, recorded), people)

    def needed(self, loss: float, people: float) -> float:
        """N_eff with which that many people reach a loss; inf where no amount does."""
        left = loss - self.floor - self.between / people
        return float((self.scale / left) ** (1 / self.power)) - self.onset if left > 0 else float("inf")


def fitted(points: Sequence[Point], losses: Sequence[float], start: Surface | None = None) -> Surface:
    """The surface through the points' losses. Raises ValueError where plain data alone are missing."""
    from scipy.optimize import least_squares

    if not any(point.device == NONE for point in points):
        raise ValueError("no cell without a device: there is nothing to compare recordings with")
    form = _Form(points)
    observed = np.log(np.maximum(np.asarray(losses, dtype=np.float64), 1e-6))
    starts = [form.packed(start)] if start is not None else [form.first(losses, power) for power in (0.3, 0.6, 1.0)]

    def apart(packed: Doubles) -> Doubles:
        return np.concatenate([(form.log_loss(packed) - observed) / HUBER, form.far(packed)])

    found = [least_squares(apart, one, loss="huber", bounds=form.bounds(), max_nfev=400) for one in starts]
    return form.unpacked(min(found, key=lambda one: float(one.cost)).x)


HEAD = ("floor", "onset", "scale", "power", "between")


class _Form:
    """Numbers of a surface in a row: logarithms of HEAD, then per device that of its rate, and its reach."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.devices = sorted({p.device for p in points} - {NONE})
        self.plain, self.recorded, self.people = (
            np.array([getattr(p, name) for p in points], dtype=np.float64) for name in ("plain", "recorded", "people")
        )
        known = self.recorded[self.recorded > 0]
        self.typical = float(np.exp(np.log(known).mean())) if len(known) else 1.0
        self.place = np.array([self.devices.index(p.device) if p.device != NONE else -1 for p in points])

    def first(self, losses: Sequence[float], power: float) -> Doubles:
        least = float(min(losses))
        scale = max(float(max(losses)) - least, least) * float(np.min(self.plain + self.recorded)) ** power
        head = np.log([0.5 * least, float(np.min(self.plain + self.recorded)), scale, power, 0.1 * least])
        return np.concatenate([head, np.tile([0.1, 1.0], len(self.devices))])

    def packed(self, surface: Surface) -> Doubles:
        head = np.log([getattr(surface, name) for name in HEAD])
        tail = [[np.log(surface.devices[d][0]), surface.devices[d][1]] for d in self.devices]
        low, high = self.bounds()
        return np.asarray(np.clip(np.concatenate([head, *tail]), low + 1e-6, high - 1e-6))

    def bounds(self) -> tuple[Doubles, Doubles]:
        n = len(self.devices)
        most = np.log(np.max(self.plain + self.recorded))
        low = np.concatenate([[-14.0, -7.0, -8.0, np.log(0.05), -14.0], np.tile([-3.0, 0.0], n)])
        high = np.concatenate([[5.0, most, 16.0, np.log(3.0), 5.0], np.tile([6.0, 2.0], n)])
        return low, high

    def far(self, packed: Doubles) -> Doubles:
        """How far devices are from M = 1 at any amount: a pull so weak that only what the data leave open feels it."""
        devices = packed[len(HEAD) :]
        return np.concatenate([devices[::2] / GAIN_WIDTH, (devices[1::2] - 1) / REACH_WIDTH])

    def log_loss(self, packed: Doubles) -> Doubles:
        floor, onset, scale, power, between = np.exp(packed[: len(HEAD)])
        log_rate, reach = (np.append(packed[len(HEAD) + i :: 2], i)[self.place] for i in (0, 1))
        rate = np.exp(log_rate) * (np.maximum(self.recorded, 1.0) / self.typical) ** (reach - 1)
        effective = self.plain + rate * self.recorded
        return np.asarray(np.log(floor + scale * (effective + onset) ** -power + between / self.people))

    def unpacked(self, packed: Doubles) -> Surface:
        head = {name: float(value) for name, value in zip(HEAD, np.exp(packed[: len(HEAD)]), strict=True)}
        tail = packed[len(HEAD) :].reshape(-1, 2)
        devices = {d: (float(np.exp(tail[i, 0])), float(tail[i, 1])) for i, d in enumerate(self.devices)}
        return Surface(**head, typical=self.typical, devices=devices)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The surface of all seeds, and those of seeds drawn anew."""

    surface: Surface
    drawn: tuple[Surface, ...]

    def estimate(self, statistic: Callable[..., float], *given: Any) -> Estimate:
        """A number read off the surface, statistic(surface, *given), with its interval; NaN where fewer than half of
        the draws have it.
        """
        found = np.array([statistic(one, *given) for one in self.drawn])
        known = found[np.isfinite(found)]
        whole = statistic(self.surface, *given)
        if 2 * len(known) < len(found) or not len(known):
            return Estimate(value=whole, low=float("nan"), high=float("nan"))
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(value=whole, low=float(low), high=float(high))


def fit(points: Sequence[Point], *, seed: int = 0, draws: int = DRAWS) -> Fit:
    """The surface with its bootstrap (Efron 1979) over seeds; one seed gives no width.

    Raises ValueError where the points have different numbers of seeds.
    """
    sizes = {len(point.losses) for point in points}
    if len(sizes) != 1:
        raise ValueError(f"points of {sorted(sizes)} seeds; the same seeds everywhere are wanted")
    losses_PS = np.array([point.losses for point in points])
    n_seeds = losses_PS.shape[1]
    whole = fitted(points, losses_PS.mean(axis=1).tolist())
    rng = np.random.default_rng([seed, 7])
    rows = [rng.integers(0, n_seeds, n_seeds) for _ in range(draws if n_seeds > 1 else 1)]
    drawn = tuple(fitted(points, losses_PS[:, row].mean(axis=1).tolist(), whole) for row in rows)
    return Fit(surface=whole, drawn=drawn)
