"""Teaching one network what another one does, from a stream of what it reads: one conversion at a time.

    logits      its distribution alone
    hidden      its states alone, through a learned linear map; then the last layer, on a trunk that stands still
    both        its distribution and its states
    staged      block by block, each fed with the teacher's own states; then all blocks, on their own inputs; then the
                distribution alone (after Bick et al. 2024)
    local       both, block by block: no gradient goes from a block into the one before it
    electrodes  both, but for the states what noisy electrodes see of them
    shuffled    control: electrodes, at wrong times

Sequences lie in pieces of one batch; a piece that comes again has the same noise: it was recorded once.
Shapes: B sequences of a batch, T steps, D features, K targets, V answers, N sequences of a test.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from neuroloom.models.speaker import Shape, Speaker
from neuroloom.models.teachers import Teacher, Watched, sampled
from neuroloom.pipeline.config import Config
from neuroloom.pipeline.studies._decoders import Scaler
from neuroloom.pipeline.studies._device import AUTO, place_of
from neuroloom.pipeline.studies._students import masked_nats
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, Electrodes, implant, shuffled

ARMS = ("logits", "hidden", "both", "staged", "local", "electrodes", "shuffled")
PAIRED = ("staged", "local")  # block i learns from layer i
TRUNK = 0.8  # of the steps of `hidden`, before its last layer is taught
STAGES = (0.25, 0.5)  # ends of the first two stages
WARM_UP = 20  # steps
CALIBRATION = 64  # sequences


class Schooling(Config):
    """steps of `batch` sequences; averaging: of the weights that are tested."""

    steps: int = Field(default=400, ge=1)
    batch: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    averaging: float = Field(default=0.98, ge=0, lt=1)
    device: str = AUTO

    @property
    def place(self) -> torch.device:
        """The device: an accelerator where there is one and nothing else is asked for."""
        return place_of(self.device)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """Sequences that nobody learns from, with what the teacher would answer and what it did answer."""

    symbols_NT: Tensor
    log_prob_NTV: Tensor
    answers_NT: Tensor

    def kl(self, log_prob_NTV: Tensor) -> float:
        """Divergence from the teacher, nats per answer."""
        return float((self.log_prob_NTV.exp() * (self.log_prob_NTV - log_prob_NTV)).nan_to_num().sum(dim=-1).mean())

    def agreement(self, log_prob_NTV: Tensor) -> float:
        """Share of steps at which both hold the same answer likeliest."""
        return float((self.log_prob_NTV.argmax(dim=-1) == log_prob_NTV.argmax(dim=-1)).double().mean())

    def nats(self, log_prob_NTV: Tensor) -> float:
        """Per answer that was given."""
        return float(masked_nats(log_prob_NTV, self.answers_NT).mean())


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """What the teacher reads: pieces to learn from, and sequences kept for calibrating, choosing and testing."""

    teacher: Teacher
    pieces: tuple[Tensor, ...]
    calibration: Watched
    choosing: Examined
    test: Examined

    def piece(self, step: int) -> tuple[int, Tensor]:
        """The piece that a step reads, and its number."""
        number = step % len(self.pieces)
        return number, self.pieces[number]


def stream(teacher: Teacher, *, length: int, n: int, batch: int, n_test: int, seed: int = 0) -> Stream:
    """Read n sequences of that length to learn from, and others for all else."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + 21)
    read = teacher.read(CALIBRATION + 2 * n_test + n, length, generator).symbols_BT
    calibration, choosing, test, rest = torch.split(read, [CALIBRATION, n_test, n_test, n])
    return Stream(
        teacher=teacher,
        pieces=tuple(torch.split(rest, batch)[: max(1, n // batch)]),
        calibration=teacher.watch(calibration),
        choosing=_examined(teacher, choosing, generator),
        test=_examined(teacher, test, generator),
    )


def _examined(teacher: Teacher, symbols_NT: Tensor, generator: torch.Generator) -> Examined:
    log_prob = teacher.watch(symbols_NT, layers=teacher.layers[:1]).log_prob_BTV
    return Examined(symbols_NT=symbols_NT, log_prob_NTV=log_prob, answers_NT=sampled(log_prob, generator))


@dataclass(kw_only=True, eq=False)
class Converted:
    """A taught network at the end of its stream. curve: (tokens read, divergence at the test)."""

    speaker: Speaker
    strength: float
    validation_nats: float
    curve: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What one batch teaches: symbols (B, T), the teacher's distribution, and targets: per layer, or electrodes."""

    symbols_BT: Tensor
    log_prob_BTV: Tensor
    states: tuple[Tensor, ...]
    electrodes_BTK: Tensor | None


def convert(
    lessons: Stream,
    shape: Shape,
    arm: str,
    schooling: Schooling,
    *,
    seed: int,
    strength: float = 0.0,
    electrodes: ElectrodeConfig | None = None,
) -> Converted:
    """Teach a new network. strength: of what is not the distribution, in arms that have both.

    Raises ValueError for an arm that is not there or that the two networks are no pair for.
    """
    course = _Course(lessons, shape, arm, schooling, seed, strength, electrodes)
    tested = _test_steps(schooling.steps)
    curve = []
    for step in range(schooling.steps):
        course.one_step(step)
        if step + 1 in tested:
            tokens = (step + 1) * schooling.batch * lessons.pieces[0].shape[1]
            curve.append((tokens, lessons.test.kl(answers(course.mean, lessons.test.symbols_NT))))
    nats = lessons.choosing.nats(answers(course.mean, lessons.choosing.symbols_NT))
    return Converted(speaker=course.mean.cpu().eval(), strength=strength, validation_nats=nats, curve=curve)


@torch.no_grad()
def answers(speaker: Speaker, symbols_NT: Tensor) -> Tensor:
    """Log-probabilities (N, T, V), on the CPU."""
    place = next(speaker.parameters()).device
    return torch.cat([speaker(part.to(place)).log_softmax(dim=-1).cpu() for part in torch.split(symbols_NT, 64)])


class _Course:
    """A network on its way through an arm; `mean` is a running mean of its weights (Polyak averaging)."""

    def __init__(
        self,
        lessons: Stream,
        shape: Shape,
        arm: str,
        schooling: Schooling,
        seed: int,
        strength: float,
        electrodes: ElectrodeConfig | None,
    ) -> None:
        self.lessons, self.arm, self.schooling, self.strength = lessons, arm, schooling, strength
        states = lessons.calibration.states
        self.scales = {name: float(state.square().mean().sqrt()) for name, state in states.items()}
        _check(arm, shape, states)
        self.implanted, self.scaler = _implanted(electrodes, states)
        widths = [state.shape[-1] for state in states.values()]
        n_targets = sum(widths) if self.implanted is None else self.implanted.config.n_channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            speaker = Speaker(shape)
            whole = nn.Linear(shape.blocks * shape.width, n_targets)
            each = nn.ModuleList(nn.Linear(shape.width, width) for width in widths)
        self.speaker, self.whole = speaker.to(schooling.place), whole.to(schooling.place)
        self.each = each.to(schooling.place)
        self.mean = copy.deepcopy(self.speaker)
        self.parameters = [*self.speaker.parameters(), *self.whole.parameters(), *self.each.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=schooling.learning_rate, weight_decay=schooling.weight_decay, betas=(0.9, 0.99)
        )

    def one_step(self, step: int) -> None:
        """Read a piece and learn from it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schooling.learning_rate * min(1.0, (step + 1) / WARM_UP)
        loss = self._loss(self._seen(step), step / self.schooling.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.schooling.clip_norm)
        self.optimizer.step()
        keep = min(self.schooling.averaging, step / (step + 10))
        with torch.no_grad():
            for mine, now in zip(self.mean.parameters(), self.speaker.parameters(), strict=True):
                mine.lerp_(now, 1 - keep)

    def _loss(self, seen: _Seen, done: float) -> Tensor:
        """done: share of the steps that lie behind."""
        if self.arm == "hidden":
            return self._states_loss(seen) if done < TRUNK else self._head_loss(seen)
        if self.arm == "staged" and done < STAGES[0]:
            return self._block_by_block(seen)
        logits, states = self.speaker.watched(seen.symbols_BT, local=self.arm == "local")
        if self.arm == "staged" and done < STAGES[1]:
            return self._paired(states, seen)
        loss = nn.functional.kl_div(
            logits.log_softmax(dim=-1).flatten(0, 1), seen.log_prob_BTV.flatten(0, 1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
        if self.arm in ("logits", "staged"):
            return loss
        if self.arm == "local":
            return loss + self.strength * self._paired(states, seen)
        return loss + self.strength * self._whole(states, seen)

    def _states_loss(self, seen: _Seen) -> Tensor:
        return self._whole(self.speaker.watched(seen.symbols_BT)[1], seen)

    def _head_loss(self, seen: _Seen) -> Tensor:
        """The trunk stands still."""
        with torch.no_grad():
            last = self.speaker.watched(seen.symbols_BT)[1][-1]
        log_prob = self.speaker.answered(last).log_softmax(dim=-1)
        return -(seen.log_prob_BTV.exp() * log_prob).sum(dim=-1).mean()

    def _whole(self, states: Sequence[Tensor], seen: _Seen) -> Tensor:
        """Mean squared error of a linear map from all blocks together."""
        target = torch.cat(seen.states, dim=-1) if seen.electrodes_BTK is None else seen.electrodes_BTK
        return nn.functional.mse_loss(self.whole(torch.cat(list(states), dim=-1)), target)

    def _paired(self, states: Sequence[Tensor], seen: _Seen) -> Tensor:
        """The same of block i from layer i, each with a map of its own; staged without one: it is to be that state."""
        mapped = states if self.arm == "staged" else [to(state) for to, state in zip(self.each, states, strict=True)]
        parts = zip(mapped, seen.states, strict=True)
        return torch.stack([nn.functional.mse_loss(state, target) for state, target in parts]).mean()

    def _block_by_block(self, seen: _Seen) -> Tensor:
        """Every block is fed with what the teacher's layer before it gave; the first with its own symbols."""
        fed = [self.speaker.symbols(seen.symbols_BT), *seen.states[:-1]]
        return self._paired([self.speaker.through(i, x) for i, x in enumerate(fed)], seen)

    @torch.no_grad()
    def _seen(self, step: int) -> _Seen:
        number, symbols = self.lessons.piece(step)
        watched, place = self.lessons.teacher.watch(symbols), self.schooling.place
        electrodes = None
        if self.implanted is not None:
            electrodes = self._recorded(watched.states, number).view(*symbols.shape, -1).to(place)
        return _Seen(
            symbols_BT=symbols.to(place),
            log_prob_BTV=watched.log_prob_BTV.to(place).clamp_min(math.log(1e-12)),
            states=tuple((watched.states[name] / scale).to(place) for name, scale in self.scales.items()),
            electrodes_BTK=electrodes,
        )

    def _recorded(self, states: Mapping[str, Tensor], number: int) -> Tensor:
        """What electrodes see of a piece, (B T, K); the noise is the piece's own."""
        assert self.implanted is not None
        assert self.scaler is not None
        config = self.implanted.config
        own = config.model_copy(update={"noise_seed": 100_003 * config.noise_seed + number})
        values = replace(self.implanted, config=own).record(_flat(states)).values_TK
        if self.arm == "shuffled":
            values = shuffled(values, number)
        return self.scaler(torch.as_tensor(np.ascontiguousarray(values)))


def _check(arm: str, shape: Shape, states: Mapping[str, Tensor]) -> None:
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there are: {', '.join(ARMS)}")
    if arm in PAIRED and shape.blocks != len(states):
        raise ValueError(f"{arm}: {shape.blocks} blocks cannot be paired with {len(states)} layers of the teacher")
    widths = {state.shape[-1] for state in states.values()}
    if arm == "staged" and widths != {shape.width}:
        raise ValueError(f"staged: blocks of width {shape.width} cannot be fed with states of width {sorted(widths)}")


def _implanted(config: ElectrodeConfig | None, states: Mapping[str, Tensor]) -> tuple[Electrodes | None, Scaler | None]:
    if config is None:
        return None, None
    electrodes = implant(config, _flat(states))
    return electrodes, Scaler.of(torch.as_tensor(electrodes.record(_flat(states)).values_TK))


def _flat(states: Mapping[str, Tensor]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return {name: state.flatten(0, 1).numpy() for name, state in states.items()}


def _test_steps(steps: int) -> set[int]:
    """1/64, 1/32, ... of all steps, and all of them; and the places between."""
    return {max(1, round(steps * 2 ** (-i / 2))) for i in range(13)}
