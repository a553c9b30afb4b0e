"""A run is a function of one config: `train CONFIG` reads a TOML file, everything the run makes lies in `runs/NAME/`.

name = "reach"                     # the file's name where it is left out
sessions = ["sub-01_ses-01"]       # all of the store where it is left out
topology = "four-areas"            # a bundled name, or a file beside the config
length_s = 2.0
bin_s = 0.02
max_uncertainty_ms = 10.0          # bins whose time is known worse do not count; all do where it is left out
steps = 2000
seed = 0
[network]                          # further arguments of ModularNetwork
[training]                         # further fields of TrainConfig
[features]                         # fields of FeatureConfig: what is trained on, what is masked
artefacts = ["muscle", "blink"]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from neuroloom.ingest import durable
from neuroloom.pipeline.catalog import DONE, RETRY, RUNNING, Catalog
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.custody import slug
from neuroloom.pipeline.store import Store, StoreError
from neuroloom.pipeline.subjects import Subjects

if TYPE_CHECKING:
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.evaluation import Scores
    from neuroloom.pipeline.training import Run
    from neuroloom.pipeline.windowing import Windows

REQUEST = "request.json"
SCORES = "scores.json"
Progress = Callable[[int, float], None]


class RunConfig(Config):
    """What a training run is asked for. inputs, targets: port names; all where they are left out.

    use_extrapolated, max_uncertainty_ms: which times are good enough to train on; see `WindowConfig`.
    versions: session -> version, as they were when the run was prepared; not for the config file.
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
    network: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    features: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


def read_run_config(path: Path) -> RunConfig:
    """A config file with its name and its topology made definite. Raises ConfigError."""
    config = read_config(path, RunConfig)
    beside = path.absolute().parent / config.topology
    topology = str(beside) if beside.is_file() else config.topology
    return config.model_copy(update={"name": slug(config.name or path.stem), "topology": topology})


def prepare_run(config: RunConfig, store: Store) -> Path:
    """Make the run's folder and write down what was asked for; gives the folder.

    Raises ConfigError where the folder holds a run of another config: a run is never overwritten. Raises StoreError
    where a session is named whose subject's consent has ended; where none is named, such sessions are left out.
    """
    chosen = _consented(config.sessions, store)
    if not chosen:
        raise StoreError(f"{store.root}: no session to train on; ingest recordings first")
    versions = {session_id: store.latest(session_id).name for session_id in chosen}
    folder = store.run_folder(config.name)
    asked = json.loads(config.model_copy(update={"sessions": chosen, "versions": versions}).model_dump_json())
    there = _document(folder / REQUEST)
    if there:
        asked["versions"] = there.get("versions", versions)  # a run goes on with the versions it began with
    if there and there != asked:
        differing = ", ".join(sorted(key for key in asked if asked[key] != there.get(key)))
        raise ConfigError(f"{folder}: holds a run with another {differing}; give this one another name")
    folder.mkdir(parents=True, exist_ok=True)
    durable.write_json(folder / REQUEST, asked)
    return folder


def _consented(named: tuple[str, ...], store: Store) -> tuple[str, ...]:
    known, today = Subjects.of(store), date.today()
    if not named:
        return tuple(one for one in store.session_ids() if not known.objection(one, today))
    for session_id in named:
        if why := known.objection(session_id, today):
            raise StoreError(f"{session_id}: {why}; it cannot be trained on")
    return named


def train_run(name: str, store: Store, *, progress: bool | Progress = False) -> Run:
    """Train the run prepared under `name`, or go on where it stopped; noted in the catalog."""
    from neuroloom.models import ModularNetwork, Topology
    from neuroloom.pipeline.training import TrainConfig, train

    config, folder = requested(store, name), store.run_folder(name)
    settings = {"steps": config.steps, "batch_size": config.batch_size, "seed": config.seed} | config.training
    catalog = Catalog.of(store)
    catalog.put_run(name, kind="train", state=RUNNING, reason="")
    try:
        network = ModularNetwork(
            Topology.read(config.topology),
            area_size=config.area_size,
            bin_s=config.bin_s,
            seed=config.seed,
            **config.network,
        )
        data = windows_of(config, store)
        run = train(
            network, data, folder=folder, progress=progress, config=_checked(TrainConfig, settings, folder, "training")
        )
    except BaseException as error:
        catalog.put_run(name, state=RETRY, reason=f"stopped: {' '.join(str(error).split()) or type(error).__name__}")
        raise
    else:
        summary = {"best_step": run.best_step, "best_loss": run.best_loss, "sessions": list(config.sessions)}
        catalog.put_run(name, state=DONE, summary=summary)
        return run
    finally:
        catalog.close()


def evaluate_run(name: str, store: Store, *, baselines: Sequence[str] = ("mean", "ridge")) -> Scores:
    """Score a run beside its baselines on the time nobody has looked at; written to its `scores.json`."""
    from neuroloom.pipeline.evaluation import evaluate

    run, data = open_run(store, name), windows_of(requested(store, name), store)
    scores = evaluate(run, data.held_out, baselines=baselines)
    scores.to_json(store.run_folder(name) / SCORES)
    return scores


def scores_of(name: str, store: Store) -> dict[str, Any]:
    """The scores a run has. Raises StoreError where it has not been evaluated."""
    requested(store, name)
    found = _document(store.run_folder(name) / SCORES)
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
    import h5py

    run = open_run(store, name)
    with _opened(store, session_id) as session:
        predicted = run.predict(session)[session_id]
    path = store.run_folder(name) / f"predicted-{session_id}.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update(run=name, session=session_id, bin_s=run.window_config.bin_s)
        for port, values in predicted.items():
            file.create_dataset(port.replace("/", "_"), data=values)
    return path


def open_run(store: Store, name: str) -> Run:
    """A trained run. Raises StoreError naming the runs there are."""
    from neuroloom.pipeline.training import Run

    requested(store, name)
    return Run.open(store.run_folder(name))


def progress_of(store: Store, name: str) -> tuple[int, int]:
    """Steps done, and steps asked for."""
    from neuroloom.pipeline._runs import steps_done

    return steps_done(store.run_folder(name)), requested(store, name).steps


def metrics_of(name: str, store: Store) -> list[dict[str, Any]]:
    """A line per step and per validation, so far."""
    from neuroloom.pipeline.training import read_metrics

    requested(store, name)
    return read_metrics(store.run_folder(name))


def requested(store: Store, name: str) -> RunConfig:
    """What was asked for under `name`. Raises StoreError naming the runs there are."""
    found = _document(store.run_folder(name) / REQUEST)
    if not found:
        raise StoreError(f"{name}: no such run in {store.root}; there are: {', '.join(store.run_names()) or 'none'}")
    return RunConfig.model_validate(found)


def windows_of(config: RunConfig, store: Store) -> Windows:
    """The windows a run is trained and scored on; features come from `derived/`."""
    from neuroloom.pipeline.features import FeatureConfig
    from neuroloom.pipeline.windowing import windows

    asked = {key: tuple(value) if isinstance(value, list) else value for key, value in config.features.items()}
    return windows(
        [_opened(store, session_id, config.versions.get(session_id)) for session_id in config.sessions],
        length_s=config.length_s,
        bin_s=config.bin_s,
        held_out=config.held_out,
        validation=config.validation,
        use_extrapolated=config.use_extrapolated,
        max_uncertainty_ms=config.max_uncertainty_ms,
        inputs=config.inputs,
        targets=config.targets,
        seed=config.seed,
        folder=store.derived,
        features=_checked(FeatureConfig, asked, store.run_folder(config.name), "features"),
    )


def session_versions(store: Store, name: str) -> dict[str, str]:
    """The sessions a run is trained on, each with its version; empty for a folder that is no training run."""
    found = _document(store.run_folder(name) / REQUEST)
    return dict(RunConfig.model_validate(found).versions) if found else {}


def _opened(store: Store, session_id: str, version: str | None = None) -> Session:
    from neuroloom.ingest.session import Session

    if version is None:
        return Session.open(store.latest(session_id))
    return Session.open(store.session_folder(session_id) / version)


def _checked(make: Callable[..., Any], settings: Mapping[str, Any], folder: Path, table: str) -> Any:
    try:
        return make(**settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{folder.name}: [{table}]: {error}") from error


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path}: is not JSON ({error})") from error
    return found if isinstance(found, dict) else {}
