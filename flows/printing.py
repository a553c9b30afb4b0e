"""How the command line speaks: documents on stdout, everything else on stderr, and nothing a terminal would obey."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def say(message: str) -> None:
    """Progress and remarks, to stderr."""
    typer.echo(printable(message), err=True)


def document(content: Mapping[str, Any]) -> None:
    """One JSON document on stdout. What is not a number there (NaN, infinity) becomes null: JSON has no word for it."""
    typer.echo(json.dumps(_finite(content), indent=2, default=str, allow_nan=False))


def lines(*texts: str) -> None:
    """Lines for people, on stdout."""
    for text in texts:
        typer.echo(printable(text))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns that line up, on stdout; nothing where there is no row."""
    cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells if rows else []:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """A text with whatever cannot be printed (escape codes, line breaks, hidden direction marks) escaped."""
    from neuroloom.pipeline.drops.inbox import printable

    return printable(text)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
