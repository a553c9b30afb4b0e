"""What a study knows of a teacher, whether it is a model that was recorded or a session of real recordings.

    inputs, answers      what was shown and what was done: behaviour, all that an ordinary student sees
    tape(...)            what electrodes recorded meanwhile, on the part of the time that was recorded
    oracle               what only a model can tell: clean states, its output distribution, hidden topics; None for a
                         session. A student may see it where its arm says `upper_bound`, and in no other
    test                 fresh sequences; no electrodes there, ever

Shapes: N sequences, T steps, I input features, K electrodes, V answers, D state features, Z topics, H heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.ingest.digest import digest_of_bytes
from neuroloom.models.teachers import Teacher, Watched, kinds, module, sampled
from neuroloom.pipeline.config import fitted
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, Floats, Tape, implant, scaled

CALIBRATION = 64  # sequences that set scales, and are used for nothing else
DEFAULT_KIND = "hidden_markov"
GAZE = "gaze"  # the layer that a camera on the eyes sees
VALIDATION = 0.2  # of the sequences a student is given: its last block of time


@dataclass(frozen=True, kw_only=True, eq=False)
class Oracle:
    """What only a model can tell. Of the recorded sequences, in their order.

    states: per layer (N, T, D). log_prob_NTV: the teacher's own distribution. test_log_prob: of the test sequences.
    topic_NT, posterior_NTZ: the hidden topic, and what can be known of it; None where the truth is not known.
    """

    states: Mapping[str, Tensor]
    calibration: Mapping[str, Tensor]
    log_prob_NTV: Tensor
    test_log_prob_NTV: Tensor
    attention: Mapping[str, Tensor] = field(default_factory=dict)
    topic_NT: Tensor | None = None
    posterior_NTZ: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """Everything a study may draw on. inputs: symbols (N, T) or features (N, T, I); the first `n_recorded` sequences
    have electrodes. recorded_NTK: what real electrodes recorded, None for a model, which is recorded by `tape`.
    """

    name: str
    digest: str
    n_inputs: int
    n_outputs: int
    inputs: Tensor
    answers_NT: Tensor
    test_inputs: Tensor
    test_answers_NT: Tensor
    n_recorded: int
    oracle: Oracle | None = None
    recorded_NTK: Floats | None = None
    remarks: Mapping[str, str | float] = field(default_factory=dict)

    @property
    def reads_symbols(self) -> bool:
        return self.inputs.ndim == 2

    @property
    def length(self) -> int:
        """T."""
        return int(self.inputs.shape[1])

    def rows(self, seed: int, n: int, n_most: int) -> Tensor:
        """The sequences that seed `seed` is given, in order of time: n of those that begin at its own place.

        n_most: of any budget with electrodes, so that two seeds share no recorded sequence while there are enough.
        """
        if n > len(self.inputs):
            raise ValueError(f"{self.name} has {len(self.inputs)} sequences; {n} were asked for")
        return (seed * n_most + torch.arange(n)) % len(self.inputs)

    def tape(self, config: ElectrodeConfig | None, rows: Tensor) -> Tape:
        """What electrodes recorded during these sequences; (N T, K) in order of time.

        config: which electrodes, for a model; None for a session, whose electrodes lie where they lay.
        """
        if int(rows.max()) >= self.n_recorded:
            raise ValueError(f"{self.name}: sequence {int(rows.max())} has no electrodes; {self.n_recorded} have")
        if self.oracle is None or config is None:
            return _real_tape(self, rows)
        calibration = {name: _flat(state) for name, state in self.oracle.calibration.items()}
        electrodes = implant(config, calibration)
        return electrodes.record({name: _flat(self.oracle.states[name][rows]) for name in electrodes.scales})

    def clean_state(self, rows: Tensor) -> Floats:
        """The whole state without noise, (N T, D), scaled as electrodes see it. An upper bound, never a recording."""
        oracle = self.the_oracle("the clean state")
        scales = {name: float(state.square().mean().sqrt()) for name, state in oracle.calibration.items()}
        return scaled({name: _flat(oracle.states[name][rows]) for name in scales}, scales)

    def facts(self) -> dict[str, Any]:
        """What a report should say of the teacher."""
        return {"teacher": self.name, "teacher_digest": self.digest, **self.remarks}

    def the_oracle(self, what: str) -> Oracle:
        """The oracle. Raises ValueError saying what a session cannot give."""
        if self.oracle is None:
            raise ValueError(f"{self.name} is a recording; only a model can tell {what}")
        return self.oracle


def _flat(state_NTD: Tensor) -> Floats:
    return state_NTD.flatten(0, 1).float().numpy()


def _real_tape(lessons: Lessons, rows: Tensor) -> Tape:
    from neuroloom.pipeline.synthetic.synthesis import Facts, participation_ratio

    if lessons.recorded_NTK is None:
        raise ValueError(f"{lessons.name} has no electrodes")
    values = np.concatenate(list(lessons.recorded_NTK[rows.numpy()]))
    known = values[np.isfinite(values).all(axis=1)]
    ratio = participation_ratio(known) if len(known) > 1 else float("nan")
    nan = float("nan")
    facts = Facts(
        n_channels=values.shape[1], d=0, participation=ratio, capacity_bits=nan, snr_db=nan, n_steps=len(values)
    )
    return Tape(values_TK=values, clean_TK=np.full_like(values, np.nan), facts=facts)


def of_teacher(
    teacher: Teacher,
    *,
    n: int,
    n_recorded: int,
    n_test: int = 300,
    length: int = 64,
    seed: int = 0,
    attention: bool = False,
    gaze: bool = False,
) -> Lessons:
    """Let a teacher read, answer and be looked at. Only the first `n_recorded` of the `n` sequences are looked into.

    gaze: add a layer GAZE, what a camera on the eyes could see of it: how far back it looks.
    """
    generator = torch.Generator().manual_seed(seed)
    read = teacher.read(n + n_test + CALIBRATION, length, generator)
    test, calibration, rest = torch.split(read.symbols_BT, [n_test, CALIBRATION, n])
    looked = teacher.watch(rest[:n_recorded], attention=attention or gaze)
    calibrated = teacher.watch(calibration, attention=gaze)
    only = teacher.layers[:1]
    others = teacher.watch(rest[n_recorded:], layers=only).log_prob_BTV if n > n_recorded else looked.log_prob_BTV[:0]
    tested = teacher.watch(test, layers=only).log_prob_BTV
    answers = sampled(torch.cat([looked.log_prob_BTV, others]), generator)
    topics = None if read.topic_BT is None else read.topic_BT[n_test + CALIBRATION :][:n_recorded]
    truth = None if teacher.truth is None else teacher.truth(rest[:n_recorded])
    return Lessons(
        name=teacher.name,
        digest=f"{teacher.digest}-{seed}-{n}-{n_recorded}-{length}",
        n_inputs=teacher.n_inputs,
        n_outputs=teacher.n_outputs,
        inputs=rest,
        answers_NT=answers,
        test_inputs=test,
        test_answers_NT=sampled(tested, generator),
        n_recorded=n_recorded,
        oracle=Oracle(
            states=_with_gaze(looked) if gaze else looked.states,
            calibration=_with_gaze(calibrated) if gaze else calibrated.states,
            log_prob_NTV=looked.log_prob_BTV,
            test_log_prob_NTV=tested,
            attention=looked.attention if attention else {},
            topic_NT=topics,
            posterior_NTZ=None if truth is None else truth.posterior_BTZ,
        ),
        remarks=teacher.remarks,
    )


def looked_back(attention_BHTT: Tensor) -> Tensor:
    """How many steps back each head looks on average, (B, T, H)."""
    steps = torch.arange(attention_BHTT.shape[-1], dtype=attention_BHTT.dtype)
    return (attention_BHTT * (steps[:, None] - steps)).sum(dim=-1).transpose(1, 2)


def _with_gaze(watched: Watched) -> Mapping[str, Tensor]:
    if not watched.attention:
        raise ValueError("a teacher without attention looks nowhere; no gaze can be recorded of it")
    return {**watched.states, GAZE: torch.cat([looked_back(each) for each in watched.attention.values()], dim=-1)}


def open_teacher(asked: Mapping[str, Any], cache: Path | None, progress: Any = None, *, length: int = 1) -> Teacher:
    """A teacher as a configuration file asks for it, by its kind; length: of the sequences that it is to read.

    Where another process trains the same teacher, that one is waited for, and what it keeps is read. Raises ValueError
    as `teacher_settings` does, and for a length beyond its context, before it is trained for minutes.
    """
    kind, settings = asked.get("kind", DEFAULT_KIND), teacher_settings(asked)
    if length > (context := getattr(settings, "context", length)):
        raise ValueError(f"sequences of {length} steps, but the teacher {kind} reads {context} at most (`context`)")
    with _trained_by_one(cache, kind, settings):
        made: Teacher = kinds(kind).make(settings, cache=cache, progress=progress)
    return made


@contextmanager
def _trained_by_one(cache: Path | None, kind: str, settings: Any) -> Iterator[None]:
    """Held by whoever makes a teacher of these settings; nobody keeps one that has no cache."""
    if cache is None:
        yield
        return
    cache.mkdir(parents=True, exist_ok=True)
    digest = digest_of_bytes(f"{kind} {settings!r}".encode()).partition(":")[2][:16]
    with durable.locked(cache / f".{digest}.lock"):
        yield


def teacher_settings(asked: Mapping[str, Any], *, real: bool = False) -> Any:
    """The settings of the teacher that a table names; real: it may also name a session of real recordings.

    Raises ValueError for a kind or a setting that is not known, listing those that are, or a value that cannot be.
    """
    if real and "session" in asked:
        from neuroloom.pipeline.studies._session_lessons import SessionTeacher

        return fitted({key: value for key, value in asked.items() if key != "session"}, SessionTeacher)
    part = kinds(asked.get("kind", DEFAULT_KIND))
    if part is module:
        raise ValueError("a module cannot be named in a configuration file; make the teacher in Python")
    return fitted({key: value for key, value in asked.items() if key != "kind"}, part.Settings)


def split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Training and validation, by time: the last block validates, and counts as data that was used."""
    n_validation = max(1, round(VALIDATION * len(rows)))
    return rows[: len(rows) - n_validation], rows[len(rows) - n_validation :]


def lessons_for(
    asked: Mapping[str, Any], store: Store, *, n: int, n_recorded: int, n_test: int, length: int, progress: Any = None,
    attention: bool = False, seed: int = 0,
) -> Lessons:  # fmt: skip
    """The lessons of whatever a study's `teacher` table names: a kind with its settings, or `session = "..."`."""
    settings = dict(asked)
    if session_id := settings.pop("session", ""):
        from neuroloom.pipeline.studies._session_lessons import of_session

        return of_session(str(session_id), settings, store)
    teacher = open_teacher(settings, store.derived / "teachers", progress, length=length)
    return of_teacher(teacher, n=n, n_recorded=n_recorded, n_test=n_test, length=length, attention=attention, seed=seed)
