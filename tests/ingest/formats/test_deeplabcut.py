import pickle

import h5py
import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

HEAD = "scorer,net,net,net,net,net,net\nbodyparts,nose,nose,nose,paw,paw,paw\ncoords,x,y,likelihood,x,y,likelihood\n"
ROWS = "0,1,2,0.9,10,20,0.8\n1,3,4,0.1,30,40,0.7\n2,5,6,0.9,,,0.6\n"
COLUMNS = [("net", part, axis) for part in ("nose", "paw") for axis in ("x", "y", "likelihood")]


def pose(folder, text=HEAD + ROWS, toml='format = "deeplabcut"\nrate_hz = 50\n'):
    (folder / "video.csv").write_text(text)
    if toml:
        (folder / "video.toml").write_text(toml)
    return folder / "video.csv"


def hdf5(path, columns=COLUMNS, kind=None):
    """As pandas' to_hdf stores it with format="table": an index, blocks of values, pickled names."""
    rows = np.zeros(3, dtype=[("index", "<i8"), ("values_block_0", "<f8", (len(columns),))])
    rows["index"], rows["values_block_0"] = range(3), np.arange(3 * len(columns)).reshape(3, -1)
    with h5py.File(path, "w") as file:
        table = file.create_dataset("df_with_missing/table", data=rows)
        table.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(list(columns), 0) if kind is None else kind)
    path.with_suffix(".toml").write_text('format = "deeplabcut"\nrate_hz = 50\n')
    return path


def test_body_parts_are_positions_and_likelihoods_stand_beside(tmp_path):
    path = pose(tmp_path)
    assert format_of(path) == "deeplabcut"
    (recording,) = read(path)
    nose = recording["position nose"]
    assert (nose.unit, nose.rate_hz, nose.channel_names) == ("px", 50.0, ("x", "y"))
    assert nose.values()[0].tolist() == [[1, 2], [3, 4], [5, 6]]  # the unlikely one is kept
    assert recording["likelihood"].channel_names == ("nose", "paw")
    assert recording["likelihood"].values()[0][:, 0] == pytest.approx([0.9, 0.1, 0.9])


def test_a_blank_place_is_nan(tmp_path):
    assert np.isnan(read(pose(tmp_path))[0]["position paw"].values()[0][2]).all()


def test_several_animals_are_told_apart(tmp_path):
    text = "scorer,n,n,n,n\nindividuals,a,a,b,b\nbodyparts,nose,nose,nose,nose\ncoords,x,y,x,y\n0,1,2,3,4\n1,5,6,7,8\n"
    (recording,) = read(pose(tmp_path, text))
    assert recording["position a nose"].values()[0].tolist() == [[1, 2], [5, 6]]
    assert recording["position b nose"].values()[0].tolist() == [[3, 4], [7, 8]]


def test_without_a_rate_the_lines_to_write_are_said(tmp_path):
    with pytest.raises(FormatError, match=r"states no rate; wanted is a video\.toml .*rate_hz = 30"):
        read(pose(tmp_path, toml=""))


def test_a_clip_begins_at_its_first_frame(tmp_path):
    text = HEAD + "100,1,2,0.9,10,20,0.8\n101,3,4,0.1,30,40,0.7\n"
    assert read(pose(tmp_path, text))[0]["position nose"].start_s == 2.0


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("0,1,2,0.9,10,20,0.8\n2,3,4,0.1,30,40,0.7\n", "frame 2 follows frame 0; every frame is wanted"),
        ("0,1,2,0.9,10,20,0.8\n1,3,4\n", "line 5 has 3 cells; 7 are wanted"),
        ("0,1,2,0.9,10,20,0.8\n1,3,x,0.1,30,40,0.7\n", "line 5: 'x' is no number"),
        ("", "no frames below its header"),
    ],
)
def test_damage_is_named(tmp_path, rows, match):
    with pytest.raises(FormatError, match=match):
        read(pose(tmp_path, HEAD + rows))


def test_hdf5_gives_the_same(tmp_path):
    path = hdf5(tmp_path / "video.h5")
    assert format_of(path) == "deeplabcut"
    (recording,) = read(path)
    assert recording["position paw"].values()[0].tolist() == [[3, 4], [9, 10], [15, 16]]
    assert recording["likelihood"].values()[0][:, 1].tolist() == [5, 11, 17]


def test_pickled_names_that_would_run_something_are_refused(tmp_path):
    """What pandas stores beside the table is a pickle, and anybody's may call any function."""

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = hdf5(tmp_path / "video.h5", kind=pickle.dumps([Evil()], 0))
    with pytest.raises(FormatError, match=r"its column names cannot be read \(instruction GLOBAL"):
        read(path)
    assert not (tmp_path / "ran").exists()
