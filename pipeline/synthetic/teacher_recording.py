"""A teacher recorded as a person would be: files in the inbox like any others, truth kept aside.

`neuroloom record-teacher CONFIG` reads a TOML; everything in it has a default.

    name = "listener"            # of the drop and of the folder with the truth; the file's name where left out
    subject = "t01"
    sequences = 200
    length = 64                  # symbols per sequence
    step_s = 0.02                # a symbol is read every so often
    [teacher]
    kind = "hidden_markov"       # a file in models/teachers; further keys are its Settings
    [[electrodes]]               # one device each, on a clock of its own
    name = "probe"
    kind = "projection"          # see synthesis.py
    n_channels = 128
    snr_db = 0.0

    STORE/inbox/NAME/     session.toml; per device a TOML that declares arrays, with its sync pulses:
                          NAME_behaviour    events "shown" and "answered" (one per step), trials (one per sequence)
                          NAME_<device>     a signal, or units where it counts spikes
    STORE/runs/NAME/      truth.npz: symbols, answers, topics (N, T), noiseless channels (N T, K) per device;
                          truth.json: clocks, facts of every device, digest of the teacher

Each device misses some pulses, sees some that nobody sent, and drifts: what aligns a lab's recordings aligns these.
Shapes: N sequences, T steps, K channels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field, field_validator

from neuroloom.ingest import durable
from neuroloom.ingest.timebase import FloatArray
from neuroloom.models.teachers import Teacher
from neuroloom.pipeline.config import Config, ConfigError, read_config
from neuroloom.pipeline.store import Store, StoreError, slug
from neuroloom.pipeline.studies._lessons import Lessons, of_teacher, open_teacher
from neuroloom.pipeline.studies._tables import ModelTeacher
from neuroloom.pipeline.synthetic.sample_devices import DeviceClock, pulses_seen
from neuroloom.pipeline.synthetic.synthesis import ElectrodeConfig, Floats, Tape

LEAD_S = 3.0  # pulses before the first step and after the last
MOST_DRIFT_PPM = 60.0
PULSE_S = (0.2, 0.6)  # between pulses
TRUTH, TRUTH_NUMBERS = "truth.json", "truth.npz"
Progress = Callable[[int, int, float], None]


def _code(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{1,40}", value):
        raise ValueError("1 to 40 letters and digits without spaces or signs are wanted")
    return value


Code = Annotated[str, AfterValidator(_code)]


class DeviceConfig(ElectrodeConfig):
    """Electrodes with the name of the device that records them."""

    name: Code = "probe"


class RecordingConfig(Config):
    """What `record-teacher` is asked for; see the head of this file."""

    name: str = ""
    subject: Code = "teacher"
    session: Code = "01"
    task: Code = "reading"
    sequences: int = Field(default=200, ge=1)
    length: int = Field(default=64, ge=1)
    step_s: float = Field(default=0.02, gt=0)
    seed: int = Field(default=0, ge=0)
    teacher: ModelTeacher = Field(default_factory=lambda: {"kind": "hidden_markov"})
    electrodes: tuple[DeviceConfig, ...] = (DeviceConfig(),)

    @field_validator("electrodes")
    @classmethod
    def _have_names_of_their_own(cls, devices: tuple[DeviceConfig, ...]) -> tuple[DeviceConfig, ...]:
        names = [device.name for device in devices]
        if len({*names, "behaviour"}) != len(names) + 1:
            raise ValueError(f"devices named {', '.join(names)}; names that differ, and not 'behaviour', are wanted")
        return devices


def read_recording_config(path: Path) -> RecordingConfig:
    """A config file with its name made definite. Raises ConfigError."""
    config = read_config(path, RecordingConfig)
    return config.model_copy(update={"name": slug(config.name or path.stem)})


def record_teacher(
    config: RecordingConfig, store: Store, progress: Progress | None = None, *, teacher: Teacher | None = None
) -> Path:
    """Let the teacher read and answer, record it, and drop the recordings into the store's inbox; gives the drop.

    teacher: one that was made in Python, in place of the config's. Truth and drop are both there, or neither.
    Raises ConfigError for sequences or layers that the teacher does not have, StoreError where the name is taken.
    """
    drop, aside = store.create().inbox / config.name, store.run_folder(config.name)
    for place in (drop, aside):
        if place.exists():
            raise StoreError(f"{place}: is there already; a recording never replaces another, give it another name")
    if teacher is not None:
        config = config.model_copy(update={"teacher": {"kind": teacher.name}})
    try:
        made = teacher or open_teacher(config.teacher, store.derived / "teachers", progress, length=config.length)
        lessons = _lessons(config, made)
        tapes = {device.name: lessons.tape(device, torch.arange(lessons.n_recorded)) for device in config.electrodes}
    except ValueError as error:
        raise ConfigError(f"{config.name}: {error}") from error
    clocks = drawn_clocks(config)
    with durable.new_folder(drop) as dropped, durable.new_folder(aside) as kept:
        _write_truth(kept, config, lessons, tapes, clocks)
        _write_drop(dropped, config, lessons, tapes, clocks)
    return drop


def _lessons(config: RecordingConfig, teacher: Teacher) -> Lessons:
    n = config.sequences
    return of_teacher(teacher, n=n, n_recorded=n, n_test=1, length=config.length, seed=config.seed)


def drawn_clocks(config: RecordingConfig) -> dict[str, DeviceClock]:
    """Every device's clock: behaviour's is true time, the others begin somewhere and drift."""
    rng = np.random.default_rng([config.seed, 7])
    clocks = {"behaviour": DeviceClock(started_s=0.0, drift_ppm=0.0)}
    for device in config.electrodes:
        started, drift = rng.uniform(0.2, 1.0), rng.uniform(-MOST_DRIFT_PPM, MOST_DRIFT_PPM)
        clocks[device.name] = DeviceClock(started_s=float(started), drift_ppm=float(drift))
    return clocks


def step_times_s(config: RecordingConfig) -> FloatArray:
    """When each step begins, true seconds, shape (N T,)."""
    return np.asarray(LEAD_S + config.step_s * np.arange(config.sequences * config.length), dtype=np.float64)


def _write_truth(
    folder: Path,
    config: RecordingConfig,
    lessons: Lessons,
    tapes: Mapping[str, Tape],
    clocks: Mapping[str, DeviceClock],
) -> None:
    arrays = {"shown": lessons.inputs.numpy(), "answered": lessons.answers_NT.numpy()}
    arrays |= {f"clean_{name}": tape.clean_TK for name, tape in tapes.items()}
    if lessons.oracle is not None and lessons.oracle.topic_NT is not None:
        arrays["topic"] = lessons.oracle.topic_NT.numpy()
    np.savez_compressed(folder / TRUTH_NUMBERS, allow_pickle=False, **arrays)
    told = {
        "asked": json.loads(config.model_dump_json()),
        "clocks": {name: asdict(clock) for name, clock in clocks.items()},
        "facts": {name: tape.facts.to_json() for name, tape in tapes.items()},
        "teacher": {"name": lessons.name, "digest": lessons.digest, **lessons.remarks},
    }
    durable.write_json(folder / TRUTH, told)


def _write_drop(
    folder: Path,
    config: RecordingConfig,
    lessons: Lessons,
    tapes: Mapping[str, Tape],
    clocks: Mapping[str, DeviceClock],
) -> None:
    rng = np.random.default_rng([config.seed, 8])
    duration_s = 2 * LEAD_S + config.step_s * config.sequences * config.length
    pulses = np.cumsum(rng.uniform(*PULSE_S, int(duration_s / PULSE_S[0])))
    pulses = pulses[pulses < duration_s - 1]
    said = {"subject": config.subject, "session": config.session, "task": config.task}
    said |= {"reference": f"{config.name}_behaviour"}
    notes = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
    (folder / "session.toml").write_text(notes, encoding="utf-8")
    seen = {name: pulses_seen(pulses, clock, duration_s, rng) for name, clock in clocks.items()}
    _write_behaviour(folder / f"{config.name}_behaviour", config, lessons, seen["behaviour"])
    for device in config.electrodes:
        stem, clock = folder / f"{config.name}_{device.name}", clocks[device.name]
        if device.kind == "spikes":
            _write_units(stem, config, device, tapes[device.name].values_TK, clock, seen[device.name], rng)
        else:
            _write_signal(stem, config, device, tapes[device.name].values_TK, clock, seen[device.name])


def _write_behaviour(stem: Path, config: RecordingConfig, lessons: Lessons, pulses_s: FloatArray) -> None:
    start_s = step_times_s(config)
    shown, answered = lessons.inputs.flatten().tolist(), lessons.answers_NT.flatten().tolist()
    rows = zip(start_s, start_s + 0.9 * config.step_s, shown, answered, strict=True)
    _csv(stem, "steps", "shown_s,answered_s,shown,answered", [f"{a:.9f},{b:.9f},{c},{d}" for a, b, c, d in rows])
    first_s = start_s[:: config.length]
    bounds = zip(first_s, first_s + config.length * config.step_s, strict=True)
    _csv(stem, "sequences", "start_s,stop_s", [f"{a:.9f},{b:.9f}" for a, b in bounds])
    name = stem.name
    body = f"""
[[events]]
name = "shown"
times = "{name}_steps.csv:shown_s"
time_unit = "s"
labels = "{name}_steps.csv:shown"

[[events]]
name = "answered"
times = "{name}_steps.csv:answered_s"
time_unit = "s"
labels = "{name}_steps.csv:answered"

[[intervals]]
name = "sequences"
modality = "trials"
bounds = ["{name}_sequences.csv:start_s", "{name}_sequences.csv:stop_s"]
time_unit = "s"
label = "sequence"
"""
    _declare(stem, body, pulses_s)


def _write_signal(
    stem: Path,
    config: RecordingConfig,
    device: DeviceConfig,
    values_TK: Floats,
    clock: DeviceClock,
    pulses_s: FloatArray,
) -> None:
    """16-bit integers with a gain, as a device has them: one sample per step, in its middle, on the device's clock."""
    gain = float(max(np.abs(values_TK).max(), 1e-12) / 32_000)
    np.save(stem.with_name(f"{stem.name}_samples.npy"), np.round(values_TK / gain).astype("<i2"))
    middle_s = float(clock.seconds(step_times_s(config)[:1] + config.step_s / 2)[0])
    body = f"""
[[signals]]
name = "{device.name}"
modality = "{"eeg" if device.kind == "eeg" else "lfp"}"
samples = "{stem.name}_samples.npy"
channels = {json.dumps([f"{device.name}{i:03d}" for i in range(values_TK.shape[1])])}
unit = "uV"
rate_hz = {1 / (config.step_s * (1 + clock.drift_ppm * 1e-6))!r}
start_s = {middle_s!r}
gain = {gain!r}
"""
    _declare(stem, body, pulses_s)


def _write_units(
    stem: Path,
    config: RecordingConfig,
    device: DeviceConfig,
    counts_TK: Floats,
    clock: DeviceClock,
    pulses_s: FloatArray,
    rng: np.random.Generator,
) -> None:
    """Spikes anywhere within their step; a unit per channel, silent ones too."""
    step, unit = np.nonzero(counts_TK)
    n = counts_TK[step, unit].astype(int)
    step, unit = np.repeat(step, n), np.repeat(unit, n)
    times_s = clock.seconds(step_times_s(config)[step] + rng.uniform(0, config.step_s, len(step)))
    order = np.argsort(times_s)
    np.savez(stem.with_name(f"{stem.name}_spikes.npz"), time_s=times_s[order], unit=unit[order])
    body = f"""
[[units]]
name = "{device.name}"
spike_times = "{stem.name}_spikes.npz:time_s"
unit_ids = "{stem.name}_spikes.npz:unit"
time_unit = "s"
"""
    _declare(stem, body, pulses_s)


def _declare(stem: Path, body: str, pulses_s: FloatArray) -> None:
    """The TOML that says what the numbers are, and the pulses that the device saw."""
    _csv(stem, "sync", "pulse_s", [f"{t:.9f}" for t in pulses_s])
    sync = f"""
[[events]]
name = "sync"
modality = "sync"
times = "{stem.name}_sync.csv:pulse_s"
time_unit = "s"
label = "pulse"
"""
    head = f'format = "neuroloom arrays"\nclock = "{stem.name}"\n'
    stem.with_name(f"{stem.name}.toml").write_text(head + body + sync, encoding="utf-8")


def _csv(stem: Path, part: str, head: str, rows: list[str]) -> None:
    stem.with_name(f"{stem.name}_{part}.csv").write_text("\n".join([head, *rows, ""]), encoding="utf-8")
