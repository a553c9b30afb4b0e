"""What a run left in its folder, as the page of a run shows it; what is missing or broken is said, not raised.

config.json     settings                 metrics.jsonl   a line per step (loss) and per validation
topology.toml   the network's areas      scores.json     a line per session, port, area, metric and predictor
choice.json     what each candidate for the weights of objectives came to, where they were chosen
channels.json   which area each electrode and unit sits in, and how that was decided
trials.json     what every trial of a search came to, where the run is the best of one
fidelity.json   where the network departs from whom it was trained on
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.timebase import FloatArray
from neuroloom.models.topology import Topology, TopologyError
from neuroloom.pipeline.review.fidelity import FidelityView

CONFIG, METRICS, SCORES, TOPOLOGY = "config.json", "metrics.jsonl", "scores.json", "topology.toml"
CHOICE, CHANNELS, FIDELITY, TRIALS = "choice.json", "channels.json", "fidelity.json", "trials.json"
KEYS = ("session", "port", "area", "metric")
NETWORK, CEILING = "network", "truth"
LARGEST_JSON = 32 << 20  # bytes; a file of settings or scores beyond this is not one of ours
NO_CURVE = np.empty((0, 2))


@dataclass(frozen=True, kw_only=True)
class ScoreValue:
    """One score, with its 95 % interval and its part of what the true rates score, where they are known."""

    value: float
    low: float | None = None
    high: float | None = None
    of_ceiling: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """The scores of one port (in one area) on one metric, by predictor: "network", baselines, "truth"."""

    session: str
    port: str
    area: str
    metric: str
    values: Mapping[str, ScoreValue]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Weights of objectives, or settings, that were tried, the validation loss, and whether they were taken."""

    weights: Mapping[str, str]
    loss: float
    is_chosen: bool


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A channel, the area it sits in ("stated", "nearest" or "learned"), and where it lies, mm, where that is known."""

    area: str
    how: str
    position_mm: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RunView:
    """A run as its page shows it. training, validation: step and loss, shape (S, 2). notes: what could not be shown."""

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
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> RunView:
        """The run in a folder. Raises FileNotFoundError where there is no such folder."""
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; the folder of a run is wanted")
        notes: list[str] = []
        config = _json(folder / CONFIG, notes)
        training, validation = _curves(folder / METRICS, notes)
        return cls(
            name=folder.name,
            config=config if isinstance(config, Mapping) else {},
            training=training,
            validation=validation,
            scores=tuple(score_rows(_json(folder / SCORES, notes))),
            topology=_topology(folder / TOPOLOGY, notes),
            choice=tuple(_candidates(_json(folder / CHOICE, notes) if (folder / CHOICE).is_file() else None)),
            trials=tuple(_trials(_json(folder / TRIALS, notes) if (folder / TRIALS).is_file() else None)),
            channels=tuple(_placed(_json(folder / CHANNELS, notes) if (folder / CHANNELS).is_file() else None)),
            fidelity=FidelityView.read(_json(folder / FIDELITY, notes)) if (folder / FIDELITY).is_file() else None,
            notes=tuple(notes),
        )


def _json(path: Path, notes: list[str]) -> Any:
    if not path.is_file():
        notes.append(f"{path.name} is not there yet.")
        return None
    if path.stat().st_size > LARGEST_JSON:
        notes.append(f"{path.name} has {path.stat().st_size >> 20} MiB and was not read.")
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {error}.")
        return None


def _curves(path: Path, notes: list[str]) -> tuple[FloatArray, FloatArray]:
    """Step and loss of training and of validation; reads line by line, and stops at a line that is not whole."""
    found: dict[str, list[tuple[float, float]]] = {"loss": [], "validation": []}
    if not path.is_file():
        notes.append(f"{path.name} is not there yet.")
        return NO_CURVE, NO_CURVE
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                break  # the line that was being written
            for key, curve in found.items():
                if isinstance(row, Mapping) and _is_number(row.get(key)) and _is_number(row.get("step")):
                    curve.append((float(row["step"]), float(row[key])))
    training, validation = (np.array(curve, dtype=np.float64).reshape(-1, 2) for curve in found.values())
    return training, validation


def score_rows(content: Any) -> Iterator[ScoreRow]:
    """The scores as `pipeline.evaluation` writes them, a line per model, put side by side; single channels left out."""
    scores = content.get("scores", ()) if isinstance(content, Mapping) else ()
    found: dict[tuple[str, ...], dict[str, ScoreValue]] = {}
    for score in scores if isinstance(scores, list) else ():
        if not isinstance(score, Mapping) or score.get("channel") or not _is_number(score.get("value")):
            continue
        key = tuple(str(score.get(name) or "") for name in KEYS)
        low, high = (float(score[k]) if _is_number(score.get(k)) else None for k in ("low", "high"))
        of_ceiling = float(score["of_ceiling"]) if _is_number(score.get("of_ceiling")) else None
        value = ScoreValue(value=float(score["value"]), low=low, high=high, of_ceiling=of_ceiling)
        found.setdefault(key, {})[str(score.get("model") or "")] = value
    for key, values in found.items():
        yield ScoreRow(**dict(zip(KEYS, key, strict=True)), values=values)


def _candidates(content: Any) -> Iterator[Candidate]:
    """The candidates as `pipeline.choosing` writes them; what has another form is left out."""
    rows = content.get("candidates") if isinstance(content, Mapping) else None
    for number, row in enumerate(rows if isinstance(rows, list) else ()):
        weights = row.get("weights") if isinstance(row, Mapping) else None
        if isinstance(weights, Mapping) and _is_number(row.get("loss")):
            named = {str(name).partition(": ")[2]: str(weight) for name, weight in weights.items()}
            yield Candidate(weights=named, loss=float(row["loss"]), is_chosen=number == content.get("chosen"))


def _trials(content: Any) -> Iterator[Candidate]:
    """The trials as `pipeline.searching` writes them, the best first; what has another form, or failed, is left out."""
    rows = content.get("trials") if isinstance(content, Mapping) else None
    whole = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    known = [row for row in whole if isinstance(row.get("values"), Mapping) and _is_number(row.get("loss"))]
    for row in sorted(known, key=lambda row: float(row["loss"])):
        values = {str(name): str(value) for name, value in row["values"].items()}
        yield Candidate(weights=values, loss=float(row["loss"]), is_chosen=row.get("trial") == content.get("best"))


def _placed(content: Any) -> Iterator[Placed]:
    """The channels as `pipeline.placing` writes them; what has another form is left out."""
    rows = content.get("channels") if isinstance(content, Mapping) else None
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, Mapping) or not isinstance(row.get("area"), str):
            continue
        place = row.get("position_mm")
        is_place = isinstance(place, list) and len(place) == 3 and all(map(_is_number, place))
        position_mm = (float(place[0]), float(place[1]), float(place[2])) if place and is_place else None
        yield Placed(area=row["area"], how=str(row.get("how")), position_mm=position_mm)


def _topology(path: Path, notes: list[str]) -> Topology | None:
    if not path.is_file():
        notes.append(f"{path.name} is not there yet.")
        return None
    try:
        return Topology.read(path)
    except TopologyError as error:
        notes.append(f"{path.name} cannot be drawn: {error}.")
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
