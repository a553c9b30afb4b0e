"""The stabilisation study: what explodes, what is cut, and systems small enough to be learned in a second."""

import math
from dataclasses import replace

import pytest
import torch

from neuroloom.models.brain_students import BrainShape, BrainStudents
from neuroloom.models.recurrence import Cut
from neuroloom.models.recurrent_students import RecurrentShape, RecurrentStudents
from neuroloom.models.topology import Topology
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import (
    _chaos_lesson,
    _chaos_system,
    _stabilise_report,
    _toggle_systems,
    kinds,
    stabilise,
)
from neuroloom.pipeline.studies._adam import Adam
from neuroloom.pipeline.studies._cells import Cells
from neuroloom.pipeline.studies._stabilise_school import Arm, Schooling, teach
from neuroloom.pipeline.studies._toggle_lesson import ToggleLesson, seen

TINY = stabilise.Settings(
    systems=("toggle", "brain", "chaotic"),
    brain=stabilise.BrainSettings(area_size=4, schooling={"steps": 10}),
    chaotic=stabilise.ChaoticSettings(
        recorded=400, lengths=(4,), warm=4, settle=20, foretold=20, n_test=5, n_channels=4,
        schooling={"steps": 10, "batch_size": 8},
    ),
    teacher={"channels": 1, "units": 12, "context": 6, "longest_trained": 6, "steps": 150},
    gains=(1.5,), lengths=(3,), seeds=2,
    arms=("behaviour", "local", "growing", "areas", "forced", "shuffled", "growing_shuffled", "gru"),
    units=16, n_channels=4, pool=200, n_test=50, schooling={"steps": 150, "learning_rate": 5e-3},
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return stabilise.opened(TINY, Store.here(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def found(bench):
    return [
        (key, result)
        for batch in stabilise.together(stabilise.keys(TINY))
        for key, result in zip(batch, stabilise.solve(bench, TINY, batch), strict=True)
    ]


def students(gain, units=64):
    return RecurrentStudents(RecurrentShape(n_inputs=2, n_electrodes=3, units=units, gain=gain), (0,))


def norm_at_the_start(gain, cut, steps=40):
    """Of the gradient of the last answer by the weights of the inputs."""
    group = students(gain)
    x = torch.randn(1, 8, steps, 2, generator=torch.Generator().manual_seed(0))
    group.answer(group.run(x, cut=cut)[-1]).sum().backward()
    return float(group.weight("inputs").grad.norm())


def test_the_bit_asked_for_is_shown_at_the_last_step_only():
    x = seen(torch.tensor([[1, 0, 2]]), torch.tensor([1]), 2)
    assert x[0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]


def test_a_high_gain_makes_gradients_explode_and_cutting_them_does_not():
    assert norm_at_the_start(4.0, 0) > 1000 * norm_at_the_start(4.0, 4)


def test_a_low_gain_does_neither():
    assert norm_at_the_start(0.5, 0) == pytest.approx(norm_at_the_start(0.5, 8), rel=0.1)


def test_an_orthogonal_step_keeps_lengths_at_rest():
    group = RecurrentStudents(RecurrentShape(n_inputs=2, n_electrodes=3, units=32, cell="orthogonal"), (0,))
    rest, _ = group.start(4)
    assert group.stretch(rest, torch.Generator().manual_seed(0)).detach() == pytest.approx(torch.ones(1, 4), abs=1e-4)


@pytest.mark.parametrize(("cell", "module"), [("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)])
def test_the_gated_students_compute_what_pytorchs_do(cell, module):
    group = RecurrentStudents(RecurrentShape(n_inputs=2, n_electrodes=3, units=5, cell=cell), (0,))
    theirs = module(2, 5)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(group.weight("inputs")[0].T)
        theirs.weight_hh_l0.copy_(group.weight("recurrent")[0].T)
        theirs.bias_ih_l0.copy_(group.weight("bias")[0])
        theirs.bias_hh_l0.zero_()
        x = torch.randn(1, 4, 6, 2, generator=torch.Generator().manual_seed(0))
        assert group.run(x)[:, 0] == pytest.approx(theirs(x[0].transpose(0, 1))[0], abs=1e-5)


def test_a_gradient_that_is_not_finite_moves_nobody():
    group = students(1.0, units=4)
    before = group.weight("answer_weight").detach().clone()
    for parameter in group.parameters():
        parameter.grad = torch.full_like(parameter, math.inf)
    Adam(group, 0.1, 0.0, 1.0).step()
    assert torch.equal(group.weight("answer_weight"), before)


def test_students_are_clipped_one_by_one():
    group = RecurrentStudents(RecurrentShape(n_inputs=1, n_electrodes=1, units=2), (0, 1))
    optimizer = Adam(group, 0.1, 0.0, 1.0)
    for parameter in group.parameters():
        parameter.grad = torch.zeros_like(parameter)
    group.weight("answer_weight").grad[0] = 100.0
    group.weight("answer_weight").grad[1] = 0.1
    assert optimizer.norms().tolist() == pytest.approx([math.sqrt(2) * 100, math.sqrt(2) * 0.1])
    optimizer.step()
    assert optimizer.first["answer_weight"][1].flatten().tolist() == pytest.approx([0.01, 0.01])


def test_what_is_not_finite_is_kept_as_unknown(tmp_path):
    cells = Cells(folder=tmp_path, common={})
    cells.put({"gain": 4.0}, {"largest_norm": math.inf})
    assert cells.get({"gain": 4.0}) == {"largest_norm": None}


def test_an_easy_task_is_learned(found):
    right = [result["right"] for key, result in found if (key["system"], key["arm"]) == ("toggle", "gru")]
    assert max(right) > 0.9


def test_every_arm_has_its_gradient_norms_and_its_horizon(found):
    for key, result in found:
        assert result["norms"][0][0] == 0
        if key["system"] != "chaotic":
            assert set(result["by_length"]) == {"2", "3", "6"}
            assert result["horizon"] in (0, 2, 3, 6)


def test_the_curriculum_begins_short(bench):
    """A pool in which only the first three steps are known: an arm that reads further meets the unknown."""
    pool = _toggle_systems.recorded(bench.toggle, TINY, 6)
    pool.electrodes_NTK[:, 3:] = torch.nan
    shape = RecurrentShape(n_inputs=2, n_electrodes=4, units=4)
    lesson = ToggleLesson(pool=pool, held=pool)
    for arm, meets in ((Arm(curriculum=True, electrodes=1.0), False), (Arm(electrodes=1.0), True)):
        (taught,) = teach(RecurrentStudents(shape, (0,)), lesson, arm, Schooling(steps=1))
        assert math.isinf(taught.largest_norm) == meets


def test_it_says_how_many_cells_each_arm_solved(found):
    report = stabilise.report(TINY, found, {})
    assert all(name in report.sentence for name in ("tanh network", "brain-shaped", "Chaotic"))
    arms = {system: {row["arm"] for row in report.tables[0].rows if row["system"] == system} for system in TINY.systems}
    both = {"behaviour", "local", "shuffled", "gru"}
    grown = both | {"growing", "growing_shuffled"}
    assert arms == {"toggle": grown, "brain": grown | {"areas"}, "chaotic": both | {"forced"}}


def test_a_student_of_a_system_is_the_same_alone_or_beside_others(bench):
    for system in TINY.systems:
        asked = [key for key in stabilise.keys(TINY) if (key["system"], key["arm"]) == (system, "local")]
        together, alone = stabilise.solve(bench, TINY, asked), stabilise.solve(bench, TINY, asked[1:])
        assert together[1]["norms"][0][1] == pytest.approx(alone[0]["norms"][0][1], rel=1e-4)


def test_electrodes_that_do_no_better_than_shuffled_ones_have_no_effect():
    verdict = stabilise._stabilise_report._verdict
    low, high = (stabilise._stabilise_report.mean_of(values) for values in ([0.5, 0.52], [0.9, 0.92]))
    assert "no effect" in verdict({"local": high, "shuffled": high, "behaviour": low})[0]
    said, named = verdict({"local": high, "shuffled": low, "behaviour": low, "gru": low})
    assert said.endswith("better than every other arm")
    assert named == ("local", "behaviour", "shuffled")
    low_control = stabilise._stabilise_report.mean_of([0.3])
    assert verdict({"local": low, "shuffled": low_control, "gru": high})[0].endswith("no better than gru")
    said, named = verdict({"local": low, "growing": high, "shuffled": low, "growing_shuffled": high, "behaviour": low})
    assert "no effect" in said  # the better way of the two is held against its own control
    assert named == ("growing", "local", "behaviour", "shuffled", "growing_shuffled")


def brains(seeds=(0, 1), **changed):
    return BrainStudents(
        BrainShape(
            topology=replace(Topology.read("four-areas"), **changed), entry="V1", exit="M1", n_inputs=4,
            n_electrodes=3, area_size=6, still_bins=6,
        ),
        seeds,
    )  # fmt: skip


@pytest.mark.parametrize(("changed", "late"), [({}, 2), ({"global_modules": ()}, 4)])
def test_what_enters_one_area_of_a_brain_reaches_the_answer_after_its_delay(changed, late):
    """A bin each way by the global module; by pathways 40 ms to PPC and 30 ms from there, in bins of 20 ms."""
    group = brains((0,), **changed)
    x = torch.zeros(1, 1, 3, 4)
    pulse = x.clone()
    pulse[:, :, 0, 0] = 5.0
    answers = [[group.answer(state) for state in group.run(given)] for given in (x, pulse)]
    moved = [not torch.allclose(a, b) for a, b in zip(*answers, strict=True)]
    assert moved.index(True) == late


def test_a_gradient_that_is_cut_between_areas_does_not_reach_where_pulses_enter():
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def by_entry(cut):
        group = brains()
        group.answer(group.run(x, cut=cut)[-1]).sum().backward()
        named = dict(zip(group.parts, group.learned, strict=True))
        (name,) = (name for name in named if "encoders.n_pulses" in name and named[name].grad is not None)
        return float(named[name].grad.abs().sum())

    assert by_entry(Cut()) > 0
    assert by_entry(Cut(between_areas=True)) == 0


def test_an_area_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no area 'V9' in 'four-areas'; there are: V1"):
        BrainShape(topology=Topology.read("four-areas"), entry="V9", exit="M1", n_inputs=2, n_electrodes=1).network(0)


def test_a_teacher_that_is_not_chaotic_is_refused():
    with pytest.raises(ValueError, match=r"largest exponent of -0\.\d+ per step; above 0.005 is wanted"):
        _chaos_system.opened(stabilise.ChaoticSettings(units=12, gain=0.5))


def test_a_student_that_is_the_teacher_has_its_exponents_and_foretells_it(bench):
    """A tanh student is given a teacher's weights; its behaviour is all of its state, so that it can be read off."""
    teacher = bench.chaotic.teacher
    exact = type(teacher)(weight_NN=teacher.weight_NN, output_NC=torch.eye(48, dtype=torch.float64), share=1.0)
    group = RecurrentStudents(RecurrentShape(n_inputs=48, n_electrodes=1, n_answers=48, units=48), (0,)).double()
    with torch.no_grad():
        for name in ("recurrent", "bias", "answer_bias"):
            group.weight(name).zero_()
        # h = tanh(x W) where y = tanh(x) is read; the student's answer is y of the next step.
        group.weight("inputs").copy_(exact.weight_NN[None])
        group.weight("answer_weight").copy_(torch.eye(48)[None])
    behaviour = exact.run(4, 60, torch.Generator().manual_seed(0)).tanh()
    assert _chaos_lesson.valid_steps(group, behaviour, 10).tolist() == [[50.0] * 4]
    (found,) = _chaos_lesson.student_exponents(group, behaviour, 10, steps=2000)
    assert found[0] == pytest.approx(float(exact.exponents(1)[0]), rel=0.3)


def test_an_arm_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no arm 'prayer'; there are: behaviour, curriculum"):
        stabilise.Settings(arms=("prayer",))


@pytest.mark.parametrize("name", kinds.names())
def test_the_full_settings_survive_their_file(name):
    full = kinds(name).FULL
    assert kinds(name).Settings.model_validate_json(full.model_dump_json()) == full


def test_a_grid_of_gains_is_drawn_arm_by_arm_and_what_is_not_finite_has_no_colour(bench):
    settings = TINY.model_copy(update={"systems": ("toggle",), "gains": (0.9, 1.5)})
    result = {"right": 1.0, "solved": True, "horizon": 3, "by_length": {"3": 1.0}, "norms": [], "steps": 10}
    norms = {0.9: 100.0, 1.5: None}
    cells = [
        (key, result | {"largest_norm": norms.get(key["gain"], 1.0), "solved": key["seed"] == 0})
        for key in stabilise.keys(settings)
    ]
    plots = {plot.table.name: plot for plot in stabilise.report(settings, cells, {}).plots}
    rows = plots["toggle_grid_log10_norm"].table.rows
    found = {row["condition"]: (row["solved"], row["log10_norm"]) for row in rows if row["arm"] == "local"}
    assert found == {"g=0.9, T=3": (0.5, 2.0), "g=1.5, T=3": (0.5, None)}
    written = {(row["solved_of"], row["norm_told"]) for row in rows if row["arm"] == "local"}
    assert written == {("1 of 2", "100"), ("1 of 2", "not finite")}
    assert "gru" not in {row["arm"] for row in rows}
    for name in ("toggle_grid_solved", "toggle_grid_log10_norm"):
        assert plots[name].draw(plots[name].table) is not None
    alone = stabilise.report(TINY, [pair for pair in cells if pair[0]["gain"] != 0.9], {})
    assert "toggle_grid_solved" not in {plot.table.name for plot in alone.plots}


@pytest.mark.parametrize(("solved_at", "pictured"), [((3, 0.9), "gain 0.9, T=3"), ((), "gain 1.5, T=6")])
def test_the_picture_over_lengths_has_a_line_per_arm_at_the_hardest_solved_cell(solved_at, pictured):
    """A whole grid of lines hides itself; the table keeps all of it."""
    cells = [
        ({"system": "toggle", "arm": arm, "gain": gain, "length": length, "seed": 0},
         {"solved": (length, gain) == solved_at, "by_length": {"3": 1.0, "6": 0.5}})
        for arm in ("behaviour", "local") for gain in (0.9, 1.5) for length in (3, 6)
    ]  # fmt: skip
    gru = ({"system": "toggle", "arm": "gru", "gain": None, "length": 6, "seed": 0}, cells[0][1])
    plot = _stabilise_report._lengths("toggle", [*cells, gru])
    drawn = {row["what"] for row in plot.table.rows if row["pictured"]}
    assert drawn - {"gru, T=6"} == {f"behaviour, {pictured}", f"local, {pictured}"}
    assert ("gru, T=6" in drawn) == pictured.endswith("T=6")
    assert len(plot.table.rows) == 2 * 9
    picture = plot.draw(plot.table)
    assert picture is not None
    assert ("gain 1.5, T=6" in picture.alt) == (pictured == "gain 1.5, T=6")


@pytest.mark.parametrize(
    ("norm", "written"),
    [(0.977, "0.98"), (6.417, "6.4"), (470.2, "470"), (64811.0, "6e4"), (1.09e9, "1e9"), (3e12, "3e12")],
)
def test_a_norm_is_written_in_few_figures(norm, written):
    assert _stabilise_report._figure(norm) == written
