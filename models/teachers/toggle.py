"""Three pulse channels, each flipping a hidden bit: a GRU that was taught every step, longer and longer sequences.

A symbol says which channels pulse (bit i: channel i); the answer is the state of all bits (bit i: hidden bit i). With
the state known at every step and a curriculum over length the task is easy; asked for one bit at the end only, it is
not: that is what students are for.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ._cache import Weights, digest_of, kept
from ._settings import at_least, between
from ._teacher import Oracle, Reading, Teacher, Watched
from ._transformer import Progress

LEARNED_NATS = 0.05
MOST_CHANNELS = 12  # answers are all states of their bits


@dataclass(frozen=True, kw_only=True)
class Settings:
    """channels of which each pulses with chance `rate` per step.

    Training begins with sequences of `first` steps; whenever it has learned them they grow by a fifth, up to
    `longest_trained`. It may be recorded over up to `context` steps.
    """

    channels: int = 3
    rate: float = 0.2
    units: int = 64
    context: int = 400
    first: int = 3
    longest_trained: int = 100
    steps: int = 1000
    batch: int = 64
    learning_rate: float = 5e-3
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, units=1, context=1, first=1, longest_trained=1, steps=1, batch=1, learning_rate=0)
        between(self, channels=(1, MOST_CHANNELS), rate=(0, 1))


class Network(nn.Module):
    """A GRU that says of each hidden bit how likely it is on."""

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.channels = channels
        self.cell = nn.GRU(channels, units, batch_first=True)
        self.bits = nn.Linear(units, channels)

    def forward(self, symbols_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Logits per bit (B, T, channels), and the units' states (B, T, units)."""
        states, _ = self.cell(as_bits(symbols_BT, self.channels).float())
        return self.bits(states), states


def make(settings: Settings | None = None, *, cache: Path | None = None, progress: Progress | None = None) -> Teacher:
    """The trained teacher. remarks: the share of bits it has right at the last step of its longest context."""
    asked = settings or Settings()
    digest = digest_of("toggle", asdict(asked))
    network = _network(asked)
    network.load_state_dict(kept(cache, f"toggle-{digest}", lambda: _trained(asked, progress)))
    network.eval()

    def material(n: int, length: int, generator: torch.Generator) -> Reading:
        symbols = pulses(n, length, asked, generator)
        return Reading(symbols_BT=symbols, topic_BT=toggled(symbols, asked.channels))

    def forward(symbols_BT: Tensor) -> Watched:
        logits, states = network(symbols_BT)
        return Watched(states={"gru": states}, attention={}, log_prob_BTV=joint_log_prob(logits))

    def truth(symbols_BT: Tensor) -> Oracle:
        certain = nn.functional.one_hot(toggled(symbols_BT, asked.channels), 2**asked.channels).double()
        return Oracle(posterior_BTZ=certain, log_prob_BTV=certain.log())

    with torch.no_grad():
        tried = pulses(200, asked.context, asked, torch.Generator().manual_seed(asked.seed + 3))
        right = (network(tried)[0][:, -1] > 0) == as_bits(toggled(tried, asked.channels), asked.channels)[:, -1].bool()
    return Teacher(
        name="toggle",
        n_inputs=2**asked.channels,
        n_outputs=2**asked.channels,
        layers=("gru",),
        context=asked.context,
        digest=digest,
        material=material,
        forward=forward,
        truth=truth,
        remarks={"bits_right_at_the_end": float(right.double().mean()), "floor_nats": 0.0},
    )


def example() -> Teacher:
    """Two channels, 12 units, hardly trained."""
    return make(Settings(channels=2, units=12, context=20, longest_trained=12, steps=40))


def pulses(n: int, length: int, asked: Settings, generator: torch.Generator) -> Tensor:
    """Symbols (n, length): which channels pulse, each with its own chance."""
    drawn = torch.rand(n, length, asked.channels, generator=generator) < asked.rate
    return from_bits(drawn.long())


def toggled(symbols_BT: Tensor, channels: int) -> Tensor:
    """The state of all hidden bits after each step, as symbols; all are off at first."""
    return from_bits(as_bits(symbols_BT, channels).cumsum(dim=1) % 2)


def as_bits(symbols_BT: Tensor, channels: int) -> Tensor:
    """(B, T) symbols as (B, T, channels) of 0 and 1."""
    return (symbols_BT[..., None] >> torch.arange(channels, device=symbols_BT.device)) & 1


def from_bits(bits_BTC: Tensor) -> Tensor:
    """The inverse of `as_bits`."""
    return (bits_BTC << torch.arange(bits_BTC.shape[-1], device=bits_BTC.device)).sum(dim=-1)


def joint_log_prob(logits_BTC: Tensor) -> Tensor:
    """Log-probabilities of all 2^C states from independent bits, (B, T, 2^C)."""
    n = logits_BTC.shape[-1]
    on = as_bits(torch.arange(2**n, device=logits_BTC.device)[None], n)[0].to(logits_BTC.dtype)
    return nn.functional.logsigmoid(logits_BTC) @ on.T + nn.functional.logsigmoid(-logits_BTC) @ (1 - on).T


def _network(asked: Settings) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(asked.seed)
        return Network(asked.channels, asked.units)


def _trained(asked: Settings, progress: Progress | None) -> Weights:
    network = _network(asked)
    optimizer = torch.optim.Adam(network.parameters(), lr=asked.learning_rate)
    generator = torch.Generator().manual_seed(asked.seed + 2)
    length, known = float(asked.first), False
    for step in range(asked.steps):
        length = min(length * 1.2, asked.longest_trained) if known else length
        symbols = pulses(asked.batch, round(length), asked, generator)
        target = as_bits(toggled(symbols, asked.channels), asked.channels).float()
        loss = nn.functional.binary_cross_entropy_with_logits(network(symbols)[0], target)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        known = loss.item() < LEARNED_NATS
        for group in optimizer.param_groups:
            group["lr"] = asked.learning_rate * min(1.0, 2.5 * (1 - step / asked.steps))
        optimizer.step()
        if progress is not None:
            progress(step + 1, asked.steps, loss.item())
    return {name: value.detach() for name, value in network.state_dict().items()}
