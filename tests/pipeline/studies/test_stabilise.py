"""The stabilisation study: what explodes, what is cut, and a task small enough to be learned in a second."""

import math

import pytest
import torch

from neuroloom.models.toggle_students import ToggleShape, ToggleStudents
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import kinds, stabilise
from neuroloom.pipeline.studies._adam import Adam
from neuroloom.pipeline.studies._cells import Cells
from neuroloom.pipeline.studies._toggle_school import Arm, Schooling, run, seen, teach

TINY = stabilise.Settings(
    teacher={"channels": 1, "units": 12, "context": 6, "longest_trained": 6, "steps": 150},
    gains=(1.5,), lengths=(3,), seeds=2, arms=("behaviour", "local", "shuffled", "gru"), units=16, n_channels=4,
    pool=200, n_test=50, schooling={"steps": 150, "learning_rate": 5e-3},
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
    return ToggleStudents(ToggleShape(n_inputs=2, n_electrodes=3, units=units, gain=gain), (0,))


def norm_at_the_start(gain, cut, steps=40):
    """Of the gradient of the last answer by the weights of the inputs."""
    group = students(gain)
    x = torch.randn(1, 8, steps, 2, generator=torch.Generator().manual_seed(0))
    group.answer(run(group, x, cut=cut)[-1]).sum().backward()
    return float(group.weight("inputs").grad.norm())


def test_the_bit_asked_for_is_shown_at_the_last_step_only():
    x = seen(torch.tensor([[1, 0, 2]]), torch.tensor([1]), 2)
    assert x[0].tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]


def test_a_high_gain_makes_gradients_explode_and_cutting_them_does_not():
    assert norm_at_the_start(4.0, 0) > 1000 * norm_at_the_start(4.0, 4)


def test_a_low_gain_does_neither():
    assert norm_at_the_start(0.5, 0) == pytest.approx(norm_at_the_start(0.5, 8), rel=0.1)


def test_an_orthogonal_step_keeps_lengths_at_rest():
    group = ToggleStudents(ToggleShape(n_inputs=2, n_electrodes=3, units=32, cell="orthogonal"), (0,))
    rest, _ = group.start(4)
    assert group.stretch(rest, torch.Generator().manual_seed(0)).detach() == pytest.approx(torch.ones(1, 4), abs=1e-4)


@pytest.mark.parametrize(("cell", "module"), [("gru", torch.nn.GRU), ("lstm", torch.nn.LSTM)])
def test_the_gated_students_compute_what_pytorchs_do(cell, module):
    group = ToggleStudents(ToggleShape(n_inputs=2, n_electrodes=3, units=5, cell=cell), (0,))
    theirs = module(2, 5)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(group.weight("inputs")[0].T)
        theirs.weight_hh_l0.copy_(group.weight("recurrent")[0].T)
        theirs.bias_ih_l0.copy_(group.weight("bias")[0])
        theirs.bias_hh_l0.zero_()
        x = torch.randn(1, 4, 6, 2, generator=torch.Generator().manual_seed(0))
        assert run(group, x)[:, 0] == pytest.approx(theirs(x[0].transpose(0, 1))[0], abs=1e-5)


def test_a_gradient_that_is_not_finite_moves_nobody():
    group = students(1.0, units=4)
    before = group.weight("answer_weight").detach().clone()
    for parameter in group.parameters():
        parameter.grad = torch.full_like(parameter, math.inf)
    Adam(group, 0.1, 0.0, 1.0).step()
    assert torch.equal(group.weight("answer_weight"), before)


def test_students_are_clipped_one_by_one():
    group = ToggleStudents(ToggleShape(n_inputs=1, n_electrodes=1, units=2), (0, 1))
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
    assert max(result["right"] for key, result in found if key["arm"] == "gru") > 0.9


def test_every_arm_has_its_gradient_norms_and_its_horizon(found):
    for _, result in found:
        assert result["norms"][0][0] == 0
        assert set(result["by_length"]) == {"2", "3", "6"}
        assert result["horizon"] in (0, 2, 3, 6)


def test_the_curriculum_begins_short(bench):
    """A pool in which only the first three steps are known: an arm that reads further meets the unknown."""
    pool = stabilise.recorded(bench.teacher, TINY, 6)
    pool.electrodes_NTK[:, 3:] = torch.nan
    shape = ToggleShape(n_inputs=2, n_electrodes=4, units=4)
    teach(ToggleStudents(shape, (0,)), pool, pool, Arm(curriculum=True, electrodes=1.0), Schooling(steps=1))
    group = ToggleStudents(shape, (0,))
    (taught,) = teach(group, pool, pool, Arm(electrodes=1.0), Schooling(steps=1))
    assert math.isinf(taught.largest_norm)


def test_it_says_how_many_cells_each_arm_solved(found):
    report = stabilise.report(TINY, found, {})
    assert "gru" in report.sentence
    assert {row["arm"] for row in report.tables[0].rows} == {"behaviour", "local", "shuffled", "gru"}


def test_an_arm_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no arm 'prayer'; there are: behaviour, curriculum"):
        TINY.arm("prayer")


@pytest.mark.parametrize("name", kinds.names())
def test_the_full_settings_survive_their_file(name):
    full = kinds(name).FULL
    assert kinds(name).Settings.model_validate_json(full.model_dump_json()) == full
