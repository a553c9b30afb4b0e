"""Topologies estimated from activity whose true couplings are known."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from neuroloom.models import Area, Topology
from neuroloom.pipeline.runs.functional import (
    FunctionalConfig,
    _Activity,
    _lagged,
    functional_topology,
    functional_topology_of,
)
from neuroloom.pipeline.runs.jackknife import Jackknifed, together
from neuroloom.pipeline.runs.lagged import lagged_power, significant, strength_of
from neuroloom.pipeline.runs.past import regressions
from neuroloom.pipeline.runs.windowing import windows

NAMES = ("A", "B", "C", "D")


def chain(n_frames: int = 4000, seed: int = 0, smooth: int = 1) -> np.ndarray:
    """A drives B, B drives C; D is by itself. `smooth` frames are averaged."""
    rng = np.random.default_rng(seed)
    a, noise = rng.standard_normal(n_frames), rng.standard_normal((3, n_frames))
    b = a + 0.7 * noise[0]
    c = b + 0.7 * noise[1]
    activity = np.stack([a, b, c, noise[2]], axis=1)
    return np.stack([np.convolve(x, np.ones(smooth) / smooth, mode="valid") for x in activity.T], axis=1)


def joined(topology: Topology) -> set[tuple[str, str]]:
    return {(p.source, p.target) for p in topology.pathways if p.source < p.target}


def test_a_correlation_joins_the_ends_of_a_chain_and_a_partial_one_does_not() -> None:
    correlated = functional_topology(chain(), NAMES, config=FunctionalConfig(keep="significant", alpha=1e-6))
    partial = functional_topology(
        chain(), NAMES, config=FunctionalConfig(method="partial", keep="significant", alpha=1e-6)
    )
    assert joined(correlated) == {("A", "B"), ("B", "C"), ("A", "C")}
    assert joined(partial) == {("A", "B"), ("B", "C")}


def test_density_keeps_that_share_of_pairs_the_strongest() -> None:
    topology = functional_topology(chain(), NAMES, config=FunctionalConfig(density=1 / 3))
    assert joined(topology) == {("A", "B"), ("B", "C")}


def test_pathways_go_both_ways_alike_with_open_sign_and_no_invented_length() -> None:
    topology = functional_topology(chain(), NAMES)
    there, back = topology.pathways
    assert (there.source, there.target) == (back.target, back.source)
    assert (there.weight, there.sign, there.length_mm) == (back.weight, 0, 0.0)
    assert "neither direction, delay nor sign are measured" in topology.notes[0]


def test_weights_are_the_correlations() -> None:
    topology = functional_topology(chain(), NAMES, config=FunctionalConfig(density=1.0))
    weight = next(p.weight for p in topology.pathways if (p.source, p.target) == ("A", "B"))
    assert weight == pytest.approx(np.corrcoef(chain().T)[0, 1])


def test_partial_correlations_rest_on_the_shrunk_covariance() -> None:
    activity = chain(30)
    standard = (activity - activity.mean(0)) / activity.std(0)
    precision = np.linalg.inv(ledoit_wolf(standard, assume_centered=True)[0])
    by_hand = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    topology = functional_topology(activity, NAMES, config=FunctionalConfig(method="partial", density=1.0))
    assert next(p.weight for p in topology.pathways if (p.source, p.target) == ("A", "B")) == pytest.approx(by_hand)


def test_slow_signals_need_more_frames_to_be_significant() -> None:
    """Independent but smooth areas correlate by chance; counting frames as independent would join many of them."""
    rng = np.random.default_rng(0)
    smooth = np.stack([np.convolve(x, np.ones(40), mode="valid") for x in rng.standard_normal((12, 600))], axis=1)
    names = tuple(f"a{i}" for i in range(12))
    assert len(joined(functional_topology(smooth, names, config=FunctionalConfig(keep="significant")))) <= 3
    t = np.corrcoef(smooth.T)[np.triu_indices(12, 1)]
    assert (np.abs(np.arctanh(t)) * np.sqrt(len(smooth) - 3) > 3.5).sum() > 10  # what a naive test would have kept


def test_a_negative_correlation_is_dropped_or_counts_by_its_size() -> None:
    a = np.random.default_rng(0).standard_normal((500, 1))
    opposed = np.concatenate([a, -a + 0.1 * np.random.default_rng(1).standard_normal((500, 1))], axis=1)
    assert functional_topology(opposed, "AB", config=FunctionalConfig(density=1.0)).pathways == ()
    kept = functional_topology(opposed, "AB", config=FunctionalConfig(density=1.0, negatives="absolute"))
    assert (len(kept.pathways), kept.pathways[0].sign) == (2, 0)


def test_areas_modules_and_lengths_come_from_the_topology_it_is_like() -> None:
    like = Topology.read("four-areas")
    topology = functional_topology(chain(), ("V1", "PPC", "FEF", "M1"), like=like)
    assert (topology.areas, topology.global_modules) == (like.areas, like.global_modules)
    assert all(p.length_mm == pytest.approx(like.distance_mm(p.source, p.target)) for p in topology.pathways)


@pytest.mark.parametrize(
    ("activity", "names", "message"),
    [
        (np.zeros((50, 2)), "AB", "never changes"),
        (np.full((50, 2), np.nan), "AB", "not finite"),
        (np.zeros((3, 2)), "AB", "at least 8 frames"),
        (np.zeros((50, 2)), "ABC", "for 3 areas"),
    ],
)
def test_what_cannot_be_estimated_is_told(activity: np.ndarray, names: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        functional_topology(activity, names)


def test_an_area_that_the_topology_has_not_is_told() -> None:
    with pytest.raises(ValueError, match="'Z' is no area of 'two'"):
        functional_topology(chain(), "ABCZ", like=Topology(name="two", areas=tuple(Area(name=n) for n in "ABC")))


def driven(n_bins: int = 3000, seed: int = 0) -> np.ndarray:
    """Two channels per area; A drives B after two bins with opposite signs, B drives C; D is by itself."""
    rng = np.random.default_rng(seed)
    x = 0.5 * rng.standard_normal((n_bins, 8))
    for t in range(2, n_bins):
        x[t] += 0.6 * x[t - 1]
        x[t, 2:4] += 0.5 * np.array([1, -1]) * x[t - 2, 0]
        x[t, 4] += 0.5 * x[t - 1, 3]
    return x


CHANNELS = tuple("AABBCCDD")


def power(blocks: list[np.ndarray], areas: tuple[str, ...] = CHANNELS, *, sharp: bool = False) -> Jackknifed:
    return lagged_power(regressions(blocks, 3), areas, NAMES, sharp=sharp)


def test_the_past_of_an_area_tells_of_another_one_way_even_where_its_average_does_not() -> None:
    strength = strength_of(power(np.split(driven(), 10)))
    order = np.argsort(-strength, axis=None)[:2]
    assert {(NAMES[i // 4], NAMES[i % 4]) for i in order} == {("A", "B"), ("B", "C")}
    assert strength[0, 1] > 4 * strength[1, 0]
    assert np.all(np.diag(strength) == 0)
    averages = driven().reshape(-1, 4, 2).mean(axis=2)
    assert np.abs(np.corrcoef(averages.T)[0, 1]) < 0.1


def test_units_and_channels_that_never_change_do_not_matter_to_what_is_found() -> None:
    x = driven()
    plain = power([x])
    scaled = power([x * np.array([1e3, 1, 1e-3, 1, 1, 1, 1, 1]) + 7])
    assert scaled.value == pytest.approx(plain.value)
    still = power([np.column_stack([x, np.ones(len(x))])], (*CHANNELS, ""))
    assert still.value == pytest.approx(plain.value)
    assert still.spread == pytest.approx(plain.spread)


def test_power_is_the_share_of_the_targets_variance_that_is_sent() -> None:
    """No area has a memory; half of the variance of each of B's channels comes from A's first."""
    x = np.random.default_rng(0).standard_normal((40_000, 4))
    x[1:, 2:] += x[:-1, :1]
    found = lagged_power(regressions([x], 2), tuple("AABB"), "AB", sharp=True).value
    assert found[0, 1] == pytest.approx(0.5, abs=0.02)
    assert abs(found[1, 0]) < 0.001


def test_where_nothing_is_sent_power_is_0_in_the_mean_however_short_the_recording() -> None:
    noise = np.random.default_rng(0).standard_normal((60, 200, 8))
    of_pair = np.array([power([one]).value[~np.eye(4, dtype=np.bool_)] for one in noise])
    assert abs(of_pair.mean()) < 3 * of_pair.mean(axis=1).std(ddof=1) / np.sqrt(len(noise))
    assert 0.3 < (of_pair < 0).mean() < 0.7


def test_a_test_of_each_direction_keeps_all_that_is_sent_and_hardly_anything_else() -> None:
    """In ten recordings of A -> B -> C, with D by itself: 20 pathways, 100 pairs without one."""
    kept = [significant(power([driven(2000, seed)], sharp=True), 0.05) for seed in range(10)]
    assert sum(one[0, 1] and one[1, 2] for one in kept) == 10
    assert sum(one.sum() for one in kept) <= 20 + 2


def test_what_goes_by_way_of_another_area_is_significant_by_smooth_weights_and_not_by_sharp_ones() -> None:
    long = [regressions([driven(20_000, seed)], 3) for seed in range(3)]
    for sharp in (True, False):
        kept = [significant(lagged_power(one, CHANNELS, NAMES, sharp=sharp), 0.05) for one in long]
        assert [bool(one[0, 2]) for one in kept] == 3 * [not sharp]
        assert all(one[0, 1] and one[1, 2] for one in kept)


def test_what_is_significant_becomes_pathways() -> None:
    session = _Activity("lfp", 0.01, (driven(),), CHANNELS)
    bare = Topology(name="bare", areas=tuple(Area(name=n) for n in NAMES))
    made = _lagged([session], FunctionalConfig(method="lagged", keep="significant", lags_s=0.03), bare)
    assert {(p.source, p.target) for p in made.pathways} == {("A", "B"), ("B", "C")}
    assert "2 of 12 directed pairs kept by a false discovery rate 0.05" in made.notes[0]


def test_of_activity_that_never_changes_nothing_is_kept() -> None:
    assert not significant(power([np.ones((200, 8))], sharp=True), 0.05).any()


def test_sessions_that_are_not_significant_by_themselves_are_so_together() -> None:
    short = [power([driven(80, seed)], sharp=True) for seed in range(8)]
    assert sum(significant(one, 0.05)[0, 1] for one in short) < 8
    assert significant(together(short, [80] * 8), 0.05)[0, 1]


def test_a_directed_estimate_looks_back_and_at_channels() -> None:
    with pytest.raises(ValueError, match="'lagged' wants lags_s above 0"):
        FunctionalConfig(method="lagged", lags_s=0.0)
    with pytest.raises(ValueError, match="has no channels"):
        functional_topology(chain(), NAMES, config=FunctionalConfig(method="lagged"))


def test_a_directed_estimate_needs_time() -> None:
    with pytest.raises(ValueError, match="47 bins with 3 bins before them; 50 or more"):
        power([driven(50)])


def test_a_directed_topology_from_windows_is_one_way(simulated: Callable[..., Any]) -> None:
    data = windows([simulated(duration_s=60).session])
    made = functional_topology_of(data, "units", config=FunctionalConfig(method="lagged", density=0.5))
    assert len(made.pathways) == 1
    assert made.pathways[0].weight > 0
    assert "of 2 directed pairs" in made.notes[0]
    assert "delays told of none of 1 pathways" in made.notes[1]


def test_a_told_delay_gives_the_length_and_the_others_have_the_mean_or_the_distance() -> None:
    session = _Activity("lfp", 0.01, tuple(np.split(driven(), 10)), tuple("AABBCCDD"))
    config = FunctionalConfig(method="lagged", lags_s=0.05, density=1 / 4)  # A -> B, B -> C and another
    bare = Topology(name="bare", areas=tuple(Area(name=n) for n in NAMES), speed_m_per_s=2.0)
    made = _lagged([session], config, bare)
    delays_s = {(p.source, p.target): d for p, d in zip(made.pathways, made.delays_s(), strict=True)}
    (other,) = set(delays_s) - {("A", "B"), ("B", "C")}
    assert delays_s["A", "B"] == pytest.approx(0.02, abs=0.001)
    assert delays_s["B", "C"] == pytest.approx(0.01, abs=0.001)
    assert delays_s[other] == pytest.approx((delays_s["A", "B"] + delays_s["B", "C"]) / 2)
    assert "delays told of 2 of 3 pathways, 10 to 20 ms" in made.notes[1]
    placed = replace(bare, areas=tuple(Area(name=n, position_mm=(10.0 * i, 0, 0)) for i, n in enumerate(NAMES)))
    lengths_mm = {(p.source, p.target): p.length_mm for p in _lagged([session], config, placed).pathways}
    assert lengths_mm[other] == placed.distance_mm(*other)
    assert lengths_mm["A", "B"] == pytest.approx(40, abs=2)


def test_where_no_delay_is_told_lengths_are_not_invented() -> None:
    session = _Activity("lfp", 0.01, (driven(),), tuple("AABBCCDD"))
    bare = Topology(name="bare", areas=tuple(Area(name=n) for n in NAMES))
    made = _lagged([session], FunctionalConfig(method="lagged", lags_s=0.01), bare)  # one bin: nothing to compare
    assert {p.length_mm for p in made.pathways} == {0.0}
    assert "delays told of none of 2 pathways" in made.notes[1]


def test_an_estimate_from_windows_sees_training_time_only(simulated: Callable[..., Any]) -> None:
    data = windows([simulated(duration_s=60).session])
    (one,) = data.sessions.values()
    before = functional_topology_of(data, "units")
    assert set(before.area_names) == {"V1", "M1"}
    for first, last in (*one.blocks["held_out"], *one.blocks["validation"]):
        one.features["units"].values[first:last] = 99
    assert functional_topology_of(data, "units") == before
    with pytest.raises(ValueError, match="no port 'bold' in any session"):
        functional_topology_of(data, "bold")
