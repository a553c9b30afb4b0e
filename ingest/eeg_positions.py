"""Where on the head an EEG's channels lie: as the file says, or by their names in the 10-5 system.

    placed(eeg)                  -> the same Signal with columns x_mm, y_mm, z_mm, and how they are known
    positions_mm(signal)         -> (C, 3), NaN where not known
    plain_name("EEG Fp1-Ref")    -> "fp1"

A place by name is the textbook's, after Oostenveld and Praamstra 2001, Clin Neurophysiol 112:713, not this head's.
Coordinates in mm in the head's frame: x right, y front, z up.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from neuroloom.ingest.streams import Signal
from neuroloom.ingest.timebase import FloatArray

AXES = ("x_mm", "y_mm", "z_mm")
BY_NAME = "by name in the 10-5 system, not measured"
OLD_NAMES = {"t3": "t7", "t4": "t8", "t5": "p7", "t6": "p8"}  # the 10-20 system before 1991
TEMPLATES = ("colin27_1005", "standard_1005")  # MNE 1.13 gave the second another name


def placed(eeg: Signal, montage: str | None = None) -> Signal:
    """With the place of every channel that the file leaves out and whose name tells it; measured places stay.

    montage: one of MNE-Python's names ("biosemi64", "GSN-HydroCel-128"), where names are those of a cap.
    Raises ValueError for a montage that MNE-Python does not have.
    """
    if np.isfinite(positions_mm(eeg)).any():
        return eeg
    found = _by_name(tuple(eeg.channel_names), montage)
    if not np.isfinite(found).any():
        return eeg
    columns = {axis: tuple(float(x) for x in found[:, i]) for i, axis in enumerate(AXES)}
    told = f"by name in {montage}, not measured" if montage else BY_NAME
    return replace(eeg, table={**eeg.table, **columns}, provenance={**eeg.provenance, "positions": told})


def check_montage(name: str) -> None:
    """Raise ValueError for a montage that MNE-Python does not have."""
    import mne

    known = mne.channels.get_builtin_montages()
    if name not in known:
        raise ValueError(f"montage {name!r} is not known; there are {', '.join(known)}")


def positions_mm(signal: Signal) -> FloatArray:
    """The place of each channel as its table says it, shape (C, 3), NaN where it does not."""
    missing = (np.nan,) * len(signal.channel_names)
    columns = [[np.nan if x is None else float(x) for x in signal.table.get(axis, missing)] for axis in AXES]
    return np.array(columns, dtype=np.float64).reshape(3, -1).T


def plain_name(channel: str) -> str:
    """A channel's name as the system spells it, in small letters, without "EEG " before or "-REF" after it."""
    key = channel.casefold().strip().removeprefix("eeg ").removesuffix("-ref").strip(". ")
    return OLD_NAMES.get(key, key)


def _by_name(channels: tuple[str, ...], montage: str | None) -> FloatArray:
    known = _template_mm(montage)
    plain = [plain_name(channel) for channel in channels]
    nowhere = np.full(3, np.nan)
    return np.array([known[key] if key in known and plain.count(key) == 1 else nowhere for key in plain])


@lru_cache(maxsize=8)
def _template_mm(montage: str | None) -> dict[str, FloatArray]:
    """Places by plain name in the head's frame."""
    import mne

    built_in = mne.channels.get_builtin_montages()
    name = montage or next(template for template in TEMPLATES if template in built_in)
    check_montage(name)
    template = mne.channels.make_standard_montage(name)
    info = mne.create_info(template.ch_names, 1000.0, "eeg", verbose="error")
    info.set_montage(template, verbose="error")
    return {plain_name(channel["ch_name"]): channel["loc"][:3] * 1e3 for channel in info["chs"]}
