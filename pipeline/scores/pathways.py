"""What each pathway of a trained network does: how strong its current is, what is lost without it, what it carries.

    share      of the power of all recurrent input to its target area (`models/currents.py`)
    lesion     by how many nats per element each target is predicted worse on the split when the pathway is silenced
    carries    R2 of a ridge regression from the pathway's message to each target, fitted on validation time; of answers
               the mean over classes. Directions in which a message hardly varies count as little as they do in it:
               pathways from one area carry what their weights let through, not all that the area's state tells

Good fits can have wrong currents (`models/currents.py` says why). These numbers are about the network, not about the
brain it was fitted to; what was perturbed in the recording can test them, what was merely recorded cannot.

Shapes: E pathways, B windows, T bins, H units, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.models.currents import Currents, currents
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.windowing import Batch, Split
from neuroloom.pipeline.scores.damage import window_nats

Matrix = NDArray[np.float64]

WARNING = "Good fits can have wrong currents: these are the network's, a hypothesis about the brain."
MOST_WINDOWS = 32
MOST_UNITS = 12  # principal components of a message that its content is read from
MOST_CLASSES = 20
PENALTY = 10.0


@dataclass(frozen=True, kw_only=True)
class PathwayRow:
    """One pathway in one session. lesion, carries: per target port; NaN where it was not known in the windows used."""

    session: str
    source: str
    target: str
    share: float
    lesion: Mapping[str, float]
    carries: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; NaN becomes null."""
        said = asdict(self)
        for key in ("lesion", "carries"):
            said[key] = {port: value if np.isfinite(value) else None for port, value in said[key].items()}
        return said


def pathway_rows(run: Run, split: Split, fitted_on: Split, *, most_windows: int = MOST_WINDOWS) -> list[PathwayRow]:
    """A row per session and pathway, the strongest lesion first.

    split: scored on, usually `data.held_out`. fitted_on: what the content of messages is read with, usually
        `data.validation`. most_windows: of each, spread over its length, 1 or more.
    """
    if most_windows < 1:
        raise ValueError(f"most_windows is {most_windows}; 1 or more is wanted")
    rows: list[PathwayRow] = []
    for session in split.sessions:
        scored, known = (_batch(each, session, most_windows) for each in (split, fitted_on))
        flows = [_currents(run, batch) for batch in (known, scored)]
        shares = flows[1].shares()[0].tolist()
        intact = _losses(run, scored)
        classes = {port.name: port.n_classes if port.is_classes else 0 for port in run.network.ports(session)[1]}
        for e, pathway in enumerate(run.network.topology.pathways):
            with run.network.as_it_was():
                run.network.lesion(pathway.source, pathway.target)
                cut = _losses(run, scored)
            rows.append(
                PathwayRow(
                    session=session,
                    source=pathway.source,
                    target=pathway.target,
                    share=shares[e],
                    lesion={port: cut[port] - intact[port] for port in intact},
                    carries=_carried(flows[0].messages[e], known, flows[1].messages[e], scored, classes),
                )
            )
    return sorted(rows, key=lambda row: -sum(value for value in row.lesion.values() if np.isfinite(value)))


def _batch(split: Split, session: str, most_windows: int) -> Batch:
    starts = split.tiles(session)
    chosen = np.unique(np.linspace(0, len(starts) - 1, min(most_windows, len(starts))).astype(int))
    return split.batch(session, [starts[i] for i in chosen], warm_up_bins=split.config.n_bins // 2)


def _currents(run: Run, batch: Batch) -> Currents:
    return currents(run.network, batch.session, batch.inputs, batch.input_masks)


def _losses(run: Run, batch: Batch) -> dict[str, float]:
    """Mean nats per known element of each target."""
    sums = {name: nats.sum(axis=0) for name, nats in window_nats(run, batch).items()}
    return {name: float(nats / n) if n else float("nan") for name, (nats, n) in sums.items()}


def _carried(
    known_BTH: Tensor, known: Batch, message_BTH: Tensor, scored: Batch, classes: Mapping[str, int]
) -> dict[str, float]:
    """Per target the R2 of its best line from the message, mean over channels or classes; not of many classes."""
    basis = _basis(_flat(known_BTH, known))
    design = [np.column_stack([_flat(m, b) @ basis, np.ones(len(_flat(m, b)))]) for m, b in
              ((known_BTH, known), (message_BTH, scored))]  # fmt: skip
    found = {}
    for name in scored.targets:
        n_classes = classes[name]
        if n_classes > MOST_CLASSES or name not in known.targets:
            continue
        found[name] = _r2(design, [_numbers(batch, name, n_classes) for batch in (known, scored)])
    return found


def _numbers(batch: Batch, name: str, n_classes: int) -> tuple[Matrix, NDArray[np.bool_]]:
    """Values (N, C) and where they are known; of answers a column per class."""
    inside = torch.from_numpy(batch.scored)
    values, mask = batch.targets[name][:, inside], batch.masks[name][:, inside]
    if n_classes:
        values = torch.nn.functional.one_hot(values[..., 0].nan_to_num().long(), n_classes)
        mask = mask[..., :1].expand(values.shape)
    return values.flatten(0, 1).double().numpy(), mask.flatten(0, 1).numpy()


def _flat(message_BTH: Tensor, batch: Batch) -> Matrix:
    return np.asarray(message_BTH[:, torch.from_numpy(batch.scored)].flatten(0, 1).double().numpy())


def _basis(message_NH: Matrix) -> Matrix:
    """The directions in which a message varies most, in units of the spread along the first, (H, K)."""
    values, vectors = np.linalg.eigh(np.cov(message_NH.T).reshape(message_NH.shape[1], -1))
    largest = slice(None, -MOST_UNITS - 1, -1)
    return np.asarray(vectors[:, largest] / np.sqrt(max(values[-1], 1e-12)))


def _r2(design: Sequence[Matrix], targets: Sequence[tuple[Matrix, NDArray[np.bool_]]]) -> float:
    scores = []
    for c in range(targets[0][0].shape[1]):
        (x, y), (x_new, y_new) = (
            (part[mask[:, c]], values[mask[:, c], c]) for part, (values, mask) in zip(design, targets, strict=True)
        )
        if len(y) < 2 or len(y_new) < 2 or y_new.var() == 0:
            continue
        line = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
        scores.append(1 - float(((y_new - x_new @ line) ** 2).mean() / y_new.var()))
    return float(np.mean(scores)) if scores else float("nan")
