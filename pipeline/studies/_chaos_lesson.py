"""A chaotic network as a lesson: a student reads what it does outwardly, and is to go on by itself as it would.

For a while the student reads the teacher's behaviour; from then on it reads its own predictions (closed loop), so that
it is a dynamical system whose exponents can be set beside the teacher's. Electrodes are seen in training only.
Shapes: G students, N stretches, B of a batch, T steps, C outputs, K electrodes, H units.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuroloom.models.chaotic_rates import ChaoticRates
from neuroloom.models.lyapunov import exponents
from neuroloom.models.recurrent_students import RecurrentStudents
from neuroloom.pipeline.studies._stabilise_school import Arm, place_of, with_arm

VALID = 0.5  # root mean square error, in standard deviations of behaviour, up to which a prediction is valid
KNOWN = 0.1  # mean squared error at which a curriculum goes on
N_EXPONENTS = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One stretch: behaviour (T, C) of unit variance, electrodes (T, K) of unit variance."""

    behaviour_TC: Tensor
    electrodes_TK: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ChaosLesson:
    """Taught from windows of a recording: `warm` steps that are read, then as many as the length says that are not.

    held_NTC: behaviour that chooses, of which the first `settle` steps are read.
    """

    recording: Recording
    held_NTC: Tensor
    warm: int
    settle: int
    last: int
    first: int = 3
    enough: float = math.inf

    def loss(
        self,
        students: RecurrentStudents,
        length: int,
        arm: Arm,
        force: float,
        size: int,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Mean squared error of the next step and what the arm adds; known where the last step is right."""
        parts = [self._drawn(self.warm + length, size, generator) for generator in generators]
        behaviour, electrodes = (torch.stack(each).to(place_of(students)) for each in zip(*parts, strict=True))
        n_read = self.warm + length if arm.open_loop else self.warm
        states, predicted = closed(
            students, behaviour[:, :, :n_read], self.warm + length, cut=arm.cut,
            electrodes_GBTK=electrodes if force else None, force=force,
        )  # fmt: skip
        apart = (predicted - behaviour[:, :, 1:].permute(2, 0, 1, 3)).square()
        loss = with_arm(apart.mean(dim=(0, 2, 3)), students, states, electrodes, arm, generators[0])
        return loss, apart[-1].mean(dim=(1, 2)) < KNOWN

    def held_out(self, students: RecurrentStudents) -> list[float]:
        """Steps until its predictions are wrong, mean over stretches."""
        return [float(steps) for steps in valid_steps(students, self.held_NTC, self.settle).mean(dim=1)]

    def _drawn(self, length: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Behaviour (B, T + 1, C), one step more than is read, and electrodes (B, T, K)."""
        starts = torch.randint(len(self.recording.behaviour_TC) - length, (n,), generator=generator)
        rows = starts[:, None] + torch.arange(length + 1)
        return self.recording.behaviour_TC[rows], self.recording.electrodes_TK[rows[:, :-1]]


def closed(
    students: RecurrentStudents,
    read_GBTC: Tensor,
    n_steps: int,
    *,
    cut: int = 0,
    electrodes_GBTK: Tensor | None = None,
    force: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """States (T, G, B, H) and predictions of the next step (T, G, B, C); what was predicted is read after what came."""
    state = students.start(read_GBTC.shape[1])
    state = (state[0].to(read_GBTC.dtype), state[1].to(read_GBTC.dtype))
    states: list[Tensor] = []
    predicted: list[Tensor] = []
    for t in range(n_steps):
        if cut and t and t % cut == 0:
            state = (state[0].detach(), state[1].detach())
        x = read_GBTC[:, :, t] if t < read_GBTC.shape[2] else predicted[-1]
        if cut and t % cut == 0:
            x = x.detach()
        push = force * students.forced(electrodes_GBTK[:, :, t]) if electrodes_GBTK is not None else 0.0
        state = students.step(state, students.driven(x[:, :, None])[0] + push)
        states.append(state[0])
        predicted.append(students.answer(state[0]))
    return torch.stack(states), torch.stack(predicted)


def foretold(students: RecurrentStudents, behaviour_NTC: Tensor, settle: int) -> tuple[Tensor, Tensor]:
    """What came (T, 1, N, C) and what each student said would (T, G, N, C), after `settle` steps that were read."""
    n_steps = behaviour_NTC.shape[1] - 1
    read = behaviour_NTC[:, :settle].expand(len(students.seeds), -1, -1, -1).to(place_of(students))
    _, predicted = closed(students, read, n_steps)
    return behaviour_NTC[:, settle:].transpose(0, 1)[:, None], predicted[settle - 1 :].cpu()


@torch.no_grad()
def valid_steps(students: RecurrentStudents, behaviour_NTC: Tensor, settle: int) -> Tensor:
    """Steps until a prediction is wrong by more than VALID, per student and stretch, (G, N)."""
    truth, predicted = foretold(students, behaviour_NTC, settle)
    wrong = ~((predicted - truth).square().mean(dim=-1).sqrt() <= VALID)  # what is not a number is wrong
    return torch.where(wrong.any(dim=0), wrong.double().argmax(dim=0), len(wrong)).double()


def student_exponents(students: RecurrentStudents, behaviour_NTC: Tensor, settle: int, *, steps: int) -> list[Tensor]:
    """The largest exponents of each student in closed loop, per step, (K,) each."""
    double = copy.deepcopy(students).cpu().double()  # one small state at a time: an accelerator would only be slower
    n, H = len(students.seeds), students.shape.units
    states, _ = closed(double, behaviour_NTC[:1, :settle].double().expand(n, -1, -1, -1), settle)
    generator = torch.Generator().manual_seed(0)
    has_memory = students.shape.cell == "lstm"
    found = []
    for g in range(n):

        def step(state_BF: Tensor, g: int = g) -> Tensor:
            full = state_BF.expand(n, *state_BF.shape)
            hidden, memory = (full[..., :H], full[..., H:]) if has_memory else (full, full)
            drive = double.driven(double.answer(hidden)[:, :, None])[0]
            hidden, memory = double.step((hidden, memory), drive)
            return torch.cat([hidden, memory], dim=-1)[g] if has_memory else hidden[g]

        start = states[-1, g, 0].detach()
        start = torch.cat([start, torch.zeros_like(start)]) if has_memory else start
        differences = torch.randn(min(N_EXPONENTS, len(start)), len(start), generator=generator, dtype=torch.float64)
        found.append(exponents(step, start, differences, steps=steps, settle=200))
    return found


def stretches(teacher: ChaoticRates, n: int, length: int, seed: int) -> tuple[Tensor, Tensor]:
    """Behaviour (n, length, C) and rates (n, length, N) of fresh trajectories, in single precision."""
    rates = teacher.run(n, length, torch.Generator().manual_seed(seed)).tanh()
    return (rates @ teacher.output_NC).float(), rates.float()
