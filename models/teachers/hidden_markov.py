"""The embedded default: a small transformer on a hierarchical hidden-Markov language whose Bayes floor is exact.

Trains in about two minutes on two cores; with a cache folder only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ._cache import Weights, digest_of, kept
from ._hidden_markov_language import Language as Language
from ._settings import at_least, between, divides
from ._teacher import Oracle, Reading, Teacher, Watched
from ._transformer import Progress, Schooling, Shape, Transformer, school

FLOOR_SEQUENCES = 1000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The language (n_symbols, n_topics, successors per symbol and topic, stay) and the transformer that learns it."""

    n_symbols: int = 32
    n_topics: int = 12
    successors: int = 6
    stay: float = 0.985
    width: int = 128
    blocks: int = 4
    heads: int = 4
    context: int = 64
    steps: int = 600
    batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        check_language(self)
        at_least(self, heads=1)
        divides(self)


def check_language(asked: Settings) -> None:
    """Raises ValueError for a language that cannot be, or a network that cannot be trained on it."""
    at_least(asked, n_symbols=2, n_topics=2, width=1, blocks=1, context=1, steps=1, batch=1)
    between(asked, successors=(1, asked.n_symbols), stay=(0, 1))


def make(settings: Settings | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The trained teacher. remarks: its own loss, the floor and the loss of the best bigram, nats per symbol."""
    asked = settings or Settings()
    language = language_of(asked)
    weights = weights_of(asked, language, cache, progress)
    return teacher_of(asked, language, weights, name="hidden_markov", digest=digest_of("hidden_markov", asdict(asked)))


def language_of(asked: Settings) -> Language:
    """What is spoken."""
    return Language.drawn(
        n_symbols=asked.n_symbols,
        n_topics=asked.n_topics,
        successors=asked.successors,
        stay=asked.stay,
        seed=asked.seed,
    )


def language_told(teacher: Mapping[str, Any]) -> Language:
    """What a teacher speaks whose table this is; what else the table says (of another kind that speaks it) is left."""
    names = {field.name for field in fields(Settings)}
    return language_of(Settings(**{name: value for name, value in teacher.items() if name in names}))


def weights_of(asked: Settings, language: Language, cache: Path | None, progress: Progress | None) -> Weights:
    """Of the trained network, beside its `loss_nats`; from the cache where it has them."""
    digest = digest_of("hidden_markov", asdict(asked))
    return kept(cache, f"hidden_markov-{digest}", lambda: _trained(asked, language, progress))


def teacher_of(
    asked: Settings,
    language: Language,
    weights: Weights,
    *,
    name: str,
    digest: str,
    network: nn.Module | None = None,
    look: Callable[[Tensor], Watched] | None = None,
    **remarks: float,
) -> Teacher:
    """The network with these weights (and their `loss_nats`) as a teacher that reads the language.

    network, look: another one than the transformer, and how it is watched; both or neither.
    """
    transformer = network_of(asked)
    network, look = network or transformer, look or transformer.look
    loss_nats = float(weights["loss_nats"])
    network.load_state_dict({key: value for key, value in weights.items() if key != "loss_nats"})
    network.eval()

    def material(n: int, length: int, generator: torch.Generator) -> Reading:
        symbols, topics = language.speak(n, length, generator)
        return Reading(symbols_BT=symbols, topic_BT=topics)

    def truth(symbols_BT: Tensor) -> Oracle:
        posterior = language.posterior(symbols_BT)
        return Oracle(posterior_BTZ=posterior, log_prob_BTV=language.next_log_prob(symbols_BT, posterior))

    floor = language.floor_nats(FLOOR_SEQUENCES, asked.context, torch.Generator().manual_seed(asked.seed + 1))
    return Teacher(
        name=name,
        n_inputs=asked.n_symbols,
        n_outputs=asked.n_symbols,
        layers=tuple(f"block{i}" for i in range(asked.blocks)),
        context=asked.context,
        digest=digest,
        material=material,
        forward=look,
        truth=truth,
        remarks={"loss_nats": loss_nats, "floor_nats": floor, "bigram_nats": language.bigram_nats(), **remarks},
    )


def example() -> Teacher:
    """A language of 6 symbols and 2 topics, and a transformer of 16 features that hardly learns it."""
    return make(
        Settings(n_symbols=6, n_topics=2, successors=2, width=16, blocks=2, heads=2, context=12, steps=20, batch=16)
    )


def network_of(asked: Settings) -> Transformer:
    """Untrained, from its seed."""
    shape = Shape(
        n_symbols=asked.n_symbols, width=asked.width, blocks=asked.blocks, heads=asked.heads, context=asked.context
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return Transformer(shape)


def _trained(asked: Settings, language: Language, progress: Progress | None) -> Weights:
    network = network_of(asked)
    generator = torch.Generator().manual_seed(asked.seed + 2)
    schooling = Schooling(steps=asked.steps, batch=asked.batch)
    loss = school(network, lambda n, length: language.speak(n, length, generator)[0], schooling, progress)
    if not math.isfinite(loss):
        raise ValueError(f"the teacher's loss is {loss}; a smaller learning rate may keep it finite")
    return {**network.state_dict(), "loss_nats": torch.tensor(loss, dtype=torch.float64)}
