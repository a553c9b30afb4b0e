"""How does one clock run against another? Offset, straight line or broken line, chosen by what they predict.

    fit_clock(source_s, lag_s) -> ClockFit

    lag = target - source, at matched moments
      -> blocks of neighbouring moments, each held out in turn, predicted by every model from the others
      -> the simplest model that the richer ones do not clearly beat

Design rationale: blocks, not every second moment, are held out, since errors of neighbours are alike (a device that
stamps whole packets), and a model that follows them would look good. Two quartz clocks always differ a little in rate,
so the line needs a lesser margin than a bend, which is rare. Robust fits (Huber 1964, Ann Math Stat 35:73): one wrong
match in twenty must not tilt a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.clock_map import FloatArray, Knots, broken_line

FOLDS = 5
BLOCK = 10  # moments held out together, fewer where there are few
LINE_MARGIN, BEND_MARGIN = 1.0, 3.0  # standard errors by which a richer model must predict better
LEAST_GAIN = 0.02  # and the share of the error it must take away
PIECES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
MOMENTS_PER_PIECE, LEAST_PIECE_S = 20, 20.0  # quartz follows temperature, which takes minutes
MOST_MOMENTS = 20_000  # more tell no more
ALWAYS_TRIED, CLEARLY_WORSE = 6, 1.1  # pieces
ROBUST_ROUNDS = 5
HUBER = 1.345  # of a standard deviation: 95 % as efficient as least squares on Gaussian errors
LEAST_WANDER_PPM = 1.0  # what a few degrees do to a quartz


@dataclass(frozen=True, kw_only=True)
class ClockFit:
    """target = source + offset_s + drift_ppm * 1e-6 * (source - anchor_s) + broken line through `knots`.

    wander_ppm: how far the rate may be off where nothing tells. tried: model and its held-out error in ms (mean of
    absolute values), in the order compared.
    """

    offset_s: float
    drift_ppm: float
    anchor_s: float
    knots: Knots
    wander_ppm: float
    tried: tuple[tuple[str, float], ...]

    def lag(self, source_s: FloatArray) -> FloatArray:
        """target - source at these source times, seconds, same shape."""
        line_s = self.offset_s + self.drift_ppm * 1e-6 * (source_s - self.anchor_s)
        return line_s + broken_line(source_s, self.knots) if self.knots else line_s


def fit_clock(source_s: FloatArray, lag_s: FloatArray, *, most_pieces: int = PIECES[-1]) -> ClockFit:
    """The drift model of matched moments, both shape (P,), P at least 2, source times increasing."""
    kept = np.unique(np.linspace(0, source_s.size - 1, min(source_s.size, MOST_MOMENTS)).round().astype(int))
    middle_s = float(np.median(lag_s))  # lags may be hours, their differences microseconds
    x, y = source_s[kept], lag_s[kept] - middle_s
    errors = _held_out_errors(x, y, most_pieces)
    n_pieces = _chosen(errors)
    values = _fitted(_Line.of(x, min(n_pieces, 1)), y)
    span_s, anchor_s = float(x[-1] - x[0]), float(x.mean())
    drift = float(values[1] - values[0]) / span_s if n_pieces else 0.0
    offset_s = float(values[0]) + drift * (anchor_s - float(x[0]))
    knots: Knots = ()
    if n_pieces > 1:
        bent = _Line.of(x, n_pieces)
        extra_s = _fitted(bent, y) - offset_s - drift * (bent.knots_s - anchor_s)
        knots = tuple(zip(bent.knots_s.tolist(), extra_s.tolist(), strict=True))
    return ClockFit(
        offset_s=offset_s + middle_s,
        drift_ppm=drift * 1e6,
        anchor_s=anchor_s,
        knots=knots,
        wander_ppm=_wander_ppm(x, y, max(n_pieces, 1)),
        tried=tuple((_name(n), float(error.mean() * 1e3)) for n, error in errors.items()),
    )


def _name(n_pieces: int) -> str:
    return ("offset", "linear")[n_pieces] if n_pieces < 2 else f"piecewise, {n_pieces} pieces"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Line:
    """A broken line with evenly spaced knots, at P moments: offset with one knot, straight with two.

    piece, share, shape (P,): a moment lies that share of the way from knot `piece` to the next.
    """

    knots_s: FloatArray
    piece: NDArray[np.intp]
    share: FloatArray

    @classmethod
    def of(cls, x: FloatArray, n_pieces: int) -> _Line:
        """With its knots from the first moment to the last."""
        if not n_pieces:
            return cls(knots_s=x[:1], piece=np.zeros(x.size, dtype=np.intp), share=np.zeros(x.size))
        knots_s = np.linspace(x[0], x[-1], n_pieces + 1)
        piece = np.clip(np.searchsorted(knots_s, x, side="right") - 1, 0, n_pieces - 1)
        return cls(knots_s=knots_s, piece=piece, share=(x - knots_s[piece]) / np.diff(knots_s)[piece])

    def at(self, rows: NDArray[np.bool_]) -> _Line:
        """The same line at some of its moments."""
        return _Line(knots_s=self.knots_s, piece=self.piece[rows], share=self.share[rows])

    def predicted(self, values: FloatArray) -> FloatArray:
        """The line through these values at its knots, shape (P,)."""
        after = np.minimum(self.piece + 1, values.size - 1)
        return values[self.piece] * (1 - self.share) + values[after] * self.share


def _fitted(line: _Line, y: FloatArray) -> FloatArray:
    """Values at the knots, robustly; a knot nothing speaks for lies on the line through its neighbours."""
    n = line.knots_s.size
    after = np.minimum(line.piece + 1, n - 1)
    bends = np.diff(np.eye(n), n=2, axis=0)
    stiff = 1e-6 * y.size * bends.T @ bends + 1e-12 * y.size * np.eye(n)
    weights = np.ones_like(y)
    found = np.zeros(n)
    for _ in range(ROBUST_ROUNDS):
        near, far = weights * (1 - line.share), weights * line.share
        normal = stiff.copy()
        normal[np.arange(n), np.arange(n)] += np.bincount(line.piece, near * (1 - line.share), n)
        normal[np.arange(n), np.arange(n)] += np.bincount(after, far * line.share, n)
        across = np.bincount(line.piece, near * line.share, n)[:-1]
        normal[np.arange(n - 1), np.arange(1, n)] += across
        normal[np.arange(1, n), np.arange(n - 1)] += across
        right = np.bincount(line.piece, near * y, n) + np.bincount(after, far * y, n)
        found = np.linalg.solve(normal, right)
        away = np.abs(y - line.predicted(found))
        scale = max(1.4826 * float(np.median(away)), 1e-9)
        weights = np.minimum(1.0, HUBER * scale / np.maximum(away, 1e-15))
    return found


def _held_out_errors(x: FloatArray, y: FloatArray, most_pieces: int) -> dict[int, FloatArray]:
    """Number of pieces -> error of each block; more pieces are tried until they predict clearly worse."""
    errors = {0: _held_out(_Line.of(x, 0), y)}
    if x.size < 3:
        return errors
    errors[1] = _held_out(_Line.of(x, 1), y)
    most = min(most_pieces, x.size // MOMENTS_PER_PIECE, int((x[-1] - x[0]) / LEAST_PIECE_S))
    for n_pieces in (n for n in PIECES if n <= most):
        errors[n_pieces] = _held_out(_Line.of(x, n_pieces), y)
        best = min(float(error.mean()) for error in errors.values())
        if n_pieces > ALWAYS_TRIED and errors[n_pieces].mean() > CLEARLY_WORSE * best:
            break
    return errors


def _held_out(line: _Line, y: FloatArray) -> FloatArray:
    """Mean absolute error of each block when it is predicted from the other folds, shape (blocks,)."""
    size = int(np.clip(y.size // (2 * FOLDS), 1, BLOCK))
    block = np.arange(y.size) // size
    errors = np.zeros_like(y)
    for fold in range(FOLDS):
        out = block % FOLDS == fold
        if out.any() and not out.all():
            errors[out] = np.abs(y[out] - line.at(out).predicted(_fitted(line.at(~out), y[~out])))
    return np.asarray(np.bincount(block, errors) / np.bincount(block))


def _chosen(errors: dict[int, FloatArray]) -> int:
    """How many pieces: none for an offset, one for a straight line."""
    simple = 1 if 1 in errors and _beats(errors[1], errors[0], LINE_MARGIN) else 0
    bent = [n for n in errors if n > 1]
    best = min(bent, key=lambda n: float(errors[n].mean()), default=simple)
    if best == simple or not all(_beats(errors[best], errors[n], BEND_MARGIN) for n in (0, 1)):
        return simple
    return next(n for n in bent if not _beats(errors[best], errors[n], 0.5, least_gain=LEAST_GAIN / 4))


def _beats(rich: FloatArray, simple: FloatArray, margin: float, least_gain: float = LEAST_GAIN) -> bool:
    gain = simple - rich
    error = float(gain.std(ddof=1) / np.sqrt(gain.size)) if gain.size > 1 else np.inf
    return bool(gain.mean() > margin * error and gain.mean() > least_gain * simple.mean())


def _wander_ppm(x: FloatArray, y: FloatArray, n_pieces: int) -> float:
    """How much the rate varies from piece to piece, how badly its mean is known, and what any quartz may do."""
    span_s = float(x[-1] - x[0])
    if not span_s:
        return LEAST_WANDER_PPM
    line = _Line.of(x, n_pieces)
    values = _fitted(line, y)
    slopes = np.diff(values) / np.diff(line.knots_s)
    level_s = float(np.sqrt(np.mean((y - line.predicted(values)) ** 2)))
    slope_error = level_s * np.sqrt(12 / x.size) / span_s
    return float(np.sqrt(np.var(slopes) + slope_error**2) * 1e6 + LEAST_WANDER_PPM)


def evidence_of(times_s: FloatArray, residuals_ms: FloatArray, most: int = 400) -> tuple[tuple[float, float], ...]:
    """Evenly spread pairs, the worst residual among them, rounded to what they mean: 1 µs and 0.1 µs."""
    spread: NDArray[np.int64] = np.linspace(0, times_s.size - 1, min(times_s.size, most)).round().astype(np.int64)
    kept = np.unique([*spread, int(np.abs(residuals_ms).argmax())])
    return tuple((round(float(times_s[k]), 6), round(float(residuals_ms[k]), 4)) for k in kept)
