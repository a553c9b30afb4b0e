"""A drop made ready to be published: whose it is, what may be said of it, what is computed of it.

drop -> recordings -> names and dates as they may be published -> aligned or joined -> spikes, LFP, quality -> sources
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuroloom.ingest.digest import digest_of_bytes, digest_of_file
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.session import Session
from neuroloom.pipeline import subjects
from neuroloom.pipeline.clocks.alignment import AlignmentError
from neuroloom.pipeline.drops.identity import identity, is_named
from neuroloom.pipeline.drops.joining import joined
from neuroloom.pipeline.drops.persons import unlike_known
from neuroloom.pipeline.drops.privacy import (
    Privacy,
    names_somebody,
    privacy_of,
    pseudonym,
    stated_names,
    stated_numbers,
)
from neuroloom.pipeline.drops.processing import process, said_of
from neuroloom.pipeline.drops.reading import Drop, aligned, named_from, session_id, with_notes
from neuroloom.pipeline.drops.sidecar import SessionNotes
from neuroloom.pipeline.settings import AS_SET, Settings
from neuroloom.pipeline.store import Store, StoreError

Progress = Callable[[str], None]
DROP_DIGITS = 12  # of the digest that tells which files came together


def opened(drop: Drop, store: Store, say: Progress) -> tuple[list[Recording], SessionNotes, Privacy, bool]:
    """A drop's recordings as they may be published, its notes, whose it is, and whether anything named them."""
    recordings, notes = drop.recordings(say), drop.notes()
    named = notes.subject is not None or is_named(recordings)
    private = privacy_for(drop, store, recordings, notes)
    notes = notes.model_copy(update={"subject": private.code})
    return [private.applied(recording) for recording in recordings], notes, private, named


def said_named(session: Session, named: bool) -> Session:
    return replace(session, sources=tuple({"named": named, **source} for source in session.sources))


def prepared(
    drop: Drop, store: Store, *, sorter: str | None, progress: Progress | None = None, there: Session | None = None
) -> Session:
    """The session of a drop, or `there` with its devices joined, complete and not saved. Raises as `ingest` refuses."""
    say = progress or (lambda _: None)
    recordings, notes, private, named = opened(drop, store, say)
    if there is None:
        session = aligned(recordings, notes)
    else:
        session = joined(there, recordings, same_clock=notes.same_clock, start_uncertainty_s=notes.start_uncertainty_s)
    session = with_notes(said_named(session, named), drop)
    return completed(session, drop, store, private, digests_of(drop.files(), drop.root), sorter, say)


def part_of(drop: Drop, store: Store, wanted: str) -> Drop:
    """The part of a drop that is the session of that id. Raises StoreError where none is."""
    parts = drop.parts()
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        try:
            recordings, notes, _, _ = opened(part, store, lambda _: None)
            if session_id(part, recordings, notes) == wanted:
                return part
        except (FormatError, AlignmentError):
            continue  # another session of the drop, which was refused
    raise StoreError(f"{wanted}: not in {drop.root}, which holds {len(parts)} sessions")


def completed(
    session: Session,
    drop: Drop,
    store: Store,
    private: Privacy,
    digests: Mapping[str, str],
    sorter: str | None,
    say: Progress,
) -> Session:
    """With what is computed of it, where it came from, and what is known of the subject."""
    settings = Settings.of(store)
    spikes = said_of(session, "spikes")
    chain, curation = settings.spikes.but(spikes)
    chosen = sorter_of(sorter, spikes, settings)
    session = process(session, sorter=chosen, chain=chain, curation=curation, ica=settings.ingest.ica, progress=say)
    public = {private.text(name): digest for name, digest in digests.items()}
    unread = [private.text(name) for name in drop.unread()]
    return _with_subject(replace(session, sources=_with_digests(session.sources, public, unread)), store)


def sorter_of(asked: str | None, said: Mapping[str, Any], settings: Settings) -> str | None:
    """The sorter asked for, else that of the session, else that of the store; None where spikes are not looked for."""
    chosen = said.get("sorter", settings.ingest.sorter) if asked == AS_SET else asked
    return None if chosen == "none" else chosen


def digests_of(files: Iterable[Path], root: Path) -> dict[str, str]:
    """By each file's name within what was dropped."""
    return {named_from(file, root).as_posix(): digest_of_file(file) for file in files}


def privacy_for(drop: Drop, store: Store, recordings: Sequence[Recording], notes: SessionNotes) -> Privacy:
    """Whose recordings they are, by code, and what must not be published of it."""
    known = subjects.Subjects.of(store)
    stated = stated_names(recordings)
    numbers = stated_numbers(recordings)
    texts = [drop.name, *stated, *(file.name for recording in recordings for file in recording.files)]
    settings = Settings.of(store).privacy
    named = identity(recordings, is_told=notes.subject is not None)["sub"]
    code = known.code_of(notes.subject or named, texts)
    if what := unlike_known(recordings, known[code]):
        raise FormatError(
            f"{drop.name}: {what} than subject.toml has for {code}; whichever is wrong has to be mended (`names` there "
            "are all that files may call somebody)"
        )
    if (
        code not in known.root
        and notes.subject is None
        and not settings.keep_names
        and names_somebody(code, [*stated, *numbers])
    ):
        code = pseudonym(store, stated or numbers)
    return privacy_of(store, settings, code, [*known[code].names, *stated, *numbers])


def _with_subject(session: Session, store: Store) -> Session:
    """Each source with what the lab has said of the subject, and whether its dates are the true ones."""
    settings = Settings.of(store).privacy
    private = privacy_of(store, settings, session.subject, ())
    about = subjects.Subjects.of(store)[session.subject].public(private.true_date(session.start))
    dates = "kept" if settings.keep_dates else "shifted"
    sources = tuple(
        {**source, "subject": {**source.get("subject", {}), **about}, "dates": source.get("dates", dates)}
        for source in session.sources
    )
    return replace(session, sources=sources)


def _with_digests(
    sources: Sequence[Mapping[str, Any]], digests: Mapping[str, str], unread: Sequence[str]
) -> tuple[Mapping[str, Any], ...]:
    """Each new source with the digests of its files (of those in it, where it is a folder), which several clocks may
    share, and which drop it came with.

    Sidecars go with the first, and the names of what nothing reads. Sources that have their digests already came with
    an earlier drop.
    """
    drop = digest_of_bytes("\n".join(sorted(digests.values())).encode()).partition(":")[2][:DROP_DIGITS]
    named = [
        dict(source)
        if "digests" in source
        else {
            **source,
            "drop": drop,
            "digests": {key: d for key, d in digests.items() if set(key.split("/")) & set(source["files"])},
        }
        for source in sources
    ]
    new = [source for source in named if source["drop"] == drop]
    told = {key for source in new for key in source["digests"]}
    new[0]["digests"] |= {key: digest for key, digest in digests.items() if key not in told}
    if unread:
        new[0]["unread"] = list(unread)
    return tuple(named)
