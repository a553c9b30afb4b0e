"""How well numbers tell what exists."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def auroc(values: NDArray[np.float64], exists: NDArray[np.bool_]) -> float:
    """1 where all that exist have greater values than all that do not, 0.5 where numbers tell nothing."""
    n, m = int(exists.sum()), int((~exists).sum())
    return float((rankdata(values)[exists].sum() - n * (n + 1) / 2) / (n * m))
