"""The commands about the disk: space, clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import document, lines, say, table


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (space, clean):
        app.command()(command)


def space(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """What takes how much of the disk, and what may go.

    [retention] in neuroloom.toml says what may.
    """
    place, catalog, kinds = _space(store)
    catalog.close()
    if as_json:
        rows = [
            {"what": k.name, "entries": k.n_entries, "n_bytes": k.n_bytes, "to_go": k.bytes_to_go, "rule": k.rule}
            for k in kinds
        ]
        document({"space": rows, "free": place.free_bytes()})
        return
    shown = [(k.name, k.n_entries, f"{k.n_bytes / 1e6:.1f}", f"{k.bytes_to_go / 1e6:.1f}", k.rule) for k in kinds]
    table(("what", "entries", "MB", "may go, MB", "rule"), shown)
    lines(f"{place.free_bytes() / 1e9:.1f} GB are free")


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Show only, or delete.")] = True,
    only: Annotated[list[str] | None, typer.Option(help="Kinds, as `space` names them; all if left out.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Delete what [retention] gives up, and nothing else.

    Shows it only, unless told --delete; deleted.jsonl keeps count.
    """
    from neuroloom.pipeline.care import retention

    place, catalog, kinds = _space(store)
    unknown = sorted(set(only or ()) - {kind.name for kind in kinds})
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}; one of {', '.join(k.name for k in kinds)} is wanted")
    going = [entry for kind in kinds if not only or kind.name in only for entry in kind.may_go]
    if not dry_run:
        going = retention.clean(place, catalog, going)
    catalog.close()
    rows = [
        {"path": e.path.relative_to(place.root).as_posix(), "n_bytes": e.n_bytes, "why": e.why, "deleted": not dry_run}
        for e in going
    ]
    if as_json:
        document({"clean": rows})
        return
    if not rows:
        say("nothing may be deleted; [retention] in neuroloom.toml says what may")
        return
    table(("what", "MB", "why"), [(row["path"], f"{row['n_bytes'] / 1e6:.1f}", row["why"]) for row in rows])
    total = sum(entry.n_bytes for entry in going) / 1e6
    lines(f"{total:.1f} MB would be deleted; --delete does it" if dry_run else f"{total:.1f} MB deleted")


def _space(store: Path | None) -> tuple[Any, Any, list[Any]]:
    from neuroloom.pipeline.care import retention
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.settings import Settings
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    catalog = Catalog.of(place)
    return place, catalog, retention.space(place, catalog, Settings.of(place).retention)
