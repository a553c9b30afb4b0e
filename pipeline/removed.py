"""What was removed when somebody withdrew: digests of contents, so that they are not taken in again under another code.

    STORE/withdrawn.json    {code: {"on": date, "contents": [digest, ...]}}; digests tell nothing of a person

What counts is most of the bytes of a recording: a header, or what lies beside it, may be the same in the recordings of
two people. A consent that is given on that day or later, in a `subject.toml`, takes them in again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from neuroloom.ingest import durable
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.store import Store

RECORD = "withdrawn.json"


def remember(store: Store, code: str, contents: Iterable[str], on: date) -> None:
    """Add contents to those that were removed when `code` withdrew."""
    known = document_of(store.root / RECORD)
    both = sorted({*known.get(code, {}).get("contents", ()), *contents})
    durable.write_json(store.root / RECORD, {**known, code: {"on": on.isoformat(), "contents": both}})
    (store.root / RECORD).chmod(0o600)


def withdrew_on(store: Store, code: str) -> date | None:
    """When somebody withdrew whose recordings were removed; None for everybody else."""
    entry = document_of(store.root / RECORD).get(code)
    return None if entry is None else date.fromisoformat(entry["on"])


def among(store: Store, recordings: Iterable[Mapping[str, tuple[str, int]]]) -> dict[str, list[str]]:
    """By code, the names of the files that were removed, of those recordings of which they are most of the bytes.

    recordings: of each the digest and the bytes of its files, by name.
    """
    found: dict[str, list[str]] = {}
    known = [(code, set(entry["contents"])) for code, entry in document_of(store.root / RECORD).items()]
    for files in recordings:
        n_bytes = sum(size for _, size in files.values())
        for code, contents in known:
            theirs = {name: size for name, (digest, size) in files.items() if digest in contents}
            if 2 * sum(theirs.values()) > n_bytes:
                found.setdefault(code, []).extend(theirs)
    return found
