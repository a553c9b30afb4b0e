"""People who share a language and still differ: the embedded teacher, brought up further in a dialect of its own.

Every person begins with the same weights. Their dialect is the common language with a share of habits of their own
mixed into every row of bigrams; some steps of training on it make the person. All of them read the common language.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from . import hidden_markov
from ._cache import Weights, digest_of, kept
from ._hidden_markov_language import Language
from ._settings import at_least, between
from ._teacher import Teacher
from ._transformer import Progress, Schooling, school


@dataclass(frozen=True, kw_only=True)
class Settings(hidden_markov.Settings):
    """The common teacher's settings, and: person, a number of their own; share of what they say that
    comes from habits of their own; own_steps, steps of training on it at `own_rate`.
    """

    person: int = 0
    share: float = 0.25
    own_steps: int = 60
    own_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, person=0, own_steps=1, own_rate=0)
        between(self, share=(0, 1))


def make(settings: Settings | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The person as a teacher. remarks: what the common teacher has, and the loss on the person's own dialect."""
    asked = settings or Settings()
    common = hidden_markov.Settings(**{f.name: getattr(asked, f.name) for f in fields(hidden_markov.Settings)})
    language = hidden_markov.language_of(common)
    first = hidden_markov.weights_of(common, language, cache, progress)
    digest = digest_of("dialect", asdict(asked))
    weights = kept(cache, f"dialect-{digest}", lambda: _brought_up(asked, common, first, language))
    own_nats = float(weights.pop("own_nats"))
    return hidden_markov.teacher_of(common, language, weights, name="dialect", digest=digest, own_nats=own_nats)


def example() -> Teacher:
    """One of a language of 6 symbols and 2 topics, who hardly knows it."""
    return make(
        Settings(
            n_symbols=6, n_topics=2, successors=2, width=16, blocks=2, heads=2, context=12, steps=20, batch=16,
            own_steps=5, person=1,
        )
    )  # fmt: skip


def dialect(language: Language, asked: Settings) -> Language:
    """The common language with the person's own habits in it."""
    own = Language.drawn(
        n_symbols=asked.n_symbols,
        n_topics=asked.n_topics,
        successors=asked.successors,
        stay=asked.stay,
        seed=1_000_003 * (asked.person + 1) + asked.seed,
    )
    mixed = (1 - asked.share) * language.next_ZVV + asked.share * own.next_ZVV
    return Language(next_ZVV=mixed, stay=asked.stay)


def _brought_up(asked: Settings, common: hidden_markov.Settings, first: Weights, language: Language) -> Weights:
    network = hidden_markov.network_of(common)
    network.load_state_dict({name: value for name, value in first.items() if name != "loss_nats"})
    own, generator = dialect(language, asked), torch.Generator().manual_seed(asked.seed + 3 + asked.person)
    schooling = Schooling(
        steps=asked.own_steps, batch=asked.batch, learning_rate=asked.own_rate, matrix_rate=10 * asked.own_rate
    )

    def sequences(n: int, length: int) -> Tensor:
        return own.speak(n, length, generator)[0]

    loss = school(network, sequences, schooling, None)
    told = {"loss_nats": first["loss_nats"], "own_nats": torch.tensor(loss, dtype=torch.float64)}
    return {**network.state_dict(), **told}
