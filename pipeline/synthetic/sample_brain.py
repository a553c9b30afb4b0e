"""A synthetic person whose truth is known: four areas decide where a stimulus lies, act, and move the eyes.

    stimulus (left or right) -> V1 answers briefly -> PPC gathers evidence -> M1 presses, FEF moves the gaze

Every area is a small rate circuit with feedback from those above it. Spikes, EEG, gaze and choices all come from the
same states, so a network that is trained on the recordings can be scored against the rates that made them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

AREAS = ("V1", "PPC", "FEF", "M1")
STEP_S = 0.005
DELAY_STEPS = 4  # 20 ms from one area to the next
UNITS_PER_AREA = {"V1": 6, "PPC": 6}


@dataclass(frozen=True, kw_only=True)
class Brain:
    """What happened, on the true clock, which starts at 0 s.

    state_TA: activity of the areas at `STEP_S`, dimensionless.
    rate_TN, unit_areas: firing rates in Hz of N units at `STEP_S`, and the area of each.
    spike_times_s: per unit, shape (S,). gaze_px_T2: gaze at `STEP_S`, pixels.
    stimulus_s, side, choice_s, choice: per trial; side and choice are -1 (left) or 1 (right).
    blinks_s: shape (B, 2).
    """

    duration_s: float
    state_TA: FloatArray
    rate_TN: FloatArray
    unit_areas: tuple[str, ...]
    spike_times_s: tuple[FloatArray, ...]
    gaze_px_T2: FloatArray
    stimulus_s: FloatArray
    side: NDArray[np.int64]
    choice_s: FloatArray
    choice: NDArray[np.int64]
    blinks_s: FloatArray

    def binned_rate(self, bin_s: float, n_bins: int, *, start_s: float = 0.0) -> FloatArray:
        """Expected counts per bin, shape (n_bins, N): the ceiling of what any model can predict.

        start_s: where the first bin begins, on the true clock; outside the recorded life nothing is expected.
        """
        edges = start_s + np.arange(n_bins + 1) * bin_s
        summed = np.vstack([np.zeros(self.rate_TN.shape[1]), np.cumsum(self.rate_TN * STEP_S, axis=0)])
        times = np.arange(summed.shape[0]) * STEP_S
        at_edges = np.stack([np.interp(edges, times, column) for column in summed.T], axis=1)
        return np.diff(at_edges, axis=0)


def live(duration_s: float, seed: int) -> Brain:
    """One stretch of the person's life; the same seed gives the same life."""
    rng = np.random.default_rng(seed)
    n_steps = round(duration_s / STEP_S)
    stimulus_s = _stimulus_times(duration_s, rng)
    side = rng.choice([-1, 1], stimulus_s.size)
    drive = np.zeros(n_steps)
    for at_s, towards in zip(stimulus_s, side, strict=True):
        start = round(at_s / STEP_S)
        drive[start : start + round(0.25 / STEP_S)] = towards * rng.uniform(0.4, 1.0)
    state = _circuit(drive, rng)
    choice_s = stimulus_s + rng.uniform(0.75, 0.95, stimulus_s.size)
    evidence = state[np.round(choice_s / STEP_S).astype(int) - 20, AREAS.index("M1")]
    choice = np.where(evidence + rng.normal(0, 0.08, evidence.size) > 0, 1, -1)
    rate, unit_areas = _rates(state, rng)
    return Brain(
        duration_s=duration_s,
        state_TA=state,
        rate_TN=rate,
        unit_areas=unit_areas,
        spike_times_s=tuple(_spikes(column, rng) for column in rate.T),
        gaze_px_T2=_gaze(n_steps, choice_s, choice, rng),
        stimulus_s=stimulus_s,
        side=side,
        choice_s=choice_s,
        choice=choice,
        blinks_s=_blinks(duration_s, rng),
    )


def _stimulus_times(duration_s: float, rng: np.random.Generator) -> FloatArray:
    times = 2.0 + np.cumsum(rng.uniform(1.8, 2.8, int(duration_s / 1.8)))
    return times[times < duration_s - 2.0]


def _circuit(drive: FloatArray, rng: np.random.Generator) -> FloatArray:
    """States of the areas, shape (T, A); time constants rise along the hierarchy, PPC keeps what it gathered."""
    tau_s = np.array([0.04, 0.25, 0.08, 0.10])
    into = np.array(  # to (row) from (column): V1, PPC, FEF, M1
        [[0.0, 0.25, 0.0, 0.0], [1.6, 1.05, 0.1, 0.2], [0.3, 0.9, 0.2, 0.0], [0.0, 1.3, 0.1, 0.3]]
    )
    within = np.diag(np.diag(into))
    between = into - within
    noise = rng.normal(0, 1, (drive.size, len(AREAS))) * np.array([0.10, 0.05, 0.08, 0.06])
    state = np.zeros((drive.size, len(AREAS)))
    stimulus = np.stack([2.0 * drive, *[np.zeros_like(drive)] * 3], axis=1)
    reset = 1 - 0.5 * (np.abs(drive) > 0)  # a new stimulus loosens what was held
    for t in range(1, drive.size):
        now, then = state[t - 1], state[max(t - DELAY_STEPS, 0)]
        target = np.tanh(reset[t] * (within @ now) + between @ then + stimulus[t])
        state[t] = now + STEP_S / tau_s * (target - now) + np.sqrt(STEP_S / tau_s) * noise[t]
    return state


def _rates(state: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, tuple[str, ...]]:
    """Firing rates in Hz: half of an area's units prefer the right, half the left, with a curve that saturates."""
    columns, areas = [], []
    for area, count in UNITS_PER_AREA.items():
        x = state[:, AREAS.index(area)]
        for k in range(count):
            preferred = 1 if k % 2 else -1
            gain, floor = rng.uniform(2.0, 3.5), rng.uniform(1.0, 3.0)
            columns.append(floor + rng.uniform(25, 45) / (1 + np.exp(-gain * (2 * preferred * x - 0.8))))
            areas.append(area)
    return np.stack(columns, axis=1), tuple(areas)


def _spikes(rate: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An inhomogeneous Poisson train by time rescaling, with 2 ms of refractoriness."""
    cumulative = np.concatenate([[0.0], np.cumsum(rate * STEP_S)])
    events = np.sort(rng.uniform(0, cumulative[-1], rng.poisson(cumulative[-1])))
    times = np.interp(events, cumulative, np.arange(cumulative.size) * STEP_S)
    return np.asarray(times[np.diff(times, prepend=-1.0) > 0.002])


def _gaze(n_steps: int, choice_s: FloatArray, choice: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """Fixation at the centre with slow drift, a saccade to the chosen side, and back after 0.6 s."""
    x = np.zeros(n_steps)
    for at_s, side in zip(choice_s, choice, strict=True):
        start, stop = round((at_s - 0.1) / STEP_S), round((at_s + 0.6) / STEP_S)
        x[start:stop] = 400.0 * side + rng.normal(0, 15)
    smooth = np.exp(-np.arange(8) / 2.0)
    x = np.convolve(x, smooth / smooth.sum())[:n_steps]
    drift = np.cumsum(rng.normal(0, 0.4, (n_steps, 2)), axis=0)
    drift -= np.linspace(0, 1, n_steps)[:, None] * drift[-1]
    return np.stack([960 + x, np.full(n_steps, 540.0)], axis=1) + drift


def _blinks(duration_s: float, rng: np.random.Generator) -> FloatArray:
    starts = np.cumsum(rng.uniform(3, 9, int(duration_s / 3)))
    starts = starts[starts < duration_s - 1]
    return np.stack([starts, starts + rng.uniform(0.1, 0.2, starts.size)], axis=1)
