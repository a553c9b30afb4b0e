"""How a network is trained: the settings of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from neuroloom.pipeline.runs._settings import check_settings
from neuroloom.pipeline.runs.objectives import ForcingConfig, ObjectiveConfig

OF_SHARES = ("outputs", "pathways", "time_constants", "own")  # a sum over windows, or nothing of the batch at all


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    warm_up_s: first part of each window that no loss is taken of: the network does not know yet where it is.
    forward_s: last part of each window whose inputs are hidden in every other step, so that it learns to predict that
        far ahead; `evaluate` then scores it, too.
    input_dropout: chance that a whole input port is missing from a batch (never all of them).
    port_weights: factor on a target's loss; 0 leaves it out. Ports weigh as the square root of their channels.
    objectives: what else is asked for; see `objectives.py`. choose_steps: steps of each training that a choice of their
        weights takes, 0 for as many as `steps` (then the winner's training is the run's).
    forcing: recordings that the states are drawn to while training.
    train_only: "all", or "session": what the sessions here have of their own; what all share stays as it is.
    prune_to: share of the connections between areas that is removed on the way, 0 for none; the weakest go first.
        prune_scale_mm: and the longer ones, see `ModularNetwork.prune`.
    select_on: targets whose validation loss chooses the best network; empty means all, as they are trained, or all
        behaviour where weights of objectives are chosen.
    shrink_readouts: at the end each readout is drawn towards a constant as far as is best on validation time, so that
        no target is told worse than by its mean for what is good for others; see `shrinking.py`.
    patience: validations without a better one after which training stops; 0 for never.
    checkpoint_every, checkpoint_s: whichever of steps and seconds comes first.
    precision: as Lightning Fabric names it ("32-true", "bf16-mixed").
    processes: that train together, one per device on an accelerator; each takes its share of every batch. They are
        started by `train_run`; a script of yours is started in as many by `torchrun`. It changes no number beyond
        rounding, unless the network has noise, so a run may go on with another number of them.
    """

    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    warm_up_s: float = 0.2
    forward_s: float = 0.0
    input_dropout: float = 0.0
    port_weights: Mapping[str, float] = field(default_factory=dict)
    objectives: tuple[ObjectiveConfig, ...] = ()
    choose_steps: int = 0
    forcing: ForcingConfig | None = None
    train_only: Literal["all", "session"] = "all"
    prune_to: float = 0.0
    prune_scale_mm: float | None = None
    select_on: tuple[str, ...] = ()
    validate_every: int = 100
    shrink_readouts: bool = False
    patience: int = 8
    checkpoint_every: int = 200
    checkpoint_s: float = 60.0
    accelerator: str = "cpu"
    precision: str = "32-true"
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if self.steps < 1 or self.batch_size < 1 or self.validate_every < 1 or self.checkpoint_every < 1:
            raise ValueError(
                f"steps {self.steps}, batch size {self.batch_size}, validation every {self.validate_every}, checkpoint "
                f"every {self.checkpoint_every}; each must be 1 or more"
            )
        if not 0 <= self.input_dropout < 1:
            raise ValueError(f"input dropout {self.input_dropout}; from 0 to below 1 is wanted")
        if self.train_only not in ("all", "session"):
            raise ValueError(f"train_only is {self.train_only!r}; 'all' or 'session' is wanted")
        if not 0 <= self.prune_to < 1 or (self.prune_scale_mm is not None and self.prune_scale_mm <= 0):
            raise ValueError(
                f"prune_to {self.prune_to}, prune_scale_mm {self.prune_scale_mm}; from 0 to below 1, and a length "
                "above 0, are wanted"
            )
        if not 0 <= self.choose_steps <= self.steps:
            raise ValueError(f"choose_steps {self.choose_steps}; from 0 to the {self.steps} steps is wanted")
        self._check_processes()

    def _check_processes(self) -> None:
        n = self.processes
        if not 1 <= n <= self.batch_size:
            raise ValueError(
                f"processes is {n}; a whole number from 1 to the {self.batch_size} windows of a batch is wanted"
            )
        for objective in self.objectives if n > 1 else ():
            if len(objective.candidates) > 1:
                raise ValueError(
                    f"processes is {n}, but the weight of objective {objective.label()!r} is to be chosen among "
                    f"{len(objective.candidates)}; one weight, or one process, is wanted"
                )
            if objective.takes not in OF_SHARES:
                raise ValueError(
                    f"processes is {n}, but objective {objective.label()!r} is taken of whole batches; "
                    "one process is wanted"
                )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> TrainConfig:
        """As TOML or JSON has it. Raises ValueError or TypeError saying what is wrong."""
        given = dict(table)
        given["objectives"] = tuple(ObjectiveConfig.from_table(one) for one in given.get("objectives", ()))
        if given.get("forcing") is not None:
            forcing = dict(given["forcing"])
            given["forcing"] = ForcingConfig(**{**forcing, "ports": tuple(forcing.get("ports", ()))})
        given["select_on"] = tuple(given.get("select_on", ()))
        return cls(**given)
