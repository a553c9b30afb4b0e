"""Conversion: can one network be made into one of another kind, and do recordings of its inside save tokens?

    a transformer   into a recurrent network (gated, or state space), into one block gone through several times
    a state space   into attention (a single pass), into a gated recurrent network
    a recurrent one that counts pulses   into a single pass of attention or of convolutions: their depth is fixed, so
                    what they track over long sequences is expected to fail; a recurrent one stands beside them
    text            a transformer that reads documentation, into a state space

Arms are in `_converting.py`. Of each are measured: divergence and agreement on fresh sequences; the tokens with which
it comes as far as the distribution alone does at the end; tokens per second read and spoken; bytes of its state; and
answers at lengths it was not taught, beside what can be known there at best. The networks of the first seed are kept as
safetensors files in the run's `networks/`: `neuroloom generate RUN` lets them speak.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from neuroloom.models.mixers import kinds
from neuroloom.models.speaker import Shape, Speaker, file_bytes, state_bytes
from neuroloom.models.teachers import Teacher
from neuroloom.pipeline.config import Config
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.studies import _convert_report
from neuroloom.pipeline.studies._cells import FILES, NETWORKS, Key, Result
from neuroloom.pipeline.studies._converting import (
    ARMS,
    Converted,
    Schooling,
    Stream,
    answers,
    convert,
    stream,
)
from neuroloom.pipeline.studies._device import Placed
from neuroloom.pipeline.studies._lessons import DEFAULT_KIND, open_teacher
from neuroloom.pipeline.studies._report import Report
from neuroloom.pipeline.studies._tables import ModelTeacher, Strengths, Table, one_of
from neuroloom.pipeline.synthetic.synthesis import Decibels, ElectrodeConfig

TITLE = "Can a network be converted, and do recordings help?"
ALSO = ("conversion",)
ONLY_READ = ("headline",)
NOISY = ("electrodes", "shuffled")
STRENGTHLESS = ("logits", "hidden", "staged")
TIMED_STEPS = 48
Share = Annotated[float, Field(gt=0)]
SMALL = {
    "n_symbols": 16, "n_topics": 6, "successors": 3, "stay": 0.97, "width": 48, "blocks": 2, "heads": 2, "context": 32,
    "steps": 400,
}  # fmt: skip


class Conversion(Config):
    """teacher: one of `teachers`. mixer, blocks, looped, width: of the network it becomes (`models/speaker.py`).
    length: of the sequences it learns from.
    """

    teacher: str
    mixer: str
    arms: tuple[str, ...] = ("logits", "both")
    blocks: int = Field(default=2, ge=1)
    width: int = Field(default=48, ge=1)
    looped: bool = False
    length: int = Field(default=32, ge=4)

    @field_validator("mixer")
    @classmethod
    def _is_known(cls, mixer: str) -> str:
        kinds(mixer)
        return mixer


def _conversions(width: int, blocks: int, length: int, text: int, *, every: bool) -> dict[str, Conversion]:
    """width, blocks, length: of the teachers; text: the context of the one that reads text; every: all arms."""
    more = ("staged", "local", "electrodes", "shuffled") if every else ()

    def made(teacher: str, mixer: str, *arms: str, looped: bool = False) -> Conversion:
        return Conversion(
            teacher=teacher, mixer=mixer, arms=arms, looped=looped, width=width, blocks=blocks, length=length
        )

    def counted(mixer: str) -> Conversion:
        arms = ("logits", "both") if every else ("logits",)
        return Conversion(teacher="toggle", mixer=mixer, length=24, arms=arms)

    reading = made("text", "diagonal", "logits", "both")
    return {
        "transformer to GRU": made(
            "transformer", "gru", "logits", "hidden", "both", "staged", "electrodes", "shuffled"
        ),
        "transformer to state space": made("transformer", "diagonal", "logits", "both", *more),
        "transformer to loop": made("transformer", "attention", "logits", "local", looped=True),
        "state space to attention": made("state space", "attention", "logits", "both", *more),
        "toggle to attention": counted("attention"),
        "toggle to convolution": counted("convolution"),
        "toggle to state space": counted("diagonal"),
        "text to state space": reading.model_copy(update={"width": max(64, width), "length": text}),
    }


class Settings(Placed):
    """What is asked. Defaults are the quick profile.

    teachers: by name, a kind with its settings. headline: the conversion that the sentence tells.
    strengths: of what is not the distribution; held-out answers choose.
    k_over_d, snr_db: of the electrodes arm; at: the k/d of the control. longer: lengths that are tested, over the one
    that was taught. reach_kl: the divergence to which tokens are counted. sequences: read to learn from; after those
    they come again.
    """

    teachers: dict[str, ModelTeacher] = Field(
        default_factory=lambda: {
            "transformer": {"kind": "hidden_markov", **SMALL},
            "state space": {"kind": "state_space", **SMALL},
            "toggle": {"kind": "toggle", "channels": 2, "context": 100, "longest_trained": 40},
            "text": {"kind": "characters", "width": 64, "blocks": 2, "context": 48, "steps": 500, "batch": 32},
        }
    )
    conversions: dict[str, Conversion] = Field(
        default_factory=lambda: _conversions(48, 2, 32, 48, every=False), min_length=1
    )
    headline: str = "transformer to GRU"
    k_over_d: tuple[Share, ...] = (1 / 16, 1 / 4, 1.0)
    snr_db: Decibels = 10.0
    at: Share = 1 / 4
    strengths: Strengths = (1.0,)
    longer: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 1.0, 2.0, 4.0)
    reach_kl: float = Field(default=0.05, gt=0)
    sequences: int = Field(default=12_800, ge=1)
    n_test: int = Field(default=128, ge=2)
    seeds: int = Field(default=3, ge=1)
    schooling: Annotated[Table, one_of(Schooling)] = Field(default_factory=lambda: {"steps": 300, "batch": 16})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, asked in self.conversions.items():
            if asked.teacher not in self.teachers:
                raise ValueError(f"{name}: no teacher {asked.teacher!r}; there are: {', '.join(self.teachers)}")
            if unknown := [arm for arm in asked.arms if arm not in ARMS]:
                raise ValueError(f"{name}: no arm {unknown[0]!r}; there are: {', '.join(ARMS)}")
        return self

    @property
    def asked_teachers(self) -> tuple[str, ...]:
        """Those of any conversion."""
        return tuple(dict.fromkeys(asked.teacher for asked in self.conversions.values()))


FULL = Settings(
    teachers={
        "transformer": {"kind": "hidden_markov"},
        "state space": {"kind": "state_space"},
        "toggle": {"kind": "toggle", "context": 400},
        "text": {"kind": "characters"},
    },
    conversions=_conversions(128, 4, 64, 64, every=True),
    strengths=(0.3, 1.0, 3.0),
    longer=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    sequences=15_000,
    n_test=500,
    seeds=5,
    schooling={"steps": 6000},
)


@dataclass(kw_only=True, eq=False)
class Bench:
    """The teachers and what they read, made when they are first asked for."""

    settings: Settings
    cache: Path
    progress: Any = None
    teachers: dict[str, Teacher] = field(default_factory=dict)
    streams: dict[tuple[str, int, int], Stream] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return "-".join(self.teacher(name).digest for name in self.settings.asked_teachers)

    def teacher(self, name: str) -> Teacher:
        """One of the teachers, trained or from the cache."""
        if name not in self.teachers:
            length = max(each.length for each in self.settings.conversions.values() if each.teacher == name)
            self.teachers[name] = open_teacher(self.settings.teachers[name], self.cache, self.progress, length=length)
        return self.teachers[name]

    def stream(self, asked: Conversion, batch: int, seed: int) -> Stream:
        """What a conversion reads; the same for all its arms."""
        key = (asked.teacher, asked.length, seed)
        if key not in self.streams:
            self.streams = {key: self._read(asked, batch, seed)}
        return self.streams[key]

    def facts(self) -> dict[str, Any]:
        """What a report should say of the teachers."""
        return {f"teacher {name}": dict(self.teacher(name).remarks) for name in self.settings.asked_teachers}

    def _read(self, asked: Conversion, batch: int, seed: int) -> Stream:
        own = self.settings
        most = own.schooling.get("steps", Schooling().steps) * batch
        return stream(
            self.teacher(asked.teacher),
            length=asked.length,
            n=min(own.sequences, most),
            batch=batch,
            n_test=own.n_test,
            seed=seed,
        )


def opened(settings: Settings, store: Store, progress: Any = None) -> Bench:
    """The bench; its teachers come when they are asked for."""
    return Bench(settings=settings, cache=store.derived / "teachers", progress=progress)


def keys(settings: Settings) -> list[Key]:
    """Every cell: a conversion, an arm, a seed."""
    cells: list[dict[str, Any]] = []
    for name, asked in settings.conversions.items():
        for arm in asked.arms:
            shares = settings.k_over_d if arm == "electrodes" else (settings.at,) if arm in NOISY else ()
            cells += [{"conversion": name, "arm": arm, "k_over_d": k} for k in shares]
            cells += [] if shares else [{"conversion": name, "arm": arm}]
    return [{**cell, "seed": seed} for cell in cells for seed in range(settings.seeds)]


def together(asked: Sequence[Key]) -> list[list[Key]]:
    """One by one: by conversion and seed, so that what is read is read once."""
    places = {name: i for i, name in enumerate(dict.fromkeys(key["conversion"] for key in asked))}
    return [[key] for key in sorted(asked, key=lambda key: (places[key["conversion"]], key["seed"]))]


def solve(bench: Bench, settings: Settings, asked: Sequence[Key]) -> list[Result]:
    """Convert, and measure what came of it."""
    return [_solved(bench, settings, key) for key in asked]


def report(settings: Settings, found: Sequence[tuple[Key, Result]], facts: Mapping[str, Any]) -> Report:
    """What came of it."""
    return _convert_report.report(settings, found, facts)


def _solved(bench: Bench, settings: Settings, key: Key) -> Result:
    asked, seed = settings.conversions[key["conversion"]], int(key["seed"])
    schooling = Schooling(**settings.schooling | {"device": str(settings.place)})
    lessons, teacher = bench.stream(asked, schooling.batch, seed), bench.teacher(asked.teacher)
    strengths = (0.0,) if key["arm"] in STRENGTHLESS else settings.strengths
    config = electrodes_of(settings, key, sum(s.shape[-1] for s in lessons.calibration.states.values()))
    tried = [
        convert(
            lessons, shape_of(asked, teacher), key["arm"], schooling, seed=seed, strength=strength, electrodes=config
        )
        for strength in strengths
    ]
    best = min(tried, key=lambda one: one.validation_nats)
    result = _measured(best, lessons, settings, asked)
    result["candidates"] = [{"strength": one.strength, "validation_nats": one.validation_nats} for one in tried]
    if seed == 0:
        told = {"conversion": key["conversion"], "arm": key["arm"], "kl": result["kl"], "length": asked.length}
        told |= {"teacher": {"kind": DEFAULT_KIND} | settings.teachers[asked.teacher], "k_over_d": key.get("k_over_d")}
        result[FILES] = {f"{NETWORKS}/{file_name(key)}": file_bytes(best.speaker, told)}
    return result


def file_name(key: Key) -> str:
    """Of the network of a cell."""
    words = [key["conversion"], key["arm"], *([f"{key['k_over_d']:.3g}"] if "k_over_d" in key else [])]
    return "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", word) for word in words) + ".safetensors"


def shape_of(asked: Conversion, teacher: Teacher) -> Shape:
    """Of the network that a conversion makes."""
    return Shape(
        n_inputs=teacher.n_inputs,
        n_outputs=teacher.n_outputs,
        mixer=asked.mixer,
        width=asked.width,
        blocks=asked.blocks,
        looped=asked.looped,
        context=asked.length,
    )


def electrodes_of(settings: Settings, key: Key, d: int) -> ElectrodeConfig | None:
    """Of a cell whose teacher has d features of state, None where it sees none or all of them."""
    if key["arm"] not in NOISY:
        return None
    seed = int(key["seed"])
    k = max(1, round(float(key["k_over_d"]) * d))
    return ElectrodeConfig(n_channels=k, snr_db=settings.snr_db, subject_seed=seed, noise_seed=seed)


def _measured(found: Converted, lessons: Stream, settings: Settings, asked: Conversion) -> Result:
    log_prob = answers(found.speaker, lessons.test.symbols_NT)
    lengths = sorted({max(2, round(asked.length * factor)) for factor in settings.longer})
    read_per_s, spoken_per_s, bytes_kept = _speeds(found.speaker, lessons.test.symbols_NT)
    return {
        "kl": lessons.test.kl(log_prob),
        "agreement": lessons.test.agreement(log_prob),
        "curve": [list(point) for point in found.curve],
        "by_length": {str(n): _at_length(found.speaker, lessons.teacher, n, settings.n_test) for n in lengths},
        "read_per_s": read_per_s,
        "spoken_per_s": spoken_per_s,
        "state_bytes": bytes_kept,
        "parameters": sum(p.numel() for p in found.speaker.parameters()),
    }


@torch.no_grad()
def _at_length(speaker: Speaker, teacher: Teacher, length: int, n: int) -> dict[str, float | None]:
    """Over the last quarter of fresh sequences: right answers of the network and of its teacher, as far as it reads.

    right: the answer that is best given what can be known; of text, the next character.
    nats: what the network gives the answers, minus the least that is possible where that is known.
    """
    generator = torch.Generator().manual_seed(5_000 + length)
    whole = teacher.material(n, length + 1, generator).symbols_BT
    symbols, last = whole[:, :length], slice(length - max(1, length // 4), length)
    best, floor = _best_answers(teacher, symbols, whole[:, 1:], last)
    log_prob = answers(speaker, symbols)[:, last]
    nats = -(best.exp() * log_prob).nan_to_num().sum(dim=-1).mean()
    found: dict[str, float | None] = {"right": _right(log_prob, best), "nats": float(nats) - floor, "teacher": None}
    if length <= teacher.context:
        found["teacher"] = _right(teacher.watch(symbols, layers=teacher.layers[:1]).log_prob_BTV[:, last], best)
    return found


def _best_answers(teacher: Teacher, symbols: Tensor, after: Tensor, last: slice) -> tuple[Tensor, float]:
    """The best distribution (log) there is, and its entropy; without a truth what came, and 0."""
    if teacher.truth is None:
        return torch.nn.functional.one_hot(after, teacher.n_outputs).double().log()[:, last], 0.0
    best = teacher.truth(symbols).log_prob_BTV[:, last]
    return best, float(-(best.exp() * best).nan_to_num().sum(dim=-1).mean())


def _right(log_prob: Tensor, best: Tensor) -> float:
    return float((log_prob.argmax(dim=-1) == best.argmax(dim=-1)).double().mean())


@torch.no_grad()
def _speeds(speaker: Speaker, symbols_NT: Tensor) -> tuple[float, float, int]:
    """Tokens per second read (a batch, all steps at once) and spoken (one by one), and bytes kept at the end."""
    batch = symbols_NT[:32]
    speaker(batch)
    start = time.perf_counter()
    speaker(batch)
    read_per_s = batch.numel() / (time.perf_counter() - start)
    states, sequence = speaker.start(1), symbols_NT[0]
    start = time.perf_counter()
    for symbol in sequence[:TIMED_STEPS]:
        _, states = speaker.step(symbol[None], states)
    spoken_per_s = min(len(sequence), TIMED_STEPS) / (time.perf_counter() - start)
    for symbol in sequence[TIMED_STEPS:]:
        _, states = speaker.step(symbol[None], states)
    return read_per_s, spoken_per_s, state_bytes(states)
