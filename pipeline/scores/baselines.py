"""What a network must beat: the training mean, ridge on lagged inputs, and a Poisson regression on the same.

Spikes and saccades are rates per bin; choices and tokens one column per class.

Every baseline is fitted on training time, chooses its one setting on validation time, and sees exactly the inputs that
the network sees, equally late. Shapes: N bins, D inputs x lags, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import Bounds
from neuroloom.pipeline.runs.windowing import Split, Windows

if TYPE_CHECKING:
    from torch import Tensor

Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Design = Callable[[int, int], Matrix]  # bins [first, last) -> (N, D)
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


class Forecaster(Predictor, Protocol):
    """A predictor that can also do without the inputs of each window's last `n_bins` bins."""

    def forecast(self, split: Split, n_bins: int) -> Predicted: ...


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

    def forecast(self, split: Split, n_bins: int) -> Predicted:
        """The same: it needs no inputs."""
        return self.predict(split)


def mean_baseline(data: Windows) -> MeanBaseline:
    """The mean of every target over training time."""
    means: dict[str, dict[str, Matrix]] = {}
    for session, one in data.sessions.items():
        means[session] = {}
        for port in one.ports()[1]:
            total, n = np.zeros(_width(one, port.name)), np.zeros(_width(one, port.name))
            for first, last in _chunks(one.blocks["train"]):
                target, mask = targets_of(one, port.name, first, last)
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
    """A linear map per session and port, from the inputs at the last `n_lags` bins.

    data: what it was fitted on, where it can be fitted again for what lies further ahead.
    """

    name: str
    n_lags: Mapping[str, int]
    maps: Mapping[str, Mapping[str, Linear]]
    data: Windows | None = None

    def predict(self, split: Split) -> Predicted:
        """Every window of the split; lags reach back beyond its start."""
        return {session: self._said(split, session, self.maps[session], 0) for session in split.sessions}

    def forecast(self, split: Split, n_bins: int) -> Predicted:
        """As `predict`, but each of the last `n_bins` bins by a line of its own from the inputs before them."""
        if self.data is None:
            raise ValueError(f"{self.name} makes no forecasts")
        found = self.predict(split)
        for ahead in range(1, n_bins + 1):
            at = split.config.n_bins - n_bins - 1 + ahead
            for session, ports in found.items():
                lags = self.n_lags[session]
                maps = {port: _ridge(self.data.sessions[session], port, lags, ALPHAS, ahead) for port in ports}
                for port, said in self._said(split, session, maps, ahead).items():
                    ports[port][at :: split.config.n_bins] = said[at :: split.config.n_bins]
        return found

    def _said(self, split: Split, session: str, maps: Mapping[str, Linear], ahead: int) -> dict[str, Matrix]:
        found: dict[str, list[Matrix]] = {port: [] for port in maps}
        for start in split.tiles(session):
            first, last = start - ahead, start + split.config.n_bins - ahead
            design = lagged(split.sessions[session], first, last, self.n_lags[session])
            for port, mapped in maps.items():
                found[port].append(mapped(design))
        return {port: np.concatenate(parts) for port, parts in found.items()}


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
    return LinearBaseline(name="ridge", n_lags=lags, maps=maps, data=data)


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


def targets_of(data: SessionData, port: str, first: int, last: int) -> tuple[Matrix, Flags]:
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


def _ridge(data: SessionData, port: str, n_lags: int, alphas: Sequence[float], ahead: int = 0) -> Linear:
    """ahead: the inputs end that many bins before what is predicted."""
    return best_linear(data, port, lambda first, last: lagged(data, first - ahead, last - ahead, n_lags), alphas)[0]


def best_linear(data: SessionData, port: str, design: Design, alphas: Sequence[float]) -> tuple[Linear, float]:
    """Ridge regression from a design to a port, and its loss on validation time.

    The penalty (and for rates the floor) is chosen per channel on validation time. The loss is relative to that of the
    training mean, summed over channels: it can be compared between designs, not between ports.
    """
    moments = _moments(data, port, design)
    values, vectors = np.linalg.eigh(moments.xx)
    rotated = vectors.T @ moments.xy
    is_rates = data.features[port].port.is_rates
    floors = [f * np.maximum(moments.mean_y, 1e-6) for f in FLOORS] if is_rates else [None]
    candidates = []
    for alpha in alphas:
        slope = vectors @ (rotated / (np.maximum(values, 0) + alpha)[:, None])
        weights = np.vstack([slope, moments.mean_y - moments.mean_x @ slope])
        candidates += [Linear(weights=weights, floor=floor) for floor in floors]
    flat = Linear(weights=np.vstack([np.zeros_like(moments.xy), moments.mean_y]), floor=floors[0])
    return _best(candidates, data, port, design, flat)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Moments:
    xx: Matrix
    xy: Matrix
    mean_x: Matrix
    mean_y: Matrix


def _moments(data: SessionData, port: str, design: Design) -> _Moments:
    """Centred second moments over training bins in which every channel that is ever known is known."""
    ever = np.any([targets_of(data, port, *chunk)[1].any(axis=0) for chunk in _chunks(data.blocks["train"])], axis=0)
    xx: Matrix | float = 0.0
    xy: Matrix | float = 0.0
    sum_x: Matrix | float = 0.0
    sum_y: Matrix | float = 0.0
    n = 0
    for first, last in _chunks(data.blocks["train"]):
        target, mask = targets_of(data, port, first, last)
        rows = mask[:, ever].all(axis=1) & bool(ever.any())
        x, y = design(first, last)[rows], np.where(ever, target, 0)[rows]
        xx, xy = xx + x.T @ x, xy + x.T @ y
        sum_x, sum_y, n = sum_x + x.sum(axis=0), sum_y + y.sum(axis=0), n + len(x)
    mean_x, mean_y = np.asarray(sum_x) / max(n, 1), np.asarray(sum_y) / max(n, 1)
    return _Moments(
        xx=np.asarray(xx) - n * np.outer(mean_x, mean_x),
        xy=np.asarray(xy) - n * np.outer(mean_x, mean_y),
        mean_x=mean_x,
        mean_y=mean_y,
    )


def _best(
    candidates: Sequence[Linear], data: SessionData, port: str, design: Design, flat: Linear
) -> tuple[Linear, float]:
    """Channel by channel the candidate with the least validation loss: Poisson for spikes, squares for the rest."""
    losses = np.zeros((len(candidates) + 1, _width(data, port)))
    for first, last in _chunks(data.blocks["validation"]):
        inputs = design(first, last)
        target, mask = targets_of(data, port, first, last)
        for i, candidate in enumerate((*candidates, flat)):
            losses[i] += _loss(candidate(inputs), target, mask, poisson=data.features[port].port.is_rates)
    losses, of_mean = losses[:-1], losses[-1]
    if data.features[port].port.is_classes:  # classes compete: they need one penalty
        losses[:] = losses.sum(axis=1, keepdims=True)
        of_mean = np.full_like(of_mean, of_mean.sum())
    best, columns = losses.argmin(axis=0), np.arange(losses.shape[1])
    floors = [candidate.floor for candidate in candidates]
    found = Linear(
        weights=np.stack([candidate.weights for candidate in candidates])[best, :, columns].T,
        floor=None if floors[0] is None else np.stack([f for f in floors if f is not None])[best, columns],
        log_rate=candidates[0].log_rate,
    )
    return found, float(((losses[best, columns] - of_mean) / np.maximum(np.abs(of_mean), 1e-9)).sum())


def _loss(predicted: Matrix, target: Matrix, mask: Flags, *, poisson: bool) -> Matrix:
    """Summed over bins, (C,)."""
    if poisson:
        rate = np.maximum(predicted, 1e-9)
        return np.asarray(np.where(mask, rate - target * np.log(rate), 0).sum(axis=0))
    return np.asarray(np.where(mask, (predicted - target) ** 2, 0).sum(axis=0))


def _glm(data: SessionData, port: str, n_lags: int, alphas: Sequence[float]) -> Linear:
    import torch

    rows = [(lagged(data, *chunk, n_lags), *targets_of(data, port, *chunk)) for chunk in _chunks(data.blocks["train"])]
    x, y, known = (torch.from_numpy(np.concatenate(parts).astype(np.float32)) for parts in zip(*rows, strict=True))
    start = torch.log(((y * known).sum(0) / known.sum(0).clamp_min(1)).clamp_min(1e-4))
    weights = torch.cat([torch.zeros(x.shape[1], y.shape[1]), start[None]])
    candidates = []
    for alpha in sorted(alphas, reverse=True):  # from stiff to loose, each started at the one before
        weights = _poisson_fit(x, y, known, weights, alpha)
        candidates.append(Linear(weights=weights.double().numpy(), log_rate=True))
    flat = replace(candidates[0], weights=np.vstack([np.zeros((x.shape[1], y.shape[1])), start.double().numpy()[None]]))
    return _best(candidates, data, port, lambda first, last: lagged(data, first, last, n_lags), flat)[0]


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
