"""From features of time to rates: a Poisson regression of all units at once, its penalty chosen on validation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]
PENALTIES = (1e-4, 1e-3, 1e-2)


def poisson_head(train: tuple[Matrix, Matrix], validation: tuple[Matrix, Matrix], wanted: Matrix) -> Matrix:
    """Rates (N, C) for `wanted` (N, D). train, validation: features (N, D) and counts (N, C)."""
    mean, std = train[0].mean(axis=0), train[0].std(axis=0) + 1e-9
    x, x_val, x_wanted = (torch.from_numpy((part - mean) / std) for part in (train[0], validation[0], wanted))
    y, y_val = torch.from_numpy(train[1]), torch.from_numpy(validation[1])
    fits = [_fitted(x, y, penalty) for penalty in PENALTIES]
    losses = [float(_loss(x_val @ weight + bias, y_val)) for weight, bias in fits]
    weight, bias = fits[int(np.argmin(losses))]
    return np.asarray((x_wanted @ weight + bias).clamp(max=3).exp().numpy())


def _fitted(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64, requires_grad=True)
    bias = y.mean(dim=0).clamp_min(1e-4).log().clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = _loss(x @ weight + bias, y) + penalty * weight.square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def _loss(log_rate: Tensor, y: Tensor) -> Tensor:
    return (log_rate.exp() - y * log_rate).mean()
