"""The command about what reviewers say: verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import by_stream, document, lines

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
    good_channels: Annotated[
        str | None,
        typer.Option(help="Likewise: used although a file or a check calls them bad.", show_default=False),
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
    from neuroloom.pipeline.store import Store, StoreError

    place = Store.here(store).existing()
    is_run = name in place.run_names() and name not in place.session_ids()
    if not (is_run or place.versions(name)):
        raise StoreError(f"{name}: no such session or run in {place.root}; `neuroloom sessions` lists sessions")
    if said is None and (note or by or bad_channels is not None or good_channels is not None):
        raise typer.BadParameter("nothing was said; accept, reject or note is wanted", param_hint="VERDICT")
    if said is not None:
        named = {"bad_channels": _listed(bad_channels), "good_channels": _listed(good_channels)}
        _judge(place, name, said, note=note, by=by or _login(), named=named, is_run=is_run)
        show_verdicts(place, name, is_run=is_run)
    history = verdicts.of_run(place, name) if is_run else verdicts.of_session(place, name)
    holds = verdicts.standing(history)
    if as_json:
        found: dict[str, Any] = {"run" if is_run else "session": name, "verdict": holds.verdict}
        found |= {"bad_channels": holds.bad_channels, "good_channels": holds.good_channels}
        found |= {"history": [verdicts.row(one) for one in history]}
        document(found)
        return
    lines(f"{name}: {holds.verdict or 'not judged'}", *[f"  {_line(one)}" for one in history])


def _judge(
    place: Store, name: str, said: str, *, note: str, by: str, named: dict[str, list[str] | None], is_run: bool
) -> None:
    from neuroloom.pipeline import verdicts

    if is_run:
        if said_of := [key for key, names in named.items() if names is not None]:
            option = f"--{said_of[0].replace('_', '-')}"
            raise typer.BadParameter(f"{name} is a run; only sessions have channels", param_hint=option)
        verdicts.judge_run(place, name, said, by=by, note=note)
        return
    bad, good = named["bad_channels"], named["good_channels"]
    verdicts.judge_session(place, name, said, by=by, note=note, bad_channels=bad, good_channels=good)


def _listed(names: str | None) -> list[str] | None:
    """The names of an option; None where it was left out."""
    if names is None:
        return None
    listed = [] if names == "none" else [n.strip() for n in names.split(",") if n.strip()]
    if not listed and names != "none":  # as of a variable of the shell that is not set
        raise typer.BadParameter(f"{names!r} names no channel; 'none' takes all back")
    return listed


def _line(one: Verdict) -> str:
    line = one.sentence
    for word, of in (("bad", one.bad_channels), ("good", one.good_channels)):
        line += f"  ({word}: {by_stream(of)})" if of else ""
    return line


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
