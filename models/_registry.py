"""A folder as a list of parts: each file is one part, named as the file is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any


class Registry:
    """The parts in a package's folder, and those that other packages add through an entry point group.

    Design rationale: the folder is looked up at every call, so that a file dropped in is found without a restart; what
    is installed only once, since that opens a file of every package there is. Files are imported when asked for.
    """

    def __init__(self, package: str, path: Iterable[str], group: str, what: str) -> None:
        self.package, self.path, self.group, self.what = package, path, group, what

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        own = {info.name for info in pkgutil.iter_modules(self.path) if not info.name.startswith("_")}
        return tuple(sorted(own | {point.name for point in _installed(self.group)}))

    def __call__(self, name: str) -> Any:
        """The module of that name. Raises ValueError listing the right names where there is none."""
        if name not in self.names():
            raise ValueError(f"no {self.what} {name!r}; there are: {', '.join(self.names())}")
        for point in _installed(self.group).select(name=name):
            return point.load()
        return importlib.import_module(f"{self.package}.{name}")


@cache
def _installed(group: str) -> EntryPoints:
    """What other packages add to a group."""
    return entry_points(group=group)
