"""The inbox under load: many small recordings at once, a long catalog, and how fast published files are read again.

    python benchmarks/inbox.py                               modest, a few minutes on two cores
    python benchmarks/inbox.py --drops 10000 --ingest 1000   the load of the issue

Measured: seconds, seconds of processor and highest memory of this process for the first look at the inbox, for the look
at which all has settled (probed, digested, handed over), and for one at which nothing happens, told apart in a box;
recordings ingested per second by one worker in its box, full validation included; a catalog of many rows listed; the
catalog of many sessions rebuilt, and asked before an ingest; bytes read, and digested, per second. On a machine that
does other things besides, only seconds of processor mean something.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

GAZE = next((Path(__file__).resolve().parents[1] / "sample_data" / "person").glob("*_gaze.asc"))
SMALL_BYTES = 60_000  # the first three seconds of it


@contextmanager
def timed(what: str, n: int, unit: str) -> Iterator[None]:
    """Tell how long the block took, how many per second of both kinds, and the highest memory so far."""
    began_s, began_cpu_s = time.perf_counter(), _processor_s()
    yield
    wall_s, cpu_s = time.perf_counter() - began_s, _processor_s() - began_cpu_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rates = " ".join(f"{seconds:9.2f} s {n / max(seconds, 1e-9):10.1f}/s" for seconds in (wall_s, cpu_s))
    print(f"{what:56s}{rates} of processor, {unit} {peak_mib:6.0f} MiB", flush=True)


def _processor_s() -> float:
    """Of this process and those below it, boxes and their children included: those that live or were waited for."""
    mine = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK")
    below = {os.getpid()}
    spent = 0
    for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) in below:
            below.add(int(stat.parent.name))
            spent += sum(int(field) for field in fields[11:15])
    return mine + spent / ticks


def drop_many(work: Path, n_drops: int, n_ingest: int) -> None:
    """Looks at an inbox of so many recordings, and the ingest of some of them by one worker."""
    from neuroloom.pipeline.boxed.box import box_of
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.catalog.tables import SUBMITTED
    from neuroloom.pipeline.drops.claimed import ingest_claimed
    from neuroloom.pipeline.drops.reconciling import Reconciler
    from neuroloom.pipeline.settings import InboxSettings, IngestSettings, Settings
    from neuroloom.pipeline.store import Store

    store = Store(work / "store").create()
    text = GAZE.read_bytes()[:SMALL_BYTES].rpartition(b"\n")[0] + b"\n"
    for i in range(n_drops):
        name = f"sub-{i:05d}_ses-01_gaze.asc"
        (store.inbox / name).write_bytes(b"** recording %d\n" % i + text)
    ingest = IngestSettings(sorter="none", in_flight=n_drops, min_free_bytes=0)
    settings = Settings(inbox=InboxSettings(settle_s=1), ingest=ingest)
    catalog = Catalog.of(store)
    print(f"{n_drops} recordings of {len(text) / 1e3:.0f} kB dropped at once")
    with box_of(store, settings.box, for_inbox=True) as inside:
        looks = Reconciler(store=store, catalog=catalog, settings=settings, submit=lambda _: None, inside=inside)
        now = time.time()
        looks.clock = lambda: now
        with timed("first look", n_drops, "drops"):
            looks.step()
        now += 2
        with timed("look at which all has settled, is handed over", n_drops, "drops"):
            looks.step()
        with timed("look at which nothing happens", n_drops, "drops"):
            looks.step()
    chosen = catalog.drops.every(SUBMITTED)[:n_ingest]
    with box_of(store, settings.box) as inside:
        first, *rest = chosen
        ingest_claimed(store, catalog, settings, _claim(catalog, first.id), inside=inside)  # imports what all need
        with timed("ingested by one worker, in its box, validated", len(rest), "drops"):
            for drop in rest:
                ingest_claimed(store, catalog, settings, _claim(catalog, drop.id), inside=inside)
    from neuroloom.pipeline.care.checking import checked_some

    n_bytes = sum(path.stat().st_size for path in store.sessions.rglob("*.nwb"))
    with timed(f"verify, first time ({n_bytes / 1e6:.0f} MB in {len(chosen)} versions)", len(chosen), "versions"):
        checked_some(store, catalog, budget_s=1e9)
    with timed("verify, again", len(chosen), "versions"):
        checked_some(store, catalog, budget_s=1e9)
    catalog.close()


def _claim(catalog, drop_id):  # type: ignore[no-untyped-def]
    return catalog.drops.claim(drop_id, owner="benchmark", lease_s=3600)


def list_many(work: Path, n_rows: int) -> None:
    """A catalog of so many drops, listed."""
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.catalog.tables import DONE, READY
    from neuroloom.pipeline.reviewing import review_index
    from neuroloom.pipeline.store import Store

    store = Store(work / "long").create()
    catalog = Catalog.of(store)
    rows = [
        {
            "name": f"sub-{i:06d}.edf",
            "folder": str(store.inbox),
            "state": DONE if i % 100 else READY,
            "digest": f"{i:064x}",
            "files": [f"sub-{i:06d}.edf"],
            "sessions": [f"sub-{i:06d}_ses-01"],
        }
        for i in range(n_rows)
    ]
    print(f"\ncatalog of {n_rows} drops")
    with timed("written", n_rows, "rows"):
        for first in range(0, n_rows, 10000):
            catalog.drops.add_many(rows[first : first + 10000])
    looks: dict[str, Callable[[], object]] = {
        "counted by state": catalog.drops.counts,
        "those that are open": lambda: catalog.drops.every(READY),
        "a page of the newest 500, as `neuroloom inbox` shows": lambda: catalog.drops.newest(500),
        "every row": catalog.drops.every,
        "the front page, at first": lambda: review_index(store),
        "the front page, again": lambda: review_index(store),
    }
    for what, look in looks.items():
        with timed(what, n_rows, "rows"):
            look()
    catalog.close()


def know_many(work: Path, n_sessions: int) -> None:
    """A store of so many sessions, by their manifests alone: its catalog rebuilt, and the question before an ingest."""
    from neuroloom.ingest import manifest
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.dates import days_in
    from neuroloom.pipeline.drops.ingesting import published, ran_on
    from neuroloom.pipeline.noting import rebuild
    from neuroloom.pipeline.store import Store

    store = Store(work / "many").create()
    for i in range(n_sessions):
        folder = store.sessions / f"sub-{i:05d}_ses-01" / "v001"
        folder.mkdir(parents=True)
        streams = [{"name": f"s{k}", "start_s": 0.0, "duration_s": 60.0, "n_channels": 64} for k in range(4)]
        sources = [
            {
                "files": ["a.edf"],
                "named": False,
                "dates": "shifted",
                "digests": {"a.edf": f"{i:064x}", "a.tsv": f"{i + n_sessions:064x}"},
            }
        ]
        start = (datetime(2010, 1, 1, 9) + timedelta(days=i)).isoformat()
        said = {"subject": f"{i:05d}", "start": start, "streams": streams, "sources": sources, "verdicts": []}
        manifest.write(folder, said, {})
    print(f"\n{n_sessions} sessions")
    catalog = Catalog.of(store)
    with timed("catalog rebuilt", n_sessions, "sessions"):
        rebuild(store, catalog)
    catalog.close()
    with timed("asked 100 times for a content that is not there", 100, "questions"):
        for i in range(100):
            published(store, [f"{2 * n_sessions + i:064x}"])
    newest = manifest.read(store.latest(f"sub-{n_sessions - 1:05d}_ses-01"))
    with timed("asked 100 times which sessions of nobody ran on a day", 100, "questions"):
        for _ in range(100):
            assert ran_on(store, days_in(store, newest))


def digest_much(work: Path, n_bytes: int) -> None:
    """A file read, and read and digested, from the page cache: what the processor can do, not the disk."""
    from neuroloom.ingest.digest import digest_of_file

    path, block = work / "big.bin", os.urandom(1 << 24)
    with path.open("wb") as file:
        for _ in range(max(1, n_bytes >> 24)):
            file.write(block)
    n_mb = path.stat().st_size // 10**6
    print(f"\n{n_mb} MB from the page cache, {os.cpu_count()} cores")
    ways: dict[str, Callable[[], object]] = {
        "read": lambda: _read(path),
        "read and digested on one core": lambda: digest_of_file(path),
        "read and digested on every core": lambda: digest_of_file(path, every_core=True),
    }
    for what, way in ways.items():
        way()
        with timed(what, n_mb, "MB"):
            way()


def _read(path: Path) -> None:
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def main() -> None:
    """Everything, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drops", type=int, default=500)
    parser.add_argument("--ingest", type=int, default=10, help="how many of them are ingested, two or more")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--digest-mb", type=int, default=512)
    parser.add_argument("--work", type=Path, help="where there is room")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="neuroloom-inbox-", dir=args.work))
    try:
        drop_many(work, args.drops, max(2, min(args.ingest, args.drops)))
        list_many(work, args.rows)
        know_many(work, args.sessions)
        digest_much(work, args.digest_mb * 10**6)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
