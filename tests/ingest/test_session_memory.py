"""A session is saved in bounded memory, whatever the length of what it holds."""

import subprocess
import sys
from pathlib import Path

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
