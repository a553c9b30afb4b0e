"""Students of a study: many of one shape, each on lessons of its own, trained together and stopped one by one.

Everything a student is chosen by is held-out *behaviour*: no electrodes, no oracle. Its weights are a running mean
(Polyak averaging) and are kept at the best validation; a student that gets no better leaves the group.
Shapes: N sequences, T steps, K electrodes, V answers, G students, B sequences of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from neuroloom.models.student_group import StudentGroup, StudentShape
from neuroloom.pipeline.config import Config
from neuroloom.pipeline.studies._adam import Adam

UNKNOWN = -1  # an answer that was not given
Weights = dict[str, Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a student may see of some sequences.

    inputs: symbols (N, T), or features (N, T, I). answers_NT: class numbers, UNKNOWN where none was given.
    electrodes_NTK, with mask_NTK where it is known; soft_NTV: an answer distribution to imitate, NaN where there is
    none. Both only for training: a student is chosen and tested on behaviour.
    """

    inputs: Tensor
    answers_NT: Tensor
    electrodes_NTK: Tensor | None = None
    soft_NTV: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Student:
    """One student's plan: its lessons, the weights of its losses and where it starts.

    hard, soft, electrodes: weights of the cross-entropy of given answers, of that to soft answers, and of the mean
    squared error to the electrodes. dropout: another than that of the schooling.
    """

    lessons: Material
    validation: Material
    hard: float = 1.0
    soft: float = 0.0
    electrodes: float = 0.0
    dropout: float | None = None
    seed: int = 0


class Schooling(Config):
    """How students are trained. validate_every: steps; patience: validations without a better one.

    bf16: products of matrices in bfloat16, on processors that have them; sums and weights stay in single precision.
    device: as torch names it; a study says which (`_device.py`).
    """

    steps: int = Field(default=1500, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    clip_norm: float = Field(default=1.0, gt=0)
    averaging: float = Field(default=0.98, ge=0, lt=1)
    validate_every: int = Field(default=25, ge=1)
    patience: int = Field(default=8, ge=1)
    bf16: bool = False
    device: str = "cpu"


@dataclass(kw_only=True, eq=False)
class Schooled:
    """A trained student: its weights at its best validation (nats per answer), and the steps it took."""

    weights: Weights = field(default_factory=dict)
    validation_nats: float = float("inf")
    best_step: int = 0
    steps: int = 0
    curve: list[tuple[int, float]] = field(default_factory=list)


def school(
    shape: StudentShape, students: Sequence[Student], schooling: Schooling, progress: Progress | None = None
) -> list[Schooled]:
    """Train the students together; each comes back at its best validation."""
    group = _Group(shape, students, schooling)
    while group.places and group.step < schooling.steps:
        group.one_step()
        if group.step % schooling.validate_every == 0 or group.step == schooling.steps:
            group.validate()
            if progress is not None:
                progress(group.step, schooling.steps)
    return group.found


class _Group:
    """The students that still learn: `places` says which of all each is."""

    def __init__(self, shape: StudentShape, students: Sequence[Student], schooling: Schooling) -> None:
        self.students, self.schooling, self.shape = students, schooling, shape
        self.device = torch.device(schooling.device)
        self.places = list(range(len(students)))
        product = torch.bfloat16 if schooling.bf16 else torch.float32
        self.network = StudentGroup(shape, tuple(s.seed for s in students), product=product).to(self.device)
        self.mean = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self.optimizer = Adam(self.network, schooling.learning_rate, schooling.weight_decay, schooling.clip_norm)
        self.found = [Schooled() for _ in students]
        self.stale = [0] * len(students)
        self.step = 0
        self.orders: list[Tensor] = [torch.empty(0, dtype=torch.long) for _ in students]
        self.generators = [torch.Generator().manual_seed(1_000_003 * s.seed + 17) for s in students]
        self.dropout = [torch.Generator().manual_seed(1_000_003 * s.seed + 18) for s in students]

    def one_step(self) -> None:
        rows = [self._next_rows(place) for place in self.places]
        states = self.network(
            self._gathered(lambda s: s.lessons.inputs, rows),
            dropout=[self._dropout(self.students[place]) for place in self.places],
            generators=[self.dropout[place] for place in self.places],
        )
        loss = self._behaviour(states, rows) + self._electrodes(states, rows)
        self.network.zero_grad(set_to_none=True)
        loss.sum().backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            keep = min(self.schooling.averaging, self.step / (self.step + 10))
            for name, value in self.network.named_parameters():
                self.mean[name].lerp_(value, 1 - keep)
        self.step += 1

    def _dropout(self, student: Student) -> float:
        return self.schooling.dropout if student.dropout is None else student.dropout

    def _next_rows(self, place: int) -> Tensor:
        """The next batch of a student; every sequence once before any comes again."""
        size = self.schooling.batch_size
        while len(self.orders[place]) < size:
            more = torch.randperm(len(self.students[place].lessons), generator=self.generators[place])
            self.orders[place] = torch.cat([self.orders[place], more])
        rows, self.orders[place] = self.orders[place][:size], self.orders[place][size:]
        return rows

    def _gathered(self, of: Callable[[Student], Tensor], rows: Sequence[Tensor]) -> Tensor:
        parts = [of(self.students[place])[chosen] for place, chosen in zip(self.places, rows, strict=True)]
        return torch.stack(parts).to(self.device)

    def _weights(self, of: Callable[[Student], float]) -> Tensor:
        return torch.tensor([of(self.students[place]) for place in self.places], device=self.device)

    def _behaviour(self, states_GTBH: Tensor, rows: Sequence[Tensor]) -> Tensor:
        """Per student (G,): weighted nats of given answers, and of soft answers."""
        logits = self.network.answers(states_GTBH)
        hard, soft = self._weights(lambda s: s.hard), self._weights(lambda s: s.soft)
        answers = self._gathered(lambda s: s.lessons.answers_NT, rows).transpose(1, 2)
        loss = hard * masked_nats(logits.log_softmax(dim=-1), answers).mean(dim=(1, 2)) * _share_known(answers)
        if bool(soft.any()):
            target = self._gathered(_soft, rows).transpose(1, 2)
            known = ~target[..., :1].isnan()
            each = -(torch.where(known, target, 0.0) * self.network.blurred(logits).log_softmax(dim=-1)).sum(dim=-1)
            loss = loss + soft * each.sum(dim=(1, 2)) / known.sum(dim=(1, 2, 3)).clamp_min(1)
        return loss

    def _electrodes(self, states_GTBH: Tensor, rows: Sequence[Tensor]) -> Tensor:
        weight = self._weights(lambda s: s.electrodes)
        if not bool(weight.any()):
            return torch.zeros_like(weight)
        target = self._gathered(_electrodes, rows).transpose(1, 2)
        known = ~target.isnan()
        apart = torch.where(known, self.network.electrodes(states_GTBH) - target, 0.0)
        return weight * apart.square().sum(dim=(1, 2, 3)) / known.sum(dim=(1, 2, 3)).clamp_min(1)

    @torch.no_grad()
    def validate(self) -> None:
        nats = self._validation_nats()
        for i, place in enumerate(self.places):
            found = self.found[place]
            found.steps = self.step
            found.curve.append((self.step, nats[i]))
            if nats[i] < found.validation_nats - 1e-4:
                found.validation_nats, found.best_step, self.stale[place] = nats[i], self.step, 0
                found.weights = {name: value[i].cpu().clone() for name, value in self.mean.items()}
            else:
                self.stale[place] += 1
        self._leave([i for i, place in enumerate(self.places) if self.stale[place] < self.schooling.patience])

    def _validation_nats(self) -> list[float]:
        """Mean nats per given answer, by the averaged weights."""
        sizes = {len(self.students[place].validation) for place in self.places}
        rows = [torch.arange(max(sizes)) % len(self.students[place].validation) for place in self.places]
        trained = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        _load(self.network, self.mean)
        total, known = torch.zeros(len(self.places)), torch.zeros(len(self.places))
        for start in range(0, max(sizes), 64):
            part = [r[start : start + 64] for r in rows]
            log_prob = self.network.answers(self.network(self._gathered(lambda s: s.validation.inputs, part)))
            answers = self._gathered(lambda s: s.validation.answers_NT, part).transpose(1, 2)
            total += masked_nats(log_prob.log_softmax(dim=-1), answers).sum(dim=(1, 2)).cpu()
            known += (answers != UNKNOWN).sum(dim=(1, 2)).cpu()
        _load(self.network, trained)
        return [float(value) for value in total / known.clamp_min(1)]

    def _leave(self, staying: list[int]) -> None:
        if len(staying) == len(self.places):
            return
        index = torch.tensor(staying, dtype=torch.long, device=self.device)
        self.optimizer.keep(index)
        self.mean = {name: value[index] for name, value in self.mean.items()}
        for parameter in self.network.parameters():
            parameter.data = parameter.data[index]
        self.places = [self.places[i] for i in staying]


def log_probs(shape: StudentShape, weights: Sequence[Weights], inputs: Tensor, device: str = "cpu") -> Tensor:
    """What trained students answer to the same inputs (N, T): logarithms of probabilities (G, N, T, V)."""
    group = StudentGroup(shape, tuple(range(len(weights)))).to(device)
    _load(group, {name: torch.stack([w[name] for w in weights]).to(device) for name in weights[0]})
    parts = []
    with torch.no_grad():
        for rows in torch.split(inputs, 64):
            states = group(rows.to(device).expand(len(weights), *rows.shape))
            parts.append(group.answers(states).log_softmax(dim=-1).transpose(1, 2).cpu())
    return torch.cat(parts, dim=1)


def masked_nats(log_prob: Tensor, answers: Tensor) -> Tensor:
    """Nats per answer, 0 where none was given; shape of `answers`."""
    known = answers != UNKNOWN
    found = log_prob.gather(-1, torch.where(known, answers, 0)[..., None])[..., 0]
    return torch.where(known, -found, 0.0)


def _share_known(answers_GTB: Tensor) -> Tensor:
    """What turns a mean over all steps into one over given answers."""
    return answers_GTB[0].numel() / (answers_GTB != UNKNOWN).sum(dim=(1, 2)).clamp_min(1)


def _soft(student: Student) -> Tensor:
    soft = student.lessons.soft_NTV
    if soft is None:
        raise ValueError("a student is to imitate soft answers, but its lessons have none")
    return soft


def _electrodes(student: Student) -> Tensor:
    electrodes = student.lessons.electrodes_NTK
    if electrodes is None:
        raise ValueError("a student is to imitate electrodes, but its lessons have none")
    return electrodes


def _load(group: StudentGroup, weights: Mapping[str, Any]) -> None:
    for name, parameter in group.named_parameters():
        parameter.data = weights[name]
