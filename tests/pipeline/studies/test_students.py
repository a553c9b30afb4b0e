"""Students that imitate what a decoder read through noise."""

import pytest
import torch

from neuroloom.models.student_group import StudentGroup, StudentShape
from neuroloom.pipeline.studies._students import Material, Schooling, Student, log_probs, school

SHAPE = StudentShape(n_inputs=4, n_outputs=4, units=8)
SURE, UNSURE = 0.97, 0.4  # how likely the right answer is, and what noise left of it


def certainty(shape):
    """How sure a student becomes of answers that are always the symbol read, of which a decoder said less."""
    symbols = torch.randint(4, (64, 6), generator=torch.Generator().manual_seed(0))
    said = torch.full((64, 6, 4), (1 - UNSURE) / 3).scatter(-1, symbols[..., None], UNSURE)
    lessons = Material(inputs=symbols, answers_NT=symbols, soft_NTV=said)
    validation = Material(inputs=symbols[:16], answers_NT=symbols[:16])
    student = Student(lessons=lessons, validation=validation, hard=0.5, soft=2.0, seed=0)
    found = school(shape, [student], Schooling(steps=150, dropout=0.0, learning_rate=0.01))
    answers = log_probs(shape, [found[0].weights], symbols[:16])[0]
    return float(answers.gather(-1, symbols[:16, :, None]).exp().mean())


def test_what_noise_took_from_decoded_answers_is_not_imitated():
    plain = certainty(SHAPE)
    assert plain < 0.6  # both losses in one: it imitates how little the decoder knew
    blurred = certainty(StudentShape(n_inputs=4, n_outputs=4, units=8, blurred=True))
    assert blurred > SURE


def test_the_map_to_decoded_answers_begins_as_the_identity():
    group = StudentGroup(StudentShape(n_inputs=4, n_outputs=4, units=8, blurred=True), (0,))
    answers = group.answers(group(torch.tensor([[[0, 1, 2]]])))
    assert torch.equal(group.blurred(answers), answers)


def test_the_map_has_no_part_in_what_a_student_answers():
    shape = StudentShape(n_inputs=4, n_outputs=4, units=8, blurred=True)
    weights = {name: value[0] for name, value in StudentGroup(shape, (0,)).state_dict().items()}
    other = weights | {"blur_weight": torch.ones(4, 4), "blur_bias": torch.ones(4)}
    one, two = log_probs(shape, [weights, other], torch.tensor([[0, 1, 2]]))
    assert one == pytest.approx(two)
