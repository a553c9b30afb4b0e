"""Local field potential: Gaussian around a linear reading of the area the electrode sits in."""

from __future__ import annotations

from ._shared import LinearGaussian


class Readout(LinearGaussian):
    """Parameters per channel: mean, log variance. An unknown area is learned."""
