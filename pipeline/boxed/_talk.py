"""How a box and its children talk: through pipes, one line of JSON each."""

from __future__ import annotations

import json
import os
import select
from typing import Any

OF_CHILD = b">"  # before each line that a child said, and the box handed on
CHILDS_WORDS = {"said", "gave", "refused", "wanted"}  # all others are the box's own
LINE_BYTES = 64 << 20  # at most
_BLOCK_BYTES = 1 << 20  # what a pipe holds, at most


class Lines:
    """What comes out of a pipe, cut into lines. `is_open` is false once it has ended, or a line `is_too_long`."""

    def __init__(self, pipe: int) -> None:
        self.is_open, self.is_too_long = True, False
        self._pipe = pipe
        self._begun = bytearray()

    def come(self, seconds: float) -> list[bytes] | None:
        """The lines that the next block completes, maybe none; None where nothing came in so many seconds."""
        if not select.select([self._pipe], [], [], max(seconds, 0.0))[0]:
            return None
        block = os.read(self._pipe, _BLOCK_BYTES)
        first, *later = block.split(b"\n")
        self._begun += first
        lines = []
        for part in later:
            lines.append(bytes(self._begun))
            self._begun = bytearray(part)
        self.is_too_long = len(self._begun) > LINE_BYTES
        self.is_open = bool(block) and not self.is_too_long
        return lines


def write(pipe: int, line: bytes) -> None:
    """Write a line, all of it."""
    data = memoryview(line + b"\n")
    while data:
        data = data[os.write(pipe, data) :]


def told(line: bytes) -> dict[str, Any]:
    """What a line tells, less what its speaker has no say in. Raises ValueError where it is none of a box."""
    words = json.loads(line.removeprefix(OF_CHILD))
    if not isinstance(words, dict):
        raise ValueError(f"{type(words).__name__} found, words wanted")
    return {name: word for name, word in words.items() if (name in CHILDS_WORDS) == line.startswith(OF_CHILD)}
