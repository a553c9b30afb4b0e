"""From what electrodes recorded to what was going on: linear and small non-linear classifiers of steps.

All are fitted on training rows and chosen on validation rows. A decoder that is asked about rows it was fitted on would
only repeat what it learned: `cross_fitted` never asks it so.
Shapes: R rows (steps), F features, C classes; N sequences, T steps, K channels, W steps of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
UNKNOWN = -1  # a class that is not known: not fitted to
FOLDS = 5
FILLED = 1e-6  # of the largest variance: less is no component
ROW_LENGTH = 3.0  # of each kind of features: a network of random weights begins well with it
Rows = tuple[Tensor, Tensor]  # features (R, F), classes (R,)
Classifier = Callable[[Tensor], Tensor]  # features (R, F) -> log-probabilities (R, C)


def windowed(e_NTK: Tensor, window: int) -> Tensor:
    """The last `window` steps side by side, newest first, zeros before a sequence begins: (N, T, W K)."""
    padded = nn.functional.pad(e_NTK, (0, 0, window - 1, 0))
    steps = e_NTK.shape[1]
    return torch.cat([padded[:, window - 1 - back : window - 1 - back + steps] for back in range(window)], dim=-1)


@dataclass(frozen=True, kw_only=True)
class Scaler:
    """Mean and deviation per feature of the rows it was made of; a flat feature stays flat; NaN becomes 0."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Scaler:
        """rows: (..., F); NaN where nothing is known."""
        flat = rows.reshape(-1, rows.shape[-1]).double()
        known = ~flat.isnan()
        n = known.sum(dim=0).clamp_min(1)
        mean = torch.where(known, flat, 0.0).sum(dim=0) / n
        std = (torch.where(known, flat - mean, 0.0).square().sum(dim=0) / n).sqrt()
        return cls(mean=mean.float(), std=torch.where(std > 1e-9, std, torch.inf).float())

    def __call__(self, rows: Tensor, *, keep_unknown: bool = False) -> Tensor:
        scaled = (rows - self.mean) / self.std
        return scaled if keep_unknown else torch.nan_to_num(scaled, nan=0.0)


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of the rows it was made of, each divided by its deviation to the power `flatness`.

    0: a rotation alone, no distance changes; 1: all have unit variance (whitening). Components that the rows do not
    fill become 0. A row of which anything is unknown becomes unknown.
    """

    turned_FF: Tensor

    @classmethod
    def of(cls, rows: Tensor, flatness: float) -> Components:
        """rows: (..., F) about their mean; rows with NaN are left out."""
        flat = rows.reshape(-1, rows.shape[-1]).double()
        known = flat[~flat.isnan().any(dim=1)]
        variance, turned = torch.linalg.eigh(known.T @ known / max(1, len(known)))
        filled = variance > FILLED * variance[-1]
        scale = torch.where(filled, variance.clamp_min(1e-30) ** (-flatness / 2), 0.0)
        return cls(turned_FF=(turned * scale).float())

    @classmethod
    def above_noise(cls, rows: Tensor) -> Components:
        """Each times the share of its variance that is above the noise, a Wiener filter over channels.

        Noise is taken for the same everywhere: the mean variance of the least tenth of the components.
        """
        found = cls.of(rows, 0.0)
        variance = found(torch.nan_to_num(rows)).square().flatten(0, -2).mean(dim=0)
        noise = variance.sort().values[: max(1, len(variance) // 10)].mean()
        return cls(turned_FF=found.turned_FF * (1 - noise / variance.clamp_min(1e-30)).clamp_min(0))

    def __call__(self, rows: Tensor) -> Tensor:
        return rows @ self.turned_FF


def linear(x_RF: Tensor, y_R: Tensor, n_classes: int, penalty: float, iterations: int = 60) -> Classifier:
    """Multinomial logistic regression by L-BFGS. penalty: of squared weights, over a mean loss."""
    weight = torch.zeros(x_RF.shape[1], n_classes, device=x_RF.device, requires_grad=True)
    bias = torch.zeros(n_classes, device=x_RF.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (
            nn.functional.cross_entropy(x_RF @ weight + bias, y_R, ignore_index=UNKNOWN)
            + penalty * weight.square().sum()
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    fitted, constant = weight.detach(), bias.detach()
    return lambda rows: (rows @ fitted + constant).log_softmax(dim=-1)


def best_linear(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], n_classes: int
) -> tuple[Classifier, float]:
    """The penalty that does best on validation rows, and its classifier."""
    found = [(linear(*train, n_classes, penalty), penalty) for penalty in PENALTIES]
    return min(found, key=lambda each: nats(each[0], *validation))


class Best:
    """A network's weights where it did best; `patience` looks in a row that were no better, and it is past that."""

    def __init__(self, network: nn.Module, patience: int) -> None:
        self.network, self.patience = network, patience
        self.nats, self.stale = float("inf"), 0
        self.weights = self._copied()

    def is_past(self, nats: float) -> bool:
        """Told how it does now: whether to stop."""
        if nats < self.nats:
            self.nats, self.stale, self.weights = nats, 0, self._copied()
            return False
        self.stale += 1
        return self.stale >= self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        self.network.load_state_dict(self.weights)

    def _copied(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}


def mlp(
    train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], n_classes: int, *, units: int = 128, seed: int = 0,
    epochs: int = 30, patience: int = 4,
) -> Classifier:  # fmt: skip
    """One hidden layer, AdamW, kept where it does best on validation rows."""
    x, y = train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], units), nn.GELU(), nn.Dropout(0.2), nn.Linear(units, n_classes), nn.LogSoftmax(dim=-1)
        ).to(x.device)
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
        best = Best(network, patience)
        for _ in range(epochs):
            network.train()
            for rows in torch.split(torch.randperm(len(x)), 256):
                loss = nn.functional.nll_loss(network(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            network.eval()
            if best.is_past(nats(network, *validation)):
                break
    best.restore()
    network.eval()
    return lambda rows: network(rows).detach()


@torch.no_grad()
def nats(classifier: Classifier, x_RF: Tensor, y_R: Tensor) -> float:
    """Mean cross-entropy."""
    return float(-classifier(x_RF).gather(-1, y_R[:, None]).mean())


def side_by_side(parts_NTF: Sequence[Tensor], train: Tensor) -> Tensor:
    """Features of several kinds, each scaled so that its rows of the training sequences are of one length (rms)."""
    known = [torch.nan_to_num(part) for part in parts_NTF]
    lengths = [part[train].square().sum(dim=-1).mean().sqrt().clamp_min(1e-9) for part in known]
    return torch.cat([part * (ROW_LENGTH / length) for part, length in zip(known, lengths, strict=True)], dim=-1)


def cross_fitted(x_NTF: Tensor, y_NT: Tensor, fit: Callable[[Rows], Classifier]) -> Tensor:
    """Log-probabilities (N, T, C) of every sequence, by a decoder fitted on the other blocks of sequences.

    fit: to rows whose class is known. Raises ValueError for a single sequence: there is no other.
    """
    if len(x_NTF) < 2:
        raise ValueError("one sequence cannot be decoded by what was fitted on the others; two at least are wanted")
    folds = torch.tensor_split(torch.arange(len(x_NTF)), min(FOLDS, len(x_NTF)))
    return torch.cat([_without(fold, folds, x_NTF, y_NT, fit) for fold in folds])


def known_rows(x_NTF: Tensor, y_NT: Tensor) -> Rows:
    """Steps of sequences one under the other, without those whose class is not known."""
    known = y_NT != UNKNOWN
    return x_NTF[known], y_NT[known]


def _without(
    fold: Tensor, folds: Sequence[Tensor], x_NTF: Tensor, y_NT: Tensor, fit: Callable[[Rows], Classifier]
) -> Tensor:
    others = torch.cat([other for other in folds if other is not fold])
    decoder = fit(known_rows(x_NTF[others], y_NT[others]))
    return decoder(x_NTF[fold].flatten(0, 1)).view(*y_NT[fold].shape, -1)
