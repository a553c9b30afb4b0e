import errno
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from neuroloom.ingest.formats import FormatError
from neuroloom.pipeline.boxed import sniffing
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.drops import Drops
from neuroloom.pipeline.catalog.tables import DONE, IGNORED, QUARANTINED, READY, RETRY, RUNNING, SETTLING, SUBMITTED
from neuroloom.pipeline.drops import custody, inbox, ingesting, reconciling
from neuroloom.pipeline.drops.claimed import LeaseLostError, fail, held, ingest_claimed, renewed
from neuroloom.pipeline.drops.inbox import Scanner
from neuroloom.pipeline.drops.reconciling import Reconciler, SubmitError, is_idle
from neuroloom.pipeline.settings import InboxSettings, IngestSettings, Settings
from neuroloom.pipeline.store import Store


class PlainFormat:
    """A file that starts with `REC`; each further line names a companion beside it, after `?` one it can be without."""

    TITLE, MODALITY, KEEPS, TESTED_ON = "plain", "eeg", "all", "files written by this project only"

    def sniff(self, path, head):
        return head.startswith(b"REC")

    def files(self, path):
        names = [name for name in path.read_text().split("\n")[1:] if name]
        companions = [path.parent / name.removeprefix("?") for name in names]
        missing = [name for name, file in zip(names, companions, strict=True) if not file.is_file()]
        for name in missing:
            if not name.startswith("?"):
                raise FormatError(f"{path.name}: {name} is missing; it must lie beside it")
        return (path, *(file for file in companions if file.is_file()))

    def awaited(self, path):
        names = [name[1:] for name in path.read_text().split("\n")[1:] if name.startswith("?")]
        return next((f"{name} is not beside it" for name in names if not (path.parent / name).is_file()), "")


@pytest.fixture(autouse=True)
def plain_format(monkeypatch):
    known = {"plain": PlainFormat()}
    for module in ("neuroloom.ingest.formats", "neuroloom.ingest.folders", "neuroloom.pipeline.boxed.sniffing"):
        monkeypatch.setattr(sys.modules[module], "formats", lambda: known)


@pytest.fixture
def ingested(monkeypatch):
    """Ingest publishes nothing but a manifest; a file holding `BAD` is refused. Gives the names that were ingested."""
    names = []

    def ingest_drop(paths, store, **_how):
        names.extend(path.name for path in paths)
        return [one(path, store) for path in paths]

    def one(path, store):
        if path.is_file() and b"BAD" in path.read_bytes():
            return ingesting.IngestResult(path=str(path), state="quarantined", reason="bad header")
        folder = store.sessions / f"sub-{path.stem}_ses-01" / "v001"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps({"subject": path.stem}))
        return ingesting.IngestResult(path=str(path), state="ingested", session=folder.parent.name)

    monkeypatch.setattr(ingesting, "ingest_drop", ingest_drop)
    return names


@pytest.fixture
def place(tmp_path):
    """A store with its catalog and a reconciler whose clock is `place.now`; work is handed over to `place.handed`."""
    store = Store(tmp_path / "store").create()
    catalog = Catalog.of(store)
    settings = Settings(
        inbox=InboxSettings(settle_s=10, orphan_s=60, retry_s=30),
        ingest=IngestSettings(in_flight=2, lease_s=100, queue_s=100, min_free_bytes=0, batch=5),
    )
    place = SimpleNamespace(store=store, catalog=catalog, settings=settings, now=1000.0, handed=[])
    place.reconciler = Reconciler(
        store=store, catalog=catalog, settings=settings, submit=place.handed.append, clock=lambda: place.now
    )
    place.after = lambda seconds: _after(place, seconds)
    place.states = lambda: {drop.name: drop.state for drop in catalog.drops.every()}
    place.work = lambda: _work(place)
    yield place
    catalog.close()


def _after(place, seconds):
    place.now += seconds
    return place.reconciler.step()


def _work(place):
    """Do the work that was handed over, as a run does it."""
    for batch in place.handed:
        for drop in batch:
            claimed = place.catalog.drops.claim(drop.id, owner="run", lease_s=100, now=place.now)
            ingest_claimed(place.store, place.catalog, place.settings, claimed)
    place.handed.clear()


def drop(place, name, text="REC"):
    path = place.store.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_drop_settles_is_handed_over_ingested_and_its_original_kept(place, ingested):
    drop(place, "a.rec", "REC")
    states = []
    for seconds in (0, 5, 5):
        place.after(seconds)
        states.append(place.states()["a.rec"])
    assert states == [SETTLING, SETTLING, SUBMITTED]
    place.work()
    (done,) = place.catalog.drops.every()
    assert (done.state, done.sessions, ingested) == (DONE, ["sub-a_ses-01"], ["a.rec"])
    assert os.listdir(place.store.inbox) == []
    assert (custody.archive_folder(place.store, done) / "files" / "a.rec").read_text() == "REC"
    assert [row.id for row in place.catalog.sessions.every()] == ["sub-a_ses-01"]
    assert is_idle(place.store, place.catalog)


def test_a_file_that_grows_waits_anew(place):
    path = drop(place, "a.rec")
    place.after(0)
    place.now += 9
    path.write_text("REC\n")
    place.after(0)
    assert place.after(9) == {SETTLING: 1}
    assert place.after(1) == {SUBMITTED: 1}


def test_a_drop_that_ends_while_the_inbox_is_looked_at_is_not_taken_for_a_new_one(place, ingested, monkeypatch):
    drop(place, "a.rec")
    place.after(0)
    place.after(10)
    scan = Scanner.scan

    def scan_and_meanwhile(scanner):
        found = scan(scanner)
        place.work()
        return found

    monkeypatch.setattr(Scanner, "scan", scan_and_meanwhile)
    place.after(1)
    place.after(1)
    assert place.catalog.drops.counts() == {DONE: 1}


def test_growth_between_hand_over_and_work_sends_it_back(place, ingested):
    path = drop(place, "a.rec")
    place.after(0)
    place.after(10)
    path.write_text("REC\n\n")
    place.work()
    assert (place.states(), ingested) == ({"a.rec": SETTLING}, [])


def test_a_file_that_a_program_has_open_waits_however_long_it_lies_still(place, ingested):
    with (place.store.inbox / "a.rec").open("w") as file:
        file.write("REC")
        file.flush()
        place.after(0)
        assert place.after(1000) == {SETTLING: 1}
        (waiting,) = place.catalog.drops.every()
        assert waiting.reason.startswith("another program has a.rec open for writing")
        file.write("\n")
    assert place.after(1) == {SETTLING: 1}
    assert place.after(10) == {SUBMITTED: 1}
    place.work()
    assert place.states() == {"a.rec": DONE}


def test_a_done_file_says_that_an_open_file_is_whole(place, ingested):
    with (place.store.inbox / "a.rec").open("w") as file:
        file.write("REC")
        file.flush()
        drop(place, "a.rec.done", "")
        assert place.after(0) == {SUBMITTED: 1}
        place.work()
    assert place.states() == {"a.rec": DONE}


@pytest.mark.parametrize("is_open", [False, True])
def test_what_grows_while_it_is_read_is_read_again_and_never_moved(place, ingested, monkeypatch, is_open):
    path = drop(place, "a.rec")
    place.after(0)
    place.after(10)
    ingest, opened = ingesting.ingest_drop, []

    def and_meanwhile(paths, store, **how):
        opened.append(path.open("a"))
        if not is_open:
            opened[0].write("\n\n")
            opened[0].close()
        return ingest(paths, store, **how)

    monkeypatch.setattr(ingesting, "ingest_drop", and_meanwhile)
    place.work()
    assert place.states() == {"a.rec": SETTLING}
    assert path.is_file()
    opened[0].close()
    monkeypatch.setattr(ingesting, "ingest_drop", ingest)
    place.after(0)
    place.after(10)
    place.work()
    (done,) = place.catalog.drops.every()
    kept = custody.archive_folder(place.store, done) / "files" / "a.rec"
    assert (done.state, ingested) == (DONE, ["a.rec", "a.rec"])
    assert inbox.file_digest(kept) == done.digest


def test_a_done_file_beside_it_ends_the_waiting_and_goes_with_it(place, ingested):
    drop(place, "a.rec")
    drop(place, "a.rec.done", "")
    assert place.after(0) == {SUBMITTED: 1}
    place.work()
    assert os.listdir(place.store.inbox) == []


def test_companions_in_any_order_are_one_drop(place, ingested):
    drop(place, "x.raw", "samples")
    place.after(0)
    drop(place, "head.rec", "REC\nx.raw\ny.raw")
    assert place.after(20) == {SETTLING: 2}
    drop(place, "y.raw", "samples")
    place.after(0)
    assert {name: state for name, state in place.states().items() if state != IGNORED} == {"head.rec": SETTLING}
    place.after(10)
    place.work()
    (done,) = place.catalog.drops.every(DONE)
    assert (done.files, ingested) == (["head.rec", "x.raw", "y.raw"], ["head.rec"])


def test_two_headers_of_one_companion_are_one_drop(place):
    drop(place, "a.rec", "REC\nx.raw")
    drop(place, "b.rec", "REC\nx.raw")
    drop(place, "x.raw", "samples")
    (found,) = Scanner(place.store.inbox).scan()
    assert (found.paths, found.files) == (("a.rec", "b.rec"), ("a.rec", "b.rec", "x.raw"))


def test_loose_recordings_whose_names_state_one_session_are_one_drop(place, ingested):
    for name in ("sub-1_ses-1_gaze.rec", "sub-1_ses-1_eeg.rec", "sub-2_ses-1_eeg.rec"):
        drop(place, name, f"REC{name}")
    place.after(0)
    place.after(10)
    place.work()
    done = {each.name: sorted(each.files) for each in place.catalog.drops.every(DONE)}
    assert done["sub-1_ses-1_eeg.rec"] == ["sub-1_ses-1_eeg.rec", "sub-1_ses-1_gaze.rec"]
    assert done["sub-2_ses-1_eeg.rec"] == ["sub-2_ses-1_eeg.rec"]


def test_a_recording_that_comes_while_its_session_is_worked_on_is_a_drop_of_its_own_afterwards(place, ingested):
    drop(place, "sub-1_ses-1_gaze.rec", "REC gaze")
    place.after(0)
    place.after(10)
    drop(place, "sub-1_ses-1_eeg.rec", "REC eeg")
    place.after(10)
    assert list(place.states()) == ["sub-1_ses-1_gaze.rec"]
    place.work()
    place.after(0)
    place.after(10)
    place.work()
    done = place.catalog.drops.every(DONE)
    assert [each.files for each in done] == [["sub-1_ses-1_gaze.rec"], ["sub-1_ses-1_eeg.rec"]]


def test_a_folder_is_one_drop(place, ingested):
    drop(place, "day1/eeg/a.rec")
    drop(place, "day1/gaze.rec", "REC2")
    place.after(0)
    place.after(10)
    place.work()
    (done,) = place.catalog.drops.every()
    assert (done.name, done.files, done.state) == ("day1", ["day1/eeg/a.rec", "day1/gaze.rec"], DONE)
    assert os.listdir(place.store.inbox) == []


def test_a_missing_companion_is_refused_by_name_after_its_time(place):
    drop(place, "head.rec", "REC\ny.raw")
    place.after(0)
    assert place.after(59) == {SETTLING: 1}
    assert place.catalog.drops.every()[0].reason.endswith("; refused unless more of it comes within 1 min")
    assert place.after(1) == {QUARANTINED: 1}
    (entry,) = custody.refused(place.store)
    assert (entry.id, entry.reason) == ("head.rec", "y.raw is missing; it must lie beside it")


def test_what_comes_before_a_file_of_its_name_that_takes_long_waits_for_it(place, ingested):
    drop(place, "x.marks", "markers")
    with (place.store.inbox / "x.raw").open("w") as file:
        place.after(0)
        for _ in range(3):
            file.write("samples")
            file.flush()
            place.after(50)
    place.after(0)
    place.after(50)
    drop(place, "x.rec", "REC\nx.raw\nx.marks")
    place.after(0)
    place.after(10)
    place.work()
    assert (ingested, custody.refused(place.store)) == (["x.rec"], [])


def test_a_file_alone_waits_for_no_other_name(place):
    drop(place, "x.marks", "markers")
    place.after(0)
    drop(place, "y.raw", "samples")
    place.after(50)
    place.after(10)
    assert [entry.id for entry in custody.refused(place.store)] == ["x.marks"]


def test_what_a_recording_can_be_without_is_waited_for_and_then_done_without(place, ingested):
    drop(place, "head.rec", "REC\nx.raw\n?marks")
    drop(place, "x.raw", "samples")
    place.after(0)
    place.after(59)
    (waits,) = place.catalog.drops.every()
    assert (waits.name, waits.state) == ("head.rec", SETTLING)
    assert waits.reason == "marks is not beside it; read without it unless more of it comes within 1 min"
    place.after(1)
    place.work()
    assert ingested == ["head.rec"]


def test_what_a_recording_can_be_without_joins_it_when_it_comes(place, ingested):
    drop(place, "head.rec", "REC\n?marks")
    place.after(0)
    place.after(30)
    drop(place, "marks", "markers")
    place.after(0)
    place.after(10)
    place.work()
    (done,) = place.catalog.drops.every(DONE)
    assert (done.files, ingested) == (["head.rec", "marks"], ["head.rec"])


def test_a_done_mark_ends_the_wait_for_what_a_recording_can_be_without(place, ingested):
    drop(place, "head.rec", "REC\n?marks")
    drop(place, "head.rec.done", "")
    place.after(0)
    place.after(0)
    place.work()
    assert ingested == ["head.rec"]


@pytest.mark.parametrize(("seconds", "words"), [(20, "20 s"), (90, "90 s"), (600, "10 min"), (0, "0 s")])
def test_how_long_it_waits_is_said_in_whole_numbers(seconds, words):
    assert reconciling._in_words(seconds) == words


def test_what_no_format_knows_is_refused_and_the_rest_goes_on(place, ingested):
    drop(place, "junk.bin", "junk")
    drop(place, "a.rec")
    place.after(0)
    place.after(60)
    place.work()
    assert place.states() == {"junk.bin": QUARANTINED, "a.rec": DONE}


def test_a_recording_refused_at_ingest_is_quarantined_and_the_next_one_done(place, ingested):
    drop(place, "a.rec", "REC BAD")
    drop(place, "b.rec", "REC good")
    place.after(0)
    place.after(10)
    place.work()
    assert place.states() == {"a.rec": QUARANTINED, "b.rec": DONE}
    assert [entry.reason for entry in custody.refused(place.store)] == ["bad header"]


def test_retry_puts_refused_files_back_under_their_name(place):
    drop(place, "a b.bin", "junk")
    place.after(0)
    place.after(60)
    (entry,) = custody.refused(place.store)
    custody.release(place.store, entry.id)
    assert (os.listdir(place.store.inbox), custody.refused(place.store)) == (["a b.bin"], [])


def test_the_same_content_again_is_already_there_and_not_ingested_twice(place, ingested):
    for name in ("a.rec", "renamed.rec"):
        drop(place, name, "REC same")
        place.after(0)
        place.after(10)
        place.work()
    assert ingested == ["a.rec"]
    assert place.catalog.drops.every()[1].reason == "already there: sub-a_ses-01"
    assert os.listdir(place.store.inbox) == []


def test_the_same_content_at_the_same_time_is_handed_over_once(place):
    drop(place, "a.rec", "REC same")
    drop(place, "b.rec", "REC same")
    place.after(0)
    place.after(10)
    assert place.states() == {"a.rec": SUBMITTED, "b.rec": READY}
    assert place.catalog.drops.every()[1].reason == "waits: the same content is being ingested"


def test_a_few_small_drops_share_as_many_runs_as_there_may_be(place):
    for n in range(5):
        drop(place, f"{n}.rec", f"REC {n}")
    place.after(0)
    place.after(10)
    assert sorted(len(batch) for batch in place.handed) == [2, 3]


def test_the_number_in_flight_is_bounded_and_the_others_say_why_they_wait(place):
    set_ingest(place, batch=1)
    for i in range(4):
        drop(place, f"{i}.rec", f"REC {i}")
    place.after(0)
    assert place.after(10) == {SUBMITTED: 2, READY: 2}
    assert place.catalog.drops.every()[3].reason == "waits: 2 are being ingested"


def test_many_small_drops_share_a_run(place):
    for i in range(12):
        drop(place, f"{i:02}.rec", f"REC {i}")
    place.after(0)
    place.after(10)
    assert [len(batch) for batch in place.handed] == [5, 5]


def test_without_a_server_a_drop_stays_ready_and_goes_when_it_is_back(place):
    def refuse(_batch):
        raise SubmitError("the Prefect server does not answer")

    drop(place, "a.rec")
    place.after(0)
    place.reconciler.submit = refuse
    assert place.after(10) == {READY: 1}
    assert place.catalog.drops.every()[0].reason == "waits: the Prefect server does not answer"
    place.reconciler.submit = place.handed.append
    assert place.after(0) == {SUBMITTED: 1}


def test_a_full_disk_starts_nothing(place, monkeypatch):
    monkeypatch.setattr(Store, "free_bytes", lambda _: 5)
    drop(place, "a.rec")
    place.after(0)
    assert place.after(10) == {READY: 1}
    assert "GB free on disk" in place.catalog.drops.every()[0].reason


def test_a_dead_run_is_tried_again_and_after_the_third_time_refused(place):
    drop(place, "a.rec")
    place.after(0)
    place.after(10)
    seen = []
    for _ in range(3):
        (waiting,) = place.catalog.drops.every()
        place.catalog.drops.claim(waiting.id, owner="dies", lease_s=100, now=place.now)
        place.after(100)
        seen.append(place.states()["a.rec"])
    assert seen == [SUBMITTED, SUBMITTED, QUARANTINED]
    assert os.listdir(place.store.inbox) == []
    assert custody.refused(place.store)[0].reason.startswith("tried 3 times")


class Server:
    """Runs by name: what the server would say of them, and which were given up."""

    def __init__(self, **on_their_way):
        self.on_their_way, self.given_up, self.ended = on_their_way, [], set()

    def is_on_its_way(self, run, *, start_s):
        return self.on_their_way[run]

    def has_ended(self, run):
        return run in self.ended

    def give_up(self, run, reason):
        self.given_up.append((run, reason))


def set_ingest(place, **changes):
    ingest = place.settings.ingest.model_copy(update=changes)
    place.reconciler.settings = place.settings.model_copy(update={"ingest": ingest})


def handed_over(place, server, *names):
    """Drops that share the run "r0"; handed over once more they are "r1" and so on."""
    for name in names:
        drop(place, name, f"REC {name}")
    place.reconciler.runs = server
    place.reconciler.submit = lambda batch: place.handed.append(batch) or f"r{len(place.handed) - 1}"
    place.after(0)
    place.after(10)
    assert {drop.owner for drop in place.catalog.drops.every(SUBMITTED)} == {"r0"}


def test_a_drop_whose_run_waits_for_a_worker_stays_handed_over(place):
    server = Server(r0=True)
    handed_over(place, server, "a.rec")
    set_ingest(place, queue_s=250)
    assert [place.after(100) for _ in range(2)] == [{SUBMITTED: 1}] * 2
    assert len(place.handed) == 1
    place.after(100)
    assert (len(place.handed), server.given_up) == (2, [("r0", "no run took it up")])


def test_a_drop_whose_run_died_before_it_began_is_handed_over_again(place):
    server = Server(r0=False)
    handed_over(place, server, "a.rec")
    place.after(100)
    (again,) = place.catalog.drops.every(SUBMITTED)
    assert (again.owner, again.attempts, server.given_up) == ("r1", 0, [("r0", "no run took it up")])


def test_a_drop_whose_run_ended_before_it_took_it_up_does_not_wait_for_its_lease(place):
    server = Server(r0=False)
    handed_over(place, server, "a.rec")
    server.ended = {"r0"}
    place.after(40)
    (again,) = place.catalog.drops.every(SUBMITTED)
    assert (again.owner, again.attempts, server.given_up) == ("r1", 0, [("r0", "no run took it up")])


def test_with_a_dead_run_all_its_drops_come_back_also_those_it_had_not_begun(place):
    server = Server(r0=False)
    names = [f"{i:02}.rec" for i in range(12)]
    set_ingest(place, in_flight=1, batch=12)
    handed_over(place, server, *names)
    first, *others = place.catalog.drops.every(SUBMITTED)
    place.catalog.drops.claim(first.id, owner="r0", lease_s=100, now=place.now)
    place.catalog.drops.hold([drop.id for drop in (first, *others)], owner="r0", lease_s=100, now=place.now + 50)
    place.after(100)
    assert len(place.handed) == 1
    place.after(50)
    assert len(place.handed) == 2
    assert {drop.attempts for drop in place.catalog.drops.every()} == {0, 1}
    assert [run for run, _ in server.given_up] == ["r0"]


def test_a_run_that_works_holds_what_waits_for_it_though_the_database_was_away(place, monkeypatch):
    handed_over(place, Server(), "a.rec")
    (waiting,) = place.catalog.drops.every()
    real, calls = Drops.hold, []

    def hold(drops, drop_ids, **lease):
        calls.append(drop_ids)
        if len(calls) == 1:
            raise OperationalError("the database", None, ConnectionError())
        real(drops, drop_ids, **lease)
        went_on.set()

    went_on = threading.Event()
    monkeypatch.setattr(Drops, "hold", hold)
    with held(place.catalog, [waiting.id], owner="r0", lease_s=0.1):
        assert went_on.wait(20)
    assert place.catalog.drops.get(waiting.id).lease_until > waiting.lease_until


def test_a_lease_is_taken_before_what_it_is_for_begins():
    began = []
    with renewed(lambda: began.append(threading.current_thread()), lease_s=3600):
        assert began == [threading.current_thread()]


def test_where_a_run_dies_while_originals_move_the_move_is_finished(place, monkeypatch):
    drop(place, "head.rec", "REC\nx.raw")
    drop(place, "x.raw", "samples")
    place.after(0)
    place.after(10)
    claimed = place.catalog.drops.claim(place.catalog.drops.every()[0].id, owner="dies", lease_s=100, now=place.now)
    monkeypatch.setattr(custody, "_move_files", lambda *_: None)
    custody.archive(place.store, claimed, ["sub-a_ses-01"])
    monkeypatch.undo()
    record = custody.archive_folder(place.store, claimed) / custody.DROP_RECORD
    record.write_text(record.read_text().replace('"moved": true', '"moved": false'))
    os.rename(place.store.inbox / "head.rec", (record.parent / "files").mkdir() or record.parent / "files" / "head.rec")
    assert place.after(100) == {DONE: 1}
    assert sorted(os.listdir(record.parent / "files")) == ["head.rec", "x.raw"]
    assert os.listdir(place.store.inbox) == []


def test_a_run_that_lost_its_lease_moves_nothing(place, ingested):
    drop(place, "a.rec")
    place.after(0)
    place.after(10)
    (waiting,) = place.catalog.drops.every()
    slow = place.catalog.drops.claim(waiting.id, owner="slow", lease_s=100, now=place.now)
    place.after(100)
    with pytest.raises(LeaseLostError):
        ingest_claimed(place.store, place.catalog, place.settings, slow)
    assert os.listdir(place.store.inbox) == ["a.rec"]


def test_killed_after_the_originals_moved_it_is_done_not_lost(place, ingested):
    drop(place, "a.rec")
    place.after(0)
    place.after(10)
    (waiting,) = place.catalog.drops.every()
    claimed = place.catalog.drops.claim(waiting.id, owner="killed", lease_s=100, now=place.now)
    custody.archive(place.store, claimed, ["sub-a_ses-01"])
    assert place.after(100) == {DONE: 1}
    assert place.catalog.drops.every()[0].sessions == ["sub-a_ses-01"]


def test_a_move_cut_short_is_finished_at_the_next_start(place, monkeypatch):
    drop(place, "head.rec", "REC\nx.raw")
    drop(place, "x.raw", "samples")
    place.after(0)
    place.after(10)
    (waiting,) = place.catalog.drops.every()
    real, moved = os.rename, []

    def rename_once(source, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(real(source, target))

    monkeypatch.setattr(os, "rename", rename_once)
    with pytest.raises(KeyboardInterrupt):
        custody.archive(place.store, waiting, [])
    monkeypatch.setattr(os, "rename", real)
    assert os.listdir(place.store.inbox) == ["x.raw"]
    assert custody.finish_moves(place.store) == 1
    files = custody.archive_folder(place.store, waiting) / "files"
    assert sorted(os.listdir(files)) == ["head.rec", "x.raw"]
    assert os.listdir(place.store.inbox) == []


def test_what_a_failing_disk_left_of_a_move_is_no_drop_of_its_own(place, monkeypatch):
    drop(place, "head.rec", "REC\nx.raw")
    drop(place, "x.raw", "samples")
    place.after(0)
    place.after(10)
    claimed = place.catalog.drops.claim(place.catalog.drops.every()[0].id, owner="run", lease_s=100, now=place.now)
    real = os.rename

    def rename(source, target):
        if Path(source).name == "x.raw":
            raise OSError(errno.EIO, "Input/output error", str(source))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="Input/output error"):
        custody.archive(place.store, claimed, ["sub-a_ses-01"])
    monkeypatch.setattr(os, "rename", real)
    assert os.listdir(place.store.inbox) == ["x.raw"]
    assert fail(place.store, place.catalog, place.settings, claimed, "the disk", now=place.now) == RETRY
    assert place.after(1) == {DONE: 1}
    assert place.catalog.drops.every()[0].sessions == ["sub-a_ses-01"]
    assert os.listdir(place.store.inbox) == []


def test_what_is_taken_away_while_it_is_told_apart_is_gone_not_refused(place, monkeypatch):
    drop(place, "odd.rec", "REC\nmissing.raw")
    place.after(0)
    place.after(10)
    real = sniffing.answers

    def answers(*asked, **how):
        (place.store.inbox / "odd.rec").unlink(missing_ok=True)
        return real(*asked, **how)

    monkeypatch.setattr(sniffing, "answers", answers)
    place.reconciler._answers.clear()
    assert QUARANTINED not in place.after(60)
    assert custody.refused(place.store) == []
    assert place.after(0) == {IGNORED: 1}
    assert place.catalog.drops.every()[0].reason == "gone from the inbox"


def test_two_watchers_hand_over_once(place):
    twin = Reconciler(
        store=place.store,
        catalog=place.catalog,
        settings=place.settings,
        submit=place.handed.append,
        clock=lambda: place.now,
    )
    drop(place, "a.rec")
    for _ in range(2):
        place.after(5)
        twin.step()
    place.after(10)
    twin.step()
    assert [[d.name for d in batch] for batch in place.handed] == [["a.rec"]]


def test_a_clock_set_back_only_makes_it_wait_anew(place):
    drop(place, "a.rec")
    place.after(0)
    assert place.after(-500) == {SETTLING: 1}
    assert place.after(10) == {SUBMITTED: 1}


def test_a_drop_that_is_taken_away_is_forgotten_and_may_come_back(place):
    path = drop(place, "a.rec")
    place.after(0)
    path.unlink()
    assert place.after(1) == {IGNORED: 1}
    drop(place, "a.rec")
    assert place.after(1) == {IGNORED: 1, SETTLING: 1}


@pytest.mark.parametrize("kind", ["link", "link in a folder", "pipe", "line break", "hidden direction"])
def test_what_could_lead_elsewhere_is_refused_at_once_and_never_followed(place, tmp_path, kind):
    secret = tmp_path / "secret.rec"
    secret.write_text("REC secret")
    box = place.store.inbox
    if kind == "link":
        (box / "a.rec").symlink_to(secret)
    elif kind == "link in a folder":
        (box / "d").mkdir()
        (box / "d" / "a.rec").symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(box / "a.rec")
    else:
        drop(place, {"line break": "a\nb.rec", "hidden direction": "a\u202eb.rec"}[kind])
    assert place.after(0) == {QUARANTINED: 1}
    (entry,) = custody.refused(place.store)
    assert entry.reason.isprintable()
    assert "wanted" in entry.reason
    assert secret.read_text() == "REC secret"


@pytest.mark.parametrize("name", ["a.rec", "d/a.rec"])
def test_a_file_with_a_second_name_elsewhere_is_refused_unless_that_goes_at_once(place, tmp_path, monkeypatch, name):
    for drop_name in (name, "b.rec"):
        drop(place, drop_name)
    (tmp_path / "elsewhere.rec").hardlink_to(place.store.inbox / name)
    assert place.after(0).get(QUARANTINED) is None
    monkeypatch.setattr(inbox, "SECOND_NAME_S", 0.0)
    assert place.after(10)[QUARANTINED] == 1
    (entry,) = custody.refused(place.store)
    assert entry.reason.endswith("a.rec: has 2 names on this disk (hard links); a copy of its own is wanted") or (
        entry.reason.startswith("has 2 names")
    )
    assert place.states()["b.rec"] == SUBMITTED


def test_a_file_that_loses_its_second_name_at_once_is_a_drop_like_any(place, tmp_path, ingested):
    (tmp_path / "first.rec").write_text("REC")
    (place.store.inbox / "a.rec").hardlink_to(tmp_path / "first.rec")
    assert place.after(0) == {}
    (tmp_path / "first.rec").unlink()
    place.after(0)
    place.after(10)
    place.work()
    assert place.states() == {"a.rec": DONE}


def test_files_that_are_still_being_copied_under_another_name_are_left_alone(place):
    for name in (".a.rec.Xy12", "a.rec.part", "a.rec~"):
        drop(place, name)
    assert place.after(100) == {}


def test_the_digest_of_one_file_is_its_content_and_of_several_their_names_too(tmp_path):
    for folder, names in (("one", "ab"), ("two", "ba")):
        (tmp_path / folder).mkdir()
        for name, text in zip(names, ("first", "second"), strict=True):
            (tmp_path / folder / name).write_text(text)
    assert inbox.digest_of(tmp_path, ["one/a"]) == inbox.digest_of(tmp_path, ["two/b"])
    assert inbox.digest_of(tmp_path, ["one/a", "one/b"]) != inbox.digest_of(tmp_path, ["two/a", "two/b"])
    Path(tmp_path / "one").rename(tmp_path / "renamed")
    (tmp_path / "one").mkdir()
    for name, text in (("a", "first"), ("b", "second")):
        (tmp_path / "one" / name).write_text(text)
    assert inbox.digest_of(tmp_path, ["one/a", "one/b"]) == inbox.digest_of(tmp_path, ["renamed/a", "renamed/b"])


def test_a_failed_run_goes_to_retry_and_keeps_its_reason(place):
    drop(place, "a.rec")
    place.after(0)
    place.after(10)
    (waiting,) = place.catalog.drops.every()
    claimed = place.catalog.drops.claim(waiting.id, owner="run", lease_s=100, now=place.now)
    assert claimed.state == RUNNING
    assert fail(place.store, place.catalog, place.settings, claimed, "the reader crashed", now=place.now) == RETRY
    assert place.catalog.drops.get(waiting.id).reason == "the reader crashed; attempt 1 of 3"
