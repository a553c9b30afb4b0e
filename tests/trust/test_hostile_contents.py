"""What a drop holds is never run, never unfolds, and makes sense or is refused in one line that names the file."""

import re

import pytest

from neuroloom.ingest import Events, Session, Signal, manifest
from neuroloom.pipeline.catalog.tables import DONE, QUARANTINED
from neuroloom.pipeline.review.findings import findings

from . import hostile_contents as hostile
from .harness import CANARY, inbox_of, leaks, lines

SAMPLE_OF_SIZE = [
    name
    for name in hostile.SIZE
    if not name.startswith(("empty", "one byte", "eeglab", "npz", "matlab", "hdf5", "many"))
]


def name_of(case):
    return case.replace(" ", "-")


def agrees(drop, why):
    if not why:
        return drop.state == DONE
    return drop.state == QUARANTINED and lines(drop.reason) == 1 and bool(re.search(why, drop.reason))


def looked_at(root, cases, *, boxed=True):
    with inbox_of(root, boxed=boxed) as inbox:
        for name, (make, _) in cases.items():
            inbox.put(name_of(name), make)
        return inbox.store, inbox.look()


@pytest.fixture(scope="module")
def tripwire(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    (folder / "canary.txt").write_bytes(CANARY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(hostile.TRIPWIRE, str(folder / "RAN"))
        yield folder / "RAN"


@pytest.fixture(scope="module")
def code(tripwire, tmp_path_factory):
    """Read in this very process, where nothing but the readers stands in the way."""
    return looked_at(tmp_path_factory.mktemp("code"), hostile.CODE, boxed=False)


@pytest.mark.parametrize("name", hostile.CODE)
def test_code_in_a_drop_is_passed_over_or_refused(code, name):
    drop = code[1][name_of(name)]
    assert agrees(drop, hostile.CODE[name][1]), drop.reason


def test_no_code_ran_and_no_entity_was_followed(code, tripwire):
    store, drops = code
    assert not tripwire.exists()
    assert leaks(store, *[drop.reason for drop in drops.values()]) == []


def test_the_tripwire_would_be_seen(tripwire):
    import pickle

    pickle.loads(pickle.dumps(hostile.Payload()))  # noqa: S301 - the payload is ours
    assert tripwire.is_dir()
    tripwire.rmdir()


@pytest.mark.trust
def test_every_claim_and_bomb_is_refused_or_cut_to_what_is_there(tmp_path, tell):
    _, drops = looked_at(tmp_path, hostile.SIZE)
    wrong = {name: drops[name_of(name)].reason for name, (_, why) in hostile.SIZE.items()
             if not agrees(drops[name_of(name)], why)}  # fmt: skip
    assert wrong == {}
    assert all(drop.attempts <= 1 for drop in drops.values()), "refused by its reader, not by the box"
    tell(f"size: {len(drops)} drops, {sum(d.state == DONE for d in drops.values())} read, the others refused by name")


def test_claims_and_bombs_of_the_common_kinds(tmp_path):
    cases = {name: hostile.SIZE[name] for name in SAMPLE_OF_SIZE}
    _, drops = looked_at(tmp_path, cases)
    wrong = {name: drops[name_of(name)].reason for name, (_, why) in cases.items()
             if not agrees(drops[name_of(name)], why)}  # fmt: skip
    assert wrong == {}


@pytest.fixture(scope="module")
def sense(tmp_path_factory):
    return looked_at(tmp_path_factory.mktemp("sense"), hostile.SENSE)


@pytest.mark.parametrize("name", hostile.SENSE)
def test_nonsense_is_refused_by_name_or_read(sense, name):
    drop = sense[1][name_of(name)]
    assert agrees(drop, hostile.SENSE[name][1]), drop.reason


@pytest.mark.parametrize(
    ("name", "why"),
    [("nan", "no finite value"), ("inf", "constant"), ("constant", "constant"), ("saturated", "saturated")],
)
def test_samples_that_make_no_sense_are_flagged(sense, name, why):
    store, drops = sense
    quality = manifest.read(store.latest(drops[name_of(name)].sessions[0]))["quality"]["a"]
    assert quality["bad_channels"] == ["a-1"]
    assert any(reason.startswith(why) for reason in quality["reasons"]["a-1"])


def test_a_date_before_all_recording_is_no_date_and_noted(sense):
    store, drops = sense
    said = manifest.read(store.latest(drops["date-of-year-1"].sessions[0]))
    assert said["start"] is None
    assert "no recording is that old" in str(said)


@pytest.mark.parametrize("name", [name for name in hostile.SENSE if name.endswith("after the end")])
def test_what_comes_long_after_the_last_sample_is_kept_and_noted(sense, name):
    store, drops = sense
    (session_id,) = drops[name_of(name)].sessions
    with Session.open(store.latest(session_id)) as session:
        (said,) = [finding.words for finding in findings(session) if "after the last sample" in finding.words]
        assert re.fullmatch(r"1 of [12] lie after the last sample, up to 89\d.* s: kept.*", said)
        stop_s = max(stream.stop_s for stream in session.streams if isinstance(stream, Signal))
        last_s = max(stream.times_s[-1] for stream in session.streams if isinstance(stream, Events))
        assert last_s - stop_s > 800


@pytest.mark.parametrize("name", ["events latin-1", "events utf-16", "events bom"])
def test_letters_are_the_same_in_every_encoding(sense, name):
    store, drops = sense
    with Session.open(store.latest(drops[name_of(name)].sessions[0])) as session:
        (events,) = [stream for stream in session.streams if stream.modality == "events"]
        assert set(events.labels) == {"grün", "rot"}


def test_channels_of_one_name_are_told_apart(sense):
    store, drops = sense
    with Session.open(store.latest(drops["brainvision-names-twice"].sessions[0])) as session:
        (signal,) = [stream for stream in session.streams if isinstance(stream, Signal)]
        assert signal.channel_names == ("Cz-0", "Cz-1")
