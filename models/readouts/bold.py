"""BOLD: what an area does, seen through a haemodynamic response that lags by seconds; Gaussian.

    state of a channel's area -> drive, linear -> convolved with the response over model time -> mean

The response is the canonical double gamma of SPM (Friston et al. 1998; Glover 1999): a peak at 5 s (gamma of shape 6)
less a sixth of an undershoot around 15 s (gamma of shape 16), both of scale 1 s, over 32 s, with a sum of 1. Its delay
is learned per channel, within 2 s to either side; its gain is that of the drive. Neither the shape of the response nor
the balloon's nonlinearity is learned.

Design rationale: delays of responses differ between regions by seconds, so that lags between regions in BOLD are not
those between areas; a learned delay takes that difference out of the network. Bounded, because a delay that could grow
would be taken for a conduction delay.

A bin needs `reach_bins` of past states before its mean is right: until then a prediction must not be scored. Bins of
0.5 to 2 s suit BOLD; whoever trains on shorter ones pays for the long convolution and learns nothing faster from it.

Shapes: L bins of the response.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ._shared import FromAreas, Gaussian, Site

PEAK_SHAPE, UNDERSHOOT_SHAPE, UNDERSHOOT_SHARE, LENGTH_S = 6.0, 16.0, 1 / 6, 32.0
MOST_SHIFT_S = 2.0
SETTLED_S = 20.0  # after which less than 3 % of the response is still to come


def double_gamma(time_s: Tensor) -> Tensor:
    """SPM's canonical response at a time after a brief event, not normalised; 0 before the event."""
    later = time_s.clamp_min(0.0)

    def gamma(shape: float) -> Tensor:
        return later ** (shape - 1) * torch.exp(-later - math.lgamma(shape))

    return gamma(PEAK_SHAPE) - UNDERSHOOT_SHARE * gamma(UNDERSHOOT_SHAPE)


class Readout(Gaussian):
    """Parameters per channel: mean, log variance. An unknown area is learned."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.port.n_channels)
        self.linear = FromAreas(site, n_parameters=1, everywhere=False)
        self.bin_s, self.n_response = site.port.bin_s, max(1, math.ceil(LENGTH_S / site.port.bin_s))
        self.reach_bins = math.ceil(SETTLED_S / site.port.bin_s)
        self.free_shift = nn.Parameter(torch.zeros(site.port.n_channels))

    def shift_s(self) -> Tensor:
        """How much later than the canonical response each channel's is, seconds, (C,)."""
        return MOST_SHIFT_S * torch.tanh(self.free_shift)

    def response(self) -> Tensor:
        """The response of every channel, (C, L), with a sum of 1; bin 0 is that of the event."""
        centres_s = (torch.arange(self.n_response, device=self.free_shift.device) + 0.5) * self.bin_s
        response = double_gamma(centres_s - self.shift_s()[:, None])
        return response / response.sum(dim=1, keepdim=True)

    def forward(self, state_BTAH: Tensor) -> Tensor:
        """Mean and log variance, (B, T, C, 2)."""
        drive_BTC = self.linear(state_BTAH)[..., 0].float() - self.linear.bias[:, 0]
        n_bins = drive_BTC.shape[1]
        length = n_bins + self.n_response
        spectrum = torch.fft.rfft(drive_BTC, n=length, dim=1) * torch.fft.rfft(self.response().T, n=length, dim=0)
        return self.with_variance(torch.fft.irfft(spectrum, n=length, dim=1)[:, :n_bins] + self.linear.bias[:, 0])

    def start_at(self, mean_C: Tensor, std_C: Tensor) -> None:
        """Start from the data's own mean and standard deviation."""
        with torch.no_grad():
            self.linear.bias.copy_(mean_C[:, None])
            self.linear.weight.mul_(std_C[:, None, None, None])
            self.log_variance.copy_(std_C.clamp_min(1e-5).log() * 2)
