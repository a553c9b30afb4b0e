"""The language of the embedded teacher: a hidden topic that mostly stays, and per topic a sparse table of bigrams.

Its floor is exact: the posterior over topics follows by forward filtering (Rabiner 1989), and with it the best possible
distribution of the next symbol. Shapes: B sequences, T steps, V symbols, Z topics.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

POPULARITY, EVENNESS = 0.66, 0.85


@dataclass(frozen=True, kw_only=True, eq=False)
class Language:
    """next_ZVV: per topic, from (row) a symbol to (column) the next one. stay: chance that a topic is kept."""

    next_ZVV: Tensor
    stay: float

    @classmethod
    def drawn(cls, *, n_symbols: int, n_topics: int, successors: int, stay: float, seed: int) -> Language:
        """Each symbol has `successors` possible next ones in each topic; some symbols are likelier than others.

        Symbol i is chosen as a successor in proportion to (1 + i)^-POPULARITY; successors are weighted by exponential
        draws to the power EVENNESS. The two are set so that with 32 symbols, 12 topics, 6 successors and stay 0.985 the
        floor is near 1.657 and the best bigram near 2.985 nats.
        """
        generator = torch.Generator().manual_seed(seed)

        def exponential(*size: int) -> Tensor:
            return -torch.rand(*size, generator=generator, dtype=torch.float64).clamp_min(1e-12).log()

        popularity = (1 + torch.arange(n_symbols, dtype=torch.float64)) ** -POPULARITY
        waits = exponential(n_topics, n_symbols, n_symbols) / popularity
        chosen = waits.argsort(dim=-1)[..., :successors]
        weights = exponential(*chosen.shape) ** EVENNESS
        table = torch.zeros(n_topics, n_symbols, n_symbols, dtype=torch.float64)
        return cls(next_ZVV=table.scatter(-1, chosen, weights / weights.sum(-1, keepdim=True)), stay=stay)

    def speak(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Symbols and the topics that made them, each (n, length); the first symbol is uniform."""
        n_topics, n_symbols, _ = self.next_ZVV.shape
        topic = torch.randint(n_topics, (n,), generator=generator)
        symbol = torch.randint(n_symbols, (n,), generator=generator)
        symbols, topics = [symbol], [topic]
        for _ in range(length - 1):
            moves = torch.rand(n, generator=generator) > self.stay
            other = (topic + torch.randint(1, n_topics, (n,), generator=generator)) % n_topics
            topic = torch.where(moves, other, topic)
            symbol = torch.multinomial(self.next_ZVV[topic, symbol], 1, generator=generator)[:, 0]
            symbols.append(symbol)
            topics.append(topic)
        return torch.stack(symbols, dim=1), torch.stack(topics, dim=1)

    def posterior(self, symbols_BT: Tensor) -> Tensor:
        """Chance of each topic after each symbol, given the symbols so far; (B, T, Z)."""
        n_topics = self.next_ZVV.shape[0]
        belief = torch.full((symbols_BT.shape[0], n_topics), 1 / n_topics, dtype=torch.float64)
        found = [belief]
        for before, now in zip(symbols_BT.T[:-1], symbols_BT.T[1:], strict=True):
            belief = self.moved(belief) * self.next_ZVV[:, before, now].T
            belief = belief / belief.sum(-1, keepdim=True)
            found.append(belief)
        return torch.stack(found, dim=1)

    def moved(self, belief: Tensor) -> Tensor:
        """Beliefs (..., Z) about the topic of the next step."""
        away = (1 - self.stay) / (self.next_ZVV.shape[0] - 1)
        return belief * (self.stay - away) + away * belief.sum(-1, keepdim=True)

    def heard(self, evidence_BTV: Tensor) -> tuple[Tensor, Tensor]:
        """What can be known of symbols that are heard badly: log-probabilities (B, T, V) of each from the evidence so
        far, and from that of the whole sequence (forward and backward pass, Rabiner 1989).

        evidence_BTV: log-likelihoods of each symbol at each step, up to a constant per step.
        """
        n_topics, n_symbols, _ = self.next_ZVV.shape
        likelihood = (evidence_BTV.double() - evidence_BTV.amax(dim=-1, keepdim=True)).exp()
        steps = likelihood.unbind(dim=1)
        belief = likelihood.new_full((len(likelihood), n_topics, n_symbols), 1 / (n_topics * n_symbols))
        before: list[Tensor] = []
        for step, now in enumerate(steps):
            if step:
                moved = self.moved(belief.transpose(1, 2)).transpose(1, 2)
                belief = torch.einsum("bzv,zvw->bzw", moved, self.next_ZVV)
            belief = _of_one(belief * now[:, None])
            before.append(belief)
        after, both = torch.ones_like(belief), [belief]
        for step in range(len(steps) - 2, -1, -1):
            expected = torch.einsum("bzw,zvw->bzv", after * steps[step + 1][:, None], self.next_ZVV)
            after = _of_one(self.moved(expected.transpose(1, 2)).transpose(1, 2))
            both.append(_of_one(before[step] * after))
        return _of_symbols(before), _of_symbols(both[::-1])

    def next_log_prob(self, symbols_BT: Tensor, posterior_BTZ: Tensor) -> Tensor:
        """The best possible distribution of the next symbol, (B, T, V)."""
        tables_BTZV = self.next_ZVV[:, symbols_BT].permute(1, 2, 0, 3)
        return (self.moved(posterior_BTZ)[..., None] * tables_BTZV).sum(dim=2).log()

    def floor_nats(self, n: int, length: int, generator: torch.Generator) -> float:
        """Bayes floor: mean cross-entropy of the best possible prediction over sequences of that length."""
        symbols, _ = self.speak(n, length + 1, generator)
        read = symbols[:, :-1]
        log_prob = self.next_log_prob(read, self.posterior(read))
        return -float(log_prob.gather(-1, symbols[:, 1:, None]).mean())

    def bigram_nats(self) -> float:
        """Cross-entropy of the best prediction from the last symbol alone, topics being equally likely."""
        mixed = self.next_ZVV.mean(dim=0)
        visits = torch.full((mixed.shape[0],), 1 / mixed.shape[0], dtype=torch.float64)
        for _ in range(200):
            visits = visits @ mixed
        return float(-(visits[:, None] * mixed * mixed.clamp_min(1e-300).log()).sum())


def _of_symbols(beliefs: list[Tensor]) -> Tensor:
    """Log-probabilities (B, T, V) from the beliefs (B, Z, V) of each step, whatever the topic."""
    return torch.stack(beliefs, dim=1).sum(dim=2).clamp_min(1e-300).log()


def _of_one(belief_BZV: Tensor) -> Tensor:
    """Scaled to a sum of one."""
    return belief_BZV / belief_BZV.sum(dim=(1, 2), keepdim=True)
