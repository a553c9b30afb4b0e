"""Cells of a study's grid: each result is one small JSON file, written for good; what is there is not done again.

    RUN/cells/<name>.json      {"key": what decided it, "result": what came of it}

The name is the cell's own words and a digest of everything that decides it, so a study with other settings, another
teacher or another version of the arithmetic finds nothing of the old one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.pipeline.studies._report import plain

Key = Mapping[str, Any]
Result = dict[str, Any]
FILES = "files"  # of a result: what is written beside the cells, bytes by name under the run's folder
CELLS = "cells"  # folder of a run
REQUEST = "study.json"  # of a run: what was asked for
NETWORKS = "networks"  # folder of a run, beside the cells, of networks that can be used
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The results in a folder. common: what decides every cell beside its own key."""

    folder: Path
    common: Key

    def path(self, key: Key) -> Path:
        """Where the result of a cell lies."""
        said = json.dumps([self.common, key], sort_keys=True, default=str)
        words = re.sub(r"[^A-Za-z0-9.+-]+", "_", "_".join(str(value) for value in key.values()))[:80]
        return self.folder / f"{words}-{hashlib.sha256(said.encode()).hexdigest()[:12]}.json"

    def get(self, key: Key) -> Result | None:
        """The result, None where there is none yet; a file that is damaged counts as none."""
        try:
            found = json.loads(self.path(key).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        result: Result = found["result"]
        return result

    def put(self, key: Key, result: Result) -> None:
        """Keep a result for good; what is not finite becomes None."""
        self.folder.mkdir(parents=True, exist_ok=True)
        durable.write_json(self.path(key), plain({"key": key, "result": result}))

    def missing(self, keys: Sequence[Key]) -> list[Key]:
        """Those without a result, in order."""
        return [key for key in keys if self.get(key) is None]
