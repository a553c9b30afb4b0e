"""Means of products of independent estimates, by numbers one can count."""

import numpy as np
import pytest

from neuroloom.pipeline.runs.jackknife import Jackknifed, of_pairs, together


def products(weights: list[float]) -> np.ndarray:
    return np.multiply.outer(np.array(weights), np.array(weights))


def test_the_value_is_the_mean_over_pairs_of_different_parts() -> None:
    assert of_pairs(products([1, 2, 4])).value == pytest.approx((1 * 2 + 1 * 4 + 2 * 4) / 3)


def test_the_error_is_that_of_leaving_each_part_out() -> None:
    without = np.array([2 * 4, 1 * 4, 1 * 2])
    found = of_pairs(products([1, 2, 4]))
    assert found.spread == pytest.approx((without - without.mean()) * np.sqrt(2 / 3))
    assert found.errors == pytest.approx(np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum()))


def test_noise_alone_has_no_value_in_the_mean_where_its_size_has_one() -> None:
    noise = np.random.default_rng(0).standard_normal((500, 8, 50))
    values = np.array([of_pairs(one @ one.T).value for one in noise]) / 50
    assert abs(values.mean()) < 4 * values.std() / np.sqrt(500)
    assert values.std() < 0.05
    assert (noise**2).mean() > 0.9


def test_two_sessions_alike_have_the_value_of_one_and_an_error_less_by_the_root_of_two() -> None:
    one = of_pairs(products([1, 2, 4, 3]))
    both = together([one, one], [300, 300])
    assert both.value == pytest.approx(one.value)
    assert both.errors == pytest.approx(one.errors / np.sqrt(2))


def test_a_longer_session_weighs_more() -> None:
    first, second = (Jackknifed(value=np.array([v]), spread=np.zeros((2, 1))) for v in (0.0, 4.0))
    assert together([first, second], [300, 100]).value == pytest.approx(1.0)
