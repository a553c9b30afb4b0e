"""What is estimated without bias from products of independent estimates, and how sure it is.

    value     the mean over pairs of different parts of the time of the product of what each tells: noise of one part
              knows nothing of another's, so that nothing is 0 in the mean, however noisy the parts are (as in the
              cross-validated Mahalanobis distance of Walther et al. 2016)
    spread    how far the value moves when a part is left out (Efron and Stein 1981)

Shapes: K parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Jackknifed:
    """value: of any shape. spread: (K, ...), deviations whose sum of squares over K is the squared standard error."""

    value: Matrix
    spread: Matrix

    @property
    def errors(self) -> Matrix:
        """Standard errors, of the shape of the value."""
        return np.asarray(np.sqrt((self.spread**2).sum(axis=0)))


def of_pairs(products_KK: Matrix) -> Jackknifed:
    """From the products of every part with every other, (K, K, ...), symmetric; three parts or more."""
    n = len(products_KK)
    of_part = products_KK.sum(axis=1) - np.einsum("kk...->k...", products_KK)
    total = of_part.sum(axis=0)
    without = (total - 2 * of_part) / ((n - 1) * (n - 2))
    return Jackknifed(
        value=np.asarray(total / (n * (n - 1))),
        spread=np.asarray((without - without.mean(axis=0)) * np.sqrt((n - 1) / n)),
    )


def together(found: Sequence[Jackknifed], weights: Sequence[float]) -> Jackknifed:
    """Their mean, one weight each: of sessions, which may have other channels in the same areas."""
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return Jackknifed(
        value=np.asarray(sum(w * one.value for w, one in zip(share, found, strict=True))),
        spread=np.concatenate([w * one.spread for w, one in zip(share, found, strict=True)]),
    )
