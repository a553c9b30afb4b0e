"""Make the committed sample: 40 s of a synthetic person's EEG and gaze, with drifting clocks and lost pulses.

    python sample_data/make.py

The demo makes its own, longer sample with a probe from a seed; these small files are for a first look and for tests.
"""

import shutil
from pathlib import Path

from neuroloom.pipeline.synthetic.sample_devices import record_person, truth_of

HERE = Path(__file__).parent

if __name__ == "__main__":
    drop = HERE / "person"
    shutil.rmtree(drop, ignore_errors=True)
    brain = record_person(drop, duration_s=40.0, seed=11, subject="sample", devices=("eeg", "gaze"))
    (HERE / "person-truth.json").write_text(truth_of(brain) + "\n", encoding="utf-8")
    for path in sorted(HERE.rglob("*")):
        if path.is_file():
            print(f"{path.relative_to(HERE)}  {path.stat().st_size / 1e3:.0f} kB")
