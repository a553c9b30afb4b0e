import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroloom.pipeline.alignment import AlignmentError, PulseMatching, align_pulses


def true_pulses(rng, *, n=600, mean_s=1.0):
    return np.cumsum(rng.uniform(0.3, 1.7, n) * mean_s)


def seen(rng, pulses, *, offset_s=0.0, drift_ppm=0.0, jitter_s=0.5e-3, lost=0.2, spurious=0.1):
    """The pulses as one device saw them, on its own clock."""
    kept = pulses[rng.random(pulses.size) >= lost]
    extra = rng.uniform(pulses[0], pulses[-1], int(spurious * pulses.size))
    kept = kept + rng.normal(0, jitter_s, kept.size)
    return np.sort(np.concatenate([kept, extra])) * (1 + drift_ppm * 1e-6) + offset_s


def worst_errors_s(seed, offset_s, drifts_ppm, mean_s):
    """Time errors over the whole recording of two devices against the session, both up to 200 ppm away from it."""
    rng = np.random.default_rng(seed)
    pulses = true_pulses(rng, mean_s=mean_s)
    session = seen(rng, pulses)
    errors = []
    for drift_ppm, shift_s in zip(drifts_ppm, (offset_s, -offset_s), strict=True):
        device = seen(rng, pulses, offset_s=shift_s, drift_ppm=2 * drift_ppm)
        found = align_pulses(device, session)
        truth = np.linspace(pulses[0], pulses[-1], 1000)
        errors.append(found.seconds(truth * (1 + 2 * drift_ppm * 1e-6) + shift_s) - truth)
    return np.abs(errors)


DEVICES = {
    "seed": st.integers(0, 2**32 - 1),
    "offset_s": st.floats(-600, 600),
    "drifts_ppm": st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    "mean_s": st.sampled_from([0.5, 1.0, 5.0]),
}


@settings(max_examples=60, deadline=None)
@given(**DEVICES)
def test_time_error_of_three_devices_stays_under_a_millisecond(seed, offset_s, drifts_ppm, mean_s):
    """Up to 200 ppm apart, 0.5 ms jitter, a fifth of the pulses lost and a tenth spurious on every device."""
    assert np.quantile(worst_errors_s(seed, offset_s, drifts_ppm, mean_s), 0.99) < 1e-3


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, derandomize=False, database=None)
@given(**DEVICES)
def test_time_error_stays_under_a_millisecond_for_devices_never_seen_before(seed, offset_s, drifts_ppm, mean_s):
    assert np.quantile(worst_errors_s(seed, offset_s, drifts_ppm, mean_s), 0.99) < 1e-3


def test_counts_lost_and_extra_pulses():
    pulses = true_pulses(np.random.default_rng(1), n=100)
    device = np.append(np.delete(pulses, [10, 20, 30]), [5.123, 44.777]) + 60
    found = align_pulses(device, pulses)
    assert (found.n_matched, found.n_lost, found.n_extra) == (97, 3, 2)


def test_without_drift_an_offset_is_enough():
    rng = np.random.default_rng(2)
    pulses = true_pulses(rng, n=50)
    found = align_pulses(pulses + 12.5, pulses)
    assert found.offset_s == pytest.approx(-12.5, abs=1e-6)
    assert abs(found.drift_ppm) < 0.01


def test_unrelated_pulses_are_refused():
    rng = np.random.default_rng(3)
    with pytest.raises(AlignmentError, match=r"match|ambiguous"):
        align_pulses(true_pulses(rng, n=200), true_pulses(rng, n=200))


def test_periodic_pulses_without_prior_are_refused():
    with pytest.raises(AlignmentError, match="ambiguous"):
        align_pulses(np.arange(100.0) + 7.3, np.arange(100.0))


def test_periodic_pulses_with_prior_below_half_a_period_are_matched():
    rule = PulseMatching(prior_offset_s=-7.1, prior_uncertainty_s=0.4)
    assert align_pulses(np.arange(100.0) + 7.3, np.arange(100.0), rule=rule).offset_s == pytest.approx(-7.3)


def test_periodic_pulses_with_prior_above_half_a_period_are_refused():
    rule = PulseMatching(prior_offset_s=-7.1, prior_uncertainty_s=1.5)
    with pytest.raises(AlignmentError, match="ambiguous"):
        align_pulses(np.arange(100.0) + 7.3, np.arange(100.0), rule=rule)


def test_too_few_pulses_are_refused_by_name():
    with pytest.raises(AlignmentError, match="gaze: 3 distinct pulses; at least 8"):
        align_pulses([1, 2, 3], np.arange(20.0), source="gaze")


def test_pulse_times_must_be_finite():
    with pytest.raises(AlignmentError, match="NaN"):
        align_pulses([np.nan, *range(20)], np.arange(20.0))
