"""What a run left in its folder, as the page of a run shows it; what is missing or broken is said, not raised.

request.json    what was asked for, with the sessions, their versions, and what reviewers keep out of it
config.json     settings                 metrics.jsonl   a line per step (loss) and per validation
topology.toml   the network's areas      scores.json     a line per session, port, area, metric and predictor
choice.json     what each candidate for the weights of objectives came to, where they were chosen
channels.json   which area each electrode and unit sits in, and how that was decided
trials.json     what every trial of a search came to, where the run is the best of one
fidelity.json   where the network departs from whom it was trained on
worse.json      targets that were predicted worse than by their mean, on validation time
pathways.json   what each pathway does           mechanism.json   where the network rests
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.ingest.words import short
from neuroloom.models.topology import Topology, TopologyError
from neuroloom.pipeline.review.fidelity import FidelityView
from neuroloom.pipeline.review.inside import MECHANISM, PATHWAYS, InsideView
from neuroloom.pipeline.review.live import REQUEST
from neuroloom.pipeline.review.run_scores import MISSING, SCORES, ScoreRow, is_number, read_json, score_rows
from neuroloom.pipeline.runs.run_files import CHOICE, CONFIG, METRICS, TOPOLOGY
from neuroloom.pipeline.scores.worse import WORSE, read_worse, worse_in

CHANNELS, FIDELITY, TRIALS = "channels.json", "fidelity.json", "trials.json"
NO_CURVE = np.empty((0, 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """Weights of objectives, or settings, that were tried, the validation loss, and whether they were taken.

    curve: step and validation loss while it was trained, shape (S, 2).
    """

    weights: Mapping[str, str]
    loss: float
    is_chosen: bool
    curve: FloatArray = field(default_factory=lambda: NO_CURVE)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A channel, the area it sits in ("stated", "nearest" or "learned"), and where it lies, mm, where that is known."""

    area: str
    how: str
    position_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A session a run was trained on. bad, good: stream -> channels that reviewers call so, masked or used anyway."""

    session: str
    version: str
    bad: Mapping[str, Sequence[str]]
    good: Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class RunView:
    """A run as its page shows it. training, validation: step and loss, shape (S, 2). notes: what could not be shown.

    left_out: session -> why, of those that were there and not to be trained on. warnings: of targets that are predicted
    worse than by their mean.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    training: FloatArray = field(default_factory=lambda: NO_CURVE)
    validation: FloatArray = field(default_factory=lambda: NO_CURVE)
    scores: tuple[ScoreRow, ...] = ()
    topology: Topology | None = None
    choice: tuple[Candidate, ...] = ()
    trials: tuple[Candidate, ...] = ()
    channels: tuple[Placed, ...] = ()
    fidelity: FidelityView | None = None
    inside: InsideView | None = None
    warnings: tuple[str, ...] = ()
    sessions: tuple[Trained, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> RunView:
        """The run in a folder. Raises FileNotFoundError where there is no such folder."""
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; the folder of a run is wanted")
        notes: list[str] = []
        config = read_json(folder / CONFIG, notes)
        training, validation = _curves(folder / METRICS, notes)

        def there(name: str) -> Any:
            return read_json(folder / name, notes) if (folder / name).is_file() else None

        asked, scores = there(REQUEST) or {}, tuple(score_rows(read_json(folder / SCORES, notes)))
        return cls(
            name=folder.name,
            config=config if isinstance(config, Mapping) else {},
            training=training,
            validation=validation,
            scores=scores,
            topology=_topology(folder / TOPOLOGY, notes),
            choice=tuple(_candidates(folder, there(CHOICE))),
            trials=tuple(_trials(folder, there(TRIALS))),
            channels=tuple(_placed(there(CHANNELS))),
            fidelity=FidelityView.read(there(FIDELITY)) if (folder / FIDELITY).is_file() else None,
            inside=InsideView.read(there(PATHWAYS), there(MECHANISM)),
            warnings=tuple(_warnings(there(WORSE), scores)),
            sessions=tuple(_trained(asked)),
            left_out={str(k): str(v) for k, v in _mapping(asked, "left_out").items()},
            notes=tuple(_together(notes)),
        )


def _warnings(worse: Any, scores: Sequence[ScoreRow]) -> Iterator[str]:
    """Of the step that was chosen, and of what was scored."""
    lines = [((row.session, row.port, row.area, row.metric), row.values) for row in scores]
    found = [read_worse(worse or {}).lines(), worse_in(lines, "on held-out time").lines()]
    told = (line.removeprefix("warning: ") for each in found for line in each)
    yield from dict.fromkeys(f"{line[:1].upper()}{line[1:]}." for line in told)


def _together(notes: Sequence[str]) -> Iterator[str]:
    """The notes, those of files that are not there yet as one."""
    missing = [note.removesuffix(MISSING) for note in notes if note.endswith(MISSING)]
    if missing:
        yield f"Not there yet: {', '.join(missing)}."
    yield from (note for note in notes if not note.endswith(MISSING))


def _curves(path: Path, notes: list[str]) -> tuple[FloatArray, FloatArray]:
    """Step and loss of training and of validation; reads line by line, and stops at a line that is not whole."""
    found: dict[str, list[tuple[float, float]]] = {"loss": [], "validation": []}
    if not path.is_file():
        notes.append(f"{path.name}{MISSING}")
        return NO_CURVE, NO_CURVE
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                break  # the line that was being written
            for key, curve in found.items():
                if isinstance(row, Mapping) and is_number(row.get(key)) and is_number(row.get("step")):
                    curve.append((float(row["step"]), float(row[key])))
    training, validation = (np.array(curve, dtype=np.float64).reshape(-1, 2) for curve in found.values())
    return training, validation


def _trained(asked: Any) -> Iterator[Trained]:
    """The sessions as `pipeline.running` prepares them; what has another form is left out."""
    bad, good = _mapping(asked, "bad_channels"), _mapping(asked, "good_channels")
    for session, version in _mapping(asked, "versions").items():
        yield Trained(session=str(session), version=str(version), bad=_names(bad, session), good=_names(good, session))


def _names(said: Mapping[str, Any], session: Any) -> dict[str, tuple[str, ...]]:
    return {str(stream): tuple(map(str, of)) for stream, of in _mapping(said, session).items()}


def _mapping(of: Any, key: str) -> Mapping[str, Any]:
    found = of.get(key) if isinstance(of, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _candidates(folder: Path, content: Any) -> Iterator[Candidate]:
    """The candidates as `pipeline.choosing` writes them; what has another form is left out."""
    rows = content.get("candidates") if isinstance(content, Mapping) else None
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        weights = row.get("weights") if isinstance(row, Mapping) else None
        if isinstance(weights, Mapping) and is_number(row.get("loss")):
            named = {str(name).partition(": ")[2]: str(weight) for name, weight in weights.items()}
            yield Candidate(
                weights=named,
                loss=float(row["loss"]),
                is_chosen=number == content.get("chosen"),
                curve=_curve_of(folder / "candidates" / f"{number:02d}"),
            )


def _trials(folder: Path, content: Any) -> Iterator[Candidate]:
    """The trials as `pipeline.searching` writes them, the best first; what has another form, or failed, is left out."""
    rows = content.get("trials") if isinstance(content, Mapping) else None
    whole = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    known = [row for row in whole if isinstance(row.get("values"), Mapping) and is_number(row.get("loss"))]
    for row in sorted(known, key=lambda row: float(row["loss"])):
        values = {str(name): short(value) for name, value in row["values"].items()}
        number = row.get("trial")
        yield Candidate(
            weights=values,
            loss=float(row["loss"]),
            is_chosen=number == content.get("best"),
            curve=_curve_of(folder / "trials" / f"{number:04d}") if isinstance(number, int) else NO_CURVE,
        )


def _curve_of(folder: Path) -> FloatArray:
    """Step and validation loss of a candidate's training; nothing where its folder is gone."""
    return _curves(folder / METRICS, [])[1]


def _placed(content: Any) -> Iterator[Placed]:
    """The channels as `pipeline.placing` writes them; what has another form is left out."""
    rows = content.get("channels") if isinstance(content, Mapping) else None
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping) or not isinstance(row.get("area"), str):
            continue
        place = row.get("position_mm")
        is_place = isinstance(place, list) and len(place) == 3 and all(map(is_number, place))
        position_mm = (float(place[0]), float(place[1]), float(place[2])) if place and is_place else None
        yield Placed(area=row["area"], how=str(row.get("how")), position_mm=position_mm)


def _topology(path: Path, notes: list[str]) -> Topology | None:
    if not path.is_file():
        notes.append(f"{path.name}{MISSING}")
        return None
    try:
        return Topology.read(path)
    except TopologyError as error:
        notes.append(f"{path.name} cannot be drawn: {error}.")
        return None
