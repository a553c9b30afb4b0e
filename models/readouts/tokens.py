"""Text: one token of a vocabulary, in the bins that have one. The target is the token's number.

Design rationale: what is handed on for every bin is a vector of E numbers, and only bins that have a token are ever
compared with the whole vocabulary, so memory grows with the tokens and not with bins times vocabulary. A vocabulary of
a few is better off as "choice", which learns its logits directly.

Shapes: K tokens of the vocabulary, E numbers of a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ._shared import FromAreas, Site

VECTOR_SIZE = 64


class Readout(nn.Module):
    """Parameters of the one channel: the E numbers that are compared with every token's vector, (B, T, 1, E)."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        if site.port.n_channels != 1 or site.port.n_classes < 2:
            raise ValueError(
                f"port {site.port.name!r}: {site.port.n_channels} channels of {site.port.n_classes} tokens; "
                "text has one channel and a vocabulary of at least 2 tokens"
            )
        self.linear = FromAreas(site, n_parameters=VECTOR_SIZE, everywhere=True)
        vectors = torch.randn(site.port.n_classes, VECTOR_SIZE, generator=site.generator) * VECTOR_SIZE**-0.5
        self.vectors, self.bias = nn.Parameter(vectors), nn.Parameter(torch.zeros(site.port.n_classes))

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Vectors, (B, T, 1, E)."""
        vector: Tensor = self.linear(state_BTAH)
        return vector

    def logits(self, parameters_BTCP: Tensor) -> Tensor:
        """Log odds of the vocabulary, (B, T, K): as large as it sounds."""
        return functional.linear(parameters_BTCP[..., 0, :], self.vectors, self.bias)

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per token, (B, T, 1)."""
        known = torch.ones_like(target_BTC, dtype=torch.bool) if mask_BTC is None else mask_BTC
        logits_NK = functional.linear(parameters_BTCP[known], self.vectors, self.bias)
        nll_N = functional.cross_entropy(logits_NK, target_BTC[known].long(), reduction="none")
        return torch.zeros_like(target_BTC, dtype=nll_N.dtype).masked_scatter(known, nll_N)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """Probability of each token, (B, T, K)."""
        return torch.softmax(self.logits(parameters_BTCP), dim=2)

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Nothing to start from: the mean of token numbers means nothing."""
