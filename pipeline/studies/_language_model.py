"""A language model for noisy readers: it reads what a decoder says of symbols, and expects the next one.

It is taught on text that nobody was recorded with. For each symbol of the text it is shown what the decoder said in a
recorded moment of that very symbol, drawn anew every time, so that it learns at once what follows what and how far a
decoder of this noise is to be believed. Where a decoder was fitted on those moments it must be asked cross-fitted.
Evidence: log-likelihoods of all symbols, up to a constant per step. Shapes: N sequences, T steps, C symbols, R moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuroloom.pipeline.studies._decoders import Best

UNITS = 64
BATCH = 64
STEPS = 600
CHECK_EVERY = 25
PATIENCE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Sayings:
    """Evidence (R + 1, C) of recorded moments, sorted by their symbol, the last says nothing; first and count (C,)."""

    evidence_RC: Tensor
    first_C: Tensor
    count_C: Tensor

    @classmethod
    def of(cls, evidence_NTC: Tensor, symbols_NT: Tensor) -> Sayings:
        """What was said in the moments of these symbols."""
        n = evidence_NTC.shape[-1]
        order = symbols_NT.flatten().argsort()
        count = torch.bincount(symbols_NT.flatten(), minlength=n)
        sorted_RC = evidence_NTC.flatten(0, 1)[order]
        return cls(
            evidence_RC=torch.cat([sorted_RC, sorted_RC.new_zeros(1, n)]),
            first_C=count.cumsum(0) - count,
            count_C=count,
        )

    def drawn(self, symbols_NT: Tensor, generator: torch.Generator) -> Tensor:
        """Evidence (N, T, C) for symbols: of one moment each; nothing for a symbol that was never recorded."""
        count = self.count_C[symbols_NT]
        place = (torch.rand(symbols_NT.shape, generator=generator) * count).long()
        row = torch.where(count > 0, self.first_C[symbols_NT] + place, len(self.evidence_RC) - 1)
        return self.evidence_RC[row]


class LanguageModel(nn.Module):
    """share_C: logarithm of each symbol's share. ahead: it reads what comes after a symbol, too."""

    share_C: Tensor

    def __init__(self, share_C: Tensor, *, ahead: bool) -> None:
        super().__init__()
        self.register_buffer("share_C", share_C)
        self.ways = nn.ModuleList(nn.GRU(len(share_C), UNITS, batch_first=True) for _ in range(1 + ahead))
        self.drops = nn.Dropout(0.2)
        self.expects = nn.Linear(UNITS * (1 + ahead), len(share_C))

    def forward(self, evidence_NTC: Tensor) -> Tensor:
        """Log-probabilities (N, T, C) of each symbol from the evidence before it (and after it), never its own."""
        beliefs = (evidence_NTC + self.share_C).softmax(dim=-1)
        told = [_before(way, turned) for way, turned in zip(self.ways, (beliefs, beliefs.flip(1)), strict=False)]
        both = torch.cat([told[0], *(back.flip(1) for back in told[1:])], dim=-1)
        expected: Tensor = self.expects(self.drops(both)) + self.share_C
        return expected.log_softmax(dim=-1)


def _before(way: nn.Module, beliefs_NTC: Tensor) -> Tensor:
    """States (N, T, H) of a recurrent network before each step: nothing before the first."""
    states: Tensor = way(beliefs_NTC[:, :-1])[0]
    return nn.functional.pad(states, (0, 0, 1, 0))


def taught(
    text_NT: Tensor, sayings: Sayings, share_C: Tensor, held: tuple[Tensor, Tensor], *, ahead: bool, seed: int = 0
) -> LanguageModel:
    """A model of a text, kept where it does best on `held`: recorded evidence (N, T, C) and its symbols (N, T)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LanguageModel(share_C, ahead=ahead)
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
        best = Best(model, PATIENCE)
        for step in range(1, STEPS + 1):
            symbols = text_NT[torch.randint(len(text_NT), (BATCH,), generator=generator)]
            loss = nats(model.train()(sayings.drawn(symbols, generator)), symbols)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % CHECK_EVERY:
                continue
            with torch.no_grad():
                found = float(nats(model.eval()(held[0]), held[1]))
            if best.is_past(found):
                break
    best.restore()
    return model.eval().requires_grad_(False)


def told(model: LanguageModel, evidence_NTC: Tensor, trust: float) -> Tensor:
    """What is decoded with the model as prior, log-probabilities (N, T, C)."""
    expected: Tensor = model(evidence_NTC)
    return (expected + trust * evidence_NTC).log_softmax(dim=-1)


def nats(log_prob_NTC: Tensor, symbols_NT: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return -log_prob_NTC.gather(-1, symbols_NT[..., None]).mean()
