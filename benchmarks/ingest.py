"""Ingestion beside its peers: speed, peak memory, size and random windows, in one run on one machine.

    python benchmarks/ingest.py [--spikeglx-gb 4] [--bdf-gb 1] [--repeats 1] [--work DIR]

On a SpikeGLX recording (384 channels and sync, int16, 30 kHz) and a BDF (64 channels, 24 bit, 1 kHz) made on the spot.
The peers are installed into an environment of their own (`benchmarks/.peers`, once): neuroconv, SpikeInterface, MNE,
each with its defaults and one process. `neuroloom publish` reads the file and publishes the session: digests,
checksums, all samples read back, NWB validated, synced. `neuroloom ingest` is the whole road: the originals' digests,
LFP and quality too.

Every way runs in a process of its own. Memory is its peak anonymous memory over that of its imports: pages of a mapped
file are the system's to take back. Windows: 200 random ones of 1 s, all channels. Inputs are in the page cache for all.
Last, random windows of 64 channels x 1 s at 1 kHz from a session file and from derived data, per second on one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PEERS = HERE / ".peers"
PEER_PACKAGES = ("neuroconv[spikeglx]", "spikeinterface", "mne")
PROBE_HZ, PROBE_CHANNELS = 30000, 384
EEG_HZ, EEG_CHANNELS = 1000, 64
N_WINDOWS = 200

Reader = Callable[[int, int], Any]


# Inputs ------------------------------------------------------------------------------------------------------------


def write_spikeglx(folder: Path, n_bytes: int) -> Path:
    """Noise of 4 bit steps with a slow common wave, which compresses about as real traces do, and a sync word."""
    folder.mkdir(parents=True)
    binary = folder / "run_g0_t0.imec0.ap.bin"
    n_samples = n_bytes // (2 * (PROBE_CHANNELS + 1))
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 4, (10 * PROBE_HZ, PROBE_CHANNELS)).astype(np.int16)
    with binary.open("wb") as file:
        for first in range(0, n_samples, len(noise)):
            n = min(len(noise), n_samples - first)
            wave = (60 * np.sin(np.arange(first, first + n) / 5000)).astype(np.int16)
            word = np.where(np.arange(first, first + n) % PROBE_HZ < PROBE_HZ // 2, 64, 0).astype(np.int16)
            file.write(np.column_stack([noise[:n] + wave[:, None], word]).astype("<i2").tobytes())
    sites = range(PROBE_CHANNELS)
    lines = {
        "acqApLfSy": "384,384,1", "appVersion": "20230202", "fileCreateTime": "2024-05-06T10:00:01",
        "fileName": binary.name, "fileSizeBytes": binary.stat().st_size, "fileTimeSecs": n_samples / PROBE_HZ,
        "firstSample": 0, "imAiRangeMax": 0.6, "imAiRangeMin": -0.6, "imMaxInt": 512, "imDatPrb_pn": "NP1000",
        "imDatPrb_sn": 1, "imDatPrb_type": 0, "imSampRate": PROBE_HZ, "nSavedChans": PROBE_CHANNELS + 1,
        "snsApLfSy": f"{PROBE_CHANNELS},0,1", "snsSaveChanSubset": f"0:{PROBE_CHANNELS - 1},768", "typeThis": "imec",
        "~imroTbl": "(0,384)" + "".join(f"({i} 0 0 500 250 1)" for i in sites),
        "~snsChanMap": "(384,384,1)" + "".join(f"(AP{i};{i}:{i})" for i in sites) + f"(SY0;768:{PROBE_CHANNELS})",
        "~snsGeomMap": "(NP1000,1,0,70)" + "".join(f"(0:{27 + 32 * (i % 2)}:{20 * (i // 2)}:1)" for i in sites),
    }  # fmt: skip
    binary.with_suffix(".meta").write_text("".join(f"{k}={v}\n" for k, v in lines.items()), encoding="ascii")
    return binary


def write_bdf(path: Path, n_bytes: int) -> Path:
    """Noise and a 10 Hz wave in 24 bits, data records of 1 s."""
    path.parent.mkdir(parents=True)
    names = [f"EEG{i + 1}" for i in range(EEG_CHANNELS)]
    n_records = n_bytes // (3 * EEG_CHANNELS * EEG_HZ)

    def column(texts: list[str], width: int) -> bytes:
        return "".join(text.ljust(width) for text in texts).encode("ascii")

    each = EEG_CHANNELS
    head = b"\xffBIOSEMI" + b"X".ljust(80) + b"X".ljust(80) + b"06.05.24" + b"10.00.00"
    head += str(256 * (each + 1)).ljust(8).encode() + b"24BIT".ljust(44)
    head += str(n_records).ljust(8).encode() + b"1".ljust(8) + str(each).ljust(4).encode()
    fields = (["uV"] * each, ["-262144"] * each, ["262144"] * each, ["-8388608"] * each, ["8388607"] * each)
    head += column(names, 16) + column([""] * each, 80) + b"".join(column(texts, 8) for texts in fields)
    head += column([""] * each, 80) + column([str(EEG_HZ)] * each, 8) + column([""] * each, 32)
    rng = np.random.default_rng(0)
    wave = (3000 * np.sin(2 * np.pi * 10 * np.arange(EEG_HZ) / EEG_HZ)).astype(np.int32)
    with path.open("wb") as file:
        file.write(head)
        for _ in range(n_records):
            record = (rng.normal(0, 600, (each, EEG_HZ)).astype(np.int32) + wave).astype("<i4")
            file.write(record.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    return path


# Ways: each gives what reads samples first to last --------------------------------------------------------------


def copy(source: Path, out: Path) -> Reader | None:
    """The bytes, synced."""
    import os

    out.mkdir()
    for file in source.parent.iterdir():
        shutil.copyfile(file, out / file.name)
        with (out / file.name).open("rb+") as copied:
            os.fsync(copied.fileno())
    if source.suffix != ".bin":
        return None
    mapped = np.memmap(out / source.name, "<i2", mode="r").reshape(-1, PROBE_CHANNELS + 1)
    return lambda first, last: np.array(mapped[first:last, :-1])


def neuroconv(source: Path, out: Path) -> Reader:
    """Its SpikeGLX interface to NWB."""
    import h5py
    from neuroconv.datainterfaces import SpikeGLXRecordingInterface

    out.mkdir()
    interface = SpikeGLXRecordingInterface(folder_path=source.parent, stream_id="imec0.ap", verbose=False)
    metadata = interface.get_metadata()
    metadata["NWBFile"]["session_start_time"] = "2024-05-06T10:00:01+00:00"
    interface.run_conversion(nwbfile_path=out / "a.nwb", metadata=metadata)
    series = next(iter(h5py.File(out / "a.nwb", "r")["acquisition"].values()))
    return lambda first, last: series["data"][first:last]


def zarr(source: Path, out: Path) -> Reader:
    """SpikeInterface's save to Zarr."""
    from spikeinterface.extractors import read_spikeglx

    recording = read_spikeglx(source.parent, stream_id="imec0.ap")
    saved = recording.save(format="zarr", folder=out, n_jobs=1, progress_bar=False, verbose=False)
    return lambda first, last: saved.get_traces(start_frame=first, end_frame=last)


def mne(source: Path, out: Path) -> Reader:
    """MNE-Python's Raw.save."""
    from mne.io import read_raw, read_raw_bdf

    out.mkdir()
    read_raw_bdf(source, verbose="error").save(out / "a_raw.fif", split_size="2GB", verbose="error")
    raw = read_raw(out / "a_raw.fif", verbose="error")
    return lambda first, last: raw.get_data(start=first, stop=last)


def publish(source: Path, out: Path) -> Reader:
    """Read, and publish the session."""
    from neuroloom.ingest import read
    from neuroloom.pipeline import align

    align(read(source)).save(out)
    return _stored(out)


def ingest(source: Path, out: Path) -> Reader:
    """`neuroloom ingest --sorter none`."""
    from neuroloom.pipeline.drops.ingesting import ingest_path
    from neuroloom.pipeline.store import Store

    result = ingest_path(source, Store(out).create(), sorter=None, in_place=True)
    if result.file is None:
        raise ValueError(result.reason)
    return _stored(Path(result.file).parent)


def _stored(folder: Path) -> Reader:
    from neuroloom.ingest import Session, Signal

    signals = [stream for stream in Session.open(folder).streams if isinstance(stream, Signal)]
    samples = max(signals, key=lambda signal: signal.n_samples * len(signal.channel_names)).segments[0].samples
    return lambda first, last: samples[slice(first, last)]


SPIKEGLX = {"plain copy": copy, "neuroconv": neuroconv, "SpikeInterface Zarr": zarr}
BDF = {"plain copy": copy, "MNE Raw.save": mne}
OURS = {"neuroloom publish": publish, "neuroloom ingest": ingest}
IMPORTS = {
    "plain copy": "h5py",
    "neuroconv": "neuroconv.datainterfaces",
    "SpikeInterface Zarr": "spikeinterface.extractors",
    "MNE Raw.save": "mne.io",
    "neuroloom publish": "neuroloom.pipeline",
    "neuroloom ingest": "neuroloom.pipeline.drops.ingesting",
}


# One way in a process of its own -------------------------------------------------------------------------------------


class Memory:
    """The highest anonymous memory of this process while it runs, in MiB, over what it was at the start."""

    def __enter__(self) -> Memory:
        self.start, self.peak, self.done = self._now(), 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.peak = max(self.peak, self._now() - self.start)

    def _now(self) -> float:
        with open("/proc/self/status", encoding="ascii") as status:
            return sum(int(line.split()[1]) for line in status if line.startswith(("RssAnon", "RssShmem"))) / 1024


def child(name: str, source: Path, out: Path, rate_hz: int, n_samples: int) -> None:
    """Run one way and print what was measured, as JSON."""
    import importlib

    importlib.import_module(IMPORTS[name])
    way = {**SPIKEGLX, **BDF, **OURS}[name]
    with Memory() as memory:
        began = time.perf_counter()
        read = way(source, out)
        seconds = time.perf_counter() - began
    window_s = None
    if read is not None:
        starts = np.random.default_rng(1).integers(0, n_samples - rate_hz, N_WINDOWS)
        began = time.perf_counter()
        for first in starts:
            read(int(first), int(first) + rate_hz)
        window_s = (time.perf_counter() - began) / N_WINDOWS
    n_bytes = sum(p.stat().st_size for o in out.parent.glob(f"{out.name}*") for p in o.rglob("*") if p.is_file())
    print(json.dumps({"seconds": seconds, "window_s": window_s, "peak_mib": memory.peak, "n_bytes": n_bytes}))


def run(name: str, source: Path, out: Path, rate_hz: int, n_samples: int) -> dict[str, Any]:
    """`child` in the environment that has the way's packages."""
    python = sys.executable if name in OURS or name == "plain copy" else PEERS / "bin" / "python"
    asked = ["--way", name, "--source", source, "--out", out, "--rate", rate_hz, "--samples", n_samples]
    command = [str(part) for part in (python, __file__, *asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for made in out.parent.glob(f"{out.name}*"):  # SpikeInterface adds ".zarr"
        shutil.rmtree(made)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# Windows -----------------------------------------------------------------------------------------------------------


def windows_per_second(work: Path) -> dict[str, float]:
    """Random windows of 1 s of 64 channels at 1 kHz: from a session file, and from features at 1 kHz."""
    from neuroloom.ingest import Segment, Session, Signal, Timebase
    from neuroloom.pipeline.runs.feature_cache import build_features
    from neuroloom.pipeline.runs.features import FeatureConfig

    n_samples = 600 * EEG_HZ
    noise = np.random.default_rng(0).normal(0, 30, (n_samples, EEG_CHANNELS)).astype(np.int16)
    eeg = Signal(
        name="eeg",
        modality="eeg",
        segments=(Segment(samples=noise, timebase=Timebase(rate_hz=float(EEG_HZ), n_samples=n_samples)),),
        channel_names=tuple(f"E{i}" for i in range(EEG_CHANNELS)),
        unit="uV",
        gain=np.ones(EEG_CHANNELS),
        offset=np.zeros(EEG_CHANNELS),
    )
    session = Session(subject="01", clock="eeg", streams=(eeg,)).save(work / "windows")
    signal = session["eeg"]
    assert isinstance(signal, Signal)
    features = build_features(session, config=FeatureConfig(bin_s=1 / EEG_HZ), folder=work / "derived")
    values = features["eeg"].values
    starts = np.random.default_rng(1).integers(0, n_samples - EEG_HZ, 2000)
    rates = {}
    for what, read in {
        "session file": lambda first: signal.segments[0].samples[first : first + EEG_HZ],
        "derived": lambda first: np.array(values[first : first + EEG_HZ]),
    }.items():
        began = time.perf_counter()
        for first in starts:
            read(int(first))
        rates[what] = len(starts) / (time.perf_counter() - began)
    return rates


# All together --------------------------------------------------------------------------------------------------------


def peers() -> None:
    """Install them, once."""
    if not (PEERS / "ready").is_file():
        print(f"installing {', '.join(PEER_PACKAGES)} into {PEERS} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([PEERS / "bin" / "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
        (PEERS / "ready").touch()


def compare(what: str, source: Path, ways: dict[str, Any], work: Path, rate_hz: int, repeats: int) -> None:
    """Every way on one recording, a line each; the median of the repeats."""
    n_bytes = source.stat().st_size
    n_samples = n_bytes // (2 * (PROBE_CHANNELS + 1)) if source.suffix == ".bin" else n_bytes // (3 * EEG_CHANNELS)
    print(f"\n{what}: {n_bytes / 1e9:.2f} GB, {n_samples / rate_hz:.0f} s")
    print(f"{'':22s}{'MB/s':>7s}{'of copy':>9s}{'memory MiB':>12s}{'size GB':>9s}{'1 s window ms':>15s}")
    plain = None
    for name in {**ways, **OURS}:
        subprocess.run(["cat", str(source)], stdout=subprocess.DEVNULL, check=True)
        runs = [run(name, source, work / "out", rate_hz, n_samples) for _ in range(repeats)]
        speed = n_bytes / 1e6 / float(np.median([r["seconds"] for r in runs]))
        plain = plain or speed
        window = "" if runs[0]["window_s"] is None else f"{1e3 * np.median([r['window_s'] for r in runs]):.2f}"
        peak, size = max(r["peak_mib"] for r in runs), runs[0]["n_bytes"] / 1e9
        print(f"{name:22s}{speed:7.0f}{speed / plain:9.2f}{peak:12.0f}{size:9.2f}{window:>15s}", flush=True)


def main() -> None:
    """Make the recordings, run every way on them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spikeglx-gb", type=float, default=4.0)
    parser.add_argument("--bdf-gb", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--work", type=Path, help="where there is room for three times the recordings")
    for hidden in ("way", "source", "out", "rate", "samples"):
        parser.add_argument(f"--{hidden}", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        child(args.way, Path(args.source), Path(args.out), int(args.rate), int(args.samples))
        return
    for name, asked, least in (
        ("--spikeglx-gb", args.spikeglx_gb, 2 * PROBE_HZ * 2 * (PROBE_CHANNELS + 1) / 1e9),
        ("--bdf-gb", args.bdf_gb, 2 * EEG_HZ * 3 * EEG_CHANNELS / 1e9),
    ):
        if asked < least:
            parser.error(f"{name} {asked}: windows of a second are read from it; {least:.4f} is the least")
    peers()
    if args.work:
        args.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="neuroloom-benchmark-", dir=args.work))
    try:
        probe = write_spikeglx(work / "probe" / "run_g0_imec0", int(args.spikeglx_gb * 1e9))
        compare("SpikeGLX, 384 channels", probe, SPIKEGLX, work, PROBE_HZ, args.repeats)
        shutil.rmtree(probe.parent)
        bdf = write_bdf(work / "bdf" / "a.bdf", int(args.bdf_gb * 1e9))
        compare("BDF, 64 channels", bdf, BDF, work, EEG_HZ, args.repeats)
        print("\nrandom windows of 64 channels x 1 s at 1 kHz, per second on one core")
        for what, rate in windows_per_second(work).items():
            print(f"{what:22s}{rate:7.0f}")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
