"""What reviewers say of a session or a run, kept as data beside it and used as policy in the next training.

    of a session   `verdicts` in the manifest of its newest version, and carried over to every later one
    of a run       `verdicts.json` in its folder

    {"verdict": "accept" | "reject" | "note", "by", "at", "note", "bad_channels": {stream: [channel, ...]}, "version"}
    and "good_channels", likewise, where there are any

Nothing is ever taken out or altered: whoever changes their mind adds another line. The last "accept" or "reject" holds;
a "note" leaves it as it stands. Bad and good channels are those of the last line, whatever its verdict. Since the
manifests are the truth, a lost catalog loses no verdict.

    rejected session   left out of a training that names no sessions; refused in one that names it
    bad channels       never come in and are never asked for: no bin of theirs is valid
    good channels      are used although their file or a check of ours calls them bad
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Signal, Units
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.noting import note_published
from neuroloom.pipeline.store import Store, StoreError

VERDICTS = "verdicts.json"
ACCEPT, REJECT, NOTE = "accept", "reject", "note"
WORDS = (ACCEPT, REJECT, NOTE)
REVIEWED = "reviewed_bad"  # in the quality of a stream: channels and units that reviewers call bad
APPROVED = "reviewed_good"  # likewise: those that reviewers call good, whatever else calls them bad
LONGEST_NOTE, LONGEST_NAME = 4000, 100  # characters
MOST_CHANNELS, MOST_VERDICTS = 4096, 1000

Channels = Mapping[str, Sequence[str]]  # by stream


class VerdictError(ValueError):
    """A verdict cannot be kept: the message says what was found and what was wanted."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line of the history. at: ISO 8601, UTC. version: of the session it was said of, "" for a run."""

    verdict: str
    by: str
    at: str
    note: str = ""
    bad_channels: Channels = field(default_factory=dict)
    good_channels: Channels = field(default_factory=dict)
    version: str = ""

    @property
    def sentence(self) -> str:
        """`rejected by anna on 2026-03-14: the left earlobe came off`."""
        word = {ACCEPT: "accepted", REJECT: "rejected"}.get(self.verdict, "noted")
        note = " ".join(self.note.split())
        return f"{word} by {self.by} on {self.at[:10]}" + (f": {note[:200]}" if note else "")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What holds now. verdict: "accept", "reject", or "" where nobody has decided; by: the line that decided."""

    verdict: str = ""
    by: Verdict | None = None
    bad_channels: Channels = field(default_factory=dict)
    good_channels: Channels = field(default_factory=dict)
    n_verdicts: int = 0


def standing(history: Sequence[Verdict]) -> Standing:
    """What holds after a history."""
    decided = next((one for one in reversed(history) if one.verdict != NOTE), None)
    return Standing(
        verdict=decided.verdict if decided else "",
        by=decided,
        bad_channels=history[-1].bad_channels if history else {},
        good_channels=history[-1].good_channels if history else {},
        n_verdicts=len(history),
    )


def of_session(store: Store, session_id: str) -> list[Verdict]:
    """Everything said of a session, oldest first, over all its versions. Raises StoreError where it is not there."""
    store.latest(session_id)
    return of_manifests(readable_document_of(folder / manifest.FILE_NAME) for folder in store.versions(session_id))


def of_manifests(manifests: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """The same from manifests of its versions that are at hand."""
    found = {_spelled(row): row for said in manifests for row in said.get("verdicts", ()) if _is_verdict(row)}
    return [_verdict(row) for row in sorted(found.values(), key=lambda row: str(row["at"]))]


def of_run(store: Store, name: str) -> list[Verdict]:
    """Everything said of a run, oldest first."""
    rows = readable_document_of(_run(store, name) / VERDICTS).get("verdicts", ())
    return [_verdict(row) for row in rows if _is_verdict(row)]


def judge_session(
    store: Store,
    session_id: str,
    verdict: str,
    *,
    by: str,
    note: str = "",
    bad_channels: Iterable[str] | Channels | None = None,
    good_channels: Iterable[str] | Channels | None = None,
    at: datetime | None = None,
) -> Verdict:
    """Add a verdict to a session's newest version, durably, and tell the catalog; gives the line.

    bad_channels: the whole list as it holds from now on, as names ("Fp1", or "eeg:Fp1" where several streams have one
    of that name) or by stream; None leaves it as it stands. good_channels: likewise. Raises VerdictError for a name no
    stream has, and for one that is called both.
    """
    with durable.locked(store.latest(session_id).parent):
        folder = store.latest(session_id)
        history = of_session(store, session_id)
        line = _line(verdict, by, note, at, history, version=folder.name)
        with Session.open(folder) as session:
            bad, good = _channels(session, standing(history), bad_channels, good_channels)
            line = replace(line, bad_channels=bad, good_channels=good)
        manifest.amend(folder, verdicts=[row(one) for one in (*history, line)])
    catalog = Catalog.of(store)
    note_published(store, catalog, [session_id])
    catalog.close()
    return line


def judge_run(store: Store, name: str, verdict: str, *, by: str, note: str = "", at: datetime | None = None) -> Verdict:
    """Add a verdict to a run, durably; gives the line."""
    folder = _run(store, name)
    with durable.locked(folder):
        history = of_run(store, name)
        line = _line(verdict, by, note, at, history)
        durable.write_json(folder / VERDICTS, {"verdicts": [row(one) for one in (*history, line)]})
    return line


@contextmanager
def publishing(session_folder: Path) -> Iterator[None]:
    """While a new version takes over what was said and gets its place, nobody adds a verdict to the old one."""
    durable.make_folder(session_folder)
    with durable.locked(session_folder):
        yield


def objection(store: Store, session_id: str) -> str:
    """Why reviewers do not want a session trained on, or ""."""
    found = standing(of_session(store, session_id))
    return found.by.sentence if found.verdict == REJECT and found.by is not None else ""


def bad_channels_of(store: Store, session_id: str) -> dict[str, tuple[str, ...]]:
    """Stream -> channels (or units) that reviewers call bad now."""
    return {name: tuple(bad) for name, bad in standing(of_session(store, session_id)).bad_channels.items()}


def good_channels_of(store: Store, session_id: str) -> dict[str, tuple[str, ...]]:
    """Stream -> channels that reviewers call good now, whatever their file or a check says."""
    return {name: tuple(good) for name, good in standing(of_session(store, session_id)).good_channels.items()}


def reviewed(session: Session, bad_channels: Channels, good_channels: Channels | None = None) -> Session:
    """The session with what reviewers call bad, and good, in its quality, for `build_features` to go by."""
    quality = {name: dict(found) for name, found in session.quality.items()}
    for key, said in ((REVIEWED, bad_channels), (APPROVED, good_channels or {})):
        for stream, names in said.items():
            quality.setdefault(stream, {})[key] = list(names)
    return replace(session, quality=quality)


def _line(
    verdict: str, by: str, note: str, at: datetime | None, history: Sequence[Verdict], version: str = ""
) -> Verdict:
    by, note = by.strip(), note.strip()
    if verdict not in WORDS:
        raise VerdictError(f"{verdict!r} is no verdict; one of {', '.join(WORDS)} is wanted")
    if not by or len(by) > LONGEST_NAME:
        raise VerdictError(f"by: {len(by)} characters; the reviewer's name, at most {LONGEST_NAME}, is wanted")
    if len(note) > LONGEST_NOTE:
        raise VerdictError(f"note: {len(note)} characters; at most {LONGEST_NOTE} are wanted")
    if verdict == NOTE and not note:
        raise VerdictError("note: is empty; a note needs words")
    if len(history) >= MOST_VERDICTS:
        raise VerdictError(f"{len(history)} verdicts are there already; more are not kept")
    when = (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds")
    if history and when <= history[-1].at:  # a clock that was set back: the order is that of writing
        later = datetime.fromisoformat(history[-1].at).timestamp() + 1e-3
        when = datetime.fromtimestamp(later, UTC).isoformat(timespec="milliseconds")
    return Verdict(verdict=verdict, by=by, at=when, note=note, version=version)


def _channels(
    session: Session,
    holds: Standing,
    bad: Iterable[str] | Channels | None,
    good: Iterable[str] | Channels | None,
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Both lists as they hold from now on; what is named now leaves the other list, which stood."""
    found = _resolved(session, holds.bad_channels if bad is None else bad)
    fine = _resolved(session, holds.good_channels if good is None else good)
    both = [(stream, name) for stream, names in found.items() for name in names if name in fine.get(stream, ())]
    if both and (bad is None) == (good is None):
        raise VerdictError(f"{both[0][0]}: {both[0][1]!r} is called bad and good; one of them is wanted")
    for stream, name in both:
        (fine if good is None else found)[stream].remove(name)
    return {k: v for k, v in found.items() if v}, {k: v for k, v in fine.items() if v}


def _resolved(session: Session, named: Iterable[str] | Channels) -> dict[str, list[str]]:
    """Stream -> channels, each checked against the session. Raises VerdictError naming what there is."""
    channels = {s.name: _names(s) for s in session.streams if isinstance(s, Signal | Units)}
    found: dict[str, list[str]] = {}
    for stream, channel in _pairs(named, channels):
        if channel not in channels.get(stream, ()):
            raise VerdictError(f"{stream} has no channel {channel!r}; it has {_listed(channels.get(stream, ()))}")
        if channel not in found.setdefault(stream, []):
            found[stream].append(channel)
    if sum(map(len, found.values())) > MOST_CHANNELS:
        raise VerdictError(f"{sum(map(len, found.values()))} channels; at most {MOST_CHANNELS} are wanted")
    return {stream: found[stream] for stream in sorted(found)}


def _pairs(named: Iterable[str] | Channels, channels: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    if isinstance(named, Mapping):
        yield from ((stream, channel) for stream, names in named.items() for channel in names)
        return
    for name in named:
        stream, colon, channel = name.partition(":")
        holders = [held for held, names in channels.items() if name in names]
        if colon and stream in channels and channel in channels[stream]:
            yield stream, channel
        elif len(holders) == 1:
            yield holders[0], name
        elif holders:
            raise VerdictError(f"{name!r} is in {', '.join(holders)}; '{holders[0]}:{name}' is wanted")
        else:
            known = "; ".join(f"{held}: {_listed(names)}" for held, names in channels.items())
            raise VerdictError(f"no stream has a channel {name!r}; there are {known or 'none'}")


def _names(stream: Signal | Units) -> tuple[str, ...]:
    return stream.channel_names if isinstance(stream, Signal) else stream.unit_names


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "none"


def _run(store: Store, name: str) -> Path:
    folder = store.run_folder(name)
    if not folder.is_dir():
        raise StoreError(f"{name}: no such run in {store.root}; there are: {', '.join(store.run_names()) or 'none'}")
    return folder


def row(verdict: Verdict) -> dict[str, Any]:
    """As JSON holds it. A line without good channels is spelled as it was before there were any."""
    said = asdict(verdict)
    lists = {key: {name: list(of) for name, of in said.pop(key).items()} for key in ("bad_channels", "good_channels")}
    return {**said, **{key: of for key, of in lists.items() if of or key == "bad_channels"}}


def _is_verdict(row: object) -> bool:
    return isinstance(row, Mapping) and row.get("verdict") in WORDS and isinstance(row.get("at"), str)


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(
        verdict=str(row["verdict"]),
        by=str(row.get("by", "")),
        at=str(row["at"]),
        note=str(row.get("note", "")),
        bad_channels=_by_stream(row.get("bad_channels", {})),
        good_channels=_by_stream(row.get("good_channels", {})),
        version=str(row.get("version", "")),
    )


def _by_stream(said: Channels) -> dict[str, tuple[str, ...]]:
    return {str(stream): tuple(map(str, names)) for stream, names in said.items()}


def _spelled(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)
