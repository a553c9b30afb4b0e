"""A disk that fills up while a recording is ingested: nothing is half published, and with space it goes on."""

import os
import re
import shutil
import subprocess

import pytest

from neuroloom.pipeline.catalog.tables import DONE
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.store import Store

from .promises import broken_after_restart, broken_at_once
from .scenes import SCENES, ingest, laid_out, originals_of, story

SCENE = SCENES["one"]
SOME = (0.6, 0.9, 3.0)  # of what is kept in the end: too small, too small while it is written, enough
ALL_KB = range(112, 432, 4)


def mounted(folder, size_kb, *options):
    command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size_kb}k", *options]), "none", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def disk(tmp_path):
    """Gives a folder a small disk of its own; it goes when the test ends."""
    folders = []

    def made(size_kb):
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        if os.geteuid() or not mounted(folder, size_kb):
            pytest.skip("only root can mount a small disk, and not in every container")
        folders.append(folder)
        return folder

    yield made
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with a drop, and the store it comes to on a disk with room."""
    root = tmp_path_factory.mktemp("full")
    store = laid_out(SCENE, root / "template")
    whole = Store(shutil.copytree(store.root, root / "whole"))
    assert ingest(whole)["kept"].startswith(DONE)
    return store, whole


def kept_kb(store):
    return sum(path.stat().st_blocks for path in store.root.rglob("*")) // 2


def fill_up(disk, template, size_kb):
    """Ingest on a disk of that size, give it more, ingest again; whether it was too small, and what did not hold."""
    store, whole = template
    small = Store(shutil.copytree(store.root, disk(size_kb) / "store"))
    originals = originals_of(small)
    try:
        was_done = ingest(small)["kept"].startswith(DONE)
    except Exception:  # noqa: BLE001 - as a watcher that ends, which is started again
        was_done = False
    found = broken_at_once(small, SCENE, originals)
    assert mounted(small.root.parent, 65536, "remount")
    for refused in custody.refused(small):  # full at every attempt: it says so, and a person asks for another
        if not re.search(r"Errno 28|errno = 28|No space left|OSError\(28|disk (is full|I/O error)", refused.reason):
            found.append(f"quarantined without saying that the disk is full: {refused.reason}")
        custody.release(small, refused.id)
    return not was_done, found + broken_after_restart(small, SCENE, originals, story(whole))


def run_through(disk, template, sizes_kb):
    """Of each disk whether it was too small; and what did not hold."""
    outcomes = [fill_up(disk, template, size_kb) for size_kb in sizes_kb]
    return [full for full, _ in outcomes], [what for _, found in outcomes for what in found]


def test_a_full_disk_breaks_no_promise_and_one_with_room_suffices(disk, template, tell):
    sizes_kb = [int(share * kept_kb(template[1])) for share in SOME]
    were_full, found = run_through(disk, template, sizes_kb)
    tell(f"full disk: of {sizes_kb} kB {sum(were_full)} too small, {len(found)} violations")
    assert found == []
    assert were_full == [True, True, False]


@pytest.mark.trust
def test_disks_of_every_size_break_no_promise(disk, template, tell):
    were_full, found = run_through(disk, template, ALL_KB)
    tell(f"full disk, all: {sum(were_full)} of {len(ALL_KB)} disks too small, {len(found)} violations")
    assert found == []
    assert sum(were_full) > len(ALL_KB) // 3
    assert not were_full[-1]
