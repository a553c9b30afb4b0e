import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.models import Area, ModularNetwork, Pathway, Topology
from neuroloom.pipeline import evaluate, train
from neuroloom.pipeline.runs.run_files import latest_rows, steps_done
from neuroloom.pipeline.runs.training import Run, TrainConfig, read_metrics
from neuroloom.pipeline.runs.windowing import Windows, windows

from .stopping import StoppedError, stop_at

Simulate = Callable[..., Any]

TOPOLOGY = Topology(
    name="two",
    areas=(Area(name="V1"), Area(name="M1")),
    pathways=(Pathway(source="V1", target="M1"), Pathway(source="M1", target="V1")),
)
SHORT: dict[str, Any] = {"steps": 12, "batch_size": 4, "validate_every": 4, "checkpoint_every": 5, "input_dropout": 0.3}


@pytest.fixture(scope="module")
def data(simulated: Simulate) -> Windows:
    return windows([simulated(duration_s=40, n_units=4).session], length_s=0.6)


def network(**more: Any) -> ModularNetwork:
    return ModularNetwork(TOPOLOGY, area_size=6, bin_s=0.02, noise=0.1, **more)


@pytest.mark.parametrize("stops", [(1,), (5,), (7,), (6, 11)])
def test_a_run_stopped_anywhere_goes_on_to_the_same_numbers(
    data: Windows, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    whole = train(network(), data, folder=tmp_path / "whole", **SHORT)
    for stop in stops:
        with pytest.raises(StoppedError):
            train(network(), data, folder=tmp_path / "cut", progress=stop_at(stop), **SHORT)
    resumed = train(network(), data, folder=tmp_path / "cut", **SHORT)
    assert resumed.losses == whole.losses
    assert read_metrics(tmp_path / "cut") == read_metrics(tmp_path / "whole")
    for one, two in zip(resumed.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_last_lines_are_whole_wherever_the_look_at_them_begins(tmp_path: Path) -> None:
    rows = [{"step": n, "ports": {"eeg": 1.0, "more": {"gaze": 2.0}}} for n in range(1, 5)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 5, "po')
    for n_bytes in range(1, len(text) + 40):
        found = latest_rows(tmp_path, n_bytes)
        assert found == rows[len(rows) - len(found) :]
        assert len(found) == min(4, max(0, n_bytes - 15) // (len(text) // 4))
    assert steps_done(tmp_path) == 4


def test_a_line_cut_short_in_the_metrics_is_dropped_on_resuming(data: Windows, tmp_path: Path) -> None:
    whole = train(network(), data, folder=tmp_path / "whole", **SHORT)
    with pytest.raises(StoppedError):
        train(network(), data, folder=tmp_path / "cut", progress=stop_at(7), **SHORT)
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    assert train(network(), data, folder=tmp_path / "cut", **SHORT).losses == whole.losses


def test_a_finished_run_is_not_trained_again(data: Windows, tmp_path: Path) -> None:
    first = train(network(), data, folder=tmp_path, **SHORT)
    again = train(network(), data, folder=tmp_path, progress=stop_at(1), **SHORT)
    assert again.losses == first.losses


def test_other_settings_in_the_same_folder_are_refused(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, **SHORT)
    with pytest.raises(ValueError, match="other settings under 'training'"):
        train(network(), data, folder=tmp_path, **SHORT | {"learning_rate": 0.1})
    assert len(train(network(), data, folder=tmp_path, resume=False, **SHORT | {"steps": 3}).losses) == 3


def test_an_opened_run_predicts_what_the_trained_one_did(data: Windows, tmp_path: Path) -> None:
    run = train(network(), data, folder=tmp_path, **SHORT)
    opened = Run.open(tmp_path)
    (session,) = data.sessions
    for port, values in run.predict(data.held_out)[session].items():
        np.testing.assert_array_equal(opened.predict(data.held_out)[session][port], values)
    assert opened.losses == run.losses


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json.*the settings of a run are wanted"):
        Run.open(tmp_path)


def test_a_run_predicts_every_bin_of_a_session(simulated: Simulate, data: Windows) -> None:
    session = simulated(duration_s=40, n_units=4).session
    run = train(network(), data, **SHORT)
    whole = run.predict(session)[session.id]
    assert {name: len(values) for name, values in whole.items()} == dict.fromkeys(whole, 2000)
    starts = data.held_out.tiles(session.id)
    tiles = run.predict(data.held_out)[session.id]["units"].reshape(len(starts), 30, 4)
    assert np.abs(whole["units"][starts[0] : starts[0] + 30] - tiles[0]).max() < 0.1


def test_the_gradient_norm_is_logged_at_every_step(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, **SHORT)
    norms = [row["gradient_norm"] for row in read_metrics(tmp_path) if "loss" in row]
    assert len(norms) == 12
    assert min(norms) > 0


def test_training_stops_when_validation_no_longer_improves(data: Windows) -> None:
    run = train(network(), data, steps=200, batch_size=2, learning_rate=0.3, validate_every=1, patience=3)
    assert len(run.losses) == run.best_step + 3


def test_dropping_inputs_never_drops_all_of_them(data: Windows) -> None:
    run = train(network(), data, **SHORT | {"input_dropout": 0.99})
    assert np.isfinite(run.losses).all()


def test_a_port_of_weight_zero_takes_no_part_in_the_loss(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, **SHORT, port_weights={"eeg": 0.0})
    assert all("eeg" not in row["ports"] for row in read_metrics(tmp_path) if "ports" in row)


def test_several_sessions_share_one_network(simulated: Simulate) -> None:
    sessions = [simulated(duration_s=40, n_units=3 + i, seed=i, subject=f"0{i}").session for i in range(2)]
    data = windows(sessions, length_s=0.6)
    run = train(network(), data, **SHORT)
    found = run.predict(data.held_out)
    assert {name: ports["units"].shape[1] for name, ports in found.items()} == {
        "sub-00_ses-01": 3,
        "sub-01_ses-01": 4,
    }


def test_the_checkpoint_holds_tensors_and_numbers_only(data: Windows, tmp_path: Path) -> None:
    train(network(), data, folder=tmp_path, **SHORT)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 12
    assert json.loads((tmp_path / "config.json").read_text())["training"]["steps"] == 12


def test_nonsense_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="each must be 1 or more"):
        TrainConfig(steps=0)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from tests.pipeline import conftest
from tests.pipeline.runs import test_training as t
data = t.windows([conftest.simulate(duration_s=40, n_units=4).session], length_s=0.6)
t.train(t.network(), data, folder=sys.argv[2], progress=lambda step, loss: print(step, flush=True), **t.SHORT)
"""


def test_a_killed_process_loses_nothing_but_time(data: Windows, tmp_path: Path) -> None:
    whole = train(network(), data, folder=tmp_path / "whole", **SHORT)
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[3]), str(tmp_path / "cut")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() not in ("7", ""):
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert train(network(), data, folder=tmp_path / "cut", **SHORT).losses == whole.losses


def test_a_trained_network_beats_the_mean_rate(simulated: Simulate) -> None:
    data = windows([simulated().session])
    net = ModularNetwork(TOPOLOGY, area_size=16, bin_s=0.02)
    scores = evaluate(train(net, data, steps=150, validate_every=50), data.held_out)
    for port in ("units", "eeg", "gaze"):
        assert scores.get(port=port).low > scores.get(port=port, model="mean").high
