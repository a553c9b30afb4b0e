import gzip
import logging
import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import pyxdf

from neuroloom.ingest import Events, FormatError, Signal, Timebase, Timestamps, format_of, read
from neuroloom.ingest.formats import _xdf_chunks, head_of, xdf
from neuroloom.pipeline import align

REAL = ("clock_resets", "empty_streams", "minimal")
BOUNDARY = bytes.fromhex("43A546DCCBF5410FB30ED5467383CBE4")


def chunk(tag, body):
    return b"\x04" + struct.pack("<IH", 2 + len(body), tag) + body


def header(number=1, *, name="amp", kind="EEG", channels=2, rate=100, form="float32", desc=""):
    xml = f"<info><name>{name}</name><type>{kind}</type><channel_count>{channels}</channel_count>"
    xml += f"<nominal_srate>{rate}</nominal_srate><channel_format>{form}</channel_format><desc>{desc}</desc></info>"
    return chunk(2, struct.pack("<I", number) + xml.encode())


def channels(*rows):
    each = "".join(f"<channel><label>{a}</label><unit>{b}</unit><type>{c}</type></channel>" for a, b, c in rows)
    return f"<channels>{each}</channels>"


def samples(stamps, values, number=1):
    """A time stamp of None is one that the sender left out."""
    body = b""
    for stamp, row in zip(stamps, values, strict=True):
        body += b"\x00" if stamp is None else b"\x08" + struct.pack("<d", stamp)
        body += _texts(row) if isinstance(row, tuple) else np.asarray(row).tobytes()
    return chunk(3, struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(stamps)) + body)


def _texts(row):
    return b"".join(b"\x01" + bytes([len(text.encode())]) + text.encode() for text in row)


def counting(n, *, first=0, dtype="<f4"):
    """Two channels: 0, 2, 4 ... and 1, 3, 5 ..."""
    return np.arange(2 * first, 2 * (first + n)).reshape(n, 2).astype(dtype)


def offsets(times, values, number=1):
    return b"".join(chunk(4, struct.pack("<Idd", number, t, v)) for t, v in zip(times, values, strict=True))


def footer(count, number=1):
    return chunk(6, struct.pack("<I", number) + f"<info><sample_count>{count}</sample_count></info>".encode())


def xdf_file(folder, *chunks, date="2025-01-31T00:21:17+0000"):
    info = chunk(1, f"<info><version>1.0</version><datetime>{date}</datetime></info>".encode())
    (folder / "x.xdf").write_bytes(b"XDF:" + info + b"".join(chunks))
    return folder / "x.xdf"


def stock(path, **options):
    logging.getLogger("pyxdf.pyxdf").setLevel(logging.CRITICAL)
    return pyxdf.load_xdf(path, **options)[0]


def times_s(stream):
    if isinstance(stream, Events):
        return stream.times_s
    bases = [segment.timebase for segment in stream.segments]
    return np.concatenate([np.zeros(0), *(base.seconds(np.arange(base.n_samples)) for base in bases)])


@pytest.mark.parametrize("name", REAL)
def test_samples_equal_those_of_pyxdf(recordings_dir, name):
    path = recordings_dir / f"xdf/example-files/{name}.xdf"
    for recording, theirs in zip(read(path), stock(path), strict=True):
        (stream,) = recording.streams
        if isinstance(stream, Signal):
            parts = [segment.samples[0 : segment.samples.shape[0]] for segment in stream.segments]
            assert np.array_equal(np.concatenate([theirs["time_series"][:0], *parts]), theirs["time_series"])
            assert all(part.dtype == theirs["time_series"].dtype for part in parts)
        else:
            assert list(stream.labels) == [row[0] for row in theirs["time_series"]]


@pytest.mark.parametrize("name", REAL)
def test_own_times_equal_those_of_pyxdf(recordings_dir, name):
    """Where the clock was reset, pyxdf has no own times worth having; see the next test."""
    path = recordings_dir / f"xdf/example-files/{name}.xdf"
    for recording, theirs in zip(read(path), stock(path, synchronize_clocks=False), strict=True):
        if "reset" not in (recording.leads_to.method if recording.leads_to else ""):
            assert times_s(recording.streams[0]) == pytest.approx(theirs["time_stamps"], abs=1e-9)


@pytest.mark.parametrize("name", REAL)
def test_times_on_the_common_clock_equal_those_of_pyxdf(recordings_dir, name):
    """Within 0.1 ms: pyxdf weighs offsets that lie further off than that less, here they are left out.

    Time stamps that follow no one rate are compared with those pyxdf puts on no line either.
    """
    path = recordings_dir / f"xdf/example-files/{name}.xdf"
    lines, stamps = stock(path), stock(path, dejitter_timestamps=False)
    for recording, line, stamped in zip(read(path), lines, stamps, strict=True):
        theirs = stamped if any("kept as they are" in repair for repair in recording.repairs) else line
        ours = times_s(recording.streams[0])
        common = recording.leads_to.seconds(ours) if recording.leads_to else ours
        assert common == pytest.approx(theirs["time_stamps"], abs=1e-4)


def test_a_real_reset_is_taken_from_pyxdf(recordings_dir):
    for recording in read(recordings_dir / "xdf/example-files/clock_resets.xdf"):
        assert recording.leads_to.method == "XDF clock offsets, 1 reset"
        assert (recording.leads_to.offset_s, recording.leads_to.drift_ppm) == (0.0, 0.0)
        assert recording.leads_to.n_matched == 115
        assert 0.05 < recording.leads_to.residual_ms < 0.2


def test_real_time_stamps_that_follow_no_rate_are_kept(recordings_dir):
    """A line through them, which is what pyxdf gives, moves samples of this file by up to 0.27 s."""
    path = recordings_dir / "xdf/example-files/clock_resets.xdf"
    eeg = read(path)[1]["eeg"]
    theirs = stock(path)[1]["time_stamps"]
    assert not eeg.is_regular
    assert 0.2 < np.abs(times_s(eeg) - theirs).max() < 0.3


def test_every_stream_has_a_clock_of_its_own(recordings_dir):
    recordings = read(recordings_dir / "xdf/example-files/minimal.xdf")
    assert [recording.clock for recording in recordings] == ["minimal SendDataC", "minimal SendDataString"]
    assert recordings[0].leads_to.target == "minimal LSL"
    assert recordings[1].leads_to is None


def test_an_empty_stream_is_kept_where_its_clock_is_known(recordings_dir):
    recordings = read(recordings_dir / "xdf/example-files/empty_streams.xdf")
    assert [type(r.streams[0]).__name__ for r in recordings] == ["Signal", "Signal", "Events", "Events"]
    assert recordings[0]["aux"].n_samples == 0


def test_an_empty_stream_of_unknown_clock_is_named(tmp_path):
    path = xdf_file(tmp_path, header(1), header(2, name="gone"), samples([0, 0.01], counting(2)))
    (recording,) = read(path)
    assert recording.repairs == ("x gone: holds no samples and no clock offsets: left out",)


@pytest.mark.parametrize("form", ["int8", "int16", "int32", "int64", "float32", "double64"])
def test_numbers_keep_their_type(tmp_path, form):
    dtype = _xdf_chunks.FORMATS[form]
    path = xdf_file(tmp_path, header(form=form), samples([0, 0.01, 0.02], counting(3, dtype=dtype)))
    part = read(path)[0]["eeg"].segments[0].samples
    assert (part.dtype, part[1:3].tolist()) == (np.dtype(dtype), [[2, 3], [4, 5]])


def test_a_counter_beyond_floats_stays_exact(tmp_path):
    path = xdf_file(tmp_path, header(form="int64", channels=1), samples([0, 0.01], np.array([2**62 + 1, 2**62 + 3])))
    assert read(path)[0]["eeg"].segments[0].samples[0:2].tolist() == [[2**62 + 1], [2**62 + 3]]


def test_any_slice_over_chunks_is_what_the_whole_holds(tmp_path):
    """Chunks with all, none and some of their time stamps."""
    parts = [
        samples([0.00, 0.01, 0.02], counting(3)),
        samples([None] * 4, counting(4, first=3)),
        samples([0.07, None, 0.09], counting(3, first=7)),
        samples([], counting(0)),
        samples([None], counting(1, first=10)),
    ]
    (segment,) = read(xdf_file(tmp_path, header(), *parts))[0]["eeg"].segments
    assert segment.timebase.rate_hz == pytest.approx(100)
    assert segment.timebase.n_samples == 11
    for first, last in ((0, 11), (0, 2), (2, 8), (8, 9), (10, 11), (5, 5)):
        assert segment.samples[first:last].tolist() == counting(11)[first:last].tolist()
    assert segment.samples[0:11:3].tolist() == counting(11)[::3].tolist()


def test_a_left_out_time_stamp_is_an_interval_after_the_last(tmp_path):
    path = xdf_file(tmp_path, header(), samples([5.0, None, None], counting(3)))
    assert times_s(read(path)[0]["eeg"]) == pytest.approx([5.0, 5.01, 5.02])


def test_jitter_is_taken_out_and_told(tmp_path):
    jitter = np.where(np.arange(1000) % 2, 0.002, -0.002)
    path = xdf_file(tmp_path, header(), samples(np.arange(1000) / 100 + jitter, counting(1000)))
    signal = read(path)[0]["eeg"]
    assert isinstance(signal.segments[0].timebase, Timebase)
    assert signal.rate_hz == pytest.approx(100, rel=1e-5)
    assert signal.provenance["time_stamps_off_one_rate_ms"]["rms"] == pytest.approx(2.0, rel=0.01)


def test_a_gap_is_a_new_segment(tmp_path):
    """Ten samples, then nothing for two seconds; pyxdf parts them from 5 s on at this rate."""
    stamps = np.concatenate([np.arange(10), 210 + np.arange(10)]) / 100
    segments = read(xdf_file(tmp_path, header(), samples(stamps, counting(20))))[0]["eeg"].segments
    assert [(round(s.timebase.start_s, 6), s.timebase.n_samples) for s in segments] == [(0.0, 10), (2.1, 10)]
    assert segments[1].samples[0:1].tolist() == [[20, 21]]


def test_lost_samples_within_a_run_leave_the_time_stamps_as_they_are(tmp_path):
    """0.5 s are lost after 30 s. One rate for all would be wrong by a quarter of a second around there."""
    stamps = np.concatenate([np.arange(3000), 3050 + np.arange(3000)]) / 100
    (recording,) = read(xdf_file(tmp_path, header(), samples(stamps, counting(6000))))
    assert times_s(recording["eeg"]) == pytest.approx(stamps)
    assert "kept as they are" in recording.repairs[0]


def test_frames_that_can_be_dropped_keep_their_time_stamps(tmp_path):
    desc = "<synchronization><can_drop_samples>true</can_drop_samples></synchronization>"
    path = xdf_file(tmp_path, header(kind="Video", desc=desc), samples([0, 0.01, 0.04, 0.05], counting(4)))
    assert times_s(read(path)[0]["aux"]).tolist() == [0, 0.01, 0.04, 0.05]


def test_a_stream_without_a_rate_keeps_its_time_stamps(tmp_path):
    path = xdf_file(tmp_path, header(kind="Gaze", rate=0), samples([1.0, 1.5, 1.6], counting(3)))
    (segment,) = read(path)[0]["gaze"].segments
    assert isinstance(segment.timebase, Timestamps)
    assert segment.timebase.times_s.tolist() == [1.0, 1.5, 1.6]


def test_time_stamps_that_repeat_are_set_apart_and_told(tmp_path):
    """Senders push what came together with one time stamp."""
    path = xdf_file(tmp_path, header(kind="Gaze", rate=0), samples([1.0, 1.0, 1.0, 2.5], counting(4)))
    (recording,) = read(path)
    assert times_s(recording["gaze"]) == pytest.approx([1, 1, 1, 2.5], abs=1e-6)
    assert "2 time stamps repeat" in recording.repairs[0]


@pytest.mark.parametrize("rate", [0, 100])
def test_a_clock_that_goes_back_unexplained_is_refused(tmp_path, rate):
    stamps = [50.0, 50.01, 50.02, 10.0, 10.01]
    with pytest.raises(FormatError, match=r"x\.xdf: 'amp' goes back .* at sample 3"):
        read(xdf_file(tmp_path, header(rate=rate), samples(stamps, counting(5))))


def test_offsets_become_a_map_to_the_common_clock(tmp_path):
    """The stream's clock is 100 s behind the recorder's, and 50 ppm slow."""
    times = np.arange(0, 300, 5.0)
    known = offsets(times, 100 + 50e-6 * times)
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), known))
    found = recording.leads_to
    assert (found.source, found.target, found.method) == ("x amp", "x LSL", "XDF clock offsets")
    assert found.drift_ppm == pytest.approx(50)
    assert found.seconds([0.0, 200.0]) == pytest.approx([100.0, 300.01])
    assert (found.n_matched, found.n_extra, found.span_s) == (60, 0, (0.0, 295.0))
    assert found.residual_ms < 1e-6


def test_offsets_of_a_clock_that_swings_become_a_broken_line(tmp_path):
    """An hour in which the sender's clock gains and loses 30 ppm: 34 ms from peak to peak."""
    times = np.arange(0, 3600, 5.0)
    turn = 2 * np.pi / 3600
    swing = 30e-6 / turn * (1 - np.cos(turn * times))
    noise = np.random.default_rng(0).normal(0, 2e-4, times.size)
    known = offsets(times, 100 + 50e-6 * times + swing + noise)
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), known))
    found = recording.leads_to
    assert found.method == "XDF clock offsets, piecewise"
    assert np.abs(found.seconds(times) - (times + 100 + 50e-6 * times + swing)).max() < 5e-4


def test_offsets_that_do_not_fit_are_left_out_and_counted(tmp_path):
    times, noise = np.arange(0, 300, 5.0), np.random.default_rng(0).normal(0, 2e-5, 60)
    values = 100 + 50e-6 * times + noise
    values[7::10] += 0.02  # a busy network
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), offsets(times, values)))
    found = recording.leads_to
    assert (found.n_matched, found.n_extra) == (54, 6)
    assert found.drift_ppm == pytest.approx(50, abs=0.1)
    assert found.residual_ms == pytest.approx(0.02, rel=0.3)


def test_the_last_offset_of_a_sender_that_vanished_is_left_out(tmp_path):
    """Known of LabRecorder (pylsl issue 67): one sample too many, and with it an offset that means nothing."""
    times = np.arange(0, 300, 5.0)
    known = offsets([*times, -5e5], [*(100 + 50e-6 * times), 5e5])
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01, 0.02], counting(3)), known, footer(2)))
    assert recording["eeg"].n_samples == 3
    assert (recording.leads_to.n_matched, recording.leads_to.n_extra) == (60, 1)
    assert recording.leads_to.drift_ppm == pytest.approx(50)
    assert recording.leads_to.span_s == (0.0, 295.0)
    assert recording.repairs == ("amp: its footer counts 2 samples: 3, as many as there are",)


def test_two_offsets_give_no_drift_and_no_perfect_residual(tmp_path):
    known = offsets([0.0, 5.0], [1.0, 1.0001])
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), known))
    found = recording.leads_to
    assert (found.offset_s, found.drift_ppm, found.residual_ms) == (pytest.approx(1.00005), 0.0, 1.0)


def test_streams_of_a_file_are_aligned_by_their_offsets(tmp_path):
    """Both senders saw the same instant: 10 s on the first clock, 3 s on the second."""
    times = np.arange(0, 60, 5.0)
    path = xdf_file(
        tmp_path, header(1), samples(np.arange(2000) / 100, counting(2000)), offsets(times, 90 + 0 * times),
        header(2, name="tracker", kind="Gaze", rate=0), samples([3.0, 4.0], counting(2), 2),
        offsets(times, 97 + 0 * times, 2),
    )  # fmt: skip
    assert align(read(path))["gaze"].start_s == pytest.approx(10.0)


def test_a_reset_clock_gives_times_on_the_common_clock(tmp_path):
    """After a minute the sender's computer starts anew, ten seconds later: its clock begins at 0 again."""
    before, after = np.arange(1000, 1060, 5.0), np.arange(0, 60, 5.0)
    path = xdf_file(
        tmp_path, header(), samples(1000 + np.arange(6000) / 100, counting(6000)), offsets(before, 0 * before),
        samples(np.arange(6000) / 100, counting(6000, first=6000)), offsets(after, 1070 + 0 * after),
    )  # fmt: skip
    (recording,) = read(path)
    bases = [segment.timebase for segment in recording["eeg"].segments]
    assert [(round(base.start_s, 6), base.n_samples) for base in bases] == [(1000.0, 6000), (1070.0, 6000)]
    assert recording.leads_to.method == "XDF clock offsets, 1 reset"
    assert recording.leads_to.span_s == (1000.0, 1125.0)


def test_a_reset_clock_in_a_damaged_file_is_told_all_the_same(tmp_path):
    before, after = np.arange(1000, 1060, 5.0), np.arange(0, 60, 5.0)
    path = xdf_file(
        tmp_path, header(), samples(1000 + np.arange(6000) / 100, counting(6000)), offsets(before, 0 * before),
        claiming(10**9), offsets(after, 1070 + 0 * after), samples(np.arange(6000) / 100, counting(6000)),
    )  # fmt: skip
    (recording,) = read(path)
    assert [segment.timebase.n_samples for segment in recording["eeg"].segments] == [6000, 6000]
    assert recording["eeg"].segments[1].timebase.start_s == pytest.approx(1070)


def test_texts_are_events_and_codes_are_pulses(tmp_path):
    path = xdf_file(
        tmp_path, header(1, kind="Markers", channels=1, rate=0, form="string"), samples([2.0, 1.0], [("b",), ("ä",)]),
        header(2, name="codes", kind="Markers", channels=1, rate=0, form="string"), samples([1.0], [("17",)], 2),
        header(3, name="box", kind="Markers", channels=1, rate=0, form="int32"), samples([1.0], [np.int32(9)], 3),
    )  # fmt: skip
    texts, codes, numbers = (recording["markers"] for recording in read(path))
    assert (texts.times_s.tolist(), texts.labels, texts.modality) == ([1.0, 2.0], ("ä", "b"), "events")
    assert (codes.labels, codes.modality) == (("17",), "sync")
    assert (numbers.labels, numbers.modality) == (("9",), "sync")


def test_further_texts_of_a_sample_are_columns(tmp_path):
    desc = channels(("what", "", ""), ("where", "", ""))
    path = xdf_file(tmp_path, header(form="string", rate=0, desc=desc), samples([1.0], [("hit", "left")]))
    markers = read(path)[0]["markers"]
    assert (markers.labels, markers.table) == (("hit",), {"where": ("left",)})


def test_channels_have_the_names_units_and_types_stated(tmp_path):
    desc = channels(("Cz", "microvolts", "EEG"), ("TRG", "", "Trigger"))
    values = np.array([[1, 0], [2, 0], [3, 5], [4, 5], [5, 0], [6, 7]], dtype="<f4")
    (recording,) = read(xdf_file(tmp_path, header(desc=desc), samples(np.arange(6) / 100, values)))
    assert (recording["eeg"].channel_names, recording["eeg"].unit) == (("Cz",), "uV")
    assert recording["eeg"].segments[0].samples[1:3].tolist() == [[2], [3]]
    assert recording["sync"].channel_names == ("TRG",)
    assert recording["triggers"].labels == ("5", "7")
    assert recording["triggers"].times_s == pytest.approx([0.02, 0.05])


def test_units_are_apart_and_none_is_guessed(tmp_path):
    desc = channels(("x", "px", "ScreenX"), ("d", "mm", "Diameter"))
    (recording,) = read(xdf_file(tmp_path, header(kind="Gaze", desc=desc), samples([0, 0.01], counting(2))))
    assert [(s.name, s.unit) for s in recording.streams] == [("gaze", "px"), ("pupil", "mm")]
    assert read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2))))[0]["eeg"].unit == "a.u."


def test_streams_of_one_name_and_one_named_like_the_common_clock_are_told_apart(tmp_path):
    parts = [header(k, name=name) for k, name in ((1, "a"), (2, "a"), (3, "LSL"))]
    path = xdf_file(tmp_path, *parts, *(samples([0, 0.01], counting(2), k) for k in (1, 2, 3)))
    assert [recording.clock for recording in read(path)] == ["x a 1", "x a 2", "x LSL 3"]


def test_channels_of_one_name_are_numbered(tmp_path):
    path = xdf_file(tmp_path, header(desc=channels(("a", "", ""), ("a", "", ""))), samples([0, 0.01], counting(2)))
    (recording,) = read(path)
    assert recording["eeg"].channel_names == ("a-0", "a-1")
    assert recording.repairs == ("amp: 2 channels are named 'a': 'a-0', 'a-1'",)


def test_more_texts_than_stated_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_xdf_chunks, "MAX_TEXTS", 3)
    path = xdf_file(tmp_path, header(form="string", channels=1, rate=0), samples([1.0, 2.0], [("a",), ("b",)]))
    assert read(path)[0]["markers"].labels == ("a", "b")
    more = [samples([1.0, 2.0], [("a",), ("b",)])] * 2
    path = xdf_file(tmp_path, header(form="string", channels=1, rate=0), *more)
    with pytest.raises(FormatError, match="more than 3 texts"):
        read(path)


def test_hostile_names_are_one_printable_line(tmp_path):
    name = "&lt;script&gt;\n\x85evil\u202e" + "x" * 1000
    (recording,) = read(xdf_file(tmp_path, header(name=name), samples([0, 0.01], counting(2))))
    assert recording.clock.startswith("x <script> evil xxx")
    assert recording.clock.isprintable()
    assert len(recording.clock) <= 102


def test_when_it_began_is_the_file_s_date_for_what_runs_from_the_start_on(tmp_path):
    times = np.arange(0, 60, 5.0)
    path = xdf_file(
        tmp_path, header(1), samples([0, 0.01], counting(2)), offsets(times, 0 * times),
        header(2, name="late"), samples([7, 7.01], counting(2), 2), offsets(times, 0 * times, 2),
        header(3, name="loose", channels=1, rate=0, form="string"), samples([1.0], [("a",)], 3),
    )  # fmt: skip
    begun = datetime(2025, 1, 31, 0, 21, 17, tzinfo=UTC)
    assert [recording.start for recording in read(path)] == [begun, begun + timedelta(seconds=7), None]


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE info [<!ENTITY a "x"><!ENTITY b SYSTEM "file:///etc/passwd">]><info><name>&a;</name></info>'
    with pytest.raises(FormatError, match="definitions"):
        read(xdf_file(tmp_path, chunk(2, struct.pack("<I", 1) + bomb.encode())))


@pytest.mark.parametrize(
    "lie",
    [
        {"channels": 1_000_000_000}, {"channels": 0}, {"channels": -1}, {"channels": 1.5}, {"channels": ""},
        {"rate": -1}, {"rate": "nan"}, {"rate": "1e999"}, {"form": "int128"}, {"form": ""},
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(tmp_path, lie):
    with pytest.raises(FormatError, match=r"x\.xdf"):
        read(xdf_file(tmp_path, header(**lie), samples([0, 0.01], counting(2))))


def claiming(n):
    """A chunk that says it holds `n` samples, and holds two."""
    body = samples([0, 0.01], counting(2))[11:]
    return chunk(3, struct.pack("<I", 1) + b"\x08" + struct.pack("<Q", n) + body[5:])


@pytest.mark.parametrize("n", [3, 10**9, 2**63])
@pytest.mark.parametrize("form", ["float32", "string"])
def test_a_chunk_that_claims_more_samples_than_it_holds_is_named(tmp_path, n, form):
    path = xdf_file(tmp_path, header(form=form, rate=0), claiming(n), offsets([0.0], [1.0]))
    (recording,) = read(path)
    assert recording.repairs[0].startswith("1 chunks of amp that contradict themselves")


def test_reading_goes_on_after_the_next_boundary(tmp_path):
    parts = [samples([0, 0.01], counting(2)), b"\x07damaged", chunk(5, BOUNDARY), samples([0.02], counting(1, first=2))]
    (recording,) = read(xdf_file(tmp_path, header(), *parts))
    assert recording["eeg"].n_samples == 3
    assert recording.repairs[0].startswith("1 stretches that are no whole chunk")


def test_a_cut_file_gives_its_whole_chunks_and_says_so(tmp_path):
    path = xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), samples([0.02, 0.03], counting(2, first=2)))
    path.write_bytes(path.read_bytes()[:-3])
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 2
    assert recording.repairs[0].startswith("1 stretches that are no whole chunk")


def test_a_footer_that_counts_otherwise_is_told(tmp_path):
    (recording,) = read(xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), footer(3)))
    assert recording.repairs == ("amp: its footer counts 3 samples: 2, as many as there are",)


def test_a_zipped_file_is_known_and_refused_with_advice(tmp_path):
    path = xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)))
    zipped = tmp_path / "x.xdfz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert format_of(zipped) == "xdf"
    with pytest.raises(FormatError, match="gunzip"):
        read(zipped)


def test_nothing_else_is_claimed(tmp_path):
    for name, data in (("a.xdf", b"XDF"), ("b.gz", gzip.compress(b"else")), ("c.gz", b"\x1f\x8b\x08")):
        (tmp_path / name).write_bytes(data)
        assert not xdf.sniff(tmp_path / name, head_of(tmp_path / name))


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), 1e300])
def test_a_time_that_no_clock_shows_is_named(tmp_path, stamp):
    path = xdf_file(tmp_path, header(), samples([0, 0.01], counting(2)), samples([stamp], counting(1)))
    (recording,) = read(path)
    assert recording["eeg"].n_samples == 2
    assert "contradict themselves" in recording.repairs[0]


@pytest.mark.parametrize("parts", [(), (header(),)])
def test_a_file_without_samples_is_refused(tmp_path, parts):
    with pytest.raises(FormatError, match="at least one is wanted"):
        read(xdf_file(tmp_path, *parts))
