"""Settings of a store: `neuroloom.toml` in it, checked once at the border. Everything has a default.

[inbox]
settle_s = 10          # a drop must lie unchanged for this long
[ingest]
sorter = "spykingcircus2"   # "none": do not sort
ica = true                  # add EEG without eyes and muscles; needs `pip install neuroloom[ica]`
strict = true               # refuse files with faults instead of mending them
[spikes.chain]
reference = "local"         # what is done to traces before spikes are looked for: `docs/spikes.md`
[spikes.curation]
min_snr = 5                 # which units are accepted
[privacy]
keep_dates = true           # dates are shifted otherwise, names replaced by codes
[box]
memory_mb = 4096       # that a reader may use; readable = ["/opt/vendor"] lets it read a vendor's library
[server]
port = 4200
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from neuroloom.ingest.preprocessing import Chain
from neuroloom.ingest.sorting import Curation
from neuroloom.pipeline.store import Store

AS_SET = "as set"  # the sorter that `session.toml` names, else `neuroloom.toml`


class ConfigError(ValueError):
    """A configuration file is not as wanted: the message names the file, the field, what was found and wanted."""


class Config(BaseModel):
    """Frozen, and a key that is not known is an error instead of a silent typo."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class InboxSettings(Config):
    """When a drop counts as whole, and what becomes of failures. Times in seconds.

    settle_s: unchanged for this long. orphan_s: a file no format knows, or whose companions are missing, is refused
    after this long. scan_s: how often the inbox is looked at. retry_s: pause before another attempt, doubled each time.
    """

    settle_s: float = Field(default=10.0, ge=0)
    orphan_s: float = Field(default=300.0, ge=0)
    scan_s: float = Field(default=3.0, gt=0)
    retry_s: float = Field(default=30.0, ge=0)
    max_attempts: int = Field(default=3, ge=1)


class IngestSettings(Config):
    """How drops are worked on.

    in_flight: runs at once. lease_s: a run that has not been heard of for this long is dead. queue_s: a hand-over that
    no run took up for this long is repeated. small_bytes, batch: that many drops of at most that size share a run.
    min_free_bytes: nothing is started with less free space. sorter, ica: see `processing.py`. strict: a file with a
    fault that could be mended in the reading is refused.
    """

    sorter: str = "spykingcircus2"
    ica: bool = False
    strict: bool = False
    in_flight: int = Field(default=2, ge=1)
    lease_s: float = Field(default=120.0, gt=0)
    queue_s: float = Field(default=1800.0, gt=0)
    small_bytes: int = Field(default=32_000_000, ge=0)
    batch: int = Field(default=20, ge=1)
    min_free_bytes: int = Field(default=2_000_000_000, ge=0)


class SpikeSettings(Config):
    """How spikes are found: departures from the defaults of `Chain` (`ingest/preprocessing.py`) and of `Curation`."""

    chain: dict[str, Any] = Field(default_factory=dict)
    curation: dict[str, Any] = Field(default_factory=dict)

    @field_validator("chain")
    @classmethod
    def _is_chain(cls, chain: dict[str, Any]) -> dict[str, Any]:
        return _checked(chain, Chain)

    @field_validator("curation")
    @classmethod
    def _is_curation(cls, curation: dict[str, Any]) -> dict[str, Any]:
        return _checked(curation, Curation)

    def but(self, said: Mapping[str, Any]) -> tuple[Chain, Curation]:
        """The whole of both, where `said`, of a session, counts before what is said of the store."""
        chain = {**self.chain, **said.get("chain", {})}
        curation = {**self.curation, **said.get("curation", {})}
        return TypeAdapter(Chain).validate_python(chain), TypeAdapter(Curation).validate_python(curation)


def _checked(given: dict[str, Any], kind: type[Chain] | type[Curation]) -> dict[str, Any]:
    """As given, where it makes one of that kind. Raises ValueError naming the key."""
    wanted = [field.name for field in fields(kind)]
    unknown = [key for key in given if key not in wanted]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known; known here: {', '.join(wanted)}")
    TypeAdapter(kind).validate_python(given)
    return given


class PrivacySettings(Config):
    """What may be published of a person. By default no name and no true date: see `privacy.py`."""

    keep_names: bool = False
    keep_dates: bool = False


class BoxSettings(Config):
    """What the process may use that reads recordings: see `box.py`. Sizes in MiB, over what the imports take.

    on: False reads in the run's own process, without limits. sorting_mb: while spikes are sorted. readable: folders
    that readers need besides the installation, such as a vendor's library. wall_s, wall_s_per_gb: time for any
    recording, and so much more per 1e9 bytes.
    """

    on: bool = True
    memory_mb: int = Field(default=2048, ge=256)
    sorting_mb: int = Field(default=16384, ge=256)
    wall_s: float = Field(default=900.0, gt=0)
    wall_s_per_gb: float = Field(default=3600.0, ge=0)
    readable: tuple[str, ...] = ()


class ServerSettings(Config):
    """Where the embedded pages listen (always on this machine only), and how often the sweep runs. Port 0: any free."""

    port: int = Field(default=4200, ge=0, le=65535)
    review_port: int = Field(default=4280, ge=0, le=65535)
    sweep_minutes: float = Field(default=15.0, gt=0)


class Settings(Config):
    """The whole of `neuroloom.toml`."""

    inbox: InboxSettings = InboxSettings()
    ingest: IngestSettings = IngestSettings()
    spikes: SpikeSettings = SpikeSettings()
    privacy: PrivacySettings = PrivacySettings()
    box: BoxSettings = BoxSettings()
    server: ServerSettings = ServerSettings()

    @classmethod
    def of(cls, store: Store) -> Settings:
        """The settings of a store; all defaults where it has no file. Raises ConfigError."""
        return read_config(store.settings_file, cls) if store.settings_file.is_file() else cls()


C = TypeVar("C", bound=BaseModel)


def read_config(path: Path, model: type[C]) -> C:
    """A TOML file as `model`. Raises ConfigError: one line with the file, the field, and what is wrong with it."""
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}; a TOML file is wanted") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        known = f"; known here: {', '.join(model.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise ConfigError(f"{path}: {where}: {first['msg']}, found {first['input']!r}{known}") from error
