"""The session file beside its peers: bytes per second written and read, in one run on one machine.

    python benchmarks/session_file.py [--seconds 20] [--channels 64] [--repeats 3]

Each way stores the same int16 recording at 30 kHz and reads it back whole, then 200 random windows of 1 s. `neuroloom`
writes, validates, reads back, digests and syncs before it returns; the peers only write. Ratios are to `h5py plain`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

RATE_HZ = 30000
N_WINDOWS = 200

Reader = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds to write and read everything, seconds per window, and bytes on disk."""

    write_s: float
    read_s: float
    window_s: float
    n_bytes: int


def synthetic(n_samples: int, n_channels: int) -> NDArray[np.int16]:
    """Noise of 15 bit steps with a slow common wave, which compresses about as real traces do."""
    rng = np.random.default_rng(0)
    wave = 200 * np.sin(np.arange(n_samples) / 500)[:, None]
    return (rng.normal(0, 15, (n_samples, n_channels)) + wave).astype(np.int16)


def neuroloom(samples: NDArray[np.int16], folder: Path) -> Reader:
    """A wideband companion, published whole."""
    n_samples, n_channels = samples.shape
    base = Timebase(rate_hz=float(RATE_HZ), n_samples=n_samples)
    probe = Signal(
        name="probe",
        modality="wideband",
        segments=(Segment(samples=samples, timebase=base),),
        channel_names=tuple(f"c{i}" for i in range(n_channels)),
        unit="uV",
        gain=np.full(n_channels, 2.34),
        offset=np.zeros(n_channels),
    )
    saved = Session(subject="01", clock="probe", streams=(probe,)).save(folder)["probe"]
    assert isinstance(saved, Signal)
    stored = saved.segments[0].samples
    return lambda first, last: stored[first:last]


def h5py_plain(samples: NDArray[np.int16], folder: Path) -> Reader:
    """One HDF5 dataset without chunks or filters."""
    folder.mkdir()
    with h5py.File(folder / "a.h5", "w") as file:
        file["data"] = samples
    dataset = h5py.File(folder / "a.h5", "r")["data"]
    return lambda first, last: dataset[first:last]


def spikeinterface_zarr(samples: NDArray[np.int16], folder: Path) -> Reader:
    """SpikeInterface's `save(format="zarr")` with its defaults, one job."""
    from spikeinterface import NumpyRecording

    recording = NumpyRecording([samples], sampling_frequency=float(RATE_HZ))
    saved = recording.save(format="zarr", folder=folder, n_jobs=1, progress_bar=False, verbose=False)
    return lambda first, last: saved.get_traces(start_frame=first, end_frame=last)


WAYS = {"h5py plain": h5py_plain, "spikeinterface zarr": spikeinterface_zarr, "neuroloom": neuroloom}


def measure(way: Callable[[NDArray[np.int16], Path], Reader], samples: NDArray[np.int16], folder: Path) -> Measured:
    """Write, read and check one way."""
    start = time.perf_counter()
    read = way(samples, folder)
    written = time.perf_counter()
    step = RATE_HZ * 4
    for first in range(0, len(samples), step):
        if not np.array_equal(read(first, first + step), samples[first : first + step]):
            raise ValueError(f"{folder.name}: samples read back other than they were written")
    done = time.perf_counter()
    starts = np.random.default_rng(1).integers(0, len(samples) - RATE_HZ, N_WINDOWS)
    for first in starts:
        read(int(first), int(first) + RATE_HZ)
    windows = (time.perf_counter() - done) / N_WINDOWS
    n_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    return Measured(write_s=written - start, read_s=done - written, window_s=windows, n_bytes=n_bytes)


def main() -> None:
    """Print one line per way, the median of the repeats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.seconds < 2:
        parser.error(f"--seconds {args.seconds}: windows of a second are read from it; 2 or more is wanted")
    samples = synthetic(args.seconds * RATE_HZ, args.channels)
    work = Path(tempfile.mkdtemp(prefix="neuroloom-benchmark-"))
    try:
        neuroloom(samples[:RATE_HZ], work / "warm")  # imports are not what is measured
        found = {
            name: [measure(way, samples, work / f"{name} {i}") for i in range(args.repeats)]
            for name, way in WAYS.items()
        }
    finally:
        shutil.rmtree(work)
    megabytes = samples.nbytes / 1e6
    plain = float(np.median([m.write_s for m in found["h5py plain"]]))
    print(f"{megabytes:.0f} MB, {args.channels} channels, median of {args.repeats}")
    for name, runs in found.items():
        write_s, read_s, window_s = (float(np.median([getattr(m, k) for m in runs])) for k in FIELDS)
        print(
            f"{name:20s} write {megabytes / write_s:6.0f} MB/s ({plain / write_s:.2f} of plain)  "
            f"read {megabytes / read_s:6.0f} MB/s  window {window_s * 1e3:6.2f} ms  "
            f"{runs[0].n_bytes / 1e6:6.0f} MB on disk"
        )


FIELDS = ("write_s", "read_s", "window_s")

if __name__ == "__main__":
    main()
