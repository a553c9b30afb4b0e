"""The toggle task as a lesson: pulses flip hidden bits, one of which is asked for at the end.

Shapes: G students, N sequences of the pool, B of a batch, T steps, C channels, K electrodes, H units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuroloom.models.brain_students import BrainStudents
from neuroloom.models.recurrence import Cut
from neuroloom.models.teachers.toggle import as_bits
from neuroloom.pipeline.studies._stabilise_school import SOLVED, Arm, Students, place_of, with_arm


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """What was recorded: pulses (N, T) as symbols, the teacher's bits (N, T, C), electrodes (N, T, K) of variance 1."""

    symbols_NT: Tensor
    bits_NTC: Tensor
    electrodes_NTK: Tensor

    @property
    def channels(self) -> int:
        return int(self.bits_NTC.shape[-1])

    def part(self, rows: slice) -> Pool:
        """Some of the sequences."""
        return Pool(
            symbols_NT=self.symbols_NT[rows], bits_NTC=self.bits_NTC[rows], electrodes_NTK=self.electrodes_NTK[rows]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ToggleLesson:
    """Taught from `pool`, chosen on `held`; see `Lesson`."""

    pool: Pool
    held: Pool
    enough: float = 0.995

    @property
    def first(self) -> int:
        return min(3, self.last)

    @property
    def last(self) -> int:
        return int(self.pool.symbols_NT.shape[1])

    def loss(
        self,
        students: Students,
        length: int,
        arm: Arm,
        force: float,
        size: int,
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """Nats of the answer at the end and what the arm adds; known where the batch counts as solved."""
        batch = [_drawn(self.pool, length, size, generator) for generator in generators]
        x, answer, electrodes = (torch.stack(parts).to(place_of(students)) for parts in zip(*batch, strict=True))
        states = _run(students, x, arm, electrodes, force)
        logit = students.answer(states[-1])[..., 0]
        loss = nn.functional.binary_cross_entropy_with_logits(logit, answer, reduction="none").mean(dim=1)
        loss = with_arm(loss, students, states, electrodes, arm, generators[0])
        return loss, ((logit > 0) == (answer > 0.5)).double().mean(dim=1) > SOLVED

    def held_out(self, students: Students) -> list[float]:
        """Share of right answers."""
        return accuracy(students, self.held.symbols_NT, self.held.bits_NTC)


def seen(pool_symbols_BT: Tensor, asked_B: Tensor, channels: int) -> Tensor:
    """Inputs (B, T, 2 C): which channels pulse, and at the last step which bit is asked for."""
    pulses = as_bits(pool_symbols_BT, channels).float()
    asked = torch.zeros_like(pulses)
    asked[torch.arange(len(asked)), -1, asked_B] = 1.0
    return torch.cat([pulses, asked], dim=-1)


@torch.no_grad()
def accuracy(students: Students, symbols_NT: Tensor, bits_NTC: Tensor) -> list[float]:
    """Share of right answers at the end of sequences, each asked for every bit; per student. No electrodes."""
    channels, right = bits_NTC.shape[-1], torch.zeros(len(students.seeds))
    for channel in range(channels):
        x = seen(symbols_NT, torch.full((len(symbols_NT),), channel), channels).to(place_of(students))
        logit = students.answer(students.run(x.expand(len(students.seeds), *x.shape))[-1])[..., 0].cpu()
        right += ((logit > 0) == (bits_NTC[:, -1, channel] > 0)).double().mean(dim=1)
    return [float(value) for value in right / channels]


def _run(students: Students, x_GBTI: Tensor, arm: Arm, electrodes_GBTK: Tensor, force: float) -> Tensor:
    pushing = electrodes_GBTK if force else None
    if isinstance(students, BrainStudents):
        cut = Cut(every_bins=arm.cut, between_areas=arm.areas)
        return students.run(x_GBTI, cut=cut, electrodes_GBTK=pushing, force=force)
    return students.run(x_GBTI, cut=arm.cut, electrodes_GBTK=pushing, force=force)


def _drawn(pool: Pool, length: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, T, I), the answer asked for (B,), electrodes (B, T, K) of a batch's first `length` steps."""
    rows = torch.randint(len(pool.symbols_NT), (n,), generator=generator)
    asked = torch.randint(pool.channels, (n,), generator=generator)
    x = seen(pool.symbols_NT[rows, :length], asked, pool.channels)
    return x, pool.bits_NTC[rows, length - 1, asked].float(), pool.electrodes_NTK[rows, :length]
