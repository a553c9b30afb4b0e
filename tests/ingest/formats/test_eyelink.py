import mne
import numpy as np
import pytest

from neuroloom.ingest import FormatError, read
from neuroloom.pipeline.boxed.sniffing import sniffed

REAL = (
    "gaze/eyelink_asc/mne-testing-data/test_eyelink.asc",
    "gaze/eyelink_asc/pymovements/eyelink_binocular_example.asc",
    "gaze/eyelink_asc/pymovements/eyelink_monocular_2khz_example.asc",
    "gaze/eyelink_asc/pymovements/eyelink_monocular_example.asc",
    "gaze/eyelink_asc/mne-testing-data/test_eyelink_HREF.asc",
)


def asc(path, *lines):
    head = (
        "** CONVERTED FROM x.edf using edfapi",
        "START\t100\tRIGHT\tSAMPLES\tEVENTS",
        "SAMPLES\tGAZE\tRIGHT\tRATE\t 500.00",
    )
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


@pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")  # in MNE's own use of pandas
@pytest.mark.parametrize("name", REAL)
def test_gaze_equals_that_of_mne(recordings_dir, name):
    """The tracker's own HREF units are kept; MNE turns them into radians (the arc sine of 15,000ths)."""
    stock = mne.io.read_raw_eyelink(recordings_dir / name, create_annotations=False, verbose="error")
    recording = read(recordings_dir / name)[0]
    ours = np.vstack([s.samples[:] for s in recording["gaze"].segments])
    eyes = [name.partition("_")[2] for name in recording["gaze"].channel_names[::2]]
    picks = [f"{axis}pos_{eye}" for eye in eyes for axis in ("x", "y")]
    theirs = stock.get_data(picks=picks).T
    ours = np.arcsin(ours / 15_000) if recording["gaze"].unit == "href" else ours
    assert ours.shape == theirs.shape
    assert np.allclose(ours, theirs, equal_nan=True, rtol=1e-6)


def test_samples_that_were_taken_out_are_gaps_at_the_stated_rate(recordings_dir):
    """16 of its samples are left, in ten runs: their mean rate is no rate of the tracker. MNE takes 1000 Hz, too."""
    (recording,) = read(recordings_dir / "gaze/eyelink_asc/pymovements/eyelink_monocular_example.asc")
    gaze = recording["gaze"]
    assert (gaze.rate_hz, gaze.is_regular, gaze.n_samples) == (1000.0, True, 16)
    starts_ms = [round(segment.timebase.start_s * 1000) - 2154556 for segment in gaze.segments]
    assert starts_ms == [0, 4, 8, 40, 42, 139, 184671, 184689, 184715, 184734]
    assert (len(gaze.gaps_s), max(gaze.gaps_s)) == (9, pytest.approx(184.53, abs=0.01))


def test_the_pauses_of_a_recording_are_said_when_it_is_sniffed(recordings_dir):
    (said,) = sniffed(recordings_dir / "gaze/eyelink_asc/pymovements/eyelink_monocular_example.asc")
    gaze = said["streams"][0]
    assert (gaze["rate_hz"], gaze["n_gaps"], round(gaze["gaps_s"], 2)) == (1000.0, 9, 184.72)


@pytest.mark.parametrize("stated", ["1000.00", "x", "0"])
def test_a_rate_that_the_samples_do_not_have_is_not_taken(tmp_path, stated):
    path = asc(tmp_path / "a.asc", *(f"{t}\t1\t2\t9\t..." for t in (100, 102, 104.5, 107)))
    path.write_text(path.read_text().replace(" 500.00", stated))
    (segment,) = read(path)[0]["gaze"].segments
    assert segment.timebase.times_s == pytest.approx([0.1, 0.102, 0.1045, 0.107])


def test_blocks_are_segments(tmp_path):
    again = ("END\t104", "START\t900\tRIGHT\tSAMPLES", "900\t3\t4\t9\t...", "902\t3\t4\t9\t...")
    segments = read(asc(tmp_path / "a.asc", "100\t1\t2\t9\t...", "102\t1\t2\t9\t...", *again))[0]["gaze"].segments
    assert [segment.timebase.start_s for segment in segments] == [0.1, 0.9]


def test_a_lost_sample_is_nan(tmp_path):
    gaze = read(asc(tmp_path / "a.asc", "100\t1\t2\t9\t...", "102\t   .\t   .\t0.0\t..."))[0]["gaze"]
    assert np.isnan(gaze.values()[0][1]).all()


def test_inputs_are_pulses_and_blinks_are_intervals(tmp_path):
    lines = ("100\t1\t2\t9\t...", "INPUT\t101\t1", "INPUT\t103\t0", "102\t1\t2\t9\t...", "EBLINK R 100\t102\t4")
    recording = read(asc(tmp_path / "a.asc", *lines))[0]
    assert recording["input"].times_s.tolist() == [0.101]
    assert recording["input"].table["high_s"] == (pytest.approx(0.002),)
    assert recording["blinks"].bounds_s.tolist() == [[0.1, 0.102]]


def test_an_input_that_is_told_again_says_nothing_of_its_end(tmp_path):
    lines = ("100\t1\t2\t9\t...", "INPUT\t101\t1", "INPUT\t150\t1", "INPUT\t170\t3")
    widths_s = read(asc(tmp_path / "a.asc", *lines))[0]["input"].table["high_s"]
    assert np.isnan(widths_s[0])
    assert widths_s[1] == pytest.approx(0.02)


@pytest.mark.parametrize(
    "lines",
    [
        ("EBLINK R 102\t100\t4",),
        ("END\t104", "START\t50\tRIGHT\tSAMPLES", "50\t3\t4\t9\t...", "52\t3\t4\t9\t..."),
        ("102\t1\t2\t9\t...",),
    ],
)
def test_times_that_go_back_are_refused_by_name(tmp_path, lines):
    path = asc(tmp_path / "a.asc", "100\t1\t2\t9\t...", "102\t1\t2\t9\t...", *lines)
    with pytest.raises(FormatError, match=r"a\.asc: "):
        read(path)


def test_a_pause_within_a_block_is_a_gap(tmp_path):
    """A file whose lines were taken out: without the cut its rate would be one sample in a hundred seconds."""
    rows = [f"{t}\t1\t2\t9\t..." for t in (100, 102, 104, 200_000, 200_002)]
    gaze = read(asc(tmp_path / "a.asc", *rows, "END\t200004\tSAMPLES"))[0]["gaze"]
    assert [s.timebase.start_s for s in gaze.segments] == [0.1, 200.0]
    assert gaze.rate_hz == pytest.approx(500)


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes_and_that_is_said(tmp_path):
    (recording,) = read(asc(tmp_path / "a.asc", "100\t1\t2\t9\t...", "102\t1\t2\t9\t...", "104\t1"))
    assert recording["gaze"].n_samples == 2
    assert recording.repairs == (
        "1 rows of samples that are cut short left out",
        "its last block has no END, the file was cut off: read as far as it goes",
    )


def test_the_screens_pixels_go_with_the_gaze(tmp_path):
    """The tracker gives the place of the last pixel, so there is one more of them."""
    lines = ("MSG\t99 DISPLAY_COORDS 0 0 1919 1079", "100\t1\t2\t9\t...", "102\t1\t2\t9\t...", "END\t104")
    gaze = read(asc(tmp_path / "a.asc", *lines))[0]["gaze"]
    assert gaze.provenance["screen"] == {"width_px": 1920.0, "height_px": 1080.0}
