"""What lies in a run's folder; nothing of it needs torch but its checkpoint.

FOLDER/config.json      settings of the training, of the windows and of the network
FOLDER/topology.toml    the network's topology, with the size of every area
FOLDER/metrics.jsonl    one line per step (loss, gradient norm) and per validation
FOLDER/checkpoint.pt    network, best network, optimizer, scheduler, random state: tensors and numbers only
FOLDER/choice.json      where weights of objectives were chosen: what every candidate came to, see `choosing.py`
FOLDER/candidates/NN/   their trainings, folders like this one
FOLDER/scores.json      what `evaluate` found
FOLDER/rivals/NAME-SEED what it trained to compare with: the same network from other seeds, other networks
FOLDER/predicted-SESSION.h5     what the run expects of a session, see `scores/predicting.py`
"""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
CONFIG = "config.json"
TOPOLOGY = "topology.toml"
CHOICE = "choice.json"
CANDIDATES = "candidates"
PREDICTED = "predicted-{session}.h5"
RIVALS = "rivals"
TAIL_BYTES = 1 << 14
MOST_WORDS = 120  # letters of what a library says


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl`, up to one that was being written when the run was stopped."""
    rows: list[dict[str, Any]] = []
    for line in (folder / METRICS).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def steps_done(folder: Path) -> int:
    """How far the run in a folder has come, from the last whole line of its metrics; 0 where it has not begun."""
    rows = latest_rows(folder)
    return int(rows[-1]["step"]) if rows else 0


def latest_rows(folder: Path, n_bytes: int = TAIL_BYTES) -> list[dict[str, Any]]:
    """The last whole lines of the metrics, of so many bytes, without those before them being read.

    A line that holds no JSON object is passed over.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open("rb") as file:
        # From the byte before: what comes up to the first end of a line is a rest of one, whatever it begins with.
        before = path.stat().st_size - n_bytes - 1
        if before >= 0:
            file.seek(before)
            file.readline()
        lines = file.read().splitlines(keepends=True)
    rows = (_json_of(line) for line in lines if line.endswith(b"\n"))
    return [row for row in rows if isinstance(row, dict)]


def _json_of(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    durable.write_bytes(path, buffer.getvalue())


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run, tensors and numbers only. Raises ValueError where there is none that is whole."""
    import torch

    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{path}: no checkpoint there; a run that has come to its first one is wanted")
    if not zipfile.is_zipfile(path):  # torch would take it for an older kind of checkpoint, and say anything
        raise ValueError(f"{path}: is damaged, or no checkpoint; a whole checkpoint is wanted")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: is damaged ({first_line(error)}); a whole checkpoint is wanted") from error
    return state


def first_line(error: Exception) -> str:
    """What a library says is wrong, without the advice that follows."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].partition(". ")[0][:MOST_WORDS]


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run. Raises ValueError naming the file where they cannot be read."""
    path = folder / CONFIG
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: {why}; the settings of a run are wanted") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: holds no table; the settings of a run are wanted")
    return said


def check_same(there: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError where the settings in a folder are not the ones wanted now."""
    for part in (*said, *(key for key in there if key not in said)):
        if there.get(part) != said.get(part):
            raise ValueError(
                f"{path}: the run there has other settings under {part!r}; choose another folder or resume=False"
            )


def read_choice(folder: Path) -> list[Mapping[str, Any]]:
    """What every candidate of the objectives' weights came to; nothing where none were chosen."""
    path = folder / CHOICE
    return list(json.loads(path.read_text(encoding="utf-8"))["candidates"]) if path.is_file() else []
