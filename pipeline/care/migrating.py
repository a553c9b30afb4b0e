"""A store brought up to date on purpose: catalog, session files and review pages that an older neuroloom has written.

Nothing has to be: what is older is read as it is, and an older catalog is brought up to date by whoever opens it. A
session file is written anew as a new version, with the same streams, under the same name, followed by its verdicts and
its consent; the old version stays. Wideband companions are taken over as they are, and linked.

Design rationale: every byte of a version is read before it is written anew, since a new version of damaged data would
look sound. What is damaged is left to `reingest`, which has the originals.
"""

from __future__ import annotations

from collections.abc import Callable

from neuroloom.ingest import manifest
from neuroloom.ingest._nwb_layout import INDEX_VERSION
from neuroloom.ingest._nwb_read import written_version
from neuroloom.ingest.session import Session
from neuroloom.pipeline import migrations
from neuroloom.pipeline.boxed.box import Unboxed
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.drops.ingesting import adopt, next_version, publish_after
from neuroloom.pipeline.drops.making import STAGED
from neuroloom.pipeline.noting import note_published
from neuroloom.pipeline.review.page import is_current
from neuroloom.pipeline.reviewing import renew, review_index, review_session
from neuroloom.pipeline.store import Store

Progress = Callable[[str], None]
Row = dict[str, str]


def migrate(store: Store, *, dry_run: bool = False, progress: Progress | None = None) -> dict[str, list[Row]]:
    """{"catalog", "sessions", "pages"}: what was older, a row each: "name", "from", "to", "state", and "reason".

    state: "to do" (in a dry run), "done", or "failed" with the reason; the others are gone on with.
    """
    say = progress or (lambda _: None)
    catalog = list(_catalog(store, dry_run))
    sessions = [_attempted(row, dry_run, lambda name: _written_anew(store, name, say)) for row in _older(store)]
    pages = [_attempted(row, dry_run, lambda name: _drawn_anew(store, name, say)) for row in _pages(store)]
    if not dry_run:
        opened = Catalog.of(store)
        note_published(store, opened)
        opened.close()
        review_index(store)
    return {"catalog": catalog, "sessions": sessions, "pages": pages}


def _catalog(store: Store, dry_run: bool) -> list[Row]:
    was = migrations.at_rest(store.catalog_url)
    if was in (None, migrations.newest()):
        return []
    if not dry_run:
        Catalog.of(store).close()
    row = {"name": "catalog", "from": str(was), "to": migrations.newest()}
    return [{**row, "state": "to do" if dry_run else "done", "reason": ""}]


def _older(store: Store) -> list[Row]:
    """The newest version of each session, where it was written in an older layout."""
    rows = []
    for session_id in store.session_ids():
        version = written_version(store.latest(session_id))
        if version < INDEX_VERSION:
            rows.append(
                {"name": session_id, "from": f"index version {version}", "to": f"index version {INDEX_VERSION}"}
            )
    return rows


def _pages(store: Store) -> list[Row]:
    found = [path for path in sorted(store.review.glob("*.html")) if not is_current(path)]
    return [{"name": path.name, "from": "another version", "to": "this version"} for path in found]


def _attempted(row: Row, dry_run: bool, work: Callable[[str], None]) -> Row:
    if dry_run:
        return {**row, "state": "to do", "reason": ""}
    try:
        work(row["name"])
    except (OSError, ValueError) as error:
        return {**row, "state": "failed", "reason": " ".join(str(error).split())}
    return {**row, "state": "done", "reason": ""}


def _written_anew(store: Store, session_id: str, say: Progress) -> None:
    before = store.latest(session_id)
    say(f"{session_id}: reading every byte of {before.name}")
    if damage := manifest.verify(before):
        raise ValueError(f"{before}: {damage[0]}; `neuroloom reingest {session_id}` makes it anew from its originals")
    was = written_version(before)
    with Unboxed().workplace(store) as folder:
        staged = folder / STAGED
        with Session.open(before) as session:
            session.save(staged, point=True).close()
        adopt(staged, store)
        version = next_version(store, session_id)
        publish_after(store, before, staged, version, why=f"written anew from index version {was}")
    say(f"{session_id}: {version.name} has all that {before.name} has")
    review_session(store, session_id)


def _drawn_anew(store: Store, page: str, say: Progress) -> None:
    say(f"{page}: drawing")
    if not renew(store, page):
        raise ValueError("what it shows is not there any more, or cannot be read; the page may be deleted")
