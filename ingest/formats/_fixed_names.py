"""Names that a vendor's software gives to every recording's files: then the folder tells one recording from another."""

from __future__ import annotations

from pathlib import Path

FIXED = frozenset({
    "gaze_positions", "pupil_positions", "blinks", "fixations", "saccades", "annotations", "gaze", "imu", "events",
    "3d_eye_states", "report", "livedata",
})  # fmt: skip
_PASSED = frozenset({"exports", "segments", "offline_data"})  # folders whose names are fixed too
_TOPS = frozenset({"inbox", "files"})  # where a store keeps what was dropped: they name nothing


def named_by(path: Path) -> str:
    """What a recording is called: its file's stem, or where that is one of FIXED the nearest folder that says more."""
    stem = path.name.split(".")[0]
    if stem not in FIXED:
        return path.stem
    for folder in path.absolute().parents:
        if folder.name in _TOPS or not folder.name:
            break
        if folder.name not in _PASSED and not folder.name.isdigit():
            return folder.name
    return stem
