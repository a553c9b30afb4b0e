"""A session is saved, and a recording ingested, in bounded memory, whatever the length of what it holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAVE_300_MB = """
import resource, sys
from pathlib import Path
import numpy as np
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

class Synthetic:
    dtype = np.dtype("<i2")

    def __init__(self, n_samples):
        self.shape = (n_samples, 32)

    def __getitem__(self, samples):
        rows = range(self.shape[0])[samples]
        return np.resize(np.arange(997, dtype=np.int16), (len(rows), 32))

def save(n_samples, folder):
    segment = Segment(samples=Synthetic(n_samples), timebase=Timebase(rate_hz=30000.0, n_samples=n_samples))
    probe = Signal(name="probe", modality="wideband", segments=(segment,), unit="uV", gain=np.ones(32),
                   offset=np.zeros(32), channel_names=tuple(map(str, range(32))))
    with Session(subject="01", clock="probe", streams=(probe,)).save(folder) as saved:
        assert saved["probe"].n_samples == n_samples

peak_kib = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
folder = Path(sys.argv[1])
save(1000, folder / "small")  # everything is imported now
before = peak_kib()
limit = 512 << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
save(4_700_000, folder / "large")
print((peak_kib() - before) // 1024)
"""


def test_300_mb_are_saved_within_512_mib_and_add_less_than_100_mib(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAVE_300_MB, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100


INGEST = """
import ctypes, re, resource, shutil, sys, threading
from pathlib import Path
from neuroloom.pipeline.boxed import _limits
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import record_person

root, sizes = Path(sys.argv[1]), [int(n) for n in sys.argv[2:]]
record_person(root / "sample", duration_s=6, devices=("probe",))
(meta,) = (root / "sample").glob("*.meta")
store = Store(root / "store").create()
own_kib, used, over = [0], [0], threading.Event()

class Heap(ctypes.Structure):
    # What glibc says of its heaps: `uordblks` and `hblkhd` are in use, the rest it keeps for later.
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

heap = ctypes.CDLL(None).mallinfo2
heap.restype = Heap

def look():
    # Memory of its own: what is mapped from a file is the file's, and the kernel takes it back.
    while not over.wait(0.01):
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
        own_kib[0] = max(own_kib[0], int(line.split()[1]))
        now = heap()
        used[0] = max(used[0], now.uordblks + now.hblkhd)

threading.Thread(target=look, daemon=True).start()

def ingest(n_bytes):
    # A recording of that length: the sample's own samples, over and over.
    folder = root / f"probe{n_bytes}"
    folder.mkdir()
    text, piece = meta.read_text(), meta.with_suffix(".bin").read_bytes()
    n_saved = int(re.search(r"nSavedChans=(\\d+)", text)[1])
    n_times = max(1, n_bytes // len(piece))
    text = re.sub(r"(?m)^fileSizeBytes=.*$", f"fileSizeBytes={n_times * len(piece)}", text)
    text = re.sub(r"(?m)^fileTimeSecs=.*$", f"fileTimeSecs={6 * n_times}", text)
    (folder / meta.name).write_text(text)
    with (folder / meta.name).with_suffix(".bin").open("wb") as file:
        for _ in range(n_times):
            file.write(piece)
    (folder / "session.toml").write_text(f'subject = "{n_bytes}"')
    done = ingest_path(folder, store, sorter=None)
    assert done.state == "ingested", done.reason
    shutil.rmtree(folder)
    return own_kib[0] // 1024, used[0] // 2**20

ingest(0)  # everything is imported now
own_kib[0] = used[0] = 0
limit = _limits.data_bytes() + (512 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for n_bytes in sizes:
    print(*ingest(n_bytes))
over.set()
"""
MIB = 1 << 20


@pytest.mark.trust
@pytest.mark.parametrize("n_mib", [int(os.environ.get("NEUROLOOM_LARGE_MIB", "1024"))])
def test_a_gigabyte_is_ingested_within_512_mib_and_its_length_adds_next_to_nothing(tmp_path: Path, n_mib: int) -> None:
    sizes = [str(n_mib // 4 * MIB), str(n_mib * MIB)]
    done = subprocess.run(
        [sys.executable, "-c", INGEST, str(tmp_path), *sizes], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    quarter_mib, used_in_quarter_mib, whole_mib, used_mib = map(int, done.stdout.split()[-4:])
    print(f"{n_mib} MiB: highest memory {whole_mib} MiB, {quarter_mib} MiB for a quarter of it, imports included")
    print(f"in use of its heap at most {used_mib} MiB, {used_in_quarter_mib} MiB for a quarter of it")
    assert used_mib - used_in_quarter_mib < 16
    assert whole_mib - quarter_mib < 64
