"""The linear dynamical system that networks are set beside."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neuroloom.pipeline.runs.windowing import Windows, windows
from neuroloom.pipeline.scores.evaluation import evaluate
from neuroloom.pipeline.scores.kalman import System, fit_system, kalman_baseline

Simulate = Callable[..., Any]


def turning(n_bins: int, noise: float) -> tuple[np.ndarray, np.ndarray, System]:
    """States of a slow rotation, what eight noisy sensors see of them, and the system that made both."""
    rng = np.random.default_rng(0)
    a = 0.98 * np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    c = rng.standard_normal((8, 2))
    states = np.zeros((n_bins, 2))
    for t in range(1, n_bins):
        states[t] = a @ states[t - 1] + 0.2 * rng.standard_normal(2)
    seen = states @ c.T + noise * rng.standard_normal((n_bins, 8))
    return states, seen, System(a=a, c=c, q=0.04 * np.eye(2), r=np.full(8, noise**2))


def test_the_filter_is_the_one_that_is_written_in_textbooks() -> None:
    _, seen, system = turning(60, noise=2.0)
    state, variance = np.zeros(2), np.eye(2)
    for y in seen:
        state, variance = system.a @ state, system.a @ variance @ system.a.T + system.q
        gain = variance @ system.c.T @ np.linalg.inv(system.c @ variance @ system.c.T + np.diag(system.r))
        state, variance = state + gain @ (y - system.c @ state), variance - gain @ system.c @ variance
    np.testing.assert_allclose(system.gains()[0], gain, rtol=1e-5)
    np.testing.assert_allclose(system.filtered(seen, gain)[-1], state, rtol=0.02, atol=1e-3)


def test_expectation_maximisation_finds_the_rotation_and_the_noise() -> None:
    _, seen, system = turning(4000, noise=1.0)
    found = fit_system(seen, 2, n_rounds=30)
    wanted = np.linalg.eigvals(system.a)
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(found.a)), np.sort_complex(wanted), atol=0.02)
    assert found.r.mean() == pytest.approx(1.0, rel=0.05)


def test_filtered_states_are_nearer_to_the_truth_than_a_line_from_one_bin() -> None:
    states, seen, system = turning(2000, noise=3.0)
    filtered = system.filtered(seen, system.gains()[0])
    at_once = seen @ np.linalg.pinv(system.c).T
    assert ((filtered - states) ** 2).mean() < 0.5 * ((at_once - states) ** 2).mean()


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    session = simulated(n_units=10).session
    return windows([session], length_s=0.4, inputs=["units"], targets=["gaze", "units"])


def test_it_beats_the_mean_now_and_ahead(data: Windows) -> None:
    found = evaluate(kalman_baseline(data), data.held_out, baselines=("mean",), forward_s=0.04)
    for port, metric in (("gaze", "R2"), ("units", "bits per spike")):
        for ahead in ("", "forward "):
            mean = found.get(port=port, model="mean", metric=ahead + metric)
            assert found.get(port=port, model="kalman", metric=ahead + metric).value > max(0.02, mean.high)


def test_a_forecast_sees_nothing_of_the_hidden_bins(data: Windows) -> None:
    made = kalman_baseline(data, sizes=(4,))
    (one,) = data.sessions.values()
    before = made.forecast(data.held_out, 10)[one.id]["gaze"]
    start = data.held_out.tiles(one.id)[0]
    values = one.features["units"].values
    kept = values[start + 10 - 1 : start + 20].copy()
    values[start + 10 - 1 : start + 20] = 9  # inputs are a bin late: bin 10 sees what was recorded in bin 9
    try:
        assert np.array_equal(made.forecast(data.held_out, 10)[one.id]["gaze"][:20], before[:20])
        assert not np.array_equal(made.predict(data.held_out)[one.id]["gaze"][:20], before[:20])
    finally:
        values[start + 10 - 1 : start + 20] = kept


@pytest.mark.parametrize("sizes", [(), (0,), (4, -1)])
def test_sizes_of_which_no_system_is_made_are_refused(simulated: Simulate, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="numbers of hidden dimensions, each 1 or more, are wanted"):
        kalman_baseline(windows([simulated(duration_s=40).session]), sizes=sizes)
