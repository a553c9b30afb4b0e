"""Catalogs and sessions that older code has written: they open, are brought up to date, and lose nothing.

`tests/older/written-before.tar.xz` was written once, by commits of this project, and is never written anew:
session-1a, 1b, 1c by the first writer of sessions (events in an AnnotationSeries), by the next (events in a table), and
by the last of index version 1; catalog-1 has drops, sessions and runs, catalog-2 the contents of sessions, too.
"""

import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pynwb
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from neuroloom.ingest import Session, manifest
from neuroloom.ingest._nwb_layout import INDEX_VERSION
from neuroloom.ingest._nwb_older import STEPS
from neuroloom.ingest._nwb_read import SessionFile, SessionFileError, read_index
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import ALL, DONE, QUARANTINED, SESSIONS, Base
from neuroloom.pipeline.migrations import CatalogVersionError, current, newest

OLDER = Path(__file__).parents[1] / "older" / "written-before.tar.xz"
OLD_SESSIONS = ("session-1a", "session-1b", "session-1c")
CATALOGS = ("catalog-1.sqlite", "catalog-2.sqlite")


@pytest.fixture
def older(tmp_path) -> Path:
    with tarfile.open(OLDER) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


# sessions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OLD_SESSIONS)
def test_an_older_session_opens_with_all_it_holds(name, older):
    with Session.open(older / name) as session:
        assert session.id == "sub-07_ses-01_task-reach"
        assert [piece.shape for piece in session["eeg"].values()] == [(40, 2), (20, 2)]
        assert session["probe"].between(0.0, 0.01).values()[0][:, 0].tolist() == pytest.approx(
            [0.1 * 3 * i for i in range(10)]
        )
        assert session["codes"].times_s.tolist() == [0.1, 0.25, 0.9]
        assert (session["codes"].labels, session["codes"].table["code"]) == (("go", "stop", "go"), (1, 2, 1))
        assert session["trials"].table["choice"] == ("left", "right")
        assert [train.tolist() for train in session["units"].spike_times_s] == [[0.05, 0.15], []]
        assert np.diff(session["gaze"].segments[0].timebase.seconds(np.arange(30))).min() > 0
        assert session.clock_maps[0].residual_ms == 0.25
        assert session.quality["eeg"]["bad_channels"] == ["eeg1"]


@pytest.mark.parametrize("name", OLD_SESSIONS)
def test_an_older_session_is_verified_and_not_touched(name, older):
    before = {path.name: path.read_bytes() for path in (older / name).iterdir()}
    assert manifest.verify(older / name) == []
    Session.open(older / name).close()
    assert {path.name: path.read_bytes() for path in (older / name).iterdir()} == before


def test_the_oldest_session_is_published_anew_in_the_present_format(older):
    with Session.open(older / OLD_SESSIONS[0]) as old:
        new = old.save(older / "new")
    assert read_index(SessionFile(older / "new" / "session.nwb"))["version"] == INDEX_VERSION
    assert new["codes"].times_s.tolist() == [0.1, 0.25, 0.9]
    assert new["codes"].table == {"code": (1, 2, 1)}
    assert manifest.verify(older / "new") == []
    assert not any(pynwb.validate(path=str(path)) for path in (older / "new").glob("*.nwb"))


def test_there_is_a_step_from_every_version_to_the_next():
    assert sorted(STEPS) == list(range(1, INDEX_VERSION))


def test_a_newer_session_is_refused_in_a_sentence(older, monkeypatch):
    with Session.open(older / "session-1c") as old:
        monkeypatch.setattr("neuroloom.ingest._session_write.INDEX_VERSION", INDEX_VERSION + 1)
        with pytest.raises(SessionFileError, match=rf"index version {INDEX_VERSION + 1}; .* needs a newer neuroloom"):
            old.save(older / "newer")


def test_a_newer_manifest_is_refused_in_a_sentence(older, monkeypatch):
    monkeypatch.setattr(manifest, "MANIFEST_VERSION", 0)
    with pytest.raises(manifest.ManifestError, match="layout 1; 0 is wanted, a newer one needs a newer neuroloom"):
        manifest.read(older / "session-1c")


# catalogs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGS)
def test_an_older_catalog_is_brought_up_to_date_and_loses_nothing(name, older):
    catalog = Catalog.at(f"sqlite:///{older / name}")
    assert current(catalog.engine) == newest()
    assert {drop.name: drop.state for drop in catalog.drops.every()} == {"person": DONE, "broken": QUARANTINED}
    assert [(row.id, row.version) for row in catalog.sessions.every()] == [("sub-07_ses-01", "v001")]
    assert [run.summary for run in catalog.runs.every()] == [{"best_step": 3}]
    catalog.checks.note("sub-07_ses-01", "v001", n_bytes=7)
    assert [row.n_bytes for row in catalog.checks.every().values()] == [7]


@pytest.mark.parametrize("name", [*CATALOGS, "new.sqlite"])
def test_the_steps_make_the_tables_that_the_code_wants(name, older):
    catalog = Catalog.at(f"sqlite:///{older / name}")
    with catalog.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_catalog_from_just_before_versions_is_marked_and_left_as_it_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    Base.metadata.create_all(create_engine(url))
    assert current(Catalog.at(url).engine) == newest()


def test_a_catalog_that_knew_all_sessions_knows_them_and_is_told_all_files_anew(tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    with Catalog.at(url).engine.begin() as connection:
        connection.execute(text("DROP TABLE known"))
        connection.execute(text("INSERT INTO contents VALUES ('', '', '')"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    catalog = Catalog.at(url)
    assert (catalog.knows(SESSIONS), catalog.knows(ALL), catalog.sessions.announced()) == (True, False, set())


def test_opening_again_changes_nothing(older):
    url = f"sqlite:///{older / 'catalog-1.sqlite'}"
    Catalog.at(url).close()
    assert len(Catalog.at(url).drops.every()) == 2


def test_four_that_open_an_older_catalog_at_once_take_each_step_once(older):
    url = f"sqlite:///{older / 'catalog-1.sqlite'}"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: current(Catalog.at(url).engine), range(4)))
    assert found == [newest()] * 4
    assert len(Catalog.at(url).drops.every()) == 2


def test_a_newer_catalog_is_refused_in_a_sentence(tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    with Catalog.at(url).engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CatalogVersionError, match=r"version 9999, .*; a newer neuroloom is wanted"):
        Catalog.at(url)
