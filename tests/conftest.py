from pathlib import Path

import pytest
from hypothesis import settings

from .browser import chromium

# The same examples at every run: a red test is a change in the code, not in the draw.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


def pytest_collection_modifyitems(config, items):
    """Where processes share the tests by groups, a file is one, for its tests share what they are made of."""
    if getattr(config.option, "dist", "no") == "loadgroup":
        for item in items:
            if not item.get_closest_marker("apart"):
                item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def recordings_dir() -> Path:
    """The folder of real recordings, which lies beside the project and never in it."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no real recordings here: {RECORDINGS.name} is not beside the project")
    return RECORDINGS
