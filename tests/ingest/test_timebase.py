from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest.clock_map import through
from neuroloom.ingest.timebase import ClockMap, PiecewiseTimebase, Timebase


def clock_map(**fields):
    evidence = dict(span_s=(0.0, 100.0), residual_ms=0.1, n_matched=10, n_lost=1, n_extra=2, method="pulses")
    return ClockMap(source="eeg", target="probe", **(evidence | fields))


def test_rate_is_measured_over_the_whole_series():
    base = Timebase.measured(np.arange(360_001) / 100.0094)
    assert base is not None
    assert base.rate_hz == pytest.approx(100.0094, abs=1e-7)


def test_one_late_sample_keeps_the_timestamps():
    times = np.arange(1000) / 100
    times[500] += 2e-6
    assert Timebase.measured(times) is None


def test_times_that_jump_back_are_refused():
    with pytest.raises(ValueError, match="must increase"):
        Timebase.measured([0.0, 0.2, 0.1])


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, np.nan, np.inf])
def test_senseless_rate_is_refused(rate_hz):
    with pytest.raises(ValueError, match="finite rate above 0"):
        Timebase(rate_hz=rate_hz)


def test_between_takes_the_start_and_leaves_the_stop():
    base = Timebase(rate_hz=10, start_s=1.0, n_samples=100)
    assert base.samples_between(1.1, 1.3) == slice(1, 3)


def test_between_is_clipped_to_what_exists():
    base = Timebase(rate_hz=10, start_s=1.0, n_samples=100)
    assert base.samples_between(-5, 2) == slice(0, 10)
    assert base.samples_between(50, 60) == slice(100, 100)


def test_map_shifts_and_drifts_about_its_anchor():
    to_probe = clock_map(offset_s=2.0, drift_ppm=100.0, anchor_s=50.0)
    np.testing.assert_allclose(to_probe.seconds([50.0, 1050.0]), [52.0, 1052.1])


def test_inverse_leads_back():
    to_probe = clock_map(offset_s=-3.0, drift_ppm=-150.0, anchor_s=20.0)
    times = np.linspace(0, 5000, 11)
    np.testing.assert_allclose(to_probe.inverse_seconds(to_probe.seconds(times)), times, atol=1e-9)


def test_an_inverted_map_undoes_the_map():
    to_probe = replace(clock_map(offset_s=-3.0, drift_ppm=-150.0, anchor_s=20.0), evidence=((30.0, 0.2),))
    times = np.linspace(0, 5000, 11)
    back = to_probe.inverse()
    np.testing.assert_allclose(back.seconds(to_probe.seconds(times)), times, atol=1e-9)
    assert (back.source, back.n_lost, back.n_extra) == ("probe", 2, 1)
    assert back.evidence == ((pytest.approx(to_probe.seconds(30.0)), -0.2),)


def test_map_knows_where_it_would_extrapolate():
    assert clock_map(offset_s=0.0).covers([-1.0, 50.0, 101.0]).tolist() == [False, True, False]


def test_map_says_its_evidence():
    assert str(clock_map(offset_s=0.0)) == "eeg -> probe: 0.10 ms, 0.0 ppm, 10 pulses matched, 1 lost, 2 extra"


# ---- clocks that drift unevenly


def bent(**fields):
    """Two seconds late, and 1 ms later still at 50 s: +20 ppm up to there, -20 ppm from there on."""
    return clock_map(**{"offset_s": 2.0, "knots": ((0.0, 0.0), (50.0, 1e-3), (100.0, 0.0)), **fields})


def test_a_bent_map_follows_its_knots_and_goes_on_beyond_them():
    np.testing.assert_allclose(
        bent().seconds([0.0, 25.0, 50.0, 75.0, 150.0]), [2.0, 27.0005, 52.001, 77.0005, 151.999], atol=1e-12
    )


def test_a_bent_map_is_undone_by_its_inverse():
    to_probe = bent(drift_ppm=150.0, anchor_s=20.0)
    times = np.linspace(-50, 200, 101)
    np.testing.assert_allclose(to_probe.inverse_seconds(to_probe.seconds(times)), times, atol=1e-9)
    np.testing.assert_allclose(to_probe.inverse().seconds(to_probe.seconds(times)), times, atol=1e-9)


def test_two_bent_maps_in_a_row_are_one():
    first, second = bent(drift_ppm=40.0), bent(knots=((0.0, 0.0), (30.0, 2e-3), (90.0, 1e-3)), drift_ppm=-60.0)
    times = np.linspace(-50, 200, 501)
    np.testing.assert_allclose(through(first, second).seconds(times), second.seconds(first.seconds(times)), atol=1e-9)


def test_two_maps_in_a_row_are_known_where_both_are():
    first, second = clock_map(offset_s=10.0, span_s=(0.0, 60.0)), clock_map(offset_s=0.0, span_s=(40.0, 90.0))
    assert through(first, second).span_s == (30.0, 60.0)


@pytest.mark.parametrize("knots", [((0.0, 0.0),), ((5.0, 0.0), (5.0, 1.0)), ((0.0, 0.0), (1.0, -1.5))])
def test_knots_that_make_no_clock_are_refused(knots):
    with pytest.raises(ValueError, match=r"increasing|stands still"):
        clock_map(offset_s=0.0, knots=knots)


def test_regular_samples_stay_regular_beside_a_bend_and_get_pieces_across_it():
    base = Timebase(rate_hz=10.0, start_s=0.0, n_samples=100)
    assert isinstance(base.on(bent()), Timebase)
    across = Timebase(rate_hz=10.0, start_s=45.0, n_samples=100).on(bent())
    assert isinstance(across, PiecewiseTimebase)
    assert len(across.knots) == 3


def test_no_sample_is_misplaced_by_a_bend():
    base, to_probe = Timebase(rate_hz=30_000.07, start_s=3.21, n_samples=2_700_000), bent(drift_ppm=80.0)
    samples = np.arange(0, base.n_samples, 977)
    np.testing.assert_allclose(
        base.on(to_probe).seconds(samples), to_probe.seconds(base.seconds(samples)), rtol=0, atol=1e-10
    )


def test_pieces_find_their_samples_again():
    base = Timebase(rate_hz=10.0, start_s=0.0, n_samples=1000).on(bent())
    at = float(base.seconds(700))
    assert base.samples_between(at, base.stop_s) == slice(700, 1000)
    assert base.samples_between(-np.inf, np.inf) == slice(0, 1000)
    assert base.nearest([at + 0.03, at - 0.03]).tolist() == [700, 700]


def test_a_part_of_pieces_keeps_its_times():
    base = Timebase(rate_hz=10.0, start_s=0.0, n_samples=1000).on(bent())
    for part in (slice(0, 400), slice(450, 600), slice(600, 600)):
        found = base.part(part)
        assert found.n_samples == part.stop - part.start
        np.testing.assert_allclose(
            found.seconds(np.arange(found.n_samples)), base.seconds(np.arange(part.start, part.stop)), atol=1e-12
        )


def test_pieces_are_carried_over_to_a_third_clock():
    base = Timebase(rate_hz=10.0, start_s=0.0, n_samples=1000)
    second = bent(knots=((0.0, 0.0), (30.0, 2e-3), (90.0, 1e-3)))
    samples = np.arange(1000)
    np.testing.assert_allclose(
        base.on(bent()).on(second).seconds(samples), second.seconds(bent().seconds(base.seconds(samples))), atol=1e-10
    )


def test_how_well_a_time_is_known_follows_the_pulses_around_it():
    """Residuals of 0.1 ms in the first half and 1 ms in the second."""
    evidence = tuple((float(t), 0.1 if t < 500 else 1.0) for t in range(1000))
    early, late = clock_map(offset_s=0, span_s=(0, 999), residual_ms=0.71, evidence=evidence).uncertainty_ms([200, 800])
    assert early < 0.5 < 0.9 < late


def test_how_well_a_time_is_known_grows_beyond_the_pulses_and_in_long_gaps_of_them():
    evidence = tuple((float(t), 0.1) for t in [*range(100), *range(900, 1000)])
    known = clock_map(offset_s=0, span_s=(0, 999), residual_ms=0.1, evidence=evidence, wander_ppm=10.0)
    inside, gap, near, far = known.uncertainty_ms([50, 500, 1100, 3000])
    assert inside == pytest.approx(0.1)
    assert gap == pytest.approx(4.0, rel=0.02)  # 400 s from the nearest pulse at 10 ppm
    assert near == pytest.approx(1.0, rel=0.02)
    assert far == pytest.approx(20.0, rel=0.01)
