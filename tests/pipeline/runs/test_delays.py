"""Delays of pathways of a linear system, in which each is known."""

from itertools import pairwise

import numpy as np
import pytest

from neuroloom.pipeline.runs.delays import delays_of, lag_profile, share_at
from neuroloom.pipeline.runs.jackknife import Jackknifed, together
from neuroloom.pipeline.runs.past import regressions

AREAS, NAMES = tuple("AABBCC"), tuple("ABC")
TWO_AND_FOUR = {(0, 1): (2,), (1, 2): (4,)}


Lags = dict[tuple[int, int], tuple[int, ...]]


def linear(lags: Lags, n_bins: int = 2000, seed: int = 0, weight: float = 0.5) -> np.ndarray:
    """Two channels per area, with noise and a memory of their own; what is sent drives two channels opposite ways."""
    x = np.random.default_rng(seed).standard_normal((n_bins, 6))
    for t in range(8, n_bins):
        x[t] += 0.6 * x[t - 1]
        for (source, target), after in lags.items():
            for lag in after:
                x[t, 2 * target : 2 * target + 2] += weight * np.array([1, -1]) * x[t - lag, 2 * source]
    return x


def profile(blocks: list[np.ndarray], n_lags: int = 6) -> Jackknifed:
    return lag_profile(regressions(blocks, n_lags), AREAS, NAMES)


def delays(blocks: list[np.ndarray], n_lags: int = 6) -> np.ndarray:
    return delays_of(profile(blocks, n_lags))


def test_every_delay_of_a_linear_system_is_found_and_none_where_nothing_is_sent() -> None:
    found = delays([linear(TWO_AND_FOUR)])
    assert found[0, 1] == pytest.approx(2, abs=0.02)
    assert found[1, 2] == pytest.approx(4, abs=0.02)
    assert np.isnan(found).sum() == 7


def test_two_areas_that_answer_each_other_have_a_delay_each_way() -> None:
    found = delays([linear({(0, 1): (1,), (1, 0): (5,)}, weight=0.25)])
    assert [found[0, 1], found[1, 0]] == pytest.approx([1, 5], abs=0.05)


def test_a_delay_may_lie_between_bins() -> None:
    assert delays([linear({(0, 1): (2, 3)})])[0, 1] == pytest.approx(2.5, abs=0.2)


def test_what_is_sent_at_two_lags_far_apart_has_no_delay() -> None:
    assert np.isnan(delays([linear({(0, 1): (2, 5)})])[0, 1])


def test_no_lag_reaches_across_a_gap() -> None:
    """Where stretches are of other times, their ends seem to send to what follows them: here always after 2 bins."""
    whole = list(np.random.default_rng(0).standard_normal((200, 10, 6)))
    for before, after in pairwise(whole):
        after[0, 2] += 3 * before[-2, 0]
    assert np.isnan(delays(whole, 3)).all()
    assert delays([np.concatenate(whole)], 3)[0, 1] == pytest.approx(2, abs=0.1)


def test_units_do_not_matter() -> None:
    x = linear(TWO_AND_FOUR)
    scaled = x * np.array([1e3, 1, 1e-3, 1, 50, 1]) + 7
    np.testing.assert_allclose(delays([scaled]), delays([x]))


def test_a_delay_at_the_last_lag_may_be_longer_and_is_not_told() -> None:
    x = linear(TWO_AND_FOUR)
    assert np.isnan(delays([x], 4)[1, 2])
    assert delays([x], 5)[1, 2] == pytest.approx(4, abs=0.02)
    assert np.isnan(delays([x], 3)[1, 2])


def test_with_fewer_lags_than_three_there_is_nothing_to_compare() -> None:
    x = linear({(0, 1): (1,)})
    assert np.isnan(delays([x], 1)).all()
    assert np.isnan(delays([x], 2)).all()
    assert delays([x], 3)[0, 1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_a_source_behind_noise_of_its_measurement_has_a_delay_or_none_but_no_wrong_one(seed: int) -> None:
    x = linear(TWO_AND_FOUR, 4000, seed) + 2 * np.random.default_rng(seed + 9).standard_normal((4000, 6))
    found = delays([x])
    assert np.isnan(found[0, 1]) or abs(found[0, 1] - 2) < 1
    assert np.isnan(found[1, 2]) or abs(found[1, 2] - 4) < 1


def test_how_sure_it_is_is_the_share_of_what_is_sent_at_that_lag() -> None:
    found = profile([linear(TWO_AND_FOUR)])
    share = share_at(delays_of(found), found)
    assert share[0, 1] > 0.95
    assert np.isnan(share[1, 0])


def test_sessions_that_tell_too_little_by_themselves_tell_it_together() -> None:
    short = [profile([linear(TWO_AND_FOUR, 250, seed)]) for seed in range(8)]
    assert any(np.isnan(delays_of(one)[0, 1]) for one in short)
    assert delays_of(together(short, [250] * 8))[0, 1] == pytest.approx(2, abs=0.3)
