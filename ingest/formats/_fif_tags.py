"""Tags of a FIF file: where they are, in which blocks, and the files that a split recording goes on in.

    part_of(path)                          the tags of a file, sorted into blocks; none of them is read beyond the file
    parts_of(path)                         the file and those that follow it, each naming the next
    bytes_of, numbers_of, text_of          what a small tag holds

Tags are found just as MNE finds them: through the directory where there is one, else from tag to tag.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import beside

MAX_TAGS = 1_000_000  # a buffer a second makes 3,600 an hour
MAX_DEPTH = 50  # of blocks within blocks; MNE descends one call per level

# Kinds of tags and blocks, as the format numbers them, and types of what is in a tag.
_FILE_ID, _DIR_POINTER, _DIR, _BLOCK_START, _BLOCK_END = 100, 101, 102, 104, 105
_REF, _REF_ROLE, _REF_FILE_NUM, _REF_FILE_NAME, _PREVIOUS, _NEXT = 118, 115, 117, 118, 1, 2
_ID_STRUCT, _DIR_ENTRY = 31, 32
DTYPES = {2: ">i2", 3: ">i4", 4: ">f4", 5: ">f8", 16: ">i2"}  # of samples
_NUMBERS = DTYPES | {7: ">u2", 8: ">u4"}
_HEADER = struct.Struct(">iIIi")  # kind, type, size, next


class Tag(NamedTuple):
    """What the header of a tag says, or the directory does."""

    kind: int
    type: int
    size: int
    at: int  # of its header


@dataclass(frozen=True, eq=False)
class Block:
    """Tags between a start and an end of one kind."""

    kind: int
    tags: list[Tag] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Part:
    """One file: its bytes, never copied, and its blocks in order; the first is what lies outside of any."""

    path: Path
    raw: NDArray[np.uint8]
    blocks: list[Block]

    def of(self, kind: int) -> list[Block]:
        """The blocks of a kind."""
        return [block for block in self.blocks if block.kind == kind]


def is_fif(head: bytes) -> bool:
    """True for a file id, which every FIF file begins with."""
    return len(head) >= 36 and _HEADER.unpack_from(head)[:3] == (_FILE_ID, _ID_STRUCT, 20)


def part_of(path: Path) -> Part:
    """The tags of a file, sorted into blocks. Raises FormatError where they do not lie in it, or never end."""
    size = path.stat().st_size
    if size < 36:
        raise FormatError(f"{path}: {size} bytes; a FIF file starts with an id of 36")
    raw = np.memmap(path, np.uint8, mode="r")
    if not is_fif(raw[:36].tobytes()):
        raise FormatError(f"{path}: does not start with a file id; a FIF file does")
    outside = Block(0)
    blocks, open_blocks = [outside], [outside]
    for tag in _tags(path, raw):
        if tag.kind == _BLOCK_START:
            block = Block(int(numbers_of(path, raw, tag)[0]))
            blocks.append(block)
            open_blocks.append(block)
            if len(open_blocks) > MAX_DEPTH:
                raise FormatError(f"{path}: blocks nested more than {MAX_DEPTH} deep; no FIF file is that deep")
        elif tag.kind == _BLOCK_END:
            if len(open_blocks) > 1:
                open_blocks.pop()
        else:
            open_blocks[-1].tags.append(tag)
    return Part(path, raw, blocks)


def _tags(path: Path, raw: NDArray[np.uint8]) -> Iterator[Tag]:
    """As MNE finds them: by the directory where the file has one, else from tag to tag."""
    pointer_at = _next(_header(raw, 0), 0)
    pointer = _tag(path, raw, -1 if pointer_at is None else pointer_at)
    if pointer.kind != _DIR_POINTER:
        raise FormatError(f"{path}: tag {pointer.kind} follows the file id; a pointer to the directory is wanted")
    directory_at = int(numbers_of(path, raw, pointer)[0])
    if directory_at <= 0 or directory_at + 16 > raw.size:  # not closed, or cut off: MNE goes from tag to tag as well
        return _chain(path, raw)
    return _listed(path, raw, _tag(path, raw, directory_at))


def _header(raw: NDArray[np.uint8], at: int) -> tuple[int, int, int, int]:
    kind, type_, size, following = _HEADER.unpack(raw[at : at + 16].tobytes())
    return kind, type_, size, following


def _next(header: tuple[int, int, int, int], at: int) -> int | None:
    """Where the next tag is: 0 means right behind, below 0 that there is none."""
    _, _, size, following = header
    return at + 16 + size if following == 0 else following if following > 0 else None


def _tag(path: Path, raw: NDArray[np.uint8], at: int) -> Tag:
    if not 0 <= at <= raw.size - 16:
        raise FormatError(f"{path}: a tag is said to be at byte {at}; the file has {raw.size} bytes")
    kind, type_, size, _ = _header(raw, at)
    return Tag(kind, type_, size, at)


def _chain(path: Path, raw: NDArray[np.uint8]) -> Iterator[Tag]:
    seen: set[int] = set()
    at: int | None = 0
    while at is not None and at + 16 <= raw.size:
        if at in seen or len(seen) >= MAX_TAGS:
            what = "follows itself" if at in seen else f"is the {MAX_TAGS}th"
            raise FormatError(f"{path}: the tag at byte {at} {what}; a chain of tags that ends is wanted")
        seen.add(at)
        yield _tag(path, raw, at)
        at = _next(_header(raw, at), at)


def _listed(path: Path, raw: NDArray[np.uint8], directory: Tag) -> Iterator[Tag]:
    n_tags, rest = divmod(directory.size, 16)
    whole = directory.at + 16 + directory.size <= raw.size
    if (directory.kind, directory.type, rest) != (_DIR, _DIR_ENTRY, 0) or not whole or n_tags > MAX_TAGS:
        raise FormatError(f"{path}: no directory of at most {MAX_TAGS} tags at byte {directory.at}; it points there")
    entries = np.frombuffer(raw, ">i4", 4 * n_tags, directory.at + 16).reshape(-1, 4)
    for kind, type_, size, at in entries.tolist():
        _tag(path, raw, at)
        if size < 0:
            raise FormatError(f"{path}: the directory lists a tag of {size} bytes; 0 or more are wanted")
        yield Tag(kind, type_ & 0xFFFFFFFF, size, at)


def bytes_of(path: Path, raw: NDArray[np.uint8], tag: Tag) -> tuple[int, bytes]:
    """Type and data of a small tag, both as its own header has them."""
    own = _tag(path, raw, tag.at)
    if own.at + 16 + own.size > raw.size:
        raise FormatError(f"{path}: tag {own.kind} at byte {own.at} ends behind the end of the file; it is cut off")
    return own.type, raw[own.at + 16 : own.at + 16 + own.size].tobytes()


def numbers_of(path: Path, raw: NDArray[np.uint8], tag: Tag) -> NDArray[Any]:
    """The numbers of a small tag, at least one."""
    type_, data = bytes_of(path, raw, tag)
    dtype = _NUMBERS.get(type_)
    if dtype is None or not data or len(data) % np.dtype(dtype).itemsize:
        raise FormatError(f"{path}: tag {tag.kind} has {len(data)} bytes of type {type_}; numbers are wanted")
    return np.frombuffer(data, dtype)


def text_of(part: Part, tag: Tag) -> str:
    """Latin-1, with any other character as its number in decimal: `&#20208;`."""
    text = bytes_of(part.path, part.raw, tag)[1].decode("latin-1")
    return re.sub(r"&#(\d{3,6});", lambda match: chr(int(match[1])), text)


# Parts of a split recording -----------------------------------------------------------------------------------------


def parts_of(path: Path) -> list[Part]:
    """The file and those that follow it, by the names they state."""
    parts = [part_of(path)]
    while (name := _next_name(parts[-1])) is not None:
        following = beside(parts[-1].path, name, "its next part")
        if following in [part.path for part in parts]:
            raise FormatError(f"{parts[-1].path}: its next part is {name!r}, which comes before it; the next is wanted")
        parts.append(part_of(following))
    return parts


def _roles(part: Part) -> Iterator[tuple[int, dict[int, Tag]]]:
    """For every reference to another file its role and its tags."""
    for block in part.of(_REF):
        tags = {tag.kind: tag for tag in block.tags}
        role = int(numbers_of(part.path, part.raw, tags[_REF_ROLE])[0]) if _REF_ROLE in tags else _NEXT
        yield role, tags


def is_later(part: Part) -> bool:
    """True for a part that says another comes before it."""
    return any(role == _PREVIOUS for role, _ in _roles(part))


def _next_name(part: Part) -> str | None:
    for role, tags in _roles(part):
        if role == _NEXT and _REF_FILE_NAME in tags:
            return text_of(part, tags[_REF_FILE_NAME])
        if role == _NEXT and _REF_FILE_NUM in tags:
            number = int(numbers_of(part.path, part.raw, tags[_REF_FILE_NUM])[0])
            stem, dot, ending = part.path.name.partition(".")
            base, dash, own = stem.rpartition("-")
            return f"{base if dash and own.isdigit() else stem}-{number}{dot}{ending}"
    return None
