import tracemalloc

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from neuroloom.ingest import FormatError, Intervals, Timestamps, read
from neuroloom.ingest.formats import _variables

PAIR = "electrode_behaviour/mat_nelpy/nelpy-example-data/linear-track"
CA1 = '[[units]]\nname = "ca1"\nspike_times = "spikes.mat:spikes.time"\ntime_unit = "s"\n'
SPIKES = '[[units]]\nname = "u"\nspike_times = "{}"\ntime_unit = "s"\n'
POSITION = '[[signals]]\nname = "position"\nmodality = "position"\nunit = "cm"\n'


def declared(folder, entries, *, top=""):
    """The TOML, beside files that are there already."""
    path = folder / "recording.toml"
    path.write_text(f'format = "neuroloom arrays"\n{top}\n{entries}')
    return path


def cells(*items):
    """A MATLAB cell array of one row."""
    row = np.empty((1, len(items)), dtype=object)
    row[0, :] = items
    return row


@pytest.fixture
def pair(recordings_dir, tmp_path):
    """The real spikes.mat and trajectory, and the TOML that puts the spikes on the trajectory's clock."""
    for file in (recordings_dir / PAIR).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return declared(tmp_path, CA1, top='clock = "trajectory"'), tmp_path / "trajectory.videoPositionTracking"


def test_real_units_lie_in_nested_cells(pair):
    (recording,) = read(pair[0])
    units = recording["ca1"]
    assert len(units.unit_names) == 37
    assert units.unit_names[-2:] == ("13-7", "13-10")  # tetrode and cluster
    assert sum(times.size for times in units.spike_times_s) == 28_829
    assert sum(times.size > 0 for times in units.spike_times_s) == 31


def test_real_spikes_lie_on_whole_samples_of_the_trajectorys_clock(pair):
    recordings = read(*pair)
    assert [recording.clock for recording in recordings] == ["trajectory", "trajectory"]
    samples = np.concatenate(recordings[0]["ca1"].spike_times_s) * 30_000
    assert np.abs(samples - np.round(samples)).max() < 1e-6


def test_real_spikes_tell_the_place_best_without_a_shift(pair):
    """Spatial information (Skaggs et al. 1993): were the clocks seconds apart, it would not peak at 0."""
    spikes, tracked = read(*pair)
    segment = tracked["position"].segments[0]
    times_s, cell = segment.timebase.times_s, np.asarray(segment.samples[:])[:, 0] // 20
    there = np.bincount(cell) / cell.size

    def information(shift_s):
        total = 0.0
        for train in spikes["ca1"].spike_times_s:
            frames = np.searchsorted(times_s, train + shift_s) - 1
            seen = np.bincount(cell[frames[(frames >= 0) & (frames < cell.size)]], minlength=there.size)
            rate = np.divide(seen, there * max(seen.sum(), 1), out=np.zeros(there.size), where=there > 0)
            total += (there * rate * np.log2(rate, out=np.zeros(there.size), where=rate > 0)).sum() * (train.size > 200)
        return total

    assert information(0.0) > 1.3 * max(information(shift_s) for shift_s in (-30, -10, -5, 5, 10, 30))


def test_cells_are_units_padding_is_dropped_and_said(tmp_path):
    savemat(
        tmp_path / "s.mat", {"spikes": cells(np.array([2.0, 1.0, np.nan, 2.0]), np.zeros((1, 0)), np.array([[5.0]]))}
    )
    (recording,) = read(declared(tmp_path, SPIKES.format("s.mat:spikes")))
    assert recording.clock == "recording"
    assert recording["u"].unit_names == ("1", "2", "3")
    assert [times.tolist() for times in recording["u"].spike_times_s] == [[1.0, 2.0, 2.0], [], [5.0]]
    assert recording.repairs == (
        "u: 1 spike times that are NaN left out",
        "u: spike times not in order in 1 of 3 units: sorted",
    )


def test_a_struct_array_is_a_unit_each(tmp_path):
    savemat(tmp_path / "s.mat", {"unit": [{"t": np.array([1.0])}, {"t": np.array([2.0, 3.0])}]})
    units = read(declared(tmp_path, SPIKES.format("s.mat:unit.t")))[0]["u"]
    assert [times.tolist() for times in units.spike_times_s] == [[1.0], [2.0, 3.0]]


def test_flat_times_go_to_their_units_by_id(tmp_path):
    np.save(tmp_path / "times.npy", np.array([30, 60, 90], dtype=np.uint64))
    np.save(tmp_path / "clusters.npy", np.array([7, 3, 7]))
    entry = '[[units]]\nname = "u"\nspike_times = "times.npy"\nunit_ids = "clusters.npy"\n'
    entry += 'time_unit = "samples"\nrate_hz = 30\ntable = { area = "CA1", depth_um = [100.0, 20.0] }\n'
    units = read(declared(tmp_path, entry))[0]["u"]
    assert units.unit_names == ("3", "7")
    assert [times.tolist() for times in units.spike_times_s] == [[2.0], [1.0, 3.0]]
    assert units.table == {"area": ("CA1", "CA1"), "depth_um": (100.0, 20.0)}


def test_a_spike_without_a_unit_is_refused_and_padding_is_said(tmp_path):
    entry = SPIKES.format("s.npz:t") + 'unit_ids = "s.npz:id"\n'
    np.savez(tmp_path / "s.npz", t=[1.0, 2.0, np.nan], id=[4.0, 4.0, np.nan])
    (recording,) = read(declared(tmp_path, entry))
    assert recording["u"].unit_names == ("4",)
    assert recording.repairs == ("u: 1 spikes without time and unit left out",)
    np.savez(tmp_path / "s.npz", t=[1.0, 2.0, 3.0], id=[4.0, 4.0, np.nan])
    with pytest.raises(FormatError, match="unit_id is NaN"):
        read(declared(tmp_path, entry))


def test_a_matrix_says_which_way_its_units_lie(tmp_path):
    np.savez(tmp_path / "s.npz", spikes=np.array([[1.0, 2.0], [3.0, np.nan]]))
    with pytest.raises(FormatError, match="one_unit_per with a matrix is wanted"):
        read(declared(tmp_path, SPIKES.format("s.npz:spikes")))
    units = read(declared(tmp_path, SPIKES.format("s.npz:spikes") + 'one_unit_per = "row"\n'))[0]["u"]
    assert [times.tolist() for times in units.spike_times_s] == [[1.0, 2.0], [3.0]]


def test_a_signal_has_its_times_unit_and_gain(tmp_path):
    np.savez(tmp_path / "p.npz", xy=np.array([[1, 2], [3, 4], [5, 6]], dtype=np.int16), t=[0, 10, 25])
    entry = (
        POSITION + 'samples = "p.npz:xy"\nchannels = ["x", "y"]\ntimes = "p.npz:t"\ntime_unit = "ms"\ngain = [0.5, 2]\n'
    )
    signal = read(declared(tmp_path, entry))[0]["position"]
    assert signal.segments[0].timebase.seconds([0, 1, 2]).tolist() == [0.0, 0.010, 0.025]
    assert isinstance(signal.segments[0].timebase, Timestamps)
    assert signal.segments[0].samples.dtype == np.int16
    assert signal.values()[0].tolist() == [[0.5, 4], [1.5, 8], [2.5, 12]]


def test_volts_become_microvolts_at_a_stated_rate(tmp_path):
    np.save(tmp_path / "lfp.npy", np.array([[1, 2, 3, 4]], dtype=np.int16))
    entry = '[[signals]]\nname = "lfp"\nmodality = "lfp"\nsamples = "lfp.npy"\nchannels_first = true\n'
    signal = read(declared(tmp_path, entry + 'unit = "mV"\nrate_hz = 1000\nstart_s = 2\ngain = 0.1\n'))[0]["lfp"]
    assert (signal.unit, signal.start_s, signal.rate_hz) == ("uV", 2.0, 1000)
    assert signal.values()[0].ravel() == pytest.approx([100, 200, 300, 400])


def test_npy_is_read_by_the_slice(tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((1_000_000, 8), dtype=np.int16))
    entry = '[[signals]]\nname = "w"\nmodality = "wideband"\nsamples = "wide.npy"\nunit = "uV"\nrate_hz = 30000\n'
    tracemalloc.start()
    signal = read(declared(tmp_path, entry))[0]["w"].between(1.0, 1.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert signal.n_samples == 3000
    assert peak < 1_000_000  # of 16 MB


def test_columns_of_text_are_a_signal(tmp_path):
    (tmp_path / "p.csv").write_text("frame;t;x;y\n0;0,00;1,5;2\n1;0,02;2,5;3\n")
    entry = POSITION + 'samples = ["p.csv:x", "p.csv:y"]\ntimes = "p.csv:t"\ntime_unit = "s"\n'
    signal = read(declared(tmp_path, entry))[0]["position"]
    assert signal.values()[0].tolist() == [[1.5, 2.0], [2.5, 3.0]]
    assert signal.channel_names == ("position-1", "position-2")


def test_events_and_intervals_keep_labels_and_columns_in_order(tmp_path):
    savemat(tmp_path / "e.mat", {"t": [3.0, 1.0, np.nan], "what": cells("go", "cue", "none"), "size": [30, 10, 0]})
    (tmp_path / "runs.csv").write_text("start,stop,side\n0,1,left\n2,3,right\n")
    entries = '[[events]]\nname = "e"\ntimes = "e.mat:t"\ntime_unit = "s"\nlabels = "e.mat:what"\n'
    entries += 'columns = { size = "e.mat:size" }\n'
    entries += (
        '[[intervals]]\nname = "i"\nbounds = ["runs.csv:start", "runs.csv:stop"]\ntime_unit = "s"\nlabel = "run"\n'
    )
    entries += 'modality = "trials"\ncolumns = { side = "runs.csv:side" }\n'
    (recording,) = read(declared(tmp_path, entries))
    events, intervals = recording["e"], recording["i"]
    assert (events.times_s.tolist(), events.labels, events.table["size"]) == ([1.0, 3.0], ("cue", "go"), (10, 30))
    assert isinstance(intervals, Intervals)
    assert (intervals.bounds_s.tolist(), intervals.table) == ([[0, 1], [2, 3]], {"side": ("left", "right")})
    assert recording.repairs == ("e: 1 rows whose time is NaN left out", "e: times not in order: sorted")


def matlab73(path, **variables):
    """As MATLAB 7.3 writes: matrices transposed, cells as references, text as numbers, after 512 bytes of its own."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            _matlab73(file, file, name, value)
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file".ljust(512))
    return path


def _matlab73(file, group, name, value):
    if isinstance(value, dict):
        for key, field in value.items():
            _matlab73(file, group.require_group(name), key, field)
    elif isinstance(value, list):
        inner = file.require_group("#refs#")
        numbers = [len(inner) + k for k in range(len(value))]
        for number, item in zip(numbers, value, strict=True):
            _matlab73(file, inner, f"r{number}", item)
        references = np.array([[inner[f"r{number}"].ref] for number in numbers], dtype=h5py.ref_dtype)
        group.create_dataset(name, data=references).attrs["MATLAB_class"] = np.bytes_("cell")
    elif isinstance(value, str):
        letters = np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1)
        group.create_dataset(name, data=letters).attrs["MATLAB_class"] = np.bytes_("char")
    elif not np.size(value):
        group.create_dataset(name, data=np.array([0, 0], dtype=np.uint64)).attrs["MATLAB_empty"] = 1
    else:
        group.create_dataset(name, data=np.atleast_2d(value).T)


def test_version_73_gives_the_same_as_older_ones(tmp_path):
    matlab73(
        tmp_path / "s.mat", spikes=[{"t": np.array([2.0, 1.0])}, np.zeros(0), {"t": np.zeros(0)}], on=["go", "stop"]
    )
    entries = SPIKES.format("s.mat:spikes.t")
    entries += '[[events]]\nname = "e"\ntimes = "t.npy"\ntime_unit = "s"\nlabels = "s.mat:on"\n'
    np.save(tmp_path / "t.npy", [1.0, 2.0])
    (recording,) = read(declared(tmp_path, entries))
    assert recording["u"].unit_names == ("1", "3")
    assert [times.tolist() for times in recording["u"].spike_times_s] == [[1.0, 2.0], []]
    assert recording["e"].labels == ("go", "stop")


def test_version_73_text_beyond_16_bits_is_whole(tmp_path):
    matlab73(tmp_path / "s.mat", on=["\N{BRAIN}", "go"])
    np.save(tmp_path / "t.npy", [1.0, 2.0])
    entries = '[[events]]\nname = "e"\ntimes = "t.npy"\ntime_unit = "s"\nlabels = "s.mat:on"\n'
    assert read(declared(tmp_path, entries))[0]["e"].labels == ("\N{BRAIN}", "go")


def test_a_version_73_matrix_is_read_by_the_slice(tmp_path, monkeypatch):
    matlab73(tmp_path / "p.mat", xy=np.arange(20).reshape(10, 2))
    monkeypatch.setattr(_variables, "MAX_BYTES", 0)
    entry = POSITION + 'samples = "p.mat:xy"\nchannels = ["x", "y"]\nrate_hz = 10\n'
    part = read(declared(tmp_path, entry))[0]["position"].between(0.3, 0.5)
    assert part.values()[0].tolist() == [[6, 7], [8, 9]]


@pytest.mark.parametrize("do_compression", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([[1, 2], [3, 4]], dtype=np.int16),
        np.array([[2**63]], dtype=np.uint64),
        np.array([[True, False]]),
        np.array([["go", "stop"]], dtype=object),
        np.array(["left", "rght"]),
        np.array([[1e-30]], dtype=np.float32),
        np.zeros((2, 3, 4)),
        np.zeros((0, 5)),
    ],
)
def test_matlab_variables_equal_those_of_scipy(tmp_path, value, do_compression):
    path = tmp_path / "x.mat"
    savemat(path, {"before": [1], "x": value, "after": [2]}, do_compression=do_compression)
    stock = loadmat(path)["x"]
    ours = _variables.leaves(path, "x")
    theirs = stock.ravel() if stock.dtype == object else [stock]
    for (_, array), there in zip(ours, theirs, strict=True):
        assert array.shape == there.shape
        assert np.array_equal(array, there)


def test_real_matlab_variables_equal_those_of_scipy(recordings_dir):
    seen = 0
    for path in recordings_dir.rglob("*.mat"):
        if path.read_bytes()[:10] != b"MATLAB 5.0":
            continue
        for name, value in loadmat(path).items():
            if isinstance(value, np.ndarray) and value.dtype.kind in "iuf":
                assert np.array_equal(_variables.leaves(path, name)[0][1], value, equal_nan=True)
                seen += 1
    assert seen > 5


@pytest.mark.parametrize("value", [np.array([[1 + 2j]]), csc_matrix(np.eye(3)), {"a": {"b": 1.0}}])
def test_what_is_no_array_of_numbers_or_text_is_refused(tmp_path, value):
    savemat(tmp_path / "s.mat", {"x": value})
    with pytest.raises(FormatError, match=r"s\.mat: x(\.a)? is"):
        read(declared(tmp_path, SPIKES.format("s.mat:x.a" if isinstance(value, dict) else "s.mat:x")))


def test_files_are_the_toml_and_what_it_names(pair):
    from neuroloom.ingest.formats import arrays

    assert [file.name for file in arrays.files(pair[0])] == ["recording.toml", "spikes.mat"]


@pytest.mark.parametrize("name", ["../s.npy", "/etc/passwd", "a\\\\s.npy", "a/s.npy", ""])
def test_a_file_elsewhere_is_refused(tmp_path, name):
    np.save(tmp_path / "s.npy", [1.0])
    with pytest.raises(FormatError, match=r"plain file name|at least 1 character"):
        read(declared(tmp_path, SPIKES.format(name)))


def test_a_link_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "s.npy").symlink_to("/etc/passwd")
    with pytest.raises(FormatError, match=r"'s\.npy' is not beside it"):
        read(declared(tmp_path, SPIKES.format("s.npy")))
    with pytest.raises(FormatError, match=r"'t\.npy' is not beside it"):
        read(declared(tmp_path, SPIKES.format("t.npy")))


@pytest.mark.parametrize("name", ["s.npy", "s.npz:a"])
def test_a_pickle_is_refused(tmp_path, name):
    np.save(tmp_path / "s.npy", np.array([[1], 2], dtype=object))
    np.savez(tmp_path / "s.npz", a=np.array([[1], 2], dtype=object))
    with pytest.raises(FormatError, match="numbers or text are wanted"):
        read(declared(tmp_path, SPIKES.format(name)))


def test_a_cell_that_holds_itself_is_refused(tmp_path):
    matlab73(tmp_path / "s.mat", spikes=[np.array([1.0])])
    with h5py.File(tmp_path / "s.mat", "r+") as file:
        file["spikes"][0, 0] = file["spikes"].ref
    with pytest.raises(FormatError, match="nested too deep"):
        read(declared(tmp_path, SPIKES.format("s.mat:spikes")))


@pytest.mark.parametrize("make", ["soft", "external", "virtual"])
def test_data_in_another_hdf5_file_is_refused(tmp_path, make):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["t"] = [[1.0]]
    with h5py.File(tmp_path / "s.mat", "w") as file:
        if make == "virtual":
            layout = h5py.VirtualLayout(shape=(1, 1), dtype="f8")
            layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "t", shape=(1, 1))
            file.create_virtual_dataset("t", layout)
        else:
            file["t"] = h5py.SoftLink("/u") if make == "soft" else h5py.ExternalLink("secret.h5", "t")
    with pytest.raises(FormatError, match=r"s\.mat: t is"):
        read(declared(tmp_path, SPIKES.format("s.mat:t")))


@pytest.mark.parametrize("name", ["s.mat:spikes", "s.npz:spikes", "v73.mat:spikes"])
def test_what_swells_beyond_the_limit_is_refused_unread(tmp_path, monkeypatch, name):
    zeros = np.zeros(300_000)
    savemat(tmp_path / "s.mat", {"first": 1.0, "spikes": zeros}, do_compression=True)
    np.savez_compressed(tmp_path / "s.npz", spikes=zeros)
    matlab73(tmp_path / "v73.mat", spikes=zeros)
    monkeypatch.setattr(_variables, "MAX_BYTES", 100_000)
    with pytest.raises(FormatError, match="at most 100000 are read at once"):
        read(declared(tmp_path, SPIKES.format(name)))


def test_a_large_neighbour_is_not_in_the_way(tmp_path, monkeypatch):
    savemat(tmp_path / "s.mat", {"lfp": np.zeros(300_000), "spikes": [1.0]}, do_compression=True)
    monkeypatch.setattr(_variables, "MAX_BYTES", 100_000)
    assert read(declared(tmp_path, SPIKES.format("s.mat:spikes")))[0]["u"].spike_times_s[0].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.mat", b""),
        ("s.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\x0f\0\0\0\xff\xff\xff\x7fjunk"),
        ("s.mat", b"\x89HDF\r\n\x1a\n" + bytes(100)),
        ("s.npz", b"PK\x03\x04junk"),
        ("s.npy", b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10**9,)}\n"),
        ("s.csv", b"\xff\xfe\x00\x01"),
        ("s.csv", b"spikes\n1\nx\n"),
        ("s.xls", b"1"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    reference = name if name == "s.npy" else f"{name}:spikes"
    for entry in (SPIKES.format(reference), POSITION + f'samples = "{reference}"\nrate_hz = 1\n'):
        with pytest.raises(FormatError, match=name.replace(".", r"\.")) as refusal:
            read(declared(tmp_path, entry))
        assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "no stream"),
        ("clok = 1\n" + SPIKES.format("s.npy"), "clok"),
        (SPIKES.format("s.npy").replace('time_unit = "s"', ""), "time_unit is wanted"),
        (SPIKES.format("s.npy").replace('"s"', '"samples"'), "rate_hz is wanted"),
        (SPIKES.format("s.npy") + 'tables = "x"\n', r"units\.0\.tables"),
        (SPIKES.format("s.npy") + SPIKES.format("s.npy"), "two streams are named 'u'"),
        (SPIKES.format("s.npy:x"), "'x'; none is wanted of a .npy"),
        (SPIKES.format("s.npy") + 'table = { area = ["CA1", "CA3"] }\n', "2 values for 1 units"),
        (POSITION.replace('unit = "cm"', "") + 'samples = "s.npy"\nrate_hz = 1\n', r"signals\.0\.unit: Field required"),
        (POSITION + 'samples = "s.npy"\n', "times or rate_hz"),
        (POSITION + 'samples = "s.npy"\ntimes = "s.npy"\ntime_unit = "s"\n', "time 2 is 1 s after 3 s"),
        (POSITION + 'samples = "s.npy"\nrate_hz = 1\nchannels = ["x", "y"]\n', r"\(3, 1\) for 2 channels"),
        (POSITION.replace('"position"\nunit', '"smell"\nunit') + 'samples = "s.npy"\nrate_hz = 1\n', "'smell'"),
        (POSITION + 'samples = "text.npy"\nrate_hz = 1\n', "numbers are wanted"),
        ('[[events]]\nname = "e"\ntimes = "s.npy"\ntime_unit = "s"\n', "label"),
        ('[[intervals]]\nname = "i"\nbounds = "s.npy"\ntime_unit = "s"\nlabel = "x"\n', r"\(N, 2\)"),
    ],
)
def test_a_wrong_declaration_names_its_entry(tmp_path, entry, message):
    np.save(tmp_path / "s.npy", [3.0, 1.0, 2.0])
    np.save(tmp_path / "text.npy", ["a"])
    with pytest.raises(FormatError, match=message) as refusal:
        read(declared(tmp_path, entry))
    assert len(str(refusal.value).splitlines()) == 1
    assert str(tmp_path) in str(refusal.value)


def test_another_toml_is_not_claimed(tmp_path):
    (tmp_path / "session.toml").write_text('subject = "01"\n')
    with pytest.raises(FormatError, match=r"none of the .* formats known here recognises it"):
        read(tmp_path / "session.toml")
