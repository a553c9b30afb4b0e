"""What a lab states in a TOML beside its data, read within a limit and checked entry by entry.

sidecar(path, form)          `<stem>.toml` beside `path` that says it is of that format
read_toml, validated         its content, as the model of that format has it
Stated                       what every such model has
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import is_there
from neuroloom.ingest.formats._messages import one_line, shown

MAX_SIDECAR_BYTES = 1 << 20

Text = Annotated[str, Field(min_length=1)]
TimeUnit = Literal["s", "ms", "us", "ns"]
Model = TypeVar("Model", bound=BaseModel)


class Stated(BaseModel):
    """The clock and the moment that times count from; nothing but what a model names may be said."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    clock: Text | None = None
    start: Annotated[datetime, Field(strict=True)] | None = None


def small_file(path: Path, suffix: str) -> Path | None:
    """The file of the same stem with that suffix, where one is beside `path` that is no link and not too large."""
    beside = path.with_suffix(suffix)
    is_it = beside != path and is_there(beside) and beside.stat().st_size <= MAX_SIDECAR_BYTES
    return beside if is_it else None


def small_bytes(path: Path, *, most: int = MAX_SIDECAR_BYTES) -> bytes:
    """What a small file holds. Raises FormatError where it is not there, or larger than `most`."""
    if not path.is_file():
        raise FormatError(f"{path}: is not there")
    if path.stat().st_size > most:
        raise FormatError(f"{path}: {path.stat().st_size} bytes; at most {most} are read")
    return path.read_bytes()


def sidecar(path: Path, form: str) -> Path | None:
    """`<stem>.toml` beside a table where it says `format = "<form>"`, else None. Links are not followed."""
    beside = small_file(path, ".toml")
    if beside is None:
        return None
    said = re.search(rb"""^\s*format\s*=\s*["']([^"']*)["']""", beside.read_bytes(), re.M)
    return beside if said and said[1] == form.encode() else None


def read_toml(path: Path) -> dict[str, Any]:
    """Raises FormatError for what is no TOML, or too large."""
    try:
        return tomllib.loads(small_bytes(path).decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: {one_line(error)}; TOML is wanted") from error


def validated(path: Path, model: type[Model], given: Mapping[str, Any]) -> Model:
    """Raises FormatError with one line that names the entry and what is wrong with it."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = shown([".".join(str(part) for part in first["loc"])]) or "it"
        raise FormatError(f"{path}: {where}: {' '.join(first['msg'].split()).removeprefix('Value error, ')}") from error
