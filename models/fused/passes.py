"""Compiled passes over one bin of all nodes: what they take, and what part of it each thread takes.

Shapes: N nodes, B batch, H units.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .small_products import even_cuts, most_threads

Array = npt.NDArray[Any]
WORTH_A_THREAD = 200_000  # units; below that handing over costs more than it saves


def flat(*tensors: Tensor) -> list[Array]:
    """The same numbers with batch and units as one; once for all bins."""
    return [one.flatten(-2).numpy() for one in tensors]


def of_nodes(one_NBH: Tensor) -> list[tuple[int, int]]:
    """Nodes for each thread."""
    n_nodes = len(one_NBH)
    return _cuts(n_nodes, max(1, min(most_threads(), n_nodes, one_NBH.numel() // WORTH_A_THREAD)))


@cache
def _cuts(n_nodes: int, n_parts: int) -> list[tuple[int, int]]:
    return even_cuts(np.arange(n_nodes + 1), np.ones(n_nodes, np.int64), n_parts)
