"""Drops that hold code, that claim or unfold to too much, or that make no sense. Each function fills a folder.

CODE, SIZE, SENSE      by name: (what makes it, what its reason says; "" where it is to be read)
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from ..ingest.formats.test_edf import edf_file
from ..ingest.formats.test_eeglab import event, set_file
from ..ingest.formats.test_egi_mff import mff_folder
from ..ingest.formats.test_fif import raw_file
from ..ingest.formats.test_snirf import snirf_file
from .hostile_paths import brainvision, declared

TRIPWIRE = "NEUROLOOM_TRIPWIRE"  # a folder by that name in the environment is what code would make
SIGNAL = '[[signals]]\nname = "a"\nmodality = "eeg"\nunit = "uV"\nsamples = "{}"\nrate_hz = {}\n'
Make = Callable[[Path], object]


class Payload:
    """Pickled, it is code: whoever loads it makes the folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ[TRIPWIRE],)


def python() -> str:
    return f"import os; os.mkdir({os.environ[TRIPWIRE]!r})\n"


# code ---------------------------------------------------------------------------------------------------------------


def objects_in_npy(folder: Path) -> None:
    np.save(folder / "x.npy", np.array([Payload(), Payload()], dtype=object), allow_pickle=True)
    declared(folder, SIGNAL.format("x.npy", 10.0))


def objects_in_npz(folder: Path) -> None:
    np.savez(folder / "x.npz", a=np.array([Payload(), Payload()], dtype=object))
    declared(folder, SIGNAL.format("x.npz:a", 10.0))


def pickle_as_npy(folder: Path) -> None:
    (folder / "x.npy").write_bytes(pickle.dumps(Payload()))
    declared(folder, SIGNAL.format("x.npy", 10.0))


def pickled_block(folder: Path) -> None:
    (folder / "x.pkl").write_bytes(pickle.dumps(Payload()))


def torch_file(folder: Path) -> None:
    (folder / "x.pt").write_bytes(pickle.dumps(Payload(), protocol=2))


def spikeinterface_of_a_class(folder: Path) -> None:
    sorting(folder)
    named = {"class": "os.mkdir", "module": "os", "version": "1", "kwargs": {"path": os.environ[TRIPWIRE]}}
    (folder / "si_folder.json").write_text(json.dumps(named))
    (folder / "provenance.pkl").write_bytes(pickle.dumps(Payload()))


def spikeinterface_alone(folder: Path) -> None:
    named = {"class": "os.mkdir", "module": "os", "version": "1", "kwargs": {"path": os.environ[TRIPWIRE]}}
    (folder / "provenance.json").write_text(json.dumps(named))


def sorting(folder: Path) -> None:
    from spikeinterface.core import NumpySorting

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = NumpySorting.from_unit_dict([{"a": np.array([10, 20, 300])}], 30_000.0)
        made.save(folder=folder / "s")
    for path in sorted((folder / "s").iterdir()):
        path.rename(folder / path.name)
    (folder / "s").rmdir()


def phy_params(folder: Path) -> None:
    said = "dat_path = 'x.bin'\nn_channels_dat = 1\ndtype = 'int16'\nsample_rate = 30000.\n"
    (folder / "params.py").write_text(python() + said)
    np.save(folder / "spike_times.npy", np.array([30, 60], "<u8"))
    np.save(folder / "spike_clusters.npy", np.array([0, 0], "<i4"))


def phy_rate_of_code(folder: Path) -> None:
    phy_params(folder)
    code = f"__import__('os').mkdir({os.environ[TRIPWIRE]!r})"
    said = f"dat_path = 'x.bin'\nn_channels_dat = 1\ndtype = 'int16'\nsample_rate = {code}\n"
    (folder / "params.py").write_text(said)


def probe_of_code(folder: Path) -> None:
    brainvision(folder)
    (folder / "x.prb").write_text(python() + "channel_groups = {}\n")


def yaml_tags(folder: Path) -> None:
    brainvision(folder)
    for name in ("x.yaml", "config.yml", "task.yaml"):
        (folder / name).write_text(f"!!python/object/apply:os.mkdir [{os.environ[TRIPWIRE]}]\n")


def xml_file_entity(folder: Path) -> None:
    made = mff_folder(folder)
    outside = Path(os.environ[TRIPWIRE]).parent / "canary.txt"
    (made / "info.xml").write_text(
        f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{outside}">]>'
        "<fileInfo><mffVersion>3</mffVersion><recordTime>&a;</recordTime></fileInfo>"
    )


def xml_bomb(folder: Path) -> None:
    made = mff_folder(folder)
    rows = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 10))
    (made / "info.xml").write_text(
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{rows}]><fileInfo><mffVersion>3</mffVersion>'
        "<recordTime>&l9;</recordTime></fileInfo>"
    )


CODE: dict[str, tuple[Make, str]] = {
    "objects in npy": (objects_in_npy, "object"),
    "objects in npz": (objects_in_npz, "object|array"),
    "pickle as npy": (pickle_as_npy, "x.npy"),
    "pickled block": (pickled_block, "known format"),
    "torch file": (torch_file, "known format"),
    "spikeinterface of a class": (spikeinterface_of_a_class, ""),
    "spikeinterface alone": (spikeinterface_alone, "known format"),
    "phy params": (phy_params, ""),
    "phy rate of code": (phy_rate_of_code, "sample_rate"),
    "probe of code": (probe_of_code, ""),
    "yaml tags": (yaml_tags, ""),
    "xml file entity": (xml_file_entity, "document type"),
    "xml bomb": (xml_bomb, "document type"),
}


# size ---------------------------------------------------------------------------------------------------------------


def edf_with(folder: Path, at: int, text: str) -> None:
    path = edf_file(folder / "x.edf", [0, 1])
    data = bytearray(path.read_bytes())
    data[at : at + len(text)] = text.encode()
    path.write_bytes(bytes(data))


def brainvision_with(folder: Path, old: str, new: str) -> None:
    brainvision(folder)
    path = folder / "x.vhdr"
    path.write_text(path.read_text().replace(old, new))


def npy_of_a_claim(folder: Path) -> None:
    head = str({"descr": "<f8", "fortran_order": False, "shape": (10**15, 64)}).encode().ljust(117) + b"\n"
    (folder / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(64))
    declared(folder, SIGNAL.format("x.npy", 10.0))


def npz_bomb(folder: Path) -> None:
    np.savez_compressed(folder / "x.npz", a=np.zeros((150_000_000,)))
    declared(folder, SIGNAL.format("x.npz:a", 10.0))


def matlab_bomb(folder: Path) -> None:
    savemat(folder / "x.mat", {"a": np.zeros((100_000_000, 1))}, do_compression=True)
    declared(folder, SIGNAL.format("x.mat:a", 10.0))


def eeglab_bomb(folder: Path) -> None:
    eeg = {"data": np.zeros((2, 75_000_000), "<f4"), "nbchan": 2.0, "pnts": 7.5e7, "trials": 1.0, "srate": 10.0}
    eeg |= {"event": np.zeros((0, 0)), "chanlocs": np.zeros((0, 0)), "ref": "common"}
    savemat(folder / "x.set", {"EEG": eeg}, appendmat=False, do_compression=True)


def hdf5_bomb(folder: Path) -> None:
    """One chunk of a gigabyte, packed to a megabyte."""
    with h5py.File(folder / "x.h5", "w", userblock_size=512) as file:
        file.create_dataset("values", (150_000_000, 1), "<f8", chunks=(150_000_000, 1), compression="gzip")
        file["values"][:1] = 1.0
    (folder / "x.h5").rename(folder / "x.mat")
    with (folder / "x.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(128))
    declared(folder, SIGNAL.format("x.mat:values", 10.0))


def gzip_bomb(folder: Path) -> None:
    path = raw_file(folder)
    with gzip.open(folder / "y_raw.fif.gz", "wb", compresslevel=1) as packed:
        packed.write(path.read_bytes())
        for _ in range(200):
            packed.write(bytes(1 << 20))
    path.unlink()


def fif_that_turns(folder: Path) -> None:
    """A tag whose next is itself."""
    path = raw_file(folder)
    data = bytearray(path.read_bytes())
    at = 16 + struct.unpack_from(">i", data, 8)[0]
    struct.pack_into(">i", data, at + 12, at)
    path.write_bytes(bytes(data))


def nested_groups(folder: Path) -> None:
    path = snirf_file(folder)
    with h5py.File(path, "a") as file:
        group = file["nirs"]
        for _ in range(3000):
            group = group.create_group("n")


def nested_json(folder: Path) -> None:
    (folder / "structure.oebin").write_text('{"GUI version": "0.6.7", "continuous": ' + "[" * 100_000)


def nested_xml(folder: Path) -> None:
    made = mff_folder(folder)
    (made / "epochs.xml").write_text("<epochs>" + "<a>" * 100_000 + "</a>" * 100_000 + "</epochs>")


def many_annotations(folder: Path) -> None:
    brainvision(folder, marker="x.vmrk")
    head = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=x.eeg\n[Marker Infos]\n"
    rows = "".join(f"Mk{k}=Stimulus,S{k % 7},{k % 100 + 1},1,0\n" for k in range(1, 200_001))
    (folder / "x.vmrk").write_text(head + rows)


def bytes_as(name: str, data: bytes, folder: Path) -> None:
    (folder / name).write_bytes(data)


SIZE: dict[str, tuple[Make, str]] = {
    "edf of 9999 channels": (lambda f: edf_with(f, 252, "9999"), "claims|header"),
    "edf of 99999999 records": (lambda f: edf_with(f, 236, "99999999"), ""),  # read up to the last whole record
    "edf of -5 channels": (lambda f: edf_with(f, 252, "-5  "), "signals"),
    "brainvision of 1e9 channels": (lambda f: brainvision_with(f, "Channels=1\n", "Channels=1000000000\n"), "channels"),
    "brainvision of -1 channels": (lambda f: brainvision_with(f, "Channels=1\n", "Channels=-1\n"), "channels"),
    "npy of a claim": (npy_of_a_claim, r"x\.npy"),
    "npz bomb": (npz_bomb, "at most|memory|large"),
    "matlab bomb": (matlab_bomb, "at most|memory|large"),
    "eeglab bomb": (eeglab_bomb, "at most|memory|large|unpack"),
    "hdf5 bomb": (hdf5_bomb, "chunks"),
    "gzip bomb": (gzip_bomb, "compressed"),
    "fif that turns": (fif_that_turns, "x_raw"),
    "nested groups": (nested_groups, ""),
    "nested json": (nested_json, "oebin"),
    "nested xml": (nested_xml, "deep"),
    "many annotations": (many_annotations, ""),
}  # fmt: skip
SUFFIXES = (
    "edf", "bdf", "vhdr", "set", "fif", "xdf", "nwb", "asc", "cnt", "raw", "gdf", "snirf", "nev", "ns5", "meta", "mat",
    "rhd", "abf", "plx", "smr", "tev", "rec", "csv", "tsv", "xml", "json", "npy",
)  # fmt: skip
for _suffix in SUFFIXES:
    SIZE[f"empty {_suffix}"] = (partial(bytes_as, f"x.{_suffix}", b""), "x|known format")
    SIZE[f"one byte {_suffix}"] = (partial(bytes_as, f"x.{_suffix}", b"\x89"), "x|known format")


# sense --------------------------------------------------------------------------------------------------------------


def numbers(folder: Path, values: Any, rate_hz: object = 10.0) -> None:
    np.save(folder / "x.npy", np.asarray(values))
    declared(folder, SIGNAL.format("x.npy", rate_hz))


def times(folder: Path, at_s: Any) -> None:
    np.save(folder / "x.npy", np.arange(len(at_s), dtype="<f8"))
    np.save(folder / "t.npy", np.asarray(at_s, dtype="<f8"))
    entry = '[[signals]]\nname = "a"\nmodality = "eeg"\nunit = "uV"\nsamples = "x.npy"\ntimes = "t.npy"\n'
    declared(folder, entry + 'time_unit = "s"\n')


def dated(folder: Path, date: str) -> None:
    np.save(folder / "x.npy", np.arange(50.0))
    (folder / "recording.toml").write_text(
        f'format = "neuroloom arrays"\nstart = {date}\n' + SIGNAL.format("x.npy", 10.0)
    )


def edf_dated(folder: Path, date: str) -> None:
    edf_with(folder, 168, date)


def events(folder: Path, text: str, encoding: str = "utf-8") -> None:
    (folder / "x_events.tsv").write_bytes(text.encode(encoding))


ROWS = "onset\tduration\ttrial_type\n0.5\t0.1\tgrün\n1.5\t0.1\trot\n"
BACK = "onset\tduration\ttrial_type\n2.5\t0.1\ta\n1.5\t0.1\tb\n"
SENSE: dict[str, tuple[Make, str]] = {
    "nan": (lambda f: numbers(f, [np.nan] * 50), ""),
    "inf": (lambda f: numbers(f, [0.0, np.inf, -np.inf] * 20), ""),
    "constant": (lambda f: numbers(f, np.full(50, 7, "<i2")), ""),
    "saturated": (lambda f: numbers(f, np.repeat(np.array([-32768, 32767], "<i2"), 25)), ""),
    "rate 0": (lambda f: numbers(f, np.arange(50.0), 0.0), "rate"),
    "rate -1": (lambda f: numbers(f, np.arange(50.0), -1.0), "rate"),
    "rate 1e12": (lambda f: numbers(f, np.arange(50.0), 1e12), "rate"),
    "rate nan": (lambda f: numbers(f, np.arange(50.0), "nan"), "rate"),
    "brainvision interval 0": (lambda f: brainvision_with(f, "Interval=1000\n", "Interval=0\n"), "nterval|rate"),
    "brainvision interval -1": (lambda f: brainvision_with(f, "Interval=1000\n", "Interval=-1\n"), "nterval|rate"),
    "brainvision rate 1e12": (lambda f: brainvision_with(f, "Interval=1000\n", "Interval=1e-6\n"), "nterval|rate"),
    "times jump back": (lambda f: times(f, [0, 1, 2, 1.5, 3]), "increas|times"),
    "times repeat": (lambda f: times(f, [0, 1, 1, 2, 3]), "increas|times"),
    "times nan": (lambda f: times(f, [0, 1, np.nan, 2, 3]), "times|finite"),
    "times inf": (lambda f: times(f, [0, 1, 2, 3, np.inf]), "times|finite"),
    "events back": (lambda f: events(f, BACK), ""),
    "date of year 1": (lambda f: dated(f, "0001-01-01T00:00:00"), ""),
    "date of 1970": (lambda f: dated(f, "1970-01-01T00:00:00"), ""),
    "date of 9999": (lambda f: dated(f, "9999-12-31T23:59:59"), ""),
    "edf of 2085": (lambda f: edf_dated(f, "01.01.85"), ""),
    "edf of no date": (lambda f: edf_dated(f, "99.99.99"), ""),
    "brainvision names twice": (lambda f: brainvision_with_two(f), ""),
    "events latin-1": (lambda f: events(f, ROWS, "latin-1"), ""),
    "events utf-16": (lambda f: events(f, ROWS, "utf-16"), ""),
    "events bom": (lambda f: events(f, ROWS, "utf-8-sig"), ""),
    "edf of unknown unit": (lambda f: edf_file(f / "x.edf", [0, 1], units=("furlong", "")), ""),
    "brainvision marker after the end": (lambda f: late_marker(f), ""),
    "edf annotation after the end": (lambda f: late_annotation(f), ""),
    "eeglab event after the end": (lambda f: set_file(f, events=(event(1), event(9001))), ""),
    "bids event after the end": (lambda f: late_row(f), ""),
    "edf with gaps": (lambda f: edf_file(f / "x.edf", [0, 1, 5, 6]), ""),
    "edf cut": (lambda f: edf_file(f / "x.edf", [0, 1, 2], cut=7), ""),
    "edf records back": (lambda f: edf_file(f / "x.edf", [5, 1, 0]), r"x\.edf"),
}  # fmt: skip


def brainvision_with_two(folder: Path) -> None:
    brainvision(folder)
    path = folder / "x.vhdr"
    path.write_text(path.read_text().replace("Channels=1\n", "Channels=2\n") + "Ch2=Cz,,1,uV\n")


def late_marker(folder: Path) -> None:
    """100 samples of 1 ms, and a marker at sample 900,001."""
    brainvision(folder, marker="x.vmrk")
    head = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile=x.eeg\n[Marker Infos]\n"
    (folder / "x.vmrk").write_text(head + "Mk1=Stimulus,S1,1,1,0\nMk2=Stimulus,S2,900001,1,0\n")


def late_annotation(folder: Path) -> None:
    """Three records of 1 s, and in the first an annotation at 900 s."""
    path = edf_file(folder / "x.edf", [0, 1, 2])
    own, note = b"+0\x14\x14\x00", b"+900\x14late\x14\x00"
    path.write_bytes(path.read_bytes().replace(own + bytes(len(note)), own + note, 1))


def late_row(folder: Path) -> None:
    """BIDS: three seconds of EEG, and beside it a table with a row at 900 s."""
    stem = "sub-07_task-rest"
    edf_file(folder / f"{stem}_eeg.edf", [0, 1, 2])
    (folder / f"{stem}_events.tsv").write_text("onset\tduration\ttrial_type\n0.5\t0.1\ta\n900\t0.1\tb\n")
