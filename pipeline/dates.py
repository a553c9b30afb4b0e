"""Dates as they were and as they are published, and the store's secret, which alone leads from one to the other.

    shift_of     by how many days a subject's dates are moved
    shift_in     by how many those of a published session were
    days_of      marks of the days on which something ran; days_in: those of a published session that names nobody

Design rationale: recordings that name nobody are held against sessions of the same time. The catalog knows the days of
these, so that this is one question, however large the store. It knows a day by a mark that only the secret makes:
no true date stands in it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.settings import Settings
from neuroloom.pipeline.store import Store

SHORTEST_SHIFT_DAYS, LONGEST_SHIFT_DAYS = 366, 3650
MOST_DAYS = 400  # of one recording; of one that claims more the first so many count


def make_secret(store: Store) -> None:
    """Draw the store's secret, where it has none yet."""
    path = store.secret_file
    if path.is_file():
        return
    fresh = path.with_name(f".secret-{secrets.token_hex(4)}")
    durable.write_text(fresh, secrets.token_hex(32))
    fresh.chmod(0o600)
    try:
        os.link(fresh, path)  # whoever is first decides; a second process finds it there
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def keyed(store: Store, text: str) -> bytes:
    """A digest of a text that can be made with the store's secret only."""
    make_secret(store)
    secret = bytes.fromhex(store.secret_file.read_text(encoding="ascii"))
    return hmac.new(secret, text.encode(), hashlib.sha256).digest()


def shift_of(store: Store, code: str) -> timedelta:
    """By how many days a subject's dates are moved into the past: the same for all their recordings in this store."""
    drawn = int.from_bytes(keyed(store, code)[:8], "big")
    return -timedelta(days=SHORTEST_SHIFT_DAYS + drawn % (LONGEST_SHIFT_DAYS - SHORTEST_SHIFT_DAYS))


def shift_in(store: Store, said: Mapping[str, Any]) -> timedelta:
    """How the dates of a published session were moved: as its manifest says, else as the settings ask."""
    dates = next((source["dates"] for source in said["sources"] if "dates" in source), "")
    kept = dates == "kept" if dates else Settings.of(store).privacy.keep_dates
    return timedelta(0) if kept else shift_of(store, said["subject"])


def span_in(store: Store, said: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    """When a published session truly began and ended; None for one without a date."""
    if not said.get("start"):
        return None
    start = datetime.fromisoformat(said["start"]) - shift_in(store, said)
    lasts_s = max((stream["start_s"] + stream["duration_s"] for stream in said["streams"]), default=0.0)
    return start, start + timedelta(seconds=lasts_s)


def days_of(store: Store, start: datetime, end: datetime) -> list[str]:
    """A mark for each day from start to end, of UTC where they are of a zone: the same day has the same mark."""
    zone = "" if start.tzinfo is None else "UTC"
    first, last = ((at.astimezone(UTC) if zone else at).date() for at in (start, end))
    days = (first + timedelta(days=k) for k in range(min((last - first).days + 1, MOST_DAYS)))
    return [keyed(store, f"{day} {zone}").hex()[:32] for day in days]


def days_in(store: Store, said: Mapping[str, Any]) -> list[str]:
    """The days of a published session, by its manifest, that others may join; none where it is known whose it is."""
    if any(source.get("named", True) for source in said.get("sources", ())) or (span := span_in(store, said)) is None:
        return []
    return days_of(store, *span)
