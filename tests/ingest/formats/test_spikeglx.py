import numpy as np
import pytest
from neo.rawio import SpikeGLXRawIO

from neuroloom.ingest import FormatError, read
from neuroloom.pipeline.sample_devices import record_person


@pytest.fixture(scope="module")
def meta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe")
    record_person(folder, duration_s=6, devices=("probe",))
    return next(folder.glob("*.meta"))


def test_samples_and_gains_equal_those_of_neo(meta):
    stock = SpikeGLXRawIO(dirname=str(meta.parent))
    stock.parse_header()
    signal = read(meta)[0]["ap"]
    theirs = stock.get_analogsignal_chunk(0, 0, 0, 1000, stream_index=0)
    assert np.array_equal(signal.segments[0].samples[0:1000], theirs[:, :16])
    channels = stock.header["signal_channels"]
    assert signal.gain == pytest.approx(channels["gain"][:16].astype(float))


def test_sync_pulses_are_rising_edges_of_their_bit(meta):
    sync = read(meta)[0]["sync"]
    assert set(sync.labels) == {"6"}
    assert np.diff(sync.times_s).min() > 0


def test_sites_have_positions(meta):
    table = read(meta)[0]["ap"].table
    assert table["x_um"][:2] == (27.0, 59.0)
    assert table["y_um"][-1] == 140.0


def test_a_file_still_growing_is_refused(meta, tmp_path):
    binary = meta.with_suffix(".bin")
    (tmp_path / meta.name).write_text(meta.read_text())
    (tmp_path / binary.name).write_bytes(binary.read_bytes()[:-34])
    with pytest.raises(FormatError, match="still being copied"):
        read(tmp_path / meta.name)


def test_sync_pulses_say_how_long_they_lasted(meta):
    widths_s = read(meta)[0]["sync"].table["high_s"]
    assert np.allclose(widths_s, 0.005)


def test_files_of_one_run_are_known_to_have_started_together(meta):
    run, within_s = read(meta)[0].started_with
    assert run == meta.name.removesuffix(".imec0.ap.meta")
    assert within_s == 0.02
