"""From a store to its review pages: what the pages show is taken from the catalog and the manifests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neuroloom.pipeline import custody
from neuroloom.pipeline.catalog import DONE, Catalog, SessionRow
from neuroloom.pipeline.store import Store

ADVICE = "mend it and drop it again, or put it back with `neuroloom quarantine retry`"


def review_session(store: Store, session_id: str) -> Path:
    """Write the page of a session's newest version; gives its path."""
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.review import write_session

    return write_session(Session.open(store.latest(session_id)), store.review)


def review_run(store: Store, name: str) -> Path:
    """Write the page of a run; gives its path."""
    from neuroloom.pipeline.review import write_run

    return write_run(store.run_folder(name), store.review)


def review_index(store: Store) -> Path:
    """Write the front page: inbox, quarantine, sessions, runs; gives its path."""
    from neuroloom.pipeline.review import write_index
    from neuroloom.pipeline.review.views import DropRow, IndexView, QuarantineRow, RunRow

    catalog = Catalog.of(store)
    try:
        open_drops = [drop for drop in reversed(catalog.drops()) if drop.state != DONE][:200]
        view = IndexView(
            store=store.root.name,
            made=datetime.now(UTC),
            drops=tuple(
                DropRow(name=d.name, state=d.state, reason=d.reason, when=datetime.fromtimestamp(d.changed_at, UTC))
                for d in open_drops
            ),
            sessions=tuple(_session_row(store, row) for row in _newest(catalog.sessions())),
            quarantine=tuple(
                QuarantineRow(name=entry.id, reason=entry.reason, advice=ADVICE) for entry in custody.refused(store)
            ),
            runs=tuple(
                RunRow(
                    name=row.name,
                    state=row.state,
                    started=datetime.fromtimestamp(row.started_at, UTC),
                    page=_page(store, f"run-{row.name}.html"),
                )
                for row in catalog.runs()
            ),
        )
    finally:
        catalog.close()
    return write_index(view, store.review)


def _newest(rows: list[SessionRow]) -> list[SessionRow]:
    newest = {row.id: row for row in sorted(rows, key=lambda r: int(r.version[1:]))}
    return [newest[session_id] for session_id in sorted(newest)]


def _session_row(store: Store, row: SessionRow) -> Any:
    from neuroloom.pipeline.review.views import SessionRow as Shown

    streams = [stream for stream in row.manifest.get("streams", ()) if isinstance(stream, dict)]
    ends = [float(s.get("start_s") or 0) + float(s.get("duration_s") or 0) for s in streams]
    return Shown(
        id=row.id,
        subject=str(row.manifest.get("subject", "")),
        duration_s=max(ends, default=0.0),
        modalities=tuple(dict.fromkeys(str(s.get("modality", "")) for s in streams)),
        version=row.version,
        page=_page(store, f"{row.id}.html"),
    )


def _page(store: Store, name: str) -> str:
    return name if (store.review / name).is_file() else ""
