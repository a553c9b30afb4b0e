"""How the command line speaks: documents on stdout, everything else on stderr, and nothing a terminal would obey."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from neuroloom.pipeline.store import printable

EVERY_S = 5.0


def say(message: str) -> None:
    """Progress and remarks, to stderr."""
    typer.echo(printable(message), err=True)


def one_line(error: BaseException) -> str:
    """What an error says; of the system's own the file first, and no number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return " ".join(str(error).split())


def seldom(words: Callable[..., str]) -> Callable[..., None]:
    """Says what `words` makes of its arguments, at most every `EVERY_S`; what comes between is not said."""
    last_s = 0.0

    def tell(*arguments: Any) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= EVERY_S:
            last_s = time.monotonic()
            say(words(*arguments))

    return tell


def by_stream(channels: Mapping[str, Sequence[str]]) -> str:
    """`eeg: Fz, Cz; lfp: 3`."""
    return "; ".join(f"{stream}: {', '.join(names)}" for stream, names in channels.items())


def document(content: Mapping[str, Any]) -> None:
    """One JSON document on stdout. What is not a number there (NaN, infinity) becomes null: JSON has no word for it."""
    typer.echo(json.dumps(_finite(content), indent=2, default=str, allow_nan=False))


def lines(*texts: str) -> None:
    """Lines for people, on stdout."""
    for text in texts:
        typer.echo(printable(text))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str = "") -> None:
    """Columns that line up, on stdout; where there is no row nothing but a remark that says so, on stderr."""
    if not rows and empty:
        say(empty)
    cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells if rows else []:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
