import json
import pickle
import shutil
import warnings

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, naming_files, read

SEGMENTS = [{"a": np.array([10, 20, 300]), "b": np.array([5, 25])}, {"a": np.array([7]), "b": np.array([], dtype=int)}]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The same two units in two segments, saved in each way that SpikeInterface has."""
    from spikeinterface.core import NumpySorting

    folder = tmp_path_factory.mktemp("sorting")
    sorting = NumpySorting.from_unit_dict(SEGMENTS, 30_000.0)
    sorting.set_property("quality", np.array(["good", "mua"]))
    sorting.set_property("depth", np.array([1.5, 2.5]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sorting.save(folder=folder / "numpy_folder")
        sorting.save(folder=folder / "npz_folder", format="npz_folder")
        sorting.save(folder=folder / "whole.zarr", format="zarr")
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "copy")
    return tmp_path / "copy"


WAYS = ("numpy_folder", "npz_folder", "whole.zarr")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saving_gives_the_same_trains(saved, way):
    parts = read(saved / way)[0].streams
    assert [part.provenance["segment"] for part in parts] == [0, 1]
    for part, trains in zip(parts, SEGMENTS, strict=True):
        assert part.unit_names == ("a", "b")
        for name, times_s in zip(part.unit_names, part.spike_times_s, strict=True):
            assert np.rint(times_s * 30_000).tolist() == trains[name].tolist()


@pytest.mark.parametrize("way", WAYS)
def test_properties_are_columns_and_labels_are_understood(saved, way):
    table = read(saved / way)[0].streams[0].table
    assert (table["quality"], table["depth"]) == (("good", "mua"), (1.5, 2.5))
    assert (table["kind"], table["accepted"]) == (("sorted", "unsorted"), (True, False))


def test_one_segment_is_one_stream(tmp_path):
    from spikeinterface.core import NumpySorting

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NumpySorting.from_unit_dict(SEGMENTS[:1], 30_000.0).save(folder=tmp_path / "one")
    (units,) = read(tmp_path / "one")[0].streams
    assert (units.name, "segment" in units.provenance) == ("units", False)


def test_a_sorting_within_an_analyzer_is_found(saved, tmp_path):
    shutil.copytree(saved / "numpy_folder", tmp_path / "analyzer" / "sorting")
    assert [path.parent.name for path in naming_files(tmp_path / "analyzer")] == ["sorting"]
    assert read(tmp_path / "analyzer")[0].clock == "analyzer"
    shutil.copytree(saved / "whole.zarr", tmp_path / "analyzer.zarr" / "sorting")
    assert format_of(tmp_path / "analyzer.zarr") == "spikeinterface_sorting"


def ran(path):
    """What a pickle would do if anybody loaded it: leave a folder."""

    class Bomb:
        def __reduce__(self):
            import os

            return os.mkdir, (str(path),)

    return pickle.dumps(Bomb())


def test_a_class_that_a_json_names_is_not_imported(copied, tmp_path):
    named = {"class": "os.mkdir", "module": "os", "version": "1", "kwargs": {"path": str(tmp_path / "RAN")}}
    (copied / "numpy_folder" / "si_folder.json").write_text(json.dumps(named))
    (copied / "numpy_folder" / "provenance.pkl").write_bytes(ran(tmp_path / "RAN"))
    assert len(read(copied / "numpy_folder")[0].streams) == 2
    assert not (tmp_path / "RAN").exists()


def test_a_zarr_codec_that_unpickles_is_refused(copied, tmp_path):
    described = copied / "whole.zarr" / "unit_ids" / ".zarray"
    entries = json.loads(described.read_text()) | {"dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None}
    described.write_text(json.dumps(entries))
    (described.parent / "0").write_bytes(ran(tmp_path / "RAN"))
    with pytest.raises(FormatError, match="pickle"):
        read(copied / "whole.zarr")
    assert not (tmp_path / "RAN").exists()


def test_an_object_array_among_properties_is_left_out(copied, tmp_path):
    (copied / "numpy_folder" / "properties" / "evil.npy").write_bytes(ran(tmp_path / "RAN"))
    np.save(copied / "numpy_folder" / "properties" / "things.npy", np.array([{}, []], dtype=object))
    assert {"evil", "things"}.isdisjoint(read(copied / "numpy_folder")[0].streams[0].table)
    assert not (tmp_path / "RAN").exists()


def test_a_linked_chunk_is_refused(copied, tmp_path):
    chunk = copied / "whole.zarr" / "spikes" / "sample_index" / "0"
    shutil.move(chunk, tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        read(copied / "whole.zarr")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"num_segments": 0}, "not all stated"),
        ({"unit_ids": ["a"]}, "1 units are stated"),
        ({"sampling_frequency": -1}, "above 0"),
    ],
)
def test_a_folder_that_lies_is_refused(copied, entries, said):
    info = copied / "numpy_folder" / "numpysorting_info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | entries))
    with pytest.raises(FormatError, match=said):
        read(copied / "numpy_folder")


def test_a_chunk_that_unpacks_to_too_much_is_refused(copied):
    described = copied / "whole.zarr" / "spikes" / "sample_index" / ".zarray"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"chunks": [1 << 40]}))
    with pytest.raises(FormatError, match="chunks of"):
        read(copied / "whole.zarr")
