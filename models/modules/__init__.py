"""One file per kind of module: `modules/gru.py` *is* the kind "gru". The folder is the registry.

    leaky           leaky rate units; bin by bin
    gru             gated recurrent units; bin by bin
    gated_linear    gates and candidates from the drive alone, linear in the state; many bins at once
    transformer     attention over the drive of a causal window, then a leak; many bins at once

Every file has a class `Module`, many modules of one kind packed into tensors:

    Module(start: Start, **own)
        start       how many, how large, how fast, drawn from what: `_start.py`
        own         settings of this kind alone, from the network's `kind_options`
    weight          (N, H, H) recurrent weights, source unit first, 0 for a kind that has none
    bias            (N, 1, H), which the network adds to the drive
    constants() -> tuple of tensors, `weight` as it acts first     what does not change within a run, computed once
    tau_bins() -> (N, H), differentiable                the time constants as they are now, in bins, at rest
    forward(state_NBH, drive_NBH, constants) -> state_NBH     one bin; `drive` is messages + inputs + bias + noise

A kind that can do many bins at once, or that remembers more than its state, has in addition

    run(state_NBH, drive_NDBH, constants, memory=None) -> (states_NDBH, memory)     D bins; D = 1 gives the same numbers
        memory      tensors (as a tuple) that the next call is given; None at the start of a run

The network calls it with as many bins as no message can arrive in: the shortest delay, or all where there are none.

Shapes: N modules of the kind, B batch, H units, D bins. Files whose name starts with `_` are shared code.
Other packages add kinds through the entry point group "neuroloom.modules".
"""

from __future__ import annotations

from .._registry import Registry

kinds = Registry(__name__, __path__, "neuroloom.modules", "kind of module")
