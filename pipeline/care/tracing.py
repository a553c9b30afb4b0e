"""Which sessions and which trained models a reader, a version, a file or a decision has touched.

affected(store, Touch(reader="edf", version="<0.2"))  ->  sessions, and the runs that were trained on them
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from neuroloom.ingest import manifest
from neuroloom.ingest.formats import formats, package_of
from neuroloom.ingest.ledger import told
from neuroloom.pipeline.runs import preparing
from neuroloom.pipeline.store import Store, StoreError


@dataclass(frozen=True, kw_only=True)
class Touch:
    """What is looked for; everything that is given must be true of a session.

    reader: a format's name. library, version: that library's version when the session was made ("<1.4"); that of the
    package which the reader comes from where no library is named, else neuroloom's. file: a name, or the beginning of a
    digest. decision: text in how a stream came to be, in a clock map's method or in what was mended ("spykingcircus2",
    "acquisition start times").
    """

    reader: str = ""
    library: str = ""
    version: str = ""
    file: str = ""
    decision: str = ""

    def __post_init__(self) -> None:
        if not (self.reader or self.version or self.file or self.decision):
            raise StoreError("nothing to look for; --reader, --version, --file or --decision is wanted")
        try:
            SpecifierSet(self.version, prereleases=True)
        except InvalidSpecifier as error:
            raise StoreError(f"version {self.version!r}; something like '<1.4' or '==1.2.*' is wanted") from error


def affected(store: Store, touch: Touch) -> dict[str, list[dict[str, Any]]]:
    """{"sessions": [{"session", "version", "why"}], "runs": [{"run", "sessions"}]}: every version that was touched.

    Raises StoreError for a reader that there is not, and that no session was read by.
    """
    sessions = [_row(folder, why) for folder, why in _touched(store, touch)]
    if not sessions:
        _check_reader(store, touch.reader)
    touched = {(row["session"], row["version"]) for row in sessions}
    runs = []
    for name in store.run_names():
        used = preparing.session_versions(store, name)
        hit = sorted(f"{session} {version}" for session, version in used.items() if (session, version) in touched)
        runs += [{"run": name, "sessions": hit}] if hit else []
    return {"sessions": sessions, "runs": runs}


def _touched(store: Store, touch: Touch) -> Iterator[tuple[Path, list[str]]]:
    for session_id in store.session_ids():
        for folder in store.versions(session_id):
            reasons = _reasons(folder, manifest.read(folder), touch)
            if all(reasons.values()):
                yield folder, [reason for found in reasons.values() for reason in found]


def _check_reader(store: Store, reader: str) -> None:
    if reader in ("", *formats()) or any(_touched(store, Touch(reader=reader))):
        return
    alike = difflib.get_close_matches(reader.lower(), formats(), n=1)
    meant = f" ({alike[0]}?)" if alike else ""
    raise StoreError(f"--reader {reader}: no such format{meant}; `neuroloom sniff PATH` says which a file has")


def _reasons(folder: Path, said: Mapping[str, Any], touch: Touch) -> dict[str, list[str]]:
    """For each thing that is looked for, what fits it; nothing where it does not fit."""
    reasons: dict[str, list[str]] = {}
    if touch.reader:
        formats = {part for source in said["sources"] for part in str(source["format"]).split(", ")}
        reasons["reader"] = [f"read as {touch.reader}"] if touch.reader in formats else []
    if touch.version:
        reasons["version"] = _version_reasons(said["versions"], touch)
    if touch.file:
        files = {f"{name} {digest}" for source in said["sources"] for name, digest in source["digests"].items()}
        reasons["file"] = sorted(file for file in files if _names(file, touch.file))
    if touch.decision:
        reasons["decision"] = [line for line in _decisions(folder, said) if touch.decision in line]
    return reasons


def _version_reasons(versions: Mapping[str, str], touch: Touch) -> list[str]:
    library = touch.library or package_of(touch.reader)
    found = versions.get(library)
    try:
        fits = found is not None and SpecifierSet(touch.version, prereleases=True).contains(Version(found))
    except InvalidVersion:
        fits = False
    return [f"{library} {found}"] if fits else []


def _names(file: str, wanted: str) -> bool:
    name, _, digest = file.rpartition(" ")
    return wanted in (name, name.rpartition("/")[2]) or digest.startswith((wanted, f"blake3:{wanted}"))


def _decisions(folder: Path, said: Mapping[str, Any]) -> Iterator[str]:
    """A line per decision: how each stream came to be, how each clock was carried over, what was mended."""
    from neuroloom.ingest.session import Session

    with Session.open(folder) as session:
        for stream in session.streams:
            if stream.provenance:
                yield f"{stream.name}: {json.dumps(stream.provenance, default=str)[:2000]}"
    for clock in said["clock_maps"]:
        yield f"{clock['source']}: {clock['method']}"
    for source in said["sources"]:
        yield from (f"{source['clock']}: {told(entry)}" for entry in source.get("repairs", ()))


def _row(folder: Path, why: list[str]) -> dict[str, Any]:
    return {"session": folder.parent.name, "version": folder.name, "why": [line[:200] for line in why]}
