"""The sessions of a store as `neuroloom sessions` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import SessionRow
from neuroloom.pipeline.noting import note_new
from neuroloom.pipeline.store import Store


def listed_sessions(store: Store) -> list[dict[str, Any]]:
    """Every session's newest version, from the manifests: {"session", "version", "subject", "modalities", ...}."""
    catalog = Catalog.of(store)
    note_new(store, catalog)
    rows = catalog.sessions.newest("subject", "streams")
    versions: dict[str, list[str]] = {}
    for session_id, version in sorted(catalog.sessions.known(), key=lambda row: (row[0], int(row[1][1:]))):
        versions.setdefault(session_id, []).append(version)
    catalog.close()
    return [_listed(store, row, versions[row.id]) for row in rows]


def _listed(store: Store, row: SessionRow, versions: Sequence[str]) -> dict[str, Any]:
    streams = [stream for stream in row.manifest.get("streams", ()) if isinstance(stream, dict)]
    ends_s = [float(s.get("start_s") or 0) + float(s.get("duration_s") or 0) for s in streams]
    return {
        "session": row.id,
        "version": row.version,
        "versions": list(versions),
        "subject": str(row.manifest.get("subject", "")),
        "modalities": list(dict.fromkeys(str(s.get("modality", "")) for s in streams)),
        "duration_s": max(ends_s, default=0.0),
        "file": str(store.sessions / row.id / row.version / "session.nwb"),
    }
