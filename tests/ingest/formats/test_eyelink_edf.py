from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import FormatError, format_of, read

eyelinkio = pytest.importorskip("eyelinkio")

REAL = "gaze/eyelink_edf/eyelinkReader/example.edf"
OTHERS = sorted((Path(eyelinkio.__file__).parent / "tests" / "data").glob("*.edf"))


@pytest.fixture
def example(recordings_dir):
    return recordings_dir / REAL


def stock(path):
    """What eyelinkio gives."""
    return eyelinkio.read_edf(path)


def test_it_is_told_from_european_data_format(example):
    assert format_of(example) == "eyelink_edf"


def test_samples_are_those_of_the_stock_reader(example):
    (recording,) = read(example)
    gaze, pupil = (np.concatenate(recording[name].values()) for name in ("gaze", "pupil"))
    assert np.array_equal(np.column_stack([gaze, pupil]).T, stock(example)["samples"], equal_nan=True)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_both_eyes_and_long_files_are_those_of_the_stock_reader(path):
    (recording,) = read(path)
    want = dict(zip(stock(path)["info"]["sample_fields"], stock(path)["samples"], strict=True))
    gaze = recording["gaze"]
    for k, channel in enumerate(gaze.channel_names):
        axis, _, eye = channel.partition("_")
        name = f"{axis}pos_{eye}" if f"{axis}pos_{eye}" in want else f"{axis}pos"
        assert np.array_equal(np.concatenate(gaze.values())[:, k], want[name], equal_nan=True)


def test_gaps_stay_where_the_stock_reader_closes_them(example):
    """eyelinkio numbers samples from 0 on; the file has ten blocks with seconds between them, in the tracker's ms."""
    gaze = read(example)[0]["gaze"]
    assert len(gaze.segments) == 10
    assert gaze.segments[0].timebase.start_s == 9204.577
    assert gaze.stop_s - gaze.start_s > stock(example)["times"][-1] + 5


def test_events_are_those_of_the_stock_reader(example):
    (recording,) = read(example)
    told = stock(example)["discrete"]
    for name in ("blinks", "saccades", "fixations"):
        assert len(recording[name].labels) == len(told[name])
        assert set(recording[name].labels) == {"right"}
    assert np.allclose(recording["fixations"].table["x_mean"], told["fixations"]["axp"])
    assert np.allclose(recording["saccades"].table["peak_velocity_deg_s"], told["saccades"]["pv"])
    assert len(recording["messages"].labels) == len(told["messages"])
    assert recording["messages"].labels[0] == "screen_pixel_coords 0 0 1920 1200"


def test_an_asc_of_the_same_recording_is_read_the_same(example, tmp_path):
    """Written line by line as edf2asc writes it: what both readers make of one recording is equal."""
    (binary,) = read(example)
    asc = tmp_path / "example.asc"
    asc.write_text("\n".join(as_asc(binary)) + "\n")
    (text,) = read(asc)
    assert {stream.name for stream in text.streams} == {stream.name for stream in binary.streams}
    assert text.start == binary.start
    for name in ("gaze", "pupil"):
        for ours, theirs in zip(text[name].segments, binary[name].segments, strict=True):
            assert np.array_equal(ours.samples[:], theirs.samples[:], equal_nan=True)
            assert ours.timebase == theirs.timebase
    for name in ("blinks", "saccades", "fixations"):
        assert np.array_equal(text[name].bounds_s, binary[name].bounds_s)
        assert text[name].labels == binary[name].labels
    assert text["messages"].times_s.tolist() == binary["messages"].times_s.tolist()


def as_asc(recording):
    yield "** CONVERTED FROM example.edf using edfapi 4.2"
    yield f"** DATE: {recording.start:%a %b %d %H:%M:%S %Y}"
    for at_s, text in zip(recording["messages"].times_s, recording["messages"].labels, strict=True):
        yield f"MSG\t{round(at_s * 1e3)} {text.splitlines()[0]}"
    for at_s, text in zip(recording["input"].times_s, recording["input"].labels, strict=True):
        yield f"INPUT\t{round(at_s * 1e3)}\t{text}"
    for gaze, pupil in zip(recording["gaze"].segments, recording["pupil"].segments, strict=True):
        ms = np.rint(gaze.timebase.seconds(np.arange(len(gaze.samples))) * 1e3).astype(int)
        yield f"START\t{ms[0]} \tRIGHT\tSAMPLES\tEVENTS"
        yield "SAMPLES\tGAZE\tRIGHT\tRATE\t 500.00\tTRACKING\tCR\tFILTER\t2"
        for t, (x, y), (p,) in zip(ms, gaze.samples[:], pupil.samples[:], strict=True):
            place = "   .\t   ." if np.isnan(x) else f"{x:7.1f}\t{y:7.1f}"
            yield f"{t}\t{place}\t{p:7.1f}\t..."
        yield f"END\t{ms[-1] + 2} \tSAMPLES\tEVENTS\tRES\t  38.08\t  31.12"
    for word, name in (("EBLINK", "blinks"), ("ESACC", "saccades"), ("EFIX", "fixations")):
        rows = recording[name]
        for k, (start_s, stop_s) in enumerate(rows.bounds_s):
            values = "\t".join(f"{column[k]:.1f}" for column in rows.table.values())
            start, stop = round(start_s * 1e3), round(stop_s * 1e3)
            yield f"{word} R {start}\t{stop}\t{stop - start + 2}\t{values}"


def torn(raw):
    return {"short": raw[:300], "half": raw[: len(raw) // 2], "mixed": raw[:900] + bytes(3000) + raw[3900:]}


@pytest.mark.parametrize("damage", ["short", "half", "mixed"])
def test_a_damaged_file_is_read_or_refused_in_one_line_and_takes_nobody_along(example, tmp_path, damage):
    path = tmp_path / f"{damage}.edf"
    path.write_bytes(torn(example.read_bytes())[damage])
    said = ""
    try:
        read(path)
    except FormatError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1
    assert not said or path.name in said


def test_a_recording_that_breaks_off_is_said(example, tmp_path):
    """The library ends without a word where it cannot go on."""
    raw = bytearray(example.read_bytes())
    for k in range(20_000, len(raw), 997):
        raw[k] ^= 0x5A
    (tmp_path / "broken.edf").write_bytes(raw)
    (recording,) = read(tmp_path / "broken.edf")
    assert recording["gaze"].n_samples < 14353
    assert "its last block has no end" in recording.repairs[0]
    assert read(example)[0].repairs == ()


def test_what_the_library_prints_reaches_nobody(example, capfd):
    read(example)
    assert capfd.readouterr().out == ""


def test_without_eyelinkio_the_reason_says_what_to_install(example, monkeypatch, tmp_path):
    (tmp_path / "eyelinkio.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[3] / '.dev'}")
    with pytest.raises(FormatError, match=r"example\.edf: reading it needs eyelinkio \(pip install eyelinkio\)"):
        read(example)
