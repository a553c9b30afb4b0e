"""The chaotic system of `stabilise.py`: a chaotic network that students rebuild from its behaviour and electrodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuroloom.models.chaotic_rates import ChaoticRates
from neuroloom.models.recurrent_students import Cell, RecurrentShape, RecurrentStudents
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._chaos_lesson import (
    N_EXPONENTS,
    ChaosLesson,
    Recording,
    stretches,
    student_exponents,
    valid_steps,
)
from neuroloom.pipeline.studies._decoders import Scaler
from neuroloom.pipeline.studies._stabilise_school import Schooling, load, teach
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, implant, shuffled

if TYPE_CHECKING:
    from neuroloom.pipeline.studies.stabilise import ChaoticSettings, Settings

CALIBRATION, TRAIN, HELD, TEST = range(1, 5)  # seeds of trajectories
LEAST_VALID = 1.0  # Lyapunov times
NEAR = 0.5  # of the teacher's largest exponent
STUDENT_STEPS = 1500  # over which a student's exponents are measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """A chaotic teacher and its exponents, per step, (K,)."""

    teacher: ChaoticRates
    exponents: Tensor


def opened(settings: ChaoticSettings) -> Known:
    """The teacher. Raises ValueError where it is not chaotic, which small networks of this kind often are not."""
    teacher = ChaoticRates.drawn(
        units=settings.units, gain=settings.gain, share=settings.share, outputs=settings.outputs, seed=settings.seed
    )
    found = teacher.exponents(min(N_EXPONENTS, settings.units))
    if found[0] < 0.005:
        raise ValueError(
            f"chaotic: {settings.units} units at gain {settings.gain:g} from seed {settings.seed} have a largest "
            f"exponent of {float(found[0]):.4f} per step; above 0.005 is wanted: take another seed or a higher gain"
        )
    return Known(teacher=teacher, exponents=found)


def solve(known: Known, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Teach the students of one cell that differ in their seed only, and let them go on by themselves."""
    first, own = asked[0], settings.chaotic
    recording = recorded(known.teacher, own)
    if first["arm"] == "shuffled":
        mixed = torch.as_tensor(shuffled(recording.electrodes_TK.numpy(), 0))
        recording = Recording(behaviour_TC=recording.behaviour_TC, electrodes_TK=mixed)
    held, test = (stretches(known.teacher, own.n_test, own.settle + own.foretold, seed)[0] for seed in (HELD, TEST))
    lesson = ChaosLesson(
        recording=recording, held_NTC=held, warm=own.warm, settle=own.settle, last=int(first["length"])
    )
    cell: Cell = first["arm"] if first["arm"] in ("orthogonal", "gru", "lstm") else "tanh"
    shape = RecurrentShape(
        n_inputs=own.outputs, n_electrodes=own.n_channels, n_answers=own.outputs, units=settings.units,
        gain=float(first["gain"] or 1.0), cell=cell,
    )  # fmt: skip
    students = RecurrentStudents(shape, tuple(int(key["seed"]) for key in asked)).to(settings.place)
    found = teach(students, lesson, settings.arm(first["arm"], "chaotic"), Schooling(**own.schooling))
    load(students, [one.weights for one in found])
    largest = float(known.exponents[0])
    valid = valid_steps(students, test, own.settle).mean(dim=1) * largest
    spectra = student_exponents(students, test, own.settle, steps=STUDENT_STEPS)
    return [
        {
            "valid": float(valid[i]),
            "exponents": spectra[i].tolist(),
            "solved": bool(valid[i] >= LEAST_VALID) and abs(float(spectra[i][0]) - largest) <= NEAR * largest,
            **one.told(),
        }
        for i, one in enumerate(found)
    ]


def recorded(teacher: ChaoticRates, settings: ChaoticSettings) -> Recording:
    """One long stretch with its electrodes, whose noise is drawn once."""
    behaviour, rates = stretches(teacher, 1, settings.recorded, TRAIN)
    calibration = stretches(teacher, 1, settings.recorded // 4, CALIBRATION)[1]
    config = ElectrodeConfig(n_channels=settings.n_channels, snr_db=settings.snr_db)
    tape = implant(config, {"rates": calibration[0].numpy()}).record({"rates": rates[0].numpy()})
    values = torch.as_tensor(tape.values_TK)
    return Recording(behaviour_TC=behaviour[0], electrodes_TK=Scaler.of(values)(values))
