"""What every file in ingest/formats must do, whoever wrote it."""

import sys

import pytest

import neuroloom.ingest.formats as folder
from neuroloom.ingest import FormatError, format_of, read
from neuroloom.ingest.formats import formats
from neuroloom.ingest.streams import MODALITIES

NONSENSE = (
    b"",
    b"\x00",
    b"\xff" * 4096,
    bytes(range(256)) * 16,
    b"0       " * 512,
    b"[Common Infos]\n",
    b"START 1 LEFT\n",
)


@pytest.mark.parametrize("name", formats())
def test_says_what_it_is(name):
    form = formats()[name]
    assert form.TITLE
    assert form.KEEPS
    assert form.TESTED_ON
    assert form.MODALITY in MODALITIES


@pytest.mark.parametrize("name", formats())
@pytest.mark.parametrize("head", NONSENSE)
def test_sniff_never_raises(name, head, tmp_path):
    path = tmp_path / "file.meta"
    path.write_bytes(head)
    assert formats()[name].sniff(path, head) in (True, False)
    assert formats()[name].sniff(tmp_path, b"") in (True, False)


@pytest.mark.parametrize("head", NONSENSE)
def test_nonsense_is_refused_by_name(head, tmp_path):
    path = tmp_path / "nonsense.dat"
    path.write_bytes(head)
    with pytest.raises(FormatError, match=r"nonsense\.dat"):
        read(path)


def test_a_new_file_in_the_folder_is_a_new_format(tmp_path, monkeypatch):
    code = "TITLE, MODALITY, KEEPS, TESTED_ON = 'Mine', 'eeg', 'all', 'none'\n"
    code += "def sniff(path, head): return head == b'mine'\n"
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "a.dat").write_bytes(b"mine")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    formats.cache_clear()
    try:
        assert format_of(tmp_path / "a.dat") == "mine"
    finally:
        formats.cache_clear()
        sys.modules.pop("neuroloom.ingest.formats.mine", None)


def test_an_odd_file_is_read_or_refused_but_never_a_crash(recordings_dir):
    refused = {path.name: _refusal(path) for path in (recordings_dir / "odd").rglob("*") if path.is_file()}
    assert all(len(reason.splitlines()) == 1 for reason in refused.values() if reason)
    assert any(refused.values())


def _refusal(path):
    try:
        read(path)
    except FormatError as error:
        return str(error)
    return ""
