"""A group of students computes what single GRUs would."""

import pytest
import torch

from neuroloom.models.speaker import read_speaker, spoken
from neuroloom.models.student_group import GruLayer, StudentGroup, StudentShape
from neuroloom.models.student_speaker import StudentSpeaker, student_bytes

SHAPE = StudentShape(n_inputs=5, n_outputs=3, n_electrodes=2, units=4)


def pytorchs(group, student):
    """The first layer of a student as an `nn.GRU`."""
    gru = torch.nn.GRU(SHAPE.n_inputs, SHAPE.units)
    bias = torch.cat([torch.zeros(2 * SHAPE.units), group.part("recurrent_bias0")[student]])
    weights = {
        "weight_ih_l0": group.part("input0")[student].T,
        "weight_hh_l0": group.part("recurrent0")[student].T,
        "bias_ih_l0": group.part("input_bias0")[student],
        "bias_hh_l0": bias,
    }
    gru.load_state_dict(weights)
    return gru


@torch.no_grad()
def test_each_student_is_a_gru():
    group = StudentGroup(SHAPE, (3, 4))
    symbols = torch.tensor([[[0, 1, 4, 2]], [[2, 2, 3, 0]]])  # two students, one sequence each
    states = group(symbols)[..., : SHAPE.units]
    for student in (0, 1):
        one_hot = torch.nn.functional.one_hot(symbols[student].T, SHAPE.n_inputs).float()
        assert states[student] == pytest.approx(pytorchs(group, student)(one_hot)[0], abs=1e-6)


def test_the_gradient_written_by_hand_is_the_true_one():
    generator = torch.Generator().manual_seed(0)
    gates, weight, bias = (
        torch.randn(*size, generator=generator, dtype=torch.float64, requires_grad=True)
        for size in ((3, 2, 2, 6), (2, 2, 6), (2, 2))
    )
    assert torch.autograd.gradcheck(lambda *parts: GruLayer.apply(*parts, torch.float64), (gates, weight, bias))


def test_students_do_not_touch_each_other():
    group = StudentGroup(SHAPE, (3, 4))
    group.answers(group(torch.zeros(2, 1, 3, dtype=torch.long)))[0].sum().backward()
    assert all(not p.grad[1].any() for p in group.parameters() if p.grad is not None)


def test_each_student_has_its_own_dropout():
    group = StudentGroup(SHAPE, (3, 4))
    symbols = torch.zeros(2, 1, 3, dtype=torch.long)
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    dropped, whole = group(symbols, dropout=(0.0, 0.9), generators=generators), group(symbols)
    assert torch.equal(dropped[0], whole[0])
    assert bool((dropped[1] == 0).any())


def test_the_seed_decides_where_a_student_starts():
    first, second = StudentGroup(SHAPE, (1, 2)), StudentGroup(SHAPE, (2, 1))
    assert torch.equal(first.part("input0")[0], second.part("input0")[1])


def test_features_can_be_read_instead_of_symbols():
    shape = StudentShape(n_inputs=5, n_outputs=3, units=4, reads_symbols=False)
    assert StudentGroup(shape, (0,))(torch.zeros(1, 2, 7, 5)).shape == (1, 7, 2, 8)


@torch.no_grad()
def test_a_student_that_speaks_says_the_numbers_of_its_group(tmp_path):
    group = StudentGroup(SHAPE, (3, 4))
    for name, parameter in group.named_parameters():
        if "bias" in name:
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    (tmp_path / "one").write_bytes(
        student_bytes(SHAPE, {n: p[1] for n, p in group.named_parameters()}, {"kl": 0.5})
    )  # fmt: skip
    speaker, told = read_speaker(tmp_path / "one")
    assert told == {"kl": 0.5}
    read = torch.tensor([[0, 1, 4, 2], [2, 2, 3, 0]])
    together = group.answers(group(read.expand(2, 2, 4)))[1]
    states = speaker.start(2)
    for t, symbols in enumerate(read.T):
        logits, states = speaker.step(symbols, states)
        assert logits == pytest.approx(together[t], abs=1e-5)


def test_a_student_that_reads_features_does_not_speak():
    with pytest.raises(ValueError, match="reads features, not symbols"):
        StudentSpeaker(StudentShape(n_inputs=2, n_outputs=2, reads_symbols=False), {})


def test_a_student_whose_answers_are_no_symbols_it_reads_does_not_speak():
    weights = {name: value[0].detach() for name, value in StudentGroup(SHAPE, (0,)).named_parameters()}
    with pytest.raises(ValueError, match="no symbols that it reads"):
        spoken(StudentSpeaker(SHAPE, weights), torch.tensor([0]), 3, torch.Generator())
