"""One training in two processes of this machine: the same numbers as in one, up to rounding."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroloom.ingest import Session
from neuroloom.models import Area, ModularNetwork, Topology
from neuroloom.pipeline import train
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.runs import running
from neuroloom.pipeline.runs._together import _environment
from neuroloom.pipeline.runs.training import read_metrics
from neuroloom.pipeline.runs.windowing import windows
from neuroloom.pipeline.store import Store

TOPOLOGY = """
name = "two"
[[areas]]
name = "V1"
inputs = ["light"]
[[areas]]
name = "M1"
outputs = ["hand"]
[[pathways]]
source = "V1"
target = "M1"
length_mm = 90.0
[[pathways]]
source = "M1"
target = "V1"
length_mm = 90.0
"""
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


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path: Path, turning: Callable[..., Session]) -> Store:
    made = Store(tmp_path / "store").create()
    (tmp_path / "areas.toml").write_text(TOPOLOGY)
    for day in range(2):
        session = turning(session=f"{day + 1:02d}", day=day)
        session.save(made.sessions / session.id / "v001")
    return made


def prepared(store: Store, name: str, processes: int, steps: int = 8, more: str = OBJECTIVES) -> str:
    path = store.root.parent / f"{name}.toml"
    path.write_text(RUN.format(processes=processes, steps=steps, more=more))
    running.prepare_run(running.read_run_config(path), store)
    return name


def rows(store: Store, name: str) -> list[dict[str, Any]]:
    return read_metrics(store.run_folder(name))


def assert_alike(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    assert [row.keys() for row in one] == [row.keys() for row in two]
    for a, b in zip(one, two, strict=True):
        for key in a.keys() - {"session", "ports", "objectives"}:
            np.testing.assert_allclose(a[key], b[key], rtol=2e-4, err_msg=f"{key} of step {a['step']}")
        for part in ("ports", "objectives"):
            assert a.get(part) == pytest.approx(b.get(part), rel=2e-4)


def test_two_processes_come_to_the_numbers_of_one(store: Store) -> None:
    one = running.train_run(prepared(store, "one", 1), store)
    told: list[int] = []
    two = running.train_run(prepared(store, "two", 2), store, progress=lambda step, loss: told.append(step))
    assert_alike(rows(store, "one"), rows(store, "two"))
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert two.best_step == one.best_step
    assert told[-1] == 8
