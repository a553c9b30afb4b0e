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
lf = { V1 = [0, 1200], CA1 = [1200, 2000] }  # or by place along the probe: from, up to, µm from its tip (`y_um`)

[probe]                                      # where electrodes lie, if the files do not say
manufacturer = "imec"                        # a model that is known without a network
model = "NP1000"
contacts = [0, 384]                          # which of its contacts were recorded: from, up to
# file = "probe.json"                        # or a file in probeinterface's format; `probe.json` is found by itself

[sortings]                                   # which recording an existing sorting is of, if its name does not say
kilosort4 = "ap"                             # device of the sorting = stream, or device, that was sorted

[spikes]                                     # how spikes are found in this session
sorter = "lupin"                             # "none": not at all
chain = { notch_hz = [50], reference = "local", drift = "dredge_fast" }
curation = { min_snr = 5 }                   # see `docs/spikes.md`

[eeg]                                        # what an EEG file leaves out
reference = "Cz"
montage = "biosemi64"                        # MNE-Python's name of a cap whose channels are not named after places

[screen]                                     # gaze in pixels becomes degrees of visual angle
width_px = 1920
height_px = 1080
width_cm = 53.1
height_cm = 29.9
distance_cm = 60
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat, field_validator, model_validator

from neuroloom.ingest.eeg_positions import check_montage
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.streams import MODALITIES
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.settings import SpikeSettings

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


class EegNotes(Config):
    """What an EEG was recorded against, and the cap its channels are places of."""

    reference: str | None = None
    montage: str | None = None

    @field_validator("montage")
    @classmethod
    def _is_known(cls, montage: str | None) -> str | None:
        if montage is not None:
            check_montage(montage)
        return montage


class ScreenNotes(Config):
    """The screen the subject looked at, and how far away it stood; see `ingest/gaze_geometry.py`.

    Pixels may be left out where the tracker's file tells them (EyeLink, SMI); what is said here has the last word.
    """

    width_px: PositiveFloat | None = None
    height_px: PositiveFloat | None = None
    width_cm: PositiveFloat
    height_cm: PositiveFloat
    distance_cm: PositiveFloat


class SpikeNotes(SpikeSettings):
    """The `[spikes]` of a `session.toml`: counts before that of the store."""

    sorter: str | None = None


class SessionNotes(Config):
    """The content of a `session.toml`; see the head of this file."""

    subject: str | None = None
    session: str | None = None
    task: str | None = None
    run: str | None = None
    reference: str | None = None
    same_clock: tuple[tuple[str, ...], ...] = ()
    start_uncertainty_s: float | None = Field(default=None, ge=0)
    expects: tuple[str, ...] = ()
    areas: dict[str, str | tuple[str, ...] | dict[str, tuple[float, float]]] = Field(default_factory=dict)
    probe: ProbeNotes | None = None
    sortings: dict[str, str] = Field(default_factory=dict)
    spikes: SpikeNotes | None = None
    eeg: EegNotes | None = None
    screen: ScreenNotes | None = None

    @field_validator("expects")
    @classmethod
    def _are_modalities(cls, expects: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in expects if name not in MODALITIES]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no modality; there are {', '.join(MODALITIES)}")
        return expects

    def for_sources(self) -> dict[str, Any]:
        """What a session's sources remember, for what is computed of it now and of versions to come."""
        said = {key: getattr(self, key) for key in ("eeg", "screen", "spikes")}
        told = {key: notes.model_dump(exclude_none=True) for key, notes in said.items() if notes is not None}
        return told | ({"expects": list(self.expects)} if self.expects else {})

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
