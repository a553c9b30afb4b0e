"""Many small matrix products, each added up where its result belongs, without a copy of any matrix.

    C[c] += A[a] B[b]    or, turned,    A[a]^T B[b]

The BLAS that comes with SciPy does each of them; numba calls it in a loop, since a call from Python costs more than a
product of 32 x 64 and 64 x 64. Batched products of torch want their matrices gathered first and their results added up
afterwards, which takes longer than the products.

Matrices of many bins lie one below the other, and a product is of all bins that are asked for. Several threads share a
list of products in parts that touch different results, so sums do not depend on their number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
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

    n_rows: of a bin. turned: the left matrices are, and results are of all bins together; else the right ones are.
    left, right, result: where each matrix has, or would have, its bin 0 within its tensor, in elements. late: bins by
    which the first one that a product is of comes after the beginning. parts: where the list may be cut, from 0 to its
    length, so that no two parts share a result.
    """

    size: int
    n_rows: int
    turned: bool
    left: Places
    right: Places
    result: Places
    late: Places
    parts: Places

    def of(self, left: Tensor, right: Tensor, result: Tensor) -> Sums:
        """Of these tensors, which are contiguous, on the CPU, of a dtype there is."""
        return Sums(self, left, right, result)


class Sums:
    """Products of three tensors, whose places are looked up once, for all bins."""

    def __init__(self, products: Products, left: Tensor, right: Tensor, result: Tensor) -> None:
        tensors = (left, right, result)
        assert all(one.is_contiguous() and one.dtype == result.dtype for one in tensors)
        name, dtype = ROUTINES[result.dtype]
        compiled = _compiled()
        self._products, self._tensors, self._loop = products, tensors, compiled.loop()  # tensors live as long as this
        self._routine = compiled.address(name)
        self._given = (
            np.ones(1, dtype),
            *(tensor.data_ptr() for tensor in tensors),
            result.element_size(),
            products.turned,
            *(products.left, products.right, products.result, products.late),
            products.n_rows,
        )
        self._work = len(products.late) * products.n_rows * products.size**2

    def add(self, first: int, last: int, *, beginning: int = 0) -> None:
        """Do all products, of bins from `first` to before `last`, within `alone`, in place."""
        bins, late, parts = np.array([first, last, beginning]), self._products.late, self._products.parts
        n_threads = self._work * (last - first) // WORTH_A_THREAD
        if n_threads < 2 or (n_threads := min(most_threads(), len(parts) - 1, n_threads)) < 2:
            return self._do(bins, 0, len(late))
        n_bins = np.maximum(last - np.maximum(first, beginning + late), 0)
        share(even_cuts(parts, n_bins, n_threads), lambda *cut: self._do(bins, *cut))

    def _do(self, bins: Places, first: int, last: int) -> None:
        sizes = np.array([self._products.size, 0], np.int32)  # of this thread: the loop writes into it
        self._loop(self._routine, LETTERS, sizes, *self._given, bins, first, last)


def most_threads() -> int:
    """Threads that torch would take, within reason."""
    return min(torch.get_num_threads(), MOST_THREADS)


def share(cuts: Sequence[tuple[int, int]], do: Callable[[int, int], None]) -> None:
    """Each stretch by a thread of its own, the first by this one."""
    first, *others = cuts
    waiting = [_threads(os.getpid()).submit(do, *cut) for cut in others]
    do(*first)
    for one in waiting:
        one.result()


def even_cuts(parts: Places, n_bins: Places, n: int) -> list[tuple[int, int]]:
    """The list in at most n stretches of whole parts, with about as many bins in each."""
    done = np.concatenate([[0], np.cumsum(n_bins)])[parts]
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
