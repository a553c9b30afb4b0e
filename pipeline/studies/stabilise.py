"""Stabilisation: can recordings teach a network that behaviour alone cannot, because its gradients explode?

Three systems. Each has a teacher that behaves and that a few noisy electrodes lie in, and students of a given gain:

    toggle     pulse channels each flip a hidden bit; one bit is asked for, at the end only. The teacher is a GRU that
               was taught every step, the student a large tanh network. Solved: 95 % right answers
    brain      the same task and teacher; the student has areas, feedback pathways with delays and a slow global
               module: pulses enter one area, the answer leaves another. Solved: the same
    chaotic    the teacher is a chaotic network into which nothing enters; a tanh student reads its behaviour for a
               while and goes on by itself. Solved: right for as long as small differences take to grow e-fold
               (the Lyapunov time), and its largest exponent within half of the teacher's

    behaviour    behaviour alone, at the end (chaotic: in closed loop), gradients clipped
    curriculum   the same, on sequences that grow as they are learned
    auxiliary    behaviour, and the electrodes at every step; gradients through the whole sequence
    local        the same, with the gradient cut every few steps: it cannot explode over more. Where the student reads
                 what it does itself (chaotic), it is told at every step what was really done
    forced       chaotic: as local, without electrodes
    growing      as local, on sequences that grow as they are learned; not chaotic
    areas        brain: as local, and the gradient ends between areas, too
    shuffled     control: local, with the same electrode values at wrong times
    growing_shuffled  the same of growing
    annealed     auxiliary, with electrodes that also push the state, less and less
    jacobian     behaviour, with every step held to keep the length of gradients
    orthogonal   behaviour, from an orthogonal start instead of the gain
    gru, lstm    behaviour, gated networks: so that the claim is not that tanh networks are hard

What is recorded is recorded once; what is tested on is fresh and has no electrodes. The horizon is the longest tested
length at which a student still has 95 % right answers. Shapes: N sequences, T steps, C channels, K electrodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from neuroloom.pipeline.config import Config
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _chaos_system, _stabilise_report, _toggle_systems
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._device import Placed
from neuroloom.pipeline.studies._report import Report
from neuroloom.pipeline.studies._stabilise_school import Arm, Schooling
from neuroloom.pipeline.studies._tables import Numbers, Table, for_teacher, one_of
from neuroloom.pipeline.synthetic.synthesis import Decibels

TITLE = "Can recordings teach what behaviour alone cannot?"
ALSO = ("stabilisation", "stabilization", "stabilize")
SIDE_BY_SIDE = True
NO_GAIN = ("orthogonal", "gru", "lstm")
EVERYWHERE = ("behaviour", "curriculum", "auxiliary", "local", "shuffled", "annealed")
GROWING = ("growing", "growing_shuffled")
ARMS = {
    "toggle": (*EVERYWHERE, *GROWING, "jacobian", *NO_GAIN),
    "brain": (*EVERYWHERE, *GROWING, "areas", "gru"),
    "chaotic": (*EVERYWHERE, "forced", "jacobian", *NO_GAIN),
}
Gains = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
System = Literal["toggle", "brain", "chaotic"]


class BrainSettings(Config):
    """topology: a bundled name or a file. entry, exit: areas where pulses enter, and where the answer leaves.

    area_size: units of an area. tau_s: their time constant. still_bins: of 20 ms each, after a sequence, for what is
    under way. gains: spectral radii at the start. schooling: beside that of the study.
    """

    topology: str = "four-areas"
    entry: str = "V1"
    exit: str = "M1"
    area_size: int = Field(default=24, ge=1)
    tau_s: float = Field(default=0.02, gt=0)
    still_bins: int = Field(default=6, ge=1)
    gains: Gains = (1.5,)
    schooling: Annotated[Table, one_of(Schooling)] = Field(default_factory=lambda: {"steps": 1000})


class ChaoticSettings(Config):
    """units, gain, share, seed: of the teacher; share: step over time constant. outputs: its behaviour, numbers.

    recorded: steps that are recorded. gains: of students. lengths: steps in closed loop while learning, after `warm`
    that are read. settle: steps that are read before a test. foretold: most steps that a test goes on.
    """

    units: int = Field(default=48, ge=2)
    gain: float = Field(default=2.5, gt=0)
    share: float = Field(default=0.5, gt=0, le=1)
    seed: int = Field(default=0, ge=0)
    outputs: int = Field(default=3, ge=1)
    recorded: int = Field(default=6000, ge=200)
    gains: Gains = (1.5,)
    lengths: Numbers = (16,)
    warm: int = Field(default=16, ge=1)
    settle: int = Field(default=60, ge=1)
    foretold: int = Field(default=150, ge=2)
    n_test: int = Field(default=60, ge=1)
    n_channels: int = Field(default=24, ge=1)
    snr_db: Decibels = 10.0
    strength: float = Field(default=1.0, gt=0)
    schooling: Annotated[Table, one_of(Schooling)] = Field(
        default_factory=lambda: {"steps": 1500, "learning_rate": 5e-3, "batch_size": 32, "settles": True}
    )


class Settings(Placed):
    """What is asked. Defaults are the quick profile.

    systems: those that are studied; an arm that a system does not have is left out there. teacher: of the toggle task.
    pool: sequences that were recorded, of which a tenth chooses. cut: steps of the local arm's gradient. strength: of
    the electrode loss on channels of unit variance.
    """

    systems: tuple[System, ...] = ("toggle", "brain", "chaotic")
    teacher: Annotated[Table, for_teacher("toggle")] = Field(
        default_factory=lambda: {"channels": 2, "context": 24, "longest_trained": 24}
    )
    gains: Gains = (1.5, 2.5)
    lengths: Numbers = (12,)
    seeds: int = Field(default=3, ge=1)
    arms: tuple[str, ...] = ("behaviour", "curriculum", "auxiliary", "local", "areas", "forced", "shuffled", "gru")
    units: int = Field(default=96, ge=1)
    n_channels: int = Field(default=16, ge=1)
    snr_db: Decibels = 0.0
    pool: int = Field(default=2000, ge=20)
    cut: int = Field(default=8, ge=1)
    strength: float = Field(default=5.0, gt=0)
    n_test: int = Field(default=300, ge=1)
    schooling: Annotated[Table, one_of(Schooling)] = Field(
        default_factory=lambda: {"steps": 1200, "learning_rate": 3e-3}
    )
    brain: BrainSettings = BrainSettings()
    chaotic: ChaoticSettings = ChaoticSettings()

    @field_validator("arms")
    @classmethod
    def _are_known(cls, arms: tuple[str, ...]) -> tuple[str, ...]:
        known = tuple(dict.fromkeys(arm for each in ARMS.values() for arm in each))
        if unknown := [arm for arm in arms if arm not in known]:
            raise ValueError(f"no arm {unknown[0]!r}; there are: {', '.join(known)}")
        return arms

    def gains_of(self, system: System) -> tuple[float, ...]:
        """Of the students of a system."""
        return {"toggle": self.gains, "brain": self.brain.gains, "chaotic": self.chaotic.gains}[system]

    def arm(self, name: str, system: System = "toggle") -> Arm:
        """How an arm teaches."""
        strength = self.chaotic.strength if system == "chaotic" else self.strength
        told = system == "chaotic"
        local = Arm(electrodes=strength, cut=self.cut, open_loop=told)
        growing = replace(local, curriculum=True)
        return (
            {
                "behaviour": Arm(),
                "curriculum": Arm(curriculum=True),
                "auxiliary": Arm(electrodes=strength),
                "local": local,
                "growing": growing,
                "growing_shuffled": growing,
                "forced": Arm(cut=self.cut, open_loop=told),
                "areas": Arm(electrodes=strength, cut=self.cut, areas=True),
                "shuffled": local,
                "annealed": Arm(electrodes=strength, forcing=0.6),
                "jacobian": Arm(jacobian=1.0),
            }
            | dict.fromkeys(NO_GAIN, Arm())
        )[name]


FULL = Settings(
    teacher={"context": 800},
    gains=(0.9, 1.5, 2.5, 4.0),
    lengths=(20, 60, 150, 400),
    seeds=5,
    arms=tuple(dict.fromkeys(arm for arms in ARMS.values() for arm in arms)),
    units=256,
    pool=4000,
    schooling={"steps": 2500, "learning_rate": 3e-3},
    brain=BrainSettings(area_size=64, gains=(0.9, 1.5, 2.5, 4.0), schooling={"steps": 2500}),
    chaotic=ChaoticSettings(
        gains=(0.9, 1.5, 2.5, 4.0),
        lengths=(16, 48, 120),
        recorded=20_000,
        schooling={"steps": 8000, "learning_rate": 5e-3, "settles": True},
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The teachers: toggle's, where it is asked for, and the chaotic one."""

    toggle: _toggle_systems.Teacher | None
    chaotic: _chaos_system.Known | None

    @property
    def digest(self) -> str:
        return "" if self.toggle is None else self.toggle.digest

    def facts(self) -> dict[str, Any]:
        """What a report should say of them."""
        found: dict[str, Any] = {}
        if self.toggle is not None:
            found |= {"teacher": self.toggle.name, "teacher_digest": self.toggle.digest, **self.toggle.remarks}
        if self.chaotic is not None:
            found["chaotic_exponents"] = [float(one) for one in self.chaotic.exponents]
        return found


def opened(settings: Settings, store: Store, progress: Any = None) -> Bench:
    """The teachers, trained or from the cache. Raises ValueError for lengths beyond what one can read."""
    has_toggle = {"toggle", "brain"} & set(settings.systems)
    return Bench(
        toggle=_toggle_systems.opened(settings, store, progress) if has_toggle else None,
        chaotic=_chaos_system.opened(settings.chaotic) if "chaotic" in settings.systems else None,
    )


def keys(settings: Settings) -> list[Key]:
    """Every cell: system, arm, gain, length, seed. What has no gain is there once per length."""
    cells: list[dict[str, Any]] = []
    for system in settings.systems:
        for length in settings.chaotic.lengths if system == "chaotic" else settings.lengths:
            for arm in (arm for arm in settings.arms if arm in ARMS[system]):
                gains = (None,) if arm in NO_GAIN else settings.gains_of(system)
                cells += [{"system": system, "arm": arm, "gain": gain, "length": length} for gain in gains]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """Seeds of one cell are taught side by side."""
    batches: dict[tuple[Any, ...], list[Key]] = {}
    for key in asked:
        batches.setdefault((key["system"], key["arm"], key["gain"], key["length"]), []).append(key)
    return list(batches.values())


def solve(bench: Bench, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Teach the students of one cell that differ in their seed only, and test them on what is fresh."""
    if asked[0]["system"] == "chaotic" and bench.chaotic is not None:
        return _chaos_system.solve(bench.chaotic, settings, asked)
    if bench.toggle is None:
        raise ValueError("the toggle teacher was not opened; the settings name no system that needs it")
    return _toggle_systems.solve(bench.toggle, settings, asked)


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _stabilise_report.report(settings, found, facts)
