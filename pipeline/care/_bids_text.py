"""Tables and JSON as BIDS writes them: tab-separated text, n/a for what is not known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NOT_KNOWN = "n/a"


def cell(value: Any) -> str:
    """A value as a cell holds it; numbers with all their digits."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating):
        return repr(float(value)) if math.isfinite(value) else NOT_KNOWN
    return (re.sub(r"[\t\r\n]+", " ", str(value)).strip() if value is not None else "") or NOT_KNOWN


def write_table(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table_text(names, rows), encoding="utf-8")


def table_text(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same as text."""
    return "".join("\t".join(row) + "\n" for row in ([cell(name) for name in names], *rows))


def write_json(path: Path, said: Mapping[str, Any]) -> None:
    """An object; what is None is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json_text(said), encoding="utf-8")


def json_text(said: Mapping[str, Any]) -> str:
    """The same as text."""
    kept = {key: value for key, value in said.items() if value is not None}
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
