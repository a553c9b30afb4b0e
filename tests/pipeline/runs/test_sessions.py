"""New sessions on an old network, and people who change from day to day."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import train
from neuroloom.pipeline.runs.objectives import ObjectiveConfig
from neuroloom.pipeline.runs.windowing import Windows, windows

Turning = Callable[..., Session]

TOPOLOGY = Topology(
    name="two",
    areas=(Area(name="V1", inputs=("light",)), Area(name="M1", outputs=("hand",))),
    pathways=(Pathway(source="V1", target="M1"), Pathway(source="M1", target="V1")),
)


def network(seed: int = 1) -> ModularNetwork:
    return ModularNetwork(TOPOLOGY, area_size=12, bin_s=0.02, seed=seed, session_size=4)


def cut(*sessions: Session) -> Windows:
    return windows(sessions, length_s=1.0, inputs=("light",))


def test_a_new_session_with_other_electrodes_needs_little_where_the_network_knows_the_rest(turning: Turning) -> None:
    """25 s of a second session: only what is its own is fitted, against a network that learns all from these 25 s."""
    known = cut(turning(duration_s=120, seed=1, session="A"))
    mixing = np.random.default_rng(5).standard_normal((2, 4))
    new = cut(turning(duration_s=25, seed=51, mixing=mixing, n_lfp=4, session="B"))
    settings: dict[str, Any] = {"steps": 150, "batch_size": 16, "validate_every": 15, "patience": 0}
    made = network()
    train(made, known, steps=300, batch_size=16, validate_every=50, learning_rate=1e-2)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    frozen = train(made, new, train_only="session", learning_rate=2e-2, **settings)
    fresh = train(network(), new, learning_rate=1e-2, **settings)
    assert all(torch.equal(p, dict(made.named_parameters())[name]) for name, p in before.items())
    assert all(p.requires_grad for p in made.parameters())
    assert frozen.best_loss < fresh.best_loss - 0.1


def drifting(turning: Turning, n_sessions: int, duration_s: float, order: list[int] | None = None) -> Windows:
    """Sessions of a person whose electrodes move and whose aim turns, a little from day to day."""
    rng = np.random.default_rng(200)
    mixing, sessions = rng.standard_normal((2, 4)), []
    for n in range(n_sessions):
        day = n if order is None else order[n]
        options = {"mixing": mixing.copy(), "aim": 0.25 * n, "n_lfp": 4, "session": f"{n:02d}", "day": day}
        sessions.append(turning(duration_s=duration_s, seed=n, **options))
        mixing = 0.95 * mixing + 0.3 * rng.standard_normal(mixing.shape)
    return cut(*sessions)


def walked(data: Windows, *objectives: ObjectiveConfig, steps: int) -> Any:
    settings: dict[str, Any] = {"batch_size": 8, "validate_every": 25, "learning_rate": 1e-2, "patience": 0}
    return train(network(seed=0), data, steps=steps, objectives=objectives, **settings)


PORTS = ObjectiveConfig(kind="walk", weight=0.3, options={"of": "ports"})
VECTOR = ObjectiveConfig(kind="walk", weight=0.3)


@pytest.mark.slow
def test_a_person_who_drifts_is_followed_better_when_sessions_may_move_only_little(turning: Turning) -> None:
    data = drifting(turning, n_sessions=8, duration_s=14)
    free, smooth = (walked(data, *objectives, steps=300) for objectives in ((), (PORTS, VECTOR)))
    assert smooth.best_loss < free.best_loss - 0.05


def test_the_vector_of_a_session_moves_in_small_steps_from_day_to_day(turning: Turning) -> None:
    data = drifting(turning, n_sessions=4, duration_s=12)

    def steps_between(run: Any) -> float:
        vectors = torch.stack([run.network.session_vector(session) for session in data.sessions]).detach()
        return (vectors.diff(dim=0).norm(dim=1) / vectors.norm(dim=1).mean()).mean().item()

    free, smooth = (walked(data, *objectives, steps=100) for objectives in ((), (VECTOR,)))
    assert steps_between(smooth) < 0.6 * steps_between(free)


@pytest.mark.slow
def test_the_order_of_days_is_what_a_walk_rests_on(turning: Turning) -> None:
    right, wrong = (drifting(turning, 8, 14, order) for order in (None, [0, 4, 1, 5, 2, 6, 3, 7]))
    assert walked(right, PORTS, steps=300).best_loss < walked(wrong, PORTS, steps=300).best_loss


def test_a_walk_needs_sessions_that_can_be_compared(turning: Turning) -> None:
    data = cut(turning(duration_s=12, session="A"), turning(duration_s=12, n_lfp=3, session="B"))
    with pytest.raises(ValueError, match="sessions have other ports or channels"):
        walked(data, PORTS, steps=1)
    without = ModularNetwork(TOPOLOGY, area_size=4, bin_s=0.02)
    with pytest.raises(ValueError, match="session_size of the network must be above 0"):
        train(without, data, steps=1, objectives=(VECTOR,))


def test_sessions_of_the_same_person_follow_each_other_by_date_and_not_by_name(turning: Turning) -> None:
    from neuroloom.pipeline.runs._terms import Terms

    days = {"A": 9, "B": 2, "C": 3}
    data = cut(*(turning(duration_s=12, session=name, day=day) for name, day in days.items()))
    made = network()
    train(made, data, steps=1)
    terms = Terms(made, data, [VECTOR])
    assert terms._in_time() == ["sub-01_ses-B", "sub-01_ses-C", "sub-01_ses-A"]
    apart, follows = terms._days(torch.device("cpu"))
    assert (apart.tolist(), follows.tolist()) == ([1.0, 1.0, 6.0], [False, True, True])
