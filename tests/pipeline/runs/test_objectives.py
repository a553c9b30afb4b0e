"""What a training asks for: objectives of every kind, their weights, forced states, sparse pathways."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import train
from neuroloom.pipeline.runs.objectives import ForcingConfig, ObjectiveConfig, Schedule
from neuroloom.pipeline.runs.training import Run, TrainConfig, read_metrics, steps_of
from neuroloom.pipeline.runs.windowing import Windows, windows

from .stopping import StoppedError, stop_at

Simulate = Callable[..., Any]
Turning = Callable[..., Session]

TOPOLOGY = Topology(
    name="two",
    areas=(Area(name="V1"), Area(name="M1")),
    pathways=(
        Pathway(source="V1", target="M1", length_mm=80.0),
        Pathway(source="M1", target="V1", length_mm=80.0, kind="feedback"),
    ),
)
SHORT: dict[str, Any] = {"steps": 12, "batch_size": 4, "validate_every": 4, "checkpoint_every": 5}
EVERY_KIND: dict[str, dict[str, Any]] = {
    "features": {"target": "units", "areas": ["V1"], "weight": 0.5},
    "local": {"target": "eeg", "every": 4, "between_areas": True, "weight": 0.5},
    "cka": {"target": "units", "weight": "uncertainty"},
    "similarity": {"target": "eeg", "weight": {"start": 1.0, "end": 0.0, "until": 0.5}},
    "nll": {"target": "units", "weight": {"start": 0.0, "end": 1.0}, "detach_every": 5},
    "wiring": {"weight": 0.01},
    "time_scales": {"tau_s": {"V1": 0.03}, "weight": 0.1},
    "walk": {"weight": 0.1},
}


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated(duration_s=40, n_units=4).session], length_s=0.6)


def network(**more: Any) -> ModularNetwork:
    return ModularNetwork(TOPOLOGY, **({"area_size": 6, "bin_s": 0.02, "noise": 0.1, "session_size": 2} | more))


def objective(kind: str, **more: Any) -> ObjectiveConfig:
    return ObjectiveConfig.from_table({"kind": kind} | EVERY_KIND.get(kind, {}) | more)


def same_run(one: Path, other: Path, *runs: Run) -> None:
    assert read_metrics(one) == read_metrics(other)
    assert runs[0].losses == runs[1].losses
    for a, b in zip(*(run.network.parameters() for run in runs), strict=True):
        assert torch.equal(a, b)


def stopped_and_resumed(data: Windows, tmp_path: Path, stops: tuple[int, ...], **settings: Any) -> Run:
    whole = train(network(), data, folder=tmp_path / "whole", **SHORT | settings)
    for stop in stops:
        with pytest.raises(StoppedError):
            train(network(), data, folder=tmp_path / "cut", progress=stop_at(stop), **SHORT | settings)
    resumed = train(network(), data, folder=tmp_path / "cut", **SHORT | settings)
    same_run(tmp_path / "whole", tmp_path / "cut", whole, resumed)
    return resumed


@pytest.mark.parametrize("stops", [(1,), (7,), (6, 11)])
def test_a_run_with_every_objective_goes_on_to_the_same_numbers(
    data: Windows, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    objectives = tuple(objective(kind) for kind in EVERY_KIND)
    stopped_and_resumed(data, tmp_path, stops, objectives=objectives, input_dropout=0.3)


@pytest.mark.parametrize("stops", [(4,), (17,), (26,), (3, 16, 30)])
def test_a_choice_of_weights_goes_on_to_the_same_numbers(data: Windows, tmp_path: Path, stops: tuple[int, ...]) -> None:
    asked = (objective("features", weights=[0.5, 2.0]),)
    run = stopped_and_resumed(data, tmp_path, stops, objectives=asked)  # three trainings of 12 steps
    assert [row["weights"] for row in run.choice] == [{"0: features units": w} for w in (0.0, 0.5, 2.0)]


@pytest.mark.parametrize("stops", [(7,), (11,)])
def test_forced_and_pruned_runs_go_on_to_the_same_numbers(
    data: Windows, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    forced = ForcingConfig(ports=("units", "eeg"), until=0.5)
    run = stopped_and_resumed(data, tmp_path, stops, forcing=forced, prune_to=0.5)
    assert run.network.messages.share_removed() == pytest.approx(0.5, abs=0.01)


def test_what_an_objective_costs_is_logged_at_every_step(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, objectives=tuple(objective(kind) for kind in EVERY_KIND), **SHORT)
    rows = [row for row in read_metrics(tmp_path) if "loss" in row]
    named = {"0: features units", "1: local eeg", "2: cka units", "5: wiring", "6: time_scales", "7: walk"}
    assert rows[-1]["objectives"].keys() == named
    assert rows[0]["objectives"].keys() == named | {"3: similarity eeg"}  # its schedule ends half-way


def test_an_opened_run_knows_its_objectives_and_its_choice(data: Windows, tmp_path: Path) -> None:
    asked = (objective("features", weights=[0.5]), objective("similarity"))
    run = train(network(), data, folder=tmp_path, objectives=asked, **SHORT)
    opened = Run.open(tmp_path)
    assert opened.config.objectives == asked
    assert list(opened.choice) == list(run.choice)
    said = json.loads((tmp_path / "choice.json").read_text())
    assert said["select_on"] == ["gaze", "trials_choice"]
    assert len(said["candidates"]) == 2


def test_a_projector_is_learned_and_its_error_falls(turning: Turning, tmp_path: Path) -> None:
    data = windows([turning()], length_s=1.0, inputs=("light",))
    asked = (ObjectiveConfig(kind="features", target="lfp", weight=3.0),)
    train(network(), data, folder=tmp_path, objectives=asked, steps=120, batch_size=8, learning_rate=0.01)
    errors = [row["objectives"]["0: features lfp"] for row in read_metrics(tmp_path) if "objectives" in row]
    assert np.mean(errors[-10:]) < 0.75 * np.mean(errors[:10])


def test_a_local_objective_leaves_the_likelihood_its_own_gradient(data: Windows) -> None:
    """The same network, told about the same recording: with a cut, early inputs learn nothing from it."""
    from neuroloom.models.recurrence import Cut
    from neuroloom.pipeline.runs._terms import Terms

    made = network()
    train(made, data, **SHORT | {"steps": 1})
    terms = Terms(made, data, [objective("local"), objective("features"), objective("nll")])
    assert terms.cut(0) == Cut(every_bins=4, between_areas=True)
    assert terms.cut(1) == terms.cut_of_port("gaze") == Cut()
    assert terms.cut_of_port("units") == Cut(every_bins=5)


def test_wiring_cost_makes_pathways_weaker(data: Windows) -> None:
    strengths = []
    for weight in (0.0, 1.0):
        settings = {"objectives": (objective("wiring", weight=weight),), "steps": 60, "learning_rate": 0.01}
        run = train(network(), data, **SHORT | settings)
        strengths.append(run.network.pathway_strengths()[0].sum().item())
    assert strengths[1] < 0.8 * strengths[0]


def test_time_scales_come_to_their_prior_where_it_is_strong(data: Windows) -> None:
    asked = (objective("time_scales", tau_s={"V1": 0.5}, weight=10.0, width=0.3),)
    made = train(network(), data, **SHORT | {"objectives": asked, "steps": 150, "learning_rate": 0.05}).network
    tau_s = made.time_constants_s()[0].mean(dim=1)
    assert tau_s[0].item() == pytest.approx(0.5, rel=0.15)
    assert tau_s[1].item() < 0.2


def test_an_uncertain_objective_weighs_itself_down_when_it_costs_much(data: Windows) -> None:
    from neuroloom.pipeline.runs._terms import Terms

    terms = Terms(network(), data, [objective("wiring", weight="uncertainty")])
    cost = torch.tensor(4.0)
    optimizer = torch.optim.SGD(terms.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        terms.weighed(0, cost, 0.0).backward()
        optimizer.step()
    assert terms.log_variance[0].item() == pytest.approx(np.log(4.0), abs=0.01)  # where its cost counts as 1


@pytest.mark.parametrize(("shape", "middle"), [("linear", 0.5), ("cosine", 0.5)])
def test_a_schedule_goes_from_start_to_end_and_stays(shape: Any, middle: float) -> None:
    schedule = Schedule(start=1.0, end=0.0, until=0.5, shape=shape)
    assert [schedule.at(done) for done in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([1.0, middle, 0.0, 0.0])


def test_attention_is_transferred_to_the_areas_that_the_targets_channels_name(turning: Turning, tmp_path: Path) -> None:
    """A port says that V1 is attended to nine times as much as M1; the states come to be as busy."""
    session = turning(duration_s=40)
    data = windows([session], length_s=1.0, inputs=("light",))
    (one,) = data.sessions.values()
    made = one.features["light"]
    attended = replace(
        made,
        port=type(made.port)(name="attended", kind="continuous", channel_names=("V1", "M1")),
        values=np.tile(np.float32([0.9, 0.1]), (one.features.n_bins, 1)),
    )
    one.features.ports["attended"] = attended  # type: ignore[index]
    data = type(data)(sessions={one.id: type(one)(features=one.features, config=one.config, blocks=one.blocks)},
                      config=data.config)  # fmt: skip
    asked = (objective("attention", target="attended", weight=3.0),)
    run = train(
        network(), data, objectives=asked, port_weights={"attended": 0.0}, steps=150, batch_size=8, learning_rate=0.02
    )
    batch = next(iter(data.held_out.batches(batch_size=8)))
    run.network.eval()
    energy = run.network.states(batch.session, batch.inputs, batch.input_masks)[:, 10:].square().mean(dim=(0, 1, 3))
    assert (energy[0] / energy.sum()).item() == pytest.approx(0.9, abs=0.05)


def test_soft_targets_teach_a_teachers_answers(turning: Turning, simulated: Simulate) -> None:
    """Log odds of a teacher that always says the first class with 80 %."""
    session = simulated(duration_s=40, n_units=4).session
    data = windows([session], length_s=0.6)
    (one,) = data.sessions.values()
    made = one.features["gaze"]
    odds = replace(
        made,
        port=type(made.port)(name="teacher", kind="continuous", channel_names=("left", "right")),
        values=np.tile(np.float32([np.log(0.8), np.log(0.2)]), (one.features.n_bins, 1)),
        valid=np.ones_like(made.valid),
    )
    one.features.ports["teacher"] = odds  # type: ignore[index]
    data = windows_again(data)
    asked = (objective("soft_targets", target="teacher", output="trials_choice", weight=3.0),)
    weights = dict.fromkeys(("teacher", "units", "eeg", "gaze", "trials_choice"), 0.0)
    run = train(network(), data, objectives=asked, port_weights=weights, steps=100, batch_size=8, learning_rate=0.02)
    batch = next(iter(data.train.batches(batch_size=8)))
    run.network.eval()
    inputs = {name: value for name, value in batch.inputs.items() if name != "teacher"}
    made_of = run.network(batch.session, inputs, {n: m for n, m in batch.input_masks.items() if n in inputs})
    said = run.network.readout(batch.session, "trials_choice").mean(made_of["trials_choice"])
    assert said[:, 10:, 0].mean().item() == pytest.approx(0.8, abs=0.1)


def windows_again(data: Windows) -> Windows:
    """The same windows, after ports were added by hand."""
    from dataclasses import replace

    return replace(data, sessions={name: replace(one) for name, one in data.sessions.items()})


def rare_behaviour(turning: Turning, every: int, **control: bool) -> Windows:
    """Windows whose hand is known in every n-th bin of training time only; the LFP always."""
    data = windows([turning(duration_s=40 if every > 1 else 80)], length_s=1.0, inputs=("light",), **control)
    (one,) = data.sessions.values()
    for first, last in one.blocks["train"]:
        seen = np.arange(last - first) % every == 0
        one.features["hand"].valid[first:last][~seen] = False
    return data


def chosen_weight(data: Windows, candidate: float) -> float:
    asked = (
        ObjectiveConfig(kind="nll", target="lfp", weight=0.0),
        ObjectiveConfig(kind="features", target="lfp", weights=(candidate,)),
    )
    settings = {"steps": 120, "batch_size": 8, "validate_every": 20, "patience": 0, "learning_rate": 1e-2}
    made = ModularNetwork(TOPOLOGY, area_size=12, bin_s=0.02, seed=1)
    run = train(made, data, objectives=asked, **settings)
    best = min(run.choice, key=lambda row: row["loss"])
    assert run.best_loss == best["loss"]
    return float(best["weights"]["1: features lfp"])


def test_a_recording_that_helps_behaviour_is_given_weight(turning: Turning) -> None:
    assert chosen_weight(rare_behaviour(turning, every=60), 10.0) == 10.0


def test_a_recording_that_hurts_behaviour_is_given_none(turning: Turning) -> None:
    assert chosen_weight(rare_behaviour(turning, every=1, shuffle_recording=True), 30.0) == 0.0


def test_of_equal_losses_the_smaller_weights_are_chosen() -> None:
    from neuroloom.pipeline.runs.choosing import best_of, combinations

    lines = combinations([objective("features", weights=[1.0])])
    assert best_of([(lines[1], 0.5), (lines[0], 0.5)]) == 1


def test_shorter_trainings_may_choose_and_a_whole_one_follows(data: Windows, tmp_path: Path) -> None:
    config = TrainConfig(**SHORT, objectives=(objective("features", weights=[1.0]),), choose_steps=4)
    told: list[int] = []
    run = train(network(), data, folder=tmp_path, config=config, progress=lambda step, loss: told.append(step))
    assert told == list(range(1, 4 + 4 + 12 + 1))
    assert steps_of(config) == 20
    assert (len(run.losses), len(run.choice)) == (12, 2)
    assert Run.open(tmp_path).losses == run.losses


def test_pruning_is_over_before_a_network_can_be_the_best(data: Windows, tmp_path: Path) -> None:
    settings = SHORT | {"steps": 40, "prune_to": 0.8, "validate_every": 5}
    run = train(network(), data, folder=tmp_path, **settings)
    removed = [(row["step"], row["removed"]) for row in read_metrics(tmp_path) if "removed" in row]
    shares = [share for _, share in removed]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(0.8, abs=0.01)
    assert run.best_step >= removed[-1][0]
    opened = Run.open(tmp_path).network
    assert opened.messages.share_removed() == run.network.messages.share_removed()


def test_a_control_is_part_of_a_runs_settings(simulated: Simulate, data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, **SHORT)
    other = windows([simulated(duration_s=40, n_units=4).session], length_s=0.6, surrogate=True)
    with pytest.raises(ValueError, match="other settings under 'control'"):
        train(network(), other, folder=tmp_path, **SHORT)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "mse"}, "no objective 'mse'; there are: attention, cka, features"),
        ({"kind": "features"}, "features needs a target"),
        ({"kind": "wiring", "target": "eeg"}, "wiring takes no target"),
        ({"kind": "features", "target": "eeg", "colour": 1}, "no setting 'colour'; it has: areas, between_areas"),
        ({"kind": "local", "target": "eeg", "weight": "much"}, "'much'; a number, a schedule or 'uncertainty'"),
        ({"kind": "nll", "target": "eeg", "weight": "uncertainty"}, "nll weighs itself"),
        ({"kind": "cka", "target": "eeg", "weight": -1.0}, "weight -1.0; 0 or more"),
        ({"kind": "cka", "target": "eeg", "weight": {"start": 1.0, "until": 0.0}}, "until 0.0"),
        ({"kind": "soft_targets", "target": "eeg"}, "soft_targets alone needs one: whose answers"),
    ],
)
def test_an_objective_that_makes_no_sense_is_told(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig.from_table(table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objectives": (objective("features", target="lfp"),)}, "target 'lfp' is no target; there are eeg, gaze"),
        ({"objectives": (objective("features", areas=["V9"]),)}, "no area 'V9'; there are V1, M1"),
        ({"objectives": (objective("time_scales", tau_s={"V9": 1.0}),)}, "no area 'V9'"),
        ({"objectives": (objective("cka", target="trials_choice"),)}, "choice holds classes"),
        ({"objectives": (objective("attention", target="gaze"),)}, "channel 'gaze0' is no area"),
        ({"objectives": (objective("features", weights=[1.0]),), "select_on": ("units",)}, "a recording of a brain"),
        ({"forcing": ForcingConfig(ports=("gaze",))}, "cannot force; targets that can: eeg, units"),
        ({"port_weights": {"lfp": 1.0}}, "port_weights: 'lfp' is no target"),
        ({"select_on": ("lfp",)}, "select_on: 'lfp' is no target"),
    ],
)
def test_what_a_training_asks_for_and_nobody_has_is_told(data: Windows, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(network(), data, **SHORT | settings)


def test_weights_cannot_be_chosen_without_behaviour(simulated: Simulate) -> None:
    only = windows([simulated(duration_s=40, n_units=4).session], length_s=0.6, targets=("units", "eeg"))
    with pytest.raises(ValueError, match="none of the targets is: eeg, units"):
        train(network(), only, objectives=(objective("features", weights=[1.0]),), **SHORT)


def test_an_entrance_for_a_port_that_nobody_has_is_told(data: Windows) -> None:
    topology = Topology(name="t", areas=(Area(name="V1", inputs=("stimulis",)), Area(name="M1")))
    with pytest.raises(ValueError, match="area V1 names 'stimulis', neither a port of any session nor a kind"):
        train(ModularNetwork(topology, area_size=4), data, **SHORT)
