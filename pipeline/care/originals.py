"""Whether the originals of a session are still what was dropped: read again, as published sessions are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.drops.custody import DROP_RECORD, FILES
from neuroloom.pipeline.drops.inbox import digest_of
from neuroloom.pipeline.store import Store


@dataclass
class Originals:
    """Those of a store that came through its inbox; each is read once, however many sessions it went into."""

    store: Store
    _by_session: dict[str, list[Path]] | None = None
    _found: dict[Path, list[dict[str, str]]] = field(default_factory=dict)

    def damage(self, session_id: str) -> list[dict[str, str]]:
        """What is not as it was dropped, as `verify --json` has damage."""
        return [row for record in self._records().get(session_id, ()) for row in self._of(record)]

    def _records(self) -> dict[str, list[Path]]:
        if self._by_session is None:
            self._by_session = {}
            for path in sorted(self.store.originals.glob(f"*/{DROP_RECORD}")):
                sessions = readable_document_of(path).get("sessions", ())
                # Somebody who withdrew may have been in it: then it was taken apart on purpose.
                for session in sessions if all(map(self.store.versions, sessions)) else ():
                    self._by_session.setdefault(session, []).append(path)
        return self._by_session

    def _of(self, record: Path) -> list[dict[str, str]]:
        if record not in self._found:
            problem = _problem(record)
            name = record.parent.relative_to(self.store.root).as_posix()
            self._found[record] = [{"file": name, "dataset": "", "problem": problem}] if problem else []
        return self._found[record]


def _problem(record: Path) -> str:
    """Why a drop's files are not what its record says, "" where they are."""
    said = readable_document_of(record)
    files, folder = said.get("files") or [], record.parent / FILES
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        return f"{missing[0]} is missing; an original is never removed"
    if said.get("digest") and files and digest_of(folder, files) != said["digest"]:
        return "is not what was dropped: its digest differs; an original is never altered"
    return ""
