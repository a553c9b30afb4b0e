"""Text that comes with every Python: the documentation strings of its standard library (PSF licence).

Read by parsing the source files; nothing is imported or run. Tests, and what lies in site-packages, are left out.
"""

from __future__ import annotations

import ast
import inspect
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LEFT_OUT = frozenset(
    {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "ensurepip", "lib2to3"}
)
ALPHABET = "\n abcdefghijklmnopqrstuvwxyz0123456789.,:;'\"()[]{}<>=+-*/_%#@!?|\\"
SHORTEST = 40  # characters of a documentation string that is taken


@cache
def text() -> str:
    """All of it in one fixed order: lower case, runs of blanks as one, characters beyond `ALPHABET` left out."""
    found = [part for path in _files() for part in _docstrings(path)]
    plain = "\n".join(" ".join(line.split()) for part in found for line in part.lower().splitlines() if line.strip())
    return "".join(character for character in plain if character in _KNOWN)


_KNOWN = frozenset(ALPHABET)


def _files() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return sorted(p for p in root.rglob("*.py") if not LEFT_OUT & set(p.relative_to(root).parts))


def _docstrings(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # a template or a sample of bad code: it has no documentation to give
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found = ast.get_docstring(node)
            if found is not None and len(found) >= SHORTEST:
                yield inspect.cleandoc(found)
