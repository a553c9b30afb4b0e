"""Train a network on windows; stop it at any instant and go on to the same numbers. See `_runs.py` for the folder.

What is random at step n is drawn from (seed, n), or from the generator whose state the checkpoint keeps; nothing
depends on how often a run was stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.models import ModularNetwork, Port, Topology
from neuroloom.pipeline._runs import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    TOPOLOGY,
    Run,
    TrainConfig,
    check_same,
    described,
    read_checkpoint,
    read_config,
    read_metrics,
    sized,
    write_checkpoint,
)
from neuroloom.pipeline.windowing import Batch, Windows

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["Run", "TrainConfig", "attach", "read_metrics", "train"]

Progress = Callable[[int, float], None]


def train(
    network: ModularNetwork,
    data: Windows,
    *,
    folder: str | Path | None = None,
    progress: bool | Progress = False,
    resume: bool = True,
    config: TrainConfig | None = None,
    **settings: Any,
) -> Run:
    """Train a network on `data.train`, choose the best of its states on `data.validation`.

    settings: fields of `TrainConfig`, instead of `config`. Sessions the network does not know yet are attached.
    folder: where the run lies; with `resume`, a run that lies there with the same settings goes on where it stopped.
    progress: a bar, or a function called with (step, loss) after each step.
    Raises ValueError where the folder holds a run with other settings, or where the loss is no longer finite.
    """
    if config is not None and settings:
        raise ValueError(f"config and {sorted(settings)} are both given; one of them is wanted")
    config = config or TrainConfig(**settings)
    attach(network, data)
    trainer = _Trainer(network, data, config, None if folder is None else Path(folder))
    trainer.start(resume=resume)
    with _shown(progress, config.steps) as tell:
        trainer.go(tell)
    return trainer.finished()


def attach(network: ModularNetwork, data: Windows) -> None:
    """Give each session of `data` its encoders and readouts, started at the mean and spread of training time."""
    for session, one in data.sessions.items():
        inputs, outputs = one.ports()
        try:
            known = network.ports(session)
        except ValueError:
            network.attach(session, inputs, outputs, lead_fields=lead_fields(network.topology, outputs))
            for port in outputs:
                _start_readout(network, data, session, port)
            continue
        for what, mine, theirs in (("inputs", known[0], inputs), ("outputs", known[1], outputs)):
            if list(mine) != list(theirs):
                raise ValueError(f"{session}: the network was attached with other {what} than the windows have")


def lead_fields(topology: Topology, outputs: Sequence[Port]) -> dict[str, Tensor]:
    """Per EEG port the lead field of a spherical head, (C, A), where its electrodes and all areas have known places.

    Electrodes go by their names in the extended 10-20 system; where one is not in it the mixing is learned instead.
    """
    from neuroloom.pipeline.leadfield import known_electrodes, lead_field, scaled

    positions_mm = [area.position_mm for area in topology.areas if area.position_mm is not None]
    if len(positions_mm) < len(topology.areas):
        return {}
    return {
        port.name: torch.from_numpy(scaled(lead_field(port.channel_names, positions_mm))).float()
        for port in outputs
        if port.kind == "eeg" and known_electrodes(port.channel_names)
    }


def _start_readout(network: ModularNetwork, data: Windows, session: str, port: Port) -> None:
    scaler = data.sessions[session].scalers[port.name]
    mean, std = torch.from_numpy(scaler.mean.copy()), torch.from_numpy(scaler.std.copy())
    if port.kind != "spikes":
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    start_at = getattr(network.readout(session, port.name), "start_at", None)
    if start_at is not None:
        start_at(mean, std)


class _Trainer:
    """The state of one training, which a checkpoint holds whole."""

    def __init__(self, network: ModularNetwork, data: Windows, config: TrainConfig, folder: Path | None) -> None:
        self.network, self.data, self.config, self.folder = network, data, config, folder
        self.fabric = _fabric(config)
        torch.manual_seed(config.seed)
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        # Fabric moves the network in place and keeps its methods; the wrapped one is for forward calls alone.
        self.wrapped, self.optimizer = self.fabric.setup(network, optimizer)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, _Schedule(config.steps))
        self.step, self.stale = 0, 0
        self.best_loss, self.best_step = float("inf"), 0
        self.best = _copied(network.state_dict())
        self.losses: list[float] = []
        self.saved_s = time.monotonic()

    def start(self, *, resume: bool) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self._said()
        there = (self.folder / CONFIG).is_file()
        if there and resume:
            check_same(read_config(self.folder), said, self.folder / CONFIG)
            if (self.folder / CHECKPOINT).is_file():
                self._restore()
                return
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        durable.write_bytes(self.folder / METRICS, b"")
        sizes = self.network.exists.sum(dim=(1, 2)).long().tolist()
        durable.write_text(self.folder / TOPOLOGY, sized(self.network.topology, sizes).to_toml())
        durable.write_json(self.folder / CONFIG, said)

    def go(self, tell: Progress) -> None:
        config = self.config
        while self.step < config.steps and not (config.patience and self.stale >= config.patience):
            row = self._one_step()
            if not np.isfinite(row["loss"]):
                raise ValueError(f"loss {row['loss']} at step {self.step}; a smaller learning rate may keep it finite")
            self.losses.append(row["loss"])
            self._log(row)
            tell(self.step, row["loss"])
            if self.step % config.validate_every == 0 or self.step == config.steps:
                self._validate()
            if self.step % config.checkpoint_every == 0 or time.monotonic() - self.saved_s > config.checkpoint_s:
                self._save()
        self._save()

    def finished(self) -> Run:
        self.network.load_state_dict(self.best)
        return Run(
            network=self.network,
            window_config=self.data.config,
            config=self.config,
            folder=self.folder,
            losses=tuple(self.losses),
            best_step=self.best_step,
            best_loss=self.best_loss,
        )

    def _one_step(self) -> dict[str, Any]:
        self.network.train()
        batch = self.data.train.random_batch(self.step, batch_size=self.config.batch_size)
        warm_up_bins = min(round(self.config.warm_up_s / self.data.config.bin_s), self.data.config.n_bins // 2)
        losses = self._losses(batch, self._kept(batch), scored=np.arange(self.data.config.n_bins) >= warm_up_bins)
        loss = self._total(losses, batch.session)
        self.optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:  # a batch may hold no known target at all
            self.fabric.backward(loss)
            norm = self.fabric.clip_gradients(self.wrapped, self.optimizer, max_norm=self.config.clip_norm)
            self.optimizer.step()
        rate = self.scheduler.get_last_lr()[0]
        self.scheduler.step()
        self.step += 1
        return {
            "step": self.step,
            "loss": loss.item(),
            "gradient_norm": float(norm) if loss.requires_grad else 0.0,
            "learning_rate": rate,
            "session": batch.session,
            "ports": {name: value.item() for name, value in losses.items()},
        }

    def _losses(self, batch: Batch, kept: list[str], *, scored: NDArray[np.bool_]) -> dict[str, Tensor]:
        """Mean nats per known element of each target, in bins that are scored."""
        device = self.fabric.device
        inputs = {name: batch.inputs[name].to(device) for name in kept}
        masks = {name: batch.input_masks[name].to(device) for name in kept}
        outputs = self.wrapped(batch.session, inputs, masks)
        in_time = torch.from_numpy(scored).to(device)[None, :, None]
        losses = {}
        for name, target in batch.targets.items():
            mask = batch.masks[name].to(device) & in_time
            n_known = mask.sum()
            if n_known > 0 and self.config.port_weights.get(name, 1.0) != 0:
                readout: Any = self.network.readout(batch.session, name)
                losses[name] = readout.nll(outputs[name].float(), target.to(device), mask).sum() / n_known
        return losses

    def _total(self, losses: Mapping[str, Tensor], session: str, only: tuple[str, ...] = ()) -> Tensor:
        total, weights = torch.zeros((), device=self.fabric.device), 0.0
        for name, loss in losses.items():
            n_channels = self.data.sessions[session].features[name].port.n_channels
            weight = self.config.port_weights.get(name, 1.0) * n_channels**0.5
            if not only or name in only:
                total, weights = total + weight * loss, weights + weight
        return total / max(weights, 1e-12)

    def _kept(self, batch: Batch) -> list[str]:
        """The inputs of this step, after whole ports have been dropped."""
        names = list(batch.inputs)
        if self.config.input_dropout == 0:
            return names
        rng = np.random.default_rng([self.config.seed, 1, self.step])
        kept = [name for name in names if rng.random() >= self.config.input_dropout]
        return kept or [names[int(rng.integers(len(names)))]]

    @torch.no_grad()
    def _validate(self) -> None:
        self.network.eval()
        totals: list[tuple[float, int]] = []
        warm_up_bins = self.data.config.n_bins // 2
        for batch in self.data.validation.batches(batch_size=64, warm_up_bins=warm_up_bins):
            losses = self._losses(batch, list(batch.inputs), scored=batch.scored)
            if losses:
                total = self._total(losses, batch.session, self.config.select_on)
                totals.append((total.item(), len(batch.first_bins)))
        n_windows = sum(n for _, n in totals)
        loss = sum(value * n for value, n in totals) / n_windows if n_windows else float("nan")
        if loss < self.best_loss:
            self.best_loss, self.best_step, self.stale = loss, self.step, 0
            self.best = _copied(self.network.state_dict())
        else:
            self.stale += 1
        self._log({"step": self.step, "validation": loss if np.isfinite(loss) else None, "best": self.best_step})

    def _log(self, row: Mapping[str, Any]) -> None:
        if self.folder is not None:
            with (self.folder / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _save(self) -> None:
        self.saved_s = time.monotonic()
        if self.folder is None:
            return
        state = {
            "step": self.step,
            "stale": self.stale,
            "best_loss": self.best_loss,
            "best_step": self.best_step,
            "network": self.network.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"last_epoch": self.scheduler.last_epoch, "last_lr": self.scheduler.get_last_lr()},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if self.fabric.device.type == "cuda" else [],
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _restore(self) -> None:
        if self.folder is None:
            return
        state = read_checkpoint(self.folder)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.scheduler._last_lr = state["scheduler"]["last_lr"]
        self.best = _copied(state["best"])
        self.step, self.stale = int(state["step"]), int(state["stale"])
        self.best_loss, self.best_step = float(state["best_loss"]), int(state["best_step"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"]:
            torch.cuda.set_rng_state_all(state["random_cuda"])
        rows = [row for row in read_metrics(self.folder) if row["step"] <= self.step]
        durable.write_text(self.folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
        self.losses = [row["loss"] for row in rows if "loss" in row]

    def _said(self) -> dict[str, Any]:
        """Everything that decides the numbers, as JSON has it."""
        said = {
            "training": asdict(self.config),
            "windows": asdict(self.data.config),
            "network": described(self.network),
        }
        said["bins"] = {name: one.features.n_bins for name, one in self.data.sessions.items()}
        plain: dict[str, Any] = json.loads(json.dumps(said))
        return plain


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


def _fabric(config: TrainConfig) -> Fabric:
    from lightning.fabric import Fabric

    return Fabric(accelerator=config.accelerator, devices=1, precision=config.precision)


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}


class _shown:  # noqa: N801 - used as a function
    """A progress bar on standard error, a function, or nothing."""

    def __init__(self, progress: bool | Progress, steps: int) -> None:
        self.progress, self.steps = progress, steps
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if callable(self.progress):
            return self.progress
        if not self.progress:
            return lambda step, loss: None
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True))
        self.bar.start()
        task = self.bar.add_task("", total=self.steps)
        return lambda step, loss: self.bar.update(task, completed=step, description=f"loss {loss:.4f}")

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.stop()
