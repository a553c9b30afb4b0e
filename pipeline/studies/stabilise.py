"""Stabilisation: can recordings teach a network that behaviour alone cannot, because its gradients explode?

The task: three pulse channels each flip a hidden bit; one bit is asked for, at the end only. The teacher is a GRU that
was taught every step. The student is a large tanh network whose recurrent weights have a gain, which over many steps
makes gradients explode; it is taught from the teacher's answers, and from a few noisy electrodes in the teacher.

    behaviour    the answer at the end, gradients clipped
    curriculum   the same, on sequences that grow as they are learned (asked earlier, too)
    auxiliary    the answer, and the electrodes at every step; gradients through the whole sequence
    local        the same, with the gradient cut every few steps: it cannot explode over more
    shuffled     control: local, with the same electrode values at wrong times
    annealed     auxiliary, with electrodes that also push the state, less and less
    jacobian     behaviour, with every step held to keep the length of gradients
    orthogonal   behaviour, from an orthogonal start instead of the gain
    gru, lstm    behaviour, gated networks: so that the claim is not that tanh networks are hard

What is recorded is recorded once; sequences for the test are fresh and have no electrodes. A cell is solved at 95 %
right answers. The horizon is the longest tested length at which a student still has that.
Shapes: N sequences, T steps, C channels, K electrodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field

from neuroloom.models.teachers import Teacher
from neuroloom.models.teachers.toggle import as_bits
from neuroloom.models.toggle_students import Cell, ToggleShape, ToggleStudents
from neuroloom.pipeline.config import Config
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _stabilise_report
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._decoders import Scaler
from neuroloom.pipeline.studies._lessons import open_teacher
from neuroloom.pipeline.studies._report import Report
from neuroloom.pipeline.studies._toggle_school import SOLVED, Arm, Pool, Schooling, accuracy, load, teach
from neuroloom.pipeline.synthesis import ElectrodeConfig, implant, shuffled

TITLE = "Can recordings teach what behaviour alone cannot?"
ALSO = ("stabilisation", "stabilization", "stabilize")
CALIBRATION = 100  # sequences
NO_GAIN = ("orthogonal", "gru", "lstm")


class Settings(Config):
    """What is asked. Defaults are the quick profile.

    pool: sequences that were recorded, of which a tenth chooses. cut: steps of the local arm's gradient. strength: of
    the electrode loss on channels of unit variance.
    """

    teacher: dict[str, Any] = Field(default_factory=lambda: {"channels": 2, "context": 24, "longest_trained": 24})
    gains: tuple[float, ...] = (1.5, 2.5)
    lengths: tuple[int, ...] = (12,)
    seeds: int = Field(default=3, ge=1)
    arms: tuple[str, ...] = ("behaviour", "curriculum", "auxiliary", "local", "shuffled", "gru")
    units: int = Field(default=96, ge=1)
    n_channels: int = Field(default=16, ge=1)
    snr_db: float = 0.0
    pool: int = Field(default=2000, ge=20)
    cut: int = Field(default=8, ge=1)
    strength: float = Field(default=5.0, gt=0)
    n_test: int = Field(default=300, ge=1)
    schooling: dict[str, Any] = Field(default_factory=lambda: {"steps": 1200, "learning_rate": 3e-3})

    def arm(self, name: str) -> Arm:
        """How an arm teaches. Raises ValueError naming those there are."""
        known = {
            "behaviour": Arm(),
            "curriculum": Arm(curriculum=True),
            "auxiliary": Arm(electrodes=self.strength),
            "local": Arm(electrodes=self.strength, cut=self.cut),
            "shuffled": Arm(electrodes=self.strength, cut=self.cut),
            "annealed": Arm(electrodes=self.strength, forcing=0.6),
            "jacobian": Arm(jacobian=1.0),
        } | dict.fromkeys(NO_GAIN, Arm())
        if name not in known:
            raise ValueError(f"no arm {name!r}; there are: {', '.join(known)}")
        return known[name]


FULL = Settings(
    teacher={"context": 800},
    gains=(0.9, 1.5, 2.5, 4.0),
    lengths=(20, 60, 150, 400),
    seeds=5,
    arms=(
        "behaviour",
        "curriculum",
        "auxiliary",
        "local",
        "shuffled",
        "annealed",
        "jacobian",
        "orthogonal",
        "gru",
        "lstm",
    ),
    units=256,
    pool=4000,
    schooling={"steps": 2500},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The teacher."""

    teacher: Teacher

    @property
    def digest(self) -> str:
        return self.teacher.digest

    def facts(self) -> dict[str, Any]:
        """What a report should say of it."""
        return {"teacher": self.teacher.name, "teacher_digest": self.teacher.digest, **self.teacher.remarks}


def opened(settings: Settings, store: Store, progress: Any = None) -> Bench:
    """The toggle teacher, trained or from the cache. Raises ValueError for lengths beyond what it can read."""
    asked = {key: value for key, value in settings.teacher.items() if key != "kind"}
    teacher = open_teacher("toggle", asked, store.derived / "teachers", progress)
    if max(settings.lengths) > teacher.context:
        raise ValueError(f"sequences of {max(settings.lengths)} steps; the teacher's context is {teacher.context}")
    return Bench(teacher=teacher)


def keys(settings: Settings) -> list[Key]:
    """Every cell: arm, gain, length, seed. What has no gain is there once per length."""
    cells: list[dict[str, Any]] = []
    for length in settings.lengths:
        for arm in settings.arms:
            settings.arm(arm)
            gains = (None,) if arm in NO_GAIN else settings.gains
            cells += [{"arm": arm, "gain": gain, "length": length} for gain in gains]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """Seeds of one cell are taught side by side."""
    batches: dict[tuple[Any, ...], list[Key]] = {}
    for key in asked:
        batches.setdefault((key["arm"], key["gain"], key["length"]), []).append(key)
    return list(batches.values())


def solve(bench: Bench, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Teach the students of one cell that differ in their seed only, and test them on fresh sequences."""
    first, length = asked[0], int(asked[0]["length"])
    whole = recorded(bench.teacher, settings, length)
    if first["arm"] == "shuffled":
        mixed = shuffled(whole.electrodes_NTK.flatten(0, 1).numpy(), 0)
        whole = replace(whole, electrodes_NTK=torch.as_tensor(mixed).view_as(whole.electrodes_NTK))
    n_held = max(1, settings.pool // 10)
    pool, held = _rows(whole, slice(None, -n_held)), _rows(whole, slice(-n_held, None))
    cell: Cell = first["arm"] if first["arm"] in NO_GAIN else "tanh"
    shape = ToggleShape(
        n_inputs=2 * pool.channels,
        n_electrodes=settings.n_channels,
        units=settings.units,
        gain=float(first["gain"] or 1.0),
        cell=cell,
    )
    students = ToggleStudents(shape, tuple(int(key["seed"]) for key in asked))
    found = teach(students, pool, held, settings.arm(first["arm"]), Schooling(**settings.schooling))
    load(students, [one.weights for one in found])
    tested = tests(students, bench.teacher, settings, length)
    return [
        {
            "right": tested[length][i],
            "solved": tested[length][i] >= SOLVED,
            "horizon": max((n for n, right in tested.items() if right[i] >= SOLVED), default=0),
            "by_length": {str(n): right[i] for n, right in tested.items()},
            "validation": one.validation,
            "steps": one.steps,
            "largest_norm": one.largest_norm,
            "norms": [list(each) for each in one.norms],
        }
        for i, one in enumerate(found)
    ]


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _stabilise_report.report(settings, found, facts)


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


def tests(students: ToggleStudents, teacher: Teacher, settings: Settings, length: int) -> dict[int, list[float]]:
    """Right answers by length, from a quarter to twice that of training as far as the teacher can read; per student."""
    tried = sorted({max(2, length // 4), max(2, length // 2), length, min(2 * length, teacher.context)})
    found = {}
    for n in tried:
        symbols = teacher.read(settings.n_test, n, torch.Generator().manual_seed(1000 + n)).symbols_BT
        found[n] = accuracy(students, symbols, answers(teacher, teacher.watch(symbols).log_prob_BTV))
    return found


def _rows(pool: Pool, rows: slice) -> Pool:
    return Pool(
        symbols_NT=pool.symbols_NT[rows], bits_NTC=pool.bits_NTC[rows], electrodes_NTK=pool.electrodes_NTK[rows]
    )
