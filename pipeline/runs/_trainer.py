"""The state of one training, step by step; a checkpoint holds it whole.

What is random at step n is drawn from (seed, n), or from the generator whose state the checkpoint keeps; nothing
depends on how often a run was stopped.

    Trainer     steps, and what lies between them: validations, checkpoints, the log
    Passes      a batch through the network, `_passes.py`
    Terms       objectives besides the likelihood, `_terms.py`
    Several     the other processes of the same training, `_several.py`
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.models import ModularNetwork
from neuroloom.pipeline.runs._ahead import ahead
from neuroloom.pipeline.runs._fabric import fabric_of
from neuroloom.pipeline.runs._passes import Passes
from neuroloom.pipeline.runs._several import Several
from neuroloom.pipeline.runs._terms import Terms
from neuroloom.pipeline.runs.choosing import Choice
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.run_files import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    check_same,
    read_checkpoint,
    read_config,
    read_metrics,
    write_checkpoint,
)
from neuroloom.pipeline.runs.run_logs import RunLogs
from neuroloom.pipeline.runs.run_settings import said_of, write_settings
from neuroloom.pipeline.runs.shrinking import Shares, shrink_readouts
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Batch, Windows

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
        self.several = Several(self.fabric, config.seed)
        torch.manual_seed(config.seed)
        self.was_learning = {name: p.requires_grad for name, p in network.named_parameters()}
        self._freeze()
        self.terms = Terms(network, data, choice.objectives, seed=config.seed)
        self.learning = [p for p in (*network.parameters(), *self.terms.parameters()) if p.requires_grad]
        optimizer = torch.optim.AdamW(self.learning, lr=config.learning_rate, weight_decay=config.weight_decay)
        # Fabric moves the network in place and keeps its methods; the wrapped one is for forward calls alone.
        self.wrapped, self.optimizer = self.fabric.setup(network, optimizer)
        self.terms.to(self.fabric.device)
        self.passes = Passes(
            network=network, wrapped=self.wrapped, data=data, config=config, terms=self.terms, several=self.several
        )
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
        goes_on = self._goes_on(self.folder, resume) if self.several.is_first else False
        if self.several.summed(torch.tensor(int(goes_on))):
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
        self.logs, state = RunLogs(self.loggers if self.several.is_first else (), self.folder, self.step), "failed"
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
            return self.data.train.random_batch(step, batch_size=self.config.batch_size, share=self.several.share)

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
        self.several.seed_noise(self.step)
        done = self.step / self.config.steps
        warm_up_bins = min(round(self.config.warm_up_s / self.data.config.bin_s), self.data.config.n_bins // 2)
        scored = np.arange(self.data.config.n_bins) >= warm_up_bins
        active = self.terms.active(done)
        passes = self.passes
        cuts, nudge = passes.cuts(batch, active), passes.nudge(batch, done)
        outputs = passes.outputs(batch, passes.kept(batch, self.step), cuts, nudge, passes.n_hidden(self.step))
        losses = passes.losses(batch, outputs, scored, done)
        in_time = torch.from_numpy(scored).to(self.fabric.device)[None, :, None]
        extra = {i: self.terms.value(i, batch, outputs[self.terms.cut(i)], in_time) for i in active}
        known = {i: value for i, value in extra.items() if value is not None}
        loss = passes.total(losses, batch.session, done)
        # What is no sum over windows is the same in every process.
        loss = loss + sum(self.terms.weighed(i, value, done) for i, value in known.items()) / self.several.n
        norm = self._stepped(loss)
        loss, *parts = self.several.summed(torch.stack([loss.detach(), *(v.detach() for v in losses.values())]))
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
        self.several.sum_gradients(self.learning)
        clip = self.config.clip_norm
        norm = self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=clip, error_if_nonfinite=False)
        if not torch.as_tensor(norm).isfinite():
            raise ValueError(
                f"gradients of norm {float(norm)} after step {self.step}; a smaller learning rate may keep them finite"
            )
        self.optimizer.step()
        return float(norm)

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
        for batch in self.data.validation.batches(batch_size=64, warm_up_bins=warm_up_bins, share=self.several.share):
            cuts = {self.terms.cut_of_port(name) for name in batch.targets}
            (outputs,) = self.passes.outputs(batch, list(batch.inputs), {min(cuts, key=repr)}).values()
            losses = self.passes.losses(batch, dict.fromkeys(cuts, outputs), batch.scored, 1.0)
            if losses:
                total = self.passes.total(losses, batch.session, 1.0, self.choice.select_on)
                totals.append((total.item(), len(batch.first_bins)))
        sums = torch.tensor([sum(value * n for value, n in totals), sum(n for _, n in totals)], dtype=torch.float64)
        total, n_windows = self.several.summed(sums).tolist()
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
        if self.folder is not None and self.several.is_first:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        if self.folder is None or not self.several.is_first:
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
        if self.several.is_first:
            durable.write_text(folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.losses = [row["loss"] for row in rows if "loss" in row]


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
