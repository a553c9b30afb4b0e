"""Random windows over many sessions, per second of one core's time: derived data beside a memory map and other readers.

    python benchmarks/loader.py [--sessions 8] [--samples 120000] [--channels 64] [--windows 3000]

Sessions of noise are made on the spot and published; windows are drawn at random over all of them, each copied into
memory as float32. Everything is in the page cache for all.

    memory map       one float32 array per session, the limit
    derived          features of a session as `windows()` reads them, window by window
    batches          what training gets: 32 windows with masks, scaled, as tensors, with how well their times are known;
                     beside 32 windows of a memory map stacked into one array
    session file     the published file through h5py (integers times gain)
    pynwb            the same file through pynwb
    temporaldata     what torch_brain's datasets read lazily (HDF5), by time; in an environment of its own
                     (`benchmarks/.peers-loader`, installed once)

Last, how much of the time of a training is spent waiting for batches.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroloom.ingest import Segment, Session, Signal, Timebase
from neuroloom.models import ModularNetwork, Topology
from neuroloom.pipeline.runs.features import FeatureConfig
from neuroloom.pipeline.runs.training import train
from neuroloom.pipeline.runs.windowing import Windows, windows

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".peers-loader"
SHAPES = {"2 s at 50 Hz": (50.0, 2.0), "1 s at 1 kHz": (1000.0, 1.0)}
BATCH = 32
CODE = """
import sys, time, h5py, numpy as np
from temporaldata import Data, RegularTimeSeries, Interval
mode, folder, rate, length, n_windows, n_sessions = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])
paths = [f"{folder}/{i}.h5" for i in range(int(n_sessions))]
if mode == "write":
    for i, path in enumerate(paths):
        eeg = RegularTimeSeries(sampling_rate=rate, eeg=np.load(f"{folder}/{i}.npy", mmap_mode="r"), domain="auto")
        with h5py.File(path, "w") as file:
            Data(eeg=eeg, domain=eeg.domain).to_hdf5(file)
else:
    opened = [Data.from_hdf5(h5py.File(path, "r"), lazy=True) for path in paths]
    last_s = float(opened[0].domain.end[-1]) - length
    rng = np.random.default_rng(1)
    draws = [(int(rng.integers(len(opened))), float(rng.uniform(0, last_s))) for _ in range(int(n_windows))]
    began = time.process_time()
    for which, start in draws:
        np.asarray(opened[which].slice(start, start + length).eeg.eeg)
    print(len(draws) / (time.process_time() - began))
"""


def made(work: Path, n_sessions: int, n_samples: int, n_channels: int, rate_hz: float) -> list[Session]:
    """Published sessions of noise."""
    found = []
    for i in range(n_sessions):
        noise = np.random.default_rng(i).normal(0, 30, (n_samples, n_channels)).astype(np.int16)
        lfp = Signal(
            name="lfp",
            modality="lfp",
            segments=(Segment(samples=noise, timebase=Timebase(rate_hz=rate_hz, n_samples=n_samples)),),
            channel_names=tuple(f"C{c}" for c in range(n_channels)),
            unit="uV",
            gain=np.ones(n_channels),
            offset=np.zeros(n_channels),
        )
        session = Session(subject=f"{i:02d}", clock="lfp", streams=(lfp,))
        found.append(session.save(work / session.id / "v001"))
    return found


def rate_of(read: Callable[[int, int], Any], draws: Sequence[tuple[int, int]]) -> float:
    """Windows per second of CPU time; the better half, each of windows of its own: nothing is read twice."""
    rates = []
    for part in (draws[::2], draws[1::2]):
        began = time.process_time()
        for which, first in part:
            read(which, first)
        rates.append(len(part) / (time.process_time() - began))
    return max(rates)


def ways(
    work: Path, sessions: list[Session], data: Windows, arrays: list[NDArray[np.float32]], length: int
) -> Iterator[tuple[str, Callable[[int, int], Any], float]]:
    """Name, reader (session, first bin), and the share of the windows that it is asked for: slow ones get fewer."""
    from pynwb import NWBHDF5IO

    derived = [one.features["lfp"].values for one in data.sessions.values()]
    assert all(np.isfinite(part.sum()) for part in (*arrays, *derived))  # all of it is in the page cache now
    signals = [session["lfp"] for session in sessions]
    yield "memory map", lambda i, s: np.array(arrays[i][s : s + length]), 1.0
    yield "derived", lambda i, s: np.array(derived[i][s : s + length]), 1.0

    def integers(i: int, s: int) -> Any:
        signal = signals[i]
        assert isinstance(signal, Signal)
        return np.asarray(signal.segments[0].samples[s : s + length], dtype=np.float32) * np.float32(1.0)

    yield "session file", integers, 0.2
    with ExitStack() as stack:
        series = []
        for session in sessions:
            assert session.path is not None
            file = stack.enter_context(NWBHDF5IO(str(Path(session.path) / "session.nwb"), "r"))
            series.append(file.read().acquisition["lfp"])
        yield "pynwb", lambda i, s: np.asarray(series[i].data[s : s + length], dtype=np.float32), 0.2


def batch_rates(data: Windows, arrays: list[NDArray[np.float32]], length: int, n: int) -> tuple[float, float]:
    """Windows per second in batches: as training gets them, and stacked from memory maps."""
    rng = np.random.default_rng(2)

    def ours(step: int, _: int) -> Any:
        return data.train.random_batch(step, batch_size=BATCH)

    def stacked(_: int, __: int) -> Any:
        array = arrays[int(rng.integers(len(arrays)))]
        out = np.empty((BATCH, length, array.shape[1]), dtype=np.float32)
        for i, start in enumerate(rng.integers(0, len(array) - length, BATCH)):
            out[i] = array[start : start + length]
        return torch.from_numpy(out)

    for name in data.sessions:
        data.train.batch(name, data.train.tiles(name)[:1])  # scalers and sums are made once
    steps = [(step, 0) for step in range(max(4, n // BATCH))]
    return BATCH * rate_of(ours, steps), BATCH * rate_of(stacked, steps)


def temporaldata(work: Path, rate_hz: float, length_s: float, n: int, n_sessions: int) -> float | None:
    """Windows per second of temporaldata's lazy objects; None where it cannot be installed."""
    if not (PEERS / "ready").is_file():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEERS), "temporaldata"]
        if subprocess.run(pip, check=False).returncode:
            return None
        (PEERS / "ready").touch()
    path = os.pathsep.join(filter(None, [str(PEERS), os.environ.get("PYTHONPATH", "")]))
    said = ""
    for mode in ("write", "read"):
        arguments = [mode, str(work), *map(str, (rate_hz, length_s, n, n_sessions))]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CODE, *arguments], check=True, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        said = done.stdout
    return float(said)


def waiting_share(data: Windows) -> float:
    """Share of a training's time that is spent waiting for the next batch."""
    from neuroloom.pipeline.runs import _trainer

    waited = 0.0

    class Timed:
        def __init__(self, take: Callable[[int], Any]) -> None:
            self.take = take

        def __call__(self, step: int) -> Any:
            nonlocal waited
            began = time.perf_counter()
            found = self.take(step)
            waited += time.perf_counter() - began
            return found

    through = _trainer.Trainer._through

    def timed(self: Any, batch_of: Callable[[int], Any], tell: Any) -> None:
        through(self, Timed(batch_of), tell)

    _trainer.Trainer._through = timed  # type: ignore[method-assign]
    try:
        network = ModularNetwork(Topology.read("four-areas"), area_size=32, bin_s=data.config.bin_s)
        began = time.perf_counter()
        train(network, data, steps=40, batch_size=BATCH, validate_every=1000)
        return waited / (time.perf_counter() - began)
    finally:
        _trainer.Trainer._through = through  # type: ignore[method-assign]


def main() -> None:
    """Every reader on both shapes of window."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--samples", type=int, default=120_000, help="of each session")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--windows", type=int, default=3000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for what, (rate_hz, length_s) in SHAPES.items():
        with tempfile.TemporaryDirectory(prefix="neuroloom-loader-") as folder:
            work = Path(folder)
            sessions = made(work, args.sessions, args.samples, args.channels, rate_hz)
            data = windows(
                sessions, length_s=length_s, bin_s=1 / rate_hz, folder=work / "derived",
                features=FeatureConfig(), inputs=("lfp",), targets=("lfp",),
            )  # fmt: skip
            arrays: list[NDArray[np.float32]] = []
            for i, one in enumerate(data.sessions.values()):
                np.save(work / f"{i}.npy", np.asarray(one.features["lfp"].values))
                arrays.append(np.load(work / f"{i}.npy", mmap_mode="r"))
            length = data.config.n_bins
            rng = np.random.default_rng(1)
            n_bins = min(len(array) for array in arrays) - length
            draws = [(int(rng.integers(len(arrays))), int(rng.integers(n_bins))) for _ in range(args.windows)]
            print(
                f"\n{args.channels} channels x {what}, {args.sessions} sessions, windows per second of one core's time"
            )
            limit = None
            for name, read, share in ways(work, sessions, data, arrays, length):
                rate = rate_of(read, draws[: max(20, int(share * len(draws)))])
                limit = limit or rate
                print(f"{name:34s}{rate:10.0f}{rate / limit:8.2f}", flush=True)
            lazy = temporaldata(work, rate_hz, length_s, max(20, args.windows // 5), args.sessions)
            shown = "not installed" if lazy is None else f"{lazy:10.0f}{lazy / (limit or 1):8.2f}"
            print(f"{'temporaldata, lazy':34s}{shown}")
            ours, stacked = batch_rates(data, arrays, length, args.windows)
            print(f"{'batches, stacked from a memory map':34s}{stacked:10.0f}{stacked / (limit or 1):8.2f}")
            print(f"{'batches as training gets them *':34s}{ours:10.0f}{ours / (limit or 1):8.2f}", flush=True)
            print("* each window twice, as input and as target, and masks", flush=True)
            if what.startswith("2 s"):
                print(f"of a training {waiting_share(data):.1%} is spent waiting for batches", flush=True)


if __name__ == "__main__":
    main()
