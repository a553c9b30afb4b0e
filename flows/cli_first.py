"""The command a store begins with: init."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, SorterOption, StoreOption, known_sorter
from neuroloom.flows.printing import document, lines


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(init)


def init(
    time_zone: Annotated[
        str | None, typer.Option(help="Of the schedules, as Europe/Berlin.", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of the dashboard; 0: any free.", show_default=False)] = None,
    review_port: Annotated[
        int | None, typer.Option(help="Of the review pages; 0: any free.", show_default=False)
    ] = None,
    sorter: SorterOption = None,
    keep_dates: Annotated[
        bool, typer.Option("--keep-dates", help="Publish true dates; they are shifted else.")
    ] = False,
    keep_names: Annotated[bool, typer.Option("--keep-names", help="Publish names; they are left out else.")] = False,
    mail_to: Annotated[list[str] | None, typer.Option(help="Whom to tell of trouble; may be repeated.")] = None,
    retrain: Annotated[
        str | None, typer.Option(help="A training config in the store, trained anew every week.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Any other: SECTION.KEY=VALUE; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the settings that are there.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Make a store, with a neuroloom.toml that explains itself.

    What is asked for is set in it; everything else stands there as a default.
    """
    from neuroloom.pipeline.settings_file import parsed, write_settings
    from neuroloom.pipeline.store import Store

    chosen = parsed(settings or ())
    if isinstance(ingest := chosen.get("ingest"), dict):
        known_sorter(ingest.get("sorter"))
    named: tuple[tuple[str, str, Any], ...] = (
        ("schedules", "time_zone", time_zone),
        ("server", "port", port),
        ("server", "review_port", review_port),
        ("ingest", "sorter", sorter),
        ("privacy", "keep_dates", keep_dates or None),
        ("privacy", "keep_names", keep_names or None),
        ("alerts", "mail_to", mail_to or None),
    )
    for section, key, value in named:
        if value is not None:
            chosen.setdefault(section, {})[key] = value
    if retrain is not None:
        chosen.setdefault("schedules", {}).setdefault("retrain", {})["config"] = retrain
    place = Store.here(store)
    write_settings(place, chosen, replace=force)
    if as_json:
        document({"store": str(place.root), "settings": str(place.settings_file), "set": chosen})
        return
    lines(f"store     {place.root}", f"settings  {place.settings_file}", f"inbox     {place.inbox}")
    lines("`neuroloom up` starts everything, `neuroloom doctor` says whether anything is in its way")
