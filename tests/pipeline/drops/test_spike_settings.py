"""What a lab says of spikes: of the store in `neuroloom.toml`, of one session in `session.toml`."""

from dataclasses import replace

import pytest

from neuroloom.ingest.preprocessing import Chain
from neuroloom.ingest.sorting import Curation
from neuroloom.pipeline.config import ConfigError
from neuroloom.pipeline.drops import preparing
from neuroloom.pipeline.drops.sidecar import SessionNotes
from neuroloom.pipeline.settings import AS_SET, Settings, SpikeSettings
from neuroloom.pipeline.store import Store


def test_what_is_said_of_a_session_counts_before_what_is_said_of_the_store():
    of_store = SpikeSettings(chain={"notch_hz": [60], "reference": "average"}, curation={"min_snr": 5})
    chain, curation = of_store.but({"chain": {"notch_hz": [50, 100]}})
    assert chain == replace(Chain(), notch_hz=(50.0, 100.0), reference="average")
    assert curation == replace(Curation(), min_snr=5.0)


def test_nothing_said_is_the_defaults():
    assert SpikeSettings().but({}) == (Chain(), Curation())


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            "[spikes.chain]\nreferenc = 'local'\n",
            r"spikes\.chain: referenc: no such setting \(reference\?\); known here: band_hz",
        ),
        ("[spikes.chain]\nreference = 'best'\n", r"spikes\.chain: reference: .*'median'"),
        ("[spikes.chain]\ndrift = 'sideways'\n", "there are sorter, none, dredge_fast"),
        ("[spikes.curation]\nmin_snr = 'high'\n", r"spikes\.curation: min_snr: .*found 'high'"),
    ],
)
def test_a_wrong_word_is_refused_by_file_and_field(said, found, tmp_path):
    store = Store(tmp_path).create()
    store.settings_file.write_text(said)
    with pytest.raises(ConfigError, match=found) as refused:
        Settings.of(store)
    assert str(store.settings_file) in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "session_says", "used"),
    [
        (AS_SET, "", "simple"),
        (AS_SET, "[spikes]\nsorter = 'lupin'\n", "lupin"),
        (AS_SET, "[spikes]\nsorter = 'none'\n", None),
        ("tridesclous2", "[spikes]\nsorter = 'lupin'\n", "tridesclous2"),
        (None, "[spikes]\nsorter = 'lupin'\n", None),
    ],
)
def test_the_sorter_is_the_one_asked_for_else_of_the_session_else_of_the_store(asked, session_says, used, tmp_path):
    store = Store(tmp_path / "store").create()
    store.settings_file.write_text("[ingest]\nsorter = 'simple'\n")
    (tmp_path / "session.toml").write_text(session_says)
    said = SessionNotes.beside(tmp_path).for_sources().get("spikes", {})
    assert preparing.sorter_of(asked, said, Settings.of(store)) == used
