"""Spikes from traces whose spikes are known."""

from dataclasses import replace

import numpy as np
import pytest

from neuroloom.ingest import Segment, Timebase
from neuroloom.ingest.sorters import SortingError
from neuroloom.ingest.sorting import MEASURES, Curation, measure, sort

from .conftest import RATE_HZ, found_share

GOOD = {"snr": 9.0, "isi_violations_ratio": 0.0, "firing_rate_hz": 5.0, "presence_ratio": 1.0, "amplitude_cutoff": 0.01}


@pytest.fixture(scope="module")
def sorted_units(truth):
    return sort(replace(truth.signal, table=dict(truth.signal.table) | {"area": ("V1",) * 8}))


def test_most_true_spikes_are_found_at_their_times(truth, sorted_units):
    for samples in truth.spikes:
        shares = [found_share(100.0 + samples / RATE_HZ, train) for train in sorted_units.spike_times_s]
        assert max(shares) > 0.8


def test_every_unit_has_its_measures_a_verdict_and_an_area(sorted_units):
    table = sorted_units.table
    assert {*MEASURES, "channel", "depth_um", "n_spikes", "accepted", "reason", "area"} <= table.keys()
    assert set(table["area"]) == {"V1"}
    assert sum(table["accepted"]) >= 4
    assert list(table["n_spikes"]) == [len(train) for train in sorted_units.spike_times_s]


def test_every_decision_is_in_the_provenance(sorted_units):
    said = sorted_units.provenance
    assert (said["sorter"], said["source"]) == ("spykingcircus2", "probe")
    assert said["preprocessing"]["band_hz"] == [300.0, 6000.0]
    assert said["curation"]["min_snr"] == 4.0
    assert said["template_uV"].keys() == set(sorted_units.unit_names)


def test_depths_and_amplitudes_over_time_are_those_of_the_units(sorted_units):
    said = sorted_units.provenance["over_time"]
    assert said["stop_s"] > said["start_s"]
    assert said["depth_um"].keys() == said["amplitude_uV"].keys() == set(sorted_units.unit_names)
    for name, depth_um, n_spikes in zip(
        sorted_units.unit_names, *map(sorted_units.table.get, ("depth_um", "n_spikes")), strict=True
    ):
        known = [depth for depth in said["depth_um"][name] if depth is not None]
        if n_spikes > 100:
            assert np.median(known) == pytest.approx(depth_um, abs=25)


def test_an_existing_sorting_is_measured_as_one_made_here_and_keeps_what_people_said(truth, sorted_units):
    verdicts = {"accepted": (False,) * len(sorted_units.unit_names)}
    measured = measure(truth.signal, replace(sorted_units, table=verdicts, provenance={"made_by": "phy"}))
    assert measured.table["accepted"] == verdicts["accepted"]
    assert measured.provenance["made_by"] == "phy"
    for name in (*MEASURES, "depth_um"):
        np.testing.assert_allclose(measured.table[name], sorted_units.table[name], rtol=1e-6)
    assert measured.table["channel"] == sorted_units.table["channel"]


def test_sorting_again_gives_the_same_spikes(truth, sorted_units):
    again = sort(truth.signal)
    assert again.unit_names == sorted_units.unit_names
    for one, other in zip(again.spike_times_s, sorted_units.spike_times_s, strict=True):
        assert np.array_equal(one, other)


def test_spikeinterface_has_its_own_settings_again(sorted_units):
    from spikeinterface.core.globals import get_global_job_kwargs, is_set_global_job_kwargs_set

    assert not is_set_global_job_kwargs_set()
    assert get_global_job_kwargs()["progress_bar"] is True


def test_times_are_right_on_both_sides_of_a_gap(truth):
    """10 s, an hour of nothing, 20 s: every spike at the time that its own segment gives it."""
    samples = truth.signal.segments[0].samples
    cut = int(10 * RATE_HZ)
    late_s = 3700.0
    segments = (
        Segment(samples=samples[:cut], timebase=Timebase(rate_hz=RATE_HZ, start_s=100.0, n_samples=cut)),
        Segment(
            samples=samples[cut:], timebase=Timebase(rate_hz=RATE_HZ, start_s=late_s, n_samples=len(samples) - cut)
        ),
    )
    units = sort(replace(truth.signal, segments=segments))
    every_s = np.sort(np.concatenate(units.spike_times_s))
    assert not ((every_s > 110.0) & (every_s < late_s)).any()
    for true in truth.spikes:
        late = late_s + (true[true >= cut] - cut) / RATE_HZ
        assert max(found_share(late, train) for train in units.spike_times_s) > 0.7


def test_an_unknown_sorter_is_refused_and_the_known_ones_are_named(truth):
    with pytest.raises(SortingError, match=r"sorter 'nobody' is not known here; there are .*spykingcircus2"):
        sort(truth.signal, sorter="nobody")


def test_a_signal_too_slow_for_spikes_is_refused(truth):
    base = Timebase(rate_hz=500.0, n_samples=truth.signal.n_samples)
    slow = replace(truth.signal, segments=(replace(truth.signal.segments[0], timebase=base),))
    with pytest.raises(ValueError, match="sampled at 500 Hz"):
        sort(slow)


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("snr", 3.9),
        ("isi_violations_ratio", 0.6),
        ("firing_rate_hz", 0.05),
        ("presence_ratio", 0.8),
        ("amplitude_cutoff", 0.2),
    ],
)
def test_a_unit_beyond_a_limit_is_not_accepted_and_the_limit_is_named(measure, value):
    accepted, reason = Curation().verdict(GOOD | {measure: value})
    assert not accepted
    assert measure in reason


def test_what_cannot_be_measured_rejects_nobody():
    accepted, reason = Curation().verdict(GOOD | {"presence_ratio": float("nan")})
    assert accepted
    assert reason == "within all limits; not measurable: presence_ratio"
