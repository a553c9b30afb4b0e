"""Published versions, and originals, read again to the byte, what waited longest first, for as long as there is time.

    checked_some(store, catalog, budget_s=3600)      what the nightly `verify` does
    health(store, catalog)                           what the front page says of it

What was read when is noted in the catalog after every version, so a check that was stopped goes on where it was. A lost
catalog forgets it, and everything is read anew: that does no harm.

Design rationale: the digest of a file covers every byte of it, so datasets are digested only to give damage a name.
Whether a file is valid NWB cannot change while its bytes and the validator stay the same; it is asked anew only where
one of them did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from neuroloom.pipeline.boxed.sniffing import verified
from neuroloom.pipeline.care.originals import Originals
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.tables import CheckRow
from neuroloom.pipeline.store import Store

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is known of the published versions. checked_at, oldest_at: the last and the oldest check, None for none.

    damaged: as `verify --json` has them, with `advice`.
    """

    n_versions: int
    n_checked: int
    checked_at: float | None
    oldest_at: float | None
    damaged: tuple[dict[str, Any], ...]

    @property
    def sentence(self) -> str:
        """One line for people."""
        if not self.n_versions:
            return "nothing is published yet"
        if not self.n_checked:
            return f"0 of {self.n_versions} published versions were read back yet; `neuroloom verify` does that"
        read = f"{self.n_checked} of {self.n_versions} published versions were read back, every byte"
        return f"{read}: {len(self.damaged)} damaged" if self.damaged else f"{read}: none is damaged"


def checked(store: Store, catalog: Catalog, folders: Iterable[Path], progress: Progress | None = None) -> list[Any]:
    """Read these version folders now and note it; results as `verify --json` has them."""
    before, originals = catalog.checks.every(), Originals(store)
    results = []
    for folder in folders:
        results.append(_checked(catalog, folder, before.get((folder.parent.name, folder.name)), originals))
        if progress is not None:
            progress(results[-1])
    return results


def checked_some(
    store: Store, catalog: Catalog, *, budget_s: float, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Read the versions that waited longest until the time is over; at least one, and none twice.

    budget_s: seconds; a version that was begun is read to its end.
    """
    before, originals = catalog.checks.every(), Originals(store)
    waiting = sorted(_published(store), key=lambda folder: _last_s(before, folder))
    ends_s = time.monotonic() + budget_s
    results: list[dict[str, Any]] = []
    for folder in waiting:
        if results and time.monotonic() >= ends_s:
            break
        results.append(_checked(catalog, folder, before.get((folder.parent.name, folder.name)), originals))
        if progress is not None:
            progress(results[-1])
    return results


def health(store: Store, catalog: Catalog) -> Health:
    """What the checks came to, of the versions that are there now."""
    rows = catalog.checks.every()
    there = {(folder.parent.name, folder.name) for folder in _published(store)}
    known = [row for key, row in rows.items() if key in there]
    times = [row.checked_at for row in known]
    return Health(
        n_versions=len(there),
        n_checked=len(known),
        checked_at=max(times, default=None),
        oldest_at=min(times, default=None),
        damaged=tuple(_damaged(store, row, rows) for row in known if row.damage),
    )


def advice(store: Store, session_id: str, version_name: str, *, newer_is_sound: bool) -> str:
    """What to do about a damaged version."""
    if newer_is_sound:
        return f"{store.latest(session_id).name} is sound; only who needs the older one must restore it from a backup"
    return (
        f"restore {session_id}/{version_name} from a backup, or make it anew from its originals with "
        f"`neuroloom reingest {session_id}`; then look at the disk"
    )


def _damaged(store: Store, row: CheckRow, rows: dict[tuple[str, str], CheckRow]) -> dict[str, Any]:
    newest = store.latest(row.id).name
    sound = newest != row.version and (row.id, newest) in rows and not rows[row.id, newest].damage
    told = {"session": row.id, "version": row.version, "damage": row.damage, "checked_at": row.checked_at}
    if all(str(each["file"]).startswith(f"{store.originals.name}/") for each in row.damage):
        return told | {
            "advice": f"{row.id} is sound; restore {row.damage[0]['file']} from a backup, then look at the disk"
        }
    return told | {"advice": advice(store, row.id, row.version, newer_is_sound=sound)}


def _checked(catalog: Catalog, folder: Path, before: CheckRow | None, originals: Originals) -> dict[str, Any]:
    """One version, and with the newest of a session its originals."""
    validator = f"pynwb {version('pynwb')}"
    known_valid = before is not None and before.validator == validator and not before.damage
    n_bytes = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    began_s = time.monotonic()
    result = verified(folder, validate=not known_valid)
    if folder == originals.store.versions(folder.parent.name)[-1]:
        damage = [*result["damage"], *originals.damage(folder.parent.name)]
        result = result | {"sound": not damage, "damage": damage}
    seconds = time.monotonic() - began_s
    catalog.checks.note(
        folder.parent.name,
        folder.name,
        checked_at=time.time(),
        n_bytes=n_bytes,
        seconds=seconds,
        validator=validator if result["sound"] else "",
        damage=result["damage"],
    )
    return result | {"n_bytes": n_bytes, "seconds": seconds}


def _published(store: Store) -> list[Path]:
    return [folder for session_id in store.session_ids(amended=True) for folder in store.versions(session_id)]


def _last_s(before: dict[tuple[str, str], CheckRow], folder: Path) -> float:
    row = before.get((folder.parent.name, folder.name))
    return row.checked_at if row is not None else 0.0


def damage_rows(results: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """One row per damaged file or dataset, for tables."""
    return [
        {"session": str(r["session"]), "version": str(r["version"]), **each} for r in results for each in r["damage"]
    ]
