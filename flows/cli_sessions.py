"""The commands that look at sessions: sessions, show, verify."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, SessionArgument, StoreOption
from neuroloom.flows.printing import document, lines, table
from neuroloom.flows.session_lines import (
    check_line,
    clock_checks,
    ledger_lines,
    quality_lines,
    stream_line,
    sync_line,
)
from neuroloom.pipeline.store import Store

NO_SESSION = "no session yet; `neuroloom ingest PATH` brings recordings in, or `neuroloom up` and its inbox"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (sessions, show, verify):
        app.command()(command)


def sessions(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Every session, with its newest version."""
    place = Store.here(store).existing()
    from neuroloom.pipeline.listing import listed_sessions

    rows = listed_sessions(place)
    if as_json:
        document({"sessions": rows})
        return
    shown = [(r["session"], r["version"], r["subject"], ", ".join(r["modalities"]), r["duration_s"]) for r in rows]
    table(
        ("session", "version", "subject", "modalities", "seconds"), [(*r[:4], f"{r[4]:.1f}") for r in shown], NO_SESSION
    )


def show(session_id: SessionArgument, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """One session: streams, clocks, quality, where it came from."""
    from neuroloom.ingest.session import Session

    folder = Store.here(store).existing().latest(session_id)
    with Session.open(folder) as session:
        found = session.summary()
        found |= {"version": folder.name, "file": str(folder / "session.nwb"), "quality": session.quality}
        found |= {"sources": session.sources, "clock_checks": clock_checks(session)}
    if as_json:
        document(found)
        return
    lines(f"{found['session']} {found['version']}  {found['file']}", f"clock: {found['clock']}")
    lines(*[f"  {stream_line(stream)}" for stream in found["streams"]])
    for sync in found["sync"]:
        lines(f"  {sync_line(sync)}")
        lines(*[f"    {check_line(check)}" for check in found["clock_checks"] if check["from"] == sync["from"]])
    for source in found["sources"]:
        lines(f"  from {', '.join(source.get('files', ()))} ({source.get('format', '')})")
        lines(*[line for entry in source.get("repairs", ()) for line in ledger_lines(entry)])
        lines(*[f"    not read: {name}" for name in source.get("unread", ())])
    lines(*[f"  {line}" for name, finding in found["quality"].items() for line in quality_lines(name, finding)])


def verify(
    session_ids: Annotated[list[str] | None, typer.Argument(metavar="SESSION", help="All where none is named.")] = None,
    for_s: Annotated[
        float | None,
        typer.Option("--for", help="So many seconds, those first that waited longest.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Read every byte of published sessions again.

    Checks digests, checksums, NWB validity. Exit 1: damage found.
    """
    from neuroloom.pipeline.care import checking
    from neuroloom.pipeline.catalog import Catalog

    place = Store.here(store).existing()
    catalog = Catalog.of(place)
    tell = None if as_json else _tell_check
    if for_s is not None:
        if session_ids or not 0 < for_s < math.inf:
            raise typer.BadParameter("so many seconds, above 0, of all sessions", param_hint="--for")
        results = checking.checked_some(place, catalog, budget_s=for_s, progress=tell)
    else:
        folders = [
            folder for name in session_ids or place.session_ids(amended=True) for folder in _versions(place, name)
        ]
        results = checking.checked(place, catalog, folders, tell)
    found = checking.health(place, catalog)
    catalog.close()
    if as_json:
        document({"results": results})
    else:
        lines(found.sentence, *[f"{d['session']} {d['version']}: {d['advice']}" for d in found.damaged])
    raise typer.Exit(0 if all(result["sound"] for result in results) else 1)


def _in_digits(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}"


def _tell_check(result: dict[str, Any]) -> None:
    said = "sound" if result["sound"] else "DAMAGED"
    rate = result["n_bytes"] / 1e6 / max(result["seconds"], 1e-9)
    lines(
        f"{result['session']} {result['version']}: {said}, {result['n_bytes'] / 1e6:.1f} MB at {_in_digits(rate)} MB/s"
    )
    lines(*[f"  {d['file']} {d['dataset']}: {d['problem']}" for d in result["damage"]])


def _versions(store: Store, session_id: str) -> list[Path]:
    store.latest(session_id)
    return store.versions(session_id)
