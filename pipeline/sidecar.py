"""What a lab says of a drop: `session.toml` in its folder, everything in it optional.

subject = "07"
session = "2"
task = "reach"
run = "1"
reference = "probe"                          # the device whose clock the session runs on
same_clock = [["spikes", "trajectory"]]      # devices on one clock although their files do not say so
start_uncertainty_s = 0.2                    # how far off start times are: computers whose clocks are kept together

[areas]                                      # the brain area of a signal's channels or of units
ap = "V1"                                    # all of them
eeg = ["V1", "V1", "M1"]                     # or one each
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from neuroloom.ingest.formats import FormatError
from neuroloom.pipeline.config import Config, ConfigError, read_config

FILE_NAME = "session.toml"


class SessionNotes(Config):
    """The content of a `session.toml`; see the head of this file."""

    subject: str | None = None
    session: str | None = None
    task: str | None = None
    run: str | None = None
    reference: str | None = None
    same_clock: tuple[tuple[str, ...], ...] = ()
    start_uncertainty_s: float | None = Field(default=None, ge=0)
    areas: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)

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
