"""Recurrent students, several seeds of one kind trained side by side: a large tanh network whose weights are drawn with
a gain, or a gated one as a baseline.

    h[t] = tanh(h[t-1] W + x[t] U + forcing e[t] F + b),  W ~ gain N(0, 1) / sqrt(n)

Above a gain of about one such a network is chaotic before training (Sompolinsky, Crisanti and Sommers 1988): gradients
through time explode, and behaviour at the end of a sequence cannot teach its beginning.
Shapes: G students, B sequences, T steps, I inputs, H units, K electrodes, C answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["tanh", "orthogonal", "gru", "lstm"]


@dataclass(frozen=True, kw_only=True)
class RecurrentShape:
    """gain: of the recurrent weights of a tanh network; the gated ones and the orthogonal one have none."""

    n_inputs: int
    n_electrodes: int
    n_answers: int = 1
    units: int = 256
    gain: float = 1.0
    cell: Cell = "tanh"


class RecurrentStudents(nn.Module):
    """G students; every parameter has the group in front."""

    def __init__(self, shape: RecurrentShape, seeds: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.seeds = shape, seeds
        starts = [_start(shape, seed) for seed in seeds]
        for name in starts[0]:
            self.register_parameter(name, nn.Parameter(torch.stack([start[name] for start in starts])))

    def start(self, n_sequences: int) -> tuple[Tensor, Tensor]:
        """State and memory cells at rest, (G, B, H) each."""
        rest = torch.zeros(len(self.seeds), n_sequences, self.shape.units, device=self.weight("inputs").device)
        return rest, rest

    def weight(self, name: str) -> Tensor:
        """A parameter by name."""
        return self.get_parameter(name)

    def driven(self, x_GBTI: Tensor) -> Tensor:
        """What the inputs give every unit (and gate), (T, G, B, gates H)."""
        G, B, T, _ = x_GBTI.shape
        flat = torch.bmm(x_GBTI.flatten(1, 2), self.weight("inputs")) + self.weight("bias")[:, None]
        return flat.view(G, B, T, -1).permute(2, 0, 1, 3)

    def step(self, state: tuple[Tensor, Tensor], drive_GBH: Tensor) -> tuple[Tensor, Tensor]:
        """The next state."""
        hidden, memory = state
        carried = torch.bmm(hidden, self.weight("recurrent"))
        if self.shape.cell == "gru":
            into = drive_GBH[..., 2 * self.shape.units :]
            gates = (drive_GBH[..., : 2 * self.shape.units] + carried[..., : 2 * self.shape.units]).sigmoid()
            reset, update = gates.chunk(2, dim=-1)
            new = torch.tanh(into + reset * carried[..., 2 * self.shape.units :])
            return torch.lerp(new, hidden, update), memory
        if self.shape.cell == "lstm":
            into, forget, new, out = (drive_GBH + carried).chunk(4, dim=-1)
            memory = forget.sigmoid() * memory + into.sigmoid() * torch.tanh(new)
            return out.sigmoid() * torch.tanh(memory), memory
        return torch.tanh(drive_GBH + carried), memory

    def run(self, x_GBTI: Tensor, *, cut: int = 0, electrodes_GBTK: Tensor | None = None, force: float = 0.0) -> Tensor:
        """States (T, G, B, H) from rest. cut: the gradient ends every so many steps. force: of electrodes on states."""
        state = self.start(x_GBTI.shape[1])
        states = []
        for t, drive in enumerate(self.driven(x_GBTI)):
            if cut and t and t % cut == 0:
                state = (state[0].detach(), state[1].detach())
            push = force * self.forced(electrodes_GBTK[:, :, t]) if electrodes_GBTK is not None else 0.0
            state = self.step(state, drive + push)
            states.append(state[0])
        return torch.stack(states)

    def answer(self, hidden_GBH: Tensor) -> Tensor:
        """Answers, (G, B, C): logits where they are bits."""
        return torch.bmm(hidden_GBH, self.weight("answer_weight")) + self.weight("answer_bias")[:, None]

    def electrodes(self, states_GRH: Tensor) -> Tensor:
        """What the electrodes should see of states, (G, R, K)."""
        return torch.bmm(states_GRH, self.weight("electrode_weight")) + self.weight("electrode_bias")[:, None]

    def forced(self, e_GBK: Tensor) -> Tensor:
        """What electrodes give every unit where they force it, (G, B, H)."""
        return torch.bmm(e_GBK, self.weight("forcing"))

    def stretch(self, hidden_GBH: Tensor, generator: torch.Generator) -> Tensor:
        """How far one step stretches a random direction at these states, (G, B); 1: it keeps its length.

        Of the tanh network only: v diag(1 - h^2) W^T, the transposed Jacobian that gradients pass.
        """
        v = torch.randn(hidden_GBH.shape, generator=generator).to(hidden_GBH.device)
        back = torch.bmm(v * (1 - hidden_GBH.square()), self.weight("recurrent").transpose(1, 2))
        lengths: Tensor = torch.linalg.vector_norm(back, dim=-1) / torch.linalg.vector_norm(v, dim=-1)
        return lengths


def _start(shape: RecurrentShape, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n, gates = shape.units, {"gru": 3, "lstm": 4}.get(shape.cell, 1)

    def normal(*size: int, scale: float) -> Tensor:
        return torch.randn(*size, generator=generator) * scale

    if shape.cell == "tanh":
        recurrent = normal(n, n, scale=shape.gain * n**-0.5)
    else:
        squares = [torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for _ in range(gates)]
        recurrent = torch.cat(squares, dim=1)
    bias = torch.zeros(gates * n)
    if shape.cell == "lstm":
        bias[n : 2 * n] = 1.0  # an open forget gate (Gers, Schmidhuber and Cummins 2000)
    return {
        "inputs": normal(shape.n_inputs, gates * n, scale=shape.n_inputs**-0.5),
        "recurrent": recurrent,
        "bias": bias,
        "answer_weight": normal(n, shape.n_answers, scale=n**-0.5),
        "answer_bias": torch.zeros(shape.n_answers),
        "electrode_weight": normal(n, shape.n_electrodes, scale=n**-0.5),
        "electrode_bias": torch.zeros(shape.n_electrodes),
        "forcing": normal(shape.n_electrodes, n, scale=shape.n_electrodes**-0.5),
    }
