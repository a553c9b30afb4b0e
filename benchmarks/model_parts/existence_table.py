"""Which pathways exist, as `lagged` tells it: system by system, nothing is trained.

AUROC of its strength (1 where every pathway that exists is stronger than every pair without one, 0.5 by chance), of
what it is set beside (`one_ridge.py`), and the lead, in pairs; then how many pairs `keep = "significant"` keeps of
those with and of those without a pathway. Recordings are those of `recordings.py`; intervals are over systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.functional import FunctionalConfig
from neuroloom.pipeline.runs.lagged import lagged_power, significant
from neuroloom.pipeline.runs.past import regressions

from .intervals import interval
from .one_ridge import weight_size
from .ranking import auroc
from .recordings import N_LAGS, Recorded, recordings, short_recordings
from .sets import Matrix

SHORT = 40  # trials


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Of every pair of areas of one system, (A * (A - 1),): power, size of weights, kept as significant, exists."""

    power: Matrix
    size: Matrix
    kept: NDArray[np.bool_]
    exists: NDArray[np.bool_]


def ranked(recorded: Recorded) -> Ranked:
    """Estimated from all channels."""
    names = list(dict.fromkeys(recorded.areas))
    pairs = ~np.eye(len(names), dtype=np.bool_)
    told = regressions(recorded.blocks, N_LAGS)
    sharp = lagged_power(told, recorded.areas, names, sharp=True)
    return Ranked(
        power=lagged_power(told, recorded.areas, names).value[pairs],
        size=weight_size(recorded.blocks, recorded.areas, names, N_LAGS)[pairs],
        kept=significant(sharp, FunctionalConfig().alpha)[pairs],
        exists=np.array([[(s, t) in recorded.true for t in names] for s in names])[pairs],
    )


def show(numbers: list[int], n_trials: int) -> None:
    """A row for every kind of recording."""
    found: dict[str, list[Ranked]] = {}
    for number in numbers:
        for recorded in (*recordings(number, n_trials), *short_recordings(number, SHORT)):
            found.setdefault(recorded.kind, []).append(ranked(recorded))
    print(f"AUROC of pathways that exist, mean (95 % interval over {len(numbers)} systems); pairs kept as significant")
    heads = ("lagged", "size of ridge weights", "lead")
    print(f"{'':28s}" + "".join(f"{head:>26s}" for head in heads) + f"{'with':>12s}{'without':>12s}")
    for kind, systems in found.items():
        by_power, by_size = ([auroc(getattr(one, what), one.exists) for one in systems] for what in ("power", "size"))
        lead = [a - b for a, b in zip(by_power, by_size, strict=True)]
        cells = "".join(f"{interval(values, '.3f'):>26s}" for values in (by_power, by_size, lead))
        kept = [_counted(systems, exist) for exist in (True, False)]
        print(f"{kind:28s}{cells}" + "".join(f"{one:>12s}" for one in kept), flush=True)


def _counted(systems: list[Ranked], exist: bool) -> str:
    asked = [one.kept[one.exists == exist] for one in systems]
    return f"{sum(map(np.count_nonzero, asked))} of {sum(map(len, asked))}"
