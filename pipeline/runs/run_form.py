"""A training as a form: the settings of a run that need no file, typed, for whoever starts it from the dashboard.

What a config file can say beyond this (objectives, forcing, forward solutions, controls) needs the file. A topology is
one that ships or a file in the store, and nothing else: a form is sent by whoever can reach the dashboard.

Design rationale: the defaults are written again here, because the classes that own them import torch, and the service
that shows the form starts without it. A test holds them together.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, field_validator

from neuroloom.pipeline.config import Config, ConfigError
from neuroloom.pipeline.runs.run_config import RunConfig
from neuroloom.pipeline.store import Store, slug


def _title(name: str, _: object) -> str:
    """`length_s` as "Length, s"."""
    bare = name.removesuffix("_s")
    return bare.replace("_", " ").capitalize() + (", s" if bare != name else "")


class Form(Config):
    """Titles as people write them."""

    model_config = ConfigDict(field_title_generator=_title)


class NetworkForm(Form):
    """Settings of a `ModularNetwork`, as `[network]` has them."""

    kind: Literal["leaky", "gru", "gated_linear", "transformer"] = "leaky"
    rank: int = Field(default=0, ge=0, description="rank of each pathway's message; 0: full")
    tau_s: float = Field(default=0.05, gt=0, description="time constant that areas start with")
    gain: float = Field(default=0.9, gt=0, description="spectral radius of all recurrent weights at the start")
    coupling: float = Field(default=0.5, ge=0, lt=1, description="share of a unit's input that other areas send")
    dale: bool = Field(default=False, description="units excite or inhibit, never both (leaky only)")
    density: float = Field(default=1.0, gt=0, le=1, description="of the connections between units of two areas")
    session_size: int = Field(default=0, ge=0, description="numbers per session that set gain and bias of units")
    noise: float = Field(default=0.0, ge=0, description="in the drive of every unit, in training only")
    detach_every: int = Field(default=0, ge=0, description="bins after which the gradient is cut; 0: never")
    recompute_bins: int = Field(default=0, ge=0, description="bins computed again for the gradient; 0: all are kept")


class TrainingForm(Form):
    """How a network is trained, as `[training]` has it; see `TrainConfig`."""

    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    warm_up_s: float = Field(default=0.2, ge=0, description="first part of each window without a loss")
    forward_s: float = Field(default=0.0, ge=0, description="how far ahead to predict")
    input_dropout: float = Field(default=0.0, ge=0, lt=1, description="chance that an input is missing from a batch")
    prune_to: float = Field(default=0.0, ge=0, lt=1, description="share of connections removed on the way")
    validate_every: int = Field(default=100, ge=1, description="steps")
    shrink_readouts: bool = Field(default=False, description="towards constants, as far as is best on validation time")
    patience: int = Field(default=8, ge=0, description="validations without a better one until it stops; 0: never")
    accelerator: Literal["cpu", "auto", "cuda"] = "cpu"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    processes: int = Field(default=1, ge=1, description="that share each batch, on one machine")


class NewRun(Form):
    """A training from the beginning. Sessions that are left out: all that may be trained on."""

    name: str = Field(min_length=1, max_length=80, description="letters, digits, '.', '_' and '-'")
    sessions: tuple[str, ...] = ()
    topology: str = Field(default="four-areas", description="one that ships, or a file in the store")
    length_s: float = Field(default=2.0, gt=0, description="of a window")
    bin_s: float = Field(default=0.02, gt=0)
    inputs: tuple[str, ...] | None = Field(default=None, description="streams; all where left out")
    targets: tuple[str, ...] | None = Field(default=None, description="streams; all where left out")
    area_size: int = Field(default=32, ge=1, description="units of an area")
    steps: int = Field(default=2000, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = 0
    network: NetworkForm = NetworkForm()
    training: TrainingForm = TrainingForm()

    @field_validator("name")
    @classmethod
    def _is_a_folder(cls, name: str) -> str:
        if slug(name) != name:
            raise ValueError(f"{name!r} cannot name a folder; {slug(name)!r} could")
        return name

    def config(self, store: Store) -> RunConfig:
        """What `train` takes. Raises ConfigError where the topology neither ships nor lies in the store."""
        given = self.model_dump(exclude={"network", "training", "topology"})
        return RunConfig(
            **given,
            topology=self._topology(store),
            network=self.network.model_dump(exclude_defaults=True),
            training=self.training.model_dump(exclude_defaults=True),
        )

    def _topology(self, store: Store) -> str:
        ships = sorted(Path(one.name).stem for one in (files("neuroloom") / "models" / "topologies").iterdir())
        if self.topology in ships:
            return self.topology
        root = store.root.resolve()
        found = (root / self.topology).resolve()
        if not found.is_relative_to(root) or not found.is_file():
            wanted = f"a file in {root} or one of {', '.join(ships)}"
            raise ConfigError(f"{self.name}: topology {self.topology!r} is not there; {wanted} is wanted")
        return str(found)
