"""A session small enough to know by heart, and a folder of a run, as the review pages' tests need them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from neuroloom.ingest.quality import quality
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Units
from neuroloom.ingest.timebase import ClockMap, Timebase
from neuroloom.models.topology import Area, GlobalModule, Pathway, Topology

EEG_NAMES = ("Fp1", "Fp2", "C3", "C4", "P3", "P4", "O1", "O2")
FLAT, NOISY = "P3", "C4"
EEG_RATE_HZ, GAZE_RATE_HZ, GAP_S = 250.0, 500.0, (8.0, 10.0)


def signal(name, modality, values_by_start, rate_hz, channel_names, unit, device="") -> Signal:
    """A signal of segments, each given as its start in seconds and its values of shape (T, C)."""
    segments = tuple(
        Segment(samples=values, timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(values)))
        for start_s, values in values_by_start
    )
    n = len(channel_names)
    return Signal(
        name=name,
        modality=modality,
        segments=segments,
        channel_names=tuple(channel_names),
        unit=unit,
        gain=np.ones(n),
        offset=np.zeros(n),
        device=device,
    )


def eeg(names=EEG_NAMES) -> Signal:
    """Eight channels, 20 s, nothing between 8 and 10 s; P3 is flat, C4 is five times louder, O1 and O2 hold alpha."""
    rng = np.random.default_rng(1)
    parts = []
    for start_s, stop_s in ((0.0, GAP_S[0]), (GAP_S[1], 20.0)):
        t = np.arange(start_s, stop_s, 1 / EEG_RATE_HZ)
        noise = np.cumsum(rng.normal(0, 3, (t.size, 8)), axis=0)
        values = noise - np.linspace(noise[0], noise[-1], t.size) + rng.normal(0, 4, (t.size, 8))
        values[:, 6:] += 25 * np.sin(2 * np.pi * 10 * t)[:, None]
        values[:, 3] = values[:, 3] * 5 + rng.normal(0, 60, t.size)
        values[:, 4] = 0
        parts.append((start_s, values))
    return signal("eeg", "eeg", parts, EEG_RATE_HZ, names, "uV", "amplifier")


def gaze() -> tuple[Signal, Intervals]:
    """Fixations of 400 ms between saccades of known size, 18 s from second 1 on; a blink where both are NaN."""
    rng = np.random.default_rng(2)
    t = np.arange(0, 18, 1 / GAZE_RATE_HZ)
    places = np.vstack([[0, 0], rng.normal(0, 5, (50, 2))])
    step = np.clip((t % 0.4) / 0.03, 0, 1)[:, None]
    index = (t // 0.4).astype(int)
    values = places[index] * (1 - step) + places[index + 1] * step + rng.normal(0, 0.05, (t.size, 2))
    values[3000:3120] = np.nan
    starts = 1 + np.arange(45) * 0.4
    amplitude = np.hypot(*(places[1:46] - places[:45]).T)
    velocity = 500 * (1 - np.exp(-amplitude / 12)) + rng.normal(0, 8, 45)
    saccades = Intervals(
        name="saccades",
        bounds_s=np.stack([starts, starts + 0.03], axis=1),
        labels=("saccade",) * 45,
        device="tracker",
        table={"amplitude_deg": tuple(amplitude), "peak_velocity_deg_s": tuple(velocity)},
    )
    return signal("gaze", "gaze", [(1.0, values)], GAZE_RATE_HZ, ("left_x", "left_y"), "deg", "tracker"), saccades


def pupil() -> Signal:
    """One slow wave in arbitrary units."""
    t = np.arange(0, 18, 1 / 100)
    return signal("pupil", "pupil", [(1.0, 900 + 80 * np.sin(t)[:, None])], 100.0, ("left",), "a.u.", "tracker")


def units() -> Units:
    """Six units of 2 to 12 spikes per second; the last two were not accepted."""
    rng = np.random.default_rng(3)
    trains = tuple(np.sort(rng.uniform(0, 20, int(20 * rate))) for rate in (12, 8, 6, 4, 3, 2))
    t = np.arange(60)
    shape = -np.exp(-(((t - 20) / 4) ** 2)) + 0.4 * np.exp(-(((t - 32) / 8) ** 2))
    templates = tuple(np.outer(shape, [80, 40, 15]) * scale for scale in (1, 0.8, 0.9, 0.6, 0.3, 0.2))
    return Units(
        name="units",
        unit_names=tuple(f"u{i}" for i in range(6)),
        spike_times_s=trains,
        device="probe",
        table={
            "snr": (9.1, 7.7, 8.2, 5.0, 2.1, 1.4),
            "isi_violations_ratio": (0.0, 0.01, 0.02, 0.05, 0.61, 0.9),
            "accepted": (True, True, True, True, False, False),
            "reason": ("", "", "", "", "too many spikes within 1.5 ms of the last", "too close to the noise"),
            "template_uV": templates,
        },
    )


def clock_map(source="tracker", residual_ms=0.42) -> ClockMap:
    """34 ppm slow, three pulses lost, one extra."""
    noise_ms = np.random.default_rng(5).normal(0, residual_ms, 57)
    return ClockMap(
        source=source,
        target="amplifier",
        offset_s=12.3456,
        drift_ppm=34.0,
        anchor_s=10.0,
        span_s=(0.0, 20.0),
        residual_ms=residual_ms,
        n_matched=57,
        n_lost=3,
        n_extra=1,
        method="pulses, linear",
        evidence=tuple((float(t), float(r)) for t, r in zip(np.linspace(0, 20, 57), noise_ms, strict=True)),
    )


def session(**changed) -> Session:
    """20 s of EEG, gaze, pupil, units, events and trials of three devices, with findings about the EEG."""
    eyes, saccades = gaze()
    starts = np.arange(1.0, 19.0, 3.0)
    streams = (
        eeg(),
        eyes,
        pupil(),
        saccades,
        units(),
        Events(name="cues", times_s=starts + 0.5, labels=("left", "right") * 3, device="amplifier"),
        Intervals(
            name="trials",
            modality="trials",
            bounds_s=np.stack([starts, starts + 1.5], axis=1),
            labels=("reach",) * 6,
            device="amplifier",
        ),
    )
    amplifier = {
        "clock": "amplifier",
        "format": "brainvision",
        "files": ["sub-01_eeg.vhdr", "sub-01_eeg.eeg"],
        "digests": {"sub-01_eeg.vhdr": "blake3:0123456789abcdef", "sub-01_eeg.eeg": "blake3:fedcba9876543210"},
        "repairs": [{"found": "the header names 9 channels, the data hold 8", "used": "8 were read"}],
    }
    tracker = {"clock": "tracker", "format": "eyelink", "files": ["a.asc"], "digests": {"a.asc": "blake3:00ff00ff"}}
    fields = {
        "subject": "01",
        "session": "02",
        "task": "reach",
        "clock": "amplifier",
        "start": datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
        "streams": streams,
        "clock_maps": (clock_map(), clock_map("probe", 0.03)),
        "sources": (amplifier, tracker),
        "quality": quality(streams),
    }
    return Session(**(fields | changed))


AREAS = {"V1": (10, -90, 5), "M1": (35, -15, 55), "A1": (55, -20, 8), "PFC": (25, 50, 25), "S1": (40, -25, 50)}
PATHS = (("V1", "PFC", 0.6), ("PFC", "M1", 1.0), ("M1", "S1", 0.9), ("S1", "M1", 0.7), ("V1", "S1", 0.2))


def topology() -> Topology:
    """Five areas of the right half of a brain, five pathways, two global modules."""
    return Topology(
        name="five areas",
        areas=tuple(Area(name=n, position_mm=p, size=20 + 10 * i) for i, (n, p) in enumerate(AREAS.items())),
        pathways=tuple(
            Pathway(source=a, target=b, weight=w, length_mm=50, sign=-1 if w < 0.3 else 1) for a, b, w in PATHS
        ),
        global_modules=(
            GlobalModule(name="arousal", size=8, time_scale_s=10.0),
            GlobalModule(name="task", size=8, time_scale_s=1.0, areas=("PFC", "M1")),
        ),
    )


def score_rows(port, area, network):
    """The network's score with an interval, beaten by ridge on gaze only; spikes have a truth above them."""
    is_gaze = port == "gaze"
    values = {"network": network, "mean": 0.0, "ridge": network + (0.03 if is_gaze else -0.08)}
    values |= {} if is_gaze else {"truth": network + 0.15}
    common = {"session": "sub-01", "port": port, "area": area, "metric": "R2" if is_gaze else "bits per spike"}
    for model, value in values.items():
        of_ceiling = None if is_gaze or model == "truth" else value / values["truth"]
        bounds = {"low": value - 0.05, "high": value + 0.05}
        yield common | {"model": model, "channel": "", "value": value, **bounds, "of_ceiling": of_ceiling}


def run_folder(folder: Path, *, port="spikes") -> Path:
    """300 steps whose loss falls from 2 to 1, a validation every 50, scores of four areas and of gaze."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    steps = [{"step": i, "loss": 1 + np.exp(-i / 60) + 0.1 * rng.normal()} for i in range(1, 301)]
    steps += [{"step": i, "validation": 1.1 + np.exp(-i / 60), "best": i} for i in range(50, 301, 50)]
    scores = {(port, "V1"): 0.42, (port, "M1"): 0.61, (port, "A1"): 0.2, (port, "PFC"): 0.35, ("gaze", ""): 0.71}
    rows = [row for (name, area), score in scores.items() for row in score_rows(name, area, score)]
    config = {"training": {"steps": 300, "seed": 0}, "windows": {"length_s": 2.0, "ports": ["spikes", "gaze"]}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    (folder / "scores.json").write_text(json.dumps({"split": "held_out", "scores": rows}))
    (folder / "topology.toml").write_text(topology().to_toml())
    return folder
