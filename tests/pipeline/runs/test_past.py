"""Regressions on the past, beside the same with all rows laid out."""

import numpy as np
import pytest

from neuroloom.pipeline.runs import past
from neuroloom.pipeline.runs.past import PARTS, SHARP, SMOOTH, regressions


def blocks() -> list[np.ndarray]:
    """Of several lengths, one too short to have a past."""
    return [np.random.default_rng(n).standard_normal((n, 3)) + 5 for n in (40, 2, 17, 90)]


def rows(n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """By hand: the past of every bin that has one, newest lag first, and the bin."""
    whole = np.concatenate(blocks())
    scaled = [(block - whole.mean(axis=0)) / whole.std(axis=0) for block in blocks()]
    bins = [(block, t) for block in scaled for t in range(n_lags, len(block))]
    return np.array([block[t - n_lags : t][::-1].ravel() for block, t in bins]), np.array([b[t] for b, t in bins])


@pytest.mark.parametrize(
    ("at_once", "n_lags", "n_rows"), [(5, 2, 38 + 15 + 88), (1024, 2, 141), (1024, 10, 30 + 7 + 80)]
)
def test_weights_of_every_part_are_those_of_a_ridge_regression(
    at_once: int, n_lags: int, n_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten lags the past has more, 30, than a part has rows: the smooth penalty grows by the square of that."""
    monkeypatch.setattr(past, "ROWS_AT_ONCE", at_once)
    found, (before, now) = regressions(blocks(), n_lags), rows(n_lags)
    assert len(before) == n_rows
    smooth = SMOOTH * (1 if n_lags == 2 else (30 / (117 / 8)) ** 2)
    assert found.past == pytest.approx(before.T @ before / len(before))
    part = np.arange(len(before)) * PARTS // len(before)
    for k in range(PARTS):
        x, y = before[part == k], now[part == k]
        for weights, penalty in ((found.smooth, smooth), (found.sharp, SHARP)):
            by_hand = np.linalg.solve(x.T @ x + penalty * len(x) * np.eye(3 * n_lags), x.T @ y)
            assert weights[k].reshape(3 * n_lags, 3) == pytest.approx(by_hand, rel=1e-6, abs=1e-9)


def test_a_lag_comes_before_the_source_and_the_source_before_the_target() -> None:
    x = np.random.default_rng(0).standard_normal((4000, 2))
    x[3:, 1] += 2 * x[:-3, 0]  # from the first to the second, after three bins
    weight_LCC = regressions([x], 4).sharp.mean(axis=0)
    assert np.unravel_index(np.abs(weight_LCC).argmax(), weight_LCC.shape) == (2, 0, 1)
