"""Names of columns as pandas stores them in HDF5: a pickled list of tuples of text, taken apart and never run.

Design rationale: unpickling runs what a file says. The standard library lists a pickle's instructions without following
them (`pickletools.genops`); of these the few that build lists, tuples and text are followed here, any other is refused.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

from neuroloom.ingest.formats import FormatError

MAX_BYTES = 1 << 20
_TEXT = frozenset({
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "STRING", "SHORT_BINSTRING", "BINSTRING",
})  # fmt: skip
_MARK = object()


def pickled_names(path: Path, raw: bytes) -> list[tuple[str, ...]]:
    """The list, a plain text being a tuple of one. Raises FormatError for anything but a list of tuples of text."""
    if len(raw) > MAX_BYTES:
        raise FormatError(f"{path}: {len(raw)} bytes of column names; at most {MAX_BYTES} are read")
    try:
        found = _followed(raw)
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(
            f"{path}: its column names cannot be read ({what}); a list of tuples of text is wanted"
        ) from error
    names = [(name,) if isinstance(name, str) else name for name in found]
    if not all(isinstance(name, tuple) and all(isinstance(part, str) for part in name) for name in names):
        raise FormatError(f"{path}: its column names are no tuples of text; these are wanted")
    return names


def _followed(raw: bytes) -> list[Any]:
    """What the instructions leave on the stack. Raises ValueError for one that does more than build lists and text."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(raw):
        name = opcode.name
        if name in _TEXT:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_LIST", "LIST", "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            _build(stack, name)
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            stack[-1].extend(items)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else int(str(argument))] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(str(argument))])
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"instruction {name}")
    if len(stack) != 1 or not isinstance(stack[0], list):
        raise ValueError("no list")
    return stack[0]


def _build(stack: list[Any], name: str) -> None:
    if name == "EMPTY_LIST":
        stack.append([])
    elif name == "EMPTY_TUPLE":
        stack.append(())
    elif name in ("LIST", "TUPLE"):
        items = _since_mark(stack)
        stack.append(items if name == "LIST" else tuple(items))
    else:
        n = int(name[-1])
        items = stack[-n:]
        del stack[-n:]
        stack.append(tuple(items))


def _since_mark(stack: list[Any]) -> list[Any]:
    at = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[at + 1 :]
    del stack[at:]
    return items
