"""What others wrote, names in files and errors of libraries, as part of one line of ours."""

from __future__ import annotations

from collections.abc import Sequence


def one_line(error: BaseException) -> str:
    """What an exception says; what it is called where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def shown(names: Sequence[str], *, most: int = 12) -> str:
    """Names: not too many, and nothing in them that a terminal would obey."""
    few = ["".join(c if c.isprintable() else "?" for c in name[:40]) for name in names[:most]]
    return ", ".join(few) + (f" and {len(names) - most} more" if len(names) > most else "")
