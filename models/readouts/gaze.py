"""Gaze: where the eyes look is a mixture of M Gaussian places per bin (mixture density network, Bishop 1994).

Design rationale: before a saccade the eyes are at one target or at the other, never between; a single Gaussian puts
its mean exactly there. All channels of the port (x and y) share the mixture, so they are jointly one target.
The nll of a bin is shared evenly among the channels seen, so that it stays "per element".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import LOG_2PI, LOG_VARIANCE_RANGE, FromAreas, Site, masked, seen

N_PLACES = 4


class Readout(nn.Module):
    """Parameters per channel: M means, then M log variances, then M log weights (the same for every channel)."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.linear = FromAreas(site, n_parameters=3 * N_PLACES, everywhere=True)
        with torch.no_grad():
            self.linear.bias[:, :N_PLACES] += (
                torch.randn(site.port.n_channels, N_PLACES, generator=site.generator) * 0.5
            )

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Means, log variances and log weights, (B, T, C, 3 M)."""
        means, log_variances, logits = self.linear(state_BTAH).chunk(3, dim=3)
        log_weights = torch.log_softmax(logits.mean(dim=2, keepdim=True), dim=3).expand_as(means)
        return torch.cat([means, log_variances.clamp(*LOG_VARIANCE_RANGE), log_weights], dim=3)

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per element, (B, T, C): each bin's nll in equal parts over the channels seen in it."""
        means, log_variances, log_weights = parameters_BTCP.chunk(3, dim=3)
        mask = torch.ones_like(target_BTC, dtype=torch.bool) if mask_BTC is None else mask_BTC.expand_as(target_BTC)
        error = seen(target_BTC, mask)[..., None] - means
        each = -0.5 * (error.square() * torch.exp(-log_variances) + log_variances + LOG_2PI)
        joint_BTM = torch.where(mask[..., None], each, 0.0).sum(dim=2) + log_weights[..., 0, :]
        share_BT1 = -torch.logsumexp(joint_BTM, dim=2, keepdim=True) / mask.sum(dim=2, keepdim=True).clamp_min(1)
        return masked(share_BT1.expand_as(target_BTC), mask)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """The expected position, (B, T, C)."""
        means, _, log_weights = parameters_BTCP.chunk(3, dim=3)
        return (means * log_weights.exp()).sum(dim=3)

    def cdf(self, parameters_BTCP: Tensor, target_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """How likely a value up to the target was, and the variance, both (B, T, C): each channel by itself."""
        means, log_variances, log_weights = parameters_BTCP.chunk(3, dim=3)
        weights = log_weights.exp()
        below = torch.special.ndtr((target_BTC[..., None] - means) * torch.exp(-0.5 * log_variances))
        square = (weights * (log_variances.exp() + means.square())).sum(dim=3)
        return (weights * below).sum(dim=3), square - self.mean(parameters_BTCP).square()

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start with the places spread over where the eyes were."""
        with torch.no_grad():
            self.linear.bias[:, :N_PLACES].mul_(std_C[:, None]).add_(mean_C[:, None])
            self.linear.bias[:, N_PLACES : 2 * N_PLACES] = std_C[:, None].clamp_min(1e-5).log() * 2
            self.linear.weight[:, :N_PLACES].mul_(std_C[:, None, None, None])
