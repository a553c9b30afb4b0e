"""The toggle task's two systems: a large tanh network, and a network shaped like a brain. See `stabilise.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from neuroloom.models.brain_students import BrainShape, BrainStudents
from neuroloom.models.recurrent_students import Cell, RecurrentShape, RecurrentStudents
from neuroloom.models.teachers import Teacher
from neuroloom.models.teachers.toggle import as_bits
from neuroloom.models.topology import Topology
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._decoders import Scaler
from neuroloom.pipeline.studies._lessons import open_teacher
from neuroloom.pipeline.studies._stabilise_school import (
    CONTROL_OF,
    SOLVED,
    Schooling,
    Students,
    load,
    teach,
)
from neuroloom.pipeline.studies._toggle_lesson import Pool, ToggleLesson, accuracy
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, implant, shuffled

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.stabilise import Settings

CALIBRATION = 100  # sequences
__all__ = ["Teacher", "opened", "recorded", "solve"]


def opened(settings: Settings, store: Store, progress: Any = None) -> Teacher:
    """The toggle teacher, trained or from the cache. Raises ValueError for lengths beyond what it can read."""
    asked = {**settings.teacher, "kind": "toggle"}
    return open_teacher(asked, store.derived / "teachers", progress, length=max(settings.lengths))


def solve(teacher: Teacher, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Teach the students of one cell that differ in their seed only, and test them on fresh sequences."""
    first, length = asked[0], int(asked[0]["length"])
    whole = recorded(teacher, settings, length)
    if first["arm"] in CONTROL_OF.values():
        mixed = shuffled(whole.electrodes_NTK.flatten(0, 1).numpy(), 0)
        whole = replace(whole, electrodes_NTK=torch.as_tensor(mixed).view_as(whole.electrodes_NTK))
    n_held = max(1, settings.pool // 10)
    lesson = ToggleLesson(pool=whole.part(slice(None, -n_held)), held=whole.part(slice(-n_held, None)))
    students = _students(settings, asked, 2 * whole.channels).to(settings.place)
    is_brain = first["system"] == "brain"
    schooling = Schooling(**settings.schooling | (settings.brain.schooling if is_brain else {}))
    found = teach(students, lesson, settings.arm(first["arm"], first["system"]), schooling)
    load(students, [one.weights for one in found])
    tested = _tests(students, teacher, settings, length)
    return [
        {
            "right": tested[length][i],
            "solved": tested[length][i] >= SOLVED,
            "horizon": max((n for n, right in tested.items() if right[i] >= SOLVED), default=0),
            "by_length": {str(n): right[i] for n, right in tested.items()},
            **one.told(),
        }
        for i, one in enumerate(found)
    ]


def recorded(teacher: Teacher, settings: Settings, length: int) -> Pool:
    """What the teacher did and what electrodes saw of it: drawn once, the same for every arm and seed."""
    generator = torch.Generator().manual_seed(11 + length)
    symbols = teacher.read(settings.pool + CALIBRATION, length, generator).symbols_BT
    watched, calibration = teacher.watch(symbols[CALIBRATION:]), teacher.watch(symbols[:CALIBRATION])
    config = ElectrodeConfig(n_channels=settings.n_channels, snr_db=settings.snr_db)
    electrodes = implant(config, {n: s.flatten(0, 1).numpy() for n, s in calibration.states.items()})
    values = electrodes.record({n: s.flatten(0, 1).numpy() for n, s in watched.states.items()}).values_TK
    e_NTK = torch.as_tensor(values).view(settings.pool, length, -1)
    n_train = settings.pool - max(1, settings.pool // 10)
    return Pool(
        symbols_NT=symbols[CALIBRATION:],
        bits_NTC=answers(teacher, watched.log_prob_BTV),
        electrodes_NTK=Scaler.of(e_NTK[:n_train])(e_NTK),
    )


def answers(teacher: Teacher, log_prob_NTV: torch.Tensor) -> torch.Tensor:
    """The bits that the teacher holds likeliest, (N, T, C)."""
    return as_bits(log_prob_NTV.argmax(dim=-1), (teacher.n_outputs - 1).bit_length())


def _students(settings: Settings, asked: Sequence[Key], n_inputs: int) -> Students:
    first, seeds = asked[0], tuple(int(key["seed"]) for key in asked)
    arm, gain = first["arm"], float(first["gain"] or 1.0)
    if first["system"] == "brain":
        brain = settings.brain
        return BrainStudents(
            BrainShape(
                topology=Topology.read(brain.topology), entry=brain.entry, exit=brain.exit, n_inputs=n_inputs,
                n_electrodes=settings.n_channels, area_size=brain.area_size, gain=gain, tau_s=brain.tau_s,
                kind="gru" if arm == "gru" else "leaky", still_bins=brain.still_bins,
            ),
            seeds,
        )  # fmt: skip
    cell: Cell = arm if arm in ("orthogonal", "gru", "lstm") else "tanh"
    shape = RecurrentShape(
        n_inputs=n_inputs, n_electrodes=settings.n_channels, units=settings.units, gain=gain, cell=cell
    )
    return RecurrentStudents(shape, seeds)


def _tests(students: Students, teacher: Teacher, settings: Settings, length: int) -> dict[int, list[float]]:
    """Right answers by length, from a quarter to twice that of training as far as the teacher can read; per student."""
    tried = sorted({max(2, length // 4), max(2, length // 2), length, min(2 * length, teacher.context)})
    found = {}
    for n in tried:
        symbols = teacher.read(settings.n_test, n, torch.Generator().manual_seed(1000 + n)).symbols_BT
        found[n] = accuracy(students, symbols, answers(teacher, teacher.watch(symbols).log_prob_BTV))
    return found
