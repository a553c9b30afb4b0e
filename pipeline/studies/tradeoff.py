"""Trade-off: with so much money, does it pay to put devices on people, or to pay for more people?

Different people (`models/teachers/dialect.py`) speak one language, each a little differently. A student learns from the
pooled sequences of some of them, and is asked how people answer whom it has never met. Per arm a device:

    none         behaviour alone, over a curve of sequences and of people: what everything is measured against
    gaze         where the teacher's attention looks back to, two noisy channels and nothing of its state
    eeg-like     few spatial dimensions, low-pass, much noise
    surface      some channels, a little low-pass
    penetrating  many channels of spikes

Each has its price per hour and per person (device, surgery, risk, drop-out): settings, not findings. A surface of the
loss is fitted to the cells (`_surface.py`), and what a budget buys best is read off it (`_portfolio.py`). One device is
varied in channels and noise; plain and recorded sequences mixed are measured, too, but not fitted: they test the
surface, and so do teams of people with different devices. Beside it stands the varied device with its values at wrong
times. Of each cell held-out behaviour decides
whether electrodes are used at all, and how strongly; there are none at the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from neuroloom.models.student_group import StudentShape
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _tradeoff_report
from neuroloom.pipeline.studies._cells import Key, Result
from neuroloom.pipeline.studies._device import Placed
from neuroloom.pipeline.studies._lessons import GAZE
from neuroloom.pipeline.studies._people import People, Test, pooled
from neuroloom.pipeline.studies._portfolio import Costs, DeviceCosts
from neuroloom.pipeline.studies._report import Report
from neuroloom.pipeline.studies._students import Schooling, Student, log_probs, school
from neuroloom.pipeline.studies._surface import MIXED, NONE
from neuroloom.pipeline.studies._tables import Number, Numbers, Strengths, Table, for_teacher, one_of
from neuroloom.pipeline.synthetic.synthesis import Decibels, ElectrodeConfig

TITLE = "More devices, or more people?"
ALSO = ("trade-off", "portfolio")
# Teams add cells that say themselves who had what; they decide no other.
ONLY_READ = ("costs", "prices", "budgets", "draws", "teams")
SMALL_TEACHER = {
    "n_symbols": 16, "n_topics": 6, "successors": 3, "stay": 0.97, "width": 48, "blocks": 2, "heads": 2, "context": 24,
    "steps": 400,
}  # fmt: skip


def _devices(scale: int) -> dict[str, ElectrodeConfig]:
    """scale: by how much the teacher is larger than the quick profile's."""
    return {
        "gaze": ElectrodeConfig(n_channels=2, snr_db=0.0, low_pass=0.3, layers=(GAZE,)),
        "eeg-like": ElectrodeConfig(kind="eeg", n_channels=12 * scale, rank=8 * scale, snr_db=-10.0, low_pass=0.7),
        "surface": ElectrodeConfig(n_channels=24 * scale, snr_db=0.0, low_pass=0.3),
        "penetrating": ElectrodeConfig(kind="spikes", n_channels=48 * scale, spikes_per_step=2.0),
    }


PRICES = {
    "gaze": DeviceCosts(hour=5, person=20, dropout=0.05),
    "eeg-like": DeviceCosts(hour=60, person=60, dropout=0.1),
    "surface": DeviceCosts(hour=100, person=30_000, risk=10_000, dropout=0.2),
    "penetrating": DeviceCosts(hour=100, person=80_000, risk=30_000, dropout=0.3),
}


class Settings(Placed):
    """What is asked. Defaults are the quick profile.

    teacher: of the people (settings of the `dialect` teacher). curve x people: sequences, and people they come from,
    of behaviour alone. recorded x recorded_people: with each device. devices: without `layers` they hear all of them,
    but for the gaze. varied: the device whose channels and noise are varied (channels x snr_db), which has a control,
    and which is mixed with plain sequences: (plain, recorded) of `mixed`. Sums of these have to be on the curve.
    teams: people by device, who give as much each, the most recorded sequences together: they test what the surface
    says of mixed devices. new_people: who are only tested. strengths: of the regression on electrodes; behaviour alone
    is always a candidate.
    costs, prices of devices, budgets: as assumed. draws: of the seeds, for intervals. Those four are only read by the
    report: the same command with others of them trains nothing again, and with other teams these alone.
    """

    teacher: Annotated[Table, for_teacher("dialect")] = Field(default_factory=lambda: dict(SMALL_TEACHER))
    length: int = Field(default=24, ge=2)
    n_test: int = Field(default=60, ge=2)
    new_people: int = Field(default=4, ge=1)
    seeds: int = Field(default=3, ge=1)
    draws: int = Field(default=100, ge=1)
    curve: Numbers = (16, 64, 256, 1024)
    people: Numbers = (1, 2, 4)
    recorded: Numbers = (64, 256)
    recorded_people: Numbers = (1, 4)
    mixed: tuple[tuple[int, int], ...] = ((192, 64),)
    teams: tuple[dict[str, int], ...] = ({"eeg-like": 3, "surface": 1}, {"surface": 3, "penetrating": 1})
    devices: dict[str, ElectrodeConfig] = Field(default_factory=lambda: _devices(1))
    varied: str = "surface"
    channels: tuple[Number, ...] = (6, 96)
    snr_db: tuple[Decibels, ...] = (-10.0, 10.0)
    strengths: Strengths = (4.0, 30.0)
    units: int = Field(default=32, ge=1)
    schooling: Annotated[Table, one_of(Schooling)] = Field(default_factory=lambda: {"steps": 600, "patience": 6})
    costs: Costs = Costs()
    prices: dict[str, DeviceCosts] = Field(default_factory=lambda: dict(PRICES))
    budgets: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        1_000,
        3_000,
        10_000,
        30_000,
        100_000,
        300_000,
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if reserved := {NONE, MIXED} & self.devices.keys():
            raise ValueError(f"{min(reserved)!r} is the name of having no device, or several")
        if unknown := sorted(self.prices.keys() - self.devices.keys() - PRICES.keys()):
            raise ValueError(f"prices of {unknown[0]!r}, which is none of the devices {', '.join(self.devices)}")
        if missing := sorted(self.devices.keys() - self.prices.keys()):
            raise ValueError(f"no prices of {missing[0]!r}; there are those of {', '.join(self.prices)}")
        if self.varied not in self.devices:
            raise ValueError(f"varied = {self.varied!r} is none of the devices {', '.join(self.devices)}")
        for n in (*self.recorded, *(plain + recorded for plain, recorded in self.mixed)):
            if n not in self.curve:
                raise ValueError(f"{n} sequences with electrodes, but the curve has {self.curve} without")
        for s in self.recorded_people:
            if s not in self.people:
                raise ValueError(f"{s} people with electrodes, but behaviour alone has {self.people}")
        for team in self.teams:
            if others := sorted(team.keys() - self.devices.keys()):
                raise ValueError(f"a team with {others[0]!r}, which is none of the devices {', '.join(self.devices)}")
            if len(team) < 2 or min(team.values()) < 1 or sum(team.values()) not in self.people:
                raise ValueError(
                    f"a team of {team}: two devices or more, each on somebody, and as many people as some of "
                    f"{self.people} are wanted"
                )
        if min(self.curve) < 2 * max(self.people):
            raise ValueError(f"{min(self.curve)} sequences of {max(self.people)} people: two of each are wanted")
        return self

    @property
    def most(self) -> int:
        """People of one seed."""
        return max(self.people)


FULL = Settings(
    teacher={},
    length=64,
    n_test=200,
    new_people=8,
    seeds=5,
    curve=(64, 256, 1024, 4096, 16384),
    people=(1, 2, 4, 8),
    recorded=(64, 256, 1024),
    recorded_people=(1, 4, 8),
    mixed=((768, 256), (3072, 1024)),
    devices=_devices(4),
    channels=(24, 384),
    snr_db=(-20.0, -10.0, 0.0, 10.0),
    teams=({"eeg-like": 6, "surface": 2}, {"surface": 6, "penetrating": 2}),
    strengths=(3.0, 10.0, 40.0, 120.0),
    units=128,
    schooling={"steps": 4000},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The people, and the strangers that every student is tested on."""

    people: People
    strangers: Test

    @property
    def digest(self) -> str:
        return self.people.of(0, 1)[0].digest

    def facts(self) -> dict[str, Any]:
        """What a report should say of them."""
        one = self.people.of(0, 1)[0]
        return {"teacher": one.name, "teacher_digest": one.digest, **one.remarks}


def opened(settings: Settings, store: Store, progress: Any = None) -> Bench:
    """The people, trained or from the cache."""
    people = People(
        teacher={"context": settings.length} | settings.teacher,
        cache=store.derived / "teachers",
        most=settings.most,
        n=max(settings.curve),
        n_recorded=max(settings.recorded),
        n_test=settings.n_test,
        length=settings.length,
    )
    return Bench(people=people, strangers=people.strangers(settings.new_people))


def keys(settings: Settings) -> list[Key]:
    """Every cell: device, plain and recorded sequences, people, a seed; behaviour alone comes first."""
    cells: list[dict[str, Any]] = [
        {"device": NONE, "plain": n, "recorded": 0, "people": s} for n in settings.curve for s in settings.people
    ]
    cells += [
        {"device": device, "plain": 0, "recorded": n, "people": s}
        for device in settings.devices
        for n in settings.recorded
        for s in settings.recorded_people
    ]
    at = {
        "device": settings.varied,
        "plain": 0,
        "recorded": min(settings.recorded),
        "people": settings.recorded_people[-1],
    }
    cells += [at | {"plain": plain, "recorded": recorded} for plain, recorded in settings.mixed]
    cells += [at | {"control": "shuffled"}]
    cells += [at | {"k": k, "snr_db": snr} for k in settings.channels for snr in settings.snr_db]
    whole = {"device": MIXED, "plain": 0, "recorded": max(settings.recorded)}
    cells += [whole | {"people": sum(team.values()), "team": dict(sorted(team.items()))} for team in settings.teams]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """Seeds of one cell are trained side by side, and without a device all numbers of people, too."""
    batches: dict[str, list[Key]] = {}
    for key in asked:
        apart = {"seed", "people"} if key["device"] == NONE else {"seed"}
        batches.setdefault(str({name: value for name, value in key.items() if name not in apart}), []).append(key)
    return list(batches.values())


def solve(bench: Bench, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Train the students of some cells; each result names its candidates with their losses."""
    configs = electrodes_of(settings, asked[0], bench.people.of(0, 1)[0].the_oracle("its layers").states)
    prepared = [
        pooled(
            bench.people.of(int(key["seed"]), int(key["people"])),
            int(key["plain"]),
            int(key["recorded"]),
            configs,
            first=int(key["seed"]) * settings.most,
            control="control" in key,
        )
        for key in asked
    ]
    strengths = (0.0,) if configs is None else settings.strengths
    students = [
        Student(lessons=one.lessons, validation=one.validation, electrodes=strength, seed=int(key["seed"]))
        for key, one in zip(asked, prepared, strict=True)
        for strength in strengths
    ]
    one = bench.people.of(0, 1)[0]
    seen = prepared[0].lessons.electrodes_NTK
    shape = StudentShape(
        n_inputs=one.n_inputs,
        n_outputs=one.n_outputs,
        n_electrodes=0 if seen is None else seen.shape[-1],
        units=settings.units,
    )
    found = school(shape, students, Schooling(**settings.schooling | {"device": str(settings.place)}))
    answers = log_probs(shape, [each.weights for each in found], bench.strangers.inputs, str(settings.place))
    results = []
    for i, (key, pool) in enumerate(zip(asked, prepared, strict=True)):
        part = slice(i * len(strengths), (i + 1) * len(strengths))
        known = bench.people.acquaintances(int(key["seed"]), int(key["people"]))
        of_known = log_probs(shape, [each.weights for each in found[part]], known.inputs, str(settings.place))
        candidates = [
            {
                "strength": strength,
                "validation_nats": each.validation_nats,
                "best_step": each.best_step,
                "kl": bench.strangers.kl(to_strangers),
                "kl_known": known.kl(to_known),
            }
            for strength, each, to_strangers, to_known in zip(
                strengths, found[part], answers[part], of_known, strict=True
            )
        ]
        results.append({"candidates": candidates, "facts": pool.facts.to_json() if pool.facts else {}})
    return results


def electrodes_of(settings: Settings, key: Key, layers: Mapping[str, Any]) -> list[ElectrodeConfig] | None:
    """A cell's electrodes, one per person, None without a device."""
    if key["device"] == NONE:
        return None
    team = key["team"] if key["device"] == MIXED else {key["device"]: int(key["people"])}
    changed = {"n_channels": int(key["k"]), "snr_db": float(key["snr_db"])} if "k" in key else {}
    all_but_gaze = tuple(name for name in layers if name != GAZE)
    found = []
    for device, people in team.items():
        config = settings.devices[device]
        found += [config.model_copy(update={"layers": config.layers or all_but_gaze, **changed})] * people
    return found


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _tradeoff_report.report(settings, found, facts)
