"""Many small matrix products, each added up where its result belongs, without a copy of any matrix.

    C[c] += A[a] B[b]    or, turned,    A[a]^T B[b]

The BLAS that comes with SciPy does each of them; numba calls it in a loop, since a call from Python costs more than a
product of 32 x 64 and 64 x 64. Batched products of torch want their matrices gathered first and their results added up
afterwards, which takes longer than the products.

Several threads share a list of products in parts that touch different results, so sums do not depend on their number.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

ROUTINES = {torch.float32: ("sgemm", np.float32), torch.float64: ("dgemm", np.float64)}
WORTH_A_THREAD = 4_000_000  # multiplications; below that handing over costs more than it saves
MOST_THREADS = 32
LETTERS = np.array([ord("N"), ord("T")], np.uint8)  # in which a BLAS is told that a matrix is as it is, or turned

Places = npt.NDArray[np.int64]


def are_there(dtype: torch.dtype) -> bool:
    """Whether there are products of that kind of number."""
    return dtype in ROUTINES and bool(_compiled().takes_32_bit_sizes())


@dataclass(frozen=True, eq=False)
class Products:
    """A list of products of matrices that are all `size` wide, and add up in a third one.

    turned: the left matrices are. left, right, result: where each matrix begins within its tensor, in elements. rows:
    of each left matrix (turned: of both). parts: where the list may be cut, from 0 to its length, so that no two parts
    share a result.
    """

    size: int
    turned: bool
    left: Places
    right: Places
    result: Places
    rows: Places
    parts: Places

    def add(self, left: Tensor, right: Tensor, result: Tensor) -> None:
        """Do all of them, within `alone`, in place. The tensors are contiguous, on the CPU, of a dtype there is."""
        assert all(one.is_contiguous() and one.dtype == result.dtype for one in (left, right))
        assert result.is_contiguous()
        n_threads = min(torch.get_num_threads(), len(self.parts) - 1, MOST_THREADS)
        if n_threads < 2 or int(self.rows.sum()) * self.size**2 < WORTH_A_THREAD * n_threads:
            return self._do(left, right, result, 0, len(self.rows))
        first, *others = _even_cuts(self.parts, self.rows, n_threads)
        waiting = [_threads(os.getpid()).submit(self._do, left, right, result, *cut) for cut in others]
        self._do(left, right, result, *first)
        for one in waiting:
            one.result()

    def _do(self, left: Tensor, right: Tensor, result: Tensor, first: int, last: int) -> None:
        name, dtype = ROUTINES[result.dtype]
        compiled = _compiled()
        compiled.loop()(
            compiled.address(name),
            LETTERS,
            np.array([self.size, 0], np.int32),
            np.ones(1, dtype),
            *(tensor.data_ptr() for tensor in (left, right, result)),
            result.element_size(),
            self.turned,
            *(self.left, self.right, self.result, self.rows),
            first,
            last,
        )


def _even_cuts(parts: Places, rows: Places, n: int) -> list[tuple[int, int]]:
    """The list in at most n stretches of whole parts, with about as many rows in each."""
    done = np.concatenate([[0], np.cumsum(rows)])[parts]
    inner = parts[np.searchsorted(done, done[-1] * np.arange(1, n) / n)]
    ends = [int(parts[0]), *(int(cut) for cut in inner), int(parts[-1])]
    return [cut for cut in pairwise(ends) if cut[0] < cut[1]]


class _Alone(ContextDecorator):
    """Inside, the BLAS uses no threads of its own beside ours; entered around many lists, for it takes its time."""

    def __init__(self) -> None:
        self.lock, self.n_inside = threading.Lock(), 0
        self.limit: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.n_inside:
                self.limit = _blas().limit(limits=1)
            self.n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.n_inside -= 1
            if not self.n_inside:
                self.limit.restore_original_limits()


alone = _Alone()


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    _compiled()  # loads SciPy's
    return ThreadpoolController().select(internal_api="openblas")


@cache
def _threads(_process: int) -> ThreadPoolExecutor:
    """Those of a process: one that was forked has none of its parent's."""
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="products")


def _compiled() -> ModuleType:
    """The compiled loop and what it calls, imported when it is first needed."""
    from . import _gemm

    return _gemm
