"""Sorters against spikes that are known: what they find, how long they take, how much memory.

    python benchmarks/sorting.py [--seconds 60] [--channels 32] [--units 12] [--sorters spykingcircus2 lupin] [--drift]

The ground truth is SpikeInterface's `generate_ground_truth_recording` (with --drift `generate_drifting_recording`):
made-up templates at random places, and noise. Each sorter runs in a process of its own, through
`neuroloom.ingest.sorting.sort`: preprocessing, sorting, measures and curation. Per sorter: accuracy, precision and
recall, mean over the true units as SpikeInterface's comparison has them (a spike within 0.4 ms matches); units found
with an accuracy of 0.8 or more; the same of the units that curation accepts; time as a multiple of the recording's
length; peak memory of all of it, the made-up recording included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

WELL_FOUND = 0.8


def truth(seconds: float, n_channels: int, n_units: int, drift: bool) -> tuple[Any, Any]:
    """Recording and sorting of the ground truth, SpikeInterface's."""
    if drift:
        return _drifting(seconds, n_channels, n_units)
    from spikeinterface.core import generate_ground_truth_recording

    recording, sorting = generate_ground_truth_recording(
        durations=[seconds], num_channels=n_channels, num_units=n_units, sampling_frequency=30_000.0, seed=0
    )
    return recording, sorting


def _drifting(seconds: float, n_channels: int, n_units: int) -> tuple[Any, Any]:
    """Contacts of a Neuropixels 1.0 that go up and down past the units after a sixth of the time, slowly."""
    from probeinterface.neuropixels_tools import build_neuropixels_probe
    from spikeinterface.generation import generate_drifting_recording

    probe = build_neuropixels_probe("NP1000").get_slice(np.arange(n_channels))
    probe.set_device_channel_indices(np.arange(n_channels))
    zigzag = {"t_start_drift": seconds / 6, "period_s": seconds * 5 / 12}
    _, drifting, sorting = generate_drifting_recording(
        num_units=n_units,
        duration=seconds,
        probe=probe,
        generate_displacement_vector_kwargs={
            "displacement_sampling_frequency": 5.0,
            "drift_start_um": [0, 20],
            "drift_stop_um": [0, -20],
            "drift_step_um": 1,
            "motion_list": [{"drift_mode": "zigzag", "non_rigid_gradient": None, "t_end_drift": None, **zigzag}],
        },
        seed=0,
    )
    return drifting, sorting


def one(sorter: str, args: argparse.Namespace, drift: str) -> dict[str, float]:
    """Scores of one sorter with the chain's `drift`."""
    from spikeinterface.comparison import compare_sorter_to_ground_truth
    from spikeinterface.core import NumpySorting

    from neuroloom.ingest.preprocessing import Chain
    from neuroloom.ingest.sorting import sort
    from neuroloom.ingest.spikeinterface_bridge import from_spikeinterface

    recording, sorting = truth(args.seconds, args.channels, args.units, args.drift)
    signal = replace(from_spikeinterface(recording, name="truth"), unit="uV")
    start = time.perf_counter()
    units = sort(signal, sorter, chain=Chain(drift=drift))
    took_s = time.perf_counter() - start
    trains = {
        name: np.rint(times_s * signal.rate_hz).astype(np.int64)
        for name, times_s in zip(units.unit_names, units.spike_times_s, strict=True)
    }
    found = NumpySorting.from_unit_dict([trains], signal.rate_hz)
    scores = compare_sorter_to_ground_truth(sorting, found, exhaustive_gt=True)
    table = scores.get_performance(method="by_unit")
    accepted = [name for name, yes in zip(units.unit_names, units.table["accepted"], strict=True) if yes]
    kept = compare_sorter_to_ground_truth(sorting, found.select_units(accepted), exhaustive_gt=True)
    return {
        **{key: float(table[key].mean()) for key in ("accuracy", "precision", "recall")},
        "well_found": int((table["accuracy"] >= WELL_FOUND).sum()),
        "n_true": len(table),
        "n_found": len(units.unit_names),
        "n_accepted": len(accepted),
        "well_found_accepted": int((kept.get_performance(method="by_unit")["accuracy"] >= WELL_FOUND).sum()),
        "time_ratio": took_s / args.seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Each sorter in a process of its own, one after the other; a table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--units", type=int, default=12)
    parser.add_argument("--sorters", nargs="*", default=None)
    parser.add_argument("--drift", action="store_true")
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one[0], args, args.one[1])))
        return
    from neuroloom.ingest.sorters import sorters

    ways = ("none", "sorter", "dredge_fast") if args.drift else ("sorter",)
    columns = [
        "sorter",
        "drift",
        "accuracy",
        "precision",
        "recall",
        "well found",
        "units; accepted (well found)",
        "time",
        "peak MB",
    ]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for sorter in args.sorters or sorters():
        for drift in ways:
            print(_row(sorter, drift), flush=True)


def _row(sorter: str, drift: str) -> str:
    command = [sys.executable, __file__, *sys.argv[1:], "--one", sorter, drift]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"| {sorter} | {drift} | failed: {done.stderr.strip().splitlines()[-1]} |"
    s = json.loads(done.stdout.strip().splitlines()[-1])
    return (
        f"| {sorter} | {drift} | {s['accuracy']:.2f} | {s['precision']:.2f} | {s['recall']:.2f} | "
        f"{s['well_found']} of {s['n_true']} | {s['n_found']}; {s['n_accepted']} ({s['well_found_accepted']}) | "
        f"{s['time_ratio']:.2f} | {s['peak_mb']:.0f} |"
    )


if __name__ == "__main__":
    main()
