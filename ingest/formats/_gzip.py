"""Files that were packed with gzip: recognised by what is in them, but not read, since no part can be read alone."""

from __future__ import annotations

import zlib
from pathlib import Path

from neuroloom.ingest.formats import FormatError

SIGNATURE = b"\x1f\x8b"


def unpacked_head(head: bytes, n_bytes: int) -> bytes:
    """The first bytes of what was packed, of a head that is packed; none where it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, n_bytes)
    except zlib.error:
        return b""


def refusal(path: Path) -> FormatError:
    """What is raised for such a file."""
    return FormatError(f"{path}: is compressed, so no part of it can be read alone; unzip it first (gunzip)")
