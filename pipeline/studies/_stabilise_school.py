"""How students of the stabilisation study are taught, whatever they learn; see `stabilise.py` for the arms.

A lesson (`_toggle_lesson.py`, `_chaos_lesson.py`) says what a batch is, what its loss is and how good a student is on
what was held out. Shapes: G students, B sequences, T steps, H units, K electrodes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from pydantic import Field
from torch import Tensor

from neuroloom.models.brain_students import BrainStudents
from neuroloom.models.recurrent_students import RecurrentStudents
from neuroloom.pipeline.config import Config
from neuroloom.pipeline.studies._adam import Adam

SOLVED = 0.95
CHECK_EVERY = 100
CONTROL_OF = {"local": "shuffled", "growing": "growing_shuffled"}  # arms of local losses, and their controls
Students = RecurrentStudents | BrainStudents


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What a student is taught by.

    electrodes: weight of the squared error to the electrodes at every step. cut: steps after which the gradient ends, 0
    for never. areas: it ends between areas, too. curriculum: sequences grow as they are learned. forcing: electrodes
    also push the state, from full to nothing over this share of training. jacobian: weight of (stretch - 1)^2.
    open_loop: of what it does itself, the student is told what was really done at every step.
    """

    electrodes: float = 0.0
    cut: int = 0
    areas: bool = False
    curriculum: bool = False
    forcing: float = 0.0
    jacobian: float = 0.0
    open_loop: bool = False


class Schooling(Config):
    """How long and how fast. settles: the rate falls to nothing, straight, over the second half."""

    steps: int = Field(default=1500, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    clip_norm: float = Field(default=1.0, gt=0)
    settles: bool = False


@dataclass(kw_only=True, eq=False)
class Taught:
    """What became of one student: norms are of the gradient before it is clipped, as (step, norm)."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    validation: float = -math.inf
    steps: int = 0
    norms: list[tuple[int, float]] = field(default_factory=list)
    largest_norm: float = 0.0

    def told(self) -> dict[str, Any]:
        """As a cell's result has it, whatever was learned; the weights are not kept."""
        return {
            "validation": self.validation,
            "steps": self.steps,
            "largest_norm": self.largest_norm,
            "norms": [list(each) for each in self.norms],
        }


class Lesson(Protocol):
    """What is learned. first, last: lengths that a curriculum begins and ends with; enough: held-out score to stop at.

    loss: of a batch drawn from one generator per student, and whether a longer one may follow, (G,) each. force: of
    electrodes on states, 0 to 1. held_out: a score per student, the higher the better; behaviour alone.
    """

    @property
    def first(self) -> int: ...

    @property
    def last(self) -> int: ...

    @property
    def enough(self) -> float: ...

    def loss(
        self,
        students: Any,
        length: int,
        arm: Arm,
        force: float,
        size: int,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]: ...

    def held_out(self, students: Any) -> list[float]: ...


def teach(students: Students, lesson: Lesson, arm: Arm, schooling: Schooling) -> list[Taught]:
    """Teach the students; each is kept where it does best on what was held out; they stop when all do well enough."""
    found = [Taught() for _ in students.seeds]
    optimizer = Adam(students, schooling.learning_rate, 0.0, schooling.clip_norm)
    generators = [torch.Generator().manual_seed(7_919 * seed + 5) for seed in students.seeds]
    length = float(lesson.first if arm.curriculum else lesson.last)
    for step in range(schooling.steps):
        force = max(0.0, 1 - step / (arm.forcing * schooling.steps)) if arm.forcing else 0.0
        loss, known = lesson.loss(students, round(length), arm, force, schooling.batch_size, generators)
        students.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        _note(found, optimizer.norms(), step)
        if schooling.settles:
            optimizer.learning_rate = schooling.learning_rate * min(1.0, 2 * (1 - step / schooling.steps))
        optimizer.step()
        if arm.curriculum and bool(known.all()):
            length = min(length * 1.2, float(lesson.last))
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == schooling.steps:
            _keep(found, students, lesson, step + 1)
            if min(one.validation for one in found) >= lesson.enough:
                break
    return found


def with_arm(
    loss_G: Tensor,
    students: Students,
    states_TGBH: Tensor,
    electrodes_GBTK: Tensor,
    arm: Arm,
    generator: torch.Generator,
) -> Tensor:
    """The loss of what is done, and what the arm adds to it."""
    if arm.electrodes:
        loss_G = loss_G + arm.electrodes * electrode_error(students, states_TGBH, electrodes_GBTK)
    if arm.jacobian and isinstance(students, RecurrentStudents):
        loss_G = loss_G + arm.jacobian * stretching(students, states_TGBH, generator)
    return loss_G


def place_of(students: Students) -> torch.device:
    """Where students are, and what they are shown has to be."""
    return next(students.parameters()).device


def stretching(students: RecurrentStudents, states_TGBH: Tensor, generator: torch.Generator) -> Tensor:
    """(stretch - 1)^2 of one step drawn at random, per student (G,)."""
    place = int(torch.randint(len(states_TGBH), (1,), generator=generator))
    return (students.stretch(states_TGBH[place], generator) - 1).square().mean(dim=1)


def electrode_error(students: Students, states_TGBH: Tensor, electrodes_GBTK: Tensor) -> Tensor:
    """Mean squared error to the electrodes over the steps that they saw, per student (G,)."""
    G, B, T, _ = electrodes_GBTK.shape
    seen = states_TGBH[:T].permute(1, 2, 0, 3).reshape(G, B * T, -1)
    return (students.electrodes(seen).view(G, B, T, -1) - electrodes_GBTK).square().mean(dim=(1, 2, 3))


def load(students: Students, weights: list[Mapping[str, Any]]) -> None:
    """Put kept weights back."""
    for name, parameter in students.named_parameters():
        parameter.data = torch.stack([one[name] for one in weights])


def _note(found: list[Taught], norms_G: Tensor, step: int) -> None:
    for one, norm in zip(found, norms_G.tolist(), strict=True):
        told = norm if math.isfinite(norm) else float("inf")
        one.largest_norm = max(one.largest_norm, told)
        if step % 25 == 0:
            one.norms.append((step, told))


@torch.no_grad()
def _keep(found: list[Taught], students: Students, lesson: Lesson, step: int) -> None:
    for i, (one, score) in enumerate(zip(found, lesson.held_out(students), strict=True)):
        one.steps = step
        if score > one.validation or not one.weights:
            one.validation = score if math.isfinite(score) else -math.inf
            one.weights = {name: value[i].detach().clone() for name, value in students.named_parameters()}
