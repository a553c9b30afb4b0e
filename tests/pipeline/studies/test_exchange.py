"""The exchange rate on curves that can be read by eye."""

import math

import pytest

from neuroloom.pipeline.studies._exchange import equivalent, exchange_rate, gain_recovered, interval, mean_of

HALVING = {16: 0.8, 64: 0.4, 256: 0.2, 1024: 0.1}


def test_a_loss_on_the_curve_is_worth_what_lies_below_it():
    assert equivalent(HALVING, 0.2) == (pytest.approx(256), "")


def test_between_two_points_it_is_read_over_the_logarithm():
    found, bound = equivalent(HALVING, 0.3)
    assert (found, bound) == (pytest.approx(128), "")


@pytest.mark.parametrize(("loss", "told"), [(0.05, (1024, ">")), (0.9, (16, "<"))])
def test_it_is_never_read_beyond_the_curve(loss, told):
    assert equivalent(HALVING, loss) == told


def test_where_the_curve_rises_it_counts_as_flat():
    assert equivalent({16: 0.8, 64: 0.2, 256: 0.5, 1024: 0.1}, 0.15)[0] == pytest.approx(512)


def test_the_rate_is_plain_samples_per_recorded_one():
    curve = {n: (loss, loss) for n, loss in HALVING.items()}
    assert exchange_rate(curve, (0.2, 0.2), 64).value == pytest.approx(4)


def test_behaviour_alone_is_worth_itself():
    curve = {n: (loss * 1.1, loss * 0.9) for n, loss in HALVING.items()}
    found = exchange_rate(curve, curve[64], 64)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_other_seeds_make_an_interval():
    curve = {n: (loss, loss, loss) for n, loss in HALVING.items()}
    found = exchange_rate(curve, (0.1, 0.2, 0.3), 64)
    assert found.low < found.value < found.high


def test_numbers_of_seeds_must_match():
    with pytest.raises(ValueError, match="losses of 1, 2 seeds"):
        exchange_rate({16: (1.0, 1.0), 64: (0.5, 0.5)}, (0.7,), 16)


def test_half_the_gain_is_half():
    assert gain_recovered((1.0, 1.0), (0.7, 0.7), (0.4, 0.4)).value == pytest.approx(0.5)


def test_one_seed_has_no_width():
    assert mean_of([3.0]).cells("x") == {"x": 3.0, "x_low": 3.0, "x_high": 3.0, "x_bound": ""}


def test_an_interval_of_nothing_known_is_unknown():
    assert all(math.isnan(end) for end in interval(lambda rows: math.nan, 3))
