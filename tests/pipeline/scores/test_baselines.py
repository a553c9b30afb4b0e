from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from neuroloom.pipeline.runs.windowing import Windows, windows
from neuroloom.pipeline.scores.baselines import glm_baseline, lagged, mean_baseline, ridge_baseline

Simulate = Callable[..., Any]


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated(duration_s=90, n_units=6).session], inputs=["units", "gaze"])


def truth(data: Windows, port: str) -> np.ndarray:
    (one,) = data.sessions.values()
    return np.concatenate([one.targets_at(port, s, s + 100)[0] for s in data.held_out.tiles(one.id)])


def test_the_mean_is_that_of_training_time(data: Windows) -> None:
    (one,) = data.sessions.values()
    counts = np.concatenate([one.features["units"].values[a:b] for a, b in one.blocks["train"]])
    found = mean_baseline(data).predict(data.held_out)[one.id]["units"]
    np.testing.assert_allclose(found[0], counts.mean(axis=0), rtol=1e-5)
    assert found.shape == (data.held_out.n_windows * 100, 6)


def test_lagged_inputs_stand_side_by_side_from_new_to_old(data: Windows) -> None:
    (one,) = data.sessions.values()
    design = lagged(one, 500, 510, 3)
    gaze = one.scalers["gaze"].scaled(one.features["gaze"].values)
    assert design.shape == (10, 3 * 8)
    for lag in range(3):
        np.testing.assert_allclose(design[0, 8 * lag + 6 : 8 * lag + 8], gaze[499 - lag], rtol=1e-5)


def test_ridge_finds_a_target_that_is_a_sum_of_lagged_inputs(simulated: Simulate) -> None:
    data = windows([simulated(duration_s=60, n_units=3).session], inputs=["gaze"], targets=["eeg"])
    (one,) = data.sessions.values()
    gaze, eeg = one.features["gaze"].values, one.features["eeg"]
    eeg.values[5:, 0] = 2 * gaze[4:-1, 0] - gaze[1:-4, 1]
    eeg.valid[:] = np.arange(len(gaze))[:, None] >= 5
    found = ridge_baseline(data, n_lags=5).predict(data.held_out)[one.id]["eeg"]
    np.testing.assert_allclose(found[:, 0], truth(data, "eeg")[:, 0], atol=0.01)


def test_ridge_never_predicts_a_rate_of_zero(data: Windows) -> None:
    found = ridge_baseline(data).predict(data.held_out)
    assert min(found[session]["units"].min() for session in found) > 0


def test_the_poisson_regression_beats_the_mean_rate(data: Windows) -> None:
    (session,) = data.sessions
    counts = truth(data, "units")

    def nats(rate: np.ndarray) -> float:
        return float((counts * np.log(rate) - rate).sum())

    fitted = glm_baseline(data, n_lags=4).predict(data.held_out)[session]["units"]
    mean = mean_baseline(data).predict(data.held_out)[session]["units"]
    assert nats(fitted) > nats(mean) + 50


def test_masked_targets_do_not_enter_the_fit(simulated: Simulate) -> None:
    clean, dirty = (windows([simulated(duration_s=60, n_units=3).session], inputs=["units"]) for _ in range(2))
    for data in (clean, dirty):
        (one,) = data.sessions.values()
        one.features["gaze"].valid[100:200] = False
    one.features["gaze"].values[100:200] = 1e3
    results = [ridge_baseline(data).predict(data.held_out)[one.id]["gaze"] for data in (clean, dirty)]
    np.testing.assert_array_equal(*results)
