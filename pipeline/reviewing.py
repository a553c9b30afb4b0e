"""From a store to its review pages: what the pages show is taken from the catalog and the manifests."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroloom.pipeline import verdicts
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import OPEN, RETRY, RunRow, SessionRow
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store, StoreError

if TYPE_CHECKING:
    from neuroloom.pipeline.review import views
    from neuroloom.pipeline.review.run_folder import RunView
    from neuroloom.pipeline.review.run_scores import ScoreValue

log = logging.getLogger(__name__)
MOST_DROPS = 200
MOST_OTHERS = 12  # runs that are looked at for what can be compared
MAIN_METRIC = "bits per spike"
GOES_ON = "asked for again as it was, it goes on where it stopped"  # whatever kind of run


def review_session(store: Store, session_id: str) -> Path:
    """Write the page of a session's newest version; gives its path."""
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.review import write_session

    history = verdicts.of_session(store, session_id)
    return write_session(Session.open(store.latest(session_id)), store.review, history, store.derived)


def review_run(store: Store, name: str) -> Path:
    """Write the page of a run; gives its path."""
    from neuroloom.pipeline import studying
    from neuroloom.pipeline.review import write_run
    from neuroloom.pipeline.review.run_folder import RunView

    if (store.run_folder(name) / studying.REQUEST).is_file():
        studying.conclude(name, store)
        return store.review / f"run-{name}.html"
    view = RunView.read(store.run_folder(name))
    catalog = Catalog.of(store)
    why = next((_why(row) for row in catalog.runs.every() if row.name == name), "")
    catalog.close()
    if why:
        view = replace(view, notes=(f"{why[:1].upper()}{why[1:]}.", *view.notes))
    return write_run(view, store.review, verdicts.of_run(store, name), _others(store, name))


@contextmanager
def run_shown(store: Store, name: str) -> Iterator[Path]:
    """A run's page while it trains, and then what came of it, or why it stopped; gives its path."""
    page = review_run(store, name)
    try:
        yield page
    except BaseException:
        with suppress(OSError, ValueError):  # what stopped it is what is told
            review_run(store, name)
            review_index(store)
        raise
    review_run(store, name)
    review_index(store)


def _others(store: Store, name: str) -> list[RunView]:
    """The runs that were scored last, but this one, the newest first."""
    from neuroloom.pipeline.review.run_folder import RunView
    from neuroloom.pipeline.review.run_scores import SCORES

    folders = [store.run_folder(other) for other in store.run_names() if other != name]
    scored = [folder for folder in folders if (folder / SCORES).is_file()]
    scored.sort(key=lambda folder: (folder / SCORES).stat().st_mtime, reverse=True)
    return [RunView.read(folder) for folder in scored[:MOST_OTHERS]]


def show_verdicts(store: Store, name: str, *, is_run: bool) -> None:
    """Write what reviewers said into the page of a session or a run, without drawing it anew, and the front page."""
    from neuroloom.pipeline.review.page import write_part
    from neuroloom.pipeline.review.run_page import run_page
    from neuroloom.pipeline.review.session_page import session_page
    from neuroloom.pipeline.review.views import Judged

    page = run_page(name, store.review) if is_run else session_page(name, store.review)
    history = verdicts.of_run(store, name) if is_run else verdicts.of_session(store, name)
    judged = Judged(kind="runs" if is_run else "sessions", name=name, history=history)
    write_part(page, "verdicts", "_verdicts.html", "history", judged)
    review_index(store)


def renew(store: Store, page: str) -> bool:
    """Draw the page of that file name anew, which another version of neuroloom wrote; False where nothing can be drawn.

    What it is of may be gone, and what it is of may no longer be readable: the page then stays as it was.
    """
    from neuroloom.pipeline.review.compare_page import compared_in
    from neuroloom.pipeline.review.run_page import run_page
    from neuroloom.pipeline.review.session_page import session_page

    path = store.review / page
    session = next((one for one in store.session_ids() if session_page(one, store.review) == path), None)
    runs = {run_page(one, store.review).name: one for one in store.run_names()}
    compared = [runs.get(one, "") for one in compared_in(path)] if page.startswith("compare-") else []
    try:
        if page == "index.html":
            review_index(store)
        elif session is not None:
            review_session(store, session)
        elif page in runs:
            review_run(store, runs[page])
        elif compared and all(compared):
            review_compared(store, compared)
        else:
            return False
    except (OSError, ValueError, StoreError) as error:
        log.warning("%s: could not be drawn anew: %s", page, error)
        return False
    return True


def review_compared(store: Store, names: Sequence[str]) -> Path:
    """Write the page of several runs side by side; gives its path."""
    from neuroloom.pipeline.review import write_compare

    return write_compare([store.run_folder(name) for name in names], store.review)


def compared_remarks(store: Store, names: Sequence[str]) -> list[str]:
    """Why the scores of these runs cannot be compared, where they cannot."""
    from neuroloom.pipeline.review.comparison import remarks
    from neuroloom.pipeline.review.run_folder import RunView

    return remarks([RunView.read(store.run_folder(name)) for name in names])


def review_index(store: Store) -> Path:
    """Write the front page: inbox, quarantine, sessions, runs; gives its path."""
    from neuroloom.pipeline.review import write_index
    from neuroloom.pipeline.review.views import DropRow, IndexView, QuarantineRow

    catalog = Catalog.of(store)
    try:
        view = IndexView(
            store=store.root.name,
            made=datetime.now(UTC),
            drops=tuple(
                DropRow(name=d.name, state=d.state, reason=d.reason, when=_utc(d.changed_at))
                for d in catalog.drops.newest(MOST_DROPS, OPEN)
            ),
            waiting={state: n for state, n in catalog.drops.counts().items() if state in OPEN},
            sessions=_session_rows(store, catalog),
            quarantine=tuple(
                QuarantineRow(name=entry.id, reason=entry.reason, when=_utc(entry.since))
                for entry in sorted(custody.refused(store), key=lambda entry: -entry.since)
            ),
            runs=_compared([_run_row(store, row) for row in catalog.runs.every()]),
            health=_health(store, catalog),
        )
    finally:
        catalog.close()
    return write_index(view, store.review)


def _health(store: Store, catalog: Catalog) -> views.HealthView:
    from neuroloom.pipeline.care.checking import health
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


def _session_rows(store: Store, catalog: Catalog) -> tuple[views.SessionRow, ...]:
    """The newest version of every session, last published first; findings beside those of the subject's one before."""
    newest = catalog.sessions.newest("subject", "start", "streams", "quality", "sources")
    said: dict[str, list[dict[str, Any]]] = {row.id: [] for row in newest}
    for version in catalog.sessions.every("verdicts"):  # some may have come, or gone, since the question above
        said.setdefault(version.id, []).append(version.manifest)
    rows = [replace(_session_row(store, row), verdict=_verdict(said[row.id])) for row in newest]
    before: dict[str, int] = {}
    more: dict[str, int] = {}
    for row in sorted((row for row in rows if row.start is not None), key=lambda row: str(row.start)):
        if row.subject in before:
            more[row.id] = row.n_findings - before[row.subject]
        before[row.subject] = row.n_findings
    rows.sort(key=lambda row: str(row.published), reverse=True)
    return tuple(replace(row, n_more=more.get(row.id)) for row in rows)


def _verdict(manifests: list[dict[str, Any]]) -> str:
    return verdicts.standing(verdicts.of_manifests(manifests)).verdict


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
        published=_utc(row.published_at),
    )


def _compared(rows: list[tuple[views.RunRow, ScoreValue | None]]) -> tuple[views.RunRow, ...]:
    """Each run, the newest first, beside the last one before it that has the same score."""
    last: dict[str, tuple[str, ScoreValue]] = {}
    found = []
    for row, score in rows:
        if score is not None:
            if row.metric in last:
                name, before = last[row.metric]
                row = replace(row, before=name, change=score.value - before.value, is_clear=_are_apart(score, before))
            last[row.metric] = row.name, score
        found.append(row)
    return tuple(reversed(found))


def _are_apart(one: ScoreValue, other: ScoreValue) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low > other.high or one.high < other.low


def _run_row(store: Store, row: RunRow) -> tuple[views.RunRow, ScoreValue | None]:
    """A run with its main score: of the network over all areas, spikes first."""
    from neuroloom.pipeline.review.run_scores import NETWORK, scores_in
    from neuroloom.pipeline.review.views import RunRow as Shown

    folder = store.run_folder(row.name)
    scored = [s for s in scores_in(folder) if not s.area and NETWORK in s.values] if folder.is_dir() else []
    whole = next((s for s in scored if s.metric == MAIN_METRIC), scored[0] if scored else None)
    shown = Shown(
        name=row.name,
        state=row.state,
        started=_utc(row.started_at),
        metric=f"{whole.metric}, {whole.port}" if whole else "",
        score=whole.values[NETWORK].value if whole else None,
        page=_page(store, f"run-{row.name}.html"),
        verdict=verdicts.standing(verdicts.of_run(store, row.name)).verdict if folder.is_dir() else "",
        reason=_why(row),
    )
    return shown, whole.values[NETWORK] if whole else None


def _why(row: RunRow) -> str:
    """Why a run stands where it stands, and what a person can do about it."""
    return f"{row.reason.rstrip('.')}; {GOES_ON}" if row.state == RETRY and row.reason else row.reason


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _page(store: Store, name: str) -> str:
    return name if (store.review / name).is_file() else ""
