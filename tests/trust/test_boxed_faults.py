"""The child that reads a drop in the box is killed, or its calls fail: it is tried again, and the service goes on.

Once, and the next attempt succeeds; each time, and it is quarantined with the reason that is true. Nobody starts anew.
NEUROLOOM_EVERY says that `make check-trust` tries each so-many-th call only, 1 where it says nothing.
"""

import importlib
import os
import re
import shutil
import signal
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from neuroloom.pipeline.boxed.box import Box
from neuroloom.pipeline.catalog.tables import QUARANTINED
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store

from .faults import CHANGING, READING, can_trace, changing_calls, tracer_of
from .harness import BOX, Inbox
from .promises import broken_after_restart, broken_at_once
from .scenes import SCENES, Scene, laid_out, originals_of, story
from .test_kills import EVERY, KILL, run_through

HERE = Path(__file__).parent
FAULTS = [KILL, "error=EIO", "error=ENOSPC"]
READ_IN_BOX = [name for name, scene in SCENES.items() if scene.work in ("ingest", "release")]
TRUE = {
    KILL: r"crashed \(SIGKILL\)",
    "error=EIO": r"Errno 5|errno = 5|Input/output error|crashed \(SIG(BUS|SEGV)\)",
    "error=ENOSPC": r"Errno 28|errno = 28|No space left|crashed \(SIG(BUS|SEGV)\)",
}
pytestmark = pytest.mark.skipif(bool(can_trace()), reason=can_trace() or "-")


@dataclass
class Traced:
    """A box each of whose children is held until it is traced.

    at: of which call a child is disturbed, by its number, None for each. inject: as strace has it. logs: of each call
    what it called of `calls`, where nothing is injected.
    """

    box: Box
    halted: object
    at: int | None = None
    inject: str = ""
    kills_box: bool = False
    calls: tuple[str, ...] = CHANGING
    n_calls: int = 0
    logs: list[str] = field(default_factory=list)

    def begin(self, *, at=None, inject="", kills_box=False, calls=CHANGING):
        self.at, self.inject, self.kills_box, self.calls = at, inject, kills_box, calls
        self.n_calls, self.logs = 0, []

    def workplace(self, store):
        return self.box.workplace(store)

    def call(self, function, arguments, *, progress=None, **may):
        number, self.n_calls = self.n_calls, self.n_calls + 1
        tracer = None
        with tempfile.NamedTemporaryFile("r") as log:

            def said(text):
                nonlocal tracer
                if (pid := re.fullmatch(r"halted (\d+)", text)) is None:
                    return (progress or (lambda _: None))(text)
                if self.kills_box and self.at == number:
                    return os.kill(self.box._process.pid, signal.SIGKILL)
                if self.at in (None, number):
                    where = {"inject": self.inject} if self.inject else {"log": log.name, "calls": self.calls}
                    tracer = tracer_of(int(pid[1]), **where)
                return os.kill(int(pid[1]), signal.SIGUSR1)

            asked = {"function": f"{function.__module__}:{function.__qualname__}", "arguments": dict(arguments)}
            try:
                return self.box.call(self.halted, asked, progress=said, **may)
            finally:
                if tracer is not None:
                    tracer.communicate(timeout=30)
                self.logs.append(log.read())


@dataclass
class Disturbed:
    """A scene whose drops are read in a box.

    points: (call of the box, system call, its number) of calls that change files; reads: of those that read.
    """

    scene: Scene
    root: Path
    inside: Traced

    def __post_init__(self):
        self.store = laid_out(self.scene, self.root / "template")
        self.originals = originals_of(self.store)
        self.points, self.undisturbed = self._watched(CHANGING)

    @property
    def reads(self):
        return self._watched(READING)[0]

    def _watched(self, calls):
        """The points of an undisturbed ingest, and its story."""
        whole = self._copied()
        self.inside.begin(calls=calls)
        try:
            self._looked(whole)
            made = [changing_calls(log, reads=calls is READING) for log in self.inside.logs]
            return [(at, c.name, c.number) for at, called in enumerate(made) for c in called], story(whole)
        finally:
            shutil.rmtree(whole.root)

    def hit(self, at, call, number, fault):
        """Whether an attempt was cut short, and what did not hold, of a child disturbed once."""
        store = self._copied()
        self.inside.begin(at=at, inject=f"{call}:{fault}:when={number}")
        try:
            drops = self._looked(store)
            found = broken_at_once(store, self.scene, self.originals)
            found += [f"{d.name} was tried {d.attempts} times" for d in drops.values() if d.attempts > 2]
            found += [f"{key} is {said!r:.300}" for key, said in story(store).items() if said != self.undisturbed[key]]
            if found:
                found += [f"{drop.name} is {drop.state} {drop.reason}" for drop in drops.values()]
            found += broken_after_restart(store, self.scene, self.originals, self.undisturbed)
            noticed = any(drop.attempts > 1 for drop in drops.values())
            return noticed, [f"{fault} at {call} {number} of call {at}: {what}" for what in found]
        finally:
            shutil.rmtree(store.root)

    def hit_always(self, call, number, fault):
        """The same of a child disturbed at every attempt: refused with a reason that is true, and released."""
        store = self._copied()
        self.inside.begin(inject=f"{call}:{fault}:when={number}")
        try:
            drops = self._looked(store)
            found = broken_at_once(store, self.scene, self.originals)
            refused = [d for d in drops.values() if d.state == QUARANTINED and not d.name.startswith("broken")]
            found += [f"not a true reason: {d.reason}" for d in refused if not re.search(TRUE[fault], d.reason)]
            for entry in custody.refused(store):
                if not entry.id.startswith("broken"):
                    custody.release(store, entry.id)
            found += broken_after_restart(store, self.scene, self.originals, self.undisturbed)
            return bool(refused), [f"always {fault} at {call} {number}: {what}" for what in found]
        finally:
            shutil.rmtree(store.root)

    def box_killed(self, at):
        """What did not hold where the process that forks the children is killed, while one of them works."""
        store = self._copied()
        self.inside.begin(at=at, kills_box=True)
        try:
            drops = self._looked(store)
            found = broken_at_once(store, self.scene, self.originals)
            found += [f"{d.name} was tried {d.attempts} times" for d in drops.values() if d.attempts != 2]
            return found + broken_after_restart(store, self.scene, self.originals, self.undisturbed)
        finally:
            shutil.rmtree(store.root)

    def _looked(self, store):
        if self.scene.work == "release":
            for entry in custody.refused(store):
                custody.release(store, entry.id)
        inbox = Inbox(store, self.inside)
        try:
            return inbox.look()
        finally:
            inbox.catalog.close()

    def _copied(self):
        return Store(shutil.copytree(self.store.root, self.inside.box.scratch.parent / "store"))


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """A scene by its name; all of them in one place, of which the one box knows."""
    place = tmp_path_factory.mktemp("boxed")
    (place / "scratch").mkdir()
    store = Store(place / "store")
    readable = [store.sessions, store.settings_file, store.subjects_file, store.secret_file]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep))
        patch.syspath_prepend(HERE)
        halted = importlib.import_module("boxed_halts").halted
        with Box(place / "scratch", BOX, readable=readable) as box:
            inside = Traced(box, halted)
            yield cache(lambda name: Disturbed(SCENES[name], tmp_path_factory.mktemp("template"), inside))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_child_disturbed_at_some_call_is_tried_again(disturbed, tell, fault):
    one = disturbed("one")
    point = one.points[(1 + FAULTS.index(fault)) * len(one.points) // 4]
    outcomes = [one.hit(*point, fault)]
    noticed, found = run_through(outcomes, tell, f"{fault} in the box, of {len(one.points)} calls")
    assert found == []
    assert noticed


@pytest.mark.parametrize("fault", [KILL, "error=ENOSPC"])
def test_a_child_disturbed_at_each_attempt_is_a_refusal_with_the_true_reason(disturbed, tell, fault):
    one = disturbed("one")
    point = [point for point in one.points if point[0] == 1][40 * (1 + FAULTS.index(fault))]
    noticed, found = run_through([one.hit_always(*point[1:], fault)], tell, f"{fault} in the box at each attempt")
    assert found == []
    assert noticed


def test_where_the_box_is_killed_while_a_child_works_the_next_attempt_has_another_box(disturbed):
    assert disturbed("one").box_killed(1) == []


@pytest.mark.trust
@pytest.mark.parametrize("name", READ_IN_BOX)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_child_disturbed_at_any_call_that_changes_a_file_is_tried_again(disturbed, tell, fault, name):
    scene = disturbed(name)
    points = scene.points[::EVERY]
    noticed, found = run_through((scene.hit(*point, fault) for point in points), tell, f"{fault} in the box, {name}")
    assert found == []
    assert fault != KILL or noticed >= 0.98 * len(points)


@pytest.mark.trust
@pytest.mark.parametrize("name", READ_IN_BOX)
def test_a_child_whose_disk_fails_at_any_call_that_reads_is_tried_again(disturbed, tell, name):
    scene = disturbed(name)
    outcomes = (scene.hit(*point, "error=EIO") for point in scene.reads[::EVERY])
    assert run_through(outcomes, tell, f"EIO at reads in the box, {name}")[1] == []


@pytest.mark.trust
@pytest.mark.parametrize("name", READ_IN_BOX)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_child_disturbed_at_any_call_of_each_attempt_is_a_refusal_with_the_true_reason(disturbed, tell, fault, name):
    scene = disturbed(name)
    points = list(dict.fromkeys(point[1:] for point in scene.points))[::EVERY]
    outcomes = (scene.hit_always(*point, fault) for point in points)
    assert run_through(outcomes, tell, f"{fault} in the box at each attempt, {name}")[1] == []
