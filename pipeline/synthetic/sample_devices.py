"""The devices that record the synthetic person, each on its own drifting clock, each in a real file format.

    probe   SpikeGLX `.ap.bin` + `.meta`   16 channels at 30 kHz through two areas, sync word
    eeg     BrainVision triplet            19 channels at 500 Hz, sync pulses and task codes as markers
    gaze    EyeLink ASC                    one eye at 500 Hz, sync as INPUT lines, blinks

All see the same irregular sync pulses; each loses some, and sees some that nobody sent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuroloom.pipeline.synthetic.sample_brain import AREAS, STEP_S, Brain, FloatArray, live

PROBE_HZ = 30_000
PROBE_CHANNELS = 16
PROBE_AREAS = ("V1",) * 8 + ("PPC",) * 8
UV_PER_BIT = 0.6e6 / 512 / 500
EEG_HZ = 500
EEG_UV_PER_BIT = 0.1
GAZE_HZ = 500
CHUNK_S = 10.0
STIMULUS_CODES = {-1: "S 11", 1: "S 12"}
CHOICE_CODES = {-1: "S 21", 1: "S 22"}
# Scalp positions on a head of 90 mm (x right, y front, z up) of the 10-20 system, degrees of azimuth and inclination.
EEG_POSITIONS = {
    "Fp1": (108, 90), "Fp2": (72, 90), "F7": (144, 90), "F3": (129, 60), "Fz": (90, 45), "F4": (51, 60), "F8": (36, 90),
    "T7": (180, 90), "C3": (180, 45), "Cz": (0, 0), "C4": (0, 45), "T8": (0, 90), "P7": (216, 90), "P3": (231, 60),
    "Pz": (270, 45), "P4": (309, 60), "P8": (324, 90), "O1": (252, 90), "O2": (288, 90),
}  # fmt: skip
AREA_POSITIONS_MM = {"V1": (-8, -70, 5), "PPC": (-30, -45, 48), "FEF": (-28, 10, 52), "M1": (-36, -15, 55)}
BAD_EEG_CHANNELS = {"T7": "flat", "F8": "noisy"}


@dataclass(frozen=True, kw_only=True)
class DeviceClock:
    """Device time = (true time - started_s) * (1 + drift_ppm * 1e-6) + zero_s."""

    started_s: float
    drift_ppm: float
    zero_s: float = 0.0

    def seconds(self, true_s: FloatArray) -> FloatArray:
        """True times as this device tells them."""
        return (true_s - self.started_s) * (1 + self.drift_ppm * 1e-6) + self.zero_s

    def true_seconds(self, device_s: FloatArray) -> FloatArray:
        """The inverse."""
        return (device_s - self.zero_s) / (1 + self.drift_ppm * 1e-6) + self.started_s


CLOCKS = {
    "probe": DeviceClock(started_s=1.5, drift_ppm=0.0),
    "eeg": DeviceClock(started_s=0.4, drift_ppm=34.0),
    "gaze": DeviceClock(started_s=0.9, drift_ppm=-52.0, zero_s=1234.567),
}


def record_person(
    folder: Path,
    *,
    duration_s: float = 120.0,
    seed: int = 7,
    subject: str = "demo",
    devices: tuple[str, ...] = ("probe", "eeg", "gaze"),
) -> Brain:
    """Write one session of the person into `folder` (a drop for the inbox); returns the truth.

    The folder holds the devices' files, `session.toml` (whose, areas) and `task.toml` (codes).
    """
    brain = live(duration_s, seed)
    rng = np.random.default_rng(seed + 1)
    pulses = np.cumsum(rng.uniform(0.4, 1.2, int(duration_s / 0.4)))
    pulses = pulses[pulses < duration_s - 1]
    name = f"sub-{subject}_ses-01_task-choice"
    folder.mkdir(parents=True, exist_ok=True)
    seen = {device: pulses_seen(pulses, clock, duration_s, rng) for device, clock in CLOCKS.items()}
    if "probe" in devices:
        write_probe(folder / f"{name}_g0_t0.imec0.ap", brain, seen["probe"], rng)
    if "eeg" in devices:
        write_eeg(folder / f"{name}_eeg", brain, seen["eeg"], rng)
    if "gaze" in devices:
        write_gaze(folder / f"{name}_gaze.asc", brain, seen["gaze"], rng)
    areas = _AREAS_TOML if "probe" in devices else ""
    (folder / "session.toml").write_text(_SESSION_TOML.format(subject=subject) + areas, encoding="utf-8")
    if "eeg" in devices:
        (folder / "task.toml").write_text(_TASK_TOML, encoding="utf-8")
    return brain


def truth_of(brain: Brain) -> str:
    """Clocks of the devices as JSON, to be kept beside what was recovered."""
    return json.dumps({name: asdict(clock) for name, clock in CLOCKS.items()}, indent=1)


def pulses_seen(pulses: FloatArray, clock: DeviceClock, duration_s: float, rng: np.random.Generator) -> FloatArray:
    """Pulses on the device's clock: 8 % lost, 4 % extra, 0.2 ms of jitter."""
    kept = pulses[(rng.random(pulses.size) > 0.08) & (pulses > clock.started_s + 0.1)]
    extra = rng.uniform(clock.started_s + 0.2, duration_s - 1, int(0.04 * pulses.size))
    return clock.seconds(np.sort(np.concatenate([kept, extra])) + rng.normal(0, 2e-4, kept.size + extra.size))


def write_probe(stem: Path, brain: Brain, pulses_s: FloatArray, rng: np.random.Generator) -> None:
    """`<stem>.bin` and `<stem>.meta` as SpikeGLX writes a Neuropixels 1.0 probe of which 16 sites were saved."""
    clock = CLOCKS["probe"]
    templates = _templates(len(brain.unit_areas), brain.unit_areas, rng)
    n_total = int((brain.duration_s - clock.started_s - 0.5) * PROBE_HZ)
    spikes = [np.round(clock.seconds(t) * PROBE_HZ).astype(int) for t in brain.spike_times_s]
    sync = np.round(pulses_s * PROBE_HZ).astype(int)
    pad, width = templates.shape[1], int(0.005 * PROBE_HZ)
    binary = stem.with_name(stem.name + ".bin")
    with binary.open("wb") as file:
        for start in range(0, n_total, int(CHUNK_S * PROBE_HZ)):
            n = min(int(CHUNK_S * PROBE_HZ), n_total - start)
            trace = rng.normal(0, 8.0, (n + 2 * pad, PROBE_CHANNELS))
            for template, samples in zip(templates, spikes, strict=True):
                near = samples[(samples >= start - pad) & (samples < start + n)] - start + pad
                for offset in range(pad):
                    np.add.at(trace, near + offset, template[offset])
            trace = trace[pad : pad + n] + _field(brain, start, n)
            word = np.zeros(n)
            for at in sync[(sync > start - width) & (sync < start + n)] - start:
                word[max(at, 0) : at + width] = 64
            bits = np.clip(np.round(trace / UV_PER_BIT), -512, 511)
            file.write(np.column_stack([bits, word]).astype("<i2").tobytes())
    stem.with_name(stem.name + ".meta").write_text(_meta(binary.stat().st_size, n_total), encoding="ascii")


def _templates(n_units: int, areas: tuple[str, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Waveforms in µV, shape (N, 60, 16): a trough and a slower peak, weaker with distance along the probe."""
    time_ms = np.arange(60) / PROBE_HZ * 1e3
    templates = np.zeros((n_units, 60, PROBE_CHANNELS))
    for unit in range(n_units):
        within = [i for i, area in enumerate(PROBE_AREAS) if area == areas[unit]]
        rank = sum(area == areas[unit] for area in areas[:unit])
        centre = within[0] + (rank + 0.5) * len(within) / areas.count(areas[unit]) - 0.5
        width_ms, late_ms = rng.uniform(0.10, 0.18), rng.uniform(0.35, 0.6)
        shape = -np.exp(-(((time_ms - 0.6) / width_ms) ** 2))
        shape += rng.uniform(0.2, 0.5) * np.exp(-(((time_ms - 0.6 - late_ms) / (2.2 * width_ms)) ** 2))
        spread = np.exp(-(((np.arange(PROBE_CHANNELS) - centre) / 1.1) ** 2))
        templates[unit] = rng.uniform(90, 170) * shape[:, None] * spread
    return templates


def _field(brain: Brain, start: int, n: int) -> FloatArray:
    """The slow field at the probe's sites, µV: the activity of the area that a site lies in, and mains hum."""
    true_s = CLOCKS["probe"].true_seconds((start + np.arange(n)) / PROBE_HZ)
    times = true_s / STEP_S
    grid = np.arange(brain.state_TA.shape[0])
    slow = {area: 40 * np.interp(times, grid, brain.state_TA[:, AREAS.index(area)]) for area in set(PROBE_AREAS)}
    return np.stack([slow[area] for area in PROBE_AREAS], axis=1) + 4 * _hum(true_s)[:, None]


def _meta(n_bytes: int, n_samples: int) -> str:
    sites = range(PROBE_CHANNELS)
    lines = {
        "acqApLfSy": "384,384,1", "appVersion": "20230202", "fileCreateTime": "2024-05-06T10:00:01",
        "fileName": "run_g0_t0.imec0.ap.bin", "fileSizeBytes": n_bytes, "fileTimeSecs": n_samples / PROBE_HZ,
        "firstSample": 0, "imAiRangeMax": 0.6, "imAiRangeMin": -0.6, "imMaxInt": 512,
        "imDatPrb_pn": "NP1000", "imDatPrb_sn": 1, "imDatPrb_type": 0,
        "imSampRate": PROBE_HZ, "nSavedChans": PROBE_CHANNELS + 1,
        "snsApLfSy": f"{PROBE_CHANNELS},0,1", "snsSaveChanSubset": f"0:{PROBE_CHANNELS - 1},768", "typeThis": "imec",
        "~imroTbl": "(0,384)" + "".join(f"({i} 0 0 500 250 1)" for i in range(384)),
        "~snsChanMap": "(384,384,1)" + "".join(f"(AP{i};{i}:{i})" for i in sites) + f"(SY0;768:{PROBE_CHANNELS})",
        "~snsGeomMap": "(NP1000,1,0,70)" + "".join(f"(0:{27 + 32 * (i % 2)}:{20 * (i // 2)}:1)" for i in sites),
    }  # fmt: skip
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def lead_field() -> FloatArray:
    """Potential at the electrodes per area, shape (19, 4): radial dipoles in a homogeneous head, in arbitrary gain."""
    azimuth, inclination = np.deg2rad(np.array(list(EEG_POSITIONS.values()), dtype=float)).T
    radial = np.stack(
        [np.sin(inclination) * np.cos(azimuth), np.sin(inclination) * np.sin(azimuth), np.cos(inclination)]
    )
    electrodes, areas = 90 * radial.T, np.array([AREA_POSITIONS_MM[a] for a in AREAS], dtype=float)
    towards = electrodes[:, None] - areas
    dipoles = areas / np.linalg.norm(areas, axis=1, keepdims=True)
    gain = (towards * dipoles).sum(-1) / np.linalg.norm(towards, axis=-1) ** 3
    gain -= gain.mean(axis=0)
    return np.asarray(gain / np.abs(gain).max())


def write_eeg(stem: Path, brain: Brain, pulses_s: FloatArray, rng: np.random.Generator) -> None:
    """A BrainVision triplet with alpha waves, mains hum, blinks and saccades, one flat and one noisy channel."""
    clock = CLOCKS["eeg"]
    n = int((brain.duration_s - clock.started_s - 0.2) * EEG_HZ)
    device_s = np.arange(n) / EEG_HZ
    true_s = clock.true_seconds(device_s)
    state = np.stack([np.interp(true_s / STEP_S, np.arange(len(s)), s) for s in brain.state_TA.T], axis=1)
    names = list(EEG_POSITIONS)
    values = 25 * state @ lead_field().T + rng.normal(0, 4, (n, len(names)))
    back = np.array([-EEG_POSITIONS[c][1] * np.sin(np.deg2rad(EEG_POSITIONS[c][0])) for c in names])
    envelope = 1 + 0.7 * np.sin(2 * np.pi * 0.11 * true_s)
    values += np.outer(envelope * np.sin(2 * np.pi * 10 * true_s), 4 * np.clip(back, 0, None) / 90)
    values += 3 * _hum(true_s)[:, None]
    _add_eyes(values, names, true_s, brain)
    values[:, names.index("T7")] = 0.0
    values[:, names.index("F8")] += rng.normal(0, 150, n)
    bits = np.clip(np.round(values / EEG_UV_PER_BIT), -32768, 32767).astype("<i2")
    stem.with_suffix(".eeg").write_bytes(bits.tobytes())
    channels = "".join(f"Ch{i}={name},,{EEG_UV_PER_BIT},µV\n" for i, name in enumerate(names, 1))
    header = _VHDR.format(stem=stem.name, n=len(names), interval=1_000_000 // EEG_HZ, channels=channels)
    stem.with_suffix(".vhdr").write_text(header, encoding="utf-8")
    markers = [(t, "S  1") for t in pulses_s]
    markers += [(clock.seconds(t), STIMULUS_CODES[int(s)]) for t, s in zip(brain.stimulus_s, brain.side, strict=True)]
    markers += [(clock.seconds(t), CHOICE_CODES[int(c)]) for t, c in zip(brain.choice_s, brain.choice, strict=True)]
    rows = [f"Mk{k}=Stimulus,{code},{round(t * EEG_HZ) + 1},1,0" for k, (t, code) in enumerate(sorted(markers), 2)]
    text = _VMRK.format(stem=stem.name) + "\n".join(rows) + "\n"
    stem.with_suffix(".vmrk").write_text(text, encoding="utf-8")


def _hum(true_s: FloatArray) -> FloatArray:
    """The mains, which every device in the room hears."""
    return np.sin(2 * np.pi * 50 * true_s)


def _add_eyes(values: FloatArray, names: list[str], true_s: FloatArray, brain: Brain) -> None:
    """Lids and eye muscles, in µV, in the electrodes above the eyes: a bump at each blink, a spike at each saccade."""
    near = [names.index("Fp1"), names.index("Fp2")]
    for start_s, stop_s in brain.blinks_s:
        middle_s = (start_s + stop_s) / 2
        first, last = np.searchsorted(true_s, [middle_s - 0.3, middle_s + 0.3])
        bump = 90 * np.exp(-(((true_s[first:last] - middle_s) / 0.07) ** 2))
        values[first:last, near] += bump[:, None]
    for at_s in np.concatenate([brain.choice_s - 0.1, brain.choice_s + 0.6]):
        first, last = np.searchsorted(true_s, [at_s, at_s + 0.02])
        values[first:last, near] += 8 * np.sin(2 * np.pi * (true_s[first:last] - at_s) / 0.02)[:, None]


def write_gaze(path: Path, brain: Brain, pulses_s: FloatArray, rng: np.random.Generator) -> None:
    """An EyeLink ASC of the right eye; a blink is missing data between SBLINK and EBLINK."""
    clock = CLOCKS["gaze"]
    step_ms = 1000 // GAZE_HZ
    first_ms = round(clock.zero_s * 1000)
    n = int((brain.duration_s - clock.started_s - 0.3) * GAZE_HZ)
    times_ms = first_ms + step_ms * np.arange(n)
    true_s = clock.true_seconds(times_ms / 1000)
    grid = np.arange(len(brain.gaze_px_T2))
    xy = np.stack([np.interp(true_s / STEP_S, grid, g) for g in brain.gaze_px_T2.T], axis=1) + rng.normal(0, 2, (n, 2))
    pupil = 1000 + 60 * np.sin(2 * np.pi * 0.05 * true_s) + rng.normal(0, 5, n)
    lines = [
        (int(t), 3, f"{t}\t{x:7.1f}\t{y:7.1f}\t{p:7.1f}\t...") for t, (x, y), p in zip(times_ms, xy, pupil, strict=True)
    ]
    for start_s, stop_s in clock.seconds(brain.blinks_s):
        start, stop = (first_ms + step_ms * round((t * 1000 - first_ms) / step_ms) for t in (start_s, stop_s))
        if start <= times_ms[0] or stop >= times_ms[-1]:
            continue
        for i in range((start - first_ms) // step_ms, (stop - first_ms) // step_ms + 1):
            lines[i] = (int(times_ms[i]), 3, f"{times_ms[i]}\t   .\t   .\t    0.0\t...")
        lines += [(start, 1, f"SBLINK R {start}"), (stop, 4, f"EBLINK R {start}\t{stop}\t{stop - start + step_ms}")]
    lines += [(round(t * 1000), 2, f"INPUT\t{round(t * 1000)}\t1") for t in pulses_s]
    body = "\n".join(text for _, _, text in sorted(lines))
    end = f"END\t{times_ms[-1] + step_ms}\tSAMPLES\tEVENTS\tRES\t  35.00\t  35.00\n"
    path.write_text(_ASC_HEAD.format(first=first_ms, rate=GAZE_HZ) + body + "\n" + end, encoding="ascii")


_SESSION_TOML = """subject = "{subject}"
session = "01"
task = "choice"
"""

_AREAS_TOML = f"""
[areas]
"ap" = {json.dumps(list(PROBE_AREAS))}
"""

_TASK_TOML = """name = "choice"

[trials]
start = ["S 11", "S 12"]
stop_after_s = 1.6

[columns.stimulus]
"S 11" = "left"
"S 12" = "right"

[columns.choice]
"S 21" = "left"
"S 22" = "right"
"""

_VHDR = """Brain Vision Data Exchange Header File Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg
MarkerFile={stem}.vmrk
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels={n}
SamplingInterval={interval}

[Binary Infos]
BinaryFormat=INT_16

[Channel Infos]
{channels}"""

_VMRK = """Brain Vision Data Exchange Marker File, Version 1.0

[Common Infos]
Codepage=UTF-8
DataFile={stem}.eeg

[Marker Infos]
Mk1=New Segment,,1,1,0,20240506100000000000
"""

_ASC_HEAD = """** CONVERTED FROM demo.edf using edfapi
** DATE: Mon May  6 10:00:00 2024
** TYPE: EDF_FILE BINARY EVENT SAMPLE TAGGED
** VERSION: EYELINK II 1
** SOURCE: EYELINK CL
** EYELINK II CL v5.15 Jan 24 2018
**

MSG\t{first} DISPLAY_COORDS 0 0 1919 1079
START\t{first}\tRIGHT\tSAMPLES\tEVENTS
PRESCALER\t1
VPRESCALER\t1
PUPIL\tAREA
EVENTS\tGAZE\tRIGHT\tRATE\t {rate}.00\tTRACKING\tCR\tFILTER\t2\tINPUT
SAMPLES\tGAZE\tRIGHT\tRATE\t {rate}.00\tTRACKING\tCR\tFILTER\t2\tINPUT
"""
