"""The command line in this process, and the sample person to feed it with."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SAMPLE = Path(__file__).parents[2] / "sample_data" / "person"


@dataclass(frozen=True)
class Said:
    """What a command left behind: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its stdout, which must be one JSON document and nothing else."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def neuroloom(tmp_path, monkeypatch, capsys) -> Callable[..., Said]:
    """`neuroloom ARGS...` with a store of the test's own."""
    monkeypatch.setenv("NEUROLOOM_STORE", str(tmp_path / "store"))

    def run(*args: object) -> Said:
        from neuroloom.flows.main import main

        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["neuroloom", *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run


@pytest.fixture
def person(tmp_path) -> Path:
    """A copy, so that a test may spoil it."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "person"))


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    """A Prefect server of the module's own, without heartbeats, which outlive a flow."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield
