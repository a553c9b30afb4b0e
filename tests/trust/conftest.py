"""What these tests counted, told at the end of the run: the numbers that docs/trust.md has.

NEUROLOOM_COUNTED names a file that has it as it comes, for runs of hours.
"""

import os
from pathlib import Path

import pytest

from .faults import Forks

COUNTED: list[str] = []


@pytest.fixture(scope="session")
def tell():
    """Adds a line to what is told at the end."""

    def told(line):
        COUNTED.append(line)
        if name := os.environ.get("NEUROLOOM_COUNTED"):
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    return told


@pytest.fixture(scope="module")
def forks():
    """Fault injection: a process that forks one to be traced per call."""
    with Forks() as found:
        yield found


def pytest_sessionfinish(session):
    """One of several processes hands over what it counted."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counted"] = COUNTED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """And the one that started them takes it."""
    COUNTED.extend(getattr(node, "workeroutput", {}).get("counted", []))


def pytest_terminal_summary(terminalreporter):
    if COUNTED:
        terminalreporter.section("counted")
        for line in COUNTED:
            terminalreporter.write_line(line)
