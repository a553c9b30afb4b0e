"""What these tests counted, told at the end of the run: the numbers that docs/trust.md has."""

import pytest

COUNTED: list[str] = []


@pytest.fixture(scope="session")
def tell():
    """Adds a line to what is told at the end."""
    return COUNTED.append


def pytest_terminal_summary(terminalreporter):
    if COUNTED:
        terminalreporter.section("counted")
        for line in COUNTED:
            terminalreporter.write_line(line)
