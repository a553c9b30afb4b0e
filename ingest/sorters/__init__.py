"""One file per sorter: `ingest/sorters/spykingcircus2.py` *is* the sorter "spykingcircus2". The folder is the registry.

Every sorter file has

    TITLE: str                       what people call it
    NEEDS: tuple[str, ...]           modules beyond SpikeInterface that must be there
    sort(signal: Signal) -> Units    spikes in seconds on the signal's clock

`sort` is given a signal that is band-passed, referenced and without bad channels (see `ingest/preprocessing.py`), in
µV where the unit is a voltage; its provenance says in `corrects_drift` whether a sorter that can shall correct drift.
It raises `UnsortedError` with one line where it cannot sort.
Files whose name starts with `_` are shared code, not sorters. Vendor libraries are imported inside functions.
Other packages add sorters through the entry point group "neuroloom.sorters". A name that is no file here may be any
sorter that is installed for SpikeInterface ("herdingspikes").
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Protocol, cast

from neuroloom.ingest.streams import Signal, Units


class SortingError(ValueError):
    """A signal cannot be sorted: the message names the signal and the sorter, what was found and what was wanted."""


class UnsortedError(SortingError):
    """A sorter ran, and failed on what it was given: another may do better, and the signal is worth as much without."""


class Sorter(Protocol):
    """What a sorter file offers; see the head of this file."""

    __name__: str
    TITLE: str
    NEEDS: tuple[str, ...]

    def sort(self, signal: Signal, /) -> Units: ...


@cache
def sorters() -> dict[str, Sorter]:
    """Every sorter by name: those in this folder, then those of other packages."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    known = {name: cast(Sorter, importlib.import_module(f"{__name__}.{name}")) for name in sorted(names)}
    return known | {point.name: cast(Sorter, point.load()) for point in entry_points(group="neuroloom.sorters")}


def sorter_named(name: str) -> Callable[[Signal], Units]:
    """The `sort` of the sorter of that name.

    Raises SortingError for a name that is not known, listing those that are, and where a sorter's modules are missing.
    """
    from . import _spikeinterface

    if name in sorters():
        sorter = sorters()[name]
        missing = [module for module in sorter.NEEDS if find_spec(module) is None]
        if missing:
            raise SortingError(
                f"sorter {name} needs {', '.join(missing)}, which is not installed here: pip install "
                f"{' '.join(missing)}; installed are {', '.join(installed())}"
            )
        return sorter.sort
    if name in _spikeinterface.installed():
        return lambda signal: _spikeinterface.run(signal, name)
    if name in _spikeinterface.known():
        raise SortingError(
            f"sorter {name} is not installed here (SpikeInterface's page on sorters says how); installed are "
            f"{', '.join(installed())}"
        )
    raise SortingError(f"sorter {name!r} is not known here; there are {', '.join(installed())}")


def installed() -> list[str]:
    """Names of the sorters that can be run on this machine: those of this folder first."""
    from . import _spikeinterface

    own = [name for name, s in sorters().items() if all(find_spec(module) is not None for module in s.NEEDS)]
    return list(dict.fromkeys([*own, *(name for name in _spikeinterface.installed() if name not in sorters())]))
