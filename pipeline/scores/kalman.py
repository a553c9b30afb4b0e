"""A linear dynamical system as a baseline: inputs -> Kalman filter over a hidden state -> a line to every target.

    state'  = A state + noise (Q)            input = C state + noise (R)          target = D state + offset

A, C, Q, R are fitted by expectation maximisation (Ghahramani and Hinton 1996), started at the principal components of
the inputs; D by ridge regression on the filtered state. The number of hidden dimensions and the penalty are chosen on
validation time. It sees the inputs that the network sees, equally late, and nothing of the future. Where the inputs
end, the state goes on by A alone: a forecast.

Shapes: N bins, D inputs, L hidden dimensions, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Split, Windows
from neuroloom.pipeline.scores.baselines import Linear, Predicted, best_linear

Matrix = NDArray[np.float64]

SIZES = (4, 8, 16)
ALPHAS = tuple(float(a) for a in np.geomspace(1e-1, 1e4, 6))
N_ROUNDS = 8
MOST_BINS = 6000  # of training time that expectation maximisation is run on
RUN_UP_BINS = 100  # before what is predicted: the filter must find the state
LEAST_NOISE = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """A (L, L), C (D, L), Q (L, L), R (D,) of standardised inputs; the gain K (L, D) that the filter settles at."""

    a: Matrix
    c: Matrix
    q: Matrix
    r: Matrix

    def gains(self) -> tuple[Matrix, Matrix]:
        """The settled gain (L, D), and the settled variance of the state before an input is seen (L, L)."""
        size = len(self.a)
        variance, gain = np.eye(size), np.zeros((size, len(self.r)))
        for _ in range(500):
            gain = _gain(variance, self.c, self.r)
            seen = variance - gain @ self.c @ variance
            after = self.a @ seen @ self.a.T + self.q
            settled = np.abs(after - variance).max() < 1e-10 * max(1.0, np.abs(after).max())
            variance = (after + after.T) / 2
            if settled:
                break
        return gain, variance

    def filtered(self, inputs_ND: Matrix, gain: Matrix) -> Matrix:
        """The state at each bin, given all inputs up to and including it, (N, L)."""
        kept, added = self.a - gain @ self.c @ self.a, inputs_ND @ gain.T
        states, state = np.empty((len(inputs_ND), len(self.a))), np.zeros(len(self.a))
        for t, new in enumerate(added):
            state = kept @ state + new
            states[t] = state
        return states


@dataclass(frozen=True, kw_only=True, eq=False)
class KalmanBaseline:
    """Per session its system, and per port a line from the state to the target."""

    systems: Mapping[str, System]
    maps: Mapping[str, Mapping[str, Linear]]
    name: str = "kalman"

    def predict(self, split: Split) -> Predicted:
        """Every window of the split; the filter begins before each."""
        return self._said(split, 0)

    def forecast(self, split: Split, n_bins: int) -> Predicted:
        """As `predict`, but the last `n_bins` of each window without any input."""
        return self._said(split, n_bins)

    def _said(self, split: Split, n_hidden: int) -> Predicted:
        found: Predicted = {}
        for session, system in self.systems.items():
            gain, _ = system.gains()
            states = [self._window(split, session, system, gain, start, n_hidden) for start in split.tiles(session)]
            together = np.concatenate(states)
            found[session] = {port: line(together) for port, line in self.maps[session].items()}
        return found

    def _window(self, split: Split, session: str, system: System, gain: Matrix, start: int, n_hidden: int) -> Matrix:
        length = split.config.n_bins
        inputs = _inputs(split.sessions[session], start - RUN_UP_BINS, start + length - n_hidden)
        states = list(system.filtered(inputs, gain)[RUN_UP_BINS:])
        for _ in range(n_hidden):
            states.append(system.a @ states[-1])
        return np.stack(states)


def kalman_baseline(data: Windows, *, sizes: Sequence[int] = SIZES) -> KalmanBaseline:
    """A system per session, with the number of hidden dimensions that predicts best on validation time.

    sizes: to choose among; more than there are inputs is as many. Raises ValueError for none, or one below 1.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes are {tuple(sizes)}; numbers of hidden dimensions, each 1 or more, are wanted")
    systems: dict[str, System] = {}
    maps: dict[str, dict[str, Linear]] = {}
    for session, one in data.sessions.items():
        tried = [_fitted(one, size) for size in sorted({min(size, _n_inputs(one)) for size in sizes})]
        systems[session], maps[session], _ = min(tried, key=lambda found: found[2])
    return KalmanBaseline(systems=systems, maps=maps)


def _fitted(data: SessionData, size: int) -> tuple[System, dict[str, Linear], float]:
    """A system, its readouts, and their loss on validation time, relative to each port's mean."""
    system = fit_system(_training(data), size)
    gain, _ = system.gains()
    maps, total = {}, 0.0
    for port in data.target_names:
        maps[port], loss = best_linear(data, port, partial(_states, data, system, gain), ALPHAS)
        total += loss
    return system, maps, total


def fit_system(inputs_ND: Matrix, size: int, *, n_rounds: int = N_ROUNDS) -> System:
    """Expectation maximisation on one stretch of standardised inputs."""
    values, vectors = np.linalg.eigh(np.cov(inputs_ND.T).reshape(inputs_ND.shape[1], -1))
    c: Matrix = (vectors[:, ::-1][:, :size] * np.sqrt(np.maximum(values[::-1][:size], LEAST_NOISE))).astype(np.float64)
    start: Matrix = np.linalg.lstsq(c, inputs_ND.T, rcond=None)[0].T.astype(np.float64)
    a: Matrix = np.linalg.lstsq(start[:-1], start[1:], rcond=None)[0].T.astype(np.float64)
    q = np.cov((start[1:] - start[:-1] @ a.T).T).reshape(size, size) + LEAST_NOISE * np.eye(size)
    r = np.maximum((inputs_ND - start @ c.T).var(axis=0), LEAST_NOISE)
    system = System(a=a, c=c, q=q, r=r)
    for _ in range(n_rounds):
        system = _improved(system, inputs_ND)
    return system


def _improved(system: System, inputs: Matrix) -> System:
    """One round, with the variances at which filter and smoother settle (exact but for the ends of the stretch)."""
    gain, before = system.gains()
    states = system.filtered(inputs, gain)
    seen = before - gain @ system.c @ before
    back = seen @ system.a.T @ np.linalg.inv(before)
    smooth, variance = _smoothed(states, system, back, seen, before)
    cross = back @ variance  # covariance of a state with the next
    n = len(inputs)
    now, then = smooth[:-1], smooth[1:]
    s_before = now.T @ now + (n - 1) * variance
    s_after, s_cross = then.T @ then + (n - 1) * variance, then.T @ now + (n - 1) * cross.T
    a: Matrix = np.linalg.solve(s_before.T, s_cross.T).T.astype(np.float64)
    q = (s_after - a @ s_cross.T) / (n - 1)
    s_all = smooth.T @ smooth + n * variance
    c: Matrix = np.linalg.solve(s_all.T, (inputs.T @ smooth).T).T.astype(np.float64)
    r = (inputs**2).mean(axis=0) - ((inputs.T @ smooth) * c).sum(axis=1) / n
    size = len(a)
    return System(a=a, c=c, q=(q + q.T) / 2 + 1e-8 * np.eye(size), r=np.maximum(r, LEAST_NOISE))


def _smoothed(states: Matrix, system: System, back: Matrix, seen: Matrix, before: Matrix) -> tuple[Matrix, Matrix]:
    """Rauch, Tung and Striebel: the states given all inputs, (N, L), and their settled variance (L, L)."""
    smooth = states.copy()
    for t in range(len(states) - 2, -1, -1):
        smooth[t] = states[t] + back @ (smooth[t + 1] - system.a @ states[t])
    variance = seen.copy()
    for _ in range(500):
        new = seen + back @ (variance - before) @ back.T
        settled = np.abs(new - variance).max() < 1e-10
        variance = (new + new.T) / 2
        if settled:
            break
    return smooth, variance


def _gain(variance: Matrix, c: Matrix, r: Matrix) -> Matrix:
    """V C' (C V C' + R)^-1 by way of L x L alone (Woodbury)."""
    scaled = c / r[:, None]
    return np.asarray(np.linalg.solve(np.linalg.inv(variance) + c.T @ scaled, scaled.T))


def _n_inputs(data: SessionData) -> int:
    return sum(data.features[name].port.n_channels for name in data.input_names)


def _inputs(data: SessionData, first: int, last: int) -> Matrix:
    """All inputs, standardised, (N, D); unknown ones are 0, the mean."""
    values = [data.inputs_at(name, first, last, scaled=True)[0] for name in data.input_names]
    return np.concatenate(values, axis=1).astype(np.float64)


def _training(data: SessionData) -> Matrix:
    """The longest training blocks, up to so many bins, (N, D)."""
    parts, n = [], 0
    for first, last in sorted(data.blocks["train"], key=lambda block: block[0] - block[1]):
        parts.append(_inputs(data, first, min(last, first + MOST_BINS - n)))
        n += len(parts[-1])
        if n >= MOST_BINS:
            break
    return np.concatenate(parts)


def _states(data: SessionData, system: System, gain: Matrix, first: int, last: int) -> Matrix:
    return system.filtered(_inputs(data, first - RUN_UP_BINS, last), gain)[RUN_UP_BINS:]
