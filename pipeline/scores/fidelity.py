"""How far a copy is from the person it was trained from: on behaviour that neither training nor choice has seen.

    fidelity(run, data.held_out)  ->  measures per port of behaviour, sentences, what damage costs

`_fidelity_measures.py` says what is measured. A person may be a teacher: a recorded one is compared as anybody is, and
one that is a run itself can be named (`against`), which compares all chances instead of the answers drawn from them.

What is not found need not be absent: every measure states the smallest departure it would have found (`least`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest import durable
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Split
from neuroloom.pipeline.scores._fidelity_answers import Acts, answers_reliability, of_answers
from neuroloom.pipeline.scores._fidelity_measures import Matrix, Pieces, PortFidelity
from neuroloom.pipeline.scores._fidelity_movements import Movements, movements_reliability, of_movements
from neuroloom.pipeline.scores._fidelity_words import damage_words, departure_words, port_words
from neuroloom.pipeline.scores._scoring import Task, interval
from neuroloom.pipeline.scores.ceilings import events_of, onsets, since_event, usual_length
from neuroloom.pipeline.scores.damage import NOISE, Damage, damage_rows
from neuroloom.pipeline.store import Store

FIDELITY = "fidelity.json"
MOST_CHANCES = 2_000_000  # acts times classes; of more acts some are taken, evenly


@dataclass(frozen=True, kw_only=True, eq=False)
class Distance:
    """How far the chances of two networks are apart: bits per act, mean divergence with its 95 % interval."""

    session: str
    port: str
    bits: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Fidelity:
    """The whole comparison. against: the run that was named as the teacher, "" for none. notes: what was left out."""

    run: str
    split: str
    ports: tuple[PortFidelity, ...]
    damage: tuple[Damage, ...] = ()
    against: str = ""
    distances: tuple[Distance, ...] = ()
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was found, in words."""
        found = [line for port in self.ports for line in port_words(port)]
        found += [
            f"{d.port} of {d.session}: {d.bits:.3f} ({d.low:.3f} to {d.high:.3f}) bits per act from {self.against}."
            for d in self.distances
        ]
        return found + list(damage_words(self.damage))

    def to_json(self, path: Path | None = None) -> dict[str, Any]:
        """As a JSON document; written to `path`, whole or not at all, where one is given. NaN becomes null."""
        document = {
            "run": self.run,
            "split": self.split,
            "sentences": self.sentences(),
            "ports": [_port_json(port) for port in self.ports],
            "damage": [row.to_json() for row in self.damage],
            "against": self.against,
            "distances": [asdict(distance) for distance in self.distances],
            "notes": list(self.notes),
        }
        if path is not None:
            durable.write_json(path, document)
        return document


def fidelity(
    run: Run,
    split: Split,
    *,
    events: str = "",
    noise: Sequence[float] = NOISE,
    damage: bool = True,
    against: Run | None = None,
    beside: Sequence[Run] = (),
    seed: int = 0,
) -> Fidelity:
    """Compare a copy with its person on a split, usually `data.held_out`.

    events: the port of stimuli after whose kinds behaviour is compared; the trials, or the first there is, where "".
    noise: levels, as shares of each unit's own spread. against: the teacher, where that is a run.
    beside: other copies that are compared with the same person: what any of them gives often enough is compared.
    Raises ValueError where no target is behaviour, or for noise that is none.
    """
    if wrong := [level for level in noise if not 0 < level < np.inf]:
        raise ValueError(f"noise of {wrong[0]:g} times a unit's own spread; finite shares above 0 are wanted")
    said, chances, others = run.predict(split), run.chances(split), [other.predict(split) for other in beside]
    ports: list[PortFidelity] = []
    notes: list[str] = []
    for session, data in split.sessions.items():
        for name in behaviour_ports(data):
            task = Task(split=split, session=session, port=name)
            also = [other[session][name] for other in others]
            found = list(_compared(task, split, (said[session][name], *also), chances[session].get(name), events, seed))
            ports += found
            if not found:
                notes.append(f"{name} of {session}: nothing to compare in {split.name.replace('_', '-')} time.")
    if not ports and not notes:
        raise ValueError(f"{run.name}: no target is behaviour; fidelity compares what a person did")
    apart = () if against is None else tuple(distances(said, _said_by(against, split), split))
    if against is not None and not apart:
        notes.append(f"{against.name} gives no chances of the same answers or events: nothing to compare it by.")
    names = list(dict.fromkeys(name for data in split.sessions.values() for name in behaviour_ports(data)))
    hurt = tuple(damage_rows(run, split, names, noise=noise, seed=seed)) if damage else ()
    return Fidelity(
        run=run.name,
        split=split.name,
        ports=tuple(ports),
        damage=hurt,
        against="" if against is None else against.name,
        distances=apart,
        notes=tuple(notes),
    )


def fidelity_of_run(
    name: str, store: Store, *, events: str = "", noise: Sequence[float] = NOISE, against: str = ""
) -> Fidelity:
    """Compare a run of a store with whom it was trained on; written to its `fidelity.json`.

    against: the name of another run. Raises StoreError for a run that is not there, or to which a consent has ended.
    """
    from neuroloom.pipeline.runs import preparing, running

    run, data = running.run_and_data(store, name)
    if against:
        preparing.permitted(store, against)
    other = replace(running.open_run(store, against), name=against) if against else None
    found = fidelity(replace(run, name=name), data.held_out, events=events, noise=noise, against=other)
    found.to_json(store.run_folder(name) / FIDELITY)
    return found


def _said_by(other: Run, split: Split) -> Mapping[str, Mapping[str, Matrix]]:
    try:
        return other.predict(split)
    except ValueError as error:
        raise ValueError(f"{other.name} cannot be compared with, since it does not hear the same: {error}") from error


def behaviour_ports(data: SessionData) -> list[str]:
    """Targets that are behaviour."""
    return [port.name for port in data.ports()[1] if port.is_behaviour]


def distances(
    said: Mapping[str, Mapping[str, Matrix]], other: Mapping[str, Mapping[str, Matrix]], split: Split
) -> Iterator[Distance]:
    """Divergence of what a copy says from what its teacher says (KL, in bits per act), classes and events only."""
    for session, data in split.sessions.items():
        for name in behaviour_ports(data):
            port = data.features[name].port
            if name not in other.get(session, {}) or not (port.is_classes or port.is_rates):
                continue
            task = Task(split=split, session=session, port=name)
            known = task.mask.any(axis=1)
            p, q = (np.clip(each[session][name][known], 1e-9, 1.0) for each in (other, said))
            bits = (p * np.log2(p / q)).sum(axis=1)
            if port.is_rates:
                p, q = np.minimum(p, 1 - 1e-9), np.minimum(q, 1 - 1e-9)
                bits = bits + ((1 - p) * np.log2((1 - p) / (1 - q))).sum(axis=1)
            if bits.size:
                drawn = Pieces(task.piece[known], 0).means(bits)
                low, high = interval(drawn[1:])
                yield Distance(session=session, port=name, bits=float(drawn[0]), low=low, high=high)


# From windows to acts ----------------------------------------------------------------------------------------------


def _compared(
    task: Task,
    split: Split,
    each: Sequence[Matrix],
    chances: tuple[Matrix, Matrix] | None,
    events: str,
    seed: int,
) -> Iterator[PortFidelity]:
    """each: what the copy says, then those beside it."""
    port, length = task.made.port, split.config.n_bins
    bins = np.concatenate([np.arange(start, start + length) for start in split.tiles(task.session)])
    if port.is_classes:
        acts = _answers(task, each, bins, events)
        yield from _of_acts(task, acts, "", seed)
    elif port.kind == "saccades":
        for c, channel in enumerate(port.channel_names):
            yield from _of_acts(task, _happenings(task, each, bins, c), f"/{channel}", seed)
    elif chances is not None and task.mask.any():
        moves = _movements(task, each[0], chances, bins, events)
        excess = np.where(moves.known, (moves.done - moves.said) ** 2 / np.maximum(moves.variance, 1e-9) - 1, 0.0)
        shown = moves.known.any(axis=1)
        yield PortFidelity(
            session=task.session,
            port=port.name,
            kind=port.kind,
            n_acts=int(shown.sum()),
            n_pieces=len(np.unique(moves.piece)),
            measures=tuple(of_movements(moves, seed)),
            reliability=movements_reliability(moves),
            over_time=_by_piece(moves.piece[shown], moves.time_s[shown], excess[shown].mean(axis=1)),
        )


def _of_acts(task: Task, acts: Acts, part: str, seed: int) -> Iterator[PortFidelity]:
    if not len(acts.done):
        return
    p = np.maximum(acts.said, 1e-9)
    excess = -np.log2(p[np.arange(len(p)), acts.done]) + (acts.said * np.log2(p)).sum(axis=1)
    yield PortFidelity(
        session=task.session,
        port=f"{task.port}{part}",
        kind=task.made.port.kind,
        n_acts=len(acts.done),
        n_pieces=len(np.unique(acts.piece)),
        measures=tuple(of_answers(acts, seed)),
        reliability=answers_reliability(acts),
        over_time=_by_piece(acts.piece, acts.time_s, excess),
    )


def _answers(task: Task, each: Sequence[Matrix], bins: NDArray[np.int64], events: str) -> Acts:
    """One act per answer: of neighbouring bins that ask for the same one, the chances are averaged."""
    known = np.flatnonzero(task.mask[:, 0])
    done = task.target[known, 0].astype(np.int64)
    new = np.ones(len(known), dtype=np.bool_)
    if task.made.port.kind == "choice":
        new[1:] = (np.diff(bins[known]) != 1) | (np.diff(done) != 0)
    first = np.flatnonzero(new)
    chances = [np.add.reduceat(said[known], first, axis=0) if len(first) else said[known] for said in each]
    chances = [sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12) for sums in chances]
    return _thinned(task, chances, done[first], known[first], bins, events)


def _happenings(task: Task, each: Sequence[Matrix], bins: NDArray[np.int64], channel: int) -> Acts:
    """Whether an event begins, bin by bin, as two classes."""
    known = np.flatnonzero(task.mask[:, channel])
    chance = [np.clip(said[known, channel], 0.0, 1.0) for said in each]
    done = (task.target[known, channel] > 0).astype(np.int64)
    names = (f"no {task.made.port.channel_names[channel]}", task.made.port.channel_names[channel])
    return _thinned(task, [np.stack([1 - p, p], axis=1) for p in chance], done, known, bins, None, names)


def _thinned(
    task: Task,
    each: Sequence[Matrix],
    done: NDArray[np.int64],
    rows: NDArray[np.int64],
    bins: NDArray[np.int64],
    events: str | None,
    names: Sequence[str] = (),
) -> Acts:
    """Acts at these rows of the split's windows, at most so many. events: None where none are compared."""
    chances, *beside = each
    some = np.arange(0, len(done), max(1, -(-chances.size // MOST_CHANCES)))
    at = bins[rows[some]]
    kind, event_names = np.full(len(at), -1), tuple[str, ...]()
    if events is not None:
        kind, event_names = _last_events(task.data, events, at)
    names = names or task.made.class_names or tuple(str(k) for k in range(chances.shape[1]))
    features = task.data.features
    return Acts(
        said=chances[some], done=done[some], piece=task.piece[rows[some]], event=kind, class_names=names,
        time_s=features.start_s + at.astype(np.float64) * features.bin_s, event_names=event_names,
        beside=[also[some] for also in beside],
    )  # fmt: skip


def _last_events(data: SessionData, events: str, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The kind of the last event before each bin; -1 for none, or where the session has no events at all."""
    name = _events_or_none(data, events)
    if not name:
        return np.full(len(at), -1), ()
    kinds = since_event(data, name, 0, data.features.n_bins)[:, 0]
    return kinds[at], data.features[name].port.channel_names


def _events_or_none(data: SessionData, events: str) -> str:
    has_any = any(made.port.kind == "stimulus" for made in data.features.ports.values())
    return events_of(data, events) if events or has_any else ""


def _movements(
    task: Task, said: Matrix, chances: tuple[Matrix, Matrix], bins: NDArray[np.int64], events: str
) -> Movements:
    features = task.data.features
    return Movements(
        said=said,
        chance=chances[0],
        variance=chances[1],
        done=task.target,
        known=task.mask,
        piece=task.piece,
        time_s=features.start_s + bins.astype(np.float64) * features.bin_s,
        repeats=_stretches(task.data, bins, events),
        channel_names=task.made.port.channel_names,
    )


def _stretches(data: SessionData, bins: NDArray[np.int64], events: str) -> list[NDArray[np.int64]]:
    """Per kind of event the rows of the stretches that follow it, (K, T): those that lie in one block of windows."""
    name = _events_or_none(data, events)
    if not name:
        return []
    length = usual_length(data, name)
    row = np.full(data.features.n_bins + length, -1)
    row[bins] = np.arange(len(bins))
    found = []
    for starts in onsets(data, name, [(0, data.features.n_bins)], length):
        rows = row[starts[:, None] + np.arange(length)].reshape(-1, length)
        found.append(rows[(rows >= 0).all(axis=1) & (np.diff(rows, axis=1) == 1).all(axis=1)])
    return found


def _by_piece(piece: NDArray[np.int64], time_s: Matrix, excess: Matrix) -> Matrix:
    _, index = np.unique(piece, return_inverse=True)
    n = np.bincount(index)
    return np.stack([np.bincount(index, time_s) / n, np.bincount(index, excess) / n], axis=1)


def _port_json(port: PortFidelity) -> dict[str, Any]:
    said = {key: getattr(port, key) for key in ("session", "port", "kind", "n_acts", "n_pieces", "can_tell")}
    said["measures"] = [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(m).items()}
        | {"words": departure_words(m) if m.departs else ""}
        for m in port.measures
    ]
    return said | {"reliability": _lists(port.reliability), "over_time": _lists(port.over_time)}


def _lists(values: Matrix) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in values]
