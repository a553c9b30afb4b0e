"""One file per kind of module: `modules/gru.py` *is* the kind "gru". The folder is the registry.

Every file has a class `Module`, many modules of one kind packed into tensors:

    Module(n_modules: int, size: int, tau_bins: Tensor, *, gain: float, fixed_tau: Tensor, dale: bool, generator)
        tau_bins    (N,) time constant of each module in bins, where learning starts
        gain        spectral radius of its recurrent weights at the start
        fixed_tau   (N,) True where the time constant may not be learned (global modules)
        dale        units excite or inhibit, never both; raises ValueError where the kind cannot
    weight          (N, H, H) recurrent weights, source unit first;  bias (N, 1, H), which the network adds to the drive
    constants() -> tuple of tensors                 what does not change within a run, computed once per run
    forward(state_NBH, drive_NBH, constants) -> state_NBH     one bin; `drive` is messages + inputs + bias + noise

Shapes: N modules of the kind, B batch, H units. Files whose name starts with `_` are shared code.
Other packages add kinds through the entry point group "neuroloom.modules".
"""

from __future__ import annotations

from .._registry import Registry

kinds = Registry(__name__, __path__, "neuroloom.modules", "kind of module")
