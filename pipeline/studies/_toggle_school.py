"""How students of the toggle task are taught, in each arm; see `stabilise.py`.

Shapes: G students, N sequences of the pool, B of a batch, T steps, C channels, K electrodes, H units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from neuroloom.models.teachers.toggle import as_bits
from neuroloom.models.toggle_students import ToggleStudents
from neuroloom.pipeline.studies._adam import Adam

SOLVED = 0.95
CHECK_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What a student is taught by.

    electrodes: weight of the squared error to the electrodes at every step. cut: steps after which the gradient ends, 0
    for never. curriculum: sequences grow as they are learned. forcing: electrodes also push the state, from full to
    nothing over this share of training. jacobian: weight of (stretch - 1)^2.
    """

    electrodes: float = 0.0
    cut: int = 0
    curriculum: bool = False
    forcing: float = 0.0
    jacobian: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Schooling:
    """How long and how fast."""

    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 1e-3
    clip_norm: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """What was recorded: pulses (N, T) as symbols, the teacher's bits (N, T, C), electrodes (N, T, K) of variance 1."""

    symbols_NT: Tensor
    bits_NTC: Tensor
    electrodes_NTK: Tensor

    @property
    def channels(self) -> int:
        return int(self.bits_NTC.shape[-1])


@dataclass(kw_only=True, eq=False)
class Taught:
    """What became of one student: norms are of the gradient before it is clipped, as (step, norm)."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    validation: float = 0.0
    steps: int = 0
    norms: list[tuple[int, float]] = field(default_factory=list)
    largest_norm: float = 0.0


def seen(pool_symbols_BT: Tensor, asked_B: Tensor, channels: int) -> Tensor:
    """Inputs (B, T, 2 C): which channels pulse, and at the last step which bit is asked for."""
    pulses = as_bits(pool_symbols_BT, channels).float()
    asked = torch.zeros_like(pulses)
    asked[torch.arange(len(asked)), -1, asked_B] = 1.0
    return torch.cat([pulses, asked], dim=-1)


def teach(students: ToggleStudents, pool: Pool, held: Pool, arm: Arm, schooling: Schooling) -> list[Taught]:
    """Teach the students; each is kept where it answers held-out sequences best; they stop when all have solved it."""
    found = [Taught() for _ in students.seeds]
    optimizer = Adam(students, schooling.learning_rate, 0.0, schooling.clip_norm)
    generators = [torch.Generator().manual_seed(7_919 * seed + 5) for seed in students.seeds]
    length = float(min(3, pool.symbols_NT.shape[1])) if arm.curriculum else float(pool.symbols_NT.shape[1])
    for step in range(schooling.steps):
        batch = [_drawn(pool, round(length), schooling.batch_size, generator) for generator in generators]
        force = max(0.0, 1 - step / (arm.forcing * schooling.steps)) if arm.forcing else 0.0
        loss, right = _loss(students, batch, arm, force, generators[0])
        students.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        _note(found, optimizer.norms(), step)
        optimizer.step()
        if arm.curriculum and float(right.min()) > SOLVED:
            length = min(length * 1.2, float(pool.symbols_NT.shape[1]))
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == schooling.steps:
            _keep(found, students, held, step + 1)
            if min(one.validation for one in found) >= 0.995:
                break
    return found


def _drawn(pool: Pool, length: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, T, I), the answer asked for (B,), electrodes (B, T, K) of a batch's first `length` steps."""
    rows = torch.randint(len(pool.symbols_NT), (n,), generator=generator)
    asked = torch.randint(pool.channels, (n,), generator=generator)
    x = seen(pool.symbols_NT[rows, :length], asked, pool.channels)
    return x, pool.bits_NTC[rows, length - 1, asked].float(), pool.electrodes_NTK[rows, :length]


def _loss(
    students: ToggleStudents,
    batch: list[tuple[Tensor, Tensor, Tensor]],
    arm: Arm,
    force: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Loss and share of right answers per student, (G,) each."""
    x, answer, electrodes = (torch.stack(parts) for parts in zip(*batch, strict=True))
    states = run(students, x, cut=arm.cut, electrodes_GBTK=electrodes if force else None, force=force)
    logit = students.answer(states[-1])
    loss = nn.functional.binary_cross_entropy_with_logits(logit, answer, reduction="none").mean(dim=1)
    if arm.electrodes:
        T, G, B, _ = states.shape
        expected = students.electrodes(states.permute(1, 2, 0, 3).reshape(G, B * T, -1)).view(G, B, T, -1)
        loss = loss + arm.electrodes * (expected - electrodes).square().mean(dim=(1, 2, 3))
    if arm.jacobian:
        place = int(torch.randint(len(states), (1,), generator=generator))
        loss = loss + arm.jacobian * (students.stretch(states[place], generator) - 1).square().mean(dim=1)
    return loss, ((logit > 0) == (answer > 0.5)).double().mean(dim=1)


def run(
    students: ToggleStudents, x_GBTI: Tensor, *, cut: int = 0, electrodes_GBTK: Tensor | None = None, force: float = 0.0
) -> Tensor:
    """States (T, G, B, H). cut: the gradient ends every so many steps."""
    state = students.start(x_GBTI.shape[1])
    states = []
    for t, drive in enumerate(students.driven(x_GBTI)):
        if cut and t and t % cut == 0:
            state = (state[0].detach(), state[1].detach())
        push = force * students.forced(electrodes_GBTK[:, :, t]) if electrodes_GBTK is not None else 0.0
        state = students.step(state, drive + push)
        states.append(state[0])
    return torch.stack(states)


def _note(found: list[Taught], norms_G: Tensor, step: int) -> None:
    for one, norm in zip(found, norms_G.tolist(), strict=True):
        told = norm if math.isfinite(norm) else float("inf")
        one.largest_norm = max(one.largest_norm, told)
        if step % 25 == 0:
            one.norms.append((step, told))


@torch.no_grad()
def _keep(found: list[Taught], students: ToggleStudents, held: Pool, step: int) -> None:
    for i, (one, right) in enumerate(zip(found, accuracy(students, held.symbols_NT, held.bits_NTC), strict=True)):
        one.steps = step
        if right > one.validation:
            one.validation = right
            one.weights = {name: value[i].detach().clone() for name, value in students.named_parameters()}


@torch.no_grad()
def accuracy(students: ToggleStudents, symbols_NT: Tensor, bits_NTC: Tensor) -> list[float]:
    """Share of right answers at the end of sequences, each asked for every bit; per student. No electrodes."""
    channels, right = bits_NTC.shape[-1], torch.zeros(len(students.seeds))
    for channel in range(channels):
        x = seen(symbols_NT, torch.full((len(symbols_NT),), channel), channels)
        logit = students.answer(run(students, x.expand(len(students.seeds), *x.shape))[-1])
        right += ((logit > 0) == (bits_NTC[:, -1, channel] > 0)).double().mean(dim=1)
    return [float(value) for value in right / channels]


def load(students: ToggleStudents, weights: list[Mapping[str, Any]]) -> None:
    """Put kept weights back."""
    for name, parameter in students.named_parameters():
        parameter.data = torch.stack([one[name] for one in weights])
