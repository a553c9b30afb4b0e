"""What the observation models share: reading areas by channel, masks, the Gaussian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..placement import Placement
from ..ports import Port

LOG_2PI = math.log(2 * math.pi)
LOG_VARIANCE_RANGE = (-10.0, 10.0)  # keeps one lucky channel from driving the loss to minus infinity


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """What a readout is made for: a port, and the areas of `size` units each that its channels read.

    generator: of what is drawn at the start. lead_field_CA: for the kinds that have a use for one.
    """

    port: Port
    area_names: Sequence[str]
    size: int
    generator: torch.Generator
    lead_field_CA: Tensor | None = None


class FromAreas(nn.Module):
    """P numbers per channel, (B, T, C, P), linear in the state of the channel's own area, or of all areas.

    everywhere: channels without a stated area read all areas, or those of `port.within` (behaviour), instead of
        learning which one they sit in (electrodes).
    Raises ValueError where a lead field is given: a kind that reads in this way has no use for one.
    """

    left: Tensor | None

    def __init__(self, site: Site, *, n_parameters: int, everywhere: bool) -> None:
        super().__init__()
        port, area_names, size, generator = site.port, site.area_names, site.size, site.generator
        if site.lead_field_CA is not None:
            raise ValueError(f"port {port.name!r} of kind {port.kind!r} takes no lead field; 'eeg' and 'meg' do")
        n_channels, n_areas = port.n_channels, len(area_names)
        self.n_areas = n_areas
        spread = everywhere and not any(area in area_names for area in port.areas)
        self.placement = None if spread else Placement(port.areas or ("",) * n_channels, area_names, generator)
        within = torch.tensor([area_names.index(area) for area in port.within]) if spread and port.within else None
        self.register_buffer("left", within, persistent=False)
        n_areas = n_areas if within is None else len(within)
        n_read = n_areas * size if spread else size
        shape = (n_channels, n_parameters, n_areas if spread else 1, size)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * (0.5 / n_read**0.5))
        self.bias = nn.Parameter(torch.zeros(n_channels, n_parameters))

    def whole_weight(self) -> Tensor:
        """The weights over all areas, (C, P, A, H)."""
        weight = self.weight if self.placement is None else self.weight * self.placement()[:, None, :, None]
        if self.left is None:
            return weight
        shape = (*weight.shape[:2], self.n_areas, weight.shape[3])
        return weight.new_zeros(shape).index_copy(2, self.left, weight)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """The numbers, (B, T, C, P)."""
        weight_CPAH: Tensor = self.weight
        if self.placement is not None:
            weight_CPAH = self.weight * self.placement()[:, None, :, None]
        state_BTAH = state_BTAH if self.left is None else state_BTAH.index_select(2, self.left)
        total: Tensor = state_BTAH.flatten(2) @ weight_CPAH.flatten(2).flatten(0, 1).T
        return total.view(*total.shape[:2], *self.bias.shape) + self.bias


def seen(target_BTC: Tensor, mask_BTC: Tensor | None) -> Tensor:
    """The target with 0 wherever the mask is False, NaN included."""
    return target_BTC if mask_BTC is None else torch.where(mask_BTC, target_BTC, 0)


def masked(nll_BTC: Tensor, mask_BTC: Tensor | None) -> Tensor:
    """0 wherever the mask is False."""
    return nll_BTC if mask_BTC is None else torch.where(mask_BTC, nll_BTC, 0.0)


class Gaussian(nn.Module):
    """Each channel is normal around its mean with a learned variance. Parameters per channel: mean, log variance."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.zeros(n_channels))

    def with_variance(self, mean_BTC: Tensor) -> Tensor:
        """Mean and log variance side by side, (B, T, C, 2)."""
        log_variance_C = self.log_variance.clamp(*LOG_VARIANCE_RANGE)
        return torch.stack([mean_BTC, log_variance_C.expand_as(mean_BTC)], dim=3)

    def nll(self, parameters_BTCP: Tensor, target_BTC: Tensor, mask_BTC: Tensor | None = None) -> Tensor:
        """Nats per element, (B, T, C)."""
        mean, log_variance = parameters_BTCP.unbind(3)
        error = seen(target_BTC, mask_BTC) - mean
        return masked(0.5 * (error.square() * torch.exp(-log_variance) + log_variance + LOG_2PI), mask_BTC)

    def mean(self, parameters_BTCP: Tensor) -> Tensor:
        """The expected value, (B, T, C)."""
        return parameters_BTCP[..., 0]

    def cdf(self, parameters_BTCP: Tensor, target_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """How likely a value up to the target was, and the variance, both (B, T, C)."""
        mean, log_variance = parameters_BTCP.unbind(3)
        return torch.special.ndtr((target_BTC - mean) * torch.exp(-0.5 * log_variance)), log_variance.exp()


class LinearGaussian(Gaussian):
    """A Gaussian whose mean is linear in the areas' states."""

    everywhere = False

    def __init__(self, site: Site) -> None:
        super().__init__(site.port.n_channels)
        self.linear = FromAreas(site, n_parameters=1, everywhere=self.everywhere)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Mean and log variance, (B, T, C, 2)."""
        return self.with_variance(self.linear(state_BTAH)[..., 0])

    def linearised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (C, A, H), offset (C,) and noise variance (C,)."""
        variance_C = self.log_variance.clamp(*LOG_VARIANCE_RANGE).exp()
        return self.linear.whole_weight()[:, 0], self.linear.bias[:, 0], variance_C

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the data's own mean and standard deviation."""
        with torch.no_grad():
            self.linear.bias.copy_(mean_C[:, None])
            self.linear.weight.mul_(std_C[:, None, None, None])
            self.log_variance.copy_(std_C.clamp_min(1e-5).log() * 2)
