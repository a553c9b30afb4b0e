"""One file per format: `ingest/formats/edf.py` *is* the format "edf". The folder is the registry.

Every format file has

    TITLE: str                          what people call it: "EDF, EDF+, BDF, BDF+"
    MODALITY: str                       what it mostly holds, one of `streams.MODALITIES`
    KEEPS: str                          what of a file is kept, and what is not: "int16, events; not impedances"
    TESTED_ON: str                      "real files of ...", or "files written by this project only"
    sniff(path: Path, head: bytes) -> bool          is this it? `head`: the first 4096 bytes, empty for a folder
    files(path: Path) -> tuple[Path, ...]           all files of the recording that `path` names, that one first
    read(path: Path) -> list[Recording]             one Recording per clock, lazily

`sniff` looks at content, never at the suffix alone, and never raises. A file that only accompanies another one
(a `.eeg` beside its `.vhdr`) is nobody's: the file that names it is sniffed instead.
`files` raises `FormatError` where one is missing or lies outside the folder of `path`. Of a recording that is a folder
it gives the files in it; the Recording's own `files` is the folder then, which its name is taken from.
It may offer `incomplete` and `awaited` too, which the inbox asks (`pipeline/drops/inbox.py`).
`read` raises `FormatError` with one line naming the file, what was found and what was wanted.
Files whose name starts with `_` are no formats: code that several share (`_channels.py`), or a part of one
(`_xdf_chunks.py`). Vendor libraries are imported inside functions.
Other packages add formats through the entry point group "neuroloom.formats".
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from neuroloom.ingest.recording import Recording

HEAD_BYTES = 4096
GROUP = "neuroloom.formats"


class FormatError(ValueError):
    """A file cannot be read as its format: the message names the file, what was found and what was wanted."""


class Format(Protocol):
    """What a format file offers; see the head of this file."""

    __name__: str
    TITLE: str
    MODALITY: str
    KEEPS: str
    TESTED_ON: str

    def sniff(self, path: Path, head: bytes) -> bool: ...

    def files(self, path: Path) -> tuple[Path, ...]: ...

    def read(self, path: Path) -> list[Recording]: ...


@cache
def formats() -> dict[str, Format]:
    """Every format by name: those in this folder, then those of other packages."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    known = {name: cast(Format, importlib.import_module(f"{__name__}.{name}")) for name in sorted(names)}
    return known | {point.name: cast(Format, point.load()) for point in entry_points(group=GROUP)}


def package_of(name: str) -> str:
    """The package that a format comes from: neuroloom, or the one whose entry point it is."""
    point = [None, *entry_points(group=GROUP, name=name)][-1]
    return point.dist.name if point is not None and point.dist is not None else "neuroloom"


def head_of(path: Path) -> bytes:
    """The first bytes of a file, none for a folder."""
    if path.is_dir():
        return b""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def matching(path: Path) -> Iterator[str]:
    """Names of the formats that recognise what lies at `path`."""
    head = head_of(path)
    for name, form in formats().items():
        if form.sniff(path, head):
            yield name


def format_of(path: Path) -> str | None:
    """The one format of what lies at `path`, None where none knows it.

    Raises FormatError where two formats claim it: guessing would be silently wrong.
    """
    names = list(matching(path))
    if len(names) > 1:
        raise FormatError(f"{path}: looks like {' and like '.join(names)}; exactly one format must recognise a file")
    return names[0] if names else None
