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

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import Field

from neuroloom.pipeline.config import Config, ConfigError, no_such_setting, read_config
from neuroloom.pipeline.runs.run_logs import check_names
from neuroloom.pipeline.store import slug

if TYPE_CHECKING:
    from neuroloom.pipeline.runs.features import FeatureConfig
    from neuroloom.pipeline.runs.functional import FunctionalConfig
    from neuroloom.pipeline.runs.training import TrainConfig

T = TypeVar("T")


class RunConfig(Config):
    """What a training run is asked for. inputs, targets: port names; all where they are left out.

    use_extrapolated, max_uncertainty_ms: which times are good enough to train on; see `WindowConfig`.
    versions: session -> version; bad_channels, good_channels: session -> stream -> what reviewers call so; left_out:
        session -> why, of those not named: all as they were when the run was prepared, and not for the config file.
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
    good_channels: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)


def read_run_config(path: Path) -> RunConfig:
    """A config file with its name and its topology made definite. Raises ConfigError."""
    try:
        return definite(read_config(path, RunConfig), path)
    except ConfigError as error:
        if str(error).startswith(f"{path}: search: no such setting"):
            raise ConfigError(f"{path}: has a table [search]; `neuroloom search {path}` is wanted for it") from error
        raise


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
    checked(lambda: check_names(config.loggers), f"{path}: loggers")
    return config


def training_of(config: RunConfig, where: str = "") -> TrainConfig:
    """How a run is trained. Raises ConfigError naming the table, what was found and what was wanted."""
    from neuroloom.pipeline.runs.objectives import ForcingConfig, ObjectiveConfig
    from neuroloom.pipeline.runs.training import TrainConfig

    where = where or config.name
    for i, table in enumerate(config.objectives, 1):
        checked(partial(ObjectiveConfig.from_table, table), f"{where}: [[objectives]] {i}")
    forcing = dict(config.forcing)
    if forcing:
        ports = forcing.get("ports", ())
        if not isinstance(ports, list | tuple):
            raise ConfigError(f"{where}: [forcing]: ports is {ports!r}; a list of ports is wanted")
        forcing["ports"] = tuple(ports)
        _check_names(ForcingConfig, forcing, f"{where}: [forcing]")
        checked(lambda: ForcingConfig(**forcing), f"{where}: [forcing]")
    if config.functional:
        functional_of(config, where)
    features_of(config, where)
    if config.shuffle_recording and config.surrogate:
        raise ConfigError(f"{where}: shuffle_recording and surrogate are both set; a control is one of them")
    settings = {"steps": config.steps, "batch_size": config.batch_size, "seed": config.seed} | config.training
    settings |= {"objectives": config.objectives} if config.objectives else {}
    settings |= {"forcing": forcing} if forcing else {}
    _check_names(TrainConfig, settings, f"{where}: [training]")
    return checked(lambda: TrainConfig.from_table(settings), f"{where}: [training]")


def features_of(config: RunConfig, where: str) -> FeatureConfig:
    """How features are made. Raises ConfigError, for kinds of streams, too."""
    from neuroloom.pipeline.runs.features import FeatureConfig

    _check_kinds(config, where)
    asked: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in config.features.items()}
    _check_names(FeatureConfig, asked, f"{where}: [features]")
    return checked(lambda: FeatureConfig(**asked), f"{where}: [features]")


def _check_kinds(config: RunConfig, where: str) -> None:
    """Also of streams that only come in, which no readout is made of."""
    from neuroloom.models.ports import EVENTS
    from neuroloom.models.readouts import kinds

    known = sorted({*kinds.names(), *EVENTS})
    for stream, kind in config.kinds.items():
        if kind not in known:
            raise ConfigError(f"{where}: [kinds]: {stream} is {kind!r}; one of {', '.join(known)} is wanted")


def functional_of(config: RunConfig, where: str) -> tuple[str, FunctionalConfig]:
    """The port that pathways are estimated from, and how."""
    from neuroloom.pipeline.runs.functional import FunctionalConfig

    settings = dict(config.functional)
    port = settings.pop("port", "")
    if not port:
        raise ConfigError(f"{where}: [functional]: port is missing; the port to estimate pathways from is wanted")
    _check_names(FunctionalConfig, settings, f"{where}: [functional]")
    return str(port), checked(lambda: FunctionalConfig(**settings), f"{where}: [functional]")


def _check_names(settings: type, given: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError for what is no field of a dataclass of settings."""
    known = [one.name for one in fields(settings)]
    for name in given:
        if name not in known:
            raise ConfigError(f"{where}: {name}: {no_such_setting(name, known)}")


def checked(make: Callable[[], T], where: str) -> T:
    """What `make` makes. Raises ConfigError saying where in the config the mistake is."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error
