"""A session as a teacher: what was shown and answered in its trials, and what was recorded meanwhile.

    [teacher]
    session = "sub-t01_ses-01_task-reading"
    shown = "shown"            # events whose labels are what was shown, one per step
    answered = "answered"      # events whose labels are what was done: the next one after each step
    electrodes = ["probe"]     # signals and units
    test = 0.3                 # share of the trials, the last ones, that is kept for the test

Steps are the shown events inside trials; trials of another number of steps than most are left out, and it is said how
many. A step lasts until the next one. There is no oracle: what only a model can tell is not there, and students are
tested on the answers. Shapes: N sequences, T steps, K channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Signal, Units
from neuroloom.pipeline.config import Config, ConfigError, fitted
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.studies._lessons import Lessons
from neuroloom.pipeline.studies._students import UNKNOWN
from neuroloom.pipeline.subjects import Subjects
from neuroloom.pipeline.synthetic.synthesis import Floats
from neuroloom.pipeline.verdicts import objection

Doubles = NDArray[np.float64]


class SessionTeacher(Config):
    """Which streams of a session are what; see the head of this file. trials: the intervals, the first trials if ""."""

    shown: str = "shown"
    answered: str = "answered"
    electrodes: tuple[str, ...] = Field(default=("probe",), min_length=1)
    trials: str = ""
    test: float = Field(default=0.3, gt=0, lt=1)


def of_session(session_id: str, settings: Mapping[str, Any], store: Store) -> Lessons:
    """The lessons of a published session.

    Raises StoreError where there is no such session, or consent to it has ended; ConfigError for streams that it does
    not have, naming those that it has.
    """
    if why := Subjects.of(store).objection(session_id, date.today()) or objection(store, session_id):
        raise StoreError(f"{session_id}: {why}; nobody may learn from it")
    asked = fitted(settings, SessionTeacher)
    folder = store.latest(session_id)
    with Session.open(folder) as session:
        return _lessons(session, session_id, folder.name, asked)


def _lessons(session: Session, session_id: str, version: str, asked: SessionTeacher) -> Lessons:
    shown = _stream(session, asked.shown, Events)
    answered = _stream(session, asked.answered, Events)
    steps_NT, left_out = _steps(shown, _trials(session, asked.trials))
    symbols, names = _numbered([shown.labels[i] for i in steps_NT.ravel()])
    start_s = np.asarray(shown.times_s, dtype=np.float64)[steps_NT]
    stop_s = _stops(start_s)
    answers, answer_names = _numbered([*answered.labels])
    answers_NT = _answers(np.asarray(answered.times_s), np.asarray(answers), start_s, stop_s)
    recorded = np.concatenate([_recorded(session, name, start_s, stop_s) for name in asked.electrodes], axis=-1)
    n, n_test = len(steps_NT), max(1, round(asked.test * len(steps_NT)))
    if n - n_test < 2:
        raise ConfigError(f"{session_id}: {n} trials of equal length; three at least are wanted")
    inputs = torch.as_tensor(np.asarray(symbols).reshape(steps_NT.shape))
    return Lessons(
        name=session_id,
        digest=f"{session_id}-{version}-{asked.model_dump_json()}",
        n_inputs=len(names),
        n_outputs=len(answer_names),
        inputs=inputs[:-n_test],
        answers_NT=torch.as_tensor(answers_NT[:-n_test]),
        test_inputs=inputs[-n_test:],
        test_answers_NT=torch.as_tensor(answers_NT[-n_test:]),
        n_recorded=n - n_test,
        recorded_NTK=recorded[:-n_test],
        remarks={"session": f"{session_id} {version}", "trials": n, "trials_left_out": left_out},
    )


def _stream(session: Session, name: str, kind: type[Any]) -> Any:
    if name in session.stream_names and isinstance(session[name], kind):
        return session[name]
    known = ", ".join(other for other in session.stream_names if isinstance(session[other], kind)) or "none"
    raise ConfigError(f"{session.id}: no {kind.__name__.lower()} named {name!r}; there are: {known}")


def _trials(session: Session, name: str) -> Doubles:
    streams = [session[other] for other in session.stream_names]
    found = [s for s in streams if isinstance(s, Intervals) and (s.name == name if name else s.modality == "trials")]
    if not found:
        raise ConfigError(f"{session.id}: no trials{f' named {name!r}' if name else ''}; intervals of them are wanted")
    return np.asarray(found[0].bounds_s, dtype=np.float64)


def _steps(shown: Events, bounds_s: Doubles) -> tuple[NDArray[np.int64], int]:
    """Places of the shown events of each trial, (N, T), and how many trials have another number of them than most."""
    times_s = np.asarray(shown.times_s)
    inside = [np.flatnonzero((times_s >= a - 1e-6) & (times_s < b - 1e-6)) for a, b in bounds_s]
    length = Counter(len(one) for one in inside).most_common(1)[0][0]
    kept = [one for one in inside if len(one) == length and length > 1]
    return np.array(kept, dtype=np.int64).reshape(len(kept), -1), len(inside) - len(kept)


def _stops(start_s: Doubles) -> Doubles:
    """A step lasts until the next; the last of a trial as long as the one before it."""
    last = start_s[:, -1:] + (start_s[:, -1:] - start_s[:, -2:-1])
    return np.concatenate([start_s[:, 1:], last], axis=1)


def _numbered(labels: list[str]) -> tuple[list[int], list[str]]:
    """Labels as numbers, in order of their names (as numbers where all are)."""
    names = sorted(set(labels), key=lambda name: (int(name) if name.isdigit() else 0, name))
    place = {name: i for i, name in enumerate(names)}
    return [place[label] for label in labels], names


def _answers(times_s: Doubles, answers: NDArray[np.int64], start_s: Doubles, stop_s: Doubles) -> NDArray[np.int64]:
    """The first answer within each step, UNKNOWN where there was none."""
    place = np.searchsorted(times_s, start_s - 1e-6)
    there = (place < len(times_s)) & (times_s[np.minimum(place, len(times_s) - 1)] < stop_s)
    return np.where(there, answers[np.minimum(place, len(answers) - 1)], UNKNOWN)


def _recorded(session: Session, name: str, start_s: Doubles, stop_s: Doubles) -> Floats:
    """Mean of a signal's samples, or spikes of every unit, in each step: (N, T, K); NaN where nothing was recorded."""
    stream = session[name] if name in session.stream_names else None
    if isinstance(stream, Units):
        counts = [np.searchsorted(times, stop_s) - np.searchsorted(times, start_s) for times in stream.spike_times_s]
        return np.stack(counts, axis=-1).astype(np.float32)
    signal = _stream(session, name, Signal)
    return np.stack([_means(signal, starts, stops) for starts, stops in zip(start_s, stop_s, strict=True)])


def _means(signal: Signal, start_s: Doubles, stop_s: Doubles) -> Floats:
    part = signal.between(float(start_s[0]), float(stop_s[-1]))
    sums, n = np.zeros((len(start_s), len(signal.channel_names))), np.zeros(len(start_s))
    for segment, values in zip(part.segments, part.values(), strict=True):
        times_s = segment.timebase.seconds(np.arange(segment.timebase.n_samples))
        step = np.searchsorted(start_s, times_s + 1e-9, side="right") - 1
        inside = (step >= 0) & (times_s < stop_s[np.maximum(step, 0)])
        np.add.at(sums, step[inside], values[inside])
        np.add.at(n, step[inside], 1)
    return np.where(n[:, None] > 0, sums / np.maximum(n, 1)[:, None], np.nan).astype(np.float32)
