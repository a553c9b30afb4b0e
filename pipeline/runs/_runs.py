"""A run and its folder: settings, the trained network, and what reads them back.

FOLDER/config.json      settings of the training, of the windows and of the network
FOLDER/topology.toml    the network's topology, with the size of every area
FOLDER/metrics.jsonl    one line per step (loss, gradient norm) and per validation
FOLDER/checkpoint.pt    network, best network, optimizer, scheduler, random state: tensors and numbers only
FOLDER/choice.json      where weights of objectives were chosen: what every candidate came to, see `choosing.py`
FOLDER/candidates/NN/   their trainings, folders like this one
FOLDER/scores.json      what `evaluate` found
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.ingest.session import Session
from neuroloom.models import ModularNetwork, Port, Topology
from neuroloom.pipeline.runs._settings import check_settings
from neuroloom.pipeline.runs.features import FeatureConfig
from neuroloom.pipeline.runs.objectives import ForcingConfig, ObjectiveConfig
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.windowing import Split, Windows, windows

if TYPE_CHECKING:
    from neuroloom.pipeline.scores.evaluation import Scores

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"
CONFIG = "config.json"
TOPOLOGY = "topology.toml"
CHOICE = "choice.json"
CANDIDATES = "candidates"
TAIL_BYTES = 1 << 14
OF_SHARES = ("outputs", "pathways", "time_constants", "own")  # a sum over windows, or nothing of the batch at all


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    warm_up_s: first part of each window that no loss is taken of: the network does not know yet where it is.
    forward_s: last part of each window whose inputs are hidden in every other step, so that it learns to predict that
        far ahead; `evaluate` then scores it, too.
    input_dropout: chance that a whole input port is missing from a batch (never all of them).
    port_weights: factor on a target's loss; 0 leaves it out. Ports weigh as the square root of their channels.
    objectives: what else is asked for; see `objectives.py`. choose_steps: steps of each training that a choice of their
        weights takes, 0 for as many as `steps` (then the winner's training is the run's).
    forcing: recordings that the states are drawn to while training.
    train_only: "all", or "session": what the sessions here have of their own; what all share stays as it is.
    prune_to: share of the connections between areas that is removed on the way, 0 for none; the weakest go first.
        prune_scale_mm: and the longer ones, see `ModularNetwork.prune`.
    select_on: targets whose validation loss chooses the best network; empty means all, as they are trained, or all
        behaviour where weights of objectives are chosen.
    shrink_readouts: at the end each readout is drawn towards a constant as far as is best on validation time, so that
        no target is told worse than by its mean for what is good for others; see `shrinking.py`.
    patience: validations without a better one after which training stops; 0 for never.
    checkpoint_every, checkpoint_s: whichever of steps and seconds comes first.
    precision: as Lightning Fabric names it ("32-true", "bf16-mixed").
    processes: that train together, one per device on an accelerator; each takes its share of every batch. They are
        started by `train_run`; a script of yours is started in as many by `torchrun`. It changes no number beyond
        rounding, unless the network has noise, so a run may go on with another number of them.
    """

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    warm_up_s: float = 0.2
    forward_s: float = 0.0
    input_dropout: float = 0.0
    port_weights: Mapping[str, float] = field(default_factory=dict)
    objectives: tuple[ObjectiveConfig, ...] = ()
    choose_steps: int = 0
    forcing: ForcingConfig | None = None
    train_only: Literal["all", "session"] = "all"
    prune_to: float = 0.0
    prune_scale_mm: float | None = None
    select_on: tuple[str, ...] = ()
    validate_every: int = 100
    shrink_readouts: bool = False
    patience: int = 8
    checkpoint_every: int = 200
    checkpoint_s: float = 60.0
    accelerator: str = "cpu"
    precision: str = "32-true"
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.steps < 1 or self.batch_size < 1 or self.validate_every < 1 or self.checkpoint_every < 1:
            raise ValueError(
                f"steps {self.steps}, batch size {self.batch_size}, validation every {self.validate_every}, checkpoint "
                f"every {self.checkpoint_every}; each must be 1 or more"
            )
        if not 0 <= self.input_dropout < 1:
            raise ValueError(f"input dropout {self.input_dropout}; from 0 to below 1 is wanted")
        if self.train_only not in ("all", "session"):
            raise ValueError(f"train_only is {self.train_only!r}; 'all' or 'session' is wanted")
        if not 0 <= self.prune_to < 1 or (self.prune_scale_mm is not None and self.prune_scale_mm <= 0):
            raise ValueError(
                f"prune_to {self.prune_to}, prune_scale_mm {self.prune_scale_mm}; from 0 to below 1, and a length "
                "above 0, are wanted"
            )
        if not 0 <= self.choose_steps <= self.steps:
            raise ValueError(f"choose_steps {self.choose_steps}; from 0 to the {self.steps} steps is wanted")
        self._check_processes()

    def _check_processes(self) -> None:
        n = self.processes
        if not 1 <= n <= self.batch_size:
            raise ValueError(
                f"processes is {n}; a whole number from 1 to the {self.batch_size} windows of a batch is wanted"
            )
        for objective in self.objectives if n > 1 else ():
            if len(objective.candidates) > 1:
                raise ValueError(
                    f"processes is {n}, but the weight of objective {objective.label()!r} is to be chosen among "
                    f"{len(objective.candidates)}; one weight, or one process, is wanted"
                )
            if objective.takes not in OF_SHARES:
                raise ValueError(
                    f"processes is {n}, but objective {objective.label()!r} is taken of whole batches; "
                    "one process is wanted"
                )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> TrainConfig:
        """As TOML or JSON has it. Raises ValueError or TypeError saying what is wrong."""
        given = dict(table)
        given["objectives"] = tuple(ObjectiveConfig.from_table(one) for one in given.get("objectives", ()))
        if given.get("forcing") is not None:
            forcing = dict(given["forcing"])
            given["forcing"] = ForcingConfig(**{**forcing, "ports": tuple(forcing.get("ports", ()))})
        given["select_on"] = tuple(given.get("select_on", ()))
        return cls(**given)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Run:
    """A trained network, with what is needed to use it: the best of its validations.

    choice: what every candidate of the objectives' weights came to, where they were chosen; see `choosing.py`.
    kept: session -> port -> how much of what its readout says was kept, where they were shrunk; see `shrinking.py`.
    feature_config: how the features of its sessions were made. is_whole: whether its training has ended.
    """

    network: ModularNetwork
    window_config: WindowConfig
    config: TrainConfig
    folder: Path | None = None
    losses: tuple[float, ...] = ()
    best_step: int = 0
    best_loss: float = float("inf")
    choice: tuple[Mapping[str, Any], ...] = ()
    kept: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    feature_config: FeatureConfig = field(default_factory=FeatureConfig)
    name: str = "network"
    is_whole: bool = True

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """A run as it lies in its folder, at its best validation so far.

        Raises ValueError naming the file that is missing or does not hold what it should.
        """
        home = Path(folder)
        said = read_config(home)
        network = _rebuilt(said["network"], home / TOPOLOGY)
        state = read_checkpoint(home)
        network.load_state_dict(state["best"])
        config = TrainConfig.from_table(said["training"])
        return cls(
            network=network,
            window_config=_window_config(said["windows"]),
            config=config,
            is_whole=_has_ended(state, config),
            folder=home,
            losses=tuple(row["loss"] for row in read_metrics(home) if "loss" in row),
            best_step=int(state["best_step"]),
            best_loss=float(state["best_loss"]),
            choice=tuple(_choice(home)),
            kept=state.get("kept") or {},
            feature_config=_feature_config(said.get("features", {})),
        )

    def __repr__(self) -> str:
        topology = self.network.topology
        told = f"{len(topology.areas)} areas of {topology.name!r}, {len(self.losses)} steps"
        best = f", best {self.best_loss:.4g} at step {self.best_step}" if self.best_step else ""
        return f"<Run {self.name}: {told}{best}{f', {self.folder}' if self.folder else ''}>"

    def _repr_html_(self) -> str:
        from neuroloom.ingest.shown import html_table

        rows = [(name, value) for name, value in asdict(self.config).items() if value not in ((), {}, None)]
        return html_table(repr(self), ("setting", "value"), rows, len(rows))

    def plot(self, scores: Scores | None = None) -> Any:
        """A matplotlib figure of its loss and its scores: those given, else those in its folder, if there are any."""
        from neuroloom.pipeline.runs.run_plot import plot_run

        return plot_run(self, scores)

    def predict(self, data: Split | Session) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Session -> target port -> expected values (N, C), choices as class probabilities (N, K).

        Of a split N runs over its windows, in order; of a session over all its bins. Spikes are in counts per bin,
        all else in standard deviations of the training time. Raises ValueError for a session it was not trained on.
        """
        if isinstance(data, Session):
            return {data.id: self.predict_whole(self.windows_of(data).sessions[data.id])}
        return {session: self._of_tiles(data, session, data.tiles(session)) for session in data.sessions}

    def forecast(self, split: Split, n_bins: int) -> dict[str, dict[str, NDArray[np.float64]]]:
        """As `predict` of a split, without the inputs of the last `n_bins` bins of each window."""
        return {session: self._of_tiles(split, session, split.tiles(session), n_bins) for session in split.sessions}

    def windows_of(self, session: Session) -> Windows:
        """A session cut as those were that the run was trained on."""
        return windows([session], **asdict(self.window_config), features=self.feature_config)

    def predict_whole(self, data: SessionData) -> dict[str, NDArray[np.float64]]:
        """As `predict`, of all bins of one session that was cut already."""
        split = Windows(sessions={data.id: data}, config=self.window_config).train
        length, n_bins = self.window_config.n_bins, data.features.n_bins
        starts = [*range(0, n_bins - length, length), n_bins - length]
        found = self._of_tiles(split, data.id, starts)
        n_new = n_bins - length * (len(starts) - 1)  # the last window overlaps the one before it
        return {port: np.concatenate([out[: n_bins - n_new], out[len(out) - n_new :]]) for port, out in found.items()}

    def chances(self, split: Split) -> dict[str, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
        """Session -> target port -> how likely a value up to the one that came was, and the variance, both (N, C).

        N as in `predict`; ports of numbers whose readout has a `cdf` only.
        """

        def read(readout: Any, parameters: Tensor, target: Tensor) -> Tensor:
            return torch.cat(readout.cdf(parameters, target), dim=2)

        found: dict[str, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
        for session, data in split.sessions.items():
            able = [name for name in data.target_names if hasattr(self.network.readout(session, name), "cdf")]
            both = self._of_tiles(split, session, split.tiles(session), read=read, ports=able)
            found[session] = {name: (v[:, : v.shape[1] // 2], v[:, v.shape[1] // 2 :]) for name, v in both.items()}
        return found

    @torch.no_grad()
    def _of_tiles(
        self,
        split: Split,
        session: str,
        starts: list[int],
        n_hidden: int = 0,
        *,
        read: Callable[[Any, Tensor, Tensor], Tensor] = lambda readout, parameters, target: readout.mean(parameters),
        ports: Sequence[str] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """What is read from the outputs (B, T, ...) of every window. read: (readout, parameters, target)."""
        self.network.eval()
        warm_up_bins, size = self.window_config.n_bins, self.config.batch_size
        names = split.sessions[session].target_names if ports is None else ports
        found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in names}
        for i in range(0, len(starts), size):
            batch = split.batch(session, starts[i : i + size], warm_up_bins=warm_up_bins)
            device = next(self.network.parameters()).device
            masks = _to(hidden(batch.input_masks, n_hidden), device)
            outputs = self.network(session, _to(batch.inputs, device), masks)
            for name, parts in found.items():
                values = read(self.network.readout(session, name), outputs[name], batch.targets[name].to(device))
                parts.append(values[:, batch.scored].flatten(0, 1).double().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in found.items()}


def hidden(masks: Mapping[str, Tensor], n_bins: int) -> dict[str, Tensor]:
    """Masks (B, T, C) with the last `n_bins` bins unknown."""
    if n_bins == 0:
        return dict(masks)
    return {
        name: mask & (torch.arange(mask.shape[1]) < mask.shape[1] - n_bins)[:, None] for name, mask in masks.items()
    }


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


def steps_done(folder: Path) -> int:
    """How far the run in a folder has come, from the last whole line of its metrics; 0 where it has not begun."""
    rows = latest_rows(folder)
    return int(rows[-1]["step"]) if rows else 0


def latest_rows(folder: Path) -> list[dict[str, Any]]:
    """The last whole lines of the metrics, without those before them being read."""
    path = folder / METRICS
    if not path.is_file():
        return []
    with path.open("rb") as file:
        # From the byte before: what comes up to the first end of a line is a rest of one, whatever it begins with.
        before = path.stat().st_size - TAIL_BYTES - 1
        if before >= 0:
            file.seek(before)
            file.readline()
        lines = file.read().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    durable.write_bytes(path, buffer.getvalue())


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run, read as tensors and numbers only. Raises ValueError where there is none."""
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no checkpoint there; a run that has come to its first one is wanted") from error
    return state


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run. Raises ValueError naming the file where they cannot be read."""
    path = folder / CONFIG
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: {why}; the settings of a run are wanted") from error
    return said


def _has_ended(state: Mapping[str, Any], config: TrainConfig) -> bool:
    """Whether a training has, by its checkpoint. One without steps was written at the end (`reinforcing.py`)."""
    if "step" not in state:
        return True
    stopped_early = bool(config.patience) and int(state["stale"]) >= config.patience
    is_shrunk = not config.shrink_readouts or state.get("kept") is not None
    return (int(state["step"]) >= config.steps or stopped_early) and is_shrunk


def check_same(there: Mapping[str, Any], said: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError where the settings in a folder are not the ones wanted now."""
    for part in (*said, *(key for key in there if key not in said)):
        if there.get(part) != said.get(part):
            raise ValueError(
                f"{path}: the run there has other settings under {part!r}; choose another folder or resume=False"
            )


def _choice(folder: Path) -> list[Mapping[str, Any]]:
    path = folder / CHOICE
    return list(json.loads(path.read_text(encoding="utf-8"))["candidates"]) if path.is_file() else []


def _feature_config(said: Mapping[str, Any]) -> FeatureConfig:
    lists = {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
    bands = {name: tuple(band) for name, band in said.get("bands", {}).items()}
    return FeatureConfig(**{**said, **lists, "bands": bands})


def _window_config(said: Mapping[str, Any]) -> WindowConfig:
    names = {key: None if said[key] is None else tuple(said[key]) for key in ("inputs", "targets")}
    return WindowConfig(**{**said, **names})


def described(network: ModularNetwork) -> dict[str, Any]:
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
            "kind_options": network.kind_options,
            "rank": network.messages.rank,
            "dale": network.messages.dale,
            "session_size": network.session_size,
            "noise": noise,
            "detach_every": network.detach_every,
            "recompute_bins": network.recompute_bins,
            "seed": network.seed,
        },
        "sessions": sessions,
    }


def _session_names(network: ModularNetwork) -> Iterator[str]:
    for key in network.sessions:
        yield unquote(key.removeprefix("n_"))


def _ports_said(network: ModularNetwork, session: str) -> dict[str, Any]:
    inputs, outputs = network.ports(session)
    return {"inputs": [asdict(port) for port in inputs], "outputs": [asdict(port) for port in outputs]}


def _rebuilt(said: Mapping[str, Any], topology: Path) -> ModularNetwork:
    network = ModularNetwork(Topology.read(topology), **said["settings"])
    for session, ports in said["sessions"].items():
        network.attach(session, *([Port.from_table(row) for row in ports[side]] for side in ("inputs", "outputs")))
    return network


def sized(topology: Topology, sizes: list[int]) -> Topology:
    """The topology with the number of units of every area and global module written into it."""
    n_areas = len(topology.areas)
    return replace(
        topology,
        areas=tuple(replace(a, size=n) for a, n in zip(topology.areas, sizes[:n_areas], strict=True)),
        global_modules=tuple(replace(m, size=n) for m, n in zip(topology.global_modules, sizes[n_areas:], strict=True)),
    )
