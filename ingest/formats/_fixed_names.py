"""Names that software gives to every recording's files: then the folder tells one recording from another."""

from __future__ import annotations

import re
from pathlib import Path

FIXED = re.compile(
    "gaze_positions|pupil_positions|blinks|fixations|saccades|annotations|gaze|imu|events|3d_eye_states"  # Pupil Labs
    "|report|livedata|gazedata"  # Tobii
    r"|(csc|tt|se|st|sc|vt|lfp)\d+"  # Neuralynx
    r"|structure|settings|messages|continuous|\d{3}_((ch|adc|aux)?\d+|ch\d+_\d+)"  # Open Ephys
    "|params|spike_times|spike_clusters"  # phy and Kilosort
    "|info|amplifier|time"  # Intan
    "|config"  # 4D Neuroimaging
    "|recording|recordings|raw|rawdata|data|eeg|probe|sorting|spikes|export|output|untitled",  # whoever saves a file
    re.IGNORECASE,
)
_PASSED = re.compile(  # folders whose names are fixed, too
    r"exports|segments|offline_data|(experiment|recording|record node) ?\d*|continuous|events|raw|data|phy"
    r"|kilosort\d*|sorter_output|sorting|\d+",
    re.IGNORECASE,
)
_TOPS = frozenset({"inbox", "files"})  # where a store keeps what was dropped: they name nothing


def named_by(path: Path) -> str:
    """What a recording is called: its file's stem, or where that is one of FIXED the nearest folder that says more."""
    if not FIXED.fullmatch(path.name.split(".")[0]):
        return path.stem
    for folder in path.absolute().parents:
        if folder.name in _TOPS or not folder.name:
            break
        if not _PASSED.fullmatch(folder.name):
            return folder.name
    return path.stem
