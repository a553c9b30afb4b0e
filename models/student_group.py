"""Many recurrent students of one shape, trained together: a group of two-layer GRUs as one batched computation.

A study trains hundreds of small students that differ in data, weights of losses and seeds, not in shape. Each step of
time is one batched product for all of them. Shapes: G students, B sequences, T steps, I inputs, H units, L layers,
V answers, K electrodes.

Design rationale: the backward pass is written by hand. It saves what it needs once and forms the weights' gradients in
one product over all steps, where autograd would take one per step: twice as fast as `nn.GRU` here on one core for a
group of eight, and `torch.func.vmap` over `nn.GRU` is not possible (its kernel has no batching rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class StudentShape:
    """n_inputs: symbols read, or features where `reads_symbols` is False. n_electrodes: 0 for none.

    blurred: soft answers were read from noisy electrodes, see `StudentGroup.blurred`.
    """

    n_inputs: int
    n_outputs: int
    n_electrodes: int = 0
    units: int = 128
    layers: int = 2
    reads_symbols: bool = True
    blurred: bool = False


class GruLayer(torch.autograd.Function):
    """One GRU layer (Cho et al. 2014, as PyTorch has it) over all steps for a group.

    gates_TGBM: what the inputs give the reset, update and new gates, biases included, M = 3 H. weight_GHM, bias_GH: of
    the recurrence (bias of the new gate only; the others would only double those of the inputs). -> hidden_TGBH.
    """

    @staticmethod
    def forward(
        ctx: Any, gates_TGBM: Tensor, weight_GHM: Tensor, bias_GH: Tensor, product: torch.dtype = torch.float32
    ) -> Tensor:
        T, G, B, M = gates_TGBM.shape
        H = M // 3
        hidden = gates_TGBM.new_zeros(T + 1, G, B, H)
        reset_update = gates_TGBM.new_empty(T, G, B, 2 * H)
        inner, new = gates_TGBM.new_empty(T, G, B, H), gates_TGBM.new_empty(T, G, B, H)
        weight = weight_GHM.to(product)
        for t in range(T):
            carried = torch.bmm(hidden[t].to(product), weight).to(hidden.dtype)
            torch.sigmoid(gates_TGBM[t, ..., : 2 * H] + carried[..., : 2 * H], out=reset_update[t])
            torch.add(carried[..., 2 * H :], bias_GH[:, None], out=inner[t])
            before = torch.addcmul(gates_TGBM[t, ..., 2 * H :], reset_update[t, ..., :H], inner[t])
            torch.tanh(before, out=new[t])
            torch.lerp(new[t], hidden[t], reset_update[t, ..., H:], out=hidden[t + 1])
        ctx.save_for_backward(hidden, reset_update, inner, new, weight)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, reset_update, inner, new, weight = ctx.saved_tensors
        T, G, B, H = new.shape
        reset, update = reset_update[..., :H], reset_update[..., H:]
        to_new = (1 - update) * (1 - new * new)  # of the loss by the new gate's input, per unit of the loss by h
        to_update = (hidden[:-1] - new) * update * (1 - update)
        to_reset = inner * reset * (1 - reset)
        by_gates = new.new_empty(T, G, B, 3 * H)
        by_carried_new = new.new_empty(T, G, B, H)
        back, product = weight.transpose(1, 2).contiguous(), weight.dtype
        carry = torch.zeros_like(new[0])
        for t in range(T - 1, -1, -1):
            by_hidden = carry.add_(grads[0][t])
            by_new = torch.mul(by_hidden, to_new[t], out=by_gates[t, ..., 2 * H :])
            torch.mul(by_hidden, to_update[t], out=by_gates[t, ..., H : 2 * H])
            torch.mul(by_new, to_reset[t], out=by_gates[t, ..., :H])
            torch.mul(by_new, reset[t], out=by_carried_new[t])
            carried = torch.cat([by_gates[t, ..., : 2 * H], by_carried_new[t]], dim=-1)
            carry = torch.bmm(carried.to(product), back).to(new.dtype).addcmul_(by_hidden, update[t])
        flat = hidden[:-1].to(product).transpose(0, 1).reshape(G, T * B, H).transpose(1, 2)
        by_first = by_gates[..., : 2 * H].to(product).transpose(0, 1).reshape(G, T * B, 2 * H)
        by_last = by_carried_new.to(product).transpose(0, 1).reshape(G, T * B, H)
        by_weight = torch.cat([torch.bmm(flat, by_first), torch.bmm(flat, by_last)], dim=-1).to(new.dtype)
        return by_gates, by_weight, by_carried_new.sum(dim=(0, 2)), None


class StudentGroup(nn.Module):
    """G students; parameters have the group in front. Starts differ by seed, one per student."""

    def __init__(self, shape: StudentShape, seeds: tuple[int, ...], *, product: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.shape, self.seeds, self.product = shape, seeds, product
        starts = [_start(shape, seed) for seed in seeds]
        for name in starts[0]:
            self.register_parameter(name, nn.Parameter(torch.stack([start[name] for start in starts])))

    @property
    def n_students(self) -> int:
        return len(self.seeds)

    def part(self, name: str) -> Tensor:
        """A parameter by name, group in front."""
        return self.get_parameter(name)

    def forward(
        self, inputs_GBT: Tensor, *, dropout: Sequence[float] = (), generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """Hidden states of all layers side by side, (G, T, B, L H).

        inputs: symbols (G, B, T), or features (G, B, T, I). dropout: per student, the chance that a unit of one layer
        is not seen by the next, for a whole sequence (Gal and Ghahramani 2016), drawn from one generator per student:
        what becomes of a student does not depend on who is beside it.
        """
        gates = self._first_gates(inputs_GBT)
        states = []
        for layer in range(self.shape.layers):
            weight, bias = self.part(f"recurrent{layer}"), self.part(f"recurrent_bias{layer}")
            hidden = GruLayer.apply(gates, weight, bias, self.product)  # type: ignore[no-untyped-call]
            seen = hidden.transpose(0, 1)
            if any(dropout):
                seen = seen * _kept(seen, dropout, generators)
            states.append(seen)
            if layer + 1 < self.shape.layers:
                gates = self._gates(seen, layer + 1)
        return torch.cat(states, dim=-1)

    def answers(self, states_GTBH: Tensor) -> Tensor:
        """Logits (G, T, B, V) from the last layer."""
        return self._linear(states_GTBH[..., -self.shape.units :], "answer")

    def blurred(self, answers_GTBV: Tensor) -> Tensor:
        """Logits (G, T, B, V) of what a decoder says of these answers that saw them through noise.

        What it says is less certain than what it saw, and a student that imitates it word by word would be, too.
        A map is learned beside it, which begins as the identity; that of a shape that is not `blurred` stays one.
        """
        if not self.shape.blurred:
            return answers_GTBV
        return answers_GTBV + self._linear(answers_GTBV, "blur")

    def electrodes(self, states_GTBH: Tensor) -> Tensor:
        """What the electrodes should see, (G, T, B, K): a learned linear map from the states of all layers."""
        return self._linear(states_GTBH, "electrode")

    def _linear(self, x_GTBH: Tensor, name: str) -> Tensor:
        out = self._product(x_GTBH.flatten(1, 2), f"{name}_weight") + self.part(f"{name}_bias")[:, None]
        return out.view(*x_GTBH.shape[:3], -1)

    def _product(self, x_GRI: Tensor, name: str) -> Tensor:
        return torch.bmm(x_GRI.to(self.product), self.part(name).to(self.product)).to(x_GRI.dtype)

    def _first_gates(self, inputs: Tensor) -> Tensor:
        weight, bias = self.part("input0"), self.part("input_bias0")
        if self.shape.reads_symbols:
            first_row_G = torch.arange(len(inputs), device=inputs.device) * self.shape.n_inputs
            rows = inputs.permute(2, 0, 1) + first_row_G[:, None]
            table = (weight + bias[:, None]).flatten(0, 1)
            return nn.functional.embedding(rows, table)
        return self._gates(inputs.transpose(1, 2), 0)

    def _gates(self, seen_GTBI: Tensor, layer: int) -> Tensor:
        G, T, B, _ = seen_GTBI.shape
        out = self._product(seen_GTBI.flatten(1, 2), f"input{layer}") + self.part(f"input_bias{layer}")[:, None]
        return out.view(G, T, B, -1).transpose(0, 1).contiguous()


def _kept(seen_GTBH: Tensor, dropout: Sequence[float], generators: Sequence[torch.Generator]) -> Tensor:
    _, _, B, H = seen_GTBH.shape
    drawn = torch.stack([torch.rand(1, B, H, generator=each) for each in generators]).to(seen_GTBH.device)
    chance = torch.tensor(dropout, device=drawn.device)[:, None, None, None]
    return (drawn >= chance).to(seen_GTBH.dtype) / (1 - chance)


def _start(shape: StudentShape, seed: int) -> dict[str, Tensor]:
    """First weights of one student: uniform for inputs, orthogonal for the recurrence, zero where it answers."""
    generator = torch.Generator().manual_seed(seed)
    units, start = shape.units, {}

    def uniform(*size: int, bound: float) -> Tensor:
        return (2 * torch.rand(*size, generator=generator) - 1) * bound

    for layer in range(shape.layers):
        n_in = shape.n_inputs if layer == 0 else units
        bound = 0.5 if layer == 0 and shape.reads_symbols else n_in**-0.5
        start[f"input{layer}"] = uniform(n_in, 3 * units, bound=bound)
        start[f"input_bias{layer}"] = torch.zeros(3 * units)
        squares = [torch.linalg.qr(torch.randn(units, units, generator=generator))[0] for _ in range(3)]
        start[f"recurrent{layer}"] = torch.cat(squares, dim=1)
        start[f"recurrent_bias{layer}"] = torch.zeros(units)
    start["answer_weight"] = uniform(units, shape.n_outputs, bound=units**-0.5)
    start["answer_bias"] = torch.zeros(shape.n_outputs)
    if shape.blurred:
        start["blur_weight"] = torch.zeros(shape.n_outputs, shape.n_outputs)
        start["blur_bias"] = torch.zeros(shape.n_outputs)
    if shape.n_electrodes:
        start["electrode_weight"] = uniform(units * shape.layers, shape.n_electrodes, bound=units**-0.5)
        start["electrode_bias"] = torch.zeros(shape.n_electrodes)
    return start
