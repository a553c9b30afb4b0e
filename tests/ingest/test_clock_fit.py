import numpy as np
import pytest

from neuroloom.ingest.clock_fit import evidence_of, fit_clock

HOUR_S = 3600.0


def moments(lag_of, *, n=1800, span_s=HOUR_S, jitter_s=0.5e-3, seed=0):
    rng = np.random.default_rng(seed)
    source_s = np.sort(rng.uniform(0, span_s, n))
    return source_s, lag_of(source_s) + rng.normal(0, jitter_s, n)


def temperature(source_s, ppm=30.0):
    """The rate swings once an hour by 30 ppm either way: 34 ms from peak to peak."""
    turn = 2 * np.pi / HOUR_S
    return 5.0 + ppm * 1e-6 / turn * (1 - np.cos(turn * source_s))


def model_of(fit):
    return "piecewise" if fit.knots else "linear" if fit.drift_ppm else "offset"


def wrong_ms(fit, lag_of, span_s=HOUR_S):
    at_s = np.linspace(0, span_s, 2000)
    return float(np.abs(fit.lag(at_s) - lag_of(at_s)).max() * 1e3)


@pytest.mark.parametrize("seed", range(10))
def test_a_broken_line_wins_where_temperature_bends_the_clock(seed):
    fit = fit_clock(*moments(temperature, seed=seed))
    assert model_of(fit) == "piecewise"
    assert wrong_ms(fit, temperature) < 0.6


@pytest.mark.parametrize("seed", range(10))
def test_a_straight_line_wins_where_the_clock_drifts_evenly(seed):
    fit = fit_clock(*moments(lambda s: 5.0 + 20e-6 * s, seed=seed))
    assert model_of(fit) == "linear"
    assert fit.drift_ppm == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("seed", range(10))
def test_noise_that_packets_share_does_not_look_like_drift(seed):
    """Ten neighbours each have one error of 2 ms: what every second of them taught would say of the others."""
    rng = np.random.default_rng(seed)
    source_s = np.linspace(0, HOUR_S, 600)
    fit = fit_clock(source_s, 5.0 + np.repeat(rng.normal(0, 2e-3, 60), 10))
    assert model_of(fit) != "piecewise"


def test_one_wrong_match_in_twenty_does_not_tilt_the_line():
    source_s, lag_s = moments(lambda s: 5.0 + 20e-6 * s)
    lag_s[::20] += 0.010
    assert wrong_ms(fit_clock(source_s, lag_s), lambda s: 5.0 + 20e-6 * s) < 0.1


def test_every_model_that_was_tried_is_told_with_its_error():
    tried = dict(fit_clock(*moments(temperature)).tried)
    assert list(tried)[:3] == ["offset", "linear", "piecewise, 2 pieces"]
    assert tried["offset"] > tried["piecewise, 12 pieces"]


def test_two_moments_give_an_offset():
    fit = fit_clock(np.array([0.0, 10.0]), np.array([5.0, 5.002]))
    assert (model_of(fit), fit.offset_s) == ("offset", pytest.approx(5.001))


def test_lags_of_hours_keep_their_microseconds():
    source_s, lag_s = moments(lambda s: 1.7e9 + 20e-6 * s, jitter_s=0)
    assert fit_clock(source_s, lag_s).drift_ppm == pytest.approx(20, abs=0.01)


def test_evidence_keeps_the_worst_residual():
    residuals_ms = np.zeros(5000)
    residuals_ms[1234] = 7.0
    kept = evidence_of(np.arange(5000.0), residuals_ms)
    assert len(kept) <= 401
    assert (1234.0, 7.0) in kept
