from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroloom.pipeline.clocks.alignment import AlignmentError, PulseMatching, align_pulses
from neuroloom.pipeline.clocks.discovery import shared_map
from neuroloom.pipeline.clocks.pulse_lines import cleaned_line


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


def warped(times_s, ppm, period_s=3000.0):
    """What a clock shows whose rate swings by `ppm` either way."""
    turn = 2 * np.pi / period_s
    return times_s + ppm * 1e-6 / turn * (1 - np.cos(turn * times_s))


def line_seen(rng, pulses, kind, *, distort):
    """The line of one device, `distort` leading from true time to its clock: inverted, doubled or plain."""
    kept = pulses[rng.random(pulses.size) >= 0.2]
    extra = rng.uniform(pulses[0], pulses[-1], int(0.1 * pulses.size))
    ups = np.sort(np.concatenate([kept, extra])) + rng.normal(0, 0.5e-3, kept.size + extra.size)
    downs = ups + 0.02 + rng.normal(0, 0.5e-3, ups.size)
    if kind == "inverted":
        order = np.argsort(downs)
        ups, downs = downs[order], np.append(ups[1:], np.nan)[order]
    elif kind == "doubled":
        ups = np.sort(np.concatenate([ups, ups + rng.uniform(1e-3, 6e-3, ups.size)]))
        downs = np.full(ups.size, np.nan)
    return cleaned_line(kind, distort(ups), distort(downs))


def odd_errors_s(seed, offset_s, drifts_ppm, kind, swing_ppm):
    """As `worst_errors_s`, over an hour: lines that are inverted or doubled, clocks that swing with temperature."""
    rng = np.random.default_rng(seed)
    pulses = true_pulses(rng, n=1800, mean_s=2.0)
    session = line_seen(rng, pulses, "plain", distort=lambda t: t)
    errors = []
    for drift_ppm, shift_s in zip(drifts_ppm, (offset_s, -offset_s), strict=True):

        def distort(t, drift_ppm=drift_ppm, shift_s=shift_s):
            return warped(t, swing_ppm) * (1 + 2 * drift_ppm * 1e-6) + shift_s

        device = line_seen(rng, pulses, kind, distort=distort)
        found = shared_map([device], [session], source="device", target="session")
        truth = np.linspace(pulses[0], pulses[-1], 1000)
        errors.append(found.seconds(distort(truth)) - truth)
    return np.abs(errors)


ODD_DEVICES = {
    "seed": st.integers(0, 2**32 - 1),
    "offset_s": st.floats(-600, 600),
    "drifts_ppm": st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
    "kind": st.sampled_from(["plain", "inverted", "doubled"]),
    "swing_ppm": st.sampled_from([0.0, 10.0, 40.0]),
}


@settings(max_examples=20, deadline=None)
@given(**ODD_DEVICES)
def test_time_error_stays_under_a_millisecond_for_odd_lines_and_bent_clocks(
    seed, offset_s, drifts_ppm, kind, swing_ppm
):
    """Jitter, lost and spurious pulses as above."""
    assert np.quantile(odd_errors_s(seed, offset_s, drifts_ppm, kind, swing_ppm), 0.99) < 1e-3


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=False, database=None)
@given(**ODD_DEVICES)
def test_time_error_stays_under_a_millisecond_for_odd_devices_never_seen_before(
    seed, offset_s, drifts_ppm, kind, swing_ppm
):
    assert np.quantile(odd_errors_s(seed, offset_s, drifts_ppm, kind, swing_ppm), 0.99) < 1e-3


@pytest.mark.parametrize(("swing_ppm", "model"), [(30.0, "piecewise"), (0.0, "linear")])
def test_the_drift_model_is_the_one_the_clock_has(swing_ppm, model):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pulses = true_pulses(rng, n=1800, mean_s=2.0)
        found = align_pulses(warped(seen(rng, pulses, drift_ppm=50), swing_ppm), seen(rng, pulses))
        assert found.model == model
        assert found.method == f"pulses, {model}"


@pytest.mark.parametrize("jump_s", [-0.5, 0.5])
@pytest.mark.parametrize("at", [300, 1500])
def test_a_clock_that_jumps_is_followed_and_told(jump_s, at):
    """The device loses half a second (or gains one), early or late."""
    rng = np.random.default_rng(1)
    pulses = true_pulses(rng, n=1800)
    device = seen(rng, pulses, offset_s=60, drift_ppm=50, jitter_s=1e-4)
    device = np.sort(np.where(device > device[at], device + jump_s, device))
    found = align_pulses(device, pulses)
    early, late = pulses[10], pulses[-10]
    assert found.seconds(early * (1 + 50e-6) + 60) == pytest.approx(early, abs=1e-3)
    assert found.seconds(late * (1 + 50e-6) + 60 + jump_s) == pytest.approx(late, abs=1e-3)
    assert "with 1 jump" in found.method
    assert f"jumps by {-jump_s:+.3f} s" in found.notes[0]
    assert not found.covers(device[at] + 0.01)
    assert found.uncertainty_ms(device[at] + 0.01) > 400


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


@pytest.mark.parametrize("error_s", [-0.44, 0.0, 0.44])
def test_below_half_a_period_means_wherever_the_truth_lies_within_it(error_s):
    rule = PulseMatching(prior_offset_s=-7.3 + error_s, prior_uncertainty_s=0.45)
    assert align_pulses(np.arange(100.0) + 7.3, np.arange(100.0), rule=rule).offset_s == pytest.approx(-7.3)
    with pytest.raises(AlignmentError, match="ambiguous"):
        align_pulses(np.arange(100.0) + 7.3, np.arange(100.0), rule=replace(rule, prior_uncertainty_s=0.55))


def test_a_few_pulses_are_found_among_many_of_another_kind():
    rng = np.random.default_rng(4)
    few = true_pulses(rng, n=20, mean_s=2.0)
    many = np.sort(np.concatenate([few, rng.uniform(-600, 600, 600)]))
    assert align_pulses(many + 60, few).offset_s == pytest.approx(-60, abs=1e-6)


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
