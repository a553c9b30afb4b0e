"""A real session: a rat on a linear track, its hippocampal spikes and where it was (nelpy's example data, MIT).

    python benchmarks/linear_track.py FOLDER [--steps 600] [--seeds 3] [--json]

FOLDER holds `spikes.mat` and `trajectory.videoPositionTracking`. They are ingested as any drop is, then the position is
predicted from the spikes, and the spikes from their own past and the position, each on held-out time, beside the mean,
ridge and Poisson regression on the same lagged inputs. Scores of the network are means over seeds, with their range.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.runs import preparing, run_config, running
from neuroloom.pipeline.scores import judging
from neuroloom.pipeline.store import Store

RECORDING = """format = "neuroloom arrays"
clock = "trajectory"
[[units]]
name = "ca1"
spike_times = "spikes.mat:spikes.time"
time_unit = "s"
table = { area = "CA1" }
"""
TOPOLOGY = """name = "hippocampus"
speed_m_per_s = 2.0
[[areas]]
name = "CA1"
[[areas]]
name = "EC"
[[pathways]]
source = "CA1"
target = "EC"
length_mm = 20.0
[[pathways]]
source = "EC"
target = "CA1"
length_mm = 20.0
[[global_modules]]
name = "slow"
time_scale_s = 2.0
"""
ASKED = {
    "position from spikes": {"inputs": ("ca1",), "targets": ("position",)},
    "spikes from spikes and position": {"inputs": ("ca1", "position"), "targets": ("ca1",)},
}


FILES = ("spikes.mat", "trajectory.videoPositionTracking")


def ingest(recordings: Path, work: Path) -> tuple[Store, str]:
    """The session of the two files, in a store of its own."""
    drop = work / "drop"
    drop.mkdir()
    for name in FILES:
        shutil.copyfile(recordings / name, drop / name)
    (drop / "recording.toml").write_text(RECORDING)
    (drop / "session.toml").write_text('subject = "nelpy"\ntask = "track"\n')
    (work / "hippocampus.toml").write_text(TOPOLOGY)
    store = Store(work / "store").create()
    result = ingest_path(drop, store, sorter=None)
    if result.session is None:
        sys.exit(f"not ingested: {result.reason}")
    return store, result.session


def scores(store: Store, session: str, what: str, seed: int, steps: int, topology: Path) -> dict[str, float]:
    """Model -> score of one question, one seed."""
    name = f"{what.replace(' ', '-')}-{seed}"
    asked = ASKED[what]
    config = run_config.RunConfig(
        name=name,
        sessions=(session,),
        topology=str(topology),
        length_s=10.0,
        bin_s=0.1,
        steps=steps,
        seed=seed,
        inputs=asked["inputs"],
        targets=asked["targets"],
    )
    preparing.prepare_run(config, store)
    running.train_run(name, store)
    found = judging.evaluate_run(name, store, baselines=("mean", "ridge", "glm"))
    return {row.model: row.value for row in found if not row.area and not row.channel}


def main() -> None:
    """Print one line per question and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.recordings is None:
        print("left out: it needs the folder of the recording, see --help")
        return
    for name in FILES:
        if not (args.recordings / name).is_file():
            parser.error(f"{args.recordings}: holds no {name}; the folder of the recording is wanted")
    rows = []
    with tempfile.TemporaryDirectory(prefix="neuroloom-track-") as folder:
        work = Path(folder)
        store, session = ingest(args.recordings, work)
        for what in ASKED:
            found = [scores(store, session, what, s, args.steps, work / "hippocampus.toml") for s in range(args.seeds)]
            for model in dict.fromkeys(model for one in found for model in one):
                values = np.array([one[model] for one in found])
                rows.append(
                    {"asked": what, "model": model, "mean": values.mean(), "low": values.min(), "high": values.max()}
                )
    if args.json:
        json.dump(rows, sys.stdout, indent=1)
        return
    for row in rows:
        print(f"{row['asked']:32s} {row['model']:12s} {row['mean']:7.3f}  ({row['low']:.3f} to {row['high']:.3f})")


if __name__ == "__main__":
    main()
