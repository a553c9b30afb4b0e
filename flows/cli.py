"""The command line: commands as `neuroloom --help` lists them, one of a few `cli_*.py` files each.

Each command imports its parts when it runs, so help comes at once. `main.py` is the entry point, with the exit codes.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from neuroloom.flows import (
    cli_care,
    cli_first,
    cli_inbox,
    cli_recordings,
    cli_review,
    cli_runs,
    cli_sessions,
    cli_space,
    cli_studies,
)
from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import document, lines, say, table
from neuroloom.pipeline.store import Store

app = typer.Typer(
    name="neuroloom",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cli_first.register(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        lines(f"neuroloom {version('neuroloom')}")
        raise typer.Exit


@app.callback()
def _whole(
    of_this: Annotated[
        bool, typer.Option("--version", help="Show it and exit.", callback=_say_version, is_eager=True)
    ] = False,
    store: StoreOption = None,
) -> None:
    """Neural recordings become training data; training data becomes networks shaped like a brain."""
    if store is not None:  # as if it stood after the command, where another one still wins
        os.environ["NEUROLOOM_STORE"] = str(store)


@app.command()
def demo(store: StoreOption = None) -> None:
    """The whole story on a synthetic person, beside the truth.

    Recorded, dropped, ingested, sorted, trained on; it takes three minutes.
    """
    from neuroloom.flows.demo import run_demo

    missed = run_demo(Store.here(store))
    for line in missed:
        say(f"missed: {line}")
    raise typer.Exit(1 if missed else 0)


@app.command()
def up(store: StoreOption = None) -> None:
    """Everything: dashboard, schedules, inbox, review pages.

    Ctrl-C ends all of it.
    """
    from neuroloom.flows.up import run_up

    run_up(Store.here(store))


for part in (cli_recordings, cli_sessions, cli_inbox):
    part.register(app)


@app.command()
def doctor(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """What is installed, reachable and writable.

    Exit 1: something is not.
    """
    from neuroloom.flows.doctor import checks

    rows = checks(Store.here(store))
    if as_json:
        document({"checks": rows})
    else:
        table(("", "check", "found"), [("ok" if row["ok"] else "NOT", row["check"], row["found"]) for row in rows])
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


for part in (cli_review, cli_care, cli_runs, cli_studies, cli_space):
    part.register(app)
