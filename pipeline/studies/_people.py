"""Several people: teachers of one language who differ, whose data are pooled for one student.

Every seed has people of its own, and each gives an equal share of the sequences. A person's electrodes lie where they
lie: each has channels of their own, unknown (NaN) on the sequences of everybody else. A student is tested on the
answers of people who were never in any training, and beside that on fresh sequences of those who were.
Shapes: N sequences, T steps, K channels of one person, S people, V answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroloom.pipeline.studies._decoders import Scaler
from neuroloom.pipeline.studies._lessons import Lessons, of_teacher, open_teacher, split
from neuroloom.pipeline.studies._students import Material
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, Facts, shuffled

NEW = 10_000  # numbers of the people who are only tested


@dataclass(frozen=True, kw_only=True, eq=False)
class Test:
    """Sequences of several people and what each of them would answer: (N, T) and log-probabilities (N, T, V)."""

    inputs: Tensor
    log_prob_NTV: Tensor

    def kl(self, log_prob_NTV: Tensor) -> float:
        """Divergence of a student from them, nats per answer."""
        return float((self.log_prob_NTV.exp() * (self.log_prob_NTV - log_prob_NTV)).sum(dim=-1).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled:
    """What one student may see of its people."""

    lessons: Material
    validation: Material
    facts: Facts | None = None


@dataclass(kw_only=True, eq=False)
class People:
    """The people of a study, made when they are first asked for.

    teacher: settings of the `dialect` teacher. most: people that one seed may have. n, n_recorded: sequences, and those
    with electrodes, that one seed may ask of all its people together.
    """

    teacher: Mapping[str, Any]
    cache: Path
    most: int
    n: int
    n_recorded: int
    n_test: int
    length: int
    seen: dict[int, Lessons] = field(default_factory=dict)

    def of(self, seed: int, people: int) -> list[Lessons]:
        """The first so many people of a seed."""
        return [self._person(seed * self.most + place, place) for place in range(people)]

    def strangers(self, how_many: int) -> Test:
        """People who are in nobody's training."""
        return _test([self._made(NEW + i, n=1, n_recorded=1) for i in range(how_many)])

    def acquaintances(self, seed: int, people: int) -> Test:
        """Fresh sequences of a seed's own people."""
        return _test(self.of(seed, people))

    def _person(self, number: int, place: int) -> Lessons:
        """A seed's first person may have to give everything, its third at most a third."""
        if number not in self.seen:
            n, n_recorded = (math.ceil(whole / (place + 1)) for whole in (self.n, self.n_recorded))
            self.seen[number] = self._made(number, n=n, n_recorded=n_recorded)
        return self.seen[number]

    def _made(self, number: int, *, n: int, n_recorded: int) -> Lessons:
        person = open_teacher({**self.teacher, "kind": "dialect", "person": number}, self.cache, length=self.length)
        return of_teacher(
            person, n=n, n_recorded=n_recorded, n_test=self.n_test, length=self.length, seed=number, gaze=True
        )


def pooled(
    people: Sequence[Lessons],
    plain: int,
    recorded: int,
    electrodes: Sequence[ElectrodeConfig] | None,
    *,
    first: int = 0,
    control: bool = False,
) -> Pooled:
    """The people's sequences side by side; the first ones of each are the recorded ones.

    electrodes: one per person, None for none; where they lie and what they add is each person's own, by `first` and the
    person's place.
    control: their values at wrong times.
    """
    shares = [_shares(len(people), i, plain, recorded) for i in range(len(people))]
    train, held, seen = [], [], []
    facts = None
    for i, (person, (n_plain, n_recorded)) in enumerate(zip(people, shares, strict=True)):
        rows = torch.arange(n_recorded + n_plain)
        mine, theirs = split(rows)
        train.append(Material(inputs=person.inputs[mine], answers_NT=person.answers_NT[mine]))
        held.append(Material(inputs=person.inputs[theirs], answers_NT=person.answers_NT[theirs]))
        if electrodes is not None:
            own = electrodes[i].model_copy(update={"subject_seed": first + i, "noise_seed": first + i})
            values, told = _recorded(person, own, mine, n_recorded, control)
            seen.append(_own_channels(values, [each.n_channels for each in electrodes], i))
            facts = facts or told
    lessons = _joined(train)
    if electrodes is not None:
        lessons = Material(inputs=lessons.inputs, answers_NT=lessons.answers_NT, electrodes_NTK=torch.cat(seen))
    return Pooled(lessons=lessons, validation=_joined(held), facts=facts)


def _shares(people: int, place: int, *wholes: int) -> tuple[int, ...]:
    """Of each whole, what the person at that place gives: equal shares, the rest by the first ones."""
    return tuple(whole // people + (place < whole % people) for whole in wholes)


def _recorded(
    person: Lessons, electrodes: ElectrodeConfig, rows: Tensor, n_recorded: int, control: bool
) -> tuple[Tensor, Facts]:
    """What electrodes saw of the rows, (N, T, K), at unit variance over training time; NaN where there were none."""
    known = rows[rows < n_recorded]
    tape = person.tape(electrodes, known)
    values = shuffled(tape.values_TK, electrodes.noise_seed) if control else tape.values_TK
    e_NTK = torch.as_tensor(np.ascontiguousarray(values)).view(len(known), person.length, -1)
    unknown = torch.full((len(rows) - len(known), *e_NTK.shape[1:]), torch.nan)
    return torch.cat([Scaler.of(e_NTK)(e_NTK, keep_unknown=True), unknown]), tape.facts


def _own_channels(e_NTK: Tensor, channels: Sequence[int], place: int) -> Tensor:
    """A person's channels among those of all, (N, T, all of them)."""
    n, length, k = e_NTK.shape
    before = sum(channels[:place])
    wide = torch.full((n, length, sum(channels)), torch.nan)
    wide[..., before : before + k] = e_NTK
    return wide


def _joined(parts: Sequence[Material]) -> Material:
    return Material(
        inputs=torch.cat([part.inputs for part in parts]), answers_NT=torch.cat([part.answers_NT for part in parts])
    )


def _test(people: Sequence[Lessons]) -> Test:
    return Test(
        inputs=torch.cat([person.test_inputs for person in people]),
        log_prob_NTV=torch.cat([person.the_oracle("its answers").test_log_prob_NTV for person in people]),
    )
