"""What a network still knows when it is damaged: pathways cut, areas silenced, noise in the drive of every unit.

Damage is scored in nats per act (a known element of a target), on the same windows as the network when it is whole, so
that what is lost is paired; intervals are bootstraps over pieces of time. `kept` is the share of what the network knows
beyond the mean of training time that is still there.

Whoever was recorded cannot be damaged to compare. What a copy loses without a pathway is a prediction about its person.

Shapes: B windows, T bins, N nodes, H units, P pieces, R resamplings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.models import ModularNetwork
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.windowing import Batch, Split, Windows
from neuroloom.pipeline.scores._scoring import FEWEST_BLOCKS, interval, resampling
from neuroloom.pipeline.scores.baselines import mean_baseline

Matrix = NDArray[np.float64]

NOISE = (0.1, 0.3, 1.0, 3.0)
MOST_PATHWAYS = 30  # the strongest are cut, one at a time
MOST_WINDOWS = 48


@dataclass(frozen=True, kw_only=True)
class Damage:
    """kind: "pathway", "area" or "noise". what: which; of noise its SD over that of a unit's own activity.

    lost, low, high: nats per act. kept: share of the whole network's lead over the mean; NaN where it has none.
    """

    session: str
    port: str
    kind: str
    what: str
    lost: float
    low: float
    high: float
    kept: float

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; NaN becomes null."""
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class Blow:
    """One kind of damage. pathways: cut. silent: areas. noise: SD over that of each unit's own activity."""

    kind: str
    what: str
    pathways: tuple[tuple[str, str], ...] = ()
    silent: tuple[str, ...] = ()
    noise: float = 0.0


def blows(network: ModularNetwork, noise: Sequence[float] = NOISE) -> list[Blow]:
    """Every area, the strongest pathways, every level of noise."""
    strength, _ = network.pathway_strengths()
    order = strength.argsort(descending=True).tolist()[:MOST_PATHWAYS]
    ends = [(network.topology.pathways[e].source, network.topology.pathways[e].target) for e in order]
    found = [Blow(kind="area", what=name, silent=(name,)) for name in network.areas]
    found += [
        Blow(kind="pathway", what=f"{source} -> {target}", pathways=((source, target),)) for source, target in ends
    ]
    return found + [Blow(kind="noise", what=f"{level:g}", noise=level) for level in noise if level > 0]


def damage_rows(
    run: Run, split: Split, ports: Sequence[str], *, noise: Sequence[float] = NOISE, seed: int = 0
) -> Iterator[Damage]:
    """A row per session, port and kind of damage. ports: targets; those a session does not have are passed over."""
    means = mean_baseline(Windows(sessions=split.sessions, config=split.config)).means
    for session, data in split.sessions.items():
        batch, piece = _windows(split, session)
        names = [name for name in ports if name in data.target_names]
        whole = window_nats(run, batch, seed=seed)
        floor = {name: _floor(batch, name, means[session][name], run) for name in names}
        for blow in blows(run.network, noise):
            hurt = window_nats(run, batch, blow, seed=seed)
            for name in names:
                yield _row(session, name, blow, (whole[name], hurt[name], floor[name]), piece, seed)


def _row(
    session: str, port: str, blow: Blow, nats: tuple[Matrix, Matrix, Matrix], piece: NDArray[np.int64], seed: int
) -> Damage:
    """nats: per window the sum and the number of acts, (B, 2), whole, hurt and of the mean."""
    whole, hurt, floor = nats
    n_pieces = int(piece.max()) + 1
    sums = np.zeros((n_pieces, 4))
    np.add.at(sums, piece, np.stack([hurt[:, 0] - whole[:, 0], whole[:, 1], floor[:, 0] - whole[:, 0], whole[:, 0]], 1))
    weights = resampling(n_pieces, seed)[1:]
    lost = (weights @ sums[:, 0]) / np.maximum(weights @ sums[:, 1], 1)
    low, high = interval(lost)
    total = sums.sum(axis=0)
    lead = total[2]
    return Damage(
        session=session, port=port, kind=blow.kind, what=blow.what, lost=float(total[0] / max(total[1], 1)), low=low,
        high=high, kept=float(1 - total[0] / lead) if lead > 0 else float("nan"),
    )  # fmt: skip


def _windows(split: Split, session: str) -> tuple[Batch, NDArray[np.int64]]:
    """Windows spread over the split with as much context before each, and the piece of time that each lies in."""
    starts = np.asarray(split.tiles(session))
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, min(MOST_WINDOWS, len(starts))).astype(int))]
    firsts = [first for first, _ in split.sessions[session].blocks[split.name]]
    blocks = np.unique(np.searchsorted(firsts, chosen, side="right"), return_inverse=True)[1]
    piece = blocks if len(firsts) >= FEWEST_BLOCKS else np.arange(len(chosen))
    return split.batch(session, chosen.tolist(), warm_up_bins=split.config.n_bins), np.asarray(piece, dtype=np.int64)


@torch.no_grad()
def window_nats(run: Run, batch: Batch, blow: Blow | None = None, *, seed: int = 0) -> dict[str, Matrix]:
    """Per target the nats of each window and how many acts they are of, (B, 2)."""
    network = run.network
    network.eval()
    outputs = _hurt_outputs(network, batch, blow, seed)
    scored = torch.from_numpy(batch.scored)[None, :, None]
    found = {}
    for name, target in batch.targets.items():
        readout: Any = network.readout(batch.session, name)
        mask = batch.masks[name] & scored
        nats = readout.nll(outputs[name], target, mask).sum(dim=(1, 2))
        found[name] = torch.stack([nats, mask.sum(dim=(1, 2)).to(nats.dtype)], dim=1).double().numpy()
    return found


def _hurt_outputs(network: ModularNetwork, batch: Batch, blow: Blow | None, seed: int) -> Mapping[str, Tensor]:
    if blow is None:
        return network.forward(batch.session, batch.inputs, batch.input_masks)
    if blow.pathways:
        with network.as_it_was():
            for source, target in blow.pathways:
                network.lesion(source, target)
            return network.forward(batch.session, batch.inputs, batch.input_masks)
    drive, gain = network.drive(batch.session, batch.inputs, batch.input_masks)
    if blow.noise:
        spread_N11H = network.run(drive, gain_N11H=gain).std(dim=(1, 2), keepdim=True)
        generator = torch.Generator().manual_seed(seed)
        drive = drive + blow.noise * spread_N11H * torch.randn(drive.shape, generator=generator)
        states = network.run(drive, gain_N11H=gain)
    else:
        there = torch.tensor([float(name not in blow.silent) for name in network.node_names])[:, None, None]
        states = network.run(drive, gain_N11H=gain, nudge=lambda state, _bin: state * there) * there[:, None]
    state_BTAH = states[: len(network.areas)].permute(2, 1, 0, 3)
    return {p.name: network.readout(batch.session, p.name)(state_BTAH) for p in network.ports(batch.session)[1]}


def _floor(batch: Batch, name: str, mean: Matrix, run: Run) -> Matrix:
    """As `window_nats`, of whoever knows only the mean of training time: shares of classes, rates, a normal spread."""
    port = next(p for p in run.network.ports(batch.session)[1] if p.name == name)
    mask = (batch.masks[name] & torch.from_numpy(batch.scored)[None, :, None]).numpy()
    target = np.where(mask, batch.targets[name].double().numpy(), 0)
    if port.is_classes:
        nats = -np.log(np.maximum(mean, 1e-9))[target.astype(np.int64)]
    elif port.is_rates:
        chance = np.clip(mean, 1e-9, 1 - 1e-9)
        nats = np.where(target > 0, -np.log(chance), -np.log1p(-chance))
    else:
        nats = 0.5 * (target**2 + np.log(2 * np.pi))
    return np.stack([(nats * mask).sum(axis=(1, 2)), mask.sum(axis=(1, 2))], axis=1).astype(np.float64)
