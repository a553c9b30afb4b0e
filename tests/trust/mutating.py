"""Mutations of recordings, the same at every run, and the small recordings they start from.

seeds(recordings)      {"format name": folder or file}: the smallest real recording of each format, if there are any
written(folder)        recordings by the writers of other tests, for machines without real ones
mutated(folder, rng)   one of its files changed in one way, in place; says which
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np

from neuroloom.ingest import FormatError, format_of
from neuroloom.ingest.folders import recordings_at
from neuroloom.pipeline.boxed.sniffing import READ_ERRORS
from neuroloom.pipeline.synthetic.sample_devices import record_person

from ..ingest.formats import (
    test_bci2000,
    test_bids_physio,
    test_deeplabcut,
    test_intan,
    test_openephys_legacy,
    test_plexon,
    test_presentation,
    test_psychopy_log,
    test_psychopy_trials,
    test_pupil_cloud,
    test_spike2,
    test_spikeglx,
    test_tdt,
)
from ..ingest.formats.test_edf import edf_file
from ..ingest.formats.test_eeglab import set_file
from ..ingest.formats.test_egi_mff import mff_folder
from ..ingest.formats.test_fif import raw_file
from ..ingest.formats.test_snirf import snirf_file
from .hostile_contents import sorting
from .hostile_paths import brainvision, declared

MOST_BYTES = 3 << 20  # of a seed
TEXT = (b"-1", b"0", b"99999999999", b"nan", b"1e308", b"", b"\x00", b"../x", b"<a>", b"\xff\xfe", b"%s", b"[" * 50)


def written(folder: Path) -> dict[str, Path]:
    """A recording each of formats that the tests write, among them all without a small real one; made on the spot."""
    made = {
        "edf": lambda f: edf_file(f / "x.edf", range(5)),
        "brainvision": brainvision,
        "eeglab": set_file,
        "egi_mff": mff_folder,
        "fif": raw_file,
        "snirf": snirf_file,
        "spikeinterface_sorting": sorting,
        "event_table": lambda f: (f / "x_events.tsv").write_text(
            "onset\tduration\ttrial_type\n0.5\t0.1\ta\n1.5\t0\tb\n"
        ),
        "arrays": _arrays,
        "bci2000": test_bci2000.dat_file,
        "bids_physio": lambda f: test_bids_physio.physio(f, "0.5\t0\n0.75\t0\nn/a\t1\n1.25\t1\n"),
        "deeplabcut": test_deeplabcut.pose,
        "intan": lambda f: test_intan.rhd(f / "x.rhd", 0, 128),
        "openephys_legacy": test_openephys_legacy.filled,
        "plexon": test_plexon.filled,
        "presentation": lambda f: test_presentation.log(f / "s01-stroop.log"),
        "psychopy_log": lambda f: test_psychopy_log.log(f / "07.log"),
        "psychopy_trials": lambda f: test_psychopy_trials.table(f / "07_stroop.csv"),
        "pupil_cloud": test_pupil_cloud.filled,
        "spike2": test_spike2.filled,
        "spikeglx": spikeglx,
        "tdt": test_tdt.filled,
    }
    found = {}
    for name, make in made.items():
        (folder / name).mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(folder / name)
        found[name] = folder / name
    return found


def spikeglx(folder: Path) -> None:
    """A probe of 16 channels, 50 samples long."""
    with tempfile.TemporaryDirectory() as made:
        record_person(Path(made), duration_s=6, devices=("probe",))
        test_spikeglx.with_samples(next(Path(made).rglob("*.meta")), folder)


def _arrays(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(100.0))
    entry = '[[signals]]\nname = "a"\nmodality = "eeg"\nunit = "uV"\nsamples = "x.npy"\nrate_hz = 10.0\n'
    declared(folder, entry)


def seeds(recordings: Path, folder: Path) -> dict[str, Path]:
    """The smallest recording of each format below `recordings`, copied to folders of their own."""
    smallest: dict[str, tuple[int, Path, tuple[Path, ...]]] = {}
    for path in sorted(recordings.rglob("*")):
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            continue
        try:
            if (form := format_of(path)) is None:
                continue
            files = tuple(dict.fromkeys(file for of in recordings_at(path) for file in of))
        except READ_ERRORS:
            continue
        size = sum(file.stat().st_size for file in files)
        if size <= MOST_BYTES and (form not in smallest or size < smallest[form][0]):
            smallest[form] = (size, path, files)
    found = {}
    for form, (_, path, files) in sorted(smallest.items()):
        top = path.parent
        for file in files:
            if not file.is_relative_to(top):
                continue
            target = folder / form / file.relative_to(top)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        found[form] = folder / form
    return found


def mutated(folder: Path, rng: np.random.Generator) -> str:
    """Change one file below a folder; small files, which are headers mostly, as often as large ones."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "session.toml")
    if not files:
        raise FormatError(f"{folder}: nothing to change")
    path = files[rng.integers(len(files))]
    data = bytearray(path.read_bytes())
    how = ("flips", "head", "cut", "double", "text", "zeros", "gone", "swap")[rng.integers(8)]
    reach = min(len(data), 4096 if rng.random() < 0.7 else len(data))
    at = int(rng.integers(max(reach, 1)))
    length = int(rng.integers(1, 65))
    match how:
        case "flips":
            for _ in range(int(rng.integers(1, 9))):
                if data:
                    data[int(rng.integers(max(reach, 1)))] ^= 1 << int(rng.integers(8))
        case "head":
            data[at : at + 8] = rng.bytes(8)
        case "cut":
            del data[int(rng.integers(max(len(data), 1))) :]
        case "double":
            data[at:at] = data[at : at + length]
        case "text":
            word = TEXT[rng.integers(len(TEXT))]
            data[at : at + len(word)] = word
        case "zeros":
            data[at : at + length] = bytes(length)
        case "swap":
            data[at : at + 8] = data[at : at + 8][::-1]
    if how == "gone" and len(files) > 1:
        path.unlink()
    else:
        path.write_bytes(bytes(data))
    return f"{how} at {at} of {path.relative_to(folder)}"
