"""A wrong subject code, session, task or run is mended: a session under the right name, that follows the old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.session import Session
from neuroloom.pipeline.boxed.box import Unboxed
from neuroloom.pipeline.config import Settings
from neuroloom.pipeline.drops.ingesting import publish_after
from neuroloom.pipeline.drops.making import STAGED
from neuroloom.pipeline.drops.privacy import privacy_of
from neuroloom.pipeline.store import AMENDED, Store, StoreError
from neuroloom.pipeline.subjects import Subjects


def amend(
    store: Store,
    session_id: str,
    *,
    why: str,
    subject: str | None = None,
    session: str | None = None,
    task: str | None = None,
    run: str | None = None,
) -> Path:
    """Publish a session's newest version under its right name; gives the new version's folder.

    The old session stays where it is, says what it became, and is listed and trained on no more. Its dates move with
    the subject: each code has a shift of its own. So do consent and what the lab has said of the person: of the new
    subject, as far as the store knows them. One that was stopped is gone on with by asking again. Raises
    StoreError where nothing would change or the name is taken.
    """
    before = store.latest(session_id)
    wrong = Session.open(before)
    said: dict[str, Any] = {"subject": subject, "session": session, "task": task, "run": run}
    right = replace(wrong, path=None, **{key: value for key, value in said.items() if value is not None})
    if right.id == session_id:
        raise StoreError(f"{session_id}: has this name already; another subject, session, task or run is wanted")
    folder = store.session_folder(right.id) / "v001"
    follows, is_done = manifest.digest_of(before), (before.parent / AMENDED).exists()
    if not store.versions(right.id):
        with Unboxed().workplace(store) as place:
            _redated(_described(right, wrong, store), wrong, store).save(place / STAGED)
            publish_after(store, before, place / STAGED, folder, why=why, subject=subject)
    elif is_done or manifest.read(store.latest(right.id))["lineage"]["follows"] != follows:
        raise StoreError(f"{right.id}: is there already; a session cannot be amended into another one")
    durable.write_json(before.parent / AMENDED, {"to": right.id, "why": why, "version": before.name})
    return folder


def _described(right: Session, wrong: Session, store: Store) -> Session:
    """With what the lab says of the right person; what it said of the wrong one goes, what a file says stays."""
    if right.subject == wrong.subject:
        return right
    known = Subjects.of(store)
    at = wrong.start
    if {source.get("dates") for source in wrong.sources} == {"shifted"}:
        at = privacy_of(store, Settings.of(store).privacy, wrong.subject, ()).true_date(wrong.start)
    was, now = known[wrong.subject].public(at), known[right.subject].public(at)
    sources = []
    for source in wrong.sources:
        of_file = {key: said for key, said in source.get("subject", {}).items() if was.get(key) != said}
        sources.append({**source, "subject": of_file | now})
    return replace(right, sources=tuple(sources))


def _redated(right: Session, wrong: Session, store: Store) -> Session:
    settings = Settings.of(store).privacy
    if right.subject == wrong.subject or {source.get("dates") for source in wrong.sources} != {"shifted"}:
        return right
    old, new = (privacy_of(store, settings, code, ()) for code in (wrong.subject, right.subject))
    moved_by = new.shift - old.shift
    return replace(right, start=None if right.start is None else right.start + moved_by)
