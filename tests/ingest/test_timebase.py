from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest.timebase import ClockMap, Timebase


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
