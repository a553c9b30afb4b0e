"""The numbers of a training by the names of the metrics, wherever they are sent."""

import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline.runs.run_logs import RunLogs, numbers_of
from neuroloom.pipeline.runs.training import read_metrics, train
from neuroloom.pipeline.runs.windowing import Windows, windows

SETTINGS: dict[str, Any] = {"batch_size": 4, "validate_every": 2, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def data(turning: Any) -> Windows:
    torch.set_num_threads(1)
    return windows([turning(duration_s=30)], length_s=0.4, inputs=("light",), targets=("hand", "lfp"))


def network() -> ModularNetwork:
    return ModularNetwork(Topology(name="one", areas=(Area(name="all"),)), area_size=4, bin_s=0.02)


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar of every event file: a record is its length, a checksum, a message, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: list[tuple[str, int, float]] = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda p: p.stat().st_mtime_ns):
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            (length,) = struct.unpack("<Q", raw[at : at + 8])
            event = Event.FromString(raw[at + 12 : at + 12 + length])
            at += 16 + length
            if event.session_log.status:
                found = [row for row in found if row[1] < event.step]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_an_event_file_has_the_numbers_of_the_metrics(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, steps=4, **SETTINGS)
    rows = read_metrics(tmp_path)
    wanted = {(name, row["step"]): number for row in rows for name, number in numbers_of(row).items()}
    assert {("loss", 1), ("validation", 4), ("ports/hand", 2)} <= set(wanted)
    assert {(tag, step): value for tag, step, value in events(tmp_path)} == pytest.approx(wanted, rel=1e-6)


def test_a_training_that_goes_on_says_what_is_void(data: Windows, tmp_path: Path) -> None:
    def stop(step: int, _loss: float) -> None:
        if step == 3:  # a checkpoint was written at step 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(network(), data, folder=tmp_path, progress=stop, steps=4, **SETTINGS)
    train(network(), data, folder=tmp_path, steps=4, **SETTINGS)
    losses = [(step, value) for tag, step, value in events(tmp_path) if tag == "loss"]
    assert [step for step, _ in losses] == [1, 2, 3, 4]
    assert [value for _, value in losses] == pytest.approx([r["loss"] for r in read_metrics(tmp_path) if "loss" in r])


def test_nobody_is_told_where_nobody_is_named(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, loggers=(), steps=2, **SETTINGS)
    assert events(tmp_path) == []


def test_a_logger_that_is_not_known_is_named(data: Windows) -> None:
    with pytest.raises(ValueError, match="no logger 'wandb'; there are mlflow, tensorboard"):
        train(network(), data, loggers=("wandb",), steps=2)


def test_what_is_no_number_is_left_out() -> None:
    row = {"step": 3, "loss": 1.5, "validation": None, "session": "sub-01", "ports": {"a": float("nan"), "b": 2}}
    assert numbers_of(row) == {"loss": 1.5, "ports/b": 2.0}


def test_mlflow_goes_on_in_the_same_run(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install neuroloom[mlflow]")
    for step in (0, 1):
        logs = RunLogs(("mlflow",), tmp_path, step)
        logs.row({"step": step + 1, "loss": 0.5 - 0.1 * step})
        logs.close()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.sqlite'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "neuroloom"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(1, 0.5), (2, 0.4)]


def test_what_the_disk_refuses_is_said_as_the_disk_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    logs = RunLogs(["tensorboard"], tmp_path, 0)
    monkeypatch.setattr(logs.loggers[0].experiment, "add_scalar", full)
    with pytest.raises(OSError, match="No space left"):
        logs.row({"step": 1, "loss": 2.0})
