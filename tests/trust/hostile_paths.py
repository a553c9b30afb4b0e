"""Drops that name files elsewhere. Each function fills a folder; `outside` is a folder that was not dropped.

`outside` holds `canary.bin` and copies of it under the names that the formats want.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
from scipy.io import savemat

VHDR = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile={data}
{marker}DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=1
SamplingInterval=1000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=Cz,,1,uV
"""
OUTSIDE = ("canary.bin", "canary.eeg", "canary.vmrk", "canary.fdt", "canary.h5", "continuous.dat", "canary.tsv")


def brainvision(folder: Path, *, data: str = "x.eeg", marker: str = "") -> None:
    said = f"MarkerFile={marker}\n" if marker else ""
    (folder / "x.vhdr").write_text(VHDR.format(data=data, marker=said))
    np.arange(100, dtype="<i2").tofile(folder / "x.eeg")


def brainvision_data_absolute(folder: Path, outside: Path) -> None:
    brainvision(folder, data=str(outside / "canary.eeg"))


def brainvision_data_above(folder: Path, outside: Path) -> None:
    brainvision(folder, data=os.path.relpath(outside / "canary.eeg", folder))


def brainvision_marker_absolute(folder: Path, outside: Path) -> None:
    brainvision(folder, marker=str(outside / "canary.vmrk"))


def brainvision_marker_above(folder: Path, outside: Path) -> None:
    brainvision(folder, marker=os.path.relpath(outside / "canary.vmrk", folder))


def eeglab_samples_elsewhere(folder: Path, outside: Path) -> None:
    eeg = {"data": str(outside / "canary.fdt"), "nbchan": 2.0, "pnts": 20.0, "trials": 1.0, "srate": 10.0, "ref": "c"}
    savemat(folder / "x.set", {"EEG": eeg | {"event": np.zeros((0, 0)), "chanlocs": np.zeros((0, 0))}}, appendmat=False)


def eeglab_samples_above(folder: Path, outside: Path) -> None:
    name = os.path.relpath(outside / "canary.fdt", folder)
    eeg = {"data": name, "nbchan": 2.0, "pnts": 20.0, "trials": 1.0, "srate": 10.0, "ref": "common"}
    savemat(folder / "x.set", {"EEG": eeg | {"event": np.zeros((0, 0)), "chanlocs": np.zeros((0, 0))}}, appendmat=False)


def openephys_folder_above(folder: Path, outside: Path) -> None:
    described = {
        "folder_name": os.path.relpath(outside, folder / "continuous"),
        "stream_name": "s",
        "sample_rate": 1000,
        "channels": [{"channel_name": "a", "bit_volts": 0.195, "units": "uV"}],
    }
    (folder / "structure.oebin").write_text(
        json.dumps({"GUI version": "0.6.7", "continuous": [described], "events": []})
    )


def phy_samples_elsewhere(folder: Path, outside: Path) -> None:
    (folder / "params.py").write_text(
        f"dat_path = {str(outside / 'canary.bin')!r}\nn_channels_dat = 1\ndtype = 'int16'\nsample_rate = 30000.\n"
    )
    np.save(folder / "spike_times.npy", np.array([30, 60], "<u8"))
    np.save(folder / "spike_clusters.npy", np.array([0, 0], "<i4"))


def arrays_above(folder: Path, outside: Path) -> None:
    name = os.path.relpath(outside / "canary.tsv", folder)
    declared(folder, f'[[signals]]\nname = "a"\nmodality = "eeg"\nunit = "uV"\nsamples = "{name}"\nrate_hz = 10.0\n')


def declared(folder: Path, entries: str) -> None:
    (folder / "recording.toml").write_text(f'format = "neuroloom arrays"\n{entries}')


# HDF5: what a dataset of NWB, SNIRF or MATLAB 7.3 may be instead of a dataset ---------------------------------------


def external_link(group: h5py.Group, name: str, outside: Path) -> None:
    group[name] = h5py.ExternalLink(str(outside / "canary.h5"), "/values")


def soft_link(group: h5py.Group, name: str, outside: Path) -> None:
    group["/elsewhere"] = h5py.ExternalLink(str(outside / "canary.h5"), "/values")
    group[name] = h5py.SoftLink("/elsewhere")


def external_storage(group: h5py.Group, name: str, outside: Path) -> None:
    file = [(str(outside / "canary.bin"), 0, 160)]
    group.create_dataset(name, (10, 2), dtype="<f8", external=file)


def virtual_dataset(group: h5py.Group, name: str, outside: Path) -> None:
    layout = h5py.VirtualLayout((10, 2), "<f8")
    layout[:] = h5py.VirtualSource(str(outside / "canary.h5"), "values", (10, 2))
    group.create_virtual_dataset(name, layout)


WAYS_OUT = (external_link, soft_link, external_storage, virtual_dataset)


def snirf(folder: Path, outside: Path, way: object) -> None:
    with h5py.File(folder / "x.snirf", "w") as file:
        file["formatVersion"] = "1.1"
        nirs = file.create_group("nirs")
        block = nirs.create_group("data1")
        way(block, "dataTimeSeries", outside)  # type: ignore[operator]
        block["time"] = np.array([0.0, 0.1])
        for k in (1, 2):
            for key, value in {
                "sourceIndex": 1, "detectorIndex": 1, "dataType": 1, "dataTypeIndex": 1, "wavelengthIndex": k,
            }.items():  # fmt: skip
                block[f"measurementList{k}/{key}"] = value
        for key, value in {"TimeUnit": "s", "LengthUnit": "cm", "MeasurementDate": "2021-04-23"}.items():
            nirs[f"metaDataTags/{key}"] = value
        nirs["probe/wavelengths"] = [760.0, 850.0]
        nirs["probe/sourcePos3D"], nirs["probe/detectorPos3D"] = [[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]


def nwb(folder: Path, outside: Path, way: object) -> None:
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    made = NWBFile("a session", "id", datetime(2024, 5, 1, 12, tzinfo=UTC))
    for name in ("a", "b"):
        made.add_acquisition(TimeSeries(name=name, data=np.zeros((10, 2)), unit="V", rate=10.0, starting_time=0.0))
    with NWBHDF5IO(folder / "x.nwb", "w") as io:
        io.write(made)
    with h5py.File(folder / "x.nwb", "a") as file:
        group = file["acquisition/a"]
        attributes = dict(group["data"].attrs)
        del group["data"]
        way(group, "data", outside)  # type: ignore[operator]
        if way in (external_storage, virtual_dataset):
            group["data"].attrs.update(attributes)


def matlab(folder: Path, outside: Path, way: object) -> None:
    with h5py.File(folder / "x.mat", "w", userblock_size=512) as file:
        way(file, "values", outside)  # type: ignore[operator]
    with (folder / "x.mat").open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(128))
    entry = '[[signals]]\nname = "a"\nmodality = "eeg"\nunit = "uV"\nsamples = "x.mat:values"\nrate_hz = 10.0\n'
    declared(folder, entry)


# what is no plain file ----------------------------------------------------------------------------------------------


def symlink(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "x.eeg").unlink()
    (folder / "x.eeg").symlink_to(outside / "canary.eeg")


def symlinked_folder(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "more").symlink_to(outside)


def fifo(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "x.eeg").unlink()
    os.mkfifo(folder / "x.eeg")


def device(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "x.eeg").unlink()
    os.mknod(folder / "x.eeg", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero


def name_of_two_lines(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "a\nb.txt").write_text("x")


def name_that_turns_round(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "a\u202egnp.txt").write_text("x")


def name_with_an_escape(folder: Path, outside: Path) -> None:
    brainvision(folder)
    (folder / "a\x1b[31m.txt").write_text("x")


PLAIN_PATHS = (
    brainvision_data_absolute, brainvision_data_above, brainvision_marker_absolute, brainvision_marker_above,
    eeglab_samples_elsewhere, eeglab_samples_above, openephys_folder_above, phy_samples_elsewhere, arrays_above,
)  # fmt: skip
NO_PLAIN_FILES = (
    symlink, symlinked_folder, fifo, device, name_of_two_lines, name_that_turns_round, name_with_an_escape,
)  # fmt: skip
HDF5 = tuple((form, way) for form in (snirf, nwb, matlab) for way in WAYS_OUT)
