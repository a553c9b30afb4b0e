"""Continuous behaviour, such as a hand's position: Gaussian, read from all areas or the stated ones."""

from __future__ import annotations

from ._shared import LinearGaussian


class Readout(LinearGaussian):
    """Parameters per channel: mean, log variance."""

    everywhere = True
