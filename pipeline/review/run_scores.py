"""The scores of a run as its folder tells them, side by side per port, area and metric; read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

SCORES = "scores.json"
MISSING = " is not there yet."
KEYS = ("session", "port", "area", "metric")
NETWORK, TOGETHER, CEILING = "network", "together", "truth"
LARGEST_JSON = 32 << 20  # bytes; a file of settings or scores beyond this is not one of ours


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


def scores_in(folder: Path) -> tuple[ScoreRow, ...]:
    """The scores that lie in a run's folder; none where it has none that can be read."""
    return tuple(score_rows(read_json(folder / SCORES, [])))


def read_json(path: Path, notes: list[str]) -> Any:
    """A file of a run; None where it cannot be read, and why is added to `notes`."""
    if not path.is_file():
        notes.append(f"{path.name}{MISSING}")
        return None
    if path.stat().st_size > LARGEST_JSON:
        notes.append(f"{path.name} has {path.stat().st_size >> 20} MiB and was not read.")
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        notes.append(f"{path.name} cannot be read: {error}.")
        return None


def score_rows(content: Any) -> Iterator[ScoreRow]:
    """The scores as `pipeline.evaluation` writes them, a line per model, put side by side; single channels left out."""
    scores = content.get("scores", ()) if isinstance(content, Mapping) else ()
    found: dict[tuple[str, ...], dict[str, ScoreValue]] = {}
    for score in scores if isinstance(scores, list) else ():
        if not isinstance(score, Mapping) or score.get("channel") or not is_number(score.get("value")):
            continue
        key = tuple(str(score.get(name) or "") for name in KEYS)
        low, high = (float(score[k]) if is_number(score.get(k)) else None for k in ("low", "high"))
        of_ceiling = float(score["of_ceiling"]) if is_number(score.get("of_ceiling")) else None
        value = ScoreValue(value=float(score["value"]), low=low, high=high, of_ceiling=of_ceiling)
        found.setdefault(key, {})[str(score.get("model") or "")] = value
    for key, values in found.items():
        yield ScoreRow(**dict(zip(KEYS, key, strict=True)), values=values)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
