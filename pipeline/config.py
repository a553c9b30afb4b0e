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
[fan_out]
runner = "dask"        # work on many sessions in processes; threads otherwise
[schedules]
time_zone = "Europe/Berlin"
retrain = {config = "reach.toml"}         # see docs/operations.md for schedules, alerts and retention
[alerts]
mail_to = ["lab@example.org"]
[retention]
quarantine_days = 90
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from neuroloom.ingest.preprocessing import Chain
from neuroloom.ingest.sorting import Curation
from neuroloom.pipeline.store import Store

AS_SET = "as set"  # the sorter that `session.toml` names, else `neuroloom.toml`


class ConfigError(ValueError):
    """A configuration file is not as wanted: the message names the file, the field, what was found and wanted."""


NUMBERS = (int, float, int | None, float | None)


class Config(BaseModel):
    """Frozen; a key that is not known is an error instead of a silent typo, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_number(cls, given: Any, info: ValidationInfo) -> Any:
        """True is 1 otherwise, and `quarantine_days = true` would delete after a day."""
        if isinstance(given, bool) and cls.model_fields[str(info.field_name)].annotation in NUMBERS:
            raise ValueError("a number is wanted")
        return given


class InboxSettings(Config):
    """When a drop counts as whole, and what becomes of failures. Times in seconds.

    settle_s: unchanged for this long. orphan_s: a file no format knows, or whose companions are missing, is refused
    after this long. scan_s: how often the inbox is looked at. retry_s: pause before another attempt, doubled each time;
    after max_attempts it is refused.
    """

    settle_s: float = Field(default=10.0, ge=0)
    orphan_s: float = Field(default=300.0, ge=0)
    scan_s: float = Field(default=3.0, gt=0)
    retry_s: float = Field(default=30.0, ge=0)
    max_attempts: int = Field(default=3, ge=1)


class IngestSettings(Config):
    """How drops are worked on.

    in_flight: runs at once. lease_s: a run that has not been heard of for this long is dead. queue_s: a hand-over for
    which no worker was free for this long is repeated. small_bytes, batch: that many drops of at most that size share
    a run. min_free_bytes: nothing is started with less free space. sorter, ica: see `processing.py`. strict: a file
    with a fault that could be mended in the reading is refused.
    """

    sorter: str = "spykingcircus2"
    ica: bool = False
    strict: bool = False
    in_flight: int = Field(default=2, ge=1)
    lease_s: float = Field(default=45.0, gt=0)
    queue_s: float = Field(default=1800.0, gt=0)
    small_bytes: int = Field(default=32_000_000, ge=0)
    batch: int = Field(default=20, ge=1)
    min_free_bytes: int = Field(default=2_000_000_000, ge=0)


class SpikeSettings(Config):
    """How spikes are found, where it is not as by default: docs/spikes.md explains chain and curation."""

    chain: dict[str, Any] = Field(default_factory=dict)
    curation: dict[str, Any] = Field(default_factory=dict)

    @field_validator("chain")
    @classmethod
    def _is_chain(cls, chain: dict[str, Any]) -> dict[str, Any]:
        return as_written(chain, Chain)

    @field_validator("curation")
    @classmethod
    def _is_curation(cls, curation: dict[str, Any]) -> dict[str, Any]:
        return as_written(curation, Curation)

    def but(self, said: Mapping[str, Any]) -> tuple[Chain, Curation]:
        """The whole of both, where `said`, of a session, counts before what is said of the store."""
        chain = {**self.chain, **said.get("chain", {})}
        curation = {**self.curation, **said.get("curation", {})}
        return TypeAdapter(Chain).validate_python(chain), TypeAdapter(Curation).validate_python(curation)


class PrivacySettings(Config):
    """What may be published of a person: by default no name and no true date. keep_names, keep_dates: they stay."""

    keep_names: bool = False
    keep_dates: bool = False


class BoxSettings(Config):
    """What the process may use that reads recordings: see `box.py`. Sizes in MiB, over what the imports take.

    on: False reads in the run's own process, without limits. memory_mb: while it reads. sorting_mb: while it sorts
    spikes. readable: folders that readers need besides the installation, such as a vendor's library. wall_s,
    wall_s_per_gb: time for any recording, and so much more per 1e9 bytes.
    """

    on: bool = True
    memory_mb: int = Field(default=2048, ge=256)
    sorting_mb: int = Field(default=16384, ge=256)
    wall_s: float = Field(default=900.0, gt=0)
    wall_s_per_gb: float = Field(default=3600.0, ge=0)
    readable: tuple[str, ...] = ()

    def seconds(self, n_bytes: int) -> float:
        """Wall time for an input of that size."""
        return self.wall_s + self.wall_s_per_gb * n_bytes / 1e9


class FanOutSettings(Config):
    """How the same work on many sessions goes on side by side: see `flows/fanning.py`.

    runner: threads of the run's process, or processes of Dask (`pip install neuroloom[dask]`). workers: so many; as
    many as there are cores where 0. address: of the scheduler of a Dask cluster that runs already and sees the store.
    """

    runner: Literal["threads", "dask"] = "threads"
    workers: int = Field(default=0, ge=0)
    address: str = ""

    @property
    def n_workers(self) -> int:
        """How many there are."""
        return self.workers or os.cpu_count() or 1


class ServerSettings(Config):
    """Where pages listen, on this machine only. port: the dashboard, review_port: the review pages; 0: any free one."""

    port: int = Field(default=4200, ge=0, le=65535)
    review_port: int = Field(default=4280, ge=0, le=65535)

    @model_validator(mode="after")
    def _are_two(self) -> Self:
        if self.port == self.review_port != 0:
            raise ValueError(f"port and review_port are both {self.port}; two are wanted")
        return self


class Schedule(Config):
    """When something runs by itself: by `cron` (minute, hour, day, month, weekday) or `every_minutes`, one of them.

    on: False leaves it to people. time_zone: that of `[schedules]` where it is left out; a cron at 02:00 stays at 02:00
    by that zone's clock in summer and winter.
    """

    on: bool = True
    cron: str = ""
    every_minutes: float | None = Field(default=None, gt=0)
    time_zone: str = ""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.cron and self.every_minutes is not None:
            raise ValueError("cron and every_minutes are both given; one of them is wanted")
        return self

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        return _time_zone(name)


class VerifySchedule(Schedule):
    """Published files are read to the byte. budget_minutes: how long a run goes on; the next begins where it ended."""

    cron: str = "0 2 * * *"
    budget_minutes: float = Field(default=240.0, gt=0)


class RetrainSchedule(Schedule):
    """A run is trained anew where there are sessions or versions the last one has not seen.

    config: a file as `neuroloom train` takes, relative to the store; nothing is trained without one.
    """

    cron: str = "0 3 * * 0"
    config: str = ""


class SweepSchedule(Schedule):
    """The inbox is looked at, whether or not a watcher lives."""

    every_minutes: float | None = Field(default=60.0, gt=0)


class CleanSchedule(Schedule):
    """What `[retention]` gives up is deleted; off unless turned on."""

    on: bool = False
    cron: str = "0 4 * * *"


class ScheduleSettings(Config):
    """What runs by itself. time_zone: an IANA name, for every schedule that names none.

    Each has on (False leaves it to people), cron (minute, hour, day, month, weekday) or every_minutes, and time_zone.
    """

    time_zone: str = "UTC"
    verify: VerifySchedule = VerifySchedule()
    retrain: RetrainSchedule = RetrainSchedule()
    sweep: SweepSchedule = SweepSchedule()
    clean: CleanSchedule = CleanSchedule()

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        return _time_zone(name or "UTC")

    @field_validator("verify", "retrain", "sweep", "clean", mode="before")
    @classmethod
    def _leave_out_the_other_default(cls, found: Any) -> Any:
        """Whoever gives a cron does not want the default interval too, and the other way round."""
        if isinstance(found, dict) and "cron" in found and "every_minutes" not in found:
            return {**found, "every_minutes": None}
        if isinstance(found, dict) and "every_minutes" in found and "cron" not in found:
            return {**found, "cron": ""}
        return found


AlertKind = Literal["quarantine", "damage", "failed"]


class AlertSettings(Config):
    """Who is told of what, and how. Nobody by default.

    webhook: a URL that JSON is posted to; NEUROLOOM_WEBHOOK in the environment comes first, since such a URL may be a
    secret. on: what is told. mail_to: addresses, mail_from: whose mail it is. Mail goes through smtp_host at smtp_port
    (smtp_security: "none", "starttls" or "tls"), with NEUROLOOM_SMTP_USER and NEUROLOOM_SMTP_PASSWORD from the
    environment where they are set. timeout_s: of one attempt. most_tries: after that many it is given up; the pause
    between them begins with retry_s and doubles. look_s: how often the watcher looks for news.
    """

    on: tuple[AlertKind, ...] = ("quarantine", "damage", "failed")
    webhook: str = ""
    mail_to: tuple[str, ...] = ()
    mail_from: str = "neuroloom@localhost"
    smtp_host: str = "localhost"
    smtp_port: int = Field(default=25, ge=1, le=65535)
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    timeout_s: float = Field(default=10.0, gt=0)
    retry_s: float = Field(default=30.0, gt=0)
    most_tries: int = Field(default=10, ge=1)
    look_s: float = Field(default=10.0, gt=0)

    @field_validator("webhook")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("a URL that begins with https:// or http:// is wanted")
        return url

    @field_validator("mail_to")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [a for a in addresses if "@" not in a or any(c.isspace() for c in a)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no mail address")
        return addresses


class RetentionSettings(Config):
    """After how many days something may be deleted; nothing is where a number is left out. See `retention.py`.

    derived_days: caches that were not used for so long. old_versions_days: versions of a session that a newer one, read
    and found sound, has replaced for so long, and that no run rests on. quarantine_days: what was refused.
    checkpoints_days: those of candidates among which a finished run has chosen. staging_days: what was being written
    when a machine died.
    """

    derived_days: float | None = Field(default=None, ge=0)
    old_versions_days: float | None = Field(default=None, ge=0)
    quarantine_days: float | None = Field(default=None, ge=0)
    checkpoints_days: float | None = Field(default=None, ge=0)
    staging_days: float | None = Field(default=7.0, ge=1)


class Settings(Config):
    """The whole of `neuroloom.toml`."""

    inbox: InboxSettings = InboxSettings()
    ingest: IngestSettings = IngestSettings()
    spikes: SpikeSettings = SpikeSettings()
    privacy: PrivacySettings = PrivacySettings()
    box: BoxSettings = BoxSettings()
    server: ServerSettings = ServerSettings()
    fan_out: FanOutSettings = FanOutSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    alerts: AlertSettings = AlertSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def of(cls, store: Store) -> Settings:
        """The settings of a store; all defaults where it has no file. Raises ConfigError."""
        return read_config(store.settings_file, cls) if store.settings_file.is_file() else cls()


C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")
LIST = "a list is wanted"
TABLE = "a table is wanted"
IN_TOML = {
    "tuple_type": LIST, "list_type": LIST, "dict_type": TABLE, "model_type": TABLE, "dataclass_type": TABLE,
    "too_short": "a list that is not empty is wanted",
}  # fmt: skip


def wrong_settings(store: Store) -> str:
    """Why the settings cannot be gone by, or ""."""
    try:
        Settings.of(store)
    except ConfigError as error:
        return str(error)
    return ""


def _time_zone(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; an IANA name such as Europe/Berlin is wanted") from error
    return name


def read_config(path: Path, model: type[C], over: C | None = None) -> C:
    """A TOML file as `model`. over: what counts where the file says nothing, in place of the defaults.

    Raises ConfigError: one line with the file, the field, and what is wrong with it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or 'cannot be read'}; a TOML file is wanted") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error
    return parsed_config(text, model, str(path), over)


def parsed_config(text: str, model: type[C], where: str, over: C | None = None) -> C:
    """TOML as `model`. where: what a fault is said to be in. Raises ConfigError as `read_config` does."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where}: is not TOML ({error})") from error
    try:
        return model.model_validate({**(over.model_dump() if over is not None else {}), **found})
    except ValidationError as error:
        raise ConfigError(f"{where}: {fault(model, error)}") from error


def fitted(given: Mapping[str, Any], kind: type[T]) -> T:
    """A table as one of that kind, a dataclass or a model. Raises ValueError naming the key, what it is and why not."""
    if is_dataclass(kind):
        known = [field.name for field in fields(kind)]
        for key in given:
            if key not in known:
                raise ValueError(f"{key}: {no_such_setting(key, known)}")
    try:
        return TypeAdapter(kind).validate_python(dict(given))
    except ValidationError as error:
        raise ValueError(fault(kind, error)) from error


def as_written(given: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The table itself, where it makes one of that kind. Raises ValueError as `fitted` does."""
    fitted(given, kind)
    return given


def fault(model: type[Any], error: ValidationError) -> str:
    """The first fault that was found: which setting, what is wrong with it, what it is; or what is known there."""
    errors = error.errors()
    # A key that is not known comes first: it may be what is missing, written wrongly.
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    found = first["input"]
    said = IN_TOML.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
    if not first["loc"]:  # of settings that do not fit together; all of them would be found
        return said
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: {_unknown(model, first['loc'])}"
    if first["type"] == "missing":
        return f"{where}: is missing"
    if said == LIST and isinstance(found, Mapping):
        return f"{where}: a list of tables is wanted, each under [[{where}]]"
    if isinstance(found, Mapping) or (isinstance(found, list) and any(isinstance(one, Mapping) for one in found)):
        return f"{where}: {said}"  # of whole tables the message says what is wrong
    return f"{where}: {said}, found {found!r}"


def _unknown(model: type[Any], where: Sequence[int | str]) -> str:
    """What is known at the place of a key that is not, and which of it was meant, where one looks like it."""
    table: Any = model
    for part in where[:-1]:
        if _is_model(table):
            table = table.model_fields[part].annotation if part in table.model_fields else None
        else:  # a list of tables, or tables by name
            table = next(filter(_is_model, get_args(table)), None)
    if not _is_model(table):
        return "no such setting"
    return no_such_setting(str(where[-1]), [field.alias or name for name, field in table.model_fields.items()])


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def no_such_setting(name: str, known: Sequence[str]) -> str:
    """`no such setting (rate?); known here: rate, steps`."""
    alike = difflib.get_close_matches(name, known, n=1)
    return f"no such setting{f' ({alike[0]}?)' if alike else ''}; known here: {', '.join(known)}"
