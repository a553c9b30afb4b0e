"""What a network must beat: the training mean, ridge on lagged inputs, and a Poisson regression on the same.

Spikes and saccades are rates per bin; choices and tokens one column per class.

Every baseline is fitted on training time, chooses its one setting on validation time, and sees exactly the inputs that
the network sees, equally late. Shapes: N bins, D inputs x lags, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.windowing import Bounds, SessionData, Split, Windows

if TYPE_CHECKING:
    from torch import Tensor

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Predicted = dict[str, dict[str, Matrix]]  # session -> port -> (N, C); choices (N, K); N runs over the split's windows

N_LAGS = 12
MOST_COLUMNS = 3000
CHUNK_BINS = 2000
ALPHAS = tuple(float(a) for a in np.geomspace(1e-1, 1e5, 13))
FLOORS = (0.02, 0.1, 0.3)  # of the mean rate: a line may predict rates below 0, a spike there would cost infinitely


class Predictor(Protocol):
    """Anything that can be scored: one prediction per bin of a split's windows, in their order."""

    @property
    def name(self) -> str: ...

    def predict(self, split: Split) -> Predicted: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanBaseline:
    """The mean over training time; for a choice how often each class was chosen there."""

    means: Mapping[str, Mapping[str, Matrix]]
    name: str = "mean"

    def predict(self, split: Split) -> Predicted:
        """The same numbers for every bin."""
        length = split.config.n_bins
        return {
            session: {
                port: np.broadcast_to(mean, (length * len(split.tiles(session)), mean.size)).copy()
                for port, mean in self.means[session].items()
            }
            for session in split.sessions
        }


def mean_baseline(data: Windows) -> MeanBaseline:
    """The mean of every target over training time."""
    means: dict[str, dict[str, Matrix]] = {}
    for session, one in data.sessions.items():
        means[session] = {}
        for port in one.ports()[1]:
            total, n = np.zeros(_width(one, port.name)), np.zeros(_width(one, port.name))
            for first, last in _chunks(one.blocks["train"]):
                target, mask = _targets(one, port.name, first, last)
                total += np.where(mask, target, 0).sum(axis=0)
                n += mask.sum(axis=0)
            means[session][port.name] = total / np.maximum(n, 1)
    return MeanBaseline(means=means)


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """Weights (D + 1, C) from lagged inputs to one port, the last row being the offset; rates not below `floor`."""

    weights: Matrix
    floor: Matrix | None = None
    log_rate: bool = False

    def __call__(self, design: Matrix) -> Matrix:
        """(N, C) of a design (N, D)."""
        out: Matrix = design @ self.weights[:-1] + self.weights[-1]
        if self.log_rate:
            return np.asarray(np.exp(np.minimum(out, 5.0)))
        return out if self.floor is None else np.maximum(out, self.floor)


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearBaseline:
    """A linear map per session and port, from the inputs at the last `n_lags` bins."""

    name: str
    n_lags: Mapping[str, int]
    maps: Mapping[str, Mapping[str, Linear]]

    def predict(self, split: Split) -> Predicted:
        """Every window of the split; lags reach back beyond its start."""
        return {
            session: {port: np.concatenate(parts) for port, parts in self._windows(split, session).items()}
            for session in split.sessions
        }

    def _windows(self, split: Split, session: str) -> dict[str, list[Matrix]]:
        found: dict[str, list[Matrix]] = {port: [] for port in self.maps[session]}
        for start in split.tiles(session):
            design = lagged(split.sessions[session], start, start + split.config.n_bins, self.n_lags[session])
            for port, mapped in self.maps[session].items():
                found[port].append(mapped(design))
        return found


def lagged(data: SessionData, first: int, last: int, n_lags: int) -> Matrix:
    """Inputs at bins `[first, last)` and the `n_lags - 1` before each, (N, D); unknown ones are 0, the mean."""
    values = [data.inputs_at(name, first - n_lags + 1, last, scaled=True)[0] for name in data.input_names]
    together = np.concatenate(values, axis=1).astype(np.float64)
    return np.concatenate([together[n_lags - 1 - lag : len(together) - lag] for lag in range(n_lags)], axis=1)


def ridge_baseline(data: Windows, *, n_lags: int = N_LAGS, alphas: Sequence[float] = ALPHAS) -> LinearBaseline:
    """Ridge regression on lagged inputs (a Wiener filter), its penalty chosen per channel on validation time."""
    lags = {session: _affordable(one, n_lags) for session, one in data.sessions.items()}
    maps = {
        session: {port: _ridge(one, port, lags[session], alphas) for port in one.target_names}
        for session, one in data.sessions.items()
    }
    return LinearBaseline(name="ridge", n_lags=lags, maps=maps)


def glm_baseline(
    data: Windows, *, n_lags: int = N_LAGS, alphas: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
) -> LinearBaseline:
    """Poisson regression of spikes on lagged inputs, exponential link, penalty chosen per channel likewise."""
    lags = {session: _affordable(one, n_lags) for session, one in data.sessions.items()}
    maps = {
        session: {port.name: _glm(one, port.name, lags[session], alphas) for port in one.ports()[1] if port.is_rates}
        for session, one in data.sessions.items()
    }
    return LinearBaseline(name="Poisson GLM", n_lags=lags, maps=maps)


def _affordable(data: SessionData, n_lags: int) -> int:
    n_inputs = sum(data.features[name].port.n_channels for name in data.input_names)
    return max(1, min(n_lags, MOST_COLUMNS // n_inputs))


def _width(data: SessionData, port: str) -> int:
    made = data.features[port].port
    return made.n_classes if made.is_classes else made.n_channels


def _targets(data: SessionData, port: str, first: int, last: int) -> tuple[Matrix, Flags]:
    """Targets and mask, (N, C); a choice as one column per class."""
    target, mask = data.targets_at(port, first, last)
    made = data.features[port].port
    if not made.is_classes:
        return target.astype(np.float64), mask
    return np.eye(made.n_classes)[target[:, 0].astype(np.int64)], np.repeat(mask, made.n_classes, axis=1)


def _chunks(blocks: Sequence[Bounds]) -> Iterator[Bounds]:
    for first, last in blocks:
        for start in range(first, last, CHUNK_BINS):
            yield start, min(start + CHUNK_BINS, last)


def _ridge(data: SessionData, port: str, n_lags: int, alphas: Sequence[float]) -> Linear:
    moments = _moments(data, port, n_lags)
    values, vectors = np.linalg.eigh(moments.xx)
    rotated = vectors.T @ moments.xy
    is_rates = data.features[port].port.is_rates
    floors = [f * np.maximum(moments.mean_y, 1e-6) for f in FLOORS] if is_rates else [None]
    candidates = []
    for alpha in alphas:
        slope = vectors @ (rotated / (np.maximum(values, 0) + alpha)[:, None])
        weights = np.vstack([slope, moments.mean_y - moments.mean_x @ slope])
        candidates += [Linear(weights=weights, floor=floor) for floor in floors]
    return _best(candidates, data, port, n_lags)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    xx: Matrix
    xy: Matrix
    mean_x: Matrix
    mean_y: Matrix


def _moments(data: SessionData, port: str, n_lags: int) -> _Moments:
    """Centred second moments over training bins in which every channel that is ever known is known."""
    ever = np.any([_targets(data, port, *chunk)[1].any(axis=0) for chunk in _chunks(data.blocks["train"])], axis=0)
    xx: Matrix | float = 0.0
    xy: Matrix | float = 0.0
    sum_x: Matrix | float = 0.0
    sum_y: Matrix | float = 0.0
    n = 0
    for first, last in _chunks(data.blocks["train"]):
        target, mask = _targets(data, port, first, last)
        rows = mask[:, ever].all(axis=1) & bool(ever.any())
        x, y = lagged(data, first, last, n_lags)[rows], np.where(ever, target, 0)[rows]
        xx, xy = xx + x.T @ x, xy + x.T @ y
        sum_x, sum_y, n = sum_x + x.sum(axis=0), sum_y + y.sum(axis=0), n + len(x)
    mean_x, mean_y = np.asarray(sum_x) / max(n, 1), np.asarray(sum_y) / max(n, 1)
    return _Moments(
        xx=np.asarray(xx) - n * np.outer(mean_x, mean_x),
        xy=np.asarray(xy) - n * np.outer(mean_x, mean_y),
        mean_x=mean_x,
        mean_y=mean_y,
    )


def _best(candidates: Sequence[Linear], data: SessionData, port: str, n_lags: int) -> Linear:
    """Channel by channel the candidate with the least validation loss: Poisson for spikes, squares for the rest."""
    losses = np.zeros((len(candidates), _width(data, port)))
    for first, last in _chunks(data.blocks["validation"]):
        design = lagged(data, first, last, n_lags)
        target, mask = _targets(data, port, first, last)
        for i, candidate in enumerate(candidates):
            losses[i] += _loss(candidate(design), target, mask, poisson=data.features[port].port.is_rates)
    if data.features[port].port.is_classes:  # classes compete: they need one penalty
        losses[:] = losses.sum(axis=1, keepdims=True)
    best, columns = losses.argmin(axis=0), np.arange(losses.shape[1])
    floors = [candidate.floor for candidate in candidates]
    return Linear(
        weights=np.stack([candidate.weights for candidate in candidates])[best, :, columns].T,
        floor=None if floors[0] is None else np.stack([f for f in floors if f is not None])[best, columns],
        log_rate=candidates[0].log_rate,
    )


def _loss(predicted: Matrix, target: Matrix, mask: Flags, *, poisson: bool) -> Matrix:
    """Summed over bins, (C,)."""
    if poisson:
        rate = np.maximum(predicted, 1e-9)
        return np.asarray(np.where(mask, rate - target * np.log(rate), 0).sum(axis=0))
    return np.asarray(np.where(mask, (predicted - target) ** 2, 0).sum(axis=0))


def _glm(data: SessionData, port: str, n_lags: int, alphas: Sequence[float]) -> Linear:
    import torch

    rows = [(lagged(data, *chunk, n_lags), *_targets(data, port, *chunk)) for chunk in _chunks(data.blocks["train"])]
    x, y, known = (torch.from_numpy(np.concatenate(parts).astype(np.float32)) for parts in zip(*rows, strict=True))
    start = torch.log(((y * known).sum(0) / known.sum(0).clamp_min(1)).clamp_min(1e-4))
    weights = torch.cat([torch.zeros(x.shape[1], y.shape[1]), start[None]])
    candidates = []
    for alpha in sorted(alphas, reverse=True):  # from stiff to loose, each started at the one before
        weights = _poisson_fit(x, y, known, weights, alpha)
        candidates.append(Linear(weights=weights.double().numpy(), log_rate=True))
    return _best(candidates, data, port, n_lags)


def _poisson_fit(x: Tensor, y: Tensor, known: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """Minimise the penalised Poisson loss by L-BFGS; everything a torch tensor, `weights` (D + 1, C)."""
    import torch

    weights = weights.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        log_rate = (x @ weights[:-1] + weights[-1]).clamp(max=5.0)
        loss: Tensor = ((log_rate.exp() - y * log_rate) * known).sum() + 0.5 * alpha * (weights[:-1] ** 2).sum()
        loss = loss / known.sum().clamp_min(1)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weights.detach()
