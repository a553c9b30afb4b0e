"""A store whose inbox is looked at until nothing moves any more, and what is looked for afterwards.

with inbox_of(root) as inbox: inbox.put("name", make); found = inbox.look()       states and reasons by name
leaks(store, text)          where the bytes of a file that nobody dropped turned up
CANARY                      what lies outside of every drop; whole in every order and width of numbers
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (importing it registers the filters of companions)
import numpy as np

from neuroloom.pipeline.boxed.box import Inside, Unboxed, box_of
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import OPEN, Drop
from neuroloom.pipeline.drops.claimed import fail, ingest_claimed
from neuroloom.pipeline.drops.reconciling import Reconciler
from neuroloom.pipeline.settings import BoxSettings, InboxSettings, IngestSettings, Settings
from neuroloom.pipeline.store import Store

CANARY = b"CA" * 4096
SIGHTED = b"CA" * 8
LOOKS = 8
BOX = BoxSettings(memory_mb=512, sorting_mb=512, wall_s=60)
SETTINGS = Settings(
    inbox=InboxSettings(settle_s=0, orphan_s=0, retry_s=0, max_attempts=2),
    ingest=IngestSettings(sorter="none", in_flight=10_000, min_free_bytes=0),
    box=BOX,
)
# Where runs are killed all the time: a short lease, and as many attempts as it takes.
SOAK = SETTINGS.model_copy(
    update={
        "inbox": SETTINGS.inbox.model_copy(update={"max_attempts": 10_000}),
        "ingest": SETTINGS.ingest.model_copy(update={"lease_s": 2.0}),
    }
)


@dataclass
class Inbox:
    """One store; `inside`: where its drops are read."""

    store: Store
    inside: Inside = field(default_factory=Unboxed)
    settings: Settings = SETTINGS
    owner: str = "run"

    def __post_init__(self) -> None:
        self.catalog = Catalog.of(self.store)
        self.reconciler = Reconciler(store=self.store, catalog=self.catalog, settings=self.settings, submit=self._work)

    def put(self, name: str, make: Callable[[Path], object]) -> Path:
        """A folder in the inbox that `make` fills; its session is named after it, so that none joins another."""
        folder = self.store.inbox / name
        folder.mkdir(parents=True)
        make(folder)
        if not (folder / "session.toml").exists():
            (folder / "session.toml").write_text(f'subject = "{name}"\n')
        return folder

    def look(self) -> dict[str, Drop]:
        """Every drop there has been, after looking until none is open."""
        for _ in range(LOOKS):
            self.reconciler.step()
            if not self.catalog.drops.every(*OPEN):
                break
        return {drop.name: drop for drop in self.catalog.drops.every()}

    def _work(self, drops: Sequence[Drop]) -> None:
        """As a run does it: what a reader raises ends the attempt and nothing else."""
        for drop in drops:
            claimed = self.catalog.drops.claim(drop.id, owner=self.owner, lease_s=self.settings.ingest.lease_s)
            if claimed is None:
                continue
            try:
                ingest_claimed(self.store, self.catalog, self.settings, claimed, inside=self.inside)
            except Exception as error:  # noqa: BLE001 - Prefect's tasks stop here, too
                why = f"the reader stopped ({error!r:.400})"
                fail(self.store, self.catalog, self.settings, claimed, why, error=error)


@contextmanager
def inbox_of(root: Path, *, boxed: bool = True, settings: Settings = SETTINGS) -> Iterator[Inbox]:
    """A new store below `root`."""
    store = Store(root / "store").create()
    store.settings_file.write_text('[ingest]\nsorter = "none"\n')
    with box_of(store, settings.box if boxed else BoxSettings(on=False)) as inside:
        inbox = Inbox(store, inside, settings)
        yield inbox
        inbox.catalog.close()


def leaks(store: Store, *said: str) -> list[str]:
    """Where the canary turned up: in what was said, or in any file of the store, unpacked where it is HDF5."""
    found = [text[:80] for text in said if SIGHTED.decode() in text]
    for path in sorted(p for p in store.root.rglob("*") if p.is_file() and not p.is_symlink()):
        if SIGHTED in path.read_bytes():
            found.append(str(path))
        elif path.is_relative_to(store.sessions) and path.suffix in (".nwb", ".h5"):  # never a file of others
            found += [f"{path} {name}" for name in _sighted_in(path)]
    return found


def _sighted_in(path: Path) -> list[str]:
    """Datasets and attributes of an HDF5 file of ours that hold the canary."""
    found = []

    def look(name: str, item: h5py.Dataset | h5py.Group) -> None:
        values = [item[()]] if isinstance(item, h5py.Dataset) else []
        for value in (*values, *item.attrs.values()):
            held = io.BytesIO()
            held.write(value.tobytes() if isinstance(value, np.ndarray | np.generic) else repr(value).encode())
            if isinstance(value, np.ndarray) and value.dtype == object:
                held.write(repr(value.tolist()).encode())
            if SIGHTED in held.getvalue():
                found.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(look)
    return found


def lines(text: str) -> int:
    """How many lines a reason has."""
    return len(text.splitlines())
