import json
import shutil
import warnings

import numpy as np
import probeinterface
import pytest

from neuroloom.ingest import FormatError, Session, Signal, Units
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.drops.reading import read_session
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import record_person

BINARY = "sub-s_ses-01_task-choice_g0_t0.imec0.ap.bin"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six seconds of a probe of 16 channels, recorded from sample 0 on."""
    folder = tmp_path_factory.mktemp("made") / "drop"
    record_person(folder, subject="s", duration_s=6, devices=("probe",))
    (folder / "session.toml").unlink()
    return folder


@pytest.fixture
def drop(made, tmp_path):
    shutil.copytree(made, tmp_path / "drop")
    return tmp_path / "drop"


def kilosort(folder, samples=(300, 600, 900), clusters=(1, 2, 2), *, dat=BINARY, rate=30_000.0):
    folder.mkdir(parents=True)
    (folder / "params.py").write_text(f"dat_path = r'D:\\data\\{dat}'\nsample_rate = {rate}\n")
    np.save(folder / "spike_times.npy", np.array(samples, "<u8"))
    np.save(folder / "spike_clusters.npy", np.array(clusters, "<i4"))
    np.save(folder / "spike_templates.npy", np.array(clusters, "<i4") - 1)
    templates = np.zeros((2, 5, 2), "<f4")
    templates[[0, 1], 2, [0, 1]] = -1
    np.save(folder / "templates.npy", templates)
    np.save(folder / "channel_map.npy", np.array([3, 9], "<i4"))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n1\tgood\n2\tmua\n")
    return folder


def units_of(session):
    return [s for s in session.streams if isinstance(s, Units)]


def test_a_kilosort_folder_beside_a_recording_is_its_units(drop):
    kilosort(drop / "kilosort4")
    session = read_session(drop)
    (units,) = units_of(session)
    assert units.name == "ap units"
    assert [t.tolist() for t in units.spike_times_s] == [
        [pytest.approx(0.01)],
        [pytest.approx(0.02), pytest.approx(0.03)],
    ]
    assert units.table["channel"] == ("AP3", "AP9")
    assert units.table["accepted"] == (True, False)
    assert session["ap"].table["y_um"][9] == units.table["y_um"][1]
    assert units.device == session["ap"].device


def test_a_recording_that_came_with_its_units_is_not_sorted_again(drop, tmp_path):
    kilosort(drop / "kilosort4")
    store = Store(tmp_path / "store").create()
    result = ingest_path(drop, store, sorter="spykingcircus2")
    assert result.state == "ingested", result.reason
    with Session.open(store.latest(result.session)) as session:
        (units,) = units_of(session)
        assert (units.provenance["made_by"], units.unit_names) == ("phy", ("1", "2"))
        assert units.table["n_spikes"] == (1, 2)
        assert units.table["accepted"] == (True, False)
        assert np.isfinite(units.table["snr"]).all()
        assert "params.py" in session.sources[0]["files"]
        assert {name.rpartition("/")[2] for name in session.sources[0]["digests"]} >= {"params.py", "spike_times.npy"}


def test_spikes_of_a_run_that_began_later_are_at_its_times(drop):
    meta = next(drop.glob("*.meta"))
    meta.write_text(meta.read_text().replace("firstSample=0", "firstSample=90000"))
    kilosort(drop / "kilosort4")
    session = read_session(drop)
    first_s = session["ap"].start_s
    assert units_of(session)[0].spike_times_s[0] - first_s == pytest.approx([0.01])


def test_segments_are_told_apart(drop, tmp_path):
    """Two triggers of one gate: what SpikeInterface sorted in the second lies at its times."""
    from spikeinterface.core import NumpySorting

    meta = next(drop.glob("*.meta"))
    for suffix in (".meta", ".bin"):
        shutil.copyfile(meta.with_suffix(suffix), drop / meta.with_suffix(suffix).name.replace("_t0.", "_t1."))
    later = drop / meta.name.replace("_t0.", "_t1.")
    later.write_text(later.read_text().replace("firstSample=0", "firstSample=900000"))
    trains = [{"a": np.array([30])}, {"a": np.array([60, 90])}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NumpySorting.from_unit_dict(trains, 30_000.0).save(folder=drop / "sorted")
    (units,) = units_of(read_session(drop))
    assert units.spike_times_s[0] == pytest.approx([0.001, 30.002, 30.003])


def test_segments_without_their_recording_are_refused(tmp_path):
    from spikeinterface.core import NumpySorting

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NumpySorting.from_unit_dict([{"a": np.array([3])}, {"a": np.array([6])}], 30_000.0).save(
            folder=tmp_path / "alone"
        )
    with pytest.raises(FormatError, match="sorted in 2 segments"):
        read_session(tmp_path / "alone")


def test_a_sorting_alone_is_units_on_a_clock_of_samples(tmp_path):
    (units,) = units_of(read_session(kilosort(tmp_path / "kilosort4")))
    assert units.spike_times_s[1] - units.spike_times_s[0][0] == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize(
    ("how", "said"),
    [({"rate": 25_000.0}, "counts at 25000 Hz"), ({"samples": (3, 4, 1 << 40)}, "a spike at sample 1099511627776")],
)
def test_a_sorting_of_another_recording_is_refused(drop, how, said):
    kilosort(drop / "kilosort4", **how)
    with pytest.raises(FormatError, match=said):
        read_session(drop)


def test_of_two_recordings_the_one_it_names_is_taken_and_session_toml_can_say(drop, made):
    for path in made.glob("*.imec0.*"):
        shutil.copyfile(path, drop / path.name.replace("imec0", "imec1"))
    kilosort(drop / "kilosort4", dat=BINARY.replace("imec0", "imec1"))
    (units,) = units_of(read_session(drop))
    assert units.device.endswith("imec1")
    shutil.rmtree(drop / "kilosort4")
    kilosort(drop / "kilosort4", dat="temp_wh.dat")
    with pytest.raises(FormatError, match="a sorting of which of"):
        read_session(drop)
    (drop / "session.toml").write_text('[sortings]\nkilosort4 = "sub-s_ses-01_task-choice_g0.imec0"\n')
    assert units_of(read_session(drop))[0].device.endswith("imec0")


def test_units_of_an_nwb_file_count_from_the_first_sample_where_session_toml_says_so(drop, tmp_path):
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile

    nwb = NWBFile(session_description="s", identifier="i", session_start_time=datetime(2024, 1, 1, tzinfo=UTC))
    nwb.add_unit(spike_times=[0.5, 1.0])
    with NWBHDF5IO(drop / "curated.nwb", "w") as io:
        io.write(nwb)
    (drop / "session.toml").write_text('[sortings]\ncurated = "ap"\n')
    (units,) = units_of(read_session(drop))
    assert units.name == "ap units"
    assert units.spike_times_s[0] == pytest.approx([0.5, 1.0])


# Probes and areas ----------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(drop):
    """The same recording, of which nothing says where its contacts lie."""
    meta = next(drop.glob("*.meta"))
    kept = [line for line in meta.read_text().splitlines() if not line.startswith("~")]
    meta.write_text("\n".join([*kept, "imChan0apGain=500"]) + "\n")
    return drop


def linear(n=16, pitch=25.0):
    probe = probeinterface.generate_linear_probe(num_elec=n, ypitch=pitch)
    probe.set_device_channel_indices(np.arange(n)[::-1])
    return probe


def test_a_probe_json_beside_a_recording_says_where_its_contacts_lie(bare):
    assert "y_um" not in read_session(bare)["ap"].table
    probeinterface.write_probeinterface(bare / "probe.json", linear())
    table = read_session(bare)["ap"].table
    assert table["y_um"][0] == 15 * 25.0
    assert table["y_um"][15] == 0.0


def test_positions_of_the_file_itself_stay(drop):
    before = read_session(drop)["ap"].table["y_um"]
    probeinterface.write_probeinterface(drop / "probe.json", linear())
    with pytest.raises(FormatError, match="has its positions already"):
        read_session(drop)
    (drop / "probe.json").unlink()
    assert read_session(drop)["ap"].table["y_um"] == before


def test_a_model_that_is_known_offline_can_be_named(bare):
    (bare / "session.toml").write_text('[probe]\nmanufacturer = "imec"\nmodel = "NP1000"\ncontacts = [0, 16]\n')
    table = read_session(bare)["ap"].table
    assert table["y_um"][:4] == (0.0, 0.0, 20.0, 20.0)
    assert table["contact"][3] == "e3"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[probe]\nmodel = "NP9999"\nmanufacturer = "imec"\n', "NP9999"),
        ('[probe]\nmodel = "H32"\nmanufacturer = "cambridge"\n', "without a network"),
        ('[probe]\nmodel = "NP1000"\nmanufacturer = "imec"\n', "fits no signal"),
        ('[probe]\nmodel = "NP1000"\nmanufacturer = "imec"\ncontacts = [0, 5000]\n', "of a probe that has 960"),
        ('[probe]\nfile = "../probe.json"\n', "no file of the drop"),
        ("[probe]\n", "either a model or a file"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(bare, toml, said):
    (bare / "session.toml").write_text(toml)
    with pytest.raises(FormatError, match=said):
        read_session(bare)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"specification": "probeinterface", "probes": [{}]}', '{"probes": 7}']
)
def test_a_probe_json_that_is_none_is_refused(bare, content):
    (bare / "probe.json").write_text(content)
    with pytest.raises(FormatError, match=r"probe\.json"):
        read_session(bare)


def test_a_probe_of_another_size_is_refused_by_its_numbers(bare):
    probeinterface.write_probeinterface(bare / "probe.json", linear(n=17))
    with pytest.raises(FormatError, match="17 contacts wired to channels 0 to 16 for 16 channels"):
        read_session(bare)


def test_areas_by_place_along_the_probe_are_those_of_channels_and_units(drop):
    kilosort(drop / "kilosort4")
    (drop / "session.toml").write_text("[areas]\nap = { V1 = [0, 60], CA1 = [60, 130] }\n")
    session = read_session(drop)
    heights = session["ap"].table["y_um"]
    assert session["ap"].table["area"] == tuple("V1" if y < 60 else "CA1" if y < 130 else "" for y in heights)
    assert units_of(session)[0].table["area"] == ("V1", "CA1")


@pytest.mark.parametrize(
    ("areas", "said"),
    [
        ("{ V1 = [0, 60], CA1 = [50, 99] }", "V1 and CA1 overlap at 50"),
        ("{ V1 = [60, 0] }", "V1 from 60 up to 0"),
        ('["V1"]', "1 areas for 16 channels"),
    ],
)
def test_areas_that_make_no_sense_are_refused(drop, areas, said):
    (drop / "session.toml").write_text(f"[areas]\nap = {areas}\n")
    with pytest.raises(FormatError, match=said):
        read_session(drop)


def test_areas_by_place_need_places(bare):
    (bare / "session.toml").write_text("[areas]\nap = { V1 = [0, 60] }\n")
    with pytest.raises(FormatError, match=r"probe\.json"):
        read_session(bare)


def test_a_probe_given_beside_is_part_of_the_drop(bare, tmp_path):
    probeinterface.write_probeinterface(bare / "probe.json", linear())
    store = Store(tmp_path / "store").create()
    result = ingest_path(bare, store, sorter=None)
    assert result.state == "ingested", result.reason
    with Session.open(store.latest(result.session)) as session:
        assert "probe.json" in session.sources[0]["digests"]
        assert isinstance(session["ap"], Signal)
        assert json.dumps(session["ap"].table["y_um"][:2]) == "[375.0, 350.0]"
