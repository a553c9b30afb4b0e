"""Where a training's numbers go while it runs, besides `metrics.jsonl`: by name, each through Lightning's own logger.

    tensorboard     an event file in the run's folder: `tensorboard --logdir STORE/runs`
    mlflow          the server that MLFLOW_TRACKING_URI names, else `mlruns/` in the run's folder
                    (`pip install neuroloom[mlflow]`)

The same numbers by the same names everywhere: loss, validation, gradient_norm, learning_rate, removed, and per port or
objective `ports/NAME`, `objectives/NAME`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

MLFLOW_RUN = "mlflow.txt"  # in the run's folder: which MLflow run goes on here


class RunLogs:
    """The loggers of one training. step: how far it has come; what another file has of later steps is void."""

    def __init__(self, names: Sequence[str], folder: Path | None, step: int) -> None:
        check_names(names)
        self.loggers = [LOGGERS[name](folder, step) for name in names] if folder is not None else []

    def row(self, row: Mapping[str, Any]) -> None:
        """One line of the metrics. Raises OSError where the disk refuses it."""
        for logger in self.loggers:
            try:
                logger.log_metrics(numbers_of(row), step=int(row["step"]))
            except ValueError as error:
                # Lightning says of whatever goes wrong that the number cannot be logged.
                if isinstance(error.__cause__, OSError):
                    raise error.__cause__ from None
                raise

    def close(self, state: str = "success") -> None:
        """Everything is written. state: "success" or "failed"."""
        for logger in self.loggers:
            logger.save()
            logger.finalize(state)


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError for a logger that is not known."""
    unknown = [name for name in names if name not in LOGGERS]
    if unknown:
        raise ValueError(f"no logger {unknown[0]!r}; there are {', '.join(sorted(LOGGERS))}")


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics, by name; what is no number, or not finite, is left out."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": number for name, number in numbers_of(value).items()}
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and key != "step":
            found[key] = float(value)
    return found


def _tensorboard(folder: Path, step: int) -> Any:
    from lightning.fabric.loggers import TensorBoardLogger

    # The suffix, since files are named by the second: one that begins in the same second must not take its place.
    how = {"default_hp_metric": False, "purge_step": step + 1, "filename_suffix": f".{step}"}
    return TensorBoardLogger(folder, name="", version="", **how)


def _mlflow(folder: Path, step: int) -> Any:
    """The run that goes on here is found again by what the folder remembers of it."""
    from lightning.pytorch.loggers import MLFlowLogger

    remembered = folder / MLFLOW_RUN
    try:
        logger = MLFlowLogger(
            experiment_name="neuroloom",
            run_name=folder.name,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.sqlite'}",
            run_id=remembered.read_text(encoding="utf-8").strip() if step and remembered.is_file() else None,
        )
    except ModuleNotFoundError as error:
        raise ValueError(f"logger 'mlflow': {error.name} is missing; `pip install neuroloom[mlflow]`") from error
    remembered.write_text(f"{logger.run_id}\n", encoding="utf-8")
    return logger


LOGGERS: Mapping[str, Callable[[Path, int], Any]] = {"tensorboard": _tensorboard, "mlflow": _mlflow}
