"""A store for all tests of one study: what it learns takes seconds."""

import pytest

from neuroloom.pipeline.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store.here(tmp_path_factory.mktemp("store")).create()
