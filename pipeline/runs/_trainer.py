"""The state of one training, step by step; a checkpoint holds it whole.

What is random at step n is drawn from (seed, n), or from the generator whose state the checkpoint keeps; nothing
depends on how often a run was stopped.

Where several processes train together, each has its share of the windows of every step; what they count, the loss and
its gradient are summed over all, so each makes the same step that one process would make. The first one writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.models import ModularNetwork
from neuroloom.models.forcing import forcing
from neuroloom.models.recurrence import Cut, Nudge
from neuroloom.pipeline.runs._ahead import ahead
from neuroloom.pipeline.runs._described import described, sized
from neuroloom.pipeline.runs._fabric import fabric_of
from neuroloom.pipeline.runs._terms import Terms
from neuroloom.pipeline.runs.choosing import Choice
from neuroloom.pipeline.runs.run import Run, hidden
from neuroloom.pipeline.runs.run_files import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    TOPOLOGY,
    check_same,
    read_checkpoint,
    read_config,
    read_metrics,
    write_checkpoint,
)
from neuroloom.pipeline.runs.run_logs import RunLogs
from neuroloom.pipeline.runs.shrinking import Shares, shrink_readouts
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Batch, Windows, known_targets

Progress = Callable[[int, float], None]
PRUNED_BETWEEN = (0.2, 0.7)  # shares of the steps; the rest is for the network to recover
PRUNINGS = 20


class Trainer:
    """One training. choice: the weights that were chosen for objectives which had candidates. loggers: by name."""

    def __init__(
        self,
        network: ModularNetwork,
        data: Windows,
        config: TrainConfig,
        folder: Path | None,
        choice: Choice,
        loggers: Sequence[str] = (),
    ) -> None:
        self.network, self.data, self.config, self.folder, self.choice = network, data, config, folder, choice
        self.fabric = fabric_of(config)
        self.is_first, self.n_processes = self.fabric.is_global_zero, self.fabric.world_size
        self.share = slice(self.fabric.global_rank, None, self.n_processes)
        torch.manual_seed(config.seed)
        self.was_learning = {name: p.requires_grad for name, p in network.named_parameters()}
        self._freeze()
        self.terms = Terms(network, data, choice.objectives, seed=config.seed)
        self.learning = [p for p in (*network.parameters(), *self.terms.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(self.learning, lr=config.learning_rate, weight_decay=config.weight_decay)
        # Fabric moves the network in place and keeps its methods; the wrapped one is for forward calls alone.
        self.wrapped, self.optimizer = self.fabric.setup(network, optimizer)
        self.terms.to(self.fabric.device)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _Schedule(config.steps))
        self.step, self.stale = 0, 0
        self.best_loss, self.best_step = float("inf"), 0
        self.best = _copied(network.state_dict())
        self.kept: Shares | None = None  # of readouts, once they are shrunk
        self.losses: list[float] = []
        self.saved_s = time.monotonic()
        self.loggers, self.logs = loggers, RunLogs((), None, 0)

    def start(self, *, resume: bool) -> None:
        """From the beginning, or from the checkpoint that lies in the folder."""
        if self.folder is None:
            return
        goes_on = self._goes_on(self.folder, resume) if self.is_first else False
        if self._summed(torch.tensor(int(goes_on))):
            self._restore(self.folder)

    def _goes_on(self, folder: Path, resume: bool) -> bool:
        """Whether a checkpoint lies in the folder that is to be gone on from; else the folder is made anew."""
        folder.mkdir(parents=True, exist_ok=True)
        said = said_of(self.network, self.data, self.config)
        there = (folder / CONFIG).is_file()
        if there and resume:
            check_same(read_config(folder), said, folder / CONFIG)
            if (folder / CHECKPOINT).is_file():
                return True
        (folder / CHECKPOINT).unlink(missing_ok=True)
        durable.write_bytes(folder / METRICS, b"")
        write_settings(folder, self.network, said)
        return False

    def go(self, tell: Progress) -> None:
        """All steps that are left, and what comes after the last."""
        if self._is_done() and (self.kept is not None or not self.config.shrink_readouts):
            return
        self.logs, state = RunLogs(self.loggers if self.is_first else (), self.folder, self.step), "failed"
        try:
            self._go(tell)
            state = "success"
        finally:
            self.logs.close(state)

    def _is_done(self) -> bool:
        config = self.config
        return self.step >= config.steps or bool(config.patience and self.stale >= config.patience)

    def _go(self, tell: Progress) -> None:
        def make(step: int) -> Batch:
            return self.data.train.random_batch(step, batch_size=self.config.batch_size, share=self.share)

        with ahead(make, self.step, self.config.steps) as batch_of:
            self._through(batch_of, tell)

    def _through(self, batch_of: Callable[[int], Batch], tell: Progress) -> None:
        config = self.config
        while not self._is_done():
            row = self._one_step(batch_of(self.step))
            if not np.isfinite(row["loss"]):
                raise ValueError(f"loss {row['loss']} at step {self.step}; a smaller learning rate may keep it finite")
            self.losses.append(row["loss"])
            self._log(row)
            tell(self.step, row["loss"])
            self._prune()
            if self.step % config.validate_every == 0 or self.step == config.steps:
                self._validate()
            if self.step % config.checkpoint_every == 0 or time.monotonic() - self.saved_s > config.checkpoint_s:
                self._save()
        if config.shrink_readouts:
            self._shrink()
        self._save()

    def _shrink(self) -> None:
        """The readouts of the best network; the one that training ended with stays as it is."""
        last = _copied(self.network.state_dict())
        self.network.load_state_dict(self.best)
        self.kept = shrink_readouts(self.network, self.data)
        self.best = _copied(self.network.state_dict())
        self.network.load_state_dict(last)
        self._log({"step": self.step, "kept": self.kept})

    def finished(self) -> Run:
        """The run, its network at its best validation."""
        self.network.load_state_dict(self.best)
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(self.was_learning[name])
        return Run(
            network=self.network,
            window_config=self.data.config,
            config=self.config,
            folder=self.folder,
            losses=tuple(self.losses),
            best_step=self.best_step,
            best_loss=self.best_loss,
            choice=self.choice.rows,
            kept=self.kept or {},
            feature_config=self.data.feature_config,
        )

    def _freeze(self) -> None:
        """Leave alone what is not to be trained, and the sessions that are not here."""
        if self.config.train_only != "session":
            return
        self.network.freeze_shared()
        here = {id(p) for session in self.data.sessions for p in self.network.own_parameters(session)}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in here)

    # One step ------------------------------------------------------------------------------------------------------

    def _one_step(self, batch: Batch) -> dict[str, Any]:
        self.network.train()
        self._seed_noise()
        done = self.step / self.config.steps
        warm_up_bins = min(round(self.config.warm_up_s / self.data.config.bin_s), self.data.config.n_bins // 2)
        scored = np.arange(self.data.config.n_bins) >= warm_up_bins
        active = self.terms.active(done)
        cuts, nudge = self._cuts(batch, active), self._nudge(batch, done)
        outputs = self._outputs(batch, self._kept(batch), cuts, nudge, self._n_hidden())
        losses = self._losses(batch, outputs, scored, done)
        in_time = torch.from_numpy(scored).to(self.fabric.device)[None, :, None]
        extra = {i: self.terms.value(i, batch, outputs[self.terms.cut(i)], in_time) for i in active}
        known = {i: value for i, value in extra.items() if value is not None}
        loss = self._total(losses, batch.session, done)
        # What is no sum over windows is the same in every process.
        loss = loss + sum(self.terms.weighed(i, value, done) for i, value in known.items()) / self.n_processes
        norm = self._stepped(loss)
        loss, *parts = self._summed(torch.stack([loss.detach(), *(v.detach() for v in losses.values())]))
        losses = dict(zip(losses, parts, strict=True))
        rate = self.scheduler.get_last_lr()[0]
        self.scheduler.step()
        self.step += 1
        row = {"step": self.step, "loss": loss.item(), "gradient_norm": norm, "learning_rate": rate}
        said: dict[str, Any] = row | {"session": batch.session, "ports": {n: v.item() for n, v in losses.items()}}
        labelled = {f"{i}: {self.terms.configs[i].label()}": value.item() for i, value in known.items()}
        return said | ({"objectives": labelled} if self.terms.configs else {})

    def _stepped(self, loss: Tensor) -> float:
        """One step down; gives the norm of the gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        if not loss.requires_grad:  # a batch may hold no known target at all
            return 0.0
        self.fabric.backward(loss)
        self._sum_gradients()
        clip = self.config.clip_norm
        norm = self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        if not torch.as_tensor(norm).isfinite():
            raise ValueError(
                f"gradients of norm {float(norm)} after step {self.step}; a smaller learning rate may keep them finite"
            )
        self.optimizer.step()
        return float(norm)

    # Several processes ----------------------------------------------------------------------------------------------

    def _summed(self, value: Tensor) -> Tensor:
        """A tensor summed over all processes; of one process, the tensor itself.

        Raises ConnectionError where another one has ended.
        """
        if self.n_processes == 1:
            return value
        try:
            total: Tensor = self.fabric.all_reduce(value.to(self.fabric.device), reduce_op="sum")
        except RuntimeError as error:
            raise ConnectionError(f"another process of this training cannot be reached: {error}") from error
        return total

    def _sum_gradients(self) -> None:
        """Every process gets the same gradients: of the loss of the whole batch."""
        if self.n_processes == 1:
            return
        own = [p.grad for p in self.learning if p.grad is not None]  # the same parameters in every process
        total = self._summed(torch.cat([grad.flatten() for grad in own]))
        for grad, part in zip(own, torch.split(total, [grad.numel() for grad in own]), strict=True):
            grad.copy_(part.view_as(grad))

    def _seed_noise(self) -> None:
        """Each of several processes draws noise of its own for its windows, from the seed, the step and its number."""
        if self.n_processes > 1:
            drawn = np.random.SeedSequence([self.config.seed, 2, self.step, self.fabric.global_rank])
            torch.manual_seed(int(drawn.generate_state(1, np.uint64)[0] >> 1))

    # What a step is made of -----------------------------------------------------------------------------------------

    def _cuts(self, batch: Batch, active: list[int]) -> set[Cut]:
        ports = {self.terms.cut_of_port(name) for name in batch.targets}
        return ports | {self.terms.cut(i) for i in active}

    def _nudge(self, batch: Batch, done: float) -> Nudge | None:
        """What draws the states to the recording at this step."""
        asked = self.config.forcing
        strength = 0.0 if asked is None else asked.schedule().at(done)
        names = [] if asked is None else [name for name in asked.ports if name in batch.targets]
        if strength == 0 or not names:
            return None
        device = self.fabric.device
        targets = {name: batch.targets[name].to(device) for name in names}
        masks = {name: batch.masks[name].to(device) for name in names}
        return forcing(self.network, batch.session, targets, masks, strength=strength)

    def _outputs(
        self, batch: Batch, kept: list[str], cuts: set[Cut], nudge: Nudge | None = None, n_hidden: int = 0
    ) -> dict[Cut, dict[str, Tensor]]:
        """What the network says, once for every way in which the gradient is cut."""
        device = self.fabric.device
        inputs = {name: batch.inputs[name].to(device) for name in kept}
        seen = hidden(batch.input_masks, n_hidden)
        masks = {name: seen[name].to(device) for name in kept}
        in_order = sorted(cuts, key=lambda cut: (cut.every_bins, cut.between_areas))
        return {
            cut: self.wrapped(batch.session, inputs, masks, with_states=True, cut=cut, nudge=nudge) for cut in in_order
        }

    def _losses(
        self, batch: Batch, outputs: Mapping[Cut, Mapping[str, Tensor]], scored: NDArray[np.bool_], done: float
    ) -> dict[str, Tensor]:
        """Mean nats per known element of each target, in bins that are scored.

        In a step of several processes: this one's part of the mean over the whole batch.
        """
        device, losses = self.fabric.device, {}
        for name, target in batch.targets.items():
            readout: Any = self.network.readout(batch.session, name)
            mask = known_targets(batch, name, scored, readout).to(device)
            n_known = self._summed(mask.sum()) if self.network.training else mask.sum()
            if n_known > 0 and self._port_weight(name, done) != 0:
                said = outputs[self.terms.cut_of_port(name)][name].float()
                losses[name] = readout.nll(said, target.to(device), mask).sum() / n_known
        return losses

    def _port_weight(self, name: str, done: float) -> float:
        return self.config.port_weights.get(name, 1.0) * self.terms.weight_of_port(name, done)

    def _total(self, losses: Mapping[str, Tensor], session: str, done: float, only: tuple[str, ...] = ()) -> Tensor:
        total, weights = torch.zeros((), device=self.fabric.device), 0.0
        for name, loss in losses.items():
            n_channels = self.data.sessions[session].features[name].port.n_channels
            weight = self._port_weight(name, done) * n_channels**0.5
            if not only or name in only:
                total, weights = total + weight * loss, weights + weight
        return total / max(weights, 1e-12)

    def _n_hidden(self) -> int:
        """Bins at the end of this step's windows whose inputs it does not see."""
        return round(self.config.forward_s / self.data.config.bin_s) if self.step % 2 else 0

    def _kept(self, batch: Batch) -> list[str]:
        """The inputs of this step, after whole ports have been dropped."""
        names = list(batch.inputs)
        if self.config.input_dropout == 0:
            return names
        rng = np.random.default_rng([self.config.seed, 1, self.step])
        kept = [name for name in names if rng.random() >= self.config.input_dropout]
        return kept or [names[int(rng.integers(len(names)))]]

    def _prune(self) -> None:
        """Remove connections little by little, fast at first (the cubic schedule of Zhu and Gupta 2017)."""
        config, (first, last) = self.config, PRUNED_BETWEEN
        if not config.prune_to:
            return
        every = max(1, round((last - first) * config.steps / PRUNINGS))
        done = (self.step / config.steps - first) / (last - first)
        if done <= 0 or self.step % every or done - every / config.steps / (last - first) >= 1:
            return
        removed = self.network.prune(config.prune_to * (1 - (1 - min(done, 1.0)) ** 3), scale_mm=config.prune_scale_mm)
        self.best_loss, self.stale = float("inf"), 0  # what is not pruned to the end is not what was asked for
        self._log({"step": self.step, "removed": removed})

    # Between steps -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _validate(self) -> None:
        self.network.eval()
        totals: list[tuple[float, int]] = []
        warm_up_bins = self.data.config.n_bins // 2
        for batch in self.data.validation.batches(batch_size=64, warm_up_bins=warm_up_bins, share=self.share):
            cuts = {self.terms.cut_of_port(name) for name in batch.targets}
            (outputs,) = self._outputs(batch, list(batch.inputs), {min(cuts, key=repr)}).values()
            losses = self._losses(batch, dict.fromkeys(cuts, outputs), batch.scored, 1.0)
            if losses:
                total = self._total(losses, batch.session, 1.0, self.choice.select_on)
                totals.append((total.item(), len(batch.first_bins)))
        sums = torch.tensor([sum(value * n for value, n in totals), sum(n for _, n in totals)], dtype=torch.float64)
        total, n_windows = self._summed(sums).tolist()
        loss = total / n_windows if n_windows else float("nan")
        if not n_windows:  # no target has weight: nothing to choose by, so the latest network it is
            self.best_step, self.best = self.step, _copied(self.network.state_dict())
        elif loss < self.best_loss:
            self.best_loss, self.best_step, self.stale = loss, self.step, 0
            self.best = _copied(self.network.state_dict())
        else:
            self.stale += 1
        self._log({"step": self.step, "validation": loss if np.isfinite(loss) else None, "best": self.best_step})

    def _log(self, row: Mapping[str, Any]) -> None:
        self.logs.row(row)
        if self.folder is not None and self.is_first:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        if self.folder is None or not self.is_first:
            return
        state = {
            "step": self.step,
            "stale": self.stale,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "network": self.network.state_dict(),
            "best": self.best,
            "kept": self.kept,
            "terms": self.terms.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"last_epoch": self.scheduler.last_epoch, "last_lr": self.scheduler.get_last_lr()},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.fabric.device.type == "cuda" else [],
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _restore(self, folder: Path) -> None:
        state = read_checkpoint(folder)
        self.network.load_state_dict(state["network"])
        self.terms.load_state_dict(state["terms"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.scheduler._last_lr = state["scheduler"]["last_lr"]
        self.best = _copied(state["best"])
        self.step, self.stale = int(state["step"]), int(state["stale"])
        self.best_loss, self.best_step = float(state["best_loss"]), int(state["best_step"])
        self.kept = state.get("kept")  # older checkpoints know nothing of it
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])
        rows = [
            row
            for row in read_metrics(folder)
            if row["step"] <= self.step and (self.kept is not None or "kept" not in row)
        ]
        if self.is_first:
            durable.write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.losses = [row["loss"] for row in rows if "loss" in row]


def said_of(network: ModularNetwork, data: Windows, config: TrainConfig) -> dict[str, Any]:
    """Everything that decides the numbers, as JSON has it."""
    said: dict[str, Any] = {"training": asdict(config), "windows": asdict(data.config), "network": described(network)}
    del said["training"]["processes"]
    if not config.shrink_readouts:  # runs that were begun before there was such a thing go on
        del said["training"]["shrink_readouts"]
    said["features"] = asdict(data.feature_config)
    said["bins"] = {name: one.features.n_bins for name, one in data.sessions.items()}
    if data.control:
        said["control"] = data.control
    plain: dict[str, Any] = json.loads(json.dumps(said))
    return plain


def write_settings(folder: Path, network: ModularNetwork, said: Mapping[str, Any]) -> None:
    """The settings of a run, and its topology with the size of every area."""
    sizes = network.exists.sum(dim=(1, 2)).long().tolist()
    durable.write_text(folder / TOPOLOGY, sized(network.topology, sizes).to_toml())
    durable.write_json(folder / CONFIG, said)


class _Schedule:
    """Learning rate over its base: up in 2 % of the steps, then down along a cosine to 5 %."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, step: int) -> float:
        rise = max(1, self.steps // 50)
        if step < rise:
            return (step + 1) / rise
        done = min(1.0, (step - rise) / max(1, self.steps - rise))
        return float(0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * done)))


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
