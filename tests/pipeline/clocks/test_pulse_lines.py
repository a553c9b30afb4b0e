from pathlib import Path

import numpy as np

from neuroloom.ingest import Events, Recording, read
from neuroloom.ingest.streams import HIGH
from neuroloom.pipeline.clocks.pulse_lines import code_of, pulse_lines

TIMES_S = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 40))


def device(*streams):
    return Recording(clock="d", format="test", files=(Path("d.dat"),), streams=streams)


def events(name, labels, *, modality="sync", times_s=TIMES_S, table=None):
    return Events(name=name, modality=modality, times_s=times_s, labels=tuple(labels), table=table or {})


def lines(*streams):
    return {line.name: line for line in pulse_lines(device(*streams))}


def test_a_stream_is_a_line_and_so_is_each_of_its_labels():
    found = lines(events("ttl", ["go", "stop"] * 20))
    assert list(found) == ["ttl", "ttl go", "ttl stop"]
    assert found["ttl"].codes == ("go", "stop") * 20


def test_the_last_number_of_a_label_is_its_code():
    assert [code_of(label) for label in ("S  1", "TRIGGER 11", "Stimulus/S255", "Go ")] == ["1", "11", "255", "go"]


def test_a_bit_that_is_raised_beside_others_is_a_line_of_its_own():
    """The pulse is bit 6; codes 1 to 3 are sometimes raised with it."""
    found = lines(events("triggers", ["64", "65", "1", "66", "3"] * 8))
    assert found["triggers bit 6"].times_s.size == 24


def test_widths_give_the_ends_of_pulses():
    line = lines(events("sync", ["6"] * 40, table={HIGH: (0.005,) * 40}))["sync"]
    assert line.has_stops
    assert np.allclose(line.falling().times_s, TIMES_S + 0.005)


def test_messages_alike_but_for_their_numbers_are_a_line_with_codes():
    texts = [text for k in range(20) for text in (f"TRIALID {k}", f"TRIGGER {k % 3 + 11}")]
    found = lines(events("messages", texts, modality="events"))
    assert found["messages TRIALID #"].codes == tuple(str(k) for k in range(20))
    assert found["messages TRIGGER #"].codes[:4] == ("11", "12", "13", "11")


def test_a_message_sent_late_counts_when_it_says_it_was():
    found = lines(events("messages", [f"{late} SYNCTIME" for late in (12, -3) * 20], modality="events"))
    late_s = np.tile([0.012, -0.003], 20)
    assert np.allclose(found["messages SYNCTIME"].times_s, np.sort(TIMES_S - late_s))


def test_eyelink_messages_with_trigger_codes_are_a_line(tmp_path):
    rows = ["MSG\t101 RECCFG CR 500 2 1 R"]
    rows += [f"MSG\t{round(t * 1000)} TRIGGER {k % 4}" for k, t in enumerate(TIMES_S)]
    head = (
        "** CONVERTED FROM x.edf using edfapi\nSTART\t100\tRIGHT\tSAMPLES\tEVENTS\nSAMPLES\tGAZE\tRIGHT\tRATE\t 500\n"
    )
    (tmp_path / "a.asc").write_text(head + "100\t1\t2\t9\t...\n102\t1\t2\t9\t...\n" + "\n".join(rows) + "\n")
    found = {line.name: line for line in pulse_lines(read(tmp_path / "a.asc")[0])}
    assert found["messages TRIGGER #"].times_s.size == 40
    assert set(found["messages TRIGGER #"].codes) == {"0", "1", "2", "3"}


def test_fewer_than_eight_moments_are_no_line():
    assert pulse_lines(device(events("ttl", ["1"] * 7, times_s=TIMES_S[:7]))) == ()


def test_two_codes_raised_within_milliseconds_are_no_bounce():
    times_s = np.sort(np.concatenate([TIMES_S, TIMES_S + 0.002]))
    assert lines(events("ttl", ["1", "2"] * 40, times_s=times_s))["ttl"].times_s.size == 80
