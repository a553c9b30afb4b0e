import bz2
import zipfile

import pytest

from neuroloom.models import Pathway, Topology, TopologyError, connectome_archive

WEIGHTS = "0.5 2\n1 0\n"


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_txt", ".txt"), content)
    return path


def test_rows_are_targets_and_the_diagonal_and_the_asymmetry_are_told(tmp_path):
    path = archive(
        tmp_path / "c.zip",
        in__weights_txt=WEIGHTS,
        in__tract_lengths_txt="0 10\n20 0\n",
        in__centres_txt="lV1 -1 2 3\nrV1 1 2 3\n",
        in__hemispheres_txt="0\n1\n",
    )
    topology = Topology.read(path)
    assert topology.pathways == (
        Pathway(source="lV1", target="rV1", weight=1.0, length_mm=20.0),
        Pathway(source="rV1", target="lV1", weight=2.0, length_mm=10.0),
    )
    assert [area.hemisphere for area in topology.areas] == ["left", "right"]
    assert [note.split()[0:2] for note in topology.notes] == [["1", "weights"], ["1", "pairs"]]


def test_bz2_members_and_the_american_spelling_are_read(tmp_path):
    path = archive(
        tmp_path / "c.zip",
        **{"weights.txt.bz2": bz2.compress(WEIGHTS.encode()), "centers_txt": "P 0 0 0\nQ 30 40 0\n"},
    )
    topology = Topology.read(path)
    assert [p.length_mm for p in topology.pathways] == [50.0, 50.0]
    assert "straight distances" in topology.notes[-1]


@pytest.mark.parametrize("name", ["../weights.txt", "/weights.txt", "a\\..\\..\\weights.txt", "C:weights.txt"])
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    with pytest.raises(TopologyError, match="leads out of the archive"):
        Topology.read(archive(tmp_path / "c.zip", **{name: WEIGHTS}))


@pytest.mark.parametrize("pack", [lambda b: ("weights.txt", b), lambda b: ("weights.txt.bz2", bz2.compress(b))])
def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(connectome_archive, "MAX_BYTES", 1000)
    name, content = pack(b"0 " * 1000)
    with pytest.raises(TopologyError, match="more than 1000 bytes"):
        Topology.read(archive(tmp_path / "c.zip", **{name: content}))


def test_a_bz2_member_cut_short_is_refused(tmp_path):
    cut = bz2.compress(WEIGHTS.encode() * 100)[:-8]
    with pytest.raises(TopologyError, match="in the middle"):
        Topology.read(archive(tmp_path / "c.zip", **{"weights.txt.bz2": cut}))


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(TopologyError, match=r"c\.zip: cannot be read as a zip archive"):
        Topology.read(tmp_path / "c.zip")


def test_two_weight_files_are_one_too_many(tmp_path):
    with pytest.raises(TopologyError, match="there twice"):
        Topology.read(archive(tmp_path / "c.zip", a__weights_txt=WEIGHTS, b__weights_txt=WEIGHTS))


def test_an_archive_without_weights_is_refused(tmp_path):
    with pytest.raises(TopologyError, match=r"no weights\.txt"):
        Topology.read(archive(tmp_path / "c.zip", readme_txt="hello"))


def test_lengths_of_another_size_are_refused(tmp_path):
    with pytest.raises(TopologyError, match="2 areas in the weights but 1 in the lengths"):
        Topology.read(archive(tmp_path / "c.zip", weights_txt=WEIGHTS, tract_lengths_txt="0\n"))
