"""Train a network on windows; stop it at any instant and go on to the same numbers.

    FOLDER/config.json      settings of the training, of the windows and of the network
    FOLDER/topology.toml    the network's topology, with the size of every area
    FOLDER/metrics.jsonl    one line per step (loss, gradient norm) and per validation
    FOLDER/checkpoint.pt    network, best network, optimizer, scheduler, random state: tensors and numbers only
    FOLDER/scores.json      what `evaluate` found

What is random at step n is drawn from (seed, n), or from the generator whose state the checkpoint keeps; nothing
depends on how often a run was stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.ingest.session import Session
from neuroloom.models import ModularNetwork, Port, Topology
from neuroloom.pipeline.windowing import Batch, Split, WindowConfig, Windows, windows

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Progress = Callable[[int, float], None]

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
CONFIG = "config.json"
TOPOLOGY = "topology.toml"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    warm_up_s: first part of each window that no loss is taken of: the network does not know yet where it is.
    input_dropout: chance that a whole input port is missing from a batch (never all of them).
    port_weights: factor on a target's loss; 0 leaves it out. Ports weigh as the square root of their channels.
    select_on: targets whose validation loss chooses the best network; empty means all, as they are trained.
    patience: validations without a better one after which training stops; 0 for never.
    checkpoint_every, checkpoint_s: whichever of steps and seconds comes first.
    precision: as Lightning Fabric names it ("32-true", "bf16-mixed").
    """

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    warm_up_s: float = 0.2
    input_dropout: float = 0.0
    port_weights: Mapping[str, float] = field(default_factory=dict)
    select_on: tuple[str, ...] = ()
    validate_every: int = 100
    patience: int = 8
    checkpoint_every: int = 200
    checkpoint_s: float = 60.0
    accelerator: str = "cpu"
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.validate_every < 1 or self.checkpoint_every < 1:
            raise ValueError(
                f"steps {self.steps}, batch size {self.batch_size}, validation every {self.validate_every}, checkpoint "
                f"every {self.checkpoint_every}; each must be 1 or more"
            )
        if not 0 <= self.input_dropout < 1:
            raise ValueError(f"input dropout {self.input_dropout}; from 0 to below 1 is wanted")


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """A trained network, with what is needed to use it: the best of its validations."""

    network: ModularNetwork
    window_config: WindowConfig
    config: TrainConfig
    folder: Path | None = None
    losses: tuple[float, ...] = ()
    best_step: int = 0
    best_loss: float = float("inf")
    name: str = "network"

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run as it lies in its folder, at its best validation so far.

        Raises ValueError naming the file that is missing or does not hold what it should.
        """
        home = Path(folder)
        said = _read_config(home)
        network = _rebuilt(said["network"], home / TOPOLOGY)
        state = _read_checkpoint(home)
        network.load_state_dict(state["best"])
        return cls(
            network=network,
            window_config=_window_config(said["windows"]),
            config=_train_config(said["training"]),
            folder=home,
            losses=tuple(row["loss"] for row in read_metrics(home) if "loss" in row),
            best_step=int(state["best_step"]),
            best_loss=float(state["best_loss"]),
        )

    def predict(self, data: Split | Session) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Session -> target port -> expected values (N, C), choices as class probabilities (N, K).

        Of a split N runs over its windows, in order; of a session over all its bins. Spikes are in counts per bin,
        all else in standard deviations of the training time. Raises ValueError for a session it was not trained on.
        """
        if isinstance(data, Session):
            return self._of_session(data)
        return {session: self._of_tiles(data, session, data.tiles(session)) for session in data.sessions}

    def _of_session(self, session: Session) -> dict[str, dict[str, NDArray[np.float64]]]:
        made = windows([session], **asdict(self.window_config))
        length, n_bins = self.window_config.n_bins, made.sessions[session.id].features.n_bins
        starts = [*range(0, n_bins - length, length), n_bins - length]
        found = self._of_tiles(made.train, session.id, starts)
        n_new = n_bins - length * (len(starts) - 1)  # the last window overlaps the one before it
        return {
            session.id: {
                port: np.concatenate([out[: n_bins - n_new], out[len(out) - n_new :]]) for port, out in found.items()
            }
        }

    @torch.no_grad()
    def _of_tiles(self, split: Split, session: str, starts: list[int]) -> dict[str, NDArray[np.float64]]:
        self.network.eval()
        warm_up_bins, size = self.window_config.n_bins, self.config.batch_size
        found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in split.sessions[session].target_names}
        for i in range(0, len(starts), size):
            batch = split.batch(session, starts[i : i + size], warm_up_bins=warm_up_bins)
            device = next(self.network.parameters()).device
            outputs = self.network(session, _to(batch.inputs, device), _to(batch.input_masks, device))
            for name, parts in found.items():
                readout: Any = self.network.readout(session, name)
                mean = readout.mean(outputs[name])[:, batch.scored]
                parts.append(mean.flatten(0, 1).double().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}


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
            network.attach(session, inputs, outputs)
            for port in outputs:
                _start_readout(network, data, session, port)
            continue
        for what, mine, theirs in (("inputs", known[0], inputs), ("outputs", known[1], outputs)):
            if list(mine) != list(theirs):
                raise ValueError(f"{session}: the network was attached with other {what} than the windows have")


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
            _check_same(_read_config(self.folder), said, self.folder / CONFIG)
            if (self.folder / CHECKPOINT).is_file():
                self._restore()
                return
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        durable.write_bytes(self.folder / METRICS, b"")
        sizes = self.network.exists.sum(dim=(1, 2)).long().tolist()
        durable.write_text(self.folder / TOPOLOGY, _sized(self.network.topology, sizes).to_toml())
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
        _write_checkpoint(self.folder / CHECKPOINT, state)

    def _restore(self) -> None:
        if self.folder is None:
            return
        state = _read_checkpoint(self.folder)
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
            "network": _described(self.network),
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


def _to(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in tensors.items()}


# What lies in a run's folder ---------------------------------------------------------------------------------------


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Lines of `metrics.jsonl`, up to one that was being written when the run was stopped."""
    rows: list[dict[str, Any]] = []
    for line in (folder / METRICS).read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    import io

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    durable.write_bytes(path, buffer.getvalue())


def _read_checkpoint(folder: Path) -> dict[str, Any]:
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no checkpoint there; a run that has come to its first one is wanted") from error
    return state


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; the settings of a run are wanted") from error
    return said


def _check_same(there: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    for part in said:
        if there.get(part) != said[part]:
            raise ValueError(
                f"{path}: the run there has other settings under {part!r}; choose another folder or resume=False"
            )


def _train_config(said: Mapping[str, Any]) -> TrainConfig:
    return TrainConfig(**{**said, "select_on": tuple(said["select_on"])})


def _window_config(said: Mapping[str, Any]) -> WindowConfig:
    names = {key: None if said[key] is None else tuple(said[key]) for key in ("inputs", "targets")}
    return WindowConfig(**{**said, **names})


def _described(network: ModularNetwork) -> dict[str, Any]:
    """What builds the same network again, less what only sets first weights: the checkpoint has them."""
    kinds = {
        network.node_names[node]: type(group.packed).__module__.rsplit(".", 1)[-1]
        for group in network.groups
        for node in group.nodes.tolist()
    }
    noise = {name: float(value) for name, value in zip(network.node_names, network.noise_scale.flatten(), strict=True)}
    sessions = {name: _ports_said(network, name) for name in _session_names(network)}
    return {
        "settings": {
            "bin_s": network.bin_s,
            "kind": kinds,
            "rank": network.messages.rank,
            "dale": network.messages.dale,
            "noise": noise,
            "detach_every": network.detach_every,
            "seed": network.seed,
        },
        "sessions": sessions,
    }


def _session_names(network: ModularNetwork) -> Iterator[str]:
    from urllib.parse import unquote

    for key in network.sessions:
        yield unquote(key.removeprefix("n_"))


def _ports_said(network: ModularNetwork, session: str) -> dict[str, Any]:
    inputs, outputs = network.ports(session)
    return {"inputs": [asdict(port) for port in inputs], "outputs": [asdict(port) for port in outputs]}


def _rebuilt(said: Mapping[str, Any], topology: Path) -> ModularNetwork:
    network = ModularNetwork(Topology.read(topology), **said["settings"])
    for session, ports in said["sessions"].items():
        network.attach(session, *([_port(row) for row in ports[side]] for side in ("inputs", "outputs")))
    return network


def _port(row: Mapping[str, Any]) -> Port:
    return Port(**{**row, "channel_names": tuple(row["channel_names"]), "areas": tuple(row["areas"])})


def _sized(topology: Topology, sizes: list[int]) -> Topology:
    n_areas = len(topology.areas)
    return replace(
        topology,
        areas=tuple(replace(a, size=n) for a, n in zip(topology.areas, sizes[:n_areas], strict=True)),
        global_modules=tuple(replace(m, size=n) for m, n in zip(topology.global_modules, sizes[n_areas:], strict=True)),
    )


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
