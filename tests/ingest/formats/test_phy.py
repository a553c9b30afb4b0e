import contextlib
import struct

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, naming_files, read
from neuroloom.ingest.formats import phy

REAL = "electrode/phy/phy-data/template"
PARAMS = "dat_path = ['/data/run_g0_t0.imec0.ap.bin']\nn_channels_dat = 4\ndtype = 'int16'\nsample_rate = 30000.\n"


@pytest.fixture
def folder(tmp_path):
    """Three clusters on four channels, of which the second was recorded as channel 7; curated in part."""
    place = tmp_path / "kilosort4"
    place.mkdir()
    (place / "params.py").write_text(PARAMS)
    np.save(place / "spike_times.npy", np.array([[30], [60], [90], [120]], "<u8"))
    np.save(place / "spike_clusters.npy", np.array([0, 5, 5, 9], "<i4"))
    np.save(place / "spike_templates.npy", np.array([0, 1, 1, 2], "<u4"))
    templates = np.zeros((3, 10, 4), "<f4")
    for template, channel in ((0, 0), (1, 1), (2, 3)):
        templates[template, 5, channel] = -10
    np.save(place / "templates.npy", templates)
    np.save(place / "channel_map.npy", np.array([3, 7, 8, 9], "<i4"))
    np.save(place / "channel_positions.npy", np.array([[0, 0], [0, 20], [0, 40], [0, 60]], "<f8"))
    (place / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n0\tgood\n5\tmua\n9\tgood\n")
    (place / "cluster_group.tsv").write_text("cluster_id\tgroup\n9\tnoise\n")
    (place / "cluster_info.tsv").write_text(
        "cluster_id\tamp\tdepth\tgroup\n0\t12.5\t10\t\n5\t9\t30\t\n9\t\t60\tnoise\n"
    )
    return place


def units_of(path):
    return read(path)[0].streams[0]


def test_spikes_of_the_real_folder_equal_those_of_neo(recordings_dir):
    from neo.rawio import PhyRawIO

    stock = PhyRawIO(dirname=str(recordings_dir / REAL))
    stock.parse_header()
    units = units_of(recordings_dir / REAL)
    assert units.unit_names == tuple(name.split()[-1] for name in stock.header["spike_channels"]["id"])
    for k, train in enumerate(units.spike_times_s):
        ticks = np.sort(stock.get_spike_timestamps(0, 0, k).ravel())
        assert train == pytest.approx(ticks / 25_000)
    assert (len(units.unit_names), sum(map(len, units.spike_times_s))) == (62, 314)


def test_the_one_labelled_cluster_of_the_real_folder_is_the_one_accepted(recordings_dir):
    units = units_of(recordings_dir / REAL)
    accepted = [name for name, yes in zip(units.unit_names, units.table["accepted"], strict=True) if yes]
    assert accepted == ["4"]
    assert set(units.table["group"]) == {0, 1}


def test_labels_of_people_count_before_those_of_the_sorter(folder):
    table = units_of(folder).table
    assert table["label"] == ("good", "mua", "noise")
    assert table["kind"] == ("sorted", "unsorted", "noise")
    assert table["accepted"] == (True, False, False)
    assert table["reason"] == ("the sorter says good", "the sorter says mua", "labelled noise")


def test_without_any_label_every_cluster_is_accepted(folder):
    for path in folder.glob("cluster_*"):
        path.unlink()
    table = units_of(folder).table
    assert table["accepted"] == (True, True, True)
    assert set(table["reason"]) == {"nobody has labelled this sorting"}


def test_a_unit_has_the_channel_and_the_place_of_its_largest_template(folder):
    table = units_of(folder).table
    assert table["channel_index"] == (3, 7, 9)
    assert table["y_um"] == (0.0, 20.0, 60.0)
    assert table["depth_um"] == (10.0, 30.0, 60.0)
    assert table["amplitude"] == pytest.approx((12.5, 9.0, np.nan), nan_ok=True)


def test_it_says_what_it_counts_and_in_which_file(folder):
    assert units_of(folder).provenance == {
        "made_by": "phy",
        "counted_hz": 30000.0,
        "source": ["run_g0_t0.imec0.ap.bin"],
    }


def test_a_folder_is_one_drop(folder):
    assert naming_files(folder) == [folder / "params.py"]
    assert set(phy.files(folder / "params.py")) == set(folder.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "sample_rate = __import__('os').mkdir('RAN')",
        "sample_rate = open('RAN', 'w').write('x')",
        "import os; os.mkdir('RAN')\nsample_rate = 30000.",
        "sample_rate = [].__class__.__base__.__subclasses__()",
        "sample_rate = 3e4 if not exec(\"open('RAN','w')\") else 1",
    ],
)
def test_params_are_never_run(folder, tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (folder / "params.py").write_text(PARAMS.replace("sample_rate = 30000.", "") + line + "\n")
    with contextlib.suppress(FormatError):
        assert phy.params_of(folder / "params.py").get("sample_rate", 30_000) == 30_000
        units_of(folder)
    assert not (tmp_path / "RAN").exists()


def test_arrays_of_objects_are_refused(folder):
    np.save(folder / "spike_times.npy", np.array([{}, {}, {}, {}], dtype=object))
    with pytest.raises(FormatError, match=r"spike_times\.npy"):
        units_of(folder)


def test_an_array_whose_head_does_not_end_is_refused(folder):
    """numpy takes it for one of Python 2 and its tokenizer gives up, with an error of its own."""
    raw = (folder / "spike_times.npy").read_bytes()
    (folder / "spike_times.npy").write_bytes(raw.replace(b"}", b" "))
    with pytest.raises(FormatError, match=r"spike_times\.npy"):
        units_of(folder)


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("spike_times", np.array([1, 2, 3], "<u8"), "4 entries"),
        ("spike_times", np.array([-1, 2, 3, 4], "<i8"), "whole numbers from 0"),
        ("spike_templates", np.array([0, 1, 1, 40], "<u4"), "template 40"),
        ("spike_templates", np.array([0, 1, 1, 1 << 30], "<u4"), "fewer than"),
        ("channel_map", np.array([3], "<i4"), "on 1 channels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder, name, values, said):
    np.save(folder / f"{name}.npy", values)
    with pytest.raises(FormatError, match=said):
        units_of(folder)


def test_a_cluster_that_is_no_number_is_refused(folder):
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\nx\tgood\n")
    with pytest.raises(FormatError, match=r"cluster_group\.tsv.*'x'"):
        units_of(folder)


def test_a_program_without_spikes_beside_it_is_no_sorting(tmp_path):
    (tmp_path / "params.py").write_text(PARAMS)
    assert format_of(tmp_path / "params.py") is None


def test_a_header_of_an_array_that_promises_too_much_is_refused(folder):
    raw = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    raw += b"{'descr': '<u8', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    (folder / "spike_times.npy").write_bytes(raw + bytes(64))
    with pytest.raises(FormatError, match=r"spike_times\.npy"):
        units_of(folder)
