"""One training in two processes of this machine: the same numbers as in one, up to rounding."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline import train
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.runs.run_files import steps_done
from neuroloom.pipeline.runs.run_logs import numbers_of
from neuroloom.pipeline.runs.search_config import read_search_config
from neuroloom.pipeline.runs.training import read_metrics
from neuroloom.pipeline.runs.windowing import windows
from neuroloom.pipeline.store import Store

from .two_areas import TWO_AREAS

RUN = """
topology = "areas.toml"
length_s = 1.0
steps = {steps}
batch_size = 5
area_size = 6
loggers = []
{more}
[training]
processes = {processes}
input_dropout = 0.3
forward_s = 0.2
prune_to = 0.3
validate_every = 4
checkpoint_every = 2
"""
OBJECTIVES = """
[[objectives]]
kind = "wiring"
weight = "uncertainty"
[[objectives]]
kind = "nll"
target = "lfp"
weight = { start = 1.0, end = 0.5 }
[forcing]
ports = ["lfp"]
"""


@pytest.fixture
def store(tmp_path: Path, turning: Callable[..., Session]) -> Store:
    made = Store(tmp_path / "store").create()
    (tmp_path / "areas.toml").write_text(TWO_AREAS)
    for day in range(2):
        session = turning(session=f"{day + 1:02d}", day=day)
        session.save(made.sessions / session.id / "v001")
    return made


def prepared(store: Store, name: str, processes: int | str, steps: int = 8, more: str = OBJECTIVES) -> str:
    path = store.root.parent / f"{name}.toml"
    path.write_text(RUN.format(processes=processes, steps=steps, more=more))
    preparing.prepare_run(run_config.read_run_config(path), store)
    return name


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    return read_metrics(store.run_folder(name))


def assert_alike(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for a, b in zip(map(flat, one), map(flat, two), strict=True):
        assert a == pytest.approx(b, rel=2e-4)


def flat(row: dict[str, Any]) -> dict[str, float]:
    return numbers_of(row) | {"step": row["step"]}


def children() -> dict[int, int]:
    """Rank -> process, of those that this process has started to train."""
    found: dict[int, int] = {}
    for line in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, line.read_text().split()):
            with suppress(OSError):
                if rank := re.search(rb"\0RANK=(\d+)\0", Path(f"/proc/{pid}/environ").read_bytes()):
                    found[int(rank[1])] = pid
    return found


def stopping_at(last: int) -> Callable[[int, float], None]:
    def told(step: int, loss: float) -> None:
        if step >= last:
            raise InterruptedError

    return told


def test_two_processes_come_to_the_numbers_of_one(store: Store) -> None:
    one = running.train_run(prepared(store, "one", 1), store)
    told: list[int] = []
    two = running.train_run(prepared(store, "two", 2), store, progress=lambda step, loss: told.append(step))
    assert_alike(rows(store, "one"), rows(store, "two"))
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert (two.best_step, told[-1], children()) == (one.best_step, 8, {})


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(store: Store) -> None:
    running.train_run(prepared(store, "one", 1, steps=60), store)
    with pytest.raises(InterruptedError):
        running.train_run(prepared(store, "cut", 2, steps=60), store, progress=stopping_at(3))
    with pytest.raises(InterruptedError):
        running.train_run(prepared(store, "cut", 1, steps=60), store, progress=stopping_at(40))
    running.train_run(prepared(store, "cut", 3, steps=60), store)
    assert_alike(rows(store, "one"), rows(store, "cut"))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_dies_all_end_and_the_same_goes_on_to_the_same_numbers(store: Store, rank: int) -> None:
    def kill(step: int, loss: float) -> None:
        if step >= 5 and rank in children():
            os.kill(children()[rank], signal.SIGKILL)

    noise = "[network]\nnoise = 0.1"
    running.train_run(prepared(store, "whole", 2, steps=150, more=noise), store)
    said = rf"^process {rank + 1} of 2 was ended by SIGKILL; the others were ended, too, at step \d+; the same again"
    with pytest.raises(ValueError, match=said):
        running.train_run(prepared(store, "cut", 2, steps=150, more=noise), store, progress=kill)
    assert children() == {}
    running.train_run("cut", store)
    assert rows(store, "cut") == rows(store, "whole")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whoever_ends_the_command_ends_all_processes(store: Store, sent: signal.Signals) -> None:
    prepared(store, "run", 2, steps=100_000)
    config = store.root.parent / "run.toml"
    command = [sys.executable, "-m", "neuroloom.flows.main", "train", str(config), "--store", str(store.root)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=listens) as process:
        try:
            wait_until(lambda: steps_done(store.run_folder("run")) > 5)
            process.send_signal(sent)
            assert process.wait(60) != 0
        finally:
            process.kill()
    time.sleep(1.0)
    done = steps_done(store.run_folder("run"))
    time.sleep(1.0)
    assert steps_done(store.run_folder("run")) == done


def listens() -> None:
    """A test that runs in the background would give its children a SIGINT that is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + 240
    while not holds():
        assert time.monotonic() < ends_s
        time.sleep(0.1)


@pytest.mark.slow
def test_what_the_processes_refuse_is_said_in_one_line(store: Store) -> None:
    (store.root.parent / "bad.toml").write_text(RUN.format(processes=2, steps=8, more="[network]\nkind = 'unheard'\n"))
    preparing.prepare_run(run_config.read_run_config(store.root.parent / "bad.toml"), store)
    with pytest.raises(ValueError, match=r"^bad: \[network\]: .*unheard"):
        running.train_run("bad", store)


@pytest.mark.parametrize(
    ("processes", "more", "said"),
    [
        ("0", "", "processes is 0; a whole number from 1 to the 5 windows of a batch is wanted"),
        ("6", "", "processes is 6; a whole number from 1 to the 5 windows of a batch is wanted"),
        ("true", "", "processes is True; a whole number"),
        ('"two"', "", "processes is 'two'; a whole number"),
        ("2", "weights = [1.0]", "'features lfp' is to be chosen among 2; one weight, or one process, is wanted"),
        ("2", "weight = 1.0", "'features lfp' is taken of whole batches; one process is wanted"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_starts(
    store: Store, processes: str, more: str, said: str
) -> None:
    objective = f"[[objectives]]\nkind = 'features'\ntarget = 'lfp'\n{more}" if more else ""
    with pytest.raises(ConfigError, match=rf"run\.toml: \[training\]: .*{said}"):
        prepared(store, "run", processes, more=objective)


def test_a_search_over_trainings_in_several_processes_is_refused(store: Store, tmp_path: Path) -> None:
    text = RUN.format(processes=2, steps=8, more="") + "[search.space]\n'training.learning_rate' = [1e-3, 1e-2]\n"
    (tmp_path / "search.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"\[training\] processes: trials run side by side"):
        read_search_config(tmp_path / "search.toml")


def test_a_script_that_runs_once_is_told_how_to_run_twice(turning: Callable[..., Session]) -> None:
    data = windows([turning()], length_s=1.0)
    with pytest.raises(ValueError, match=r"processes is 2, but this is one of 1; .*`torchrun --nproc-per-node 2`"):
        train(ModularNetwork(Topology(name="one", areas=(Area(name="V1"),))), data, processes=2)


def test_shares_of_a_batch_are_the_batch(turning: Callable[..., Session]) -> None:
    split = windows([turning()], length_s=1.0).train
    whole = split.random_batch(3, batch_size=5).first_bins
    shares = [split.random_batch(3, batch_size=5, share=slice(rank, None, 2)).first_bins for rank in range(2)]
    assert [len(share) for share in shares] == [3, 2]
    assert sorted(np.concatenate(shares)) == sorted(whole)
