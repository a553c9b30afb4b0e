"""What these tests counted, told at the end of the run: the numbers that docs/trust.md has."""

import pytest

from .faults import Forks

COUNTED: list[str] = []


@pytest.fixture(scope="session")
def tell():
    """Adds a line to what is told at the end."""
    return COUNTED.append


@pytest.fixture(scope="module")
def forks():
    """Fault injection: a process that forks one to be traced per call."""
    with Forks() as found:
        yield found


def pytest_terminal_summary(terminalreporter):
    if COUNTED:
        terminalreporter.section("counted")
        for line in COUNTED:
            terminalreporter.write_line(line)
