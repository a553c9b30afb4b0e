"""Where everything lies on disk: one folder, the store.

STORE/
  inbox/            drop files or folders here
  originals/        accepted originals, one folder per drop, with `drop.json` beside them
  sessions/         sub-01_ses-02_task-reach/v001/{session.nwb, manifest.json}; `.staging` for what is being written
  derived/          features and other caches, safe to delete
  quarantine/       what was refused: one folder per drop, with `reason.json`
  runs/             one folder per training or study run
  review/           static pages
  catalog.sqlite    what is where, in which state
  neuroloom.toml    settings, if any
  subjects.json     who was recorded: names, birth dates, consent; never published
  .secret           by which dates are shifted; never published
"""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

STORE_VARIABLE = "NEUROLOOM_STORE"
CATALOG_VARIABLE = "NEUROLOOM_CATALOG_URL"
CATALOG_WANTED = "postgresql://USER:PASSWORD@HOST/NAME"
DEFAULT_ROOT = Path("store")
AMENDED = "amended.json"  # in the folder of a session that has another name now

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_VERSION = re.compile(r"v(\d{3,})")
SETTLED_NS = 3_000_000_000
_LISTED: dict[Path, dict[str, tuple[int, tuple[str, ...]]]] = {}  # of `Store.published`


class StoreError(ValueError):
    """The store cannot be used as asked: the message names what was found and what was wanted."""


class StoreAwayError(OSError):
    """A folder of the store is away: whoever works on drops waits."""


@dataclass(frozen=True)
class Store:
    """The folders of one store. Nothing is created before `create()`."""

    root: Path

    @classmethod
    def here(cls, root: Path | str | None = None) -> Store:
        """The store at `root`, else at NEUROLOOM_STORE, else at ./store; an absolute path."""
        chosen = root or os.environ.get(STORE_VARIABLE) or DEFAULT_ROOT
        return cls(Path(chosen).expanduser().absolute())

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def originals(self) -> Path:
        return self.root / "originals"

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def staging(self) -> Path:
        return self.sessions / ".staging"

    @property
    def derived(self) -> Path:
        return self.root / "derived"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def review(self) -> Path:
        return self.root / "review"

    @property
    def prefect_home(self) -> Path:
        """Where the embedded Prefect server keeps its database, inside the store and hidden."""
        return self.root / ".prefect"

    @property
    def subjects_file(self) -> Path:
        return self.root / "subjects.json"

    @property
    def secret_file(self) -> Path:
        return self.root / ".secret"

    @property
    def settings_file(self) -> Path:
        return self.root / "neuroloom.toml"

    @property
    def catalog_url(self) -> str:
        """SQLite inside the store, or the database NEUROLOOM_CATALOG_URL names (several machines).

        Raises StoreError where that is neither PostgreSQL nor SQLite.
        """
        url = os.environ.get(CATALOG_VARIABLE)
        if not url:
            return f"sqlite:///{self.root / 'catalog.sqlite'}"
        scheme, _, place = url.partition("://")
        if scheme in ("postgresql", "postgres"):
            return f"postgresql+psycopg://{place}"
        if place and scheme.startswith(("postgresql+", "sqlite")):
            return url
        raise StoreError(f"{CATALOG_VARIABLE}: names no PostgreSQL; {CATALOG_WANTED} is wanted")

    def create(self) -> Store:
        """Make the folders that are missing. Raises StoreError where that cannot be done."""
        folders = (self.inbox, self.originals, self.staging, self.derived, self.quarantine, self.runs, self.review)
        for folder in folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise StoreError(
                    f"{folder}: cannot be made ({reason}); a folder that can be written is wanted"
                ) from error
        return self

    @property
    def ways(self) -> tuple[Path, ...]:
        """The folders that drops go through."""
        return (self.inbox, self.staging, self.originals, self.quarantine)

    def check(self) -> None:
        """Raises StoreAwayError naming a folder that drops go through, and that is gone or cannot be written to."""
        for folder in self.ways:
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                found = "cannot be written to" if folder.is_dir() else "is not there"
                raise StoreAwayError(f"{folder}: {found}; drops wait until it is as it was")

    def existing(self) -> Store:
        """This store, if there is one. Raises StoreError where the folder has no `sessions`."""
        if not self.sessions.is_dir():
            raise StoreError(f"{self.root}: no store is here; `neuroloom ingest` or `neuroloom up` makes one")
        return self

    def session_ids(self, *, amended: bool = False) -> list[str]:
        """Every session that has a published version, sorted. amended: also those that have another name now."""
        if not amended:
            return sorted(self.published())
        if not self.sessions.is_dir():
            return []
        folders = [f for f in self.sessions.iterdir() if _SAFE_NAME.fullmatch(f.name) and f.is_dir()]
        return sorted(folder.name for folder in folders if self.versions(folder.name))

    def published(self) -> dict[str, tuple[str, ...]]:
        """By session its versions, oldest first; less those that have another name now.

        Asked at every ingest: a folder that has not changed since it was listed is not listed again. One that changed
        within the last seconds is, since a change right afterwards could leave the same time.
        """
        if not self.sessions.is_dir():
            return {}
        known, found, kept = _LISTED.get(self.sessions, {}), {}, {}
        settled_ns = time.time_ns() - SETTLED_NS
        with os.scandir(self.sessions) as entries:
            for entry in entries:
                if not _SAFE_NAME.fullmatch(entry.name) or not entry.is_dir():
                    continue
                changed_ns = entry.stat().st_mtime_ns
                was_ns, versions = known.get(entry.name, (-1, ()))
                if was_ns != changed_ns:
                    is_listed = not (self.sessions / entry.name / AMENDED).exists()
                    versions = tuple(folder.name for folder in self.versions(entry.name)) if is_listed else ()
                if changed_ns < settled_ns:
                    kept[entry.name] = (changed_ns, versions)
                if versions:
                    found[entry.name] = versions
        _LISTED[self.sessions] = kept
        return found

    def versions(self, session_id: str) -> list[Path]:
        """The published version folders of a session, oldest first: those that hold a manifest."""
        folder = self.session_folder(session_id)
        if not folder.is_dir():
            return []
        found = [f for f in folder.iterdir() if _VERSION.fullmatch(f.name) and (f / "manifest.json").is_file()]
        return sorted(found, key=lambda f: int(f.name[1:]))

    def session_folder(self, session_id: str) -> Path:
        """The folder of a session. Raises StoreError for a name that could lead out of the store."""
        return self.sessions / _safe(session_id, "session")

    def latest(self, session_id: str) -> Path:
        """The newest version folder. Raises StoreError naming the sessions there are."""
        versions = self.versions(session_id)
        if not versions:
            known = ", ".join(self.session_ids()[:10]) or "none yet"
            raise StoreError(f"{session_id}: no such session in {self.root}; there are: {known}")
        return versions[-1]

    def run_folder(self, name: str) -> Path:
        """The folder of a run. Raises StoreError for a name that could lead out of the store."""
        return self.runs / _safe(name, "run")

    def run_names(self) -> list[str]:
        """Every run folder, sorted."""
        if not self.runs.is_dir():
            return []
        return sorted(f.name for f in self.runs.iterdir() if f.is_dir() and _SAFE_NAME.fullmatch(f.name))

    def free_bytes(self) -> int:
        """Free space where the store lies, bytes."""
        return shutil.disk_usage(self.root).free


def _safe(name: str, kind: str) -> str:
    if not _SAFE_NAME.fullmatch(name) or ".." in name:
        raise StoreError(f"{name!r} cannot name a {kind}; letters, digits, '.', '_' and '-' are wanted")
    return name


def slug(name: str) -> str:
    """A name as a folder name: letters, digits, '.', '_' and '-', at most 80 characters."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:80] or "unnamed"


def printable(text: str) -> str:
    """A text that is safe to show in a terminal: what cannot be printed (escape codes, line breaks) is escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
