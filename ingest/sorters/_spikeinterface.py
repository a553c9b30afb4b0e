"""Runs a sorter through SpikeInterface in a folder that is gone afterwards, quietly."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neuroloom.ingest.spikeinterface_bridge import to_spikeinterface
from neuroloom.ingest.streams import Signal, Units
from neuroloom.ingest.timebase import FloatArray

from . import UnsortedError

SEED = 0
FOLDER = "FOLDER"


def installed() -> list[str]:
    """Names of the sorters that SpikeInterface can run on this machine."""
    from spikeinterface.sorters import sorter_dict

    with quiet():
        return sorted(str(name) for name, sorter in sorter_dict.items() if _is_installed(sorter))


def _is_installed(sorter: Any) -> bool:
    """Some are asked by running a script, which reading in a box forbids: those cannot be run there either."""
    try:
        return bool(sorter.is_installed())
    except OSError:
        return False


def known() -> list[str]:
    """Names of all sorters that SpikeInterface can run anywhere."""
    from spikeinterface.sorters import available_sorters

    return [str(name) for name in available_sorters()]


def corrects_drift(signal: Signal) -> bool:
    """Whether a sorter that can shall correct drift itself; see `Chain.drift`."""
    return bool(signal.provenance.get("corrects_drift", False))


def run(signal: Signal, name: str, params: Mapping[str, Any] | None = None) -> Units:
    """Sort with SpikeInterface's sorter `name`; spike times in seconds on the signal's clock.

    params: departures from the sorter's own defaults; FOLDER in a string stands for a folder that is gone afterwards.
    Raises UnsortedError with the sorter's last line where it fails.
    """
    from spikeinterface.sorters import run_sorter
    from spikeinterface.sorters.utils import SpikeSortingError

    recording = to_spikeinterface(signal)
    given = dict(params or {})
    with tempfile.TemporaryDirectory(prefix="neuroloom-sorting-") as folder, quiet(), seeded(SEED):
        if not recording.check_serializability("json"):
            recording = recording.save(folder=Path(folder) / "traces", progress_bar=False)
        try:
            sorting = run_sorter(
                name,
                recording,
                folder=Path(folder) / "sorter",
                verbose=False,
                with_output=True,
                **{key: _within(value, folder) for key, value in given.items()},
            )
        except SpikeSortingError as error:
            raise UnsortedError(f"{signal.name}: {name} failed: {_last_line(str(error))}") from error
        return units_of(sorting, signal, sorter=name)


def _within(value: Any, folder: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _within(part, folder) for key, part in value.items()}
    return value.replace(FOLDER, folder) if isinstance(value, str) else value


def units_of(sorting: Any, signal: Signal, *, sorter: str) -> Units:
    """A SpikeInterface sorting of the signal as Units: each spike at the time its own segment's timebase gives it."""
    names = tuple(str(unit) for unit in sorting.unit_ids)
    trains = tuple(_times_s(sorting, unit, signal) for unit in sorting.unit_ids)
    return Units(
        name=f"{signal.name} units",
        unit_names=names,
        spike_times_s=trains,
        device=signal.device,
        provenance={"made_by": "sorting", "sorter": sorter, "source": signal.name},
    )


def _times_s(sorting: Any, unit: Any, signal: Signal) -> FloatArray:
    per_segment = []
    for index, segment in enumerate(signal.segments):
        samples = np.sort(np.asarray(sorting.get_unit_spike_train(unit, segment_index=index), dtype=np.int64))
        inside = samples[(samples >= 0) & (samples < segment.timebase.n_samples)]
        per_segment.append(segment.timebase.seconds(inside))
    return np.concatenate(per_segment)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what sorters print, draw and warn about on the way: both outputs belong to the caller."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        said = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """With every generator of numpy that is asked for without a seed starting from `seed`.

    Design rationale: SpikeInterface draws in a few places (noise of the matched filter, waveforms for merging) from a
    generator that its parameters cannot seed, and two sortings of one recording then differ by some spikes.
    """
    state, make = np.random.get_state(), np.random.default_rng
    np.random.seed(seed)
    setattr(np.random, "default_rng", lambda given=None, **named: make(*_seeds(given, named, seed)))  # noqa: B010
    try:
        yield
    finally:
        setattr(np.random, "default_rng", make)  # noqa: B010
        np.random.set_state(state)


def _seeds(given: Any, named: Mapping[str, Any], seed: int) -> tuple[Any]:
    asked = named.get("seed", given)
    return (seed if asked is None else asked,)


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    told = [line for line in lines if "spikeinterface_log.json" not in line]
    return (told or lines or ["no message"])[-1]
