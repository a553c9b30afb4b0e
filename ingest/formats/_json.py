"""JSON in or beside a recording: read within a limit, or refused in one line that names the file.

read_object     a file that holds names and values
parsed          a text as whatever JSON it is
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._messages import one_line
from neuroloom.ingest.formats._sidecars import MAX_SIDECAR_BYTES, small_bytes


def read_object(path: Path, *, most: int = MAX_SIDECAR_BYTES) -> dict[str, Any]:
    """The names and values of a file. Raises FormatError for a larger file, and for what is no JSON object."""
    said = parsed(path, small_bytes(path, most=most))
    if not isinstance(said, dict):
        raise FormatError(f"{path}: holds no object; JSON with names and values is wanted")
    return said


def parsed(path: Path, text: bytes, where: str = "") -> Any:
    """What a text says. where: in the file, as "line 3: ". Raises FormatError for what is no JSON."""
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: {where}{one_line(error)[:200]}; JSON is wanted") from error
