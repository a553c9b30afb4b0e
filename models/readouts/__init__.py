"""One file per observation model: `readouts/spikes.py` *is* the kind "spikes". The folder is the registry.

    spikes, negative_binomial       counts per bin: Poisson, or with a learned excess of variance
    lfp, eeg, meg, bold             Gaussian: of one area; through a lead field; through a haemodynamic response
    gaze, saccades                  where the eyes look (mixture density); whether a saccade begins (hazard)
    choice, tokens, continuous      behaviour: one of few classes; one of a vocabulary; Gaussian

Every file has a class `Readout(nn.Module)`:

    Readout(site: Site)                             a port, the areas it reads, a lead field: `_shared.py`
    forward(state_BTAH) -> parameters_BTCP          what is predicted; P numbers per channel, listed in its docstring
    nll(parameters_BTCP, target_BTC, mask_BTC=None) -> nll_BTC      nats per element, 0 where the mask is False
    mean(parameters_BTCP) -> mean_BTC               the expected observation (classes: their probabilities, BTK)
    start_at(mean_C, std_C)                         start from the data's own mean and spread, before training

and where it makes sense
    linearised() -> weight_CAH, offset_C, variance_C    observation = weight * state + offset, with noise of that
                                                        variance, around its working point: for `forcing.py`
    cdf(parameters_BTCP, target_BTC) -> chance_BTC, variance_BTC    how likely a value up to the target was
    logits(parameters_BTCP) -> logits_BTK               classes only: for soft targets
    reach_bins: int                                     bins of past states that a prediction needs before it counts

A target may hold NaN where the mask is False: neither the loss nor its gradient sees it. `mask_BTC` may have one
channel for all (B, T, 1). Without a mask every element counts.

Shapes: B batch, T bins, C channels, P parameters, A areas, H units, K classes. Files whose name starts with `_` are
shared code. Other packages add kinds through the entry point group "neuroloom.readouts".
"""

from __future__ import annotations

from .._registry import Registry
from ._shared import FromAreas

kinds = Registry(__name__, __path__, "neuroloom.readouts", "readout")

__all__ = ["FromAreas", "kinds"]
