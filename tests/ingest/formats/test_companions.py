import pytest

from neuroloom.ingest import FormatError
from neuroloom.ingest.formats import brainvision
from neuroloom.ingest.formats._companions import beside

HEADER = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile={name}
NumberOfChannels=1
SamplingInterval=1000
[Channel Infos]
Ch1=Cz,,1,uV
"""


def test_a_plain_name_in_the_same_folder_is_found(tmp_path):
    (tmp_path / "Größe\u00a01.dat").write_bytes(b"x")
    assert beside(tmp_path / "a.hdr", "Größe\u00a01.dat", "data").read_bytes() == b"x"


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "..", "", "b/a", "b\\a", "a\nb", "a\u202eb", "a\x00", "\ud83d"]
)
def test_a_name_that_leads_away_or_hides_characters_is_refused(tmp_path, name):
    with pytest.raises(FormatError, match=r"a\.hdr: data is .*; a plain file name in the same folder is wanted"):
        beside(tmp_path / "a.hdr", name, "data")


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128])
def test_a_name_longer_than_a_file_can_have_is_refused(tmp_path, name):
    with pytest.raises(FormatError, match="at most 255 bytes"):
        beside(tmp_path / "a.hdr", name, "data")


def test_a_link_is_no_companion(tmp_path):
    (tmp_path / "a.dat").symlink_to("/etc/hosts")
    with pytest.raises(FormatError, match="is not beside it"):
        beside(tmp_path / "a.hdr", "a.dat", "data")


def test_a_brainvision_header_with_such_a_name_is_refused(tmp_path):
    header = tmp_path / "a.vhdr"
    header.write_text(HEADER.format(name="x" * 300))
    with pytest.raises(FormatError, match=r"a\.vhdr: datafile is"):
        brainvision.files(header)
