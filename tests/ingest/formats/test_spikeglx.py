import re
import shutil
import warnings

import numpy as np
import pytest
from neo.rawio import SpikeGLXRawIO

from neuroloom.ingest import FormatError, naming_files, read
from neuroloom.ingest.formats import spikeglx
from neuroloom.pipeline.synthetic.sample_devices import record_person

METAS = "electrode/spikeglx_meta/ibl-neuropixel"
PROBES = (
    "sample3A_376_channels.ap.meta",
    "sample3A_g0_t0.imec.ap.meta",
    "sample3A_g0_t0.imec.lf.meta",
    "sample3B2_exported.imec0.ap.meta",
    "sample3B_catgt.ap.meta",
    "sample3B_g0_t0.imec1.ap.meta",
    "sample3B_g0_t0.imec1.lf.meta",
    "sample3B_version202304.ap.meta",
    "sampleNHPlong_prototype.ap.meta",
    "sampleNP2.1_g0_t0.imec.ap.meta",
    "sampleNP2.4_1shank_g0_t0.imec.ap.meta",
    "sampleNP2.4_4shanks_appVersion20230905.ap.meta",
    "sampleNP2.4_4shanks_g0_t0.imec.ap.meta",
    "sampleNP2QB.imec.ap.meta",
    "sampleNPultra_g0_t0.imec0.ap.meta",
)
REFUSED_BY_NEO = "sampleNP2.4_4shanks_g0_t0.imec.ap.meta"  # its channel map lacks the "~" that Neo looks for
N = 50


@pytest.fixture(scope="module")
def meta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    record_person(folder, duration_s=6, devices=("probe",))
    return next(folder.glob("*.meta"))


def with_samples(meta, folder, *, name=None, n=N, **entries):
    """A real `.meta` with as many made-up samples beside it as it then states; `entries` replace its own."""
    text = meta.read_text(encoding="utf-8")
    n_saved = int(re.search(r"nSavedChans=(\d+)", text)[1])
    for key, value in {"fileSizeBytes": 2 * n * n_saved, **entries}.items():
        text = re.sub(rf"(?m)^{key}=.*$", f"{key}={value}", text)
    copy = folder / (name or meta.name)
    copy.write_text(text, encoding="utf-8")
    rng = np.random.default_rng(3)
    rng.integers(-500, 500, (n, n_saved)).astype("<i2").tofile(copy.with_suffix(".bin"))
    return copy


def run(recordings_dir, folder, *, triggers=("t0",), lf=True, nidq=True):
    """Probe and NI-DAQ of one run, as the real metas of one have it."""
    metas = recordings_dir / METAS
    for k, trigger in enumerate(triggers):
        ap = {"firstSample": 1738008 + 90_000 * k}
        with_samples(
            metas / "sample3B_g0_t0.imec1.ap.meta", folder, name=f"run_g0_{trigger}.imec1.ap.meta", n=1200, **ap
        )
    if lf:
        with_samples(metas / "sample3B_g0_t0.imec1.lf.meta", folder, name="run_g0_t0.imec1.lf.meta", n=100)
    if nidq:
        with_samples(metas / "sample3B_g0_t0.nidq.meta", folder, name="run_g0_t0.nidq.meta", n=1200)
    return folder


def test_samples_and_gains_equal_those_of_neo(meta):
    stock = SpikeGLXRawIO(dirname=str(meta.parent))
    stock.parse_header()
    signal = read(meta)[0]["ap"]
    theirs = stock.get_analogsignal_chunk(0, 0, 0, 1000, stream_index=0)
    assert np.array_equal(signal.segments[0].samples[0:1000], theirs[:, :16])
    channels = stock.header["signal_channels"]
    assert signal.gain == pytest.approx(channels["gain"][:16].astype(float))


@pytest.mark.parametrize("name", [name for name in PROBES if name != REFUSED_BY_NEO])
def test_every_kind_of_probe_has_the_gains_and_names_of_neo(recordings_dir, tmp_path, name):
    copy = with_samples(recordings_dir / METAS / name, tmp_path)
    signal = next(s for s in read(copy)[0].streams if s.name in ("ap", "lf"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stock = SpikeGLXRawIO(dirname=str(tmp_path))
        stock.parse_header()
    channels = stock.header["signal_channels"][: len(signal.channel_names)]
    assert signal.gain == pytest.approx(channels["gain"].astype(float), rel=1e-6)
    assert signal.channel_names == tuple(channels["name"])
    theirs = stock.get_analogsignal_chunk(0, 0, 0, N, stream_index=0)
    assert np.array_equal(signal.segments[0].samples[:], theirs[:, : len(signal.channel_names)])


@pytest.mark.parametrize("name", [name for name in PROBES if ".lf." not in name])
def test_sites_equal_those_of_probeinterface(recordings_dir, tmp_path, name):
    import probeinterface

    probe = probeinterface.read_spikeglx(recordings_dir / METAS / name)
    table = read(with_samples(recordings_dir / METAS / name, tmp_path))[0]["ap"].table
    assert np.array_equal(np.stack([table["x_um"], table["y_um"]], axis=1), probe.contact_positions)
    assert [str(group) for group in table["group"]] == [
        s or "0" for s in (probe.shank_ids if probe.shank_ids is not None else [""] * len(table["group"]))
    ]
    assert list(table["contact"]) == list(probe.contact_ids)


def test_sites_by_the_model_agree_with_the_map_that_newer_files_hold(recordings_dir, tmp_path):
    import probeinterface

    path = recordings_dir / METAS / "sampleNP2.4_4shanks_appVersion20230905.ap.meta"
    table = read(with_samples(path, tmp_path))[0]["ap"].table
    entries = probeinterface.neuropixels_tools.parse_spikeglx_meta(path)
    _, _, pitch, shank, x, y, _ = probeinterface.neuropixels_tools.parse_spikeglx_snsGeomMap(entries)
    assert np.array_equal(table["y_um"], y)
    assert np.ptp(np.array(table["x_um"]) - (x + pitch * shank)) == 0
    assert set(table["group"]) == set(shank.tolist())


def test_the_slow_band_has_the_sites_of_the_wide_one(recordings_dir, tmp_path):
    recording = read(run(recordings_dir, tmp_path))[0]
    assert recording["lf"].table["x_um"] == recording["ap"].table["x_um"]
    assert "sample_shift" not in recording["lf"].table


def test_sample_shifts_equal_those_of_spikeinterface(recordings_dir, tmp_path):
    import probeinterface
    from spikeinterface.extractors.neuropixels_utils import get_neuropixels_sample_shifts_from_probe

    for name in ("sample3B_g0_t0.imec1.ap.meta", "sampleNP2.4_4shanks_g0_t0.imec.ap.meta"):
        table = read(with_samples(recordings_dir / METAS / name, tmp_path))[0]["ap"].table
        theirs = get_neuropixels_sample_shifts_from_probe(probeinterface.read_spikeglx(recordings_dir / METAS / name))
        assert table["sample_shift"] == pytest.approx(theirs)


def test_a_run_is_one_drop_of_a_recording_per_device(recordings_dir, tmp_path):
    run(recordings_dir, tmp_path)
    (named,) = naming_files(tmp_path)
    assert len(spikeglx.files(named)) == 6
    assert {r.clock: [s.name for s in r.streams] for r in read(tmp_path)} == {
        "run_g0.imec1": ["ap", "lf", "sync"],
        "run_g0.nidq": ["nidq", "sync"],
    }


def test_bands_of_a_probe_begin_together(recordings_dir, tmp_path):
    """As the real files state it: sample 1738008 of 30000.39 Hz and 144834 of 2500.03 Hz, 57.93 s into the run."""
    probe, nidq = read(run(recordings_dir, tmp_path))
    assert probe["ap"].start_s == pytest.approx(probe["lf"].start_s, abs=1e-6)
    assert probe["ap"].start_s == pytest.approx(57.932846, abs=1e-5)
    assert nidq["nidq"].start_s == pytest.approx(probe["ap"].start_s, abs=1e-3)


def test_triggers_of_a_gate_are_segments_at_their_own_times(recordings_dir, tmp_path):
    recording = read(run(recordings_dir, tmp_path, triggers=("t0", "t1"), lf=False, nidq=False))[0]
    first, second = recording["ap"].segments
    assert second.timebase.start_s - first.timebase.start_s == pytest.approx(90_000 / 30000.390639481)
    assert len(recording.files) == 4


def test_the_wide_band_s_sync_word_is_taken(recordings_dir, tmp_path):
    recording = read(run(recordings_dir, tmp_path, nidq=False))[0]
    word = np.fromfile(tmp_path / "run_g0_t0.imec1.ap.bin", "<i2").reshape(-1, 385)[:, 384].view(np.uint16)
    rises = word[1:] & ~word[:-1]
    assert len(recording["sync"].labels) == sum(int(value).bit_count() for value in rises)


def test_two_runs_in_a_folder_are_apart(recordings_dir, tmp_path):
    for name in ("one_g0_t0.imec1.ap.meta", "two_g0_t0.imec1.ap.meta"):
        with_samples(recordings_dir / METAS / "sample3B_g0_t0.imec1.ap.meta", tmp_path, name=name)
    assert [path.name for path in naming_files(tmp_path)] == ["one_g0_t0.imec1.ap.meta", "two_g0_t0.imec1.ap.meta"]


def test_what_catgt_joined_says_so(recordings_dir, tmp_path):
    copy = with_samples(recordings_dir / METAS / "sample3B_catgt.ap.meta", tmp_path)
    assert any("fills gaps" in line for line in read(copy)[0].repairs)


def test_sync_pulses_are_rising_edges_of_their_bit(meta):
    sync = read(meta)[0]["sync"]
    assert set(sync.labels) == {"6"}
    assert np.diff(sync.times_s).min() > 0
    assert np.nanmedian(sync.table["high_s"]) == pytest.approx(0.005, abs=1e-4)


def test_a_file_still_growing_is_refused(meta, tmp_path):
    binary = meta.with_suffix(".bin")
    (tmp_path / meta.name).write_text(meta.read_text())
    (tmp_path / binary.name).write_bytes(binary.read_bytes()[:-34])
    assert "still being copied" in spikeglx.incomplete(tmp_path / meta.name)
    with pytest.raises(FormatError, match="still being copied"):
        read(tmp_path / meta.name)


def test_sync_pulses_say_how_long_they_lasted(meta):
    widths_s = read(meta)[0]["sync"].table["high_s"]
    assert np.allclose(widths_s, 0.005)


def test_files_of_one_run_are_known_to_have_started_together(meta):
    run, within_s = read(meta)[0].started_with
    assert run == meta.name.removesuffix(".imec0.ap.meta")
    assert within_s == 0.02


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("snsApLfSy=9,0,1", "they must match"),
        ("nSavedChans=-3", "nSavedChans"),
        ("imSampRate=0", "imSampRate"),
        ("imAiRangeMax=x", "imAiRangeMax"),
        ("typeThis=../x", "typeThis"),
        ("~imroTbl=(0,384)(0 0 0 0 0 1)", "states no gain"),
    ],
)
def test_a_meta_that_lies_is_refused(meta, tmp_path, entry, said):
    key = entry.partition("=")[0]
    text = re.sub(rf"(?m)^{re.escape(key)}=.*$", entry, meta.read_text())
    (tmp_path / meta.name).write_text(text)
    shutil.copyfile(meta.with_suffix(".bin"), tmp_path / meta.with_suffix(".bin").name)
    with pytest.raises(FormatError, match=said):
        read(tmp_path / meta.name)
