"""What names a recording in a folder, and what only goes with it."""

import os

import pytest

from neuroloom.ingest import FormatError, naming_files


def brainvision(folder, name):
    (folder / f"{name}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
        f"DataFile={name}.eeg\nMarkerFile={name}.vmrk\n[Channel Infos]\nCh1=Cz,,0.1\n"
    )
    (folder / f"{name}.vmrk").write_text("Brain Vision Data Exchange Marker File, Version 1.0\n")
    (folder / f"{name}.eeg").write_bytes(bytes(8))
    return folder / f"{name}.vhdr"


def test_a_companion_named_by_itself_leads_to_the_file_that_names_it(tmp_path):
    header = brainvision(tmp_path, "rest")
    assert naming_files(tmp_path / "rest.eeg") == [header]
    assert naming_files(tmp_path / "rest.vmrk") == [header]


def test_a_companion_leads_to_no_other_recording_than_its_own(tmp_path):
    brainvision(tmp_path, "rest")
    header = brainvision(tmp_path, "rest2")
    (tmp_path / "rest.vhdr").unlink()
    assert naming_files(tmp_path / "rest2.eeg") == [header]
    with pytest.raises(FormatError, match=r"none of the .* formats known here recognises it"):
        naming_files(tmp_path / "rest.eeg")


def test_a_link_beside_a_companion_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    header = brainvision(elsewhere, "rest")
    (tmp_path / "rest.eeg").write_bytes(bytes(8))
    (tmp_path / "rest.vhdr").symlink_to(header)
    with pytest.raises(FormatError, match=r"none of the .* formats known here recognises it"):
        naming_files(tmp_path / "rest.eeg")


@pytest.mark.parametrize("name", ["x.edf", "x.dat", "sub-01_task-rest_eeg.edf"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(FormatError, match=rf"{name}: is empty"):
        naming_files(tmp_path / name)


def test_a_folder_of_empty_files_is_called_that_and_one_that_holds_something_is_not(tmp_path):
    (tmp_path / "session.toml").write_text('subject = "01"')
    (tmp_path / "x.dat").touch()
    with pytest.raises(FormatError, match=r"no file in it holds anything \(x.dat is empty\)"):
        naming_files(tmp_path)
    (tmp_path / "y.dat").write_text("?")
    with pytest.raises(FormatError, match="no file in it is of a known format"):
        naming_files(tmp_path)


def test_a_pipe_is_passed_over_in_a_folder_and_refused_by_itself(tmp_path):
    header = brainvision(tmp_path, "rest")
    os.mkfifo(tmp_path / "pipe.edf")
    assert naming_files(tmp_path) == [header]
    with pytest.raises(FormatError, match=r"pipe\.edf: is a pipe or a device; a file or a folder is wanted"):
        naming_files(tmp_path / "pipe.edf")
