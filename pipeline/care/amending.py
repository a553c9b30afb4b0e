"""A wrong subject code, session, task or run is mended: a session under the right name, that follows the old one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.session import Session
from neuroloom.pipeline.boxed.box import Unboxed
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.drops.ingesting import publish_after
from neuroloom.pipeline.drops.making import STAGED
from neuroloom.pipeline.drops.privacy import privacy_of
from neuroloom.pipeline.settings import Settings
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
    StoreError where nothing would change, the name is taken, or the session goes by another name already.
    """
    if not why.strip():
        raise StoreError("why: is empty; words are wanted, which are kept in the lineage")
    for field, code in (("subject", subject), ("session", session)):  # a task or a run may be taken away
        if code is not None and not code.strip():
            raise StoreError(f"{field}: is empty; the right code is wanted")
    before = current(store, session_id)
    wrong = Session.open(before)
    said: dict[str, Any] = {"subject": subject, "session": session, "task": task, "run": run}
    right = replace(wrong, path=None, **{key: value for key, value in said.items() if value is not None})
    if right.id == session_id:
        raise StoreError(f"{session_id}: has this name already; another subject, session, task or run is wanted")
    folder = store.session_folder(right.id) / "v001"
    follows = manifest.digest_of(before)
    if not store.versions(right.id):
        with Unboxed().workplace(store) as place:
            _renamed(_redated(_described(right, wrong, store), wrong, store), wrong).save(place / STAGED)
            publish_after(store, before, place / STAGED, folder, why=why, subject=subject)
    elif manifest.read(store.latest(right.id))["lineage"]["follows"] != follows:
        raise StoreError(f"{right.id}: is there already; a session cannot be amended into another one")
    durable.write_json(before.parent / AMENDED, {"to": right.id, "why": why, "version": before.name})
    return folder


def current(store: Store, session_id: str) -> Path:
    """The newest version folder of a session that goes by this name still. Raises StoreError naming what it is now."""
    newest = store.latest(session_id)
    if (newest.parent / AMENDED).exists():
        is_now = readable_document_of(newest.parent / AMENDED).get("to", "another session")
        raise StoreError(f"{session_id}: is {is_now} now, as it was amended; name that one")
    return newest


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


def _renamed(right: Session, wrong: Session) -> Session:
    """With the right codes also where devices, streams and files have them in their names."""
    text = _mended(right, wrong)
    streams = []
    for stream in right.streams:
        table, provenance = (_each(said, text) for said in (stream.table, stream.provenance))
        name, device = text(stream.name), text(stream.device)
        streams.append(replace(stream, name=name, device=device, table=table, provenance=provenance))
    maps = []
    for found in right.clock_maps:
        checks = tuple(replace(one, against=text(one.against), words=text(one.words)) for one in found.checks)
        notes = tuple(text(note) for note in found.notes)
        maps.append(replace(found, source=text(found.source), target=text(found.target), checks=checks, notes=notes))
    return replace(
        right,
        clock=text(right.clock),
        streams=tuple(streams),
        clock_maps=tuple(maps),
        sources=tuple(_each(source, text) for source in right.sources),
        quality=_each(right.quality, text),
    )


def _mended(right: Session, wrong: Session) -> Callable[[str], str]:
    """ "sub-07_ses-1_eeg" -> "sub-08_ses-1_eeg"."""
    parts = [("sub", "subject"), ("ses", "session"), ("task", "task"), ("run", "run")]
    codes = [(key, getattr(wrong, field), getattr(right, field)) for key, field in parts]
    changed = [
        (re.compile(rf"(?<![A-Za-z0-9]){key}-{re.escape(old)}(?![A-Za-z0-9])"), f"{key}-{new}")
        for key, old, new in codes
        if old and new and old != new
    ]

    def text(said: str) -> str:
        for pattern, code in changed:
            said = pattern.sub(code, said)
        return said

    return text


def _each(value: Any, text: Callable[[str], str]) -> Any:
    """The same with every text in it, and every name of it, mended."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(key): _each(inner, text) for key, inner in value.items()}
    return type(value)(_each(inner, text) for inner in value) if isinstance(value, list | tuple) else value


def _redated(right: Session, wrong: Session, store: Store) -> Session:
    settings = Settings.of(store).privacy
    if right.subject == wrong.subject or {source.get("dates") for source in wrong.sources} != {"shifted"}:
        return right
    old, new = (privacy_of(store, settings, code, ()) for code in (wrong.subject, right.subject))
    moved_by = new.shift - old.shift
    return replace(right, start=None if right.start is None else right.start + moved_by)
