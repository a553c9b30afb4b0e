"""A little reinforcement on top of a copy: answers that are rewarded become likelier, on a leash to the copy.

    name = "better"              # the file's name where it is left out; `neuroloom reinforce better.toml`
    copy = "reach"               # a trained run
    port = "trials_choice"       # whose answers are rewarded
    events = "cue"               # a reward depends on the answer and on the kind of the last of these events
    leash = 0.5                  # what one nat of divergence from the copy costs, in units of reward
    steps = 200
    [reward.hard]                # event -> answer -> reward; 0 where nothing is said
    left = 1.0

What is climbed is E[reward] - leash KL(policy || copy), by a policy gradient (Williams 1992) with the other draws of
the same answer as baseline (Kool et al. 2019). Answers change nothing of what comes next: what was shown is recorded.
Hence the optimum is known: chances of the copy times exp(reward / leash), scaled to 1. `reinforce_run` says how near it
came on held-out time, and how far it has moved from its person: `fidelity` before and after.

Shapes: B windows, T bins, N answers, K classes, E kinds of event, S draws.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.noting import note_run
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.run_files import CHECKPOINT, METRICS, write_checkpoint
from neuroloom.pipeline.runs.run_settings import said_of, write_settings
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.windowing import Batch, Split, Windows
from neuroloom.pipeline.scores.ceilings import events_of, since_event
from neuroloom.pipeline.scores.fidelity import Fidelity, fidelity
from neuroloom.pipeline.store import Store, slug

Matrix = NDArray[np.float64]
Progress = Callable[[int, float], None]

REPORT = "reinforced.json"
N_DRAWS = 8


class ReinforceConfig(Config):
    """See the head of this file."""

    name: str = ""
    copy_: str = Field(alias="copy", min_length=1)
    port: str
    events: str = ""
    leash: float = Field(default=0.5, gt=0)
    reward: dict[str, dict[str, float]] = Field(min_length=1)
    steps: int = Field(default=200, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Reached:
    """Held-out answers: mean reward and divergence from the copy in bits, of the copy, the policy and the optimum."""

    n_answers: int
    copy_reward: float
    reward: float
    best_reward: float
    bits: float
    best_bits: float

    def words(self) -> str:
        """In a sentence."""
        return (
            f"reward {self.copy_reward:.3f} of the copy, {self.reward:.3f} now, {self.best_reward:.3f} at the optimum "
            f"of this leash; {self.bits:.3f} bits per answer from the copy, {self.best_bits:.3f} at the optimum "
            f"({self.n_answers} held-out bins)"
        )


def reinforce(run: Run, data: Windows, config: ReinforceConfig, progress: Progress | None = None) -> Run:
    """A policy that starts as the copy; the copy stays as it is.

    Raises ValueError where the port has no classes, or a reward names an event or answer that there is not, or an event
    that no answer follows.
    """
    tables = {session: reward_table(one, config) for session, one in data.sessions.items()}
    _refuse_idle(data, tables, config)
    policy = copy.deepcopy(run.network).eval()
    before = run.network.eval()
    learning = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    losses = []
    for step in range(config.steps):
        batch = data.train.random_batch(step, batch_size=config.batch_size)
        value = _value(policy, before, batch, data, tables[batch.session], config, generator)
        if value is not None:
            optimizer.zero_grad()
            (-value).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            losses.append(-value.item())
        if progress is not None:
            progress(step + 1, losses[-1] if losses else 0.0)
    best_loss = float(np.mean(losses[-20:])) if losses else float("nan")
    return replace(run, network=policy, folder=None, losses=tuple(losses), best_step=config.steps, best_loss=best_loss)


def reward_table(data: SessionData, config: ReinforceConfig) -> Matrix:
    """Reward by kind of event and answer, (E + 1, K); the last line is for answers before any event."""
    if config.port not in data.target_names or not data.features[config.port].port.is_classes:
        able = [name for name in data.target_names if data.features[name].port.is_classes]
        raise ValueError(f"{data.id}: {config.port!r} is no target of classes; there are {', '.join(able) or 'none'}")
    kinds = data.features[events_of(data, config.events)].port.channel_names
    answers = data.features[config.port].class_names
    table = np.zeros((len(kinds) + 1, len(answers)))
    for event, rewards in config.reward.items():
        for answer, value in rewards.items():
            if event not in kinds or answer not in answers:
                raise ValueError(
                    f"{data.id}: a reward for {answer!r} after {event!r}; events are {', '.join(kinds)}, answers "
                    f"{', '.join(answers)}"
                )
            table[kinds.index(event), answers.index(answer)] = value
    return table


def _refuse_idle(data: Windows, tables: Mapping[str, Matrix], config: ReinforceConfig) -> None:
    """Raises ValueError where no answer could earn more than another, naming the events that answers do follow."""
    followed: set[str] = set()
    for session, one in data.sessions.items():
        known = one.targets_at(config.port, 0, one.features.n_bins)[1][:, 0]
        kinds = np.unique(last_kinds(one, config.events)[known])
        if np.ptp(tables[session][kinds], axis=1).any():
            return
        names = one.features[events_of(one, config.events)].port.channel_names
        followed |= {names[kind] for kind in kinds if kind >= 0}
    raise ValueError(
        f"no answer of {config.port} is rewarded more than another: the last event before one is "
        f"{' or '.join(sorted(followed)) or 'none'}, and rewards are for {', '.join(config.reward)}"
    )


def _value(
    policy: Any, before: Any, batch: Batch, data: Windows, table: Matrix, config: ReinforceConfig, draw: torch.Generator
) -> Tensor | None:
    """What is climbed, with the policy gradient as its gradient; None where the batch asks for no answer."""
    known = batch.masks[config.port][..., 0]
    if not known.any():
        return None
    log_p = _log_chances(policy, batch, config.port)[known]
    with torch.no_grad():
        log_q = _log_chances(before, batch, config.port)[known]
    one = data.sessions[batch.session]
    rewards_NK = torch.from_numpy(table[_kinds(one, config, batch)]).float()[known]
    drawn_NS = torch.multinomial(log_p.detach().exp(), N_DRAWS, replacement=True, generator=draw)
    got = rewards_NK.gather(1, drawn_NS)
    others = (got.sum(dim=1, keepdim=True) - got) / (N_DRAWS - 1)
    gain = ((got - others) * log_p.gather(1, drawn_NS)).mean()
    divergence = (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()
    climbed = gain - config.leash * divergence
    return climbed + (got.mean() - gain).detach()  # the number is the mean reward less the leash, the gradient the same


def _log_chances(network: Any, batch: Batch, port: str) -> Tensor:
    """Log chances of the classes, (B, T, K)."""
    said = network(batch.session, batch.inputs, batch.input_masks)[port]
    return torch.log_softmax(network.readout(batch.session, port).logits(said), dim=2)


def _kinds(data: SessionData, config: ReinforceConfig, batch: Batch) -> NDArray[np.int64]:
    """The kind of the last event, (B, T); -1 for none."""
    bins = batch.first_bins[:, None] + np.arange(batch.masks[config.port].shape[1])
    kinds = last_kinds(data, config.events)
    return np.asarray(kinds[np.clip(bins, 0, len(kinds) - 1)], dtype=np.int64)


def last_kinds(data: SessionData, events: str) -> NDArray[np.int64]:
    """The kind of the last event at every bin of a session, (T,)."""
    found = since_event(data, events_of(data, events), 0, data.features.n_bins)
    return np.asarray(found[:, 0], dtype=np.int64)


def reached(run: Run, policy: Run, split: Split, config: ReinforceConfig) -> Reached:
    """How near a policy came to the optimum of its leash, on a split."""
    before, after = run.predict(split), policy.predict(split)
    parts = []
    for session, data in split.sessions.items():
        starts, length = split.tiles(session), split.config.n_bins
        known = np.concatenate([data.targets_at(config.port, s, s + length)[1][:, 0] for s in starts])
        bins = np.concatenate([np.arange(s, s + length) for s in starts])[known]
        rewards = reward_table(data, config)[last_kinds(data, config.events)[bins]]
        q, p = (np.clip(each[session][config.port][known], 1e-12, 1) for each in (before, after))
        best = optimum(q, rewards, config.leash)
        bits = [(one * np.log2(one / q)).sum(axis=1) for one in (p, best)]
        parts.append(np.stack([*((one * rewards).sum(axis=1) for one in (q, p, best)), *bits], axis=1))
    each = np.concatenate(parts)
    means = each.mean(axis=0)
    return Reached(
        n_answers=len(each), copy_reward=float(means[0]), reward=float(means[1]), best_reward=float(means[2]),
        bits=float(means[3]), best_bits=float(means[4]),
    )  # fmt: skip


def optimum(chances_NK: Matrix, rewards_NK: Matrix, leash: float) -> Matrix:
    """What climbs highest on that leash: chances of the copy times exp(reward / leash), (N, K)."""
    raised = chances_NK * np.exp((rewards_NK - rewards_NK.max(axis=1, keepdims=True)) / leash)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


# By config ---------------------------------------------------------------------------------------------------------


def read_reinforce_config(path: Path) -> ReinforceConfig:
    """A config file with its name made definite. Raises ConfigError."""
    config = read_config(path, ReinforceConfig)
    return config.model_copy(update={"name": slug(config.name or path.stem)})


def reinforce_run(
    config: ReinforceConfig, store: Store, progress: Progress | None = None
) -> tuple[Reached, Fidelity, Fidelity]:
    """The policy as a run of its own, with what it reached, and fidelity to the person before and after.

    Raises ConfigError where the name is taken, StoreError where the copy is not there or a consent has ended.
    """
    folder = store.run_folder(config.name)
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; give this one another name")
    asked = preparing.permitted(store, config.copy_)
    run, data = running.open_run(store, config.copy_), running.windows_of(asked, store)
    policy = reinforce(run, data, config, progress)
    found = reached(run, policy, data.held_out, config)
    how: dict[str, Any] = {"events": config.events, "damage": False}
    old, new = replace(run, name=config.copy_), replace(policy, name=config.name)
    before = fidelity(old, data.held_out, **how, beside=[new])
    after = fidelity(new, data.held_out, **how, beside=[old], against=old)
    _write(config, asked, policy, data, folder, found, (before, after))
    catalog = Catalog.of(store)
    summary = {"sessions": list(asked.sessions), "words": found.words()}
    note_run(store, catalog, config.name, kind="reinforce", state=DONE, reason="", summary=summary)
    catalog.close()
    return found, before, after


def _write(
    config: ReinforceConfig,
    asked: run_config.RunConfig,
    policy: Run,
    data: Windows,
    folder: Path,
    found: Reached,
    both: tuple[Fidelity, Fidelity],
) -> None:
    """A run's folder, whole or not at all: it is opened, scored and compared as any is."""
    with durable.new_folder(folder) as staging:
        write_settings(staging, policy.network, said_of(policy.network, data, policy.config))
        state: Mapping[str, Any] = policy.network.state_dict()
        write_checkpoint(
            staging / CHECKPOINT, {"best": state, "best_step": policy.best_step, "best_loss": policy.best_loss}
        )
        rows = [{"step": i, "loss": loss} for i, loss in enumerate(policy.losses, 1)]
        durable.write_text(staging / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        said = asked.model_copy(
            update={"name": config.name, "start_from": config.copy_, "network": {}, "functional": {}}
        )
        durable.write_json(staging / preparing.REQUEST, json.loads(said.model_dump_json()))
        report = {"asked": json.loads(config.model_dump_json(by_alias=True)), **asdict(found)}
        report |= {"before": both[0].sentences(), "after": both[1].sentences()}
        durable.write_json(staging / REPORT, report)
        both[1].to_json(staging / "fidelity.json")
