"""A reader of another package that does what the file tells it: what a bug in a vendor's library could do."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from neuroloom.ingest.recording import Recording
from neuroloom.ingest.streams import Segment, Signal
from neuroloom.ingest.timebase import Timebase

TITLE = "a reader that misbehaves"
MODALITY = "eeg"
KEEPS = "nothing"
TESTED_ON = "files written by this project only"
MAGIC = b"WILD "


def sniff(path, head):
    """A file that says `WILD sniff crash` misbehaves here already."""
    if head.startswith(MAGIC + b"sniff "):
        misbehave(head.decode().removeprefix("WILD sniff "))
    return head.startswith(MAGIC)


def files(path):
    return (path,)


def misbehave(text):
    what, _, argument = text.strip().partition(" ")
    match what:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(3600)
        case "fill":
            bytearray(8 << 30)[:: 1 << 12] = b"x" * ((8 << 30) >> 12)
        case "open":
            Path(argument).read_bytes()
        case "write":
            Path(argument).write_text("was here")


def read(path):
    misbehave(path.read_text().removeprefix("WILD "))
    samples = np.arange(1000, dtype=np.int16).reshape(-1, 1)
    signal_of_it = Signal(
        name="eeg",
        modality="eeg",
        segments=(Segment(samples=samples, timebase=Timebase(rate_hz=100.0, n_samples=1000)),),
        channel_names=("Cz",),
        unit="uV",
        gain=np.ones(1),
        offset=np.zeros(1),
    )
    return [Recording(clock=path.stem, format="wild", files=(path,), streams=(signal_of_it,))]
