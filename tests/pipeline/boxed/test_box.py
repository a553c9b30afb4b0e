"""What runs in a box reaches nothing outside it, and takes nothing down with it."""

import importlib
import os
import socket
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from neuroloom.pipeline.boxed import _landlock, _seccomp
from neuroloom.pipeline.boxed.box import Box, BoxError, RefusedError, box_of
from neuroloom.pipeline.settings import BoxSettings
from neuroloom.pipeline.store import Store

HERE = Path(__file__).parent
QUICK = BoxSettings(wall_s=60.0, memory_mb=512, sorting_mb=512)
confined = pytest.mark.skipif(not _landlock.version(), reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))
        with Box(tmp_path_factory.mktemp("scratch"), QUICK) as box:
            yield box


@pytest.fixture(scope="module")
def calls():
    """The functions of `boxed_calls.py`, importable by the same name here and in the box."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("boxed_calls")


@pytest.fixture
def drop(tmp_path):
    (tmp_path / "inside.dat").write_bytes(bytes(10))
    (tmp_path / "beside.dat").write_bytes(bytes(20))
    return tmp_path


def test_a_call_gives_its_result_and_says_how_far_it_is(box, calls, drop):
    said = []
    path = drop / "inside.dat"
    assert box.call(calls.count, {"path": str(path)}, readable=[path], progress=said.append) == {"n_bytes": 10}
    assert said == ["reading inside.dat"]


@confined
def test_a_file_that_was_not_named_cannot_be_read(box, calls, drop):
    with pytest.raises(RefusedError, match=r"no part of what was dropped|Permission denied"):
        box.call(calls.count, {"path": str(drop / "beside.dat")}, readable=[drop / "inside.dat"], listable=[drop])


@confined
def test_the_environment_of_another_process_cannot_be_read(box, calls):
    with pytest.raises(RefusedError, match=r"no part of what was dropped|Permission denied"):
        box.call(calls.count, {"path": f"/proc/{os.getpid()}/environ"})


@confined
def test_a_link_in_the_scratch_folder_leads_nowhere(box, calls, drop):
    link = box.scratch / "link"
    link.symlink_to(drop / "beside.dat")
    with pytest.raises(RefusedError, match=r"no part of what was dropped|Permission denied"):
        box.call(calls.count, {"path": str(link)})


@confined
def test_what_may_be_read_cannot_be_written(box, calls, drop):
    with pytest.raises(RefusedError, match=r"no part of what was dropped|Permission denied"):
        box.call(calls.write, {"path": str(drop / "inside.dat")}, readable=[drop])
    assert (drop / "inside.dat").read_bytes() == bytes(10)


def test_the_scratch_folder_can_be_written(box, calls):
    box.call(calls.write, {"path": str(box.scratch / "made.txt")})
    assert (box.scratch / "made.txt").read_text() == "written"


@pytest.mark.skipif(not _seccomp.can_refuse(), reason="the calls of this processor are not known")
def test_there_are_no_sockets_to_call_anybody(box, calls, tmp_path):
    """Services that listen at a port, for datagrams, or behind a path, of which Landlock confines the first only."""
    with (
        socket.create_server(("127.0.0.1", 0)) as at_port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as for_datagrams,
        socket.socket(socket.AF_UNIX) as behind_path,
    ):
        for_datagrams.bind(("127.0.0.1", 0))
        behind_path.bind(str(tmp_path / "service"))
        behind_path.listen()
        for call, where in (
            (calls.connect, {"port": at_port.getsockname()[1]}),
            (calls.send_a_datagram, {"port": for_datagrams.getsockname()[1]}),
            (calls.connect_to_path, {"path": str(tmp_path / "service")}),
            (calls.set_up_io_uring, {}),
        ):
            with pytest.raises(RefusedError, match="Operation not permitted"):
                box.call(call, where)
    assert box.call(calls.talk_to_oneself, {}) == "in"


@confined
@pytest.mark.skipif(_landlock.version() < 6, reason="this kernel's Landlock does not know signals")
def test_nobody_outside_can_be_killed(box, calls):
    with pytest.raises(RefusedError, match="not permitted"):
        box.call(calls.kill_parent, {})


def test_a_crash_ends_the_call_and_not_the_box(box, calls):
    with pytest.raises(BoxError, match=r"crashed \(SIGSEGV\)"):
        box.call(calls.crash, {})
    assert box.call(calls.leave_a_child, {"path": "/nowhere"}) == "forked"


def test_too_much_memory_ends_the_call(box, calls):
    with pytest.raises(BoxError, match="wanted more than 512 MiB of memory"):
        box.call(calls.fill_memory, {})


def test_too_much_time_on_processors_ends_the_call(box, calls, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 0.01)  # a second of processor in a minute
    with pytest.raises(BoxError, match="SIGXCPU"):
        box.call(calls.spin, {}, seconds=60.0)


def test_too_many_open_files_end_the_call(box, calls, drop):
    with pytest.raises((BoxError, RefusedError), match="Too many open files"):
        box.call(calls.open_many, {"path": str(drop / "inside.dat")}, readable=[drop])


@confined
def test_what_a_trusted_reader_needs_besides_is_readable_where_the_settings_name_it(calls, drop, tmp_path_factory):
    vendor = tmp_path_factory.mktemp("vendor")
    (vendor / "library").write_bytes(bytes(5))
    store = Store(tmp_path_factory.mktemp("place") / "store").create()
    for trusted in (False, True):
        settings = QUICK.model_copy(update={"readable": (str(vendor),) if trusted else ()})
        with box_of(store, settings) as inside, nullcontext() if trusted else pytest.raises(RefusedError):
            assert inside.call(calls.count, {"path": str(vendor / "library")}, readable=[drop]) == {"n_bytes": 5}


def test_a_refusal_keeps_its_words(box, calls):
    with pytest.raises(RefusedError, match=r"odd\.edf: 3 channels found, 4 wanted"):
        box.call(calls.refuse, {})


def test_an_error_nobody_expected_is_told(box, calls):
    with pytest.raises(BoxError, match="RuntimeError: an assertion of the reader"):
        box.call(calls.stop, {})


def test_leaving_without_a_word_is_told(box, calls):
    with pytest.raises(BoxError, match="it said nothing"):
        box.call(calls.leave, {})


def test_what_a_call_leaves_running_is_ended(box, calls):
    path = box.scratch / "late.txt"
    box.call(calls.leave_a_child, {"path": str(path)})
    time.sleep(1.5)
    assert not path.exists()


def test_talk_that_is_no_reply_ends_the_call_and_the_next_works(box, calls, drop):
    with pytest.raises(BoxError, match="not what a box says"):
        box.call(calls.chatter, {})
    path = drop / "inside.dat"
    assert box.call(calls.count, {"path": str(path)}, readable=[path]) == {"n_bytes": 10}


def test_a_call_can_neither_pass_for_another_process_nor_say_that_it_is_over(box, calls, drop, monkeypatch):
    monkeypatch.setattr(box, "settings", BoxSettings(wall_s=1.0, wall_s_per_gb=0.0))
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as another:
        with pytest.raises(BoxError, match="not done after"):
            box.call(calls.feign, {"pid": another.pid})
        assert another.poll() is None
        another.kill()
    path = drop / "inside.dat"
    assert box.call(calls.count, {"path": str(path)}, readable=[path]) == {"n_bytes": 10}


def test_what_talks_on_after_a_call_is_not_heard_by_the_next(box, calls, drop):
    path = drop / "inside.dat"
    assert box.call(calls.leave_a_talker, {}) in ("on time", "late")
    assert box.call(calls.count, {"path": str(path)}, readable=[path]) == {"n_bytes": 10}


def test_a_line_without_an_end_ends_the_call(box, calls):
    with pytest.raises(BoxError, match="SIGKILL"):
        box.call(calls.say_no_end, {})
    assert box.call(calls.leave_a_child, {"path": "/nowhere"}) == "forked"


def test_a_call_that_hangs_is_stopped(box, calls, monkeypatch):
    monkeypatch.setattr(box, "settings", BoxSettings(wall_s=0.5, wall_s_per_gb=0.0))
    for call in (calls.hang, calls.say_on):
        with pytest.raises(BoxError, match="not done after"):
            box.call(call, {})
