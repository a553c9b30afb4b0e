"""What is published names nobody and dates nothing, unless the lab's settings ask to keep it.

    names      of `subject.toml` and of file headers: the subject's code stands wherever text of a recording has them
    birth      not published; the age at the session is
    dates      shifted by whole days, the same for all recordings of a subject: the time between sessions and the time
               of day stay; how many days follows from the store's secret and the subject's code

Design rationale: done to recordings before they are aligned, so that no later step can forget it. The secret lies in
the store (`.secret`, readable by its owner only) and in nothing that is published: with it a lab can undo the shift.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from neuroloom.ingest import durable
from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Events, Intervals, Stream
from neuroloom.pipeline.config import PrivacySettings
from neuroloom.pipeline.store import Store

SHORTEST_SHIFT_DAYS, LONGEST_SHIFT_DAYS = 366, 3650
PRIVATE = ("name", "birth_date")  # of a file's own words on the subject


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """How one subject's recordings are published.

    code: what the subject is called. names: what is replaced by it. shift: added to every date.
    """

    code: str
    names: tuple[str, ...] = ()
    shift: timedelta = timedelta(0)

    def applied(self, recording: Recording) -> Recording:
        """The recording with names and dates as they may be published."""
        together = recording.started_with
        subject = {key: self.text(value) for key, value in recording.subject.items() if key not in PRIVATE}
        return replace(
            recording,
            clock=self.text(recording.clock),
            files=tuple(file.with_name(self.text(file.name)) for file in recording.files),
            streams=tuple(self._stream(stream) for stream in recording.streams),
            start=self.date(recording.start),
            repairs=tuple(self.text(line) for line in recording.repairs),
            subject=subject,
            leads_to=None if recording.leads_to is None else self._map(recording.leads_to),
            started_with=together and (self.text(together[0]), together[1]),
        )

    def text(self, text: str) -> str:
        """A text with every name in it replaced by the code."""
        for name in self.names:
            text = re.sub(re.escape(name), self.code, text, flags=re.IGNORECASE)
        return text

    def date(self, when: datetime | None) -> datetime | None:
        """A date as it may be published."""
        return None if when is None else when + self.shift

    def true_date(self, published: datetime | None) -> datetime | None:
        """The date that was published as this one."""
        return None if published is None else published - self.shift

    def _map(self, clock: Any) -> Any:
        return replace(clock, source=self.text(clock.source), target=self.text(clock.target))

    def _stream(self, stream: Stream) -> Stream:
        if not self.names:
            return stream
        table = {key: tuple(self._value(v) for v in column) for key, column in stream.table.items()}
        changed = replace(stream, name=self.text(stream.name), table=table, provenance=self._value(stream.provenance))
        if isinstance(changed, Events | Intervals):
            return replace(changed, labels=tuple(self.text(label) for label in changed.labels))
        return changed

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self._value(inner) for key, inner in value.items()}
        return [self._value(inner) for inner in value] if isinstance(value, list | tuple) else value


def privacy_of(store: Store, settings: PrivacySettings, code: str, names: Iterable[str]) -> Privacy:
    """How a subject's recordings are published by a store with these settings."""
    return Privacy(
        code=code,
        names=() if settings.keep_names else tuple(sorted({n for n in names if len(n) >= 3}, key=len, reverse=True)),
        shift=timedelta(0) if settings.keep_dates else shift_of(store, code),
    )


def shift_of(store: Store, code: str) -> timedelta:
    """By how many days a subject's dates are moved into the past: the same for all their recordings in this store."""
    drawn = int.from_bytes(hmac.new(_secret(store), code.encode(), hashlib.sha256).digest()[:8], "big")
    return -timedelta(days=SHORTEST_SHIFT_DAYS + drawn % (LONGEST_SHIFT_DAYS - SHORTEST_SHIFT_DAYS))


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


def _secret(store: Store) -> bytes:
    make_secret(store)
    return bytes.fromhex(store.secret_file.read_text(encoding="ascii"))
