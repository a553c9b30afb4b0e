"""A run is a function of one config: `train CONFIG` reads a TOML file, everything the run makes lies in `runs/NAME/`.

name = "reach"                     # the file's name where it is left out
sessions = ["sub-01_ses-01"]       # all of the store where it is left out
topology = "four-areas"            # a bundled name, or a file beside the config
length_s = 2.0
bin_s = 0.02
max_uncertainty_ms = 10.0          # bins whose time is known worse do not count; all do where it is left out
steps = 2000
seed = 0
# inputs = ["stimulus"]            # ports that come in, and that are asked for; all where they are left out
# targets = ["choice", "units"]
# start_from = "other-run"         # go on with its network; with train_only = "session" only what is a session's own
# lag_bins = 1                     # an input is seen that many bins late; 0 or less: the same bin, and later ones
# held_out_units = 0.25            # units that never come in: co-smoothing
# place = "coordinates"            # channels into the nearest area, by x_mm, y_mm, z_mm of their streams; the default
# place_within_mm = 20.0           #   "label" takes areas that are stated and learns the rest
# loggers = ["tensorboard"]        # who is told the numbers of the training; also "mlflow", or [] for nobody
# shuffle_recording = true         # controls, one of them: recordings of the brain at the wrong times,
# surrogate = true                 #   or noise with their covariance, spectra and counts
[kinds]                            # stream = "negative_binomial", "bold", "tokens", ...: see pipeline/runs/features.py
[forward]                          # port = "head-fwd.fif", or "SESSION/port": a lead field from MNE's forward solution
[functional]                       # port = "rois", and fields of FunctionalConfig: pathways from training time
[network]                          # further arguments of ModularNetwork: kind = "gru", session_size = 4, density = 0.2,
[network.kind]                     #   or one kind per area: V1 = "gated_linear", M1 = "transformer", "" = "leaky"
[[objectives]]                     # see objectives.py: neural data at a weight that is chosen on behaviour,
kind = "features"                  #   soft targets, local objectives, wiring cost, ...
target = "lfp"
weights = [0.1, 1.0]               # 0 is always among the candidates
[forcing]                          # ports = ["lfp"], start = 1.0, end = 0.0: states drawn to a recording while training
[training]                         # further fields of TrainConfig: train_only = "session", prune_to = 0.5, precision,
                                   #   processes = 2: each takes its share of every batch
[features]                         # fields of FeatureConfig: what is trained on, what is masked
artefacts = ["muscle", "blink"]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from neuroloom.ingest import durable
from neuroloom.pipeline import verdicts
from neuroloom.pipeline.catalog import noted_run
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs.run_logs import check_names
from neuroloom.pipeline.store import Store, StoreError, slug
from neuroloom.pipeline.subjects import Subjects

if TYPE_CHECKING:
    from torch import Tensor

    from neuroloom.ingest.session import Session
    from neuroloom.models import ModularNetwork, Topology
    from neuroloom.pipeline.runs.features import FeatureConfig, Features
    from neuroloom.pipeline.runs.functional import FunctionalConfig
    from neuroloom.pipeline.runs.training import Run, TrainConfig
    from neuroloom.pipeline.runs.windowing import Windows
    from neuroloom.pipeline.scores.evaluation import Scores
    from neuroloom.pipeline.scores.mechanism import Mechanism

REQUEST = "request.json"
SCORES = "scores.json"
PLACED = "channels.json"
PATHWAYS = "pathways.json"
MECHANISM = "mechanism.json"
RIVALS = "rivals"
PREDICTED = "predicted-{session}.h5"
Progress = Callable[[int, float], None]
T = TypeVar("T")


class RunConfig(Config):
    """What a training run is asked for. inputs, targets: port names; all where they are left out.

    use_extrapolated, max_uncertainty_ms: which times are good enough to train on; see `WindowConfig`.
    versions: session -> version; bad_channels: session -> stream -> what reviewers call bad; left_out: session -> why,
        of those that were not named: all as they were when the run was prepared, and not for the config file.
    """

    name: str = ""
    sessions: tuple[str, ...] = ()
    topology: str = "four-areas"
    length_s: float = Field(default=2.0, gt=0)
    bin_s: float = Field(default=0.02, gt=0)
    inputs: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    held_out: float = Field(default=0.2, gt=0, lt=1)
    validation: float = Field(default=0.15, gt=0, lt=1)
    use_extrapolated: bool = False
    max_uncertainty_ms: float | None = Field(default=None, gt=0)
    area_size: int = Field(default=32, ge=1)
    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = 0
    lag_bins: int = 1
    held_out_units: float = Field(default=0.0, ge=0, lt=1)
    kinds: dict[str, str] = Field(default_factory=dict)
    start_from: str = ""
    place: Literal["label", "coordinates"] = "label"
    place_within_mm: float = Field(default=20.0, gt=0)
    shuffle_recording: bool = False
    surrogate: bool = False
    forward: dict[str, str] = Field(default_factory=dict)
    forward_within_mm: float = Field(default=20.0, gt=0)
    functional: dict[str, Any] = Field(default_factory=dict)
    objectives: tuple[dict[str, Any], ...] = ()
    forcing: dict[str, Any] = Field(default_factory=dict)
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any] = Field(default_factory=dict)
    loggers: tuple[str, ...] = ("tensorboard",)
    versions: dict[str, str] = Field(default_factory=dict)
    bad_channels: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)


def read_run_config(path: Path) -> RunConfig:
    """A config file with its name and its topology made definite. Raises ConfigError."""
    return definite(read_config(path, RunConfig), path)


def definite(config: RunConfig, path: Path) -> RunConfig:
    """A config from a file, with its name and what lies beside it made definite. Raises ConfigError."""
    folder = path.absolute().parent
    beside = folder / config.topology
    update = {
        "name": slug(config.name or path.stem),
        "topology": str(beside) if beside.is_file() else config.topology,
        "forward": {port: str(folder / file) for port, file in config.forward.items()},
    }
    config = config.model_copy(update=update)
    training_of(config, str(path))
    _checked(lambda: check_names(config.loggers), f"{path}: loggers")
    return config


def training_of(config: RunConfig, where: str = "") -> TrainConfig:
    """How a run is trained. Raises ConfigError naming the table, what was found and what was wanted."""
    from neuroloom.pipeline.runs.objectives import ForcingConfig, ObjectiveConfig
    from neuroloom.pipeline.runs.training import TrainConfig

    where = where or config.name
    for i, table in enumerate(config.objectives, 1):
        _checked(partial(ObjectiveConfig.from_table, table), f"{where}: [[objectives]] {i}")
    forcing = dict(config.forcing)
    if forcing:
        forcing["ports"] = tuple(forcing.get("ports", ()))
        _checked(lambda: ForcingConfig(**forcing), f"{where}: [forcing]")
    if config.functional:
        _functional(config, where)
    _features(config, where)
    if config.shuffle_recording and config.surrogate:
        raise ConfigError(f"{where}: shuffle_recording and surrogate are both set; a control is one of them")
    settings = {"steps": config.steps, "batch_size": config.batch_size, "seed": config.seed} | config.training
    settings |= {"objectives": config.objectives} if config.objectives else {}
    settings |= {"forcing": forcing} if forcing else {}
    return _checked(lambda: TrainConfig.from_table(settings), f"{where}: [training]")


def prepare_run(config: RunConfig, store: Store) -> Path:
    """Make the run's folder and write down what was asked for; gives the folder.

    Raises ConfigError where the folder holds a run of another config: a run is never overwritten. Raises StoreError
    where a session is named whose subject's consent has ended or that reviewers have rejected; where none is named,
    such sessions are left out.
    """
    training_of(config)
    if config.start_from:
        requested(store, config.start_from)
        refuse_withdrawn(sorted(sessions_behind(store, config.start_from)), store)
    chosen, left_out = trainable(config.sessions, store)
    if not chosen:
        why = "; ".join(f"{name}: {said}" for name, said in left_out.items()) or "ingest recordings first"
        raise StoreError(f"{store.root}: no session to train on; {why}")
    bad = {session_id: verdicts.bad_channels_of(store, session_id) for session_id in chosen}
    now: dict[str, Any] = {"versions": {session_id: store.latest(session_id).name for session_id in chosen}}
    now |= {
        "bad_channels": {name: found for name, found in bad.items() if found},
        "left_out": {**config.left_out, **left_out},
    }
    folder = store.run_folder(config.name)
    asked = json.loads(config.model_copy(update={"sessions": chosen, **now}).model_dump_json())
    there = document_of(folder / REQUEST)
    if there:  # a run goes on with what it began with
        there = json.loads(RunConfig.model_validate(there).model_dump_json())
        asked |= {key: there[key] for key in now}
    differing = sorted(key for key in asked if there and _deciding(asked, key) != _deciding(there, key))
    if differing:
        raise ConfigError(f"{folder}: holds a run with another {', '.join(differing)}; give this one another name")
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_json(folder / REQUEST, asked)
    return folder


def _deciding(asked: dict[str, Any], key: str) -> Any:
    """What a request says under `key` that decides the numbers: not how many processes share the work."""
    said = asked.get(key)
    return {name: value for name, value in said.items() if name != "processes"} if key == "training" and said else said


def trainable(named: tuple[str, ...], store: Store) -> tuple[tuple[str, ...], dict[str, str]]:
    """The sessions to train on, and those left out of all there are, each with the reason.

    Raises StoreError where one of `named` may not be trained on.
    """
    known, today = Subjects.of(store), date.today()
    found = {one: known.objection(one, today) or verdicts.objection(store, one) for one in named or store.session_ids()}
    left_out = {session_id: why for session_id, why in found.items() if why}
    for session_id, why in left_out.items() if named else ():
        raise StoreError(f"{session_id}: {why}; it cannot be trained on")
    return tuple(session_id for session_id in found if session_id not in left_out), left_out


def refuse_withdrawn(sessions: Iterable[str], store: Store) -> None:
    """Raise StoreError where a person does not agree to it any more."""
    known, today = Subjects.of(store), date.today()
    for session_id in sessions:
        if why := known.objection(session_id, today):
            raise StoreError(f"{session_id}: {why}; it cannot be trained on")


def sessions_behind(store: Store, name: str) -> set[str]:
    """Every session that a run was trained on, those of the runs it went on from included."""
    said = [document_of(store.run_folder(one) / REQUEST) for one in runs_behind(store, name)]
    return {str(session) for one in said for session in one.get("sessions", ())}


def runs_behind(store: Store, name: str) -> list[str]:
    """A run, the one it went on from, the one that went on from, ..."""
    found: list[str] = []
    while name and name not in found:
        found.append(name)
        name = str(document_of(store.run_folder(name) / REQUEST).get("start_from") or "")
    return found


def train_run(name: str, store: Store, *, progress: bool | Progress = False) -> Run:
    """Train the run prepared under `name`, or go on where it stopped; noted in the catalog."""
    config, folder = requested(store, name), store.run_folder(name)
    refuse_withdrawn(sorted(sessions_behind(store, name)), store)  # it may have ended since the run was prepared
    with noted_run(store, name, "train") as summary:
        run, data = trained(config, store, folder, progress=progress)
        write_placed(config, run.network, data, folder)
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

    data = windows_of(config, store)
    network = network_of(config, store, data)
    attach(network, data, lead_fields=lead_fields_of(config, network.topology, data))
    how = training_of(config)
    return train(network, data, folder=folder, progress=progress, config=how, loggers=config.loggers), data


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
        port, estimate = _functional(config, config.name)
        topology = functional_topology_of(data, port, config=estimate, like=topology)
    return _made(config, topology, config.seed)


def _made(config: RunConfig, topology: Topology, seed: int) -> ModularNetwork:
    from neuroloom.models import ModularNetwork

    make = {"area_size": config.area_size, "bin_s": config.bin_s, "seed": seed} | config.network
    return _checked(lambda: ModularNetwork(topology, **make), f"{config.name}: [network]")


def evaluate_run(
    name: str,
    store: Store,
    *,
    baselines: Sequence[str] = ("mean", "ridge"),
    against: Sequence[str] = (),
    seeds: int = 1,
    forward_s: float | None = None,
    progress: bool | Progress = False,
) -> Scores:
    """Score a run beside its baselines on the time nobody has looked at; written to its `scores.json`.

    against: other networks, see `rivals.py`, trained here under the same conditions where they are not there yet.
    seeds: how many of each, and of the run's own network; with more than one, intervals are over seeds, too.
    """
    from neuroloom.pipeline.scores.evaluation import evaluate

    config, folder = requested(store, name), store.run_folder(name)
    run, data = open_run(store, name), windows_of(config, store)
    runs, rivals = [run], dict[str, Any]()
    if against or seeds > 1:
        runs, rivals = _rivals(config, store, data, run, against, seeds, progress)
    scores = evaluate(runs, data.held_out, baselines=baselines, rivals=rivals, forward_s=forward_s)
    scores.to_json(folder / SCORES)
    return scores


def _rivals(
    config: RunConfig,
    store: Store,
    data: Windows,
    run: Run,
    against: Sequence[str],
    seeds: int,
    progress: bool | Progress,
) -> tuple[list[Run], dict[str, list[Run]]]:
    from dataclasses import replace

    from neuroloom.pipeline.runs.training import attach
    from neuroloom.pipeline.scores.rivals import AGAIN, Conditions, train_rivals

    if config.start_from:
        raise ConfigError(f"{config.name}: goes on from {config.start_from!r}; a rival would start from nothing")
    conditions = Conditions(
        topology=run.network.topology,
        make=lambda topology, seed: _made(config, topology, seed),
        attach=lambda network: attach(network, data, lead_fields=lead_fields_of(config, network.topology, data)),
        data=data,
        config=replace(training_of(config), processes=1),  # one after the other, in this process
    )
    home = store.run_folder(config.name) / RIVALS
    numbers = range(config.seed, config.seed + seeds)
    again = train_rivals(conditions, [AGAIN], seeds=numbers[1:], folder=home, progress=progress)[AGAIN]
    rivals = train_rivals(conditions, against, seeds=numbers, folder=home, progress=progress)
    return [run, *(replace(one, name=run.name) for one in again)], rivals


def repeatable_of(name: str, store: Store) -> list[dict[str, Any]]:
    """What share of each target's held-out variance repeats with its events: a row per session and port.

    share: the median over channels, None where too little was repeated to tell.
    """
    import numpy as np

    from neuroloom.pipeline.scores.ceilings import repeatable_shares

    rows: list[dict[str, Any]] = []
    for session, ports in repeatable_shares(windows_of(requested(store, name), store).held_out).items():
        for port, share_C in ports.items():
            known = share_C[np.isfinite(share_C)]
            rows.append({"session": session, "port": port, "share": float(np.median(known)) if known.size else None})
    return rows


def pathways_of(name: str, store: Store) -> list[dict[str, Any]]:
    """What each pathway of a run carries and what is lost without it; written to its `pathways.json`."""
    from neuroloom.pipeline.scores.pathways import WARNING, pathway_rows

    run, data = open_run(store, name), windows_of(requested(store, name), store)
    rows = [row.to_json() for row in pathway_rows(run, data.held_out, data.validation)]
    durable.write_json(store.run_folder(name) / PATHWAYS, {"warning": WARNING, "pathways": rows})
    return rows


def mechanism_of(name: str, store: Store) -> list[Mechanism]:
    """Where a run's network rests, and whether small differences grow, per session; written to its `mechanism.json`.

    Raises ConfigError for a network of which that cannot be told.
    """
    from neuroloom.pipeline.scores.mechanism import mechanisms

    run, data = open_run(store, name), windows_of(requested(store, name), store)
    found = _checked(lambda: mechanisms(run, data.held_out), name)
    durable.write_json(store.run_folder(name) / MECHANISM, {"sessions": [one.to_json() for one in found]})
    return found


def scores_of(name: str, store: Store) -> dict[str, Any]:
    """The scores a run has. Raises StoreError where it has not been evaluated."""
    requested(store, name)
    found = document_of(store.run_folder(name) / SCORES)
    if not found:
        raise StoreError(f"{name}: has no scores; `neuroloom evaluate {name}` makes them")
    return found


def compare_runs(names: Sequence[str], store: Store) -> list[dict[str, Any]]:
    """The scores of several runs side by side: a row per session, port and metric, a column per run or baseline."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for name in names:
        for score in scores_of(name, store)["scores"]:
            if score["area"] or score["channel"]:
                continue
            key = (score["session"], score["port"], score["metric"])
            row = rows.setdefault(key, {"session": key[0], "port": key[1], "metric": key[2], "scores": {}})
            column = name if score["model"] == "network" else f"{name} {score['model']}"
            row["scores"][column] = {field: score[field] for field in ("value", "low", "high")}
    return list(rows.values())


def predict_run(name: str, session_id: str, store: Store) -> Path:
    """What a run expects of a session, bin by bin: one HDF5 file in the run's folder, a dataset (T, C) per port."""
    from neuroloom.ingest.hdf5_files import new_hdf5

    run = open_run(store, name)
    with _opened(store, session_id) as session:
        masked = verdicts.reviewed(session, verdicts.bad_channels_of(store, session_id))
        predicted = run.predict(masked)[session_id]
    path = store.run_folder(name) / PREDICTED.format(session=session_id)
    with durable.new_file(path) as temporary, new_hdf5(temporary) as (file, _):
        file.attrs.update(run=name, session=session_id, bin_s=run.window_config.bin_s)
        for port, values in predicted.items():
            file.create_dataset(port.replace("/", "_"), data=values)
    return path


def open_run(store: Store, name: str) -> Run:
    """A trained run. Raises StoreError naming the runs there are."""
    from neuroloom.pipeline.runs.training import Run

    requested(store, name)
    return Run.open(store.run_folder(name))


def progress_of(store: Store, name: str) -> tuple[int, int]:
    """Steps done, and steps asked for, those of a choice of weights included."""
    from neuroloom.pipeline.runs._runs import CANDIDATES, steps_done
    from neuroloom.pipeline.runs.training import steps_of

    folder, wanted = store.run_folder(name), steps_of(training_of(requested(store, name)))
    done = steps_done(folder) + sum(map(steps_done, (folder / CANDIDATES).glob("*")))
    return min(wanted, done), wanted


def metrics_of(name: str, store: Store) -> list[dict[str, Any]]:
    """A line per step and per validation, so far."""
    from neuroloom.pipeline.runs.training import read_metrics

    requested(store, name)
    return read_metrics(store.run_folder(name))


def requested(store: Store, name: str) -> RunConfig:
    """What was asked for under `name`. Raises StoreError naming the runs there are."""
    found = document_of(store.run_folder(name) / REQUEST)
    if not found:
        raise StoreError(f"{name}: no such run in {store.root}; there are: {', '.join(store.run_names()) or 'none'}")
    return RunConfig.model_validate(found)


def features_for(name: str, session_id: str, store: Store) -> Features:
    """The features of one session as the run prepared under `name` wants them; from the cache, or made for it."""
    from neuroloom.pipeline.runs.features import build_features
    from neuroloom.pipeline.runs.windowing import feature_config_of

    config = requested(store, name)
    wanted = feature_config_of(_features(config, config.name), config.bin_s, config.kinds)
    with _opened(store, session_id, config.versions.get(session_id)) as session:
        return build_features(session, config=wanted, folder=store.derived)


def windows_of(config: RunConfig, store: Store) -> Windows:
    """The windows a run is trained and scored on; features come from `derived/`."""
    from neuroloom.pipeline.runs.windowing import windows

    data = windows(
        [
            verdicts.reviewed(
                _opened(store, session_id, config.versions.get(session_id)), config.bad_channels.get(session_id, {})
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
        features=_features(config, config.name),
    )
    if config.place == "label":
        return data
    from neuroloom.pipeline.runs.placing import place_channels

    return place_channels(data, _topology(config, store), within_mm=config.place_within_mm)[0]


def write_placed(config: RunConfig, network: ModularNetwork, data: Windows, folder: Path) -> None:
    """Write into a run's folder where every channel sits after training, and how that was decided."""
    from neuroloom.pipeline.runs.placing import distances, learned_areas

    found = learned_areas(network, data)
    if config.place == "coordinates":
        found = distances(found, network.topology)
    durable.write_json(folder / PLACED, {"channels": [channel.to_json() for channel in found]})


def _topology(config: RunConfig, store: Store) -> Topology:
    from neuroloom.models import Topology

    return open_run(store, config.start_from).network.topology if config.start_from else Topology.read(config.topology)


def _features(config: RunConfig, where: str) -> FeatureConfig:
    """How features are made."""
    from neuroloom.pipeline.runs.features import FeatureConfig

    asked: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in config.features.items()}
    return _checked(lambda: FeatureConfig(**asked), f"{where}: [features]")


def _functional(config: RunConfig, where: str) -> tuple[str, FunctionalConfig]:
    """The port that pathways are estimated from, and how."""
    from neuroloom.pipeline.runs.functional import FunctionalConfig

    settings = dict(config.functional)
    port = settings.pop("port", "")
    if not port:
        raise ConfigError(f"{where}: [functional]: port is missing; the port to estimate pathways from is wanted")
    return str(port), _checked(lambda: FunctionalConfig(**settings), f"{where}: [functional]")


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


def session_versions(store: Store, name: str) -> dict[str, str]:
    """The sessions a run is trained on, each with its version; empty for a folder that is no training run."""
    found = document_of(store.run_folder(name) / REQUEST)
    return dict(RunConfig.model_validate(found).versions) if found else {}


def _opened(store: Store, session_id: str, version: str | None = None) -> Session:
    from neuroloom.ingest.session import Session

    if version is None:
        return Session.open(store.latest(session_id))
    return Session.open(store.session_folder(session_id) / version)


def _checked(make: Callable[[], T], where: str) -> T:
    """What `make` makes. Raises ConfigError saying where in the config the mistake is."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
