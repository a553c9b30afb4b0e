"""A baseline after the equations of LFADS (Sussillo et al. 2016; Pandarinath et al. 2018), without inferred inputs.

    counts of held-in units -> bidirectional GRU -> q(g0) = N(mu, sigma) -> generator GRU from g0, no input
    -> factors f = W g -> rates exp(V f + b) of all units;  loss = Poisson nll + beta KL(q || N(0, 1)), beta annealed

Coordinated dropout of the encoder's input (Keshtkaran and Pandarinath 2019). It is written here from the papers, small,
without the controller and without population based training: what a large search over its settings would give, it does
not show.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Matrix = NDArray[np.float64]


class LfadsStyle(nn.Module):
    """n_in: units heard. n_out: units predicted."""

    def __init__(self, n_in: int, n_out: int, *, size: int = 64, n_factors: int = 20, n_start: int = 32) -> None:
        super().__init__()
        self.encoder = nn.GRU(n_in, size, batch_first=True, bidirectional=True)
        self.to_start = nn.Linear(2 * size, 2 * n_start)
        self.from_start = nn.Linear(n_start, 2 * size)
        self.generator = nn.GRU(1, 2 * size, batch_first=True)
        self.factors = nn.Linear(2 * size, n_factors, bias=False)
        self.rates = nn.Linear(n_factors, n_out)

    def forward(self, counts_BTN: Tensor, *, draw: bool) -> tuple[Tensor, Tensor]:
        """Log rates (B, T, C) and the divergence of each trial (B,)."""
        _, last = self.encoder(counts_BTN)
        mean, log_variance = self.to_start(torch.cat([last[0], last[1]], dim=1)).chunk(2, dim=1)
        log_variance = log_variance.clamp(-8, 4)
        noise = torch.randn_like(mean) * torch.exp(0.5 * log_variance) if draw else 0.0
        start = torch.tanh(self.from_start(mean + noise))[None]
        states, _ = self.generator(counts_BTN.new_zeros(*counts_BTN.shape[:2], 1), start.contiguous())
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)
        return self.rates(self.factors(states)).clamp(-10, 3), divergence


def fitted(
    heard: Matrix, counts: Matrix, part: NDArray[np.int64], *, steps: int, seed: int, dropout: float = 0.2
) -> Matrix:
    """Rates (K, T, N) of all trials. heard: (K, T, N held in). part: 0 for training, 1 for validation."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = torch.from_numpy(heard).float(), torch.from_numpy(counts).float()
    model = LfadsStyle(x.shape[2], y.shape[2])
    with torch.no_grad():
        model.rates.bias.copy_(y[part == 0].mean(dim=(0, 1)).clamp_min(1e-4).log())
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    train, best = np.flatnonzero(part == 0), (np.inf, model.state_dict())
    for step in range(steps):
        rows = rng.choice(train, 64)
        kept = (torch.rand_like(x[rows]) > dropout).float() / (1 - dropout)
        log_rate, divergence = model(x[rows] * kept, draw=True)
        beta = min(1.0, 2 * step / steps) * 0.1
        loss = (log_rate.exp() - y[rows] * log_rate).sum(dim=(1, 2)).mean() + beta * divergence.mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 200.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            found = _loss(model, x[part == 1], y[part == 1])
            if found < best[0]:
                best = found, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(best[1])
    with torch.no_grad():
        return np.concatenate([model(part_x, draw=False)[0].exp().double().numpy() for part_x in x.split(128)])


@torch.no_grad()
def _loss(model: LfadsStyle, x: Tensor, y: Tensor) -> float:
    log_rate, _ = model(x, draw=False)
    return float((log_rate.exp() - y * log_rate).mean())
