from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pynwb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from neuroloom.ingest import _session_write, manifest
from neuroloom.ingest._nwb_layout import decoded, encoded, kind_of, safe_names
from neuroloom.ingest._nwb_read import SessionFileError, StoredSamples
from neuroloom.ingest.session import Session
from neuroloom.ingest.streams import Events, Intervals, Segment, Signal, Stream, Units
from neuroloom.ingest.timebase import ClockMap, Timebase, Timestamps


def regular(samples: ArrayLike, rate_hz: float = 10.0, start_s: float = 0.0) -> Segment:
    array = np.asarray(samples)
    return Segment(samples=array, timebase=Timebase(rate_hz=rate_hz, start_s=start_s, n_samples=len(array)))


def signal(name: str, modality: str, *segments: Segment, unit: str = "uV", **more: Any) -> Signal:
    n_channels = segments[0].samples.shape[1]
    names = tuple(f"c{i}" for i in range(n_channels))
    rest = {"channel_names": names, "gain": np.full(n_channels, 0.5), "offset": np.zeros(n_channels)}
    return Signal(name=name, modality=modality, segments=segments, unit=unit, **{**rest, **more})


def counting(n_samples: int, n_channels: int = 2) -> np.ndarray[Any, Any]:
    return np.arange(n_samples * n_channels, dtype=np.int16).reshape(n_samples, n_channels)


def session(*streams: Stream, **more: Any) -> Session:
    return Session(**{"subject": "01", "clock": "amp", "streams": streams, **more})


def same(a: Stream, b: Stream) -> None:
    """Fails unless two streams are equal in everything they know."""
    assert type(a) is type(b)
    for key in ("name", "modality", "device", "provenance"):
        assert getattr(a, key) == getattr(b, key)
    assert repr(dict(a.table)) == repr(dict(b.table))  # as text, so that NaN equals NaN
    if isinstance(a, Signal) and isinstance(b, Signal):
        assert (a.channel_names, a.unit) == (b.channel_names, b.unit)
        np.testing.assert_array_equal(a.gain, b.gain)
        np.testing.assert_array_equal(a.offset, b.offset)
        for mine, theirs in zip(a.segments, b.segments, strict=True):
            same_segment(mine, theirs)
    elif isinstance(a, Units) and isinstance(b, Units):
        assert a.unit_names == b.unit_names
        for x, y in zip(a.spike_times_s, b.spike_times_s, strict=True):
            np.testing.assert_array_equal(x, y)
    else:
        assert getattr(a, "labels", None) == getattr(b, "labels", None)
        times = "times_s" if isinstance(a, Events) else "bounds_s"
        np.testing.assert_array_equal(getattr(a, times), getattr(b, times))


def same_segment(a: Segment, b: Segment) -> None:
    assert a.samples.dtype.newbyteorder("<") == b.samples.dtype
    np.testing.assert_array_equal(a.samples[:], b.samples[:])
    if isinstance(a.timebase, Timestamps) and isinstance(b.timebase, Timestamps):
        np.testing.assert_array_equal(a.timebase.times_s, b.timebase.times_s)
    else:
        assert a.timebase == b.timebase


EEG = signal("eeg", "eeg", regular(counting(6)), device="amp", table={"area": ("V1", ""), "impedance": (1.5, np.nan)})
PROBE = signal("probe A", "wideband", regular(counting(3000, 4), rate_hz=30000.0312))
GAZE = signal(
    "gaze",
    "gaze",
    Segment(samples=np.linspace(0, 1, 12).reshape(3, 4), timebase=Timestamps(times_s=np.array([0.0, 0.1, 0.3]))),
    unit="deg",
    channel_names=("left_x", "left_y", "right_x", "right_y"),
    gain=np.ones(4),
    offset=np.zeros(4),
)
EVENTS = Events(
    name="triggers",
    times_s=np.array([0.1, 0.2]),
    labels=("go", "µ"),
    table={"value": (1, 2), "any": (None, [1, "x"]), "hit": (True, False), "x": (0.5, 1.0)},
)
TRIALS = Intervals(name="blocks", modality="trials", bounds_s=np.array([[0.0, 1.0], [1.0, 2.0]]), labels=("a", "b"))
BLINKS = Intervals(name="blinks", bounds_s=np.array([[0.2, 0.3]]), labels=("blink",), table={"eye": ("left",)})
UNITS = Units(
    name="units",
    unit_names=("7", "9"),
    spike_times_s=(np.array([0.1, 0.2]), np.zeros(0)),
    table={"snr": (4.5, 1.0)},
    provenance={"made_by": "sorter", "threshold": 5.0},
)
MAP = ClockMap(
    source="tracker", target="amp", offset_s=1.5, drift_ppm=34.0, anchor_s=30.0, span_s=(0.0, 60.0),
    residual_ms=2.1, n_matched=57, n_lost=3, n_extra=1, method="pulses",
)  # fmt: skip
ALL = (EEG, PROBE, GAZE, EVENTS, TRIALS, BLINKS, UNITS)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Session:
    whole = session(
        *ALL,
        task="reach",
        start=datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC),
        clock_maps=(MAP,),
        sources=({"format": "edf", "files": [Path("a.edf")], "digests": ["blake3:aa"], "subject": {"sex": "F"}},),
        quality={"eeg": {"bad_channels": ["c1"], "noise": float("inf")}},
    )
    return whole.save(tmp_path_factory.mktemp("published") / "s")


def folder_of(opened: Session) -> Path:
    assert opened.path is not None
    return opened.path


@pytest.mark.parametrize("stream", ALL, ids=lambda s: s.name)
def test_a_stream_comes_back_as_it_was_saved(published: Session, stream: Stream) -> None:
    same(stream, published[stream.name])


def test_a_session_comes_back_with_its_fields(published: Session) -> None:
    assert (published.id, published.clock) == ("sub-01_ses-01_task-reach", "amp")
    assert published.start == datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
    assert published.clock_maps == (MAP,)
    assert published.sources[0]["files"] == ["a.edf"]
    assert published.quality == {"eeg": {"bad_channels": ["c1"], "noise": float("inf")}}


def test_wideband_lies_in_a_companion_and_nothing_else_does(published: Session) -> None:
    assert sorted(p.name for p in folder_of(published).iterdir()) == ["manifest.json", "probe_A.nwb", "session.nwb"]
    with h5py.File(folder_of(published) / "session.nwb") as file:
        assert list(file["acquisition"]) == ["eeg"]


def test_a_companion_opens_by_itself(published: Session) -> None:
    with Session.open(folder_of(published) / "probe_A.nwb") as alone:
        assert alone.stream_names == ["probe A"]
        same(PROBE, alone["probe A"])


def test_integers_stay_integers_with_their_filters(published: Session) -> None:
    with h5py.File(folder_of(published) / "session.nwb") as file:
        data = file["acquisition/eeg/data"]
        assert (data.dtype, data.compression, data.compression_opts) == (np.dtype("<i2"), "gzip", 1)
        assert data.shuffle
        assert data.fletcher32


def test_between_reads_only_that_part(published: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[slice] = []
    original = StoredSamples.__getitem__

    def watched(self: StoredSamples, samples: slice) -> Any:
        seen.append(samples)
        return original(self, samples)

    monkeypatch.setattr(StoredSamples, "__getitem__", watched)
    part = Session.open(folder_of(published))["eeg"].between(0.2, 0.4)
    assert isinstance(part, Signal)
    assert part.values()[0].tolist() == [[2.0, 2.5], [3.0, 3.5]]
    assert seen == [slice(2, 4)]


def test_opening_reads_no_stream(published: Session) -> None:
    opened = Session.open(folder_of(published))
    assert opened.stream_names[0] == "eeg"
    assert repr(opened).startswith("<Session sub-01_ses-01_task-reach on the clock of amp: eeg, probe A, gaze,")
    assert list(opened.streams._made) == []  # type: ignore[attr-defined]


def test_a_closed_session_opens_again_when_something_is_read(published: Session) -> None:
    opened = Session.open(folder_of(published))
    eeg = opened["eeg"]
    opened.close()
    same(EEG, eeg)
    opened.close()


def test_streams_add_to_a_tuple_like_one(published: Session) -> None:
    extra = replace(EVENTS, name="more")
    assert [s.name for s in (*published.streams, extra)][-1] == "more"
    assert len(published.streams + (extra,)) == len((extra,) + published.streams) == len(ALL) + 1  # type: ignore[operator]  # noqa: RUF005


def test_the_summary_of_streams_and_clocks(published: Session) -> None:
    summary = published.summary()
    assert summary["streams"][0] == {
        "name": "eeg", "modality": "eeg", "n_channels": 2, "n_samples": 6, "rate_hz": 10.0, "unit": "uV",
        "start_s": 0.0, "duration_s": 0.6,
    }  # fmt: skip
    assert [(s["name"], s["n_samples"], s["rate_hz"]) for s in summary["streams"][3:]] == [
        ("triggers", 2, None), ("blocks", 2, None), ("blinks", 1, None), ("units", 2, None),
    ]  # fmt: skip
    assert summary["sync"] == [{
        "from": "tracker", "to": "amp", "method": "pulses", "offset_s": 1.5, "drift_ppm": 34.0, "residual_ms": 2.1,
        "n_matched": 57, "n_lost": 3, "n_extra": 1,
    }]  # fmt: skip


def test_gaps_stay_gaps(tmp_path: Path) -> None:
    gapped = signal("eeg", "eeg", regular(counting(3)), regular(counting(2), rate_hz=10.001, start_s=7.0))
    same(gapped, session(gapped).save(tmp_path / "s")["eeg"])
    with h5py.File(tmp_path / "s" / "session.nwb") as file:
        assert list(file["acquisition"]) == ["eeg_segment000", "eeg_segment001"]


def test_channels_of_different_offsets_lie_in_series_of_their_own(tmp_path: Path) -> None:
    mixed = signal("eeg", "eeg", regular(counting(4, 3)), gain=np.array([1, 2, 3.0]), offset=np.array([0, 7.5, 0]))
    same(mixed, session(mixed).save(tmp_path / "s")["eeg"])
    with h5py.File(tmp_path / "s" / "session.nwb") as file:
        assert {name: item["data"].shape for name, item in file["acquisition"].items()} == {
            "eeg_part00": (4, 2), "eeg_part01": (4, 1),
        }  # fmt: skip
        assert file["acquisition/eeg_part00/channel_conversion"][:].tolist() == [1e-6, 3e-6]
        assert file["acquisition/eeg_part01/data"].attrs["offset"] == pytest.approx(7.5e-6, rel=1e-15)


def test_streams_without_rows_or_samples_come_back_empty(tmp_path: Path) -> None:
    empty = (
        replace(EVENTS, times_s=np.zeros(0), labels=(), table={"value": ()}),
        replace(BLINKS, bounds_s=np.zeros((0, 2)), labels=(), table={}),
        replace(UNITS, unit_names=(), spike_times_s=(), table={}),
        replace(EEG, segments=()),
        signal("short", "aux", regular(counting(0))),
    )
    saved = session(*empty).save(tmp_path / "s")
    for stream in empty:
        same(stream, saved[stream.name])


def test_a_second_table_of_units_and_of_trials_has_a_place(tmp_path: Path) -> None:
    more = (UNITS, replace(UNITS, name="others"), TRIALS, replace(TRIALS, name="again"))
    saved = session(*more).save(tmp_path / "s")
    for stream in more:
        same(stream, saved[stream.name])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_signal_comes_back_equal(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    n_channels = data.draw(st.integers(1, 5))
    finite = st.floats(-1e6, 1e6)
    dtype = data.draw(st.sampled_from(["<i2", ">i2", "<i4", "<u2", "<f4", "<f8", "i1"]))
    start_s, segments = data.draw(finite), []
    for n_samples in data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3)):
        samples = np.arange(n_samples * n_channels).astype(dtype).reshape(n_samples, n_channels)
        if data.draw(st.booleans()):
            base: Timebase | Timestamps = Timebase(
                rate_hz=data.draw(st.floats(0.1, 1e5)), start_s=start_s, n_samples=n_samples
            )
        else:
            steps = data.draw(st.lists(st.floats(0.001, 2.0), min_size=n_samples, max_size=n_samples))
            base = Timestamps(times_s=start_s + np.cumsum(steps))
        segments.append(Segment(samples=samples, timebase=base))
        start_s = base.stop_s + 1.0
    drawn = signal(
        data.draw(st.text(min_size=1, max_size=20)),
        data.draw(
            st.sampled_from(["eeg", "lfp", "wideband", "gaze", "pupil", "position", "behaviour", "aux", "meg", "fnirs"])
        ),
        *segments,
        unit=data.draw(st.sampled_from(["V", "uV", "deg", "a.u.", "T"])),
        gain=np.array(data.draw(st.lists(finite, min_size=n_channels, max_size=n_channels))),
        offset=np.array(data.draw(st.lists(finite, min_size=n_channels, max_size=n_channels))),
        channel_names=tuple(data.draw(st.lists(st.text(), min_size=n_channels, max_size=n_channels))),
        provenance=data.draw(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), max_size=2)),
    )
    with session(drawn).save(tmp_path_factory.mktemp("any") / "s") as saved:
        same(drawn, saved[drawn.name])


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_whatever_json_can_tell_apart_is_encoded_and_decoded(value: Any) -> None:
    assert repr(decoded(encoded(value))) == repr(value)


def test_what_cannot_be_stored_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="type object cannot be stored"):
        encoded({"a": [object()]})


@pytest.mark.parametrize(
    ("column", "kind"),
    [((1, 2), "int"), ((True, False), "bool"), ((1.0, np.float32(2)), "float"), (("a", "b"), "str"),
     ((1, 2.0), "json"), (("a", None), "json"), ((2**70,), "json"), (("a\0",), "json"), (("\udcff",), "json")],
)  # fmt: skip
def test_the_kind_of_a_column(column: tuple[Any, ...], kind: str) -> None:
    assert kind_of(column) == kind


def test_labels_hdf5_cannot_hold_come_back(tmp_path: Path) -> None:
    odd = replace(EVENTS, labels=("a\0b", "\udcff"), table={})
    same(odd, session(odd).save(tmp_path / "s")["triggers"])


def test_stored_names_are_plain_and_no_two_are_alike() -> None:
    assert safe_names(["a/b", "a:b", "A_b", "..", "neuroloom", "é" * 3]) == [
        "a_b", "a_b_2", "A_b_3", "stream", "neuroloom_2", "stream_2",
    ]  # fmt: skip


def test_a_folder_that_is_there_is_refused_and_kept(published: Session) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        session(EVENTS).save(folder_of(published))
    assert manifest.verify(folder_of(published)) == []


def test_a_failing_reader_leaves_nothing(tmp_path: Path) -> None:
    class Torn:
        shape, dtype = (10, 2), np.dtype("i2")

        def __getitem__(self, samples: slice) -> Any:
            return counting(3)

    torn = Segment(samples=Torn(), timebase=Timebase(rate_hz=1.0, n_samples=10))
    with pytest.raises(ValueError, match="3 samples came at sample 0 of 10; 10 are wanted"):
        session(signal("eeg", "eeg", torn)).save(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_samples_that_read_back_other_than_written_are_never_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _session_write.digests_of_datasets
    monkeypatch.setattr(
        _session_write, "digests_of_datasets", lambda file: {**real(file), "/acquisition/eeg/data": "blake3:0"}
    )
    with pytest.raises(OSError, match="/acquisition/eeg/data reads back other than it was written"):
        session(EEG).save(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


GONE = "/session_description"


def test_what_is_no_valid_nwb_is_never_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found as `pynwb.validate` finds it, in one file after another."""
    written = _session_write.write_nwb

    def broken(path: Path, *rest: Any, **more: Any) -> Any:
        found = written(path, *rest, **more)
        with h5py.File(path, "a") as file:
            del file["identifier"], file[GONE]
        assert [str(problem) for problem in pynwb.validate(path=str(path))] == _session_write._nwb_problems(path)
        kept = {name: digest for name, digest in found.digests.items() if name not in ("/identifier", GONE)}
        return replace(found, digests=kept)

    monkeypatch.setattr(_session_write, "write_nwb", broken)
    for name in ("one", "two"):
        with pytest.raises(SessionFileError, match="written, but not valid NWB: root/identifier"):
            session(EEG).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(_session_write, "write_nwb", written)
    session(EEG).save(tmp_path / "three")


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    session(EEG, PROBE).save(tmp_path / "s", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6 * 2 * 2 + 3000 * 4 * 2,) * 2


def test_a_new_version_keeps_the_companion_that_did_not_change(published: Session, tmp_path: Path) -> None:
    later = replace(published, streams=(*published.streams, replace(EVENTS, name="late")), quality={"eeg": "good"})
    saved = later.save(tmp_path / "v002")
    old, new = folder_of(published) / "probe_A.nwb", tmp_path / "v002" / "probe_A.nwb"
    assert manifest.read(tmp_path / "v002")["files"]["probe_A.nwb"] == manifest.read(old.parent)["files"]["probe_A.nwb"]
    assert new.read_bytes() == old.read_bytes()
    same(PROBE, saved["probe A"])
    assert manifest.verify(tmp_path / "v002") == []


def test_a_mended_subject_code_is_mended_in_companions_too(published: Session, tmp_path: Path) -> None:
    replace(published, subject="02").save(tmp_path / "v002")
    assert Session.open(tmp_path / "v002" / "probe_A.nwb").subject == "02"


def test_a_shifted_stream_is_written_anew(published: Session, tmp_path: Path) -> None:
    shift = replace(MAP, offset_s=3.0, drift_ppm=0.0)
    moved = PROBE.on(shift)
    saved = replace(published, streams=(published["probe A"].on(shift),)).save(tmp_path / "v002")
    same(moved, saved["probe A"])


@pytest.mark.parametrize("name", ["session.nwb", "probe_A.nwb", "manifest.json"])
def test_every_flipped_byte_is_found_and_its_file_named(published: Session, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "s"
    session(*ALL).save(folder)
    path, rng = folder / name, np.random.default_rng(0)
    whole = path.read_bytes()
    for at in rng.integers(0, len(whole), 60):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.integers(8))]) + whole[at + 1 :])
        assert {damage.file for damage in manifest.verify(folder)} == {name}, at


def test_damage_to_samples_is_named_by_dataset(tmp_path: Path) -> None:
    session(PROBE).save(tmp_path / "s")
    path = tmp_path / "s" / "probe_A.nwb"
    with h5py.File(path) as file:
        at = file["acquisition/probe_A/data"].id.get_chunk_info(0).byte_offset + 100
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert [(d.file, d.dataset) for d in manifest.verify(tmp_path / "s")] == [
        ("probe_A.nwb", "/acquisition/probe_A/data")
    ]
    with pytest.raises(SessionFileError, match="/acquisition/probe_A/data cannot be read"):
        Session.open(tmp_path / "s")["probe A"].between(0, 1)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session.nwb").write_text("hello")
    with pytest.raises(SessionFileError, match="cannot be opened as HDF5"):
        Session.open(tmp_path)
    with h5py.File(tmp_path / "other.nwb", "w"):
        pass
    with pytest.raises(SessionFileError, match="no readable /scratch/neuroloom"):
        Session.open(tmp_path / "other.nwb")


def test_a_dataset_that_lies_in_another_file_is_not_read(tmp_path: Path) -> None:
    session(EEG).save(tmp_path / "s")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = counting(6)
    with h5py.File(tmp_path / "s" / "session.nwb", "r+") as file:
        del file["acquisition/eeg/data"]
        file["acquisition/eeg/data"] = h5py.ExternalLink("../secret.h5", "/data")
    with pytest.raises(SessionFileError, match="a link to elsewhere"):
        Session.open(tmp_path / "s")["eeg"].between(0, 1)
