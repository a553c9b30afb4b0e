"""What was removed when somebody withdrew: digests of contents, so that they are not taken in again under another code.

    STORE/withdrawn.json    {code: {"on": date, "contents": [digest, ...]}}; digests tell nothing of a person

What counts is most of the bytes: a header may be the same in the recordings of two people. A consent that is given on
that day or later, in a `subject.toml`, takes them in again.
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


def of_whom(store: Store, sizes: Mapping[str, int]) -> str:
    """The code of whom most of these contents are that were removed; "" for nobody. sizes: bytes by digest."""
    for code, entry in document_of(store.root / RECORD).items():
        theirs = sum(sizes[digest] for digest in sizes.keys() & set(entry["contents"]))
        if 2 * theirs > sum(sizes.values()):
            return code
    return ""
