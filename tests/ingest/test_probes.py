"""Where electrodes lie: from a probe to the channel table, into the session file, and back."""

import warnings

import numpy as np
import probeinterface
import pytest
from probeinterface.neuropixels_tools import build_neuropixels_probe

from neuroloom.ingest import Segment, Session, Signal, Timebase, read
from neuroloom.ingest.probes import ProbeError, contact_columns, known_probe, probe_of, read_probe, with_probe


def signal(n=4, table=None, name="ap"):
    base = Timebase(rate_hz=30_000.0, start_s=0.0, n_samples=50)
    return Signal(
        name=name,
        modality="wideband",
        segments=(Segment(samples=np.arange(50 * n, dtype=np.int16).reshape(50, n), timebase=base),),
        channel_names=tuple(f"c{i}" for i in range(n)),
        unit="uV",
        gain=np.ones(n),
        offset=np.zeros(n),
        table=table or {},
    )


def wired(probe, wiring):
    probe.set_device_channel_indices(wiring)
    return probe


def test_contacts_lie_at_the_channel_they_are_wired_to():
    probe = wired(probeinterface.generate_linear_probe(num_elec=4, ypitch=20), [2, 0, 3, 1])
    assert contact_columns(probe, 4)["y_um"] == (20.0, 60.0, 0.0, 40.0)


def test_a_channel_that_no_contact_is_wired_to_has_no_place():
    probe = wired(probeinterface.generate_linear_probe(num_elec=2, ypitch=20), [0, -1])
    assert contact_columns(probe, 3)["y_um"] == (0.0, None, None)


def test_shanks_of_a_group_of_probes_are_told_apart():
    group = probeinterface.ProbeGroup()
    for first in (0, 2):
        group.add_probe(wired(probeinterface.generate_linear_probe(num_elec=2, ypitch=20), [first, first + 1]))
    assert len(set(contact_columns(group, 4)["group"])) == 2


@pytest.mark.parametrize("wiring", [[0, 0, 1, 2], [0, 1, 2, 9], [-1, -1, -1, -1]])
def test_wiring_that_cannot_be_is_refused(wiring):
    probe = probeinterface.generate_linear_probe(num_elec=4, ypitch=20)
    probe.set_device_channel_indices(wiring)
    with pytest.raises(ProbeError, match="each at a channel of its own"):
        contact_columns(probe, 4)


def test_millimeters_become_microns():
    probe = probeinterface.Probe(ndim=2, si_units="mm")
    probe.set_contacts(positions=np.array([[0.0, 0.0], [0.0, 0.05]]), shapes="circle", shape_params={"radius": 0.01})
    assert contact_columns(wired(probe, [0, 1]), 2)["y_um"] == (0.0, 50.0)


def test_a_signal_s_probe_comes_back():
    probe = wired(probeinterface.generate_multi_columns_probe(num_columns=2, num_contact_per_column=2), [3, 1, 0, 2])
    back = probe_of(with_probe(signal(), probe))
    places = dict(zip(probe.device_channel_indices, map(tuple, probe.contact_positions), strict=True))
    assert dict(zip(back.device_channel_indices, map(tuple, back.contact_positions), strict=True)) == places


def test_a_file_in_probeinterface_s_format_is_read(tmp_path):
    probe = wired(probeinterface.generate_linear_probe(num_elec=4, ypitch=20), [3, 2, 1, 0])
    probeinterface.write_probeinterface(tmp_path / "probe.json", probe)
    assert contact_columns(read_probe(tmp_path / "probe.json"), 4)["y_um"] == (60.0, 40.0, 20.0, 0.0)


def test_a_model_is_known_without_a_network(monkeypatch):
    def no_network(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.create_connection", no_network)
    assert known_probe("imec", "NP1000").get_contact_count() == 960
    with pytest.raises(ProbeError, match="without a network"):
        known_probe("neuronexus", "A1x32-Poly3-10mm-50-177")
    with pytest.raises(ProbeError, match="without a network"):
        known_probe("../..", "x")


def neuropixels(n=8):
    """Contacts of all four shanks of a Neuropixels 2.0."""
    full = build_neuropixels_probe("NP2014")
    return wired(
        full.get_slice(np.arange(0, full.get_contact_count(), full.get_contact_count() // n)[:n]), np.arange(n)
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A probe of four shanks, whose areas are known, and EEG of which no place is."""
    probe = with_probe(signal(n=8), neuropixels())
    areas = tuple("V1" if y < 2000 else "CA1" for y in probe.table["y_um"])
    probe = Signal(**{**vars(probe), "table": {**probe.table, "area": areas}, "modality": "lfp"})
    eeg = Signal(**{**vars(signal(n=2, name="eeg")), "modality": "eeg"})
    folder = tmp_path_factory.mktemp("published") / "s"
    Session(subject="01", clock="amp", streams=(probe, eeg)).save(folder)
    return folder, probe


def test_the_session_file_has_places_and_shanks_in_its_electrodes_table(published):
    from pynwb import NWBHDF5IO

    folder, probe = published
    with NWBHDF5IO(folder / "session.nwb", "r") as io:
        table = io.read().electrodes.to_dataframe()
    assert tuple(table["rel_x"][:8]) == probe.table["x_um"]
    assert tuple(table["rel_y"][:8]) == probe.table["y_um"]
    assert table["rel_x"][8:].isna().all()
    assert list(table["group_name"][:8]) == [f"ap_shank{s}" for s in probe.table["group"]]
    assert list(table["location"][:8]) == list(probe.table["area"])


def test_they_come_back_when_the_session_is_opened(published):
    folder, probe = published
    with Session.open(folder) as session:
        assert dict(session["ap"].table) == dict(probe.table)


def test_they_come_back_when_anybody_reads_the_file_as_nwb(published):
    folder, probe = published
    found = next(s for s in read(folder / "session.nwb")[0].streams if s.name == "ap")
    assert (found.table["x_um"], found.table["y_um"]) == (probe.table["x_um"], probe.table["y_um"])
    assert len(set(found.table["group"])) == len(set(probe.table["group"]))
    assert found.table["area"] == probe.table["area"]


def test_spikeinterface_finds_the_places(published):
    from spikeinterface.extractors import read_nwb_recording

    folder, probe = published
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = read_nwb_recording(folder / "session.nwb", electrical_series_path="acquisition/ap")
        places = recording.get_channel_locations()
    assert np.array_equal(places, np.stack([probe.table["x_um"], probe.table["y_um"]], axis=1))


def test_the_inspector_and_the_validator_find_nothing(published):
    import pynwb
    from nwbinspector import Importance, inspect_nwbfile

    folder, _ = published
    assert pynwb.validate(path=str(folder / "session.nwb")) == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(
            inspect_nwbfile(
                nwbfile_path=str(folder / "session.nwb"), importance_threshold=Importance.BEST_PRACTICE_VIOLATION
            )
        )
    assert [m.message for m in found if "electrode" in (m.object_type or "").lower() + m.message.lower()] == []


def test_without_any_place_the_columns_are_not_there(tmp_path):
    from pynwb import NWBHDF5IO

    Session(subject="01", clock="amp", streams=(Signal(**{**vars(signal()), "modality": "lfp"}),)).save(tmp_path / "s")
    with NWBHDF5IO(tmp_path / "s" / "session.nwb", "r") as io:
        assert "rel_x" not in io.read().electrodes.colnames
