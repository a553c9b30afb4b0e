"""A state-space network as a teacher: diagonal linear recurrences that learned the hierarchical hidden-Markov language.

The same language and the same exact floor as `hidden_markov`; what can be recorded are the blocks of
`models/speaker.py` with the mixer "diagonal".
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..speaker import Shape, Speaker
from . import hidden_markov
from ._cache import Weights, digest_of, kept
from ._hidden_markov_language import Language
from ._teacher import Teacher, Watched
from ._transformer import Progress, Schooling, school


@dataclass(frozen=True, kw_only=True)
class Settings(hidden_markov.Settings):
    """Those of `hidden_markov`; heads has no meaning here."""

    def __post_init__(self) -> None:
        hidden_markov.check_language(self)


def make(settings: Settings | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The trained teacher. remarks: its own loss, the floor and the loss of the best bigram, nats per symbol."""
    asked = settings or Settings()
    language = hidden_markov.language_of(asked)
    digest = digest_of("state_space", asdict(asked))
    weights = kept(cache, f"state_space-{digest}", lambda: _trained(asked, language, progress))
    network = _network(asked)

    def look(symbols_BT: Tensor) -> Watched:
        logits, states = network.watched(symbols_BT)
        return Watched(
            states={f"block{i}": state for i, state in enumerate(states)},
            attention={},
            log_prob_BTV=logits.log_softmax(dim=-1),
        )

    return hidden_markov.teacher_of(
        asked, language, weights, name="state_space", digest=digest, network=network, look=look
    )


def example() -> Teacher:
    """A language of 6 symbols and 2 topics, and 16 features that hardly learn it."""
    return make(Settings(n_symbols=6, n_topics=2, successors=2, width=16, blocks=2, context=12, steps=20, batch=16))


def _network(asked: Settings) -> Speaker:
    shape = Shape(
        n_inputs=asked.n_symbols,
        n_outputs=asked.n_symbols,
        mixer="diagonal",
        width=asked.width,
        blocks=asked.blocks,
        context=asked.context,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return Speaker(shape)


def _trained(asked: Settings, language: Language, progress: Progress | None) -> Weights:
    network, generator = _network(asked), torch.Generator().manual_seed(asked.seed + 2)
    schooling = Schooling(steps=asked.steps, batch=asked.batch)
    loss = school(network, lambda n, length: language.speak(n, length, generator)[0], schooling, progress)
    return {**network.state_dict(), "loss_nats": torch.tensor(loss, dtype=torch.float64)}
