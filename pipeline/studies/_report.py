"""What a study says: one sentence with its conditions, pictures with the numbers behind them, and the gaps."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroloom.ingest import durable

if TYPE_CHECKING:
    from neuroloom.pipeline.review.figures import Picture

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of equal keys, written as `<name>.csv` and shown on the page under a title, with a caption."""

    name: str
    title: str
    caption: str
    rows: tuple[Row, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.rows for column in row))


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A picture and the table it was drawn from. draw: makes the picture when the page is written."""

    table: Table
    draw: Callable[[Table], Picture | None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a study. sentence: the result with its conditions; remarks: what a reader must know beside it."""

    study: str
    title: str
    sentence: str
    conditions: Mapping[str, Any]
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()
    wanted: tuple[Row, ...] = field(default=())

    def every_table(self) -> tuple[Table, ...]:
        """Those behind pictures first."""
        return (*(plot.table for plot in self.plots), *self.tables)

    def save(self, folder: Path) -> None:
        """`report.json` and one CSV per table, each whole or absent."""
        folder.mkdir(parents=True, exist_ok=True)
        for table in self.every_table():
            durable.write_text(folder / f"{table.name}.csv", csv_text(table))
        durable.write_json(folder / "report.json", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """All numbers; what is not finite as None."""
        document: dict[str, Any] = plain(
            {
                "study": self.study,
                "title": self.title,
                "sentence": self.sentence,
                "conditions": dict(self.conditions),
                "remarks": list(self.remarks),
                "wanted": [dict(row) for row in self.wanted],
                "tables": {table.name: [dict(row) for row in table.rows] for table in self.every_table()},
            }
        )
        return document


def csv_text(table: Table) -> str:
    """The rows as CSV; what is not known is an empty cell."""
    written = io.StringIO()
    writer = csv.DictWriter(written, table.columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: "" if _unknown(value) else value for key, value in row.items()} for row in table.rows)
    return written.getvalue()


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return None if _unknown(value) else value


def _unknown(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
