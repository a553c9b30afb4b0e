"""EEG: one source per area, a linear reading of its state, mixed to the electrodes by a lead field. MEG: the same.

With a lead field (channels x areas, in any one unit) the mixing starts there and a learned correction is added to it;
without, the mixing is learned from the start, and the sources have no anatomical meaning beyond the network's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._shared import LOG_VARIANCE_RANGE, Gaussian, Site


class Readout(Gaussian):
    """Parameters per channel: mean, log variance."""

    lead_field: Tensor

    def __init__(self, site: Site) -> None:
        super().__init__(site.port.n_channels)
        port, size, generator, lead_field_CA = site.port, site.size, site.generator, site.lead_field_CA
        shape = (port.n_channels, len(site.area_names))
        if lead_field_CA is not None and tuple(lead_field_CA.shape) != shape:
            raise ValueError(
                f"port {port.name!r}: lead field of shape {tuple(lead_field_CA.shape)}; "
                f"{shape} (channels x areas) is needed"
            )
        drawn = torch.randn(shape, generator=generator)
        field = drawn if lead_field_CA is None else lead_field_CA.detach().to(torch.float32)
        # Only its pattern is used, scaled so that sources of unit size give signals of about unit size.
        self.register_buffer("lead_field", field / field.norm(dim=1).mean().clamp_min(1e-30))
        self.correction = nn.Parameter(torch.zeros(shape))
        self.moment = nn.Parameter(torch.randn(len(site.area_names), size, generator=generator) * size**-0.5)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(port.n_channels))

    def sources(self, state_BTAH: Tensor) -> Tensor:
        """The source of each area, (B, T, A)."""
        return (state_BTAH * self.moment).sum(dim=3)

    def mixing(self) -> Tensor:
        """Lead field plus correction, (C, A)."""
        return (self.lead_field + self.correction) * self.log_scale.exp()

    def linearised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (C, A, H), offset (C,) and noise variance (C,)."""
        variance_C = self.log_variance.clamp(*LOG_VARIANCE_RANGE).exp()
        return self.mixing()[:, :, None] * self.moment, self.bias, variance_C

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Mean and log variance, (B, T, C, 2)."""
        return self.with_variance(self.sources(state_BTAH) @ self.mixing().T + self.bias)

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the data's own mean and standard deviation."""
        with torch.no_grad():
            self.bias.copy_(mean_C)
            self.log_scale.copy_(std_C.clamp_min(1e-12).mean().log())
            self.log_variance.copy_(std_C.clamp_min(1e-5).log() * 2)
