"""What kind of system a trained network is: where it rests, what draws it there, whether small differences grow.

Two networks that predict equally well may differ here; where a network was trained from one whose mechanism is known,
the two can be set side by side. Per session, under the mean of its held-out inputs. See `models/dynamics.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from neuroloom.models import ModularNetwork
from neuroloom.models.dynamics import fixed_points, lyapunov_exponents
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.windowing import Batch, Split

N_STARTS = 16
N_EXPONENTS = 3
MOST_WINDOWS = 16


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One session's.

    growth: per fixed point the factor by which a small difference changes in a bin, below 1 where it attracts; NaN
        where that cannot be told. exponents_per_s: the largest Lyapunov exponents, above 0 for chaos; empty where they
        cannot be told. spectral_radius: of all recurrent weights as one matrix. not_told: why something is missing.
    """

    session: str
    growth: tuple[float, ...]
    exponents_per_s: tuple[float, ...]
    spectral_radius: float
    not_told: str = ""

    def words(self) -> str:
        """In a sentence."""
        known = [growth for growth in self.growth if np.isfinite(growth)]
        rests = f"{len(self.growth)} fixed point{'' if len(self.growth) == 1 else 's'} found"
        n_attract = sum(growth < 1 for growth in known)
        rests += f", {n_attract} of which attract{'s' if n_attract == 1 else ''}" if known else ""
        if not self.exponents_per_s:
            return f"{self.session}: {rests}; {self.not_told}"
        largest = self.exponents_per_s[0]
        how = "small differences grow: chaos" if largest > 0 else "small differences shrink"
        return f"{self.session}: {rests}; largest Lyapunov exponent {largest:.3g} per second, {how}"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; NaN becomes null."""
        said = asdict(self)
        said["growth"] = [growth if np.isfinite(growth) else None for growth in self.growth]
        return said


def mechanisms(run: Run, split: Split, *, seed: int = 0) -> list[Mechanism]:
    """One per session of the split.

    Raises ValueError for networks whose modules remember more than their state, or that sessions modulate.
    """
    network = run.network
    if network.session_size:
        raise ValueError("the network has a vector per session that sets its gains; without one its rest can be found")
    radius = network.spectral_radius()
    return [_mechanism(network, session, split, radius, seed) for session in split.sessions]


def _mechanism(network: ModularNetwork, session: str, split: Split, radius: float, seed: int) -> Mechanism:
    tiles = split.tiles(session)
    chosen = tiles[:: max(1, len(tiles) // MOST_WINDOWS)][:MOST_WINDOWS]
    drive_NH = mean_drive(network, session, split.batch(session, chosen))
    rest = fixed_points(network, drive_NH=drive_NH, n_starts=N_STARTS, seed=seed)
    try:
        exponents, not_told = lyapunov_exponents(network, N_EXPONENTS, drive_NH=drive_NH, seed=seed).tolist(), ""
    except ValueError as error:
        exponents, not_told = [], str(error)
    return Mechanism(
        session=session,
        growth=tuple(rest.growth.tolist()),
        exponents_per_s=tuple(exponents),
        spectral_radius=radius,
        not_told=not_told,
    )


@torch.no_grad()
def mean_drive(network: ModularNetwork, session: str, batch: Batch) -> torch.Tensor:
    """What a session's inputs give every unit on average, biases left out, (N, H)."""
    inputs: Mapping[str, torch.Tensor] = batch.inputs
    drive_NTBH, _ = network.eval().drive(session, inputs, batch.input_masks)
    return (drive_NTBH - network.bias()[:, None]).mean(dim=(1, 2))
