"""What every file in ingest/sorters/ must do, whoever wrote it."""

import sys

import numpy as np
import pytest

import neuroloom.ingest.sorters as folder
from neuroloom.ingest.preprocessing import preprocess
from neuroloom.ingest.sorters import SortingError, installed, sorter_named, sorters

from ..conftest import RATE_HZ, found_share


@pytest.mark.parametrize("name", sorters())
def test_says_what_it_is_and_needs(name):
    assert sorters()[name].TITLE
    assert all(isinstance(module, str) for module in sorters()[name].NEEDS)


QUICK = ("simple", "spykingcircus2")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in installed()])
def test_finds_clear_spikes_on_the_clock_of_the_signal(name, truth):
    units = sorter_named(name)(preprocess(truth.signal).signal("probe"))
    assert units.provenance["sorter"] == name
    every_s = np.sort(np.concatenate(units.spike_times_s))
    for samples in truth.spikes:
        assert found_share(100.0 + samples / RATE_HZ, every_s) > 0.9


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(sorters()["simple"], "NEEDS", ("no_such_library",))
    with pytest.raises(
        SortingError, match=r"needs no_such_library, .* pip install no_such_library; installed are .*lupin"
    ):
        sorter_named("simple")


def test_a_sorter_that_is_known_and_not_installed_is_told_from_one_that_nobody_knows():
    with pytest.raises(SortingError, match=r"^sorter waveclus is not installed here .* installed are .*spykingcircus2"):
        sorter_named("waveclus")
    with pytest.raises(SortingError, match="'nobody' is not known here"):
        sorter_named("nobody")


def test_a_new_file_in_the_folder_is_a_new_sorter(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("TITLE, NEEDS = 'Mine', ()\ndef sort(signal): return signal\n")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    sorters.cache_clear()
    try:
        assert sorter_named("mine")("x") == "x"
    finally:
        sorters.cache_clear()
        sys.modules.pop("neuroloom.ingest.sorters.mine", None)
