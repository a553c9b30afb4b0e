"""Readouts say no more than holds on validation time: each is drawn towards a constant as far as is best there.

    of a readout    constant + share * (what it says - constant)     share from 1, as it is, down to 0

The constant is the one that is best on training time, of the numbers that are linear in the states (logits, rates
before their softplus, means), so nothing of the network changes but the weights of its readouts, and a network trained
on several things at once, which is best for all of them together, does not harm one of them by saying too much
(shrinkage; Copas 1983, "Regression, prediction and shrinkage", J. R. Stat. Soc. B 45). Readouts that are not linear in
the states (EEG, MEG) stay as they are.

Shapes: B batch, T bins, C channels, P parameters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroloom.models import ModularNetwork
from neuroloom.models.readouts import FromAreas
from neuroloom.pipeline.runs.windowing import Batch, Windows, known_targets

SHARES = tuple(round(0.1 * step, 1) for step in range(10, -1, -1))
WINDOWS_FOR_CONSTANTS = 256  # of each session, spread over its training time
MOST_STEPS = 30
BATCH = 64

Shares = dict[str, dict[str, float]]


@torch.no_grad()
def shrink_readouts(network: ModularNetwork, data: Windows) -> Shares:
    """Shrink the readouts of all sessions of `data` in place; gives the share that is kept, by session and port."""
    network.eval()
    constants = {session: _constants(network, data, session) for session in data.sessions}
    sums = _losses(network, data, constants)
    kept: Shares = defaultdict(dict)
    for (session, port), losses in sums.items():
        share = SHARES[int(np.argmin(losses))]  # of equals the largest share
        for part, constant_CP in constants[session][port].items():
            _shrink(part, share, constant_CP)
        kept[session][port] = share
    return dict(kept)


def told(kept: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What was kept, a line for each session in which it was not all."""
    return [
        f"{session}: of what readouts say is kept, as is best on validation time: "
        + ", ".join(f"{port} {share:g}" for port, share in ports.items())
        for session, ports in kept.items()
        if min(ports.values()) < 1
    ]


Constants = dict[str, dict[FromAreas, Tensor]]


def _constants(network: ModularNetwork, data: Windows, session: str) -> Constants:
    """By port, the constant (C, P) in place of each linear part of its readout that is best on training time."""
    tiles = data.train.tiles(session)
    some = [tiles[i] for i in np.unique(np.linspace(0, len(tiles) - 1, WINDOWS_FOR_CONSTANTS).astype(int))]
    batches = [data.train.batch(session, some[first : first + BATCH]) for first in range(0, len(some), BATCH)]
    found: Constants = {port: {} for port in data.sessions[session].target_names}
    for batch in batches:
        state_BTAH = _states(network, batch)
        for port, sums in found.items():
            for part in _linear_parts(network, session, port):
                sums[part] = sums.get(part, 0) + part(state_BTAH).mean(dim=1).sum(dim=0) / len(some)
    for port, means in found.items():
        if means:
            found[port] = _best_constants(network.readout(session, port), port, means, batches)
    return found


def _best_constants(
    readout: Any, port: str, means: Mapping[FromAreas, Tensor], batches: Sequence[Batch]
) -> dict[FromAreas, Tensor]:
    """Gone down to from the mean of what is said; that mean where a port has no targets."""
    (part, *_), biases = means, [part.bias for part in means]
    rest_11AH = part.weight.new_zeros(1, 1, part.n_areas, part.weight.shape[3])
    every = np.ones(batches[0].scored.size, dtype=bool)
    known = [
        (batch.targets[port].to(rest_11AH.device), known_targets(batch, port, every, readout).to(rest_11AH.device))
        for batch in batches
    ]
    n_known = sum(int(mask.sum()) for _, mask in known)
    with _shrunk(means, 0.0), torch.enable_grad():
        descent = torch.optim.LBFGS(biases, max_iter=MOST_STEPS, line_search_fn="strong_wolfe")

        def nats() -> Tensor:
            total = rest_11AH.sum()
            for target_BTC, mask in known:
                said = readout(rest_11AH.expand(*target_BTC.shape[:2], -1, -1))
                total = total + readout.nll(said, target_BTC, mask).sum() / n_known
            for bias, gradient in zip(biases, torch.autograd.grad(total, biases), strict=True):
                bias.grad = gradient
            return total.detach()

        if n_known:
            descent.step(nats)  # type: ignore[no-untyped-call]
        best = {part: part.bias.detach().clone() for part in means}
        for bias in biases:
            bias.grad = None
    return {part: value if bool(value.isfinite().all()) else means[part] for part, value in best.items()}


def _losses(
    network: ModularNetwork, data: Windows, constants: Mapping[str, Constants]
) -> dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """By session and port, nats on validation time for every share; ports that can be shrunk and have targets there."""
    sums: dict[tuple[str, str], np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
    for batch in data.validation.batches(batch_size=BATCH, warm_up_bins=data.config.n_bins // 2):
        state_BTAH = _states(network, batch)
        for port, target_BTC in batch.targets.items():
            readout: Any = network.readout(batch.session, port)
            mask = known_targets(batch, port, batch.scored, readout).to(state_BTAH.device)
            parts = constants[batch.session][port]
            if parts and bool(mask.any()):
                losses = []
                for share in SHARES:
                    with _shrunk(parts, share):
                        losses.append(readout.nll(readout(state_BTAH), target_BTC.to(mask.device), mask).sum().item())
                key = (batch.session, port)
                sums[key] = sums.get(key, np.zeros(len(SHARES))) + np.array(losses)
    return sums


def _states(network: ModularNetwork, batch: Batch) -> Tensor:
    device = network.exists.device
    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    masks = {name: mask.to(device) for name, mask in batch.input_masks.items()}
    return network.states(batch.session, inputs, masks)


def _linear_parts(network: ModularNetwork, session: str, port: str) -> list[FromAreas]:
    return [part for part in network.readout(session, port).modules() if isinstance(part, FromAreas)]


def _shrink(part: FromAreas, share: float, constant_CP: Tensor) -> None:
    part.weight.mul_(share)
    part.bias.mul_(share).add_((1 - share) * constant_CP)


@contextmanager
def _shrunk(parts: Mapping[FromAreas, Tensor], share: float) -> Iterator[None]:
    """Shrunk inside, and to the bit as before after it."""
    before = {part: (part.weight.clone(), part.bias.clone()) for part in parts}
    with torch.no_grad():
        for part, constant_CP in parts.items():
            _shrink(part, share, constant_CP)
    try:
        yield
    finally:
        with torch.no_grad():
            for part, (weight, bias) in before.items():
                part.weight.copy_(weight)
                part.bias.copy_(bias)
