"""The commands that look after sessions once they are there: amend, affected, reingest, migrate, export, withdraw."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, SessionArgument, SorterOption, StoreOption
from neuroloom.flows.printing import document, lines, say, table

Reader = Annotated[str, typer.Option("--reader", help="A format's name.")]
Version = Annotated[str, typer.Option("--version", help="Of the library when the session was made, as '<1.4'.")]
Library = Annotated[str, typer.Option("--library", help="Whose version; the reader's package, or neuroloom.")]
File = Annotated[str, typer.Option("--file", help="A file's name, or the beginning of its digest.")]
Decision = Annotated[str, typer.Option("--decision", help="Text in how a stream or a clock map came to be.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (amend, affected, reingest, migrate, export, withdraw):
        app.command()(command)


def amend(
    session_id: SessionArgument,
    why: Annotated[str, typer.Option(help="Why; kept in the lineage.")],
    subject: Annotated[str | None, typer.Option(help="The right subject code.", show_default=False)] = None,
    session: Annotated[str | None, typer.Option(help="The right session.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="The right task.", show_default=False)] = None,
    run: Annotated[str | None, typer.Option(help="The right run.", show_default=False)] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Mend a wrong subject, session, task or run code.

    A new session follows the old one, which is kept.
    """
    from neuroloom.pipeline.care import amending
    from neuroloom.pipeline.reviewing import review_index, review_session

    place = _store(store)
    folder = amending.amend(place, session_id, why=why, subject=subject, session=session, task=task, run=run)
    review_session(place, folder.parent.name)
    review_index(place)
    found = {
        "session": folder.parent.name,
        "version": folder.name,
        "file": str(folder / "session.nwb"),
        "was": session_id,
    }
    if as_json:
        document(found)
    else:
        lines(f"{session_id} is {found['session']} now", f"  {found['file']}")


def withdraw(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Their code.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without, only list what would go.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """A person withdraws: list all that comes from them.

    --yes removes it.
    """
    from neuroloom.pipeline.care import withdrawing
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.reviewing import review_index

    place = _store(store)
    if yes:
        catalog = Catalog.of(place)
        found = withdrawing.withdraw(place, catalog, subject)
        catalog.close()
        review_index(place)
    else:
        found = withdrawing.derived_from(place, subject)
    rows = [(kind, e.path.relative_to(place.root).as_posix(), e.n_bytes) for kind, e in found.entries]
    if as_json:
        went = [{"kind": kind, "path": path, "n_bytes": n, "removed": yes} for kind, path, n in rows]
        document({"subject": subject, "entries": went, "left": list(found.left)})
        return
    table(("", "what", "MB"), [(kind, path, f"{n / 1e6:.1f}") for kind, path, n in rows])
    lines(*(f"left: {line}" for line in found.left))
    lines(f"{len(rows)} removed; deleted.jsonl keeps count" if yes else f"{len(rows)} would be removed; --yes does it")


def affected(
    reader: Reader = "",
    version: Version = "",
    library: Library = "",
    file: File = "",
    decision: Decision = "",
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Sessions and runs that a reader, version or file touched.

    Or a decision: text in how a stream or a clock map came to be.
    """
    found = _affected(_store(store), reader, version, library, file, decision)
    if as_json:
        document(found)
        return
    sessions = [(r["session"], r["version"], "; ".join(r["why"])) for r in found["sessions"]]
    table(("session", "version", "why"), sessions, "no session was touched")
    table(("run", "trained on"), [(row["run"], ", ".join(row["sessions"])) for row in found["runs"]])


def reingest(
    session_ids: Annotated[
        list[str] | None, typer.Argument(metavar="SESSION", help="Or say what touched them.")
    ] = None,
    why: Annotated[str, typer.Option(help="Why; kept in the lineage.")] = "read again",
    reader: Reader = "",
    version: Version = "",
    library: Library = "",
    file: File = "",
    decision: Decision = "",
    sorter: SorterOption = None,
    train: Annotated[bool, typer.Option("--train", help="And train what was trained on them again.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Make sessions anew from their originals.

    A new version only where something changed. Exit 3: some failed.
    """
    from neuroloom.pipeline.boxed.box import BoxError, box_of
    from neuroloom.pipeline.care.amending import current
    from neuroloom.pipeline.care.reingesting import reingest as made_anew
    from neuroloom.pipeline.settings import AS_SET, Settings

    place = _store(store)
    chosen = list(dict.fromkeys(session_ids or []))
    touch = (reader, version, library, file, decision)
    if chosen and any(touch):
        raise typer.BadParameter("sessions, or what touched them; one of both is wanted", param_hint="SESSION")
    for session_id in chosen:
        current(place, session_id)
    if not chosen:
        touched = _affected(place, *touch)["sessions"]
        chosen = sorted({row["session"] for row in touched if place.latest(row["session"]).name == row["version"]})
        if not chosen:
            say("no session's newest version was touched")
    settings = Settings.of(place)
    how: dict[str, Any] = {"why": why, "sorter": None if sorter == "none" else sorter or AS_SET, "progress": say}
    results: list[dict[str, Any]] = []
    with box_of(place, settings.box) as inside:
        for session_id in chosen:
            try:
                results.append(made_anew(place, session_id, inside=inside, **how))
            except (ValueError, OSError, BoxError) as error:
                told = {"version": "", "changed": [], "reason": " ".join(str(error).split())}
                results.append({"session": session_id, "state": "failed", **told})
    _pages(place, [row["session"] for row in results if row["state"] == "reingested"])
    runs = _trained_again(place, chosen, train)
    if as_json:
        document({"results": results, "runs": runs})
    else:
        for row in results:
            reason = row.get("reason", "").removeprefix(f"{row['session']}: ")
            became = f" {row['version']}" if row["version"] else f": {reason}"
            lines(f"{row['session']}: {row['state']}{became}")
            lines(*[f"  {name}" for name in row["changed"][:20]])
        for run in runs:
            became = (
                f"trained again as {run['again']}"
                if run["again"]
                else "was trained on older versions; --train trains it again"
            )
            lines(f"{run['run']}: {became}")
    raise typer.Exit(3 if any(row["state"] == "failed" for row in results) else 0)


def _trained_again(place: Any, sessions: list[str], train: bool) -> list[dict[str, str]]:
    """Runs on older versions of these sessions; where asked for, trained again on the newest."""
    from neuroloom.pipeline.care.outdated_runs import outdated, prepare_again
    from neuroloom.pipeline.reviewing import run_shown
    from neuroloom.pipeline.runs.running import train_run

    found = []
    for name in outdated(place, sessions):
        again = prepare_again(place, name) if train else ""
        if again:
            say(f"{again}: training, as {name} was")
            with run_shown(place, again):
                train_run(again, place)
        found.append({"run": name, "again": again})
    return found


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is older.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Bring what an older neuroloom wrote up to date.

    Catalog, session files, pages. Exit 3: some could not be.
    """
    from neuroloom.pipeline.care.migrating import migrate as brought

    found = brought(_store(store), dry_run=dry_run, progress=say)
    rows = [row for part in found.values() for row in part]
    if as_json:
        document(found)
    elif not rows:
        lines("nothing here is older than this neuroloom")
    else:
        shown = [
            (r["name"], r["from"], r["to"], f"{r['state']}: {r['reason']}" if r["reason"] else r["state"]) for r in rows
        ]
        table(("what", "from", "to", "state"), shown)
    raise typer.Exit(3 if any(row["state"] == "failed" for row in rows) else 0)


def export(
    session_id: SessionArgument,
    out: Annotated[Path, typer.Option(help="The BIDS dataset to add it to, or the new folder.")],
    to: Annotated[str, typer.Option(help="bids, or portable: NWB that opens with nothing extra.")] = "bids",
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Hand a session on, as BIDS or as plain NWB."""
    from datetime import date

    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.care.amending import current
    from neuroloom.pipeline.care.exporting import export_bids, export_portable
    from neuroloom.pipeline.store import StoreError
    from neuroloom.pipeline.subjects import Subjects

    place = _store(store)
    if why := Subjects.of(place).objection(session_id, date.today()):
        raise StoreError(f"{session_id}: {why}; it cannot be handed on")
    ways = {"bids": export_bids, "portable": export_portable}
    if to not in ways:
        raise typer.BadParameter(f"{to!r}; one of {', '.join(ways)} is wanted", param_hint="--to")
    if out.resolve().is_relative_to(place.root.resolve()):
        raise StoreError(f"{out}: lies in the store; a folder outside of it is wanted")
    with Session.open(current(place, session_id)) as session:
        found = ways[to](session, out)
    if as_json:
        document({"session": session_id, "files": [str(file) for file in found.files], "left_out": found.left_out})
        return
    lines(*(str(file) for file in found.files), *(f"left out: {name}: {why}" for name, why in found.left_out.items()))


def _affected(place: Any, reader: str, version: str, library: str, file: str, decision: str) -> dict[str, Any]:
    from neuroloom.pipeline.care.tracing import Touch, affected

    return affected(place, Touch(reader=reader, version=version, library=library, file=file, decision=decision))


def _pages(place: Any, sessions: list[str]) -> None:
    from neuroloom.pipeline.reviewing import review_index, review_session

    for session_id in sessions:
        review_session(place, session_id)
    review_index(place)


def _store(root: Path | None) -> Any:
    from neuroloom.pipeline.store import Store

    return Store.here(root).existing()
