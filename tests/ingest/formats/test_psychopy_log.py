import pytest

from neuroloom.ingest import FormatError, format_of, read

LINES = (
    "0.0120 \tINFO \tLoaded monitor calibration",
    "5.3921 \tEXP \tNew trial (rep=0, index=0): OrderedDict([('word', 'red')])",
    "5.4012 \tEXP \ttext: autoDraw = True",
    "6.0210 \tDATA \tKeypress: left",
    "6.5000 \tWARNING \tt of last frame was 34.05ms",
    "   (=1/29)",
)


def log(path, *lines):
    path.write_text("\n".join(lines or LINES) + "\n")
    return path


def test_messages_have_their_times_and_levels(tmp_path):
    path = log(tmp_path / "07.log")
    assert format_of(path) == "psychopy_log"
    events = read(path)[0]["log"]
    assert events.times_s.tolist() == [0.012, 5.3921, 5.4012, 6.5]
    assert events.table["level"] == ("INFO", "EXP", "EXP", "WARNING")
    assert events.labels[1] == "New trial (rep=0, index=0): OrderedDict([('word', 'red')])"


def test_keys_are_a_stream_of_their_own(tmp_path):
    keys = read(log(tmp_path / "07.log"))[0]["keypresses"]
    assert (keys.times_s.tolist(), keys.labels) == ([6.021], ("left",))


def test_a_message_over_two_lines_is_one(tmp_path):
    assert read(log(tmp_path / "07.log"))[0]["log"].labels[-1] == "t of last frame was 34.05ms (=1/29)"


def test_messages_that_were_written_late_are_put_in_order(tmp_path):
    path = log(tmp_path / "a.log", "2.0 \tEXP \tb", "1.0 \tEXP \ta", "3.0 \tEXP \tc")
    assert read(path)[0]["log"].labels == ("a", "b", "c")


def test_a_last_line_that_was_cut_off_goes_on_with_the_one_before(tmp_path):
    """Half a line has no time; it is no message of its own and does not stop the rest."""
    path = tmp_path / "a.log"
    path.write_text("1.0 \tEXP \ta\n2.0 \tEXP \tb\n3.0")
    assert read(path)[0]["log"].times_s.tolist() == [1.0, 2.0]


def test_a_file_too_large_is_refused(tmp_path, monkeypatch):
    from neuroloom.ingest.formats import psychopy_log

    monkeypatch.setattr(psychopy_log, "MAX_BYTES", 20)
    with pytest.raises(FormatError, match="at most 20 are read, split it"):
        read(log(tmp_path / "a.log"))
