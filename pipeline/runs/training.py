"""Train a network on windows; stop it at any instant and go on to the same numbers. See `run.py` for the folder.

The steps themselves lie in `_trainer.py`; what a training asks for besides the likelihood of its targets, in
`objectives.py`; how weights are chosen, in `choosing.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuroloom.ingest import durable
from neuroloom.models import ModularNetwork, Port, Topology
from neuroloom.models.forcing import can_force
from neuroloom.models.readouts import kinds as readout_kinds
from neuroloom.pipeline.runs._fabric import check_started
from neuroloom.pipeline.runs._trainer import Trainer
from neuroloom.pipeline.runs.choosing import Choice, behaviour_of, best_of, combinations, n_combinations, row_of
from neuroloom.pipeline.runs.run import Run
from neuroloom.pipeline.runs.run_files import (
    CANDIDATES,
    CHECKPOINT,
    CHOICE,
    CONFIG,
    METRICS,
    check_same,
    read_config,
    read_metrics,
)
from neuroloom.pipeline.runs.run_logs import check_names
from neuroloom.pipeline.runs.run_settings import said_of, write_settings
from neuroloom.pipeline.runs.train_config import TrainConfig
from neuroloom.pipeline.runs.windowing import Windows

__all__ = ["Run", "TrainConfig", "attach", "read_metrics", "train"]

Progress = Callable[[int, float], None]
LeadFields = Mapping[str, Tensor]


def train(
    network: ModularNetwork,
    data: Windows,
    *,
    folder: str | Path | None = None,
    progress: bool | Progress = False,
    resume: bool = True,
    loggers: Sequence[str] = ("tensorboard",),
    config: TrainConfig | None = None,
    **settings: Any,
) -> Run:
    """Train a network on `data.train`, choose the best of its states on `data.validation`.

    settings: fields of `TrainConfig`, instead of `config`. Sessions the network does not know yet are attached.
    folder: where the run lies; with `resume`, a run that lies there with the same settings goes on where it stopped.
    loggers: who is told the numbers besides `metrics.jsonl`, where there is a folder; see `run_logs.py`.
    progress: a bar, or a function called with (step, loss) after each step; steps of the trainings that a choice of
        weights takes come first.
    Raises ValueError where the folder holds a run with other settings, where an objective asks for what there is not,
    or where the loss is no longer finite.
    """
    if config is not None and settings:
        raise ValueError(f"config and {sorted(settings)} are both given; one of them is wanted")
    config = config or TrainConfig(**settings)
    check_names(loggers)
    check_started(config)
    attach(network, data)
    _check(network, data, config)
    home = None if folder is None else Path(folder)
    n_tried = n_combinations(config.objectives)
    with shown(progress, steps_of(config)) as tell:
        if n_tried == 1:
            return _trained(network, data, config, home, Choice(objectives=config.objectives), tell, resume, loggers)
        return _chosen(network, data, config, home, tell, resume, loggers)


def steps_of(config: TrainConfig) -> int:
    """All steps of a training, those of a choice of weights included."""
    n_tried = n_combinations(config.objectives)
    if n_tried == 1:
        return config.steps
    each = config.choose_steps or config.steps
    return n_tried * each + (config.steps if each < config.steps else 0)


def _trained(
    network: ModularNetwork,
    data: Windows,
    config: TrainConfig,
    folder: Path | None,
    choice: Choice,
    tell: Progress,
    resume: bool,
    loggers: Sequence[str],
) -> Run:
    choice = replace(choice, select_on=choice.select_on or config.select_on)
    trainer = Trainer(network, data, config, folder, choice, loggers)
    trainer.start(resume=resume)
    trainer.go(tell)
    return trainer.finished()


def _chosen(
    network: ModularNetwork,
    data: Windows,
    config: TrainConfig,
    folder: Path | None,
    tell: Progress,
    resume: bool,
    loggers: Sequence[str],
) -> Run:
    """Train with every combination of weights, then go on with the best for behaviour."""
    select_on = behaviour_of(data, config.select_on, config.port_weights)
    if folder is not None:
        _claim(network, data, config, folder, resume)
    each = config.choose_steps or config.steps
    tried: list[tuple[Choice, Run]] = []
    for n, objectives in enumerate(combinations(config.objectives)):
        choice = Choice(objectives=objectives, select_on=select_on)
        own = replace(config, objectives=objectives, steps=each, select_on=select_on)
        place = None if folder is None else folder / CANDIDATES / f"{n:02d}"
        run = _trained(copy.deepcopy(network), data, own, place, choice, _later(tell, n * each), resume, loggers)
        tried.append((choice, run))
    best = best_of([(choice.objectives, run.best_loss) for choice, run in tried])
    rows = tuple(row_of(choice.objectives, run.best_loss, run.best_step) for choice, run in tried)
    choice = replace(tried[best][0], rows=rows)
    if folder is not None:
        durable.write_json(folder / CHOICE, {"select_on": select_on, "chosen": best, "candidates": rows})
    if each < config.steps:
        return _trained(network, data, config, folder, choice, _later(tell, len(tried) * each), resume, loggers)
    winner = tried[best][1]
    if folder is not None:  # the winner's training is the run's
        for name in (METRICS, CHECKPOINT):
            durable.write_bytes(folder / name, (folder / CANDIDATES / f"{best:02d}" / name).read_bytes())
    network.load_state_dict(winner.network.state_dict())
    return replace(winner, network=network, config=config, folder=folder, choice=rows)


def _claim(network: ModularNetwork, data: Windows, config: TrainConfig, folder: Path, resume: bool) -> None:
    """Say in the folder what is trained there. Raises ValueError where it holds a run with other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    said = said_of(network, data, config)
    if resume and (folder / CONFIG).is_file():
        check_same(read_config(folder), said, folder / CONFIG)
        return
    for name in (CHECKPOINT, CHOICE):
        (folder / name).unlink(missing_ok=True)
    durable.write_bytes(folder / METRICS, b"")
    write_settings(folder, network, said)


def _later(tell: Progress, steps_before: int) -> Progress:
    return lambda step, loss: tell(steps_before + step, loss)


def _check(network: ModularNetwork, data: Windows, config: TrainConfig) -> None:
    """Raise ValueError for what a config or a topology names and no session has."""
    ports = {port.name: port for one in data.sessions.values() for side in one.ports() for port in side}
    targets = {port.name: port for one in data.sessions.values() for port in one.ports()[1]}
    for what, names in (("port_weights", config.port_weights), ("select_on", config.select_on)):
        for name in names:
            if name not in targets:
                raise ValueError(f"{what}: {name!r} is no target; there are {', '.join(sorted(targets))}")
    for name in config.forcing.ports if config.forcing else ():
        if name not in targets or not can_force(targets[name]):
            able = sorted(name for name, port in targets.items() if can_force(port))
            raise ValueError(f"forcing by {name!r}, which cannot force; targets that can: {', '.join(able) or 'none'}")
    _check_reach(network, data)
    known = {*ports, *(port.kind for port in ports.values()), *readout_kinds.names(), "stimulus"}
    for area in network.topology.areas:
        for name in (*area.inputs, *area.outputs):
            if name not in known:
                raise ValueError(
                    f"{network.topology.name}: area {area.name} names {name!r}, neither a port of any session nor a "
                    f"kind; ports are {', '.join(sorted(ports))}"
                )


def _check_reach(network: ModularNetwork, data: Windows) -> None:
    """Raise ValueError where a window ends before a slow readout has settled: nothing in it could be learned from."""
    bin_s = data.config.bin_s
    for session, one in data.sessions.items():
        for port in one.ports()[1]:
            reach_bins = int(getattr(network.readout(session, port.name), "reach_bins", 0))
            if data.config.n_bins <= reach_bins:
                raise ValueError(
                    f"{port.name}: windows of {data.config.n_bins * bin_s:g} s; what is read out settles after "
                    f"{reach_bins * bin_s:g} s, so a longer window_s, best of {2 * reach_bins * bin_s:g} s, is wanted"
                )


def attach(network: ModularNetwork, data: Windows, *, lead_fields: Mapping[str, LeadFields] | None = None) -> None:
    """Give each session of `data` its encoders and readouts, started at the mean and spread of training time.

    lead_fields: per session and port (C, A), instead of those of a spherical head: see `forward_lead_field`.
    Raises ValueError where a session was attached with other ports.
    """
    for session, one in data.sessions.items():
        inputs, outputs = one.ports()
        try:
            known = network.ports(session)
        except ValueError:
            fields = {**spherical_fields(network.topology, outputs), **(lead_fields or {}).get(session, {})}
            network.attach(session, inputs, outputs, lead_fields=fields)
            for port in outputs:
                _start_readout(network, data, session, port)
            continue
        for what, mine, theirs in (("inputs", known[0], inputs), ("outputs", known[1], outputs)):
            if list(mine) != list(theirs):
                raise ValueError(f"{session}: the network was attached with other {what} than the windows have")


def spherical_fields(topology: Topology, outputs: Sequence[Port]) -> dict[str, Tensor]:
    """Per EEG port the lead field of a spherical head, (C, A), where its electrodes and all areas have known places.

    Electrodes go by their names in the extended 10-20 system; where one is not in it the mixing is learned instead.
    """
    from neuroloom.pipeline.runs.leadfield import known_electrodes, lead_field, scaled

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
    if not port.is_rates:
        mean, std = torch.zeros_like(mean), torch.ones_like(std)
    start_at = getattr(network.readout(session, port.name), "start_at", None)
    if start_at is not None:
        start_at(mean, std)


class shown:  # noqa: N801 - used as a function
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
