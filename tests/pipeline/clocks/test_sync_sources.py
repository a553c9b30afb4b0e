"""Every source of sync, from files as devices write them to a published session, on clocks that are known.

Two devices each, with a start and a drift of their own; session time 0 is the first sample of the one that is gone by.
"""

import struct
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from neuroloom.ingest import Session
from neuroloom.pipeline.drops.ingesting import ingest_path
from neuroloom.pipeline.store import Store
from neuroloom.pipeline.synthetic.sample_devices import DeviceClock

LASTS_S = 150.0
HOME = DeviceClock(started_s=2.0, drift_ppm=0.0)
AWAY = DeviceClock(started_s=5.0, drift_ppm=60.0, zero_s=0.0)
TRACKER = DeviceClock(started_s=5.0, drift_ppm=60.0, zero_s=700.0)
PULSES_S = 8.0 + np.cumsum(np.random.default_rng(0).uniform(0.6, 1.6, 110))  # irregular, as useful pulses are
EVERY_SECOND_S = np.arange(8.25, 140.0, 1.0)
CODES = np.random.default_rng(1).integers(1, 200, EVERY_SECOND_S.size)
NAME, EEG_HZ, DAQ_HZ, GAZE_HZ = "sub-01_ses-01", 500, 2000, 250
NOON = datetime(2024, 5, 6, 12)


# Devices -----------------------------------------------------------------------------------------------------------


def brainvision(folder, *, markers=(), photo=None):
    """EEG at 500 Hz; markers: true seconds and descriptions; photo: a function of true seconds, in an AUX channel."""
    n = int(LASTS_S * EEG_HZ)
    values = np.random.default_rng(2).normal(0, 100, (n, 2))
    values[:, 1] = 0 if photo is None else photo(HOME.true_seconds(np.arange(n) / EEG_HZ))
    stem = folder / f"{NAME}_eeg"
    stem.with_suffix(".eeg").write_bytes(np.round(values).astype("<i2").tobytes())
    rows = [f"Stimulus,{said},{round(float(HOME.seconds(t)) * EEG_HZ) + 1},1,0" for t, said in sorted(markers)]
    rows.insert(0, f"New Segment,,1,1,0,{NOON + timedelta(seconds=HOME.started_s):%Y%m%d%H%M%S%f}")
    files = f"Codepage=UTF-8\nDataFile={stem.name}.eeg\n"
    numbered = "".join(f"Mk{k}={row}\n" for k, row in enumerate(rows, 1))
    stem.with_suffix(".vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\n{files}[Marker Infos]\n{numbered}"
    )
    stem.with_suffix(".vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n"
        f"[Common Infos]\n{files}MarkerFile={stem.name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels=2\nSamplingInterval={1_000_000 // EEG_HZ}\n[Binary Infos]\nBinaryFormat=INT_16\n"
        "[Channel Infos]\nCh1=Cz,,0.1,µV\nCh2=Photo,,0.1,µV\n",
        encoding="utf-8",
    )


def eyelink(folder, *, inputs=(), messages=()):
    """Gaze at 250 Hz on the tracker's clock, whole ms; messages: true seconds and texts."""
    first_ms = round(TRACKER.zero_s * 1000)
    times_ms = first_ms + 4 * np.arange(int(LASTS_S * GAZE_HZ))
    xy = 500 + np.random.default_rng(3).normal(0, 2, (times_ms.size, 2))
    rows = [(int(t), f"{t}\t{x:.1f}\t{y:.1f}\t900.0\t...") for t, (x, y) in zip(times_ms, xy, strict=True)]
    rows += [(ms := round(float(TRACKER.seconds(t)) * 1000), f"INPUT\t{ms}\t{value}") for t, value in inputs]
    rows += [(ms := round(float(TRACKER.seconds(t)) * 1000), f"MSG\t{ms} {text}") for t, text in messages]
    date = NOON + timedelta(seconds=TRACKER.started_s)
    head = f"** CONVERTED FROM a.edf using edfapi\n** DATE: {date:%a %b %d %H:%M:%S %Y}\n**\n"
    head += f"START\t{first_ms}\tRIGHT\tSAMPLES\tEVENTS\nSAMPLES\tGAZE\tRIGHT\tRATE\t {GAZE_HZ}.00\tTRACKING\tCR\n"
    body = "\n".join(text for _, text in sorted(rows, key=lambda row: row[0]))
    (folder / f"{NAME}_gaze.asc").write_text(f"{head}{body}\nEND\t{times_ms[-1] + 4}\tSAMPLES\tEVENTS\n")


def spikeglx(folder, kind, clock, bits, *, idle=0):
    """An NI-DAQ or a probe of a SpikeGLX run: one channel and a digital word. bits: bit -> pulses as (start, stop)."""
    n = int(LASTS_S * DAQ_HZ)
    word = np.zeros(n, dtype=np.uint16)
    for bit, pulses in bits.items():
        level = np.zeros(n + 1, dtype=np.int64)
        edges = np.clip(np.round(clock.seconds(np.asarray(pulses)) * DAQ_HZ), 0, n).astype(int)
        np.add.at(level, edges[:, 0], 1)
        np.add.at(level, edges[:, 1], -1)
        word |= ((np.cumsum(level)[:n] > 0) << bit).astype(np.uint16)
    stem = folder / f"{NAME}_g0_t0.{kind}"
    noise = np.random.default_rng(4).normal(0, 20, n).astype("<i2")
    binary = stem.with_name(stem.name + ".bin")
    binary.write_bytes(np.column_stack([noise, (word ^ idle).view("<i2")]).tobytes())
    common = {"fileCreateTime": "2024-05-06T12:00:02", "fileSizeBytes": binary.stat().st_size, "nSavedChans": 2}
    daq = {"niAiRangeMax": 5, "niSampRate": DAQ_HZ, "snsMnMaXaDw": "0,0,1,1", "snsSaveChanSubset": "0:1"}
    probe = {
        "imAiRangeMax": 0.6, "imMaxInt": 512, "imSampRate": DAQ_HZ, "imDatPrb_type": 0, "snsApLfSy": "1,0,1",
        "snsSaveChanSubset": "0,768", "imroTbl": "(0,384)(0 0 0 500 250 1)",
    }  # fmt: skip
    about = common | ({"typeThis": "nidq"} | daq if kind == "nidq" else {"typeThis": "imec"} | probe)
    stem.with_name(stem.name + ".meta").write_text("".join(f"{key}={value}\n" for key, value in about.items()))


def xdf(folder, resets_at_s):
    """EEG and gaze of two computers, with what the recorder measured of their clocks; that of the gaze starts anew."""
    true_s = np.arange(0, LASTS_S, 0.02)
    senders = {1: ("amp", "EEG", lambda t: 300 + t * (1 + 20e-6)), 2: ("tracker", "Gaze", lambda t: _restarted(t))}

    def _restarted(t):
        return np.where(t < resets_at_s, 5000 + t * (1 - 80e-6), 3 + (t - resets_at_s) * (1 - 80e-6))

    def chunk(tag, body):
        return b"\x04" + struct.pack("<IH", 2 + len(body), tag) + body

    parts = [b"XDF:", chunk(1, b"<info><version>1.0</version><datetime>2024-05-06T12:00:00+0000</datetime></info>")]
    for number, (name, kind, own) in senders.items():
        about = f"<info><name>{name}</name><type>{kind}</type><channel_count>1</channel_count>"
        about += "<nominal_srate>50</nominal_srate><channel_format>float32</channel_format></info>"
        parts.append(chunk(2, struct.pack("<I", number) + about.encode()))
        measured_s = np.arange(1, LASTS_S, 3.0)
        for block in np.split(np.arange(true_s.size), np.arange(50, true_s.size, 50)):
            rows = b"".join(b"\x08" + struct.pack("<df", own(true_s[k]), true_s[k]) for k in block)
            parts.append(chunk(3, struct.pack("<I", number) + b"\x04" + struct.pack("<I", block.size) + rows))
            for at_s in measured_s[(measured_s >= true_s[block[0]]) & (measured_s < true_s[block[0]] + 1)]:
                parts.append(chunk(4, struct.pack("<Idd", number, own(at_s), at_s - own(at_s))))
    (folder / f"{NAME}.xdf").write_bytes(b"".join(parts))


def published(folder, notes=""):
    """The session of the drop, opened again from what was published."""
    if notes:
        (folder / "session.toml").write_text(notes)
    result = ingest_path(folder, Store(folder.parent / "store").create(), sorter=None)
    assert result.reason is None
    return Session.open(Path(result.file).parent)


def worst_ms(session, target, source):
    """How far off the map's times are, at worst, from the first to the last moment that both devices recorded."""
    (found,) = session.clock_maps
    true_s = np.linspace(max(target.started_s, source.started_s) + 1, LASTS_S - 2, 200)
    return 1e3 * float(np.abs(found.seconds(source.seconds(true_s)) - target.seconds(true_s)).max())


@pytest.fixture
def drop(tmp_path):
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def lasting(times_s, width_s=0.02):
    return np.stack([times_s, np.asarray(times_s) + width_s], axis=1)


# Sources of sync ---------------------------------------------------------------------------------------------------


def test_a_bit_of_a_busy_digital_word_and_markers(drop):
    busy_s = np.sort(np.random.default_rng(5).uniform(6, 140, 300))
    spikeglx(drop, "nidq", AWAY, {0: lasting(busy_s), 5: lasting(PULSES_S)})
    brainvision(drop, markers=[(t, "S  1") for t in PULSES_S])
    session = published(drop)
    assert "sync 5 = markers" in session.clock_maps[0].method
    assert worst_ms(session, HOME, AWAY) < 1


def test_an_inverted_line(drop):
    """It rests high, and its fall is the pulse: rises alone would put all times a pulse's width late."""
    spikeglx(drop, "nidq", HOME, {2: lasting(PULSES_S, 0.1)}, idle=1 << 2)
    spikeglx(drop, "imec0.ap", AWAY, {6: lasting(PULSES_S, 0.1)})
    session = published(drop)
    assert "inverted" in session.clock_maps[0].method
    assert worst_ms(session, AWAY, HOME) < 1


def test_a_line_that_marks_both_edges(drop):
    brainvision(drop, markers=[(t, "S  1") for t in lasting(PULSES_S, 0.05).ravel()])
    eyelink(drop, inputs=[(t, 1) for t in PULSES_S])
    session = published(drop)
    assert "both edges as one" in session.clock_maps[0].method
    assert worst_ms(session, HOME, TRACKER) < 2


def test_analog_pulses(drop):
    brainvision(drop, photo=lambda t: 5000 * np.isin(np.searchsorted(lasting(PULSES_S, 0.1).ravel(), t) % 2, 1))
    eyelink(drop, inputs=[(t, 1) for t in PULSES_S])
    session = published(drop)
    assert "Photo" in session.clock_maps[0].method
    assert worst_ms(session, HOME, TRACKER) < 2


def test_a_photodiode_on_a_flickering_screen_and_messages(drop):
    def screen(true_s):
        is_lit = np.searchsorted(lasting(PULSES_S, 0.2).ravel(), true_s) % 2 == 1
        since_s = true_s - np.append(-1.0, PULSES_S)[np.searchsorted(PULSES_S, true_s, side="right")]
        return 5000 * (is_lit & (since_s * 60 % 1 < 0.4))

    brainvision(drop, photo=screen)
    eyelink(drop, messages=[(t, f"TRIAL {k} ON") for k, t in enumerate(PULSES_S)])
    session = published(drop)
    assert "flickering at 60 Hz" in session.clock_maps[0].method
    assert worst_ms(session, HOME, TRACKER) < 4


def test_messages_sent_late_by_a_stated_time(drop):
    """`MSG 701234 12 SYNC 7` tells of what was 12 ms before."""
    delays_ms = np.random.default_rng(6).integers(0, 40, PULSES_S.size)
    brainvision(drop, markers=[(t, "S  1") for t in PULSES_S])
    sent = zip(PULSES_S, delays_ms, strict=True)
    eyelink(drop, messages=[(t + d / 1e3, f"{d} SYNC {k}") for k, (t, d) in enumerate(sent)])
    session = published(drop)
    assert worst_ms(session, HOME, TRACKER) < 2


def test_codes_where_times_tell_nothing(drop):
    """One event a second: intervals fit at any whole second; which code followed which tells."""
    coded = list(zip(EVERY_SECOND_S, CODES.tolist(), strict=True))
    brainvision(drop, markers=[(t, f"S{code:3d}") for t, code in coded])
    eyelink(drop, messages=[(t, f"TRIGGER {code}") for t, code in coded])
    session = published(drop)
    assert "codes agree" in session.clock_maps[0].method
    assert worst_ms(session, HOME, TRACKER) < 2


def barcode(start_s, value):
    """As the Open Ephys barcode sketch sends it: 10 ms framing pulses, then 32 bits of 30 ms, lowest first."""
    levels = [(1, 0.01), (0, 0.01), *((value >> bit & 1, 0.03) for bit in range(32)), (0, 0.01), (1, 0.01), (0, 0.01)]
    edges_s = start_s + np.concatenate([[0], np.cumsum([length_s for _, length_s in levels])])
    runs = [(a, b) for (level, _), a, b in zip(levels, edges_s[:-1], edges_s[1:], strict=True) if level]
    joined = [runs[0]]
    for a, b in runs[1:]:
        joined = [*joined[:-1], (joined[-1][0], b)] if a - joined[-1][1] < 1e-9 else [*joined, (a, b)]
    return joined


def test_barcodes_sent_at_a_steady_pace(drop):
    pulses = [p for k, t in enumerate(np.arange(10.0, 140.0, 5.0)) for p in barcode(t, 1_000_000 + k)]
    spikeglx(drop, "nidq", HOME, {1: pulses})
    spikeglx(drop, "imec0.ap", AWAY, {6: pulses})
    session = published(drop)
    assert "barcodes" in session.clock_maps[0].method
    assert worst_ms(session, AWAY, HOME) < 1


def test_a_pulse_every_second_and_files_that_began_together(drop):
    began = DeviceClock(started_s=HOME.started_s + 0.006, drift_ppm=40.0)
    spikeglx(drop, "nidq", began, {3: lasting(EVERY_SECOND_S, 0.5)})
    spikeglx(drop, "imec0.ap", HOME, {6: lasting(EVERY_SECOND_S, 0.5)})
    session = published(drop)
    assert "start times told which" in session.clock_maps[0].method
    assert worst_ms(session, HOME, began) < 1


def test_dates_where_nothing_is_shared(drop):
    brainvision(drop)
    eyelink(drop, messages=[(20.0, "RECORDING BEGINS")])
    session = published(drop, "start_uncertainty_s = 0.2\n")
    (found,) = session.clock_maps
    assert found.method == "acquisition start times"
    assert found.residual_ms == 200
    assert worst_ms(session, HOME, TRACKER) < 200
    gaze = next(s for s in session.streams if s.modality == "gaze")
    assert session.uncertainty_at_ms(gaze, np.array([3.0, 140.0])).tolist() == pytest.approx([200, 200.1], abs=0.2)


def test_offsets_that_the_recorder_measured_of_a_clock_that_starts_anew(drop):
    """Each sample holds the true time at which it was taken."""
    xdf(drop, resets_at_s=70.0)
    session = published(drop)
    assert "XDF clock offsets, 1 reset," in session.clock_maps[0].method
    gaze = next(s for s in session.streams if s.modality == "gaze")
    assert [s.timebase.n_samples for s in gaze.segments] == [3500, 4000]
    for segment in gaze.segments:
        amp_s = segment.samples[:][:, 0] * (1 + 20e-6)  # the session runs on the amplifier's clock
        assert np.abs(segment.timebase.seconds(np.arange(amp_s.size)) - amp_s).max() < 1e-4
