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

import os
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, field_validator, model_validator

from neuroloom.ingest.preprocessing import Chain
from neuroloom.ingest.sorting import Curation
from neuroloom.pipeline.config import Config, ConfigError, as_written, read_config
from neuroloom.pipeline.schedules import ScheduleSettings
from neuroloom.pipeline.store import Store

AS_SET = "as set"  # the sorter that `session.toml` names, else `neuroloom.toml`


class InboxSettings(Config):
    """When a drop counts as whole, and what becomes of failures. Times in seconds.

    settle_s: unchanged for this long. orphan_s: a file no format knows, or whose companions are missing, is refused
    after this long. scan_s: how often the inbox is looked at. retry_s: pause before another attempt, doubled each time;
    after max_attempts it is refused, after two where its reader crashed or hung.
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


def wrong_settings(store: Store) -> str:
    """Why the settings cannot be gone by, or ""."""
    try:
        Settings.of(store)
    except ConfigError as error:
        return str(error)
    return ""
