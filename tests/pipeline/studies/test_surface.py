"""The loss surface and what a budget buys on it, on laws and prices that are known."""

import math

import pytest

from neuroloom.pipeline.studies._portfolio import Costs, DeviceCosts, Prices, Reach, best, best_mixed
from neuroloom.pipeline.studies._surface import NONE, Point, Surface, fit

LAW = Surface(
    floor=0.1,
    onset=30.0,
    scale=4.0,
    power=0.5,
    between=0.2,
    typical=128.0,
    devices={"cap": (2.0, 0.9), "toy": (1.0, 1.0)},
)
FREE = Costs(person_hour=1.0, recruiting=0.0, dropout=0.0)
REACH = Reach(least=16, most=1024, least_recorded=64, most_recorded=256, most_people=4)


def points(n_seeds=3, noise=0.0):
    grid = [(NONE, n, 0, s) for n in (16, 64, 256, 1024) for s in (1, 2, 4)]
    grid += [(d, 0, n, s) for d in ("cap", "toy") for n in (64, 256) for s in (1, 4)]
    return [
        Point(
            device=d, plain=p, recorded=r, people=s,
            losses=tuple(float(LAW.loss(d, p, r, s)) * (1 + noise * (i - 1)) for i in range(n_seeds)),
        )
        for d, p, r, s in grid
    ]  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return fit(points(noise=0.02), draws=20)


def test_a_law_is_found_again(found):
    for device, plain, recorded, people in ((NONE, 100, 0, 3), ("cap", 50, 100, 2), ("toy", 0, 200, 1)):
        assert found.surface.loss(device, plain, recorded, people) == pytest.approx(
            float(LAW.loss(device, plain, recorded, people)), rel=0.03
        )


def test_what_a_recorded_sequence_counts_is_found_again(found):
    rate = found.estimate(lambda s: float(s.rate("cap", 128)))
    assert rate.value == pytest.approx(2.0, rel=0.1)
    assert rate.low <= rate.value <= rate.high
    assert found.surface.rate("toy", 128) == pytest.approx(1.0, rel=0.1)


def test_a_rate_falls_with_the_amount_where_the_reach_is_below_one():
    assert LAW.rate("cap", 256) < LAW.rate("cap", 64)


def test_no_amount_reaches_a_loss_below_the_floor():
    assert math.isinf(LAW.needed(0.1, people=1))
    assert LAW.loss(NONE, LAW.needed(0.5, 4), 0, 4) == pytest.approx(0.5)


def test_recordings_cannot_be_judged_without_plain_cells():
    with pytest.raises(ValueError, match="no cell without a device"):
        fit([p for p in points() if p.device != NONE])


def prices(**cap):
    return Prices(costs=FREE, devices={"cap": DeviceCosts(**cap)})


def test_money_is_spent_on_hours_and_no_more_than_there_is():
    bought = best(LAW, prices(), REACH, 100, devices=[NONE])
    assert (bought.plain, bought.recorded, bought.people) == (100, 0, 4)
    assert bought.price <= 100


def test_less_than_was_measured_is_not_bought():
    assert best(LAW, prices(), REACH, 15, devices=[NONE]) is None


def test_more_than_was_measured_is_not_bought():
    bought = best(LAW, prices(), REACH, 5000, devices=[NONE])
    assert (bought.plain, bought.at_the_edge) == (1024, True)


@pytest.mark.parametrize(("hour", "device"), [(0.5, "cap"), (2.0, NONE)])
def test_a_device_is_bought_while_its_surcharge_is_below_what_it_adds(hour, device):
    """M of the cap is near 2: it breaks even where a recorded hour costs twice a plain one."""
    assert best(LAW, prices(hour=hour), REACH, 128, devices=[NONE, "cap"]).device == device


def test_dear_people_are_fewer():
    dear = Prices(costs=FREE.model_copy(update={"recruiting": 60.0}), devices={})
    assert best(LAW, dear, REACH, 200, devices=[NONE]).people < 4


def test_who_drops_out_has_to_be_found_again():
    half = Prices(costs=Costs(person_hour=10, recruiting=100, dropout=0.5), devices={})
    assert half.per_person(NONE) == 200
    assert half.per_sequence(NONE, recorded=False) == 15
    assert half.total(NONE, people=2, plain=4, recorded=0) == 460


def mixed(budget, **devices):
    costs = {"cap": DeviceCosts(), "toy": DeviceCosts()} | devices
    return best_mixed(LAW, Prices(costs=FREE, devices=costs), REACH, budget, devices=[NONE, "cap", "toy"])


def test_a_device_that_costs_per_person_is_put_on_one_and_the_others_give_plain_hours():
    bought = mixed(600, cap=DeviceCosts(person=150), toy=DeviceCosts(person=10_000))
    assert bought.people == {NONE: 3, "cap": 1}
    assert bought.team == "none on 3, cap on 1"
    assert bought.price == pytest.approx(600)
    assert bought.plain + bought.recorded["cap"] == pytest.approx(450)
    by_cap = float(LAW.rate("cap", bought.recorded["cap"])) * bought.recorded["cap"]
    people = (bought.plain + by_cap) ** 2 / (bought.plain**2 / 3 + by_cap**2)
    assert bought.loss == pytest.approx(float(LAW.loss_at(bought.plain + by_cap, people)))


def test_what_two_devices_recorded_adds_up_each_by_its_own_rate():
    effective, _ = LAW.of_team(10, {"cap": 128, "toy": 50}, {"cap": 1, "toy": 1})
    assert effective == pytest.approx(10 + 2 * 128 + 50)


def test_who_gives_as_much_as_the_others_is_a_person_and_who_gives_nothing_is_none():
    assert LAW.of_team(60, {"toy": 20}, {NONE: 3, "toy": 1})[1] == pytest.approx(4)
    assert LAW.of_team(0, {"toy": 20}, {NONE: 3, "toy": 1})[1] == pytest.approx(1)
    assert LAW.of_team(40, {"toy": 0, "cap": 0}, {"cap": 3, "toy": 1})[1] == pytest.approx(4)


def test_a_team_that_cannot_be_paid_is_not_bought():
    assert mixed(400, cap=DeviceCosts(person=10_000), toy=DeviceCosts(person=10_000)) is None
