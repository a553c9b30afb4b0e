"""A network that reads symbols one after the other and answers each with a distribution: what others are converted to.

Pre-norm blocks of a mixer over time (`models/mixers/`) and a feed-forward part, both added to the residual stream; or
one block gone through several times (looped, as the universal transformer of Dehghani et al. 2019). It reads all steps
at once, or speaks step by step, with the same numbers.

A file of it is a safetensors file: tensors and, in its header, the shape as JSON. No code is stored or run.
Shapes: B sequences, T steps, D width, V symbols.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuroloom.models.mixers import State, kinds
from neuroloom.models.student_group import StudentShape
from neuroloom.models.student_speaker import HEADER as STUDENT
from neuroloom.models.student_speaker import StudentSpeaker

HEADER = "neuroloom speaker"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """n_inputs, n_outputs: symbols read and answered. blocks: that are gone through; looped: all of them are the same
    one, but for a bias per loop. context: the length it is made for.
    """

    n_inputs: int
    n_outputs: int
    mixer: str = "gru"
    width: int = 48
    blocks: int = 2
    looped: bool = False
    context: int = 64


class Block(nn.Module):
    """A mixer and a feed-forward part."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.before_mixing, self.before_feeding = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixer = kinds(shape.mixer).Mixer(width, shape.context)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self._fed(x_BTD + self.mixer(self.before_mixing(x_BTD)))

    def step(self, x_BD: Tensor, state: State) -> tuple[Tensor, State]:
        """One step (B, D)."""
        mixed, after = self.mixer.step(self.before_mixing(x_BD), state)
        return self._fed(x_BD + mixed), after

    def _fed(self, x: Tensor) -> Tensor:
        fed: Tensor = x + self.down(nn.functional.gelu(self.up(self.before_feeding(x))))
        return fed


class Speaker(nn.Module):
    """Symbols (B, T) in, logits (B, T, V) out. Raises ValueError for a mixer that is not there."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.symbols = nn.Embedding(shape.n_inputs, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(1 if shape.looped else shape.blocks))
        self.loop_bias = nn.Parameter(torch.zeros(shape.blocks if shape.looped else 0, shape.width))
        self.last_norm = nn.LayerNorm(shape.width)
        self.logits = nn.Linear(shape.width, shape.n_outputs, bias=False)

    def forward(self, symbols_BT: Tensor) -> Tensor:
        return self.watched(symbols_BT)[0]

    def watched(self, symbols_BT: Tensor, *, local: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the residual stream after each block (B, T, D).

        local: no gradient flows from a block into the one before it.
        """
        x = self.symbols(symbols_BT)
        states: list[Tensor] = []
        for place in range(self.shape.blocks):
            x = self.through(place, x.detach() if local and place else x)
            states.append(x)
        return self.answered(x), states

    def through(self, place: int, x_BTD: Tensor) -> Tensor:
        """One block alone."""
        block, bias = self._at(place)
        found: Tensor = block(x_BTD + bias)
        return found

    def answered(self, x: Tensor) -> Tensor:
        """Logits from the last state."""
        found: Tensor = self.logits(self.last_norm(x))
        return found

    def start(self, batch: int) -> list[State]:
        """Before anything was read: a state per block."""
        return [self._at(place)[0].mixer.start(batch) for place in range(self.shape.blocks)]

    def step(self, symbol_B: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Read one symbol each; logits (B, V), and the states after it."""
        x, after = self.symbols(symbol_B), []
        for place, state in enumerate(states):
            block, bias = self._at(place)
            x, new = block.step(x + bias, state)
            after.append(new)
        return self.answered(x), after

    def _at(self, place: int) -> tuple[Any, Tensor | float]:
        return (self.blocks[0], self.loop_bias[place]) if self.shape.looped else (self.blocks[place], 0.0)


def state_bytes(states: list[State]) -> int:
    """Of everything that is kept between two steps."""
    return sum(tensor.numel() * tensor.element_size() for state in states for tensor in state)


@torch.no_grad()
def spoken(
    speaker: Speaker | StudentSpeaker,
    prompt_T: Tensor,
    length: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Tensor:
    """What it says after the prompt: `length` symbols, each drawn from its distribution and read again.

    Raises ValueError for an empty prompt, and for a network whose answers are not symbols it reads.
    """
    if not len(prompt_T):
        raise ValueError("the prompt is empty; one symbol at least is wanted")
    if speaker.shape.n_inputs != speaker.shape.n_outputs:
        raise ValueError("its answers are no symbols that it reads")
    states, logits = speaker.start(1), torch.empty(0)
    for symbol in prompt_T:
        logits, states = speaker.step(symbol[None], states)
    said: list[Tensor] = []
    while len(said) < length:
        if temperature > 0:
            symbol = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0]
        else:
            symbol = logits.argmax(dim=-1)
        said.append(symbol)
        logits, states = speaker.step(symbol, states)
    return torch.cat(said) if said else prompt_T[:0]


def file_bytes(speaker: Speaker, remarks: Mapping[str, Any]) -> bytes:
    """A speaker as a safetensors file. remarks: JSON that is kept beside its shape."""
    from safetensors.torch import save

    told = json.dumps({"shape": asdict(speaker.shape), "remarks": dict(remarks)}, sort_keys=True)
    tensors = {name: value.detach().cpu().contiguous() for name, value in speaker.state_dict().items()}
    return save(tensors, {HEADER: told})


def read_speaker(path: Path) -> tuple[Speaker | StudentSpeaker, dict[str, Any]]:
    """A speaker or a student that speaks, and its remarks. Raises ValueError naming the file where it is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            headers = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            told = json.loads(headers.get(HEADER) or headers.get(STUDENT) or "null")
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(f"{path}: is no safetensors file that can be read ({error})") from error
    try:
        if STUDENT in headers:
            return StudentSpeaker(StudentShape(**told["shape"]), weights), told["remarks"]
        speaker = Speaker(Shape(**told["shape"]))
        speaker.load_state_dict(weights)
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: holds tensors, but no network of neuroloom ({error})") from error
    return speaker.eval(), told["remarks"]
