"""An empty store; and a small session with a known truth: a hidden state turns, and everything recorded follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neuroloom.ingest import Intervals, Segment, Session, Signal, Timebase, Units
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.store import Store

BIN_S = 0.02


@dataclass(frozen=True)
class Simulated:
    session: Session
    rates: NDArray[np.float64]  # expected spikes per bin, (T, N)


def _latents(n_bins: int, rng: np.random.Generator, *, nonlinear: bool) -> NDArray[np.float64]:
    """(T, 4): two turning pairs driven by noise, or a chaotic pair of states squashed at each step."""
    turn = np.zeros((4, 4))
    for i, angle in ((0, 0.15), (2, 0.06)):
        turn[i : i + 2, i : i + 2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    state, found = rng.standard_normal(4), np.empty((n_bins, 4))
    for t in range(n_bins):
        if nonlinear:
            state = np.tanh(1.6 * turn @ state) + 0.6 * state[[2, 3, 0, 1]] * state[0] + 0.1 * rng.standard_normal(4)
            state = np.clip(state, -2, 2)
        else:
            state = 0.98 * turn @ state + 0.2 * rng.standard_normal(4)
        found[t] = state
    return found


def simulate(
    *, duration_s: float = 120, n_units: int = 12, seed: int = 0, nonlinear: bool = False, subject: str = "01"
) -> Simulated:
    rng = np.random.default_rng(seed)
    n_bins = round(duration_s / BIN_S)
    z = _latents(n_bins, rng, nonlinear=nonlinear)
    z = (z - z.mean(0)) / z.std(0)
    rates = np.exp(np.log(0.15) + z @ rng.standard_normal((4, n_units)) * 0.6)
    spikes = rng.poisson(rates)
    trains = []
    for unit in range(n_units):
        bins = np.repeat(np.arange(n_bins), spikes[:, unit])
        trains.append(np.sort((bins + rng.uniform(0.01, 0.99, bins.size)) * BIN_S))
    areas = tuple("V1" if i < n_units // 2 else "M1" for i in range(n_units))
    units = Units(
        name="units",
        unit_names=tuple(f"u{i}" for i in range(n_units)),
        spike_times_s=tuple(trains),
        table={"area": areas},
    )
    fine = np.repeat(z, 4, axis=0)
    eeg = fine @ rng.standard_normal((4, 3)) + rng.standard_normal((len(fine), 3))
    gaze = z @ rng.standard_normal((4, 2)) + 0.3 * rng.standard_normal((n_bins, 2))
    starts_s = np.arange(0, duration_s - 1, 1.0)
    ends = (starts_s / BIN_S).astype(int) + 49
    trials = Intervals(
        name="trials",
        modality="trials",
        bounds_s=np.stack([starts_s, starts_s + 1], 1),
        labels=("trial",) * len(starts_s),
        table={"choice": tuple("right" if z[e, 2] > 0 else "left" for e in ends)},
    )
    streams = (units, _signal("eeg", eeg, 200.0), _signal("gaze", gaze, 50.0), trials)
    return Simulated(session=Session(subject=subject, clock="eeg", streams=streams), rates=rates)


def turn_state(
    *,
    duration_s: float = 40,
    seed: int = 0,
    n_lfp: int = 6,
    mixing: NDArray[np.float64] | None = None,
    aim: float = 0.0,
    session: str = "01",
    day: int | None = None,
) -> Session:
    """A light drives a slow turning state of two numbers; a hand follows one direction of it, an LFP mixes both.

    mixing: (2, n_lfp), where the electrodes are. aim: the direction that the hand follows, radians.
    """
    rng = np.random.default_rng(seed)
    n_bins = round(duration_s / BIN_S)
    light = np.repeat(rng.standard_normal((n_bins // 5 + 1, 2)), 5, axis=0)[:n_bins]
    turn = 0.96 * np.array([[np.cos(0.12), -np.sin(0.12)], [np.sin(0.12), np.cos(0.12)]])
    state = np.zeros((n_bins, 2))
    for t in range(1, n_bins):
        state[t] = turn @ state[t - 1] + light[t] * [0.3, 0.15]
    state /= state.std(axis=0)
    hand = np.tanh(1.5 * state @ np.array([[np.cos(aim)], [np.sin(aim)]]))
    mixing = np.random.default_rng(99).standard_normal((2, n_lfp)) if mixing is None else mixing
    lfp = state @ mixing + 0.5 * rng.standard_normal((n_bins, n_lfp))
    streams = (
        _signal("position", light, 50.0, name="light"),
        _signal("behaviour", hand + 0.05 * rng.standard_normal(hand.shape), 50.0, name="hand"),
        _signal("lfp", lfp, 50.0),
    )
    start = None if day is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Session(subject="01", session=session, clock="rig", streams=streams, start=start)


def _signal(modality: str, samples: NDArray[np.float64], rate_hz: float, name: str = "") -> Signal:
    n_channels = samples.shape[1]
    return Signal(
        name=name or modality,
        modality=modality,
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=rate_hz, n_samples=len(samples))),),
        channel_names=tuple(f"{modality}{i}" for i in range(n_channels)),
        unit="a.u.",
        gain=np.ones(n_channels),
        offset=np.zeros(n_channels),
    )


@pytest.fixture(scope="session")
def simulated() -> Callable[..., Simulated]:
    """`simulate(duration_s=, n_units=, seed=, nonlinear=, subject=)`."""
    return simulate


@pytest.fixture(scope="session")
def turning() -> Callable[..., Session]:
    """`turn_state(duration_s=, seed=, n_lfp=, mixing=, aim=, session=, day=)`."""
    return turn_state


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store").create()


@pytest.fixture
def catalog(store: Store) -> Iterator[Catalog]:
    """The store's catalog, closed at the end."""
    catalog = Catalog.of(store)
    yield catalog
    catalog.close()
