"""What every command takes: where the store is, and whether a program reads the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path | None, typer.Option("--store", help="The store's folder; NEUROLOOM_STORE, else ./store.", show_default=False)
]


def known_sorter(sorter: str | None) -> str | None:
    """The sorter, if there is one of that name: said before anything is read."""
    if sorter not in (None, "none"):
        from neuroloom.ingest.sorters import SortingError, sorter_named

        try:
            sorter_named(sorter)
        except SortingError as error:
            raise typer.BadParameter(str(error)) from error
    return sorter


SorterOption = Annotated[
    str | None, typer.Option("--sorter", help="A spike sorter; 'none' leaves sorting out.", callback=known_sorter)
]
SessionArgument = Annotated[str, typer.Argument(metavar="SESSION", help="As `neuroloom sessions` lists it.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="As its config is called.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
