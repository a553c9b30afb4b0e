"""What a lab says of a drop: `session.toml` in its folder, everything in it optional.

subject = "07"
session = "2"
task = "reach"
run = "1"
reference = "probe"                          # the device whose clock the session runs on
same_clock = [["spikes", "trajectory"]]      # devices on one clock although their files do not say so

[areas]                                      # the brain area of a signal's channels or of units
ap = "V1"                                    # all of them
eeg = ["V1", "V1", "M1"]                     # or one each
lf = { V1 = [0, 1200], CA1 = [1200, 2000] }  # or by place along the probe: from, up to, µm from its tip (`y_um`)

[probe]                                      # where electrodes lie, if the files do not say
manufacturer = "imec"                        # a model that is known without a network
model = "NP1000"
contacts = [0, 384]                          # which of its contacts were recorded: from, up to
# file = "probe.json"                        # or a file in probeinterface's format; `probe.json` is found by itself

[sortings]                                   # which recording an existing sorting is of, if its name does not say
kilosort4 = "ap"                             # device of the sorting = stream, or device, that was sorted
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.streams import MODALITIES
from neuroloom.pipeline.config import Config, ConfigError, read_config

FILE_NAME = "session.toml"


class ProbeNotes(Config):
    """The `[probe]` of a `session.toml`: a model, or a file."""

    manufacturer: str = ""
    model: str = ""
    contacts: tuple[int, int] | None = None
    file: str = ""

    @model_validator(mode="after")
    def _is_one(self) -> ProbeNotes:
        if bool(self.model) == bool(self.file):
            raise ValueError("either a model or a file is wanted")
        if self.contacts is not None and not 0 <= self.contacts[0] < self.contacts[1]:
            raise ValueError(f"contacts are {list(self.contacts)}; from and up to, as [0, 384], are wanted")
        return self


class SessionNotes(Config):
    """The content of a `session.toml`; see the head of this file."""

    subject: str | None = None
    session: str | None = None
    task: str | None = None
    run: str | None = None
    reference: str | None = None
    same_clock: tuple[tuple[str, ...], ...] = ()
    expects: tuple[str, ...] = ()
    areas: dict[str, str | tuple[str, ...] | dict[str, tuple[float, float]]] = Field(default_factory=dict)
    probe: ProbeNotes | None = None
    sortings: dict[str, str] = Field(default_factory=dict)

    @field_validator("expects")
    @classmethod
    def _are_modalities(cls, expects: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in expects if name not in MODALITIES]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no modality; there are {', '.join(MODALITIES)}")
        return expects

    @classmethod
    def beside(cls, folder: Path) -> SessionNotes:
        """Those of a folder, empty where it has none. Raises FormatError naming the file and what is wrong in it."""
        path = folder / FILE_NAME
        if not path.is_file():
            return cls()
        try:
            return read_config(path, cls)
        except ConfigError as error:
            raise FormatError(str(error)) from error
