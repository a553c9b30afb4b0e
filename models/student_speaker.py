"""A student of `student_group.py` that speaks: it reads a symbol at a time, as `speaker.py`'s networks do.

Its file is a safetensors file as theirs: tensors and, in the header, shape and remarks as JSON; no code.
Shapes: B sequences, H units, V symbols.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from .mixers import State
from .student_group import StudentGroup, StudentShape

HEADER = "neuroloom student"


class StudentSpeaker:
    """One trained student. Raises ValueError for one that reads features, which cannot be said."""

    def __init__(self, shape: StudentShape, weights: Mapping[str, Tensor]) -> None:
        if not shape.reads_symbols:
            raise ValueError("it reads features, not symbols: there is nothing to say")
        self.shape = shape
        self.group = StudentGroup(shape, (0,)).requires_grad_(False)
        self.group.load_state_dict({name: value[None] for name, value in weights.items()})

    def start(self, batch: int) -> list[State]:
        """Before anything was read: the units (B, H) of each layer."""
        return [(torch.zeros(batch, self.shape.units),) for _ in range(self.shape.layers)]

    def step(self, symbol_B: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Read one symbol each; logits (B, V), and the layers after it: the same numbers as the group's."""
        H, after = self.shape.units, list[State]()
        seen = self._part("input0")[symbol_B] + self._part("input_bias0")
        for layer, (state,) in enumerate(states):
            if layer:
                seen = after[-1][0] @ self._part(f"input{layer}") + self._part(f"input_bias{layer}")
            carried = state @ self._part(f"recurrent{layer}")
            reset, update = (seen[:, : 2 * H] + carried[:, : 2 * H]).sigmoid().chunk(2, dim=-1)
            inner = carried[:, 2 * H :] + self._part(f"recurrent_bias{layer}")
            after.append((torch.lerp(torch.tanh(seen[:, 2 * H :] + reset * inner), state, update),))
        return after[-1][0] @ self._part("answer_weight") + self._part("answer_bias"), after

    def _part(self, name: str) -> Tensor:
        return self.group.part(name)[0]


def student_bytes(shape: StudentShape, weights: Mapping[str, Tensor], remarks: Mapping[str, Any]) -> bytes:
    """A student as a safetensors file. remarks: JSON that is kept beside its shape."""
    from safetensors.torch import save

    told = json.dumps({"shape": asdict(shape), "remarks": dict(remarks)}, sort_keys=True)
    return save({name: value.detach().cpu().contiguous() for name, value in weights.items()}, {HEADER: told})
