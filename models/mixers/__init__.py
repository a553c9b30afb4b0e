"""One file per way of mixing over time: `mixers/gru.py` *is* the mixer "gru". The folder is the registry.

A mixer is the part of a block that looks at other steps (`models/speaker.py`). Every file has a class

    Mixer(width, context)
        forward(x_BTD) -> (B, T, D)         all steps at once; step t sees steps up to t
        start(batch) -> State               before the first step
        step(x_BD, state) -> y_BD, State    one step: the same numbers as `forward` gives

and its State is a tuple of tensors: all it keeps of what it has read, so its bytes can be counted.
Files whose name starts with `_` are shared code. Other packages add mixers through the entry point group
"neuroloom.mixers".
"""

from __future__ import annotations

from torch import Tensor

from .._registry import Registry

__all__ = ["State", "kinds"]

State = tuple[Tensor, ...]
kinds = Registry(__name__, __path__, "neuroloom.mixers", "mixer")
