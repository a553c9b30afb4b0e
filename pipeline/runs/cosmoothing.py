"""Units that a network never hears: it must tell what they do from the others (co-smoothing).

    units  ->  "units", which come in and are targets as before,  and  "units held out", targets only

As in the Neural Latents Benchmark (Pei et al. 2021): while it trains, a network may learn from what held-out units did
in training time how they go with the others; on held-out time it gets the held-in units alone, and is scored in bits
per spike on the held-out ones. With `lag_bins` 0 or below (held-in units are then no targets) it may look at the same
bin and at later ones, as the benchmark allows; with 1 or more it is causal, which is harder.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.features import Features, PortFeatures

HELD_OUT = " held out"


def hold_out_units(features: Features, share: float, *, seed: int = 0) -> Features:
    """The same features with a share of the units of every port of spikes as a port of its own, a target only.

    At least one unit stays on either side; the draw depends on the seed and on the session's and the port's names.
    Raises ValueError where the session has no port with two units.
    """
    ports: dict[str, PortFeatures] = {}
    for name, made in features.ports.items():
        if not made.port.is_counts or made.port.n_channels < 2:
            ports[name] = made
            continue
        out = _drawn(made.port.n_channels, share, f"{features.session_id}/{name}", seed)
        ports[name] = _columns(made, np.flatnonzero(~out), name)
        ports[name + HELD_OUT] = replace(_columns(made, np.flatnonzero(out), name + HELD_OUT), target_only=True)
    if len(ports) == len(features.ports):
        raise ValueError(f"{features.session_id}: no port with two units or more; held-out units are asked for")
    return replace(features, ports=ports)


def _drawn(n_units: int, share: float, label: str, seed: int) -> NDArray[np.bool_]:
    n_out = min(max(round(share * n_units), 1), n_units - 1)
    rng = np.random.default_rng([seed, zlib.crc32(label.encode())])
    out = np.zeros(n_units, dtype=np.bool_)
    out[rng.permutation(n_units)[:n_out]] = True
    return out


def _columns(made: PortFeatures, columns: NDArray[np.int64], name: str) -> PortFeatures:
    port = made.port
    return replace(
        made,
        port=replace(
            port,
            name=name,
            channel_names=tuple(port.channel_names[c] for c in columns),
            areas=tuple(port.areas[c] for c in columns) if port.areas else (),
        ),
        values=made.values[:, columns],
        valid=made.valid[:, columns],
        positions_mm=tuple(made.positions_mm[c] for c in columns) if made.positions_mm else (),
    )
