"""Wrong use of the commands that look after a store: one line that says what was found and wanted, nothing done."""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops.in_place import ingest_paths
from neuroloom.pipeline.store import Store

SAMPLE = Path(__file__).parents[2] / "sample_data" / "person"

SESSION = "sub-sample_ses-01_task-choice"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A store with a session, and its originals."""
    made = Store(tmp_path_factory.mktemp("published") / "store").create()
    (result,) = ingest_paths([SAMPLE], made, sorter=None, archive=True)
    assert result["session"] == SESSION
    return made


@pytest.fixture
def store(published, tmp_path):
    """A copy, so that a test may spoil it."""
    return Store(Path(shutil.copytree(published.root, tmp_path / "store")))


def refused(said):
    """The one line of an error."""
    assert (said.code, said.out) == (2, ""), said
    line = said.err.strip().splitlines()[-1]
    assert "Traceback" not in said.err
    return line


# a catalog that is none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["inbox", "space", "verify"])
def test_a_file_that_is_no_catalog_is_named_with_what_to_do(neuroloom, store, command):
    (store.root / "catalog.sqlite").write_bytes(b"no database" * 1000)
    assert "file is not a database); with nothing running, move catalog.sqlite* out" in refused(neuroloom(command))


def test_a_catalog_of_which_pages_are_damaged_is_one_line_and_rebuilt_when_it_is_moved_away(neuroloom, store, tmp_path):
    path = store.root / "catalog.sqlite"
    with sqlite3.connect(path) as connection:
        size, n = (connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_size", "page_count"))
    with path.open("r+b") as file:
        file.seek(2 * size)
        file.write(b"\x07" * size * (n - 2))
    assert "the catalog is damaged (database disk image is malformed)" in refused(neuroloom("inbox"))
    path.rename(tmp_path / "damaged")
    assert neuroloom("inbox").code == 0
    assert neuroloom("sessions", "--json").document["sessions"][0]["session"] == SESSION


@pytest.mark.parametrize("url", ["nothing", "mysql://me:secret@host/x", "postgresql://me:secret@host:port/x"])
def test_what_is_no_address_of_a_catalog_is_refused_without_its_password(neuroloom, store, monkeypatch, url):
    monkeypatch.setenv("NEUROLOOM_CATALOG_URL", url)
    line = refused(neuroloom("inbox"))
    assert line.startswith("neuroloom: NEUROLOOM_CATALOG_URL: ")
    assert "postgresql://USER:PASSWORD@HOST/NAME is wanted" in line
    assert "secret" not in line


def test_a_postgresql_that_is_away_is_one_line(neuroloom, store, monkeypatch):
    monkeypatch.setenv("NEUROLOOM_CATALOG_URL", "postgresql://me:secret@127.0.0.1:9/x")
    line = refused(neuroloom("inbox"))
    assert line.startswith("neuroloom: the catalog's database does not answer (")
    assert "secret" not in line


def test_a_store_that_may_only_be_read_is_read_and_not_written_to(neuroloom, store, monkeypatch):
    neuroloom("inbox")
    (store.root / "catalog.sqlite-wal").unlink(missing_ok=True)
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **how: mode != os.W_OK and may(path, mode, **how))
    before = (store.root / "catalog.sqlite").read_bytes()
    assert [neuroloom(command).code for command in ("inbox", "sessions", "space")] == [0, 0, 0]
    assert "the catalog cannot be written to (attempt to write a readonly database)" in neuroloom("verify").err
    assert (store.root / "catalog.sqlite").read_bytes() == before


# sessions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--why", " ", "--subject", "08"), "why: is empty; words are wanted"),
        (("--why", "x", "--subject", ""), "subject: is empty; the right code is wanted"),
        (("--why", "x", "--session", ""), "session: is empty; the right code is wanted"),
        (("--why", "x", "--subject", "a/b"), "cannot name a session"),
    ],
)
def test_an_amendment_without_a_word_or_a_code_is_refused(neuroloom, store, args, told):
    assert told in refused(neuroloom("amend", SESSION, *args))
    assert store.session_ids() == [SESSION]


def test_a_session_that_was_amended_goes_by_its_new_name_alone(neuroloom, store, tmp_path):
    assert neuroloom("amend", SESSION, "--why", "wrong code", "--subject", "08").code == 0
    is_now = f"neuroloom: {SESSION}: is sub-08_ses-01_task-choice now, as it was amended; name that one"
    for args in (("amend", "--why", "x", "--subject", "09"), ("reingest",), ("export", "--out", tmp_path / "bids")):
        assert refused(neuroloom(args[0], SESSION, *args[1:])) == is_now
    assert store.session_ids() == ["sub-08_ses-01_task-choice"]
    assert len(neuroloom("verify", "--json").document["results"]) == 2
    assert refused(neuroloom("withdraw", "sample")).endswith("there are: 08")


@pytest.mark.parametrize("option", [("--note", "x"), ("--by", "anna"), ("--bad-channels", "Fp1")])
def test_what_comes_with_a_verdict_is_not_taken_without_one(neuroloom, store, option):
    assert "nothing was said; accept, reject or note is wanted" in refused(neuroloom("verdict", SESSION, *option))


def test_an_empty_list_of_channels_takes_nothing_back(neuroloom, store):
    said = neuroloom("verdict", SESSION, "accept", "--bad-channels", "")
    assert "'' names no channel; 'none' takes all back" in refused(said)


def test_a_verdict_on_what_is_neither_session_nor_run_says_so(neuroloom, store):
    assert "nope: no such session or run in " in refused(neuroloom("verdict", "nope"))


@pytest.mark.parametrize("args", [("--for", "0"), ("--for", "-3"), ("--for", "nan"), (SESSION, "--for", "5")])
def test_verify_for_a_time_wants_one_and_no_sessions(neuroloom, store, args):
    assert "so many seconds, above 0, of all sessions" in refused(neuroloom("verify", *args))


@pytest.mark.parametrize("command", ["affected", "reingest"])
def test_a_reader_that_there_is_not_is_said(neuroloom, store, command):
    assert "--reader EyeLink: no such format (eyelink?)" in refused(neuroloom(command, "--reader", "EyeLink"))


def test_reingest_says_where_nothing_was_touched(neuroloom, store):
    assert neuroloom("reingest", "--reader", "edf").err.strip() == "no session's newest version was touched"


def test_reingest_looks_at_names_before_it_reads(neuroloom, store):
    assert "nope: no such session" in refused(neuroloom("reingest", SESSION, "nope"))
    assert "one of both is wanted" in refused(neuroloom("reingest", SESSION, "--reader", "eyelink"))


def test_an_export_goes_into_a_folder_outside_of_the_store(neuroloom, store, tmp_path):
    (tmp_path / "file").write_text("")
    assert "is a file; the folder of a dataset" in refused(neuroloom("export", SESSION, "--out", tmp_path / "file"))
    assert refused(neuroloom("export", SESSION, "--out", "/proc/x")) == "neuroloom: /proc/x: No such file or directory"
    before = sorted(store.root.iterdir())
    assert "lies in the store; a folder outside" in refused(neuroloom("export", SESSION, "--out", store.root / "bids"))
    assert sorted(store.root.iterdir()) == before


# settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("inbox.settle_s=inf", "inbox.settle_s: Input should be a finite number, found inf"),
        ("retention.quarantine_days=true", "retention.quarantine_days: a number is wanted, found True"),
        ("ingest.in_flight=true", "ingest.in_flight: a number is wanted, found True"),
        ("server.port=4280", "server: port and review_port are both 4280; two are wanted"),
        ("schedules.verify=3", "schedules.verify: a table is wanted, found 3"),
        ("ingest.sorter=foo", "sorter 'foo' is not known here; there are "),
    ],
)
def test_init_makes_no_store_with_a_wrong_setting(neuroloom, tmp_path, setting, told):
    assert told in refused(neuroloom("init", "--set", setting))
    assert not (tmp_path / "store").exists()


def test_init_takes_a_setting_once_as_a_value_and_not_as_a_section(neuroloom):
    said = neuroloom("init", "--set", "inbox.settle_s=3", "--set", "inbox.settle_s.x=4")
    assert "settle_s has a value already" in refused(said)


def test_doctor_says_what_the_settings_name_and_is_not_there(neuroloom, tmp_path):
    neuroloom("init", "--retrain", "reach.toml", "--set", "server.port=0", "--set", "server.review_port=0")
    path = tmp_path / "store" / "neuroloom.toml"
    path.write_text(path.read_text().replace("[ingest]", '[ingest]\nsorter = "foo"'))
    wrong = {row["check"]: row["found"] for row in neuroloom("doctor", "--json").document["checks"] if not row["ok"]}
    assert wrong.keys() == {"sorter", "schedules"}
    assert "'foo' is not known here" in wrong["sorter"]
    assert wrong["schedules"].endswith("reach.toml is not there")


def test_inbox_says_why_nothing_goes_on_where_settings_are_wrong(neuroloom, store):
    store.settings_file.write_text("[inbox]\nsettle = 3\n")
    said = neuroloom("inbox")
    assert (said.code, said.err.startswith("drops wait, and nothing new begins: ")) == (0, True)
    assert "inbox.settle: no such setting (settle_s?)" in said.err


def test_inbox_names_what_lies_there_and_nobody_has_looked_at(neuroloom, store):
    catalog = Catalog.of(store)
    catalog.drops.add("seen.edf", folder=store.inbox, files=["seen.edf", "beside.dat"])
    catalog.close()
    for name in ("seen.edf", "beside.dat", "new.edf", "new.edf.done", "odd\x1b[31m"):
        (store.inbox / name).write_text("")
    said = neuroloom("inbox")
    assert ("seen.edf" in said.out, "nothing was dropped" in said.err) == (True, False)
    assert said.err.endswith("2 (new.edf, odd\\x1b[31m)\n")
    assert neuroloom("inbox", "--json").document["unseen"] == ["new.edf", "odd\x1b[31m"]


def test_a_terminal_without_the_letters_of_a_name_shows_their_numbers(store):
    catalog = Catalog.of(store)
    catalog.drops.add("größe 日本.edf", folder=store.inbox)
    catalog.close()
    command = [sys.executable, "-m", "neuroloom.flows.main", "inbox", "--store", str(store.root)]
    said = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True)
    assert (said.returncode, said.stderr) == (0, b"")
    assert "größe \\u65e5\\u672c.edf" in said.stdout.decode("latin-1")
