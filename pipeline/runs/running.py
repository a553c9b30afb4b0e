"""Train what was asked for under a name, go on where it stopped, and open it.

Everything a run makes lies in `runs/NAME/`. What is asked for is in `run_config.py`, who may be trained on in
`preparing.py`, what a trained run is worth and expects in `pipeline/scores/judging.py` and `predicting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroloom.ingest import durable
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.noting import noted_run
from neuroloom.pipeline.runs.preparing import permitted, requested
from neuroloom.pipeline.runs.run_config import RunConfig, checked, features_of, functional_of, training_of
from neuroloom.pipeline.store import Store, StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from neuroloom.ingest.session import Session
    from neuroloom.models import ModularNetwork, Topology
    from neuroloom.pipeline.runs.features import Features
    from neuroloom.pipeline.runs.training import Run
    from neuroloom.pipeline.runs.windowing import Windows

PLACED = "channels.json"
Progress = Callable[[int, float], None]


def train_run(name: str, store: Store, *, progress: bool | Progress = False) -> Run:
    """Train the run prepared under `name`, or go on where it stopped; noted in the catalog."""
    config, folder = permitted(store, name), store.run_folder(name)  # a consent may have ended since it was prepared
    with noted_run(store, name, "train") as summary:
        run, data = trained(config, store, folder, progress=progress)
        write_findings(config, run, data, folder)
        summary |= {"best_step": run.best_step, "best_loss": run.best_loss, "sessions": list(config.sessions)}
    return run


def trained(config: RunConfig, store: Store, folder: Path, *, progress: bool | Progress = False) -> tuple[Run, Windows]:
    """Train in a folder what a config asks for, or go on where it stopped; gives the data it was trained on, too."""
    from neuroloom.pipeline.runs.training import Run, shown, steps_of

    how = training_of(config)
    if how.processes == 1:
        return train_here(config, store, folder, progress=progress)
    from neuroloom.pipeline.runs._together import train_together

    data = windows_of(config, store)  # the features are made once, before several ask for them
    with shown(progress, steps_of(how)) as tell:
        train_together(config, store, folder, how.processes, tell)
    return Run.open(folder), data


def train_here(
    config: RunConfig, store: Store, folder: Path, *, progress: bool | Progress = False
) -> tuple[Run, Windows]:
    """As `trained`, in this process: the only one, or one of those that were started."""
    from neuroloom.pipeline.runs.training import attach, train

    with _naming(config.name):
        data = windows_of(config, store)
        network = network_of(config, store, data)
        attach(network, data, lead_fields=lead_fields_of(config, network.topology, data))
        how = training_of(config)
        return train(network, data, folder=folder, progress=progress, config=how, loggers=config.loggers), data


@contextmanager
def _naming(run: str) -> Iterator[None]:
    """What steps find wrong with a run's data and settings knows nothing of runs: the message gets its name."""
    try:
        yield
    except ValueError as error:
        if str(error).startswith(run):
            raise
        raise ConfigError(f"{run}: {error}") from error


def network_of(config: RunConfig, store: Store, data: Windows) -> ModularNetwork:
    """The network that a run starts with, or goes on with. Raises ConfigError where its settings make no sense."""
    from neuroloom.pipeline.runs.functional import functional_topology_of

    if config.start_from:
        if config.network or config.functional:
            raise ConfigError(
                f"{config.name}: [network] and [functional] are those of {config.start_from!r}, leave both"
            )
        return open_run(store, config.start_from).network
    topology = _topology(config, store)
    if config.functional:
        port, estimate = functional_of(config, config.name)
        topology = functional_topology_of(data, port, config=estimate, like=topology)
    return made_of(config, topology, config.seed)


def made_of(config: RunConfig, topology: Topology, seed: int) -> ModularNetwork:
    from neuroloom.models import ModularNetwork

    make = {"area_size": config.area_size, "bin_s": config.bin_s, "seed": seed} | config.network
    known = sorted(set(signature(ModularNetwork).parameters) - {"topology"})
    if unknown := sorted(set(make) - set(known)):
        raise ConfigError(f"{config.name}: [network]: {unknown[0]!r} is no setting; there are {', '.join(known)}")
    return checked(lambda: ModularNetwork(topology, **make), f"{config.name}: [network]")


def open_run(store: Store, name: str) -> Run:
    """A trained run. Raises StoreError naming the runs there are, or saying that it has not come to a network yet."""
    from neuroloom.pipeline.runs.run_files import CHECKPOINT
    from neuroloom.pipeline.runs.training import Run

    requested(store, name)
    folder = store.run_folder(name)
    if not (folder / CHECKPOINT).is_file():
        command = "search" if (folder / "search.json").is_file() else "train"
        raise StoreError(f"{name}: has no network yet; `neuroloom {command}` with its config makes it, or goes on")
    return Run.open(folder)


def run_and_data(store: Store, name: str) -> tuple[Run, Windows]:
    """A trained run and the windows it was trained on: what every look into it takes.

    Raises as `open_run`, and StoreError where a consent has ended.
    """
    config = permitted(store, name)
    return open_run(store, name), windows_of(config, store)


def unfinished(store: Store, name: str) -> str:
    """That the training of a run has not ended, in a sentence; "" where it has."""
    run = open_run(store, name)
    if run.is_whole:
        return ""
    return (
        f"{name}: its training has not ended (step {len(run.losses)} of {run.config.steps}); this is of the best "
        f"network so far, of step {run.best_step}"
    )


def progress_of(store: Store, name: str) -> tuple[int, int]:
    """Steps done, and steps asked for, those of a choice of weights included."""
    from neuroloom.pipeline.runs.run_files import CANDIDATES, steps_done
    from neuroloom.pipeline.runs.training import steps_of

    folder, wanted = store.run_folder(name), steps_of(training_of(requested(store, name)))
    done = steps_done(folder) + sum(map(steps_done, (folder / CANDIDATES).glob("*")))
    return min(wanted, done), wanted


def metrics_of(name: str, store: Store) -> list[dict[str, Any]]:
    """A line per step and per validation, so far."""
    from neuroloom.pipeline.runs.training import read_metrics

    requested(store, name)
    return read_metrics(store.run_folder(name))


def features_for(name: str, session_id: str, store: Store) -> Features:
    """The features of one session as the run prepared under `name` wants them; from the cache, or made for it."""
    from neuroloom.pipeline.runs.feature_cache import build_features
    from neuroloom.pipeline.runs.windowing import feature_config_of

    config = requested(store, name)
    wanted = feature_config_of(features_of(config, config.name), config.bin_s, config.kinds)
    with opened(store, session_id, config.versions.get(session_id)) as session:
        return build_features(session, config=wanted, folder=store.derived)


def windows_of(config: RunConfig, store: Store) -> Windows:
    """The windows a run is trained and scored on; features come from `derived/`."""
    from neuroloom.pipeline.runs.windowing import windows

    data = windows(
        [
            verdicts.reviewed(
                opened(store, session_id, config.versions.get(session_id)),
                config.bad_channels.get(session_id, {}),
                config.good_channels.get(session_id, {}),
            )
            for session_id in config.sessions
        ],
        length_s=config.length_s,
        bin_s=config.bin_s,
        held_out=config.held_out,
        validation=config.validation,
        use_extrapolated=config.use_extrapolated,
        max_uncertainty_ms=config.max_uncertainty_ms,
        inputs=config.inputs,
        targets=config.targets,
        lag_bins=config.lag_bins,
        kinds=config.kinds,
        held_out_units=config.held_out_units,
        shuffle_recording=config.shuffle_recording,
        surrogate=config.surrogate,
        seed=config.seed,
        folder=store.derived,
        features=features_of(config, config.name),
    )
    if config.place == "label":
        return data
    from neuroloom.pipeline.runs.placing import place_channels

    return place_channels(data, _topology(config, store), within_mm=config.place_within_mm)[0]


def write_findings(config: RunConfig, run: Run, data: Windows, folder: Path) -> None:
    """Write into a run's folder where every channel sits after training, and how that was decided; and its warnings."""
    from neuroloom.pipeline.runs.placing import distances, learned_areas
    from neuroloom.pipeline.scores.worse import write_worse

    found, network = learned_areas(run.network, data), run.network
    if config.place == "coordinates":
        found = distances(found, network.topology)
    durable.write_json(folder / PLACED, {"channels": [channel.to_json() for channel in found]})
    write_worse(run, data, folder)


def _topology(config: RunConfig, store: Store) -> Topology:
    from neuroloom.models import Topology

    return open_run(store, config.start_from).network.topology if config.start_from else Topology.read(config.topology)


def lead_fields_of(config: RunConfig, topology: Topology, data: Windows) -> dict[str, dict[str, Tensor]]:
    """Per session and port the lead field (C, A) of the forward solution that was named for it."""
    import torch

    from neuroloom.pipeline.runs.leadfield import forward_lead_field, scaled

    positions_mm = [area.position_mm for area in topology.areas if area.position_mm is not None]
    fields: dict[str, dict[str, Tensor]] = {}
    used: set[str] = set()
    for session, one in data.sessions.items():
        for port in one.ports()[1]:
            key = f"{session}/{port.name}" if f"{session}/{port.name}" in config.forward else port.name
            if key not in config.forward:
                continue
            used.add(key)
            if len(positions_mm) < len(topology.areas):
                raise ConfigError(f"{config.name}: [forward] {key}: not all areas of {topology.name!r} have a position")
            field = forward_lead_field(
                config.forward[key],
                port.channel_names,
                positions_mm,
                within_mm=config.forward_within_mm,
                average_reference=port.kind == "eeg",
            )
            fields.setdefault(session, {})[port.name] = torch.from_numpy(scaled(field)).float()
    if unused := sorted(set(config.forward) - used):
        raise ConfigError(f"{config.name}: [forward] {unused[0]}: no session has such a target")
    return fields


def opened(store: Store, session_id: str, version: str | None = None) -> Session:
    """A session in that version, or its newest."""
    from neuroloom.ingest.session import Session

    if version is None:
        return Session.open(store.latest(session_id))
    return Session.open(store.session_folder(session_id) / version)
