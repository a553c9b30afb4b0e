"""The compiled loop of `small_products.py`. Imported when it is first needed, for numba takes a second to import."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.extending import get_cython_function_address, intrinsic
from scipy.linalg import cython_blas

N_ARGUMENTS = 13
SMALL = 1_000_000  # multiplications up to which OpenBLAS has kernels that pack nothing
FEW_ROWS = 32  # below that they do not pay


@cache
def address(name: str) -> int:
    """Of a routine of the BLAS that SciPy was built with, as SciPy hands it to other compiled code."""
    return int(get_cython_function_address(cython_blas.__name__, name))


@cache
def takes_32_bit_sizes() -> bool:
    """Whether the routines want sizes as this file writes them; builds of SciPy with 64-bit ones are possible."""
    return "(char *, char *, int *," in repr(cython_blas.__pyx_capi__["sgemm"])


@intrinsic  # type: ignore[untyped-decorator]
def _call(_typing: Any, routine: Any, arguments: Any) -> Any:
    """Call what lies at an address with pointers, given as numbers."""

    def written(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        pointers = [builder.extract_value(values[1], i) for i in range(N_ARGUMENTS)]
        kind = ir.FunctionType(ir.VoidType(), [pointer.type for pointer in pointers])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), pointers)
        return context.get_dummy_value()

    return numba.types.void(routine, arguments), written


def _multiply(
    routine: int,
    letters: npt.NDArray[np.uint8],
    sizes: npt.NDArray[np.int32],
    one: npt.NDArray[Any],
    left: int,
    right: int,
    result: int,
    n_bytes: int,
    turned: bool,
    left_at: npt.NDArray[np.int64],
    right_at: npt.NDArray[np.int64],
    result_at: npt.NDArray[np.int64],
    late: npt.NDArray[np.int64],
    n_rows: int,
    bins: npt.NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Add up the products from `first` to before `last`, each by as many rows at a time as are a small product.

    A BLAS reads matrices by columns, for which A B is B^T A^T: it is told the right one first. letters: "NT". sizes:
    how wide all matrices are, and room for a number of rows. one: the factor of the product, and of the sum so far. All
    of these live with the caller: here are their addresses only. bins: the first one, that before which it ends, and
    the beginning that `late` counts from.
    """
    plain = letters.ctypes.data
    wide = sizes.ctypes.data
    rows_at = wide + 4
    factor = one.ctypes.data
    size = sizes[0]
    step = SMALL // (size * size)
    n_elements = n_rows * size
    for i in range(first, last):
        begin = max(bins[0], bins[2] + late[i])
        rows = (bins[1] - begin) * n_rows
        down = begin * n_elements
        a = left + (left_at[i] + down) * n_bytes
        b = right + (right_at[i] + (down if turned else 0)) * n_bytes
        c = result + (result_at[i] + (0 if turned else down)) * n_bytes
        most = step if step >= FEW_ROWS else max(rows, 1)
        for row in range(0, rows, most):
            sizes[1] = min(most, rows - row)
            below = row * size * n_bytes
            if turned:  # rows are what is summed over
                _call(
                    routine,
                    (plain, plain + 1, wide, wide, rows_at, factor, b + below, wide, a + below, wide, factor, c, wide),
                )
            else:
                _call(
                    routine,
                    (plain, plain, wide, rows_at, wide, factor, b, wide, a + below, wide, factor, c + below, wide),
                )


@cache
def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """It, kept for the next process where there is a place for it."""
    try:
        kept: Callable[..., None] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to write to
        kept = numba.njit(nogil=True)(function)
    return kept


def loop() -> Callable[..., None]:
    """`_multiply`, compiled."""
    return compiled(_multiply)
