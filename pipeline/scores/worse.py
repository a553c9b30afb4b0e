"""Targets that a network predicts worse than their mean would: one of several is easily missed beside the others.

Of a target nothing was learned, or too much, where the mean over its training time is the better prediction. It is
looked at where a training chose its step, on validation time, and where a run is scored, on held-out time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroloom.ingest import durable

if TYPE_CHECKING:
    from neuroloom.pipeline.runs.run import Run
    from neuroloom.pipeline.runs.windowing import Split, Windows

WORSE = "worse.json"  # in a run's folder
OF_SOME = (
    "all targets together chose the step: training.shrink_readouts = true where it is not, training.select_on, "
    "training.port_weights or more steps may help"
)
OF_ALL = "nothing was learned that holds: other inputs, more data, or other settings of the training may help"


@dataclass(frozen=True, kw_only=True)
class Worse:
    """A target of a session, its score, and what its mean over training time scores; more is better."""

    session: str
    port: str
    metric: str
    value: float
    mean: float

    def words(self) -> str:
        """In a line."""
        return (
            f"{self.port} of {self.session} is predicted worse than by its mean: {self.metric} {self.value:.3f}, "
            f"of the mean {self.mean:.3f}"
        )


@dataclass(frozen=True, kw_only=True)
class WorseTargets:
    """Those of one look. when: "at step 30, on validation time". n_targets: how many were looked at."""

    when: str
    found: tuple[Worse, ...]
    n_targets: int

    def lines(self) -> list[str]:
        """Warnings, a line each, and what may help; none where there is nothing to warn of."""
        if not self.found:
            return []
        are_all = len({(one.session, one.port) for one in self.found}) == self.n_targets
        return [*(f"warning: {self.when}, {one.words()}" for one in self.found), OF_ALL if are_all else OF_SOME]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def worse_at_best(run: Run, data: Windows) -> WorseTargets:
    """The targets that a run predicts worse than their mean would, at the step it chose, on validation time.

    Each by the score that a training lowers: R2, bits per spike, bits per answer. Targets of no weight are left out.
    """
    from neuroloom.pipeline.scores._scoring import Task, metrics_of
    from neuroloom.pipeline.scores.baselines import mean_baseline

    split: Split = data.validation
    mean, said = mean_baseline(data).predict(split), run.predict(split)
    found, n_targets = [], 0
    for session, one in split.sessions.items():
        for port in one.target_names:
            task = Task(split=split, session=session, port=port)
            if run.config.port_weights.get(port, 1.0) == 0 or not task.mask.any():
                continue
            metric, n_targets = metrics_of(task)[-1], n_targets + 1
            value, of_mean = (
                float(metric.value(metric.sums(task, each[session][port]).sum(axis=0)[None])[0])
                for each in (said, mean)
            )
            if value < of_mean:
                found.append(Worse(session=session, port=port, metric=metric.name, value=value, mean=of_mean))
    return WorseTargets(when=f"at step {run.best_step}, on validation time", found=tuple(found), n_targets=n_targets)


def worse_in(scores: Iterable[tuple[tuple[str, str, str, str], Mapping[str, Any]]], when: str) -> WorseTargets:
    """The same of scores. scores: (session, port, area, metric) -> the score of each model, which has a `value`."""
    found, targets = [], set()
    for (session, port, area, metric), values in scores:
        if area or not {"network", "mean"} <= set(values):
            continue
        targets.add((session, port))
        value, mean = float(values["network"].value), float(values["mean"].value)
        if value < mean:
            found.append(Worse(session=session, port=port, metric=metric, value=value, mean=mean))
    return WorseTargets(when=when, found=tuple(found), n_targets=len(targets))


def write_worse(run: Run, data: Windows, folder: Path) -> WorseTargets:
    """Look at a run's targets at the step that was chosen, and write what was found into its folder."""
    found = worse_at_best(run, data)
    durable.write_json(folder / WORSE, found.to_json())
    return found


def read_worse(said: Mapping[str, Any]) -> WorseTargets:
    """What `write_worse` has written; nothing where it has another form."""
    try:
        rows: Sequence[Mapping[str, Any]] = said["found"]
        found = tuple(
            Worse(**{key: str(row[key]) for key in ("session", "port", "metric")},
                  value=float(row["value"]), mean=float(row["mean"]))
            for row in rows
        )  # fmt: skip
        return WorseTargets(when=str(said["when"]), found=found, n_targets=int(said["n_targets"]))
    except (LookupError, TypeError, ValueError):
        return WorseTargets(when="", found=(), n_targets=0)
