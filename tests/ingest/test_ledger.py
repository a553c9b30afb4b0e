"""What was wrong with a file is kept as found and used; `strict` refuses it."""

import copy
import shutil
from pathlib import Path

import pytest

from neuroloom.ingest import FormatError, read
from neuroloom.ingest.formats._channels import numbered
from neuroloom.ingest.ledger import Defect, changed, collecting, entries, is_defect, note, told

SAMPLE = Path(__file__).parents[2] / "sample_data" / "person"
EEG = "sub-sample_ses-01_task-choice_eeg"


@pytest.fixture
def cut_off(tmp_path):
    """A BrainVision recording whose last sample is not whole."""
    for suffix in (".vhdr", ".eeg", ".vmrk"):
        shutil.copy(SAMPLE / f"{EEG}{suffix}", tmp_path)
    samples = tmp_path / f"{EEG}.eeg"
    samples.write_bytes(samples.read_bytes() + b"\x00\x01\x02")
    return tmp_path / f"{EEG}.vhdr"


def test_a_defect_is_what_was_found_and_what_was_used():
    line = Defect("run.edf: header states 3 records, 2 are there: those were read")
    assert (line.found, line.used) == ("run.edf: header states 3 records, 2 are there", "those were read")
    assert entries([line, "a remark"]) == [{"found": line.found, "used": line.used}, {"remark": "a remark"}]


def test_what_was_left_out_is_said_so():
    line = Defect("run.eeg: 3 bytes after the last whole sample left out")
    assert (line.found, line.used) == ("run.eeg: 3 bytes after the last whole sample", "left out")
    assert Defect("no name: left out").used == "left out"


def test_an_entry_reads_as_its_line_did():
    line = Defect("names twice: numbered")
    assert [told(entry) for entry in (*entries([line, "a remark"]), "an older line")] == [
        "names twice: numbered", "a remark", "an older line",
    ]  # fmt: skip


def test_other_words_keep_the_kind():
    line = changed(Defect("a: Meier", "b: Meier"), lambda text: text.replace("Meier", "07"))
    assert (line, line.found, line.used) == ("a: 07: b: 07", "a: 07", "b: 07")
    assert not isinstance(changed("a remark", str.upper), Defect)


def test_what_was_used_may_hold_a_colon():
    line = Defect("2 channels are named 'Aux: 1'", "'Aux: 1-0', 'Aux: 1-1'")
    assert entries([line]) == [{"found": "2 channels are named 'Aux: 1'", "used": "'Aux: 1-0', 'Aux: 1-1'"}]
    assert entries([copy.copy(line)]) == entries([line])


def test_notes_are_collected_once_and_only_within():
    note("before")
    with collecting() as lines:
        note("text: read as Latin-1")
        note("text: read as Latin-1")
    note("after")
    assert lines == ["text: read as Latin-1"]


def test_a_fault_is_mended_and_told(cut_off):
    (recording,) = read(cut_off)
    assert recording.repairs == (f"{EEG}.eeg: 3 bytes after the last whole sample left out",)
    assert isinstance(recording.repairs[0], Defect)


def test_strict_refuses_a_file_with_a_fault(cut_off):
    with pytest.raises(
        FormatError, match=r"3 bytes after the last whole sample left out; a file without faults is wanted"
    ):
        read(cut_off, strict=True)


def test_strict_takes_a_file_without_faults(cut_off):
    shutil.copy(SAMPLE / f"{EEG}.eeg", cut_off.parent)
    assert read(cut_off, strict=True)[0].repairs == ()


def test_text_that_is_no_utf8_is_told(cut_off):
    shutil.copy(SAMPLE / f"{EEG}.eeg", cut_off.parent)
    text = cut_off.read_bytes().replace(b"[Common Infos]", b"; Universit\xe4t\n[Common Infos]\nCodepage=UTF-8")
    cut_off.write_bytes(text)
    assert read(cut_off)[0].repairs == (
        f"{EEG}.vhdr, which states UTF-8, has byte 0xE4, no UTF-8: 'ä', read as Latin-1",
    )


def test_a_name_that_was_changed_is_shown_as_it_was_and_as_it_is(recordings_dir):
    (recording,) = read(recordings_dir / "eeg/edf/mne-python/duplicate_channel_labels.edf")
    (entry,) = entries(recording.repairs)
    assert entry == {"found": "2 channels are named 'EEG F1-Ref'", "used": "'EEG F1-Ref-0', 'EEG F1-Ref-1'"}
    assert recording["eeg"].channel_names == ("EEG F1-Ref-0", "EEG F2-Ref", "EEG F1-Ref-1")


def test_a_number_is_none_that_another_channel_has():
    repairs = []
    assert numbered(["a", "a-0", "a"], repairs) == ["a-1", "a-0", "a-2"]
    assert entries(repairs) == [{"found": "2 channels are named 'a'", "used": "'a-1', 'a-2'"}]


def test_of_many_channels_of_one_name_eight_are_shown():
    repairs = []
    numbered(["a"] * 11, repairs, where="x.ns5: ")
    assert repairs[0].found == "x.ns5: 11 channels are named 'a'"
    assert repairs[0].used.endswith("'a-7' and 3 more")


def test_a_start_that_is_no_date_is_told(recordings_dir, tmp_path):
    source = next((recordings_dir / "eeg").rglob("*.edf"))
    raw = bytearray(source.read_bytes())
    raw[168:176] = b"31.02.20"
    (tmp_path / "odd.edf").write_bytes(raw)
    (recording,) = read(tmp_path / "odd.edf")
    assert recording.start is None
    assert any("which is no date: start not known" in line for line in recording.repairs)


def test_an_older_line_is_no_defect_whatever_its_words():
    assert not is_defect("a fault was found")
    assert [is_defect(entry) for entry in entries([Defect("names twice: numbered"), "a remark"])] == [True, False]
