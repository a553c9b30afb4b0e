"""One file per objective: `objectives/cka.py` *is* the objective "cka". The folder is the registry.

An objective is a function of prediction and target (and mask), one number. Every file has

    Objective(nn.Module)
        forward(prediction, target, mask=None) -> scalar      to be made small; differentiable in the prediction
        takes: str                     what the prediction is: see below; "states" where it is not said
        detach_every: int              bins after which the network must cut its gradient, 0 never
        between_areas: bool            whether it must be cut between areas too; False where it is not said
        is_sized: bool                 whether it is made with `n_prediction, n_target` first; False where not said
    example(generator) -> (objective, prediction, target, mask)     a small case, as documentation and for the tests

A mask is boolean, True where the target is valid; elsewhere the target may hold NaN. Where nothing is valid the number
is 0. Means are over valid elements, so that a weight means the same whatever the length of a batch. Objectives with
weights of their own (projectors) are trained with the network and dropped with it.

    takes               prediction                              target                           objectives
    "outputs"           parameters of output ports              what was recorded                nll
    "states"            states of areas, flat (B, T, A * H)     a port's recording               features, local, cka,
                                                                                                 similarity
    "energies"          mean squared state per area (B, T, A)   attention to each area           attention
    "logits"            log odds of a port's classes (B, T, K)  a teacher's                      soft_targets
    "pathways"          strength of every pathway (E,)          its length, mm                   wiring
    "time_constants"    of every unit, s (A, H)                 a prior's                        time_scales
    "own"               what a session has of its own (S, E)    days since the session before    walk

Files whose name starts with `_` are shared code. Other packages add objectives through the entry point group
"neuroloom.objectives".
"""

from __future__ import annotations

from .._registry import Registry

kinds = Registry(__name__, __path__, "neuroloom.objectives", "objective")
