"""A run: a trained network with the settings of its training; its folder is told of in `run_files.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroloom.ingest.session import Session
from neuroloom.models import ModularNetwork
from neuroloom.pipeline.runs._described import rebuilt
from neuroloom.pipeline.runs.features import FeatureConfig
from neuroloom.pipeline.runs.run_files import (
    CHECKPOINT,
    CONFIG,
    TOPOLOGY,
    first_line,
    read_checkpoint,
    read_choice,
    read_config,
    read_metrics,
)
from neuroloom.pipeline.runs.session_data import SessionData
from neuroloom.pipeline.runs.splitting import WindowConfig
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Split, Windows, windows

if TYPE_CHECKING:
    from neuroloom.pipeline.scores.evaluation import Scores


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
        said, state = read_config(home), read_checkpoint(home)
        try:
            return cls._of_files(home, said, state)
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            found = f"{CONFIG}, {TOPOLOGY} and {CHECKPOINT} make no network ({first_line(error)})"
            raise ValueError(f"{home}: {found}; those of one training are wanted") from error

    @classmethod
    def _of_files(cls, home: Path, said: Mapping[str, Any], state: Mapping[str, Any]) -> Run:
        network = rebuilt(said["network"], home / TOPOLOGY)
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
            choice=tuple(read_choice(home)),
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


def _has_ended(state: Mapping[str, Any], config: TrainConfig) -> bool:
    """Whether a training has, by its checkpoint. One without steps was written at the end (`reinforcing.py`)."""
    if "step" not in state:
        return True
    stopped_early = bool(config.patience) and int(state["stale"]) >= config.patience
    is_shrunk = not config.shrink_readouts or state.get("kept") is not None
    return (int(state["step"]) >= config.steps or stopped_early) and is_shrunk


def _feature_config(said: Mapping[str, Any]) -> FeatureConfig:
    lists = {key: tuple(value) for key, value in said.items() if isinstance(value, list)}
    bands = {name: tuple(band) for name, band in said.get("bands", {}).items()}
    return FeatureConfig(**{**said, **lists, "bands": bands})


def _window_config(said: Mapping[str, Any]) -> WindowConfig:
    names = {key: None if said[key] is None else tuple(said[key]) for key in ("inputs", "targets")}
    return WindowConfig(**{**said, **names})
