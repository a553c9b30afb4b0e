"""Any PyTorch module, recorded at layers named by their place in it ("encoder.layers.0", as `named_modules` has it).

Made in Python, not from a configuration file: a file that names code to import would be code.

    teacher = module.make(module.Settings(network=mine, layers=("blocks.0", "blocks.1"), n_inputs=32, n_outputs=32))
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ._teacher import Material, Reading, Teacher, Watched
from ._transformer import Progress


@dataclass(frozen=True, kw_only=True, eq=False)
class Settings:
    """network: symbols (B, T) in, logits (B, T, V) out, or whatever `logits` takes them from.

    layers: names of modules whose output, or the first part of it, is (B, T, D). material: what it reads, uniformly
    random symbols where none is given.
    """

    network: nn.Module
    layers: tuple[str, ...]
    n_inputs: int
    n_outputs: int
    context: int = 64
    name: str = "module"
    logits: Callable[[Any], Tensor] | None = None
    material: Material | None = None


def make(settings: Settings, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The module as a teacher, in evaluation mode; it is not trained, so nothing is cached.

    It reads a few symbols here. Raises ValueError for a layer that it does not have, naming some that it has, and for
    a layer or an output of another shape than is wanted.
    """
    known = dict(settings.network.named_modules())
    missing = [name for name in settings.layers if name not in known or not name]
    if missing:
        shown = ", ".join(name for name in list(known)[1:20])
        raise ValueError(f"the module has no layer {missing[0]!r}; it has {shown}")
    network = settings.network.eval()
    _try(network, settings)
    return Teacher(
        name=settings.name,
        n_inputs=settings.n_inputs,
        n_outputs=settings.n_outputs,
        layers=settings.layers,
        context=settings.context,
        digest=weights_digest(network),
        material=settings.material or uniform(settings.n_inputs),
        forward=lambda symbols_BT: hooked(network, settings, symbols_BT),
    )


def example() -> Teacher:
    """A recurrent module that nobody trained, recorded at two layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 4))
    return make(Settings(network=network, layers=("1", "2"), n_inputs=5, n_outputs=4, context=10))


def hooked(network: nn.Module, settings: Settings, symbols_BT: Tensor) -> Watched:
    """One forward pass, with what each layer put out."""
    seen: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[name] = (output if isinstance(output, Tensor) else output[0]).detach()

        return keep

    modules = dict(network.named_modules())
    hooks = [modules[name].register_forward_hook(keeper(name)) for name in settings.layers]
    try:
        output = network(symbols_BT)
    finally:
        for hook in hooks:
            hook.remove()
    logits = settings.logits(output) if settings.logits is not None else output
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"the module answers with a {type(logits).__name__}; `logits`, which takes a tensor from it, is wanted"
        )
    return Watched(states=seen, attention={}, log_prob_BTV=logits.log_softmax(dim=-1))


@torch.no_grad()
def _try(network: nn.Module, settings: Settings) -> None:
    """Two sequences are read, of the first and of the last symbol, and what came is held against what is wanted."""
    n, length = 2, min(3, settings.context)
    symbols = torch.tensor([0, settings.n_inputs - 1])[:, None].expand(n, length)
    try:
        watched = hooked(network, settings, symbols)
    except IndexError as error:
        raise ValueError(
            f"the module does not read symbols up to {settings.n_inputs - 1} (n_inputs): {error}"
        ) from error
    if len(watched.states) < max(1, len(settings.layers)):
        silent = [name for name in settings.layers if name not in watched.states] or ["of no name"]
        raise ValueError(f"layer {silent[0]!r} did nothing while the module read; one that is gone through is wanted")
    for name, state in watched.states.items():
        if state.ndim != 3 or state.shape[:2] != (n, length):
            raise ValueError(f"layer {name!r} puts out {tuple(state.shape)}; ({n}, {length}, features) is wanted")
    found, wanted = tuple(watched.log_prob_BTV.shape), (n, length, settings.n_outputs)
    if found != wanted:
        raise ValueError(f"the module answers with {found}; {wanted} is wanted, the last being n_outputs")


def uniform(n_symbols: int) -> Material:
    """Reading material without any structure."""

    def material(n: int, length: int, generator: torch.Generator) -> Reading:
        return Reading(symbols_BT=torch.randint(n_symbols, (n, length), generator=generator))

    return material


def weights_digest(network: nn.Module) -> str:
    """Of all weights, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()[:16]
