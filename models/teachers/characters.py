"""A transformer that reads documentation strings of Python's standard library, character by character.

The text comes with every Python (PSF licence); which Python decides which text, so its version is part of the digest.
Blocks of text go to the teacher's own training or to what is read to it later, never to both. No hidden truth is known.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import _stdlib_text
from ._cache import Weights, digest_of, kept
from ._settings import at_least, between, divides
from ._teacher import Reading, Teacher, Watched
from ._transformer import Progress, Schooling, Shape, Transformer, school

ALPHABET = _stdlib_text.ALPHABET
BLOCK = 4096  # characters that stay together


@dataclass(frozen=True, kw_only=True)
class Settings:
    """taught: share of the text's blocks that the teacher is trained on. characters: so many of the text, 0 for all."""

    width: int = 128
    blocks: int = 4
    heads: int = 4
    context: int = 64
    steps: int = 900
    batch: int = 64
    taught: float = 0.3
    characters: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, width=1, blocks=1, heads=1, context=1, steps=1, batch=1, characters=0)
        between(self, taught=(0, 1))
        divides(self)


def make(settings: Settings | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The trained teacher. remarks: its loss on its own text, nats per character, and where the text is from."""
    asked = settings or Settings()
    version = platform.python_version()
    text = corpus(cache)
    taught, read = _parts(text[: asked.characters] if asked.characters else text, asked)
    digest = digest_of("characters", asdict(asked) | {"python": version})
    weights = kept(cache, f"characters-{digest}", lambda: _trained(asked, taught, progress))
    network = _network(asked)
    loss_nats = float(weights.pop("loss_nats"))
    network.load_state_dict(weights)
    network.eval()

    def material(n: int, length: int, generator: torch.Generator) -> Reading:
        return Reading(symbols_BT=_slices(read, n, length, generator))

    def forward(symbols_BT: Tensor) -> Watched:
        return network.look(symbols_BT)

    return Teacher(
        name="characters",
        n_inputs=len(ALPHABET),
        n_outputs=len(ALPHABET),
        layers=tuple(f"block{i}" for i in range(asked.blocks)),
        context=asked.context,
        digest=digest,
        material=material,
        forward=forward,
        remarks={"loss_nats": loss_nats, "text": f"documentation strings of Python {version}'s standard library"},
    )


def example() -> Teacher:
    """The first 20,000 characters, 16 features, hardly trained."""
    return make(Settings(width=16, blocks=1, heads=2, context=12, steps=10, batch=8, characters=20_000))


def corpus(cache: Path | None = None) -> Tensor:
    """The whole text as places in `ALPHABET`, (characters,)."""
    return kept(cache, f"stdlib-text-{platform.python_version()}", _text)["text"]


def _text() -> Weights:
    place = {character: i for i, character in enumerate(ALPHABET)}
    return {"text": torch.tensor([place[character] for character in _stdlib_text.text()], dtype=torch.uint8)}


def _parts(text: Tensor, asked: Settings) -> tuple[list[Tensor], list[Tensor]]:
    """Blocks of text to be taught, and blocks to be read."""
    taught: list[Tensor] = []
    read: list[Tensor] = []
    for i, block in enumerate(torch.split(text.long(), BLOCK)):
        (taught if round((i + 1) * asked.taught) > round(i * asked.taught) else read).append(block)
    for what, part in (("to be taught", taught), ("to be read", read)):
        if max(map(len, part), default=0) <= asked.context:
            raise ValueError(
                f"characters = {asked.characters or len(text)} and taught = {asked.taught}: no text {what} that is "
                f"longer than context = {asked.context}; more characters are wanted"
            )
    return taught, read


def _slices(blocks: list[Tensor], n: int, length: int, generator: torch.Generator) -> Tensor:
    """Some of the slices that do not overlap, in random order. Raises ValueError where there are not as many."""
    starts = [(i, start) for i, block in enumerate(blocks) for start in range(0, len(block) - length + 1, length)]
    if n > len(starts):
        raise ValueError(f"the text has {len(starts)} pieces of {length} characters; {n} were asked for")
    chosen = torch.randperm(len(starts), generator=generator)[:n].tolist()
    return torch.stack([blocks[starts[k][0]][starts[k][1] :][:length] for k in chosen])


def _network(asked: Settings) -> Transformer:
    shape = Shape(
        n_symbols=len(ALPHABET),
        width=asked.width,
        blocks=asked.blocks,
        heads=asked.heads,
        context=asked.context,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return Transformer(shape)


def _trained(asked: Settings, taught: list[Tensor], progress: Progress | None) -> Weights:
    network, text = _network(asked), torch.cat(taught)
    generator = torch.Generator().manual_seed(asked.seed + 2)

    def anywhere(n: int, length: int) -> Tensor:
        starts = torch.randint(len(text) - length, (n,), generator=generator)
        return text[starts[:, None] + torch.arange(length)]

    loss = school(network, anywhere, Schooling(steps=asked.steps, batch=asked.batch), progress)
    return {**network.state_dict(), "loss_nats": torch.tensor(loss, dtype=torch.float64)}
