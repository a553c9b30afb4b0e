"""One file per objective: `objectives/cka.py` *is* the objective "cka". The folder is the registry.

An objective is a function of prediction and target (and mask), one number. Every file has

    Objective(nn.Module)
        forward(prediction, target, mask=None) -> scalar      to be made small; differentiable in the prediction
        detach_every: int              bins after which the network must cut its gradient, 0 never
    example(generator) -> (objective, prediction, target, mask)     a small case, as documentation and for the tests

A mask is boolean, True where the target is valid; elsewhere the target may hold NaN. Where nothing is valid the number
is 0. Means are over valid elements, so that a weight means the same whatever the length of a batch. Objectives with
weights of their own (projectors) are trained with the network and dropped with it.

Files whose name starts with `_` are shared code. Other packages add objectives through the entry point group
"neuroloom.objectives".
"""

from __future__ import annotations

from .._registry import Registry

kinds = Registry(__name__, __path__, "neuroloom.objectives", "objective")
