"""What is disturbed: a store as it lies there, the work that follows, and what it comes to where nothing disturbs it.

SCENES       by name, in the order in which they are tried; each has all that an inbox can meet at least once
WORK         "ingest", "amend", "withdraw", "release": what is done, and done again by whoever was stopped
story(store) what can be told of a store afterwards, so that two can be compared
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuroloom.ingest import manifest
from neuroloom.ingest.digest import digest_of_file
from neuroloom.pipeline.care import withdrawing
from neuroloom.pipeline.care.amending import amend
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import Drop
from neuroloom.pipeline.dates import make_secret
from neuroloom.pipeline.documents import document_of
from neuroloom.pipeline.drops import custody
from neuroloom.pipeline.noting import note_published
from neuroloom.pipeline.store import AMENDED, Store

from .harness import Inbox
from .hostile_paths import VHDR, brainvision

NOISE = ("/identifier", "/file_create_date")
SETTINGS_TEXT = '[ingest]\nsorter = "none"\n'
RECORDS = ("subjects.json", "withdrawn.json")
WRONG, RIGHT = "sub-kept_ses-01", "sub-right_ses-01"


@dataclass(frozen=True)
class Scene:
    """fill: lays out what is there at first. work: of `WORK`. gone: of whom the work removes everything."""

    fill: Callable[[Inbox], object]
    work: str = "ingest"
    gone: str = ""


# what lies there at first ------------------------------------------------------------------------------------------


def one(inbox: Inbox) -> None:
    inbox.put("kept", brainvision)


def numbered(folder: Path, number: int) -> None:
    """A recording like no other."""
    brainvision(folder)
    np.arange(number, number + 100, dtype="<i2").tofile(folder / "x.eeg")


def two_drops(inbox: Inbox) -> None:
    """Of which one is refused."""
    inbox.put("kept", brainvision)
    inbox.put("broken", lambda folder: (folder / "x.vhdr").write_text("Brain Vision Data Exchange Header File 1.0\n"))


def edf_with_events(inbox: Inbox) -> None:
    from ..ingest.formats.test_edf import edf_file

    inbox.put("kept", lambda folder: edf_file(folder / "x.edf", [0, 1, 5, 6], kind="EDF+D"))


def probe(inbox: Inbox) -> None:
    """A SpikeGLX folder, whose wideband samples become a companion file."""
    from .mutating import spikeglx

    inbox.put("kept", spikeglx)


def marked(folder: Path, name: str, first: int, *, dated: bool = False) -> None:
    """Ten seconds with pulses at uneven distances, as a device sees them that starts `first` samples later."""
    at = np.cumsum(np.random.default_rng(0).integers(150, 500, 25)) - first
    rows = [f"Mk{k + 2}=Stimulus,S  1,{where},1,0" for k, where in enumerate(at[at > 0])]
    rows = ["Mk1=New Segment,,1,1,0,20240506100000000000", *rows] if dated else rows
    head = "Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\n"
    (folder / f"{name}.vmrk").write_text(f"{head}DataFile={name}.eeg\n[Marker Infos]\n" + "\n".join(rows) + "\n")
    (folder / f"{name}.vhdr").write_text(VHDR.format(data=f"{name}.eeg", marker=f"MarkerFile={name}.vmrk\n"))
    (np.arange(10_000 - first) % 100).astype("<i2").tofile(folder / f"{name}.eeg")


def late_device(inbox: Inbox) -> None:
    """A session is there already, and a second device of it comes."""
    inbox.put("kept", lambda folder: marked(folder, "x", 0))
    inbox.look()
    folder = inbox.put("late", lambda folder: marked(folder, "y", 700))
    (folder / "session.toml").write_text('subject = "kept"\n')


def of_nobody(inbox: Inbox) -> None:
    """The same of loose files whose names say nothing: the catalog knows which session ran on that day."""
    marked(inbox.store.inbox, "tuesday", 0, dated=True)
    inbox.look()
    marked(inbox.store.inbox, "late", 700, dated=True)


def two_sessions(inbox: Inbox) -> None:
    """One folder, a tree of BIDS, that two people lie in."""
    for number, subject in enumerate(("sub-01", "sub-02")):
        folder = inbox.store.inbox / "study" / subject / "eeg"
        folder.mkdir(parents=True)
        numbered(folder, number)
        for path in folder.glob("x.*"):
            path.rename(folder / f"{subject}_task-rest_eeg{path.suffix}")
        header = next(folder.glob("*.vhdr"))
        header.write_text(header.read_text().replace("x.eeg", f"{subject}_task-rest_eeg.eeg"))


def twice(inbox: Inbox) -> None:
    """The same content under two names, `session.toml` included."""
    folder = inbox.put("kept", brainvision)
    shutil.copytree(folder, inbox.store.inbox / "again")


def published(inbox: Inbox) -> None:
    inbox.put("kept", brainvision)
    inbox.look()


def two_published(inbox: Inbox) -> None:
    inbox.put("kept", brainvision)
    inbox.put("other", lambda folder: numbered(folder, 7))
    inbox.look()


def refused(inbox: Inbox) -> None:
    """A recording that was refused although it is whole, and that a person puts back."""
    inbox.put("kept", brainvision)
    names = sorted(path.name for path in (inbox.store.inbox / "kept").iterdir())
    inbox.catalog.drops.add("kept", folder=inbox.store.inbox, files=[f"kept/{name}" for name in names])
    (drop,) = inbox.catalog.drops.every()
    inbox.reconciler._refuse(drop, "was too large that day")


SCENES = {
    "one": Scene(one),
    "two drops": Scene(two_drops),
    "edf": Scene(edf_with_events),
    "probe": Scene(probe),
    "late device": Scene(late_device),
    "of nobody": Scene(of_nobody),
    "two sessions": Scene(two_sessions),
    "twice": Scene(twice),
    "amend": Scene(published, "amend"),
    "withdraw": Scene(two_published, "withdraw", gone="kept"),
    "release": Scene(refused, "release"),
}


# what is done ------------------------------------------------------------------------------------------------------


def ingest(store: Store, clock: Callable[[], float] = time.time) -> dict[str, str]:
    inbox = Inbox(store)
    inbox.reconciler.clock = clock
    try:
        return ends_of(inbox.look().values())
    finally:
        inbox.catalog.close()


def amended(store: Store, clock: Callable[[], float] = time.time) -> dict[str, str]:
    if not (store.session_folder(WRONG) / AMENDED).exists():
        amend(store, WRONG, subject="right", why="wrong code")
    catalog = Catalog.of(store)
    note_published(store, catalog)
    catalog.close()
    return {}


def withdrawn(store: Store, clock: Callable[[], float] = time.time) -> dict[str, str]:
    catalog = Catalog.of(store)
    withdrawing.withdraw(store, catalog, "kept", who="a test")
    catalog.close()
    return {}


def released(store: Store, clock: Callable[[], float] = time.time) -> dict[str, str]:
    for entry in custody.refused(store):
        custody.release(store, entry.id)
    return ingest(store, clock)


WORK = {"ingest": ingest, "amend": amended, "withdraw": withdrawn, "release": released}


def ends_of(drops: Iterable[Drop]) -> dict[str, str]:
    """By name how the newest drop stands, and how many attempts that took."""
    return {drop.name: f"{drop.state} {drop.attempts}" for drop in drops}


# what is told of it ------------------------------------------------------------------------------------------------


def laid_out(scene: Scene, root: Path) -> Store:
    """A store as the scene begins."""
    store = Store(root).create()
    store.settings_file.write_text(SETTINGS_TEXT)
    make_secret(store)
    inbox = Inbox(store)
    scene.fill(inbox)
    inbox.catalog.close()
    return store


def originals_of(store: Store) -> Counter[str]:
    """How often each content lies there, in the inbox or where its story ended; records of ours are left out."""
    kept = [path for place in (store.originals, store.quarantine) for path in place.glob("*/files/**/*")]
    lie = [path for path in (*store.inbox.rglob("*"), *kept) if path.is_file()]
    return Counter(digest_of_file(path) for path in lie)


def datasets(folder: Path) -> dict[str, str]:
    """What a published session holds; less what is another at every writing, as are the digests of companions."""
    files = manifest.read(folder)["files"]
    noise = NOISE if len(files) == 1 else (*NOISE, "/scratch")
    return {
        f"{file} {name}": digest
        for file, entry in files.items()
        for name, digest in entry["datasets"].items()
        if not name.startswith(noise)
    }


def story(store: Store) -> Mapping[str, object]:
    """Sessions with their versions, values and lineage; what was refused; what is left in the inbox; who withdrew."""
    told: dict[str, object] = {}
    for name in store.session_ids(amended=True):
        told[name] = (store.session_folder(name) / AMENDED).exists()
        for folder in store.versions(name):
            lineage = manifest.read(folder)["lineage"]
            told[f"{name} {folder.name}"] = (datasets(folder), lineage["why"], lineage["follows"] is not None)
    told["refused"] = sorted((Path(entry.path).name, entry.kept) for entry in custody.refused(store))
    told["inbox"] = sorted(path.name for path in store.inbox.iterdir())
    told |= {name: document_of(store.root / name) for name in RECORDS}
    return told
