"""The text files of a connectome archive, read from the zip in memory: nothing is unpacked, and no size is believed."""

from __future__ import annotations

import bz2
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .topology import TopologyError

MAX_MEMBERS = 1_000
MAX_BYTES = 64_000_000
SPELLINGS = {"centers": "centres"}


def read_members(file: Path, wanted: Sequence[str]) -> dict[str, str]:
    """The text of `weights.txt` and the like, by name without ending, wherever in the archive they lie.

    Raises TopologyError for what is no zip, is encrypted or damaged, leads out of the archive, is there twice, or
    unpacks to more than MAX_BYTES.
    """
    texts: dict[str, str] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for member in _checked(archive, file.name):
                name = _plain_name(member.filename)
                if name not in wanted:
                    continue
                if name in texts:
                    raise TopologyError(f"{file.name}: {name}.txt is there twice; one is needed")
                texts[name] = _member_text(archive, member, file.name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise TopologyError(f"{file.name}: cannot be read as a zip archive ({error})") from error
    return texts


def _checked(archive: zipfile.ZipFile, where: str) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise TopologyError(f"{where}: {len(members)} files inside; at most {MAX_MEMBERS} are read")
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise TopologyError(f"{where}: holds {member.filename[:80]!r}, which leads out of the archive")
    return members


def _plain_name(filename: str) -> str:
    """ "connectome/centers.txt.bz2" -> "centres"; hidden files (and macOS's copies) are nobody's."""
    name = PurePosixPath(filename).name.lower()
    if not name.endswith((".txt", ".txt.bz2")):
        return ""
    stem = name.removesuffix(".bz2").removesuffix(".txt")
    return SPELLINGS.get(stem, stem)


def _member_text(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> str:
    with archive.open(member) as stream:
        packed = stream.read(MAX_BYTES + 1)
    if member.filename.lower().endswith(".bz2"):
        decompressor = bz2.BZ2Decompressor()
        packed = decompressor.decompress(packed, max_length=MAX_BYTES + 1)
        if len(packed) <= MAX_BYTES and not decompressor.eof:
            raise TopologyError(f"{where}: {member.filename} ends in the middle of its compressed data")
    if len(packed) > MAX_BYTES:
        raise TopologyError(f"{where}: {member.filename} unpacks to more than {MAX_BYTES} bytes")
    return packed.decode("utf-8-sig", errors="replace")
