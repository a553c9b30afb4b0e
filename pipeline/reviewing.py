"""From a store to its review pages: what the pages show is taken from the catalog and the manifests."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from neuroloom.pipeline import custody
from neuroloom.pipeline.catalog import DONE, Catalog, RunRow, SessionRow
from neuroloom.pipeline.store import Store

if TYPE_CHECKING:
    from neuroloom.pipeline.review import views

MOST_DROPS = 200
ADVICE = "mend it and drop it again, or put it back with `neuroloom quarantine retry`"


def review_session(store: Store, session_id: str) -> Path:
    """Write the page of a session's newest version; gives its path."""
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.review import write_session

    return write_session(Session.open(store.latest(session_id)), store.review)


def review_run(store: Store, name: str) -> Path:
    """Write the page of a run; gives its path."""
    from neuroloom.pipeline import studying
    from neuroloom.pipeline.review import write_run

    if (store.run_folder(name) / studying.REQUEST).is_file():
        studying.conclude(name, store)
        return store.review / f"run-{name}.html"
    return write_run(store.run_folder(name), store.review)


def review_index(store: Store) -> Path:
    """Write the front page: inbox, quarantine, sessions, runs; gives its path."""
    from neuroloom.pipeline.review import write_index
    from neuroloom.pipeline.review.views import DropRow, IndexView, QuarantineRow

    catalog = Catalog.of(store)
    try:
        open_drops = catalog.newest_drops(MOST_DROPS, but=[DONE])
        view = IndexView(
            store=store.root.name,
            made=datetime.now(UTC),
            drops=tuple(
                DropRow(name=d.name, state=d.state, reason=d.reason, when=_utc(d.changed_at)) for d in open_drops
            ),
            sessions=tuple(_session_row(store, row) for row in catalog.newest_sessions()),
            quarantine=tuple(
                QuarantineRow(name=entry.id, reason=entry.reason, advice=ADVICE, when=_utc(entry.since))
                for entry in custody.refused(store)
            ),
            runs=tuple(_run_row(store, row) for row in catalog.runs()),
            health=_health(store, catalog),
        )
    finally:
        catalog.close()
    return write_index(view, store.review)


def _health(store: Store, catalog: Catalog) -> views.HealthView:
    from neuroloom.pipeline.checking import health
    from neuroloom.pipeline.review.views import DamageRow, HealthView

    found = health(store, catalog)
    return HealthView(
        sentence=found.sentence,
        checked=None if found.checked_at is None else _utc(found.checked_at),
        oldest=None if found.oldest_at is None else _utc(found.oldest_at),
        damaged=tuple(
            DamageRow(
                session=row["session"],
                version=row["version"],
                what=tuple(f"{d['file']} {d['dataset']}: {d['problem']}" for d in row["damage"][:20]),
                advice=row["advice"],
                when=_utc(row["checked_at"]),
            )
            for row in found.damaged
        ),
    )


def _session_row(store: Store, row: SessionRow) -> views.SessionRow:
    from neuroloom.pipeline.review.views import SessionRow as Shown

    streams = [stream for stream in row.manifest.get("streams", ()) if isinstance(stream, dict)]
    ends = [float(s.get("start_s") or 0) + float(s.get("duration_s") or 0) for s in streams]
    found = [of for of in row.manifest.get("quality", {}).values() if isinstance(of, dict)]
    start = row.manifest.get("start")
    modalities = tuple(dict.fromkeys(str(s.get("modality", "")) for s in streams))
    expected = dict.fromkeys(name for source in row.manifest.get("sources", ()) for name in source.get("expects", ()))
    return Shown(
        id=row.id,
        subject=str(row.manifest.get("subject", "")),
        start=datetime.fromisoformat(start) if start else None,
        duration_s=max(ends, default=0.0),
        modalities=modalities,
        missing=tuple(name for name in expected if name not in modalities),
        version=row.version,
        n_findings=sum(len(of.get("bad_channels", ())) + len(of.get("notes", ())) for of in found),
        page=_page(store, f"{row.id}.html"),
    )


def _run_row(store: Store, row: RunRow) -> views.RunRow:
    from neuroloom.pipeline.review.run_folder import NETWORK, RunView
    from neuroloom.pipeline.review.views import RunRow as Shown

    folder = store.run_folder(row.name)
    scored = RunView.read(folder).scores if folder.is_dir() else ()
    whole = next((score for score in scored if not score.area and NETWORK in score.values), None)
    return Shown(
        name=row.name,
        state=row.state,
        started=_utc(row.started_at),
        n_sessions=len(row.summary.get("sessions", ())),
        metric=f"{whole.metric}, {whole.port}" if whole else "",
        score=whole.values[NETWORK].value if whole else None,
        page=_page(store, f"run-{row.name}.html"),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _page(store: Store, name: str) -> str:
    return name if (store.review / name).is_file() else ""
