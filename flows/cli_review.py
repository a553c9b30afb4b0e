"""The command about what reviewers say: verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import document, lines

if TYPE_CHECKING:
    from neuroloom.pipeline.store import Store
    from neuroloom.pipeline.verdicts import Verdict


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(verdict)


def verdict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a session or a run.")],
    said: Annotated[
        str | None,
        typer.Argument(metavar="accept|reject|note", help="Nothing shows what was said.", show_default=False),
    ] = None,
    note: Annotated[str, typer.Option(help="Why, in words.")] = "",
    bad_channels: Annotated[
        str | None,
        typer.Option(help="The whole list, as 'Fp1,O2' or 'eeg:Fp1'; 'none' takes all back.", show_default=False),
    ] = None,
    by: Annotated[str, typer.Option(help="Who says so; your login name if left out.")] = "",
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Accept or reject a session or a run, or show who did.

    With a note, and the channels that are bad; the next training goes by it.
    """
    from neuroloom.pipeline import verdicts
    from neuroloom.pipeline.reviewing import show_verdicts
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    is_run = name in place.run_names() and name not in place.session_ids()
    if said is not None:
        _judge(place, name, said, note=note, by=by or _login(), named=bad_channels, is_run=is_run)
        show_verdicts(place, name, is_run=is_run)
    history = verdicts.of_run(place, name) if is_run else verdicts.of_session(place, name)
    holds = verdicts.standing(history)
    if as_json:
        found: dict[str, Any] = {"run" if is_run else "session": name, "verdict": holds.verdict}
        found |= {"bad_channels": holds.bad_channels, "history": [verdicts.row(one) for one in history]}
        document(found)
        return
    lines(f"{name}: {holds.verdict or 'not judged'}", *[f"  {_line(one)}" for one in history])


def _judge(place: Store, name: str, said: str, *, note: str, by: str, named: str | None, is_run: bool) -> None:
    from neuroloom.pipeline import verdicts

    if is_run:
        if named is not None:
            raise typer.BadParameter(f"{name} is a run; only sessions have channels", param_hint="--bad-channels")
        verdicts.judge_run(place, name, said, by=by, note=note)
        return
    bad = None if named is None else [] if named == "none" else [n.strip() for n in named.split(",") if n.strip()]
    verdicts.judge_session(place, name, said, by=by, note=note, bad_channels=bad)


def _line(one: Verdict) -> str:
    bad = "; ".join(f"{stream}: {', '.join(names)}" for stream, names in one.bad_channels.items())
    return one.sentence + (f"  (bad: {bad})" if bad else "")


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
