"""A transformer block over a causal window: each bin attends to the drive of the last `window_bins`, then leaks.

    drive -> norm -> attention over the window, its own bin included -> + -> norm -> two layers -> + -> tanh = target
    s' = s + alpha (target - s), alpha = 1 - exp(-bin / tau) learned per unit

As in Vaswani et al. (2017) with norms before (Xiong et al. 2020); how far back a key lies enters as a learned bias per
head and lag that starts falling linearly (Press et al. 2022). Keys and values of the last `window_bins` - 1 bins are
remembered, so memory and time per bin are bounded, and bin by bin gives the same numbers as many bins at once.

Design rationale: the leak at the end gives this kind what every other has, a time constant that a topology can set and
a prior can hold. Units do not hear their own states of the past, only the drive: that is what lets bins run at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._scan import linear_scan
from ._start import MIN_TAU_BINS, Start, gaussian

MOST_HEADS = 4
WIDER = 2  # the hidden layer over the state
EPSILON = 1e-6
Memory = tuple[Tensor, ...]


class Module(nn.Module):
    """See the head of `modules/__init__.py`. The state lies in (-1, 1).

    window_bins: how many bins are seen, the present one included.
    """

    fixed_log_tau: Tensor
    fixed: Tensor
    weight: Tensor

    def __init__(self, start: Start, *, window_bins: int = 16) -> None:
        super().__init__()
        start.refuse_dale("transformer")
        n_modules, size, generator = start.n_modules, start.size, start.generator
        if window_bins < 1:
            raise ValueError(f"window_bins is {window_bins}; the present bin at least, 1, is needed")
        self.window_bins = window_bins
        self.n_heads = next(n for n in range(MOST_HEADS, 0, -1) if size % n == 0)
        self.register_buffer("weight", torch.zeros(n_modules, size, size), persistent=False)
        self.asking = nn.Parameter(gaussian((n_modules, size, 3 * size), size**-0.5, generator))
        self.answering = nn.Parameter(gaussian((n_modules, size, size), 0.5 * size**-0.5, generator))
        self.up = nn.Parameter(gaussian((n_modules, size, WIDER * size), size**-0.5, generator))
        self.down = nn.Parameter(gaussian((n_modules, WIDER * size, size), 0.5 * (WIDER * size) ** -0.5, generator))
        self.up_bias = nn.Parameter(torch.zeros(n_modules, 1, WIDER * size))
        self.norms = nn.Parameter(torch.ones(2, n_modules, 1, size))
        slopes = 2.0 ** -torch.arange(1, self.n_heads + 1)
        self.lag_bias = nn.Parameter((-slopes[:, None] * torch.arange(window_bins)).repeat(n_modules, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_modules, 1, size))
        log_tau = start.tau_bins.clamp_min(MIN_TAU_BINS).log()[:, None, None]
        self.log_tau = nn.Parameter(log_tau.expand(-1, 1, size).clone())
        self.register_buffer("fixed_log_tau", log_tau.clone())
        self.register_buffer("fixed", start.fixed_tau[:, None, None])

    def constants(self) -> tuple[Tensor, ...]:
        """What does not change within a run: no recurrent weights, and alpha (N, 1, 1, H)."""
        return self.weight, -torch.expm1(-1 / self.tau_bins())[:, None, None]

    def tau_bins(self) -> Tensor:
        """The time constant of the leak, bins, (N, H)."""
        return torch.where(self.fixed, self.fixed_log_tau, self.log_tau).exp().clamp_min(MIN_TAU_BINS)[:, 0]

    def forward(self, state_NBH: Tensor, drive_NBH: Tensor, constants: tuple[Tensor, ...]) -> Tensor:
        """The state one bin later, (N, B, H), where no bin before is remembered."""
        return self.run(state_NBH, drive_NBH[:, None], constants)[0][:, 0]

    def run(
        self, state_NBH: Tensor, drive_NDBH: Tensor, constants: tuple[Tensor, ...], memory: Memory | None = None
    ) -> tuple[Tensor, Memory]:
        """The states of D bins, (N, D, B, H), and the keys and values of the last bins, (N, B, heads, M, size)."""
        n_modules, n_bins, n_batch, size = drive_NDBH.shape
        flat = drive_NDBH.flatten(1, 2)
        asked = torch.bmm(_normed(flat, self.norms[0]), self.asking).view(n_modules, n_bins, n_batch, 3, -1)
        query, key, value = (
            part.view(*part.shape[:3], self.n_heads, -1).permute(0, 2, 3, 1, 4) for part in asked.unbind(3)
        )  # (N, B, heads, D, size of a head)
        if memory is not None:
            key, value = torch.cat([memory[0], key], dim=3), torch.cat([memory[1], value], dim=3)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=self._lags(n_bins, key.shape[3]))
        seen = seen.permute(0, 3, 1, 2, 4).reshape(n_modules, n_bins * n_batch, size)
        hidden = flat + torch.bmm(seen, self.answering)
        wide = functional.gelu(torch.baddbmm(self.up_bias, _normed(hidden, self.norms[1]), self.up))
        target = torch.tanh(torch.baddbmm(hidden, wide, self.down)).view_as(drive_NDBH)
        alpha = constants[1].expand_as(target)
        first = max(0, key.shape[3] - (self.window_bins - 1))
        return linear_scan(1 - alpha, alpha * target, state_NBH), (key[:, :, :, first:], value[:, :, :, first:])

    def _lags(self, n_bins: int, n_keys: int) -> Tensor:
        """The bias of every key for every bin, (N, 1, heads, D, keys): -inf ahead and before the window."""
        bins = torch.arange(n_keys, device=self.lag_bias.device)
        lag = bins[n_keys - n_bins :, None] - bins
        bias = self.lag_bias[:, :, lag.clamp(0, self.window_bins - 1)]
        return bias.masked_fill((lag < 0) | (lag >= self.window_bins), float("-inf"))[:, None]


def _normed(value: Tensor, scale: Tensor) -> Tensor:
    """Root mean square over units of 1, times a learned scale."""
    return value * torch.rsqrt(value.square().mean(dim=-1, keepdim=True) + EPSILON) * scale
