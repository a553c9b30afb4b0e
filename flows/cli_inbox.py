"""The commands that say what became of drops: inbox, quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuroloom.flows.cli_recordings import ingest
from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import document, lines, say, table
from neuroloom.pipeline.store import Store

MOST_NAMED = 5


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (inbox, quarantine):
        app.command()(command)


def inbox(
    last: Annotated[
        int | None,
        typer.Option(min=1, help="So many, the newest; by default 500, with --json all.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Every drop, its state, and why it waits."""
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.catalog.tables import OPEN
    from neuroloom.pipeline.drops.inbox import unseen
    from neuroloom.pipeline.noting import note_all
    from neuroloom.pipeline.settings import wrong_settings

    place = Store.here(store).existing()
    catalog = Catalog.of(place)
    note_all(place, catalog)
    n_shown = last if as_json or last is not None else 500
    drops = catalog.drops.every() if n_shown is None else catalog.drops.newest(n_shown)[::-1]
    rows = [drop.as_dict() for drop in drops]
    n_earlier = sum(catalog.drops.counts().values()) - len(rows)
    unwatched = unseen(place.inbox, catalog.drops.every(*OPEN))
    catalog.close()
    if wrong := wrong_settings(place):
        say(f"drops wait, and nothing new begins: {wrong}")
    if as_json:
        document({"drops": rows, "unseen": unwatched})
        return
    shown = [(r["id"], r["name"], r["state"], r["reason"] or ", ".join(r["sessions"])) for r in rows]
    heading = ("drop", "name", "state", "reason, or session")
    table(heading, shown, "" if unwatched else f"nothing was dropped yet; `neuroloom up` watches {place.inbox}")
    if unwatched:
        named = ", ".join(unwatched[:MOST_NAMED]) + (", ..." if len(unwatched) > MOST_NAMED else "")
        say(f"not looked at yet, which `neuroloom up` does, of what lies in {place.inbox}: {len(unwatched)} ({named})")
    if n_earlier > 0:
        say(f"{n_earlier} earlier ones are not shown; --last {n_earlier + len(rows)} shows them")


def quarantine(
    action: Annotated[
        str | None, typer.Argument(metavar="retry", help="Puts an entry back.", show_default=False)
    ] = None,
    entry_id: Annotated[str | None, typer.Argument(metavar="ID", help="As listed.", show_default=False)] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """What was refused, and why.

    `quarantine retry ID` puts it back into the inbox, or ingests it again.
    """
    from neuroloom.pipeline.drops import custody

    place = Store.here(store).existing()
    if action is None:
        rows = [{"id": e.id, "path": e.path, "reason": e.reason, "kept": e.kept} for e in custody.refused(place)]
        if as_json:
            document({"quarantine": rows})
        else:
            shown = [(row["id"], row["reason"], "" if row["kept"] else row["path"]) for row in rows]
            table(("id", "reason", "lies at"), shown, "nothing was refused")
        return
    if action != "retry" or entry_id is None:
        raise typer.BadParameter("'quarantine' alone lists; 'quarantine retry ID' puts one back")
    entry = custody.release(place, entry_id)
    if not entry.kept:
        ingest([Path(entry.path)], as_json=as_json, store=place.root)
    elif as_json:
        document({"retried": entry_id, "inbox": str(place.inbox)})
    else:
        lines(f"{entry_id}: back in {place.inbox}; a running `neuroloom up` takes it from there")
