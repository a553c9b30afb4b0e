import json
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from neuroloom.ingest import Events, FormatError, Signal, Units, format_of, naming_files, read
from neuroloom.ingest.formats import openephys

META = "electrode/openephys_meta/ephysiopy"
AP, LFP, NIDQ = "Neuropix-PXI-100.ProbeA-AP", "Neuropix-PXI-100.ProbeA-LFP", "NI-DAQmx-101.PXI-6133"
START_MS = 1_700_000_000_123


def stream(folder, rate_hz, channels, unit="uV"):
    name = folder.partition(".")[2]
    listed = [{"channel_name": channel, "bit_volts": 0.195, "units": unit} for channel in channels]
    return {"folder_name": folder + "/", "stream_name": name, "sample_rate": rate_hz, "channels": listed}


def npy(path, values, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(values, dtype=dtype))


def recording(folder, streams, *, events=(), spikes=()):
    """streams: description -> (sample numbers, seconds of the synchroniser or None, samples)."""
    folder.mkdir(parents=True, exist_ok=True)
    for described, (numbers, seconds, samples) in streams:
        place = folder / "continuous" / described["folder_name"]
        npy(place / "sample_numbers.npy", numbers, "<i8")
        if seconds is not None:
            npy(place / "timestamps.npy", seconds, "<f8")
        np.asarray(samples, "<i2").tofile(place / "continuous.dat")
    content = {"GUI version": "0.6.7", "continuous": [s for s, _ in streams], "events": list(events)}
    (folder / "structure.oebin").write_text(json.dumps(content | {"spikes": list(spikes)}))
    (folder / "sync_messages.txt").write_text(
        f"Software Time (milliseconds since midnight Jan 1st 1970 UTC): {START_MS}\n"
    )
    return folder


def ttl(folder, name, states, numbers, rate_hz=30000):
    place = folder / "events" / name / "TTL"
    npy(place / "states.npy", states, "<i2")
    npy(place / "sample_numbers.npy", numbers, "<i8")
    npy(place / "timestamps.npy", np.asarray(numbers) / rate_hz, "<f8")
    return {"folder_name": f"{name}/TTL/", "sample_rate": rate_hz, "channel_name": "Probe TTL"}


def counting(n, n_channels=2, first=0):
    return np.arange(first, first + n * n_channels).reshape(n, n_channels)


@pytest.fixture
def experiment(tmp_path):
    """A probe with both bands and a NI-DAQ that the synchroniser stretched by 50 ppm; a gap in the wide band."""
    folder = tmp_path / "2024-05-01_10-00-00" / "Record Node 101" / "experiment1"
    ap, lfp, nidq = stream(AP, 30000, ["AP1", "AP2"]), stream(LFP, 2500, ["LFP1", "LFP2"]), stream(NIDQ, 30000, ["AI0"])
    numbers = np.r_[60000:60600, 61200:61800]
    recording(
        folder / "recording1",
        [
            (ap, (numbers, numbers / 30000, counting(1200))),
            (lfp, (np.r_[5000:5100], np.r_[5000:5100] / 2500, counting(100))),
            (nidq, (np.r_[90000:91000], np.r_[90000:91000] / 30000 * (1 + 50e-6) - 1, counting(1000, 1))),
        ],
        events=[ttl(folder / "recording1", AP, [1, 2, -1, -2, 1], [60010, 60100, 60160, 60200, 61500])],
    )
    return folder


def signals(recordings):
    return {s.name: s for r in recordings for s in r.streams if isinstance(s, Signal)}


def test_samples_and_gains_equal_those_of_neo(experiment):
    from neo.rawio import OpenEphysBinaryRawIO

    stock = OpenEphysBinaryRawIO(dirname=str(experiment.parent))
    stock.parse_header()
    mine = signals(read(experiment))
    for i, (name, stream_id, _) in enumerate(stock.header["signal_streams"]):
        signal = mine[name.partition("#")[2].partition(".")[2]]
        assert np.array_equal(
            np.concatenate([s.samples[:] for s in signal.segments]), stock.get_analogsignal_chunk(0, 0, stream_index=i)
        )
        channels = stock.header["signal_channels"]
        assert signal.gain == pytest.approx(channels["gain"][channels["stream_id"] == stream_id])
        assert signal.start_s == pytest.approx(stock.get_signal_t_start(0, 0, i))


def test_sample_numbers_that_jump_are_a_gap(experiment):
    """Neo gives one stretch of 1200 samples: it never looks."""
    segments = signals(read(experiment))["ProbeA-AP"].segments
    assert [(s.timebase.start_s, s.timebase.n_samples) for s in segments] == [(2.0, 600), (2.04, 600)]
    assert segments[1].samples[0].tolist() == [1200, 1201]


def test_both_bands_of_a_probe_share_its_clock(experiment):
    by_clock = {r.clock.rpartition(" ")[2]: [s.name for s in r.streams] for r in read(experiment)}
    assert by_clock == {AP: ["ProbeA-AP", "ProbeA-LFP", f"{AP} TTL"], NIDQ: ["PXI-6133"]}


def test_the_synchroniser_s_map_relates_the_clocks(experiment):
    probe, nidq = read(experiment)
    assert probe.leads_to.target == nidq.leads_to.target
    assert probe.leads_to.drift_ppm == pytest.approx(0, abs=1e-3)
    assert nidq.leads_to.drift_ppm == pytest.approx(50, abs=1e-3)
    assert nidq.leads_to.seconds(3.0) == pytest.approx(2.00015)


def test_streams_that_nothing_stretched_are_left_to_their_pulses(tmp_path):
    folder = tmp_path / "s" / "experiment1"
    parts = [
        (stream(name, 30000, ["CH1"]), (np.r_[0:99], np.r_[0:99] / 30000, counting(99, 1))) for name in ("a.A", "b.B")
    ]
    recording(folder / "recording1", parts)
    assert [r.leads_to for r in read(folder)] == [None, None]


def test_lines_that_go_up_are_sync_events_with_their_length(experiment):
    events = next(s for s in read(experiment)[0].streams if isinstance(s, Events))
    assert events.modality == "sync"
    assert events.labels == ("1", "2", "1")
    assert events.times_s == pytest.approx([60010 / 30000, 60100 / 30000, 61500 / 30000])
    assert events.table["high_s"][:2] == pytest.approx((0.005, 100 / 30000))
    assert np.isnan(events.table["high_s"][2])


def test_it_begins_when_the_software_says(experiment):
    assert read(experiment)[0].start == datetime.fromtimestamp(START_MS / 1000, UTC)


def test_recordings_of_an_experiment_are_segments(tmp_path):
    folder = tmp_path / "s" / "experiment1"
    described = stream("a.A", 1000, ["CH1", "ADC1"])
    for k, first in enumerate((0, 500), start=1):
        where = folder / f"recording{k}"
        recording(
            where,
            [(described, (np.r_[first : first + 10], None, counting(10)))],
            events=[ttl(where, "a.A", [1], [first + 3], 1000)],
        )
    (found,) = read(folder.parent)
    assert [s.timebase.start_s for s in found["A"].segments] == [0.0, 0.5]
    assert (found["A aux"].modality, found["A aux"].channel_names) == ("aux", ("ADC1",))
    assert found["a.A TTL"].times_s.tolist() == [0.003, 0.503]


def test_a_session_of_two_nodes_is_read_with_the_node_in_front(tmp_path):
    for node in ("Record Node 101", "Record Node 102"):
        recording(
            tmp_path / "s" / node / "experiment1" / "recording1",
            [(stream("a.A", 1000, ["CH1"]), (np.r_[0:9], None, counting(9, 1)))],
        )
    recordings = read(tmp_path / "s")
    assert len({r.clock for r in recordings}) == 1
    assert [s.name for r in recordings for s in r.streams] == ["Record Node 101 A", "Record Node 102 A"]


def test_messages_and_spikes_are_kept(tmp_path):
    folder = tmp_path / "s" / "experiment1" / "recording1"
    npy(folder / "events/MessageCenter/text.npy", [b"hello", b"bye"], "S5")
    npy(folder / "events/MessageCenter/sample_numbers.npy", [40, 20], "<i8")
    for name, values in (("sample_numbers", [10, 30, 50]), ("clusters", [0, 2, 2]), ("electrode_indices", [1, 1, 1])):
        npy(folder / "spikes/Spikes-1/e1" / f"{name}.npy", values, "<u2" if name != "sample_numbers" else "<i8")
    recording(
        folder,
        [(stream("a.A", 1000, ["CH1"]), (np.r_[0:100], None, counting(100, 1)))],
        events=[{"folder_name": "MessageCenter/", "sample_rate": 1000, "channel_name": "Messages"}],
        spikes=[{"folder": "Spikes-1/e1/", "sample_rate": 1000, "stream_name": "A"}],
    )
    (found,) = read(folder.parent)
    assert found["MessageCenter"].labels == ("bye", "hello")
    units = next(s for s in found.streams if isinstance(s, Units))
    assert (units.unit_names, units.table["kind"]) == (("1#0", "1#2"), ("unsorted", "sorted"))
    assert [t.tolist() for t in units.spike_times_s] == [[0.01], [0.03, 0.05]]


def test_a_name_that_two_channels_bear_is_numbered_and_noted(tmp_path):
    folder = tmp_path / "2024-05-01_10-00-00" / "Record Node 101" / "experiment1" / "recording1"
    recording(folder, [(stream(AP, 30000, ["AP1", "AP1"]), (np.r_[0:600], None, counting(600)))])
    (found,) = read(folder.parent)
    (signal,) = signals([found]).values()
    assert signal.channel_names == ("AP1-0", "AP1-1")
    assert f"{signal.name}: 2 channels are named 'AP1': 'AP1-0', 'AP1-1'" in found.repairs


def test_the_real_structure_of_0_5_is_two_bands_on_one_clock(recordings_dir, tmp_path):
    shutil.copyfile(recordings_dir / META / "structure.oebin", tmp_path / "structure.oebin")
    for name, numbers in (("Neuropix-PXI-100.0", np.r_[1:601]), ("Neuropix-PXI-100.1", np.r_[1:51])):
        place = tmp_path / "continuous" / name
        npy(place / "timestamps.npy", numbers, "<i8")
        counting(len(numbers), 384).astype("<i2").tofile(place / "continuous.dat")
    assert format_of(tmp_path / "structure.oebin") == "openephys"
    (found,) = read(tmp_path)
    assert {s.name: (s.modality, len(s.channel_names)) for s in found.streams} == {
        "Neuropix-PXI-100.0": ("wideband", 384),
        "Neuropix-PXI-100.1": ("lfp", 384),
    }
    assert any("positions" in line for line in found.repairs)


def settings(version="0.6.7"):
    """Four channels of a Neuropixels 1.0 as the plugin writes them."""
    channels = " ".join(f'CH{i}="0"' for i in range(4))
    x = " ".join(f'CH{i}="{at}"' for i, at in enumerate((27, 59, 11, 43)))
    y = " ".join(f'CH{i}="{20 * (i // 2)}"' for i in range(4))
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<SETTINGS><INFO><VERSION>{version}</VERSION><DATE>1 May 2024 10:00:00</DATE></INFO><SIGNALCHAIN>
<PROCESSOR name="Neuropix-PXI" libraryVersion="0.6.0" nodeId="100"><STREAM name="ProbeA-AP"/><STREAM name="ProbeA-LFP"/>
<EDITOR><NP_PROBE slot="2" port="1" dock="1" probe_serial_number="1" probe_part_number="PRB_1_4_0480_1">
<CHANNELS {channels}/><ELECTRODE_XPOS {x}/><ELECTRODE_YPOS {y}/></NP_PROBE></EDITOR></PROCESSOR>
</SIGNALCHAIN></SETTINGS>"""


def with_settings(tmp_path, text):
    folder = tmp_path / "s" / "experiment1"
    names = [f"AP{i}" for i in range(1, 5)]
    recording(folder / "recording1", [(stream(AP, 30000, names), (np.r_[0:9], None, counting(9, 4)))])
    (folder.parent / "settings.xml").write_text(text)
    return folder


def test_sites_of_a_neuropixels_equal_those_of_probeinterface(tmp_path):
    import probeinterface

    folder = with_settings(tmp_path, settings())
    probe = probeinterface.read_openephys_neuropixels(folder.parent / "settings.xml", stream_name=AP)
    table = read(folder)[0]["ProbeA-AP"].table
    assert np.array_equal(np.stack([table["x_um"], table["y_um"]], axis=1), probe.contact_positions)
    assert folder.parent / "settings.xml" in openephys.files(folder)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE SETTINGS [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE SETTINGS SYSTEM "file:///etc/passwd">',
        '<!DoCtYpE SETTINGS [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    ],
)
def test_settings_that_declare_anything_are_not_parsed(tmp_path, declared):
    text = settings().replace("<SETTINGS>", declared + "<SETTINGS>")
    (found,) = read(with_settings(tmp_path, text))
    assert "x_um" not in found["ProbeA-AP"].table
    assert any("not parsed" in line for line in found.repairs)


def test_a_folder_s_experiment_names_it_and_all_its_files(experiment):
    assert naming_files(experiment.parent.parent) == [experiment]
    found = openephys.files(experiment)
    assert found[0].name == "structure.oebin"
    assert {"continuous.dat", "sample_numbers.npy", "states.npy", "sync_messages.txt"} <= {f.name for f in found}


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/../../b", "C:x", ""])
def test_a_folder_that_leads_away_is_refused(experiment, name):
    path = experiment / "recording1" / "structure.oebin"
    path.write_text(path.read_text().replace(f"{AP}/", name, 1))
    with pytest.raises(FormatError, match=r"structure\.oebin|continuous/etc/continuous\.dat: is not there"):
        read(experiment)


def test_a_linked_stream_is_refused(experiment, tmp_path):
    place = experiment / "recording1" / "continuous" / NIDQ
    shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        read(experiment)


def test_pickled_arrays_are_refused(experiment):
    np.save(experiment / "recording1" / "continuous" / AP / "sample_numbers.npy", np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"sample_numbers\.npy.*no array of numbers"):
        read(experiment)


def test_samples_still_on_their_way_are_refused(experiment):
    raw = experiment / "recording1" / "continuous" / NIDQ / "continuous.dat"
    raw.write_bytes(raw.read_bytes()[:-100])
    assert "still being copied" in openephys.incomplete(experiment)
    with pytest.raises(FormatError, match=r"continuous\.dat.*still being copied"):
        read(experiment)


def test_samples_beyond_the_last_number_are_left_out_and_noted(experiment):
    raw = experiment / "recording1" / "continuous" / NIDQ / "continuous.dat"
    raw.write_bytes(raw.read_bytes() + bytes(20))
    recordings = read(experiment)
    assert signals(recordings)["PXI-6133"].n_samples == 1000
    assert any("10 samples at the end have no number" in line for line in recordings[0].repairs)
