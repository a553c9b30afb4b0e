import pickle
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import h5py
import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries, behavior, ecephys, epoch, get_class, misc
from pynwb.file import Subject

from neuroloom.ingest import (
    Events,
    FormatError,
    Intervals,
    Segment,
    Session,
    Signal,
    Timebase,
    Timestamps,
    Units,
    format_of,
    read,
)
from neuroloom.ingest.formats import _nwb_series, nwb

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
REAL = (
    "electrode/nwb_icephys/NWBShowcase/Lantyer/LantyerEtAl2018_170328_AB_277_ST50_C.nwb",
    "electrode/nwb_icephys/NWBShowcase/Lantyer/LantyerEtAl2018_171220_NC_156_ST100_C.nwb",
    "electrode/nwb_icephys/NWBShowcase/Lantyer/LantyerEtAl2018_180817_ME_9_CC.nwb",
    "electrode/nwb_icephys/NWBShowcase/NWB/datatypes.nwb",
    "electrode/nwb_icephys/NWBShowcase/NWB/time_series_data_latest.nwb",
    "electrode/nwb_ttl/neuroconv/mock_ttl_examples.nwb",
    "odd/nwb/pynwb/1.5.1_timeseries_no_unit.nwb",
    "odd/nwb/pynwb/2.1.0_nwbfile_with_extension.nwb",
)
EMPTY = (
    "odd/nwb/pynwb/1.0.2_nwbfile.nwb",
    "odd/nwb/pynwb/1.1.2_str_pub.nwb",
    "odd/nwb/pynwb/1.5.1_timeseries_no_data.nwb",
    "odd/nwb/pynwb/2.2.0_subject_no_age__reference.nwb",
)


@contextmanager
def pynwb_of(path):
    """What pynwb reads; it has a word to say about most files of others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with NWBHDF5IO(path, "r", load_namespaces=True) as io:
            yield io.read()


@pytest.fixture
def write(tmp_path):
    """Writes an NWB file of what a function adds to it."""

    def written(fill, *, name="x.nwb", start=START, **more):
        file = NWBFile("a session", "id", start, **more)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fill(file)
            with NWBHDF5IO(tmp_path / name, "w") as io:
                io.write(file)
        return tmp_path / name

    return written


def series(name="a", data=(0, 1, 2), **times):
    return TimeSeries(name=name, data=np.asarray(data), unit="V", **(times or {"rate": 10.0, "starting_time": 0.0}))


def acquired(*found):
    def fill(file):
        for one in found:
            file.add_acquisition(one)

    return fill


def electrical(file, *, n=2, rate=30000.0, name="probe", group="shank", columns=None, **more):
    """An ElectricalSeries of `n` electrodes, samples counting up from 0, added nowhere."""
    device = file.create_device(name=f"{group} device")
    shank = file.create_electrode_group(group, description=more.pop("about", "x"), location="V1", device=device)
    for column in columns or {}:
        file.add_electrode_column(name=column, description=f"the {column}")
    for i in range(n):
        rest = {column: values[i] for column, values in (columns or {}).items()}
        file.add_electrode(group=shank, location=("V1", "unknown")[i % 2], rel_x=float(i), rel_y=2.0 * i, **rest)
    region = file.create_electrode_table_region(list(range(n)), "all")
    data = np.arange(5 * n, dtype=np.int16).reshape(5, n)
    return ecephys.ElectricalSeries(name=name, data=data, electrodes=region, rate=rate, starting_time=0.5, **more)


@pytest.mark.parametrize("name", REAL)
def test_every_series_equals_that_of_pynwb(recordings_dir, name):
    path = recordings_dir / name
    recording = read(path)[0]
    mine = {stream.provenance["nwb_path"]: stream for stream in recording.streams}
    left_out = " ".join(recording.repairs)
    with pynwb_of(path) as file:
        theirs = [o for o in file.objects.values() if isinstance(o, TimeSeries)]
        assert recording.start == file.timestamps_reference_time + timedelta(
            seconds=min(stream.start_s for stream in recording.streams)
        )
        for one in theirs:
            place = "/" + one.data.name.strip("/").removesuffix("/data") if hasattr(one.data, "name") else one.name
            if place not in mine:
                assert one.name in left_out
                continue
            check_equal(mine.pop(place), one)
    assert not mine


def check_equal(signal, theirs):
    values = np.asarray(theirs.data[:], dtype=np.float64) * theirs.conversion + theirs.offset
    times_s = theirs.timestamps[:] if theirs.timestamps is not None else None
    if times_s is None:
        times_s = theirs.starting_time + np.arange(len(values)) / theirs.rate
    found = np.concatenate([s.timebase.seconds(np.arange(s.timebase.n_samples)) for s in signal.segments])
    assert np.vstack(signal.values()).reshape(values.shape) == pytest.approx(values, rel=1e-12)
    assert found == pytest.approx(times_s, abs=1e-6)


@pytest.mark.parametrize("name", EMPTY)
def test_a_file_without_any_series_is_refused_with_the_reason(recordings_dir, name):
    assert format_of(recordings_dir / name) == "nwb"
    with pytest.raises(FormatError, match=r"no series, events, intervals or units in it \((it is empty|left out /acq)"):
        read(recordings_dir / name)


def test_pictures_in_other_files_are_left_out_by_name(recordings_dir):
    recording = read(recordings_dir / "electrode/nwb_icephys/NWBShowcase/NWB/time_series_data_latest.nwb")[0]
    assert [stream.name for stream in recording.streams] == ["test_sine_1", "test_sine_2"]
    assert recording.repairs == (
        "left out /acquisition/test_image_series: its pictures lie in other files, which are not opened",
    )


def test_stimuli_carry_their_folder_in_the_name(recordings_dir):
    recording = read(recordings_dir / REAL[0])[0]
    assert [(s.name, s.unit) for s in recording.streams][1:3] == [
        ("VoltageClampSeries_02", "A"),
        ("stimulus/presentation/VoltageClampStimulusSeries_01", "V"),
    ]


def test_electrodes_give_microvolts_names_and_sites(write):
    def fill(file):
        columns = {"channel_name": ["AP0", "AP1"]}
        gains = {"conversion": 1e-6, "channel_conversion": [2.0, 3.0], "offset": 5e-6}
        file.add_acquisition(electrical(file, columns=columns, **gains))

    signal = read(write(fill))[0]["probe"]
    assert (signal.modality, signal.unit, signal.channel_names) == ("wideband", "uV", ("AP0", "AP1"))
    assert signal.values()[0][:2] == pytest.approx(np.array([[5.0, 8.0], [9.0, 14.0]]))
    assert signal.table["area"] == ("V1", "")
    assert signal.table["group"] == ("shank", "shank")
    assert signal.segments[0].timebase == Timebase(rate_hz=30000.0, start_s=0.5, n_samples=5)


def test_traces_equal_those_of_spikeinterface(write):
    from spikeinterface.extractors import read_nwb_recording

    path = write(lambda file: file.add_acquisition(electrical(file, conversion=2e-6, offset=1e-6)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = read_nwb_recording(path).get_traces(return_in_uV=True)
    assert read(path)[0]["probe"].values()[0] == pytest.approx(theirs, abs=1e-5)


def test_sites_are_kept_where_the_file_says_micrometers(write):
    path = write(lambda file: file.add_acquisition(electrical(file)))
    assert "x_um" not in read(path)[0]["probe"].table
    with h5py.File(path, "r+") as file:
        for axis in ("rel_x", "rel_y"):
            file[f"general/extracellular_ephys/electrodes/{axis}"].attrs["description"] = (
                "place on the probe in microns"
            )
    table = read(path)[0]["probe"].table
    assert (table["x_um"], table["y_um"]) == ((0.0, 1.0), (0.0, 2.0))


@pytest.mark.parametrize(
    ("rate", "name", "about", "modality"),
    [
        (30000.0, "raw", "x", "wideband"),
        (1000.0, "raw", "x", "lfp"),
        (500.0, "EEG", "x", "eeg"),
        (500.0, "raw", "a cap of scalp EEG", "eeg"),
        (2000.0, "raw", "ECoG grid over M1", "ieeg"),
        (1000.0, "raw", "LFP, recorded beside the EEG", "lfp"),
    ],
)
def test_a_modality_is_named_only_where_the_file_names_it(write, rate, name, about, modality):
    path = write(lambda file: file.add_acquisition(electrical(file, rate=rate, name=name, about=about)))
    assert [s.modality for s in read(path)[0].streams] == [modality]


def test_folders_say_what_their_series_are(write):
    def fill(file):
        module = file.create_processing_module("behavior", "x")
        gaze = behavior.SpatialSeries(name="gaze", data=np.zeros((3, 2)), unit="degrees", reference_frame="x", rate=1.0)
        module.add(behavior.EyeTracking(spatial_series=gaze))
        module.add(behavior.PupilTracking(time_series=series("size")))
        module.add(behavior.BehavioralTimeSeries(time_series=series("lick")))
        lfp = electrical(file, rate=1000.0, name="slow")
        file.create_processing_module("ecephys", "x").add(ecephys.LFP(electrical_series=lfp))

    streams = read(write(fill))[0].streams
    assert {s.name: s.modality for s in streams} == {
        "lick": "behaviour",
        "gaze": "gaze",
        "size": "pupil",
        "slow": "lfp",
    }
    gaze = next(s for s in streams if s.name == "gaze")
    assert (gaze.unit, gaze.channel_names) == ("deg", ("x", "y"))


def test_two_series_of_one_name_are_told_apart_by_their_folders(write):
    def fill(file):
        file.add_acquisition(series("a"))
        file.create_processing_module("m", "x").add(series("a"))

    assert [s.name for s in read(write(fill))[0].streams] == ["a", "m/a"]


def test_a_gap_in_even_timestamps_begins_a_segment(write):
    """SpikeInterface and pynwb show one piece without a gap."""
    path = write(acquired(series(data=range(5), timestamps=[0.0, 0.1, 0.2, 5.0, 5.1])))
    segments = read(path)[0]["a"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(0.0, 3), (5.0, 2)]
    assert segments[0].timebase.rate_hz == pytest.approx(10)
    assert segments[1].samples[:].tolist() == [[3], [4]]


def test_uneven_timestamps_are_kept_as_they_are(write):
    path = write(acquired(series(data=range(4), timestamps=[0.0, 0.1, 0.35, 0.4])))
    (segment,) = read(path)[0]["a"].segments
    assert isinstance(segment.timebase, Timestamps)
    assert segment.timebase.times_s.tolist() == [0.0, 0.1, 0.35, 0.4]


def test_timestamps_are_looked_at_block_by_block(write, monkeypatch):
    monkeypatch.setattr(_nwb_series, "_BLOCK", 4)
    times_s = np.delete(np.arange(20) / 10, [7, 8, 12])
    segments = read(write(acquired(series(data=range(17), timestamps=times_s))))[0]["a"].segments
    assert [s.timebase.n_samples for s in segments] == [7, 3, 7]
    assert all(isinstance(s.timebase, Timebase) for s in segments)


@pytest.mark.parametrize("times_s", [[0.0, 0.2, 0.1], [0.0, 0.1, 0.1], [0.0, np.nan, 0.2], [np.inf, 1.0, 2.0]])
def test_a_series_whose_timestamps_jump_back_is_left_out(write, times_s):
    recording = read(write(acquired(series("good"), series("bad", timestamps=times_s))))[0]
    assert [s.name for s in recording.streams] == ["good"]
    assert recording.repairs[0].startswith("left out /acquisition/bad: its timestamps repeat, jump back or are not")


def test_a_series_that_links_to_the_samples_of_another_is_read(write):
    def fill(file):
        first = series("a", timestamps=[0.0, 0.1, 0.2])
        file.add_acquisition(first)
        file.add_acquisition(TimeSeries(name="b", data=first, unit="V", timestamps=first))

    path = write(fill)
    with h5py.File(path) as file:
        assert isinstance(file.get("acquisition/b/data", getlink=True), h5py.SoftLink)
    assert read(path)[0]["b"].values()[0].ravel().tolist() == [0, 1, 2]


def test_what_is_no_row_of_numbers_is_left_out_by_name(write):
    recording = read(
        write(acquired(series("a"), series("cube", np.zeros((3, 2, 2))), series("words", ["x", "y", "z"])))
    )
    assert [s.name for s in recording[0].streams] == ["a"]
    assert [line.partition(":")[0] for line in recording[0].repairs] == [
        "left out /acquisition/cube",
        "left out /acquisition/words",
    ]


def test_waveforms_of_spikes_are_no_signal(write):
    def fill(file):
        region = electrical(file).electrodes
        file.add_acquisition(series())
        file.add_acquisition(
            ecephys.SpikeEventSeries(name="w", data=np.zeros((3, 2, 4)), timestamps=[0.0, 1.0, 2.0], electrodes=region)
        )

    recording = read(write(fill))[0]
    assert [s.name for s in recording.streams] == ["a"]
    assert "left out /acquisition/w: holds waveforms" in recording.repairs[0]


def test_units_have_their_spikes_and_plain_columns(write):
    def fill(file):
        file.add_unit_column("snr", "x")
        file.add_unit(spike_times=[0.1, 0.2], snr=4.5, obs_intervals=[[0.0, 1.0]])
        file.add_unit(spike_times=[0.3, 0.25], snr=1.5, obs_intervals=[[0.0, 1.0]])

    recording = read(write(fill))[0]
    units = recording["units"]
    assert isinstance(units, Units)
    assert units.unit_names == ("0", "1")
    assert [t.tolist() for t in units.spike_times_s] == [[0.1, 0.2], [0.25, 0.3]]
    assert dict(units.table) == {"snr": (4.5, 1.5)}
    assert recording.repairs == (
        "/units: spikes of 1 units sorted, those without a time left out",
        "left out /units/obs_intervals: a column without one plain value per row",
    )


def test_trials_epochs_and_invalid_times_are_intervals(write):
    def fill(file):
        file.add_trial_column("side", "x")
        file.add_trial(start_time=0.0, stop_time=1.0, side="left")
        file.add_trial(start_time=1.0, stop_time=np.nan, side="right")
        file.add_invalid_time_interval(start_time=3.0, stop_time=4.0)
        licks = epoch.TimeIntervals(name="licks", description="x")
        licks.add_column("label", "x")
        licks.add_row(start_time=5.0, stop_time=5.5, label="lick")
        file.add_time_intervals(licks)

    recording = read(write(fill))[0]
    trials, invalid, licks = (recording[name] for name in ("trials", "invalid_times", "licks"))
    assert isinstance(trials, Intervals)
    assert (trials.modality, trials.labels, dict(trials.table)) == ("trials", ("trials",), {"side": ("left",)})
    assert (invalid.modality, invalid.bounds_s.tolist()) == ("intervals", [[3.0, 4.0]])
    assert licks.labels == ("lick",)
    assert recording.repairs == ("/intervals/trials: 1 intervals without a start or a later stop left out",)


def test_an_interval_series_is_intervals(write):
    def fill(file):
        marks = misc.IntervalSeries(name="runs", data=np.array([1, -1, 2, -2, 1]), timestamps=[0.0, 1.0, 2.0, 3.0, 4.0])
        file.create_processing_module("m", "x").add(behavior.BehavioralEpochs(interval_series=marks))

    recording = read(write(fill))[0]
    assert recording["runs"].bounds_s.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert recording["runs"].labels == ("1", "2")
    assert "1 marks without their other end" in recording.repairs[0]


def test_annotations_are_events(write):
    def fill(file):
        file.add_acquisition(misc.AnnotationSeries(name="notes", data=["go", "µ"], timestamps=[0.5, 0.25]))

    events = read(write(fill))[0]["notes"]
    assert isinstance(events, Events)
    assert (events.labels, events.times_s.tolist()) == (("µ", "go"), [0.25, 0.5])


def test_a_table_of_events_is_events(write):
    def fill(file):
        table = get_class("EventsTable", "core")(name="ttl", description="x")
        table.add_column(name="value", description="x")
        table.add_row(timestamp=0.25, value=3)
        table.add_row(timestamp=0.5, value=4)
        file.add_events_table(table)

    events = read(write(fill))[0]["ttl"]
    assert (events.modality, events.labels, events.times_s.tolist()) == ("sync", ("3", "4"), [0.25, 0.5])


def group(file, path, kind, **attributes):
    made = file.create_group(path)
    made.attrs["neurodata_type"] = kind
    for key, value in attributes.items():
        made.attrs[key] = value
    return made


def test_labelled_events_of_ndx_events_are_events(write):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        made = group(file, "acquisition/TTLs", "TTLs")
        made["timestamps"] = [0.5, 0.75, 1.0]
        made["data"] = np.array([0, 1, 7], dtype=np.uint8)
        made["data"].attrs["labels"] = ["on", "off"]
    events = read(path)[0]["TTLs"]
    assert (events.modality, events.labels) == ("sync", ("on", "off", "7"))


def test_annotated_events_of_ndx_events_are_one_event_per_time(write):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        made = group(file, "acquisition/licks", "AnnotatedEventsTable", colnames=["event_times", "label"])
        made["id"], made["event_times"], made["event_times_index"] = [0, 1], [1.0, 3.0, 2.0], [2, 3]
        made["label"] = ["left", "right"]
    events = read(path)[0]["licks"]
    assert (events.labels, events.times_s.tolist()) == (("left", "right", "left"), [1.0, 2.0, 3.0])


def test_a_series_of_an_unknown_type_is_read_as_what_it_holds(write):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        file["acquisition/a"].attrs["neurodata_type"] = "Whatever"
    assert read(path)[0]["a"].n_samples == 3


def test_start_is_the_time_of_the_first_sample(write):
    path = write(acquired(series(rate=10.0, starting_time=60.0)))
    assert read(path)[0].start == START + timedelta(minutes=1)


def test_subject_and_path_are_kept(write):
    subject = Subject(subject_id="m7", species="Mus musculus", age="P90D", sex="F")
    recording = read(write(acquired(series()), subject=subject))[0]
    assert recording["a"].provenance["nwb_path"] == "/acquisition/a"
    assert recording.subject == {"subject_id": "m7", "species": "Mus musculus", "sex": "F", "age": "P90D"}


def test_samples_are_read_when_asked_for_and_by_other_processes(write):
    signal = read(write(acquired(series(data=np.arange(20).reshape(10, 2)))))[0]["a"]
    samples = pickle.loads(pickle.dumps(signal.segments[0].samples))  # noqa: S301 (our own)
    assert samples[2:8:3].tolist() == [[4, 5], [10, 11]]
    assert samples[4:4].shape == (0, 2)


def recorded(name, modality, samples, *, unit="uV", times=None, **more):
    n = samples.shape[1]
    base = times if times is not None else Timebase(rate_hz=250.0007, start_s=0.25, n_samples=len(samples))
    rest = {"gain": np.full(n, 0.5), "offset": np.zeros(n), "channel_names": tuple(f"c{i}" for i in range(n))}
    segments = more.pop("segments", (Segment(samples=samples, timebase=base),))
    return Signal(name=name, modality=modality, segments=segments, unit=unit, **{**rest, **more})


COUNT = np.arange(24, dtype=np.int16).reshape(8, 3)
HALVES = tuple(
    Segment(samples=COUNT[i : i + 4], timebase=Timebase(rate_hz=10.0, start_s=float(i), n_samples=4)) for i in (0, 4)
)
STREAMS = (
    recorded("eeg", "eeg", COUNT, table={"area": ("V1", "", "M1")}),
    recorded("broken", "eog", COUNT, segments=HALVES, offset=np.array([0.0, 5.0, 0.0])),
    recorded("lfp", "lfp", COUNT, provenance={"made_by": "lfp"}),
    recorded("gaze", "gaze", np.arange(12.0).reshape(3, 4), unit="deg",
             times=Timestamps(times_s=np.array([0, 0.1, 0.3])),
             channel_names=("left_x", "left_y", "right_x", "right_y")),
    recorded("meg", "meg", COUNT, unit="T"),
    Events(name="triggers", times_s=np.array([0.1, 0.2]), labels=("go", "µ"), table={"value": (1, 2)}),
    Intervals(name="trials", modality="trials", bounds_s=np.array([[0.0, 1.0]]), labels=("hit",)),
    Intervals(name="blinks", bounds_s=np.array([[0.2, 0.3]]), labels=("blink",), table={"eye": ("left",)}),
    Units(name="units", unit_names=("7", "9"), spike_times_s=(np.array([0.1, 0.2]), np.zeros(0)),
          table={"snr": (4.5, 1.0)}),
)  # fmt: skip


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "s"
    Session(subject="01", clock="amp", start=START, streams=STREAMS).save(folder)
    return read(folder / "session.nwb")[0]


@pytest.mark.parametrize("stream", [s for s in STREAMS if isinstance(s, Signal)], ids=lambda s: s.name)
def test_signals_of_a_session_come_back(published, stream):
    back = published[stream.name]
    assert (back.modality, back.unit) == (stream.modality, stream.unit)
    order = [back.channel_names.index(name) for name in stream.channel_names]  # parts are stored offset by offset
    for mine, theirs, values, others in zip(
        stream.segments, back.segments, stream.values(), back.values(), strict=True
    ):
        assert np.array_equal(theirs.samples[:][:, order], mine.samples[:])
        assert others[:, order] == pytest.approx(values)
        n = mine.timebase.n_samples
        assert np.array_equal(theirs.timebase.seconds(np.arange(n)), mine.timebase.seconds(np.arange(n)))
    assert back.table.get("area") == stream.table.get("area")


def test_events_intervals_and_units_of_a_session_come_back(published):
    events, trials, blinks, units = (published[name] for name in ("triggers", "trials", "blinks", "units"))
    assert (events.labels, events.times_s.tolist(), dict(events.table)) == (("go", "µ"), [0.1, 0.2], {"value": (1, 2)})
    assert (trials.modality, trials.labels, trials.bounds_s.tolist()) == ("trials", ("hit",), [[0.0, 1.0]])
    assert (blinks.labels, dict(blinks.table)) == (("blink",), {"eye": ("left",)})
    assert (units.unit_names, dict(units.table)) == (("7", "9"), {"snr": (4.5, 1.0)})
    assert [t.tolist() for t in units.spike_times_s] == [[0.1, 0.2], []]
    assert len(published.streams) == len(STREAMS)
    assert published.start == START
    assert published.repairs == ()


def test_a_link_to_another_file_refuses_the_whole(write, tmp_path):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        file["acquisition/far"] = h5py.ExternalLink("/etc/passwd", "/x")
    with pytest.raises(FormatError, match=r"x\.nwb: '/acquisition/far' is a link to another file"):
        read(path)


@pytest.mark.parametrize("how", ["external", "virtual"])
def test_samples_of_another_file_refuse_the_whole(write, tmp_path, how):
    path = write(acquired(series()))
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    with h5py.File(path, "r+") as file:
        del file["acquisition/a/data"]
        if how == "external":
            file.create_dataset("acquisition/a/data", (3,), "i8", external=[(str(tmp_path / "secret.bin"), 0, 24)])
        else:
            layout = h5py.VirtualLayout((3,), "i8")
            layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
            file.create_virtual_dataset("acquisition/a/data", layout)
    with pytest.raises(FormatError, match=r"'/acquisition/a/data' takes its samples from other files"):
        read(path)


def test_a_version_that_lies_in_another_file_is_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"1 secret")
    path = tmp_path / "x.nwb"
    with h5py.File(path, "w") as file:
        file.create_dataset("nwb_version", (1,), "S8", external=[(str(tmp_path / "secret"), 0, 8)])
    with pytest.raises(FormatError, match="takes its samples from other files"):
        read(path)


def test_damage_is_refused_or_found_when_it_is_read(write):
    path = write(lambda file: file.add_unit(spike_times=[0.1, 0.2]))
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
        times = file.create_dataset("units/spike_times", data=[0.1, 0.2], chunks=(2,), fletcher32=True)
        at = times.id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"/units/spike_times cannot be read .* the file is damaged"):
        read(path)


def test_nwb_1_is_refused_for_what_it_is(tmp_path):
    path = tmp_path / "old.nwb"
    with h5py.File(path, "w") as file:
        file["nwb_version"] = "NWB-1.0.6"
    assert format_of(path) == "nwb"
    with pytest.raises(FormatError, match=r"old\.nwb: NWB version '1\.0\.6', .* version 2 is wanted"):
        read(path)


def test_other_hdf5_is_not_claimed(tmp_path):
    path = tmp_path / "x.nwb"
    with h5py.File(path, "w", userblock_size=512) as file:  # MATLAB 7.3 has such a block
        file["x"] = 1
    assert format_of(path) is None
    with h5py.File(tmp_path / "x.snirf", "w") as file:
        file["formatVersion"] = "1.0"
    assert format_of(tmp_path / "x.snirf") is None


def test_a_file_still_being_copied_is_incomplete(write):
    path = write(acquired(series()))
    assert nwb.incomplete(path) == ""
    path.write_bytes(path.read_bytes()[:-1000])
    assert format_of(path) == "nwb"
    assert "truncated file" in nwb.incomplete(path)
    with pytest.raises(FormatError, match=r"x\.nwb: cannot be opened as HDF5"):
        read(path)


@pytest.mark.parametrize(
    ("shape", "chunks"), [((10**15,), (1000,)), ((3, 10**9), (1, 1000)), ((10**9,), (10**9,)), ((3,), None)]
)
def test_samples_that_are_only_claimed_are_left_out(write, shape, chunks):
    path = write(acquired(series("a"), series("lie")))
    with h5py.File(path, "r+") as file:
        del file["acquisition/lie/data"]
        data = file.create_dataset(
            "acquisition/lie/data", shape, "i2", chunks=chunks, compression="gzip" if chunks else None
        )
        if chunks and chunks[0] < 10**9:
            data[(0,) * data.ndim] = 1
    recording = read(path)[0]
    assert [s.name for s in recording.streams] == ["a"]
    assert recording.repairs[0].startswith("left out /acquisition/lie: ")


def test_chunks_that_were_never_written_are_noted(write):
    path = write(acquired(series(data=range(100))))
    with h5py.File(path, "r+") as file:
        del file["acquisition/a/data"]
        file.create_dataset("acquisition/a/data", (100,), "i2", chunks=(10,))[:60] = 1
    assert read(path)[0].repairs == ("/acquisition/a: 4 of 10 chunks never written: read as 0",)


def broken_gain(file):
    file["acquisition/a/data"].attrs["conversion"] = np.nan


def broken_rate(file):
    file["acquisition/a/starting_time"].attrs["rate"] = 0.0


def no_rate(file):
    del file["acquisition/a/starting_time"].attrs["rate"]


def no_times(file):
    del file["acquisition/a/starting_time"]


def circle(file):
    del file["acquisition/a/data"]
    file["acquisition/a/data"] = h5py.SoftLink("/acquisition/a/data")


def nowhere(file):
    del file["acquisition/a/data"]
    file["acquisition/a/data"] = h5py.SoftLink("/gone")


def text_rate(file):
    file["acquisition/a/starting_time"].attrs["rate"] = "fast"


def deep(file):
    file.create_group("acquisition/" + "g/" * 100)


@pytest.mark.parametrize("harm", [broken_gain, broken_rate, no_rate, no_times, circle, nowhere, text_rate, deep])
def test_what_makes_no_sense_is_refused_in_one_line(write, harm):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        harm(file)
    with pytest.raises(FormatError, match=r"x\.nwb: [^\n]+$"):
        read(path)


def test_a_group_that_holds_itself_is_walked_once(write):
    path = write(acquired(series()))
    with h5py.File(path, "r+") as file:
        file["acquisition/again"] = file["acquisition"]
    assert [s.name for s in read(path)[0].streams] == ["a"]


def test_electrodes_that_are_not_there_leave_the_series_out(write):
    path = write(lambda file: [file.add_acquisition(s) for s in (series(), electrical(file))])
    with h5py.File(path, "r+") as file:
        file["acquisition/probe/electrodes"][:] = [0, 99]
    assert "left out /acquisition/probe: names electrode 99 of 2" in read(path)[0].repairs[0]


def test_duplicate_channel_names_are_numbered(write):
    path = write(lambda file: file.add_acquisition(electrical(file, columns={"label": ["a", "a"]})))
    recording = read(path)[0]
    assert recording["probe"].channel_names == ("a-0", "a-1")
    assert "'a' occurs more than once" in recording.repairs[0]
