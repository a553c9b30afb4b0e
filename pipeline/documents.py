"""JSON that the pipeline has written about drops, runs and sessions, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuroloom.pipeline.store import StoreError


def document_of(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none. Raises StoreError where the file is something else than JSON."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path}: is not JSON ({error})") from error
    return found if isinstance(found, dict) else {}


def readable_document_of(path: Path) -> dict[str, Any]:
    """The same for those who look at many and pass over what is damaged: empty where it cannot be read."""
    try:
        return document_of(path)
    except (OSError, StoreError):
        return {}
