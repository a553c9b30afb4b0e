"""The manifest beside each session: digests, lineage, consent and reviewers' verdicts, so that a lost catalog can be
rebuilt from manifests alone. Digests are never computed anew for that: it would bless damage.

    manifest.json
      manifest     1, the version of this layout
      session, subject, clock, start, sources, clock_maps, quality              as in the Session
      streams      as in `Session.summary`
      files        by file name: digest, n_bytes, datasets {path: digest}
      versions     of neuroloom, Python and the libraries that read and wrote
      lineage      {"follows": `digest_of` the version before, or null, "why": ...}
      consent      null until known
      verdicts     of reviewers, in order of time
      digest       of everything above, in the spelling of `durable.json_bytes`
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Any

from neuroloom.ingest import durable
from neuroloom.ingest.digest import digest_of_bytes, digest_of_dataset, digest_of_file

FILE_NAME = "manifest.json"
MANIFEST_VERSION = 1
LIBRARIES = ("neuroloom", "numpy", "h5py", "hdf5plugin", "pynwb", "mne", "neo", "spikeinterface", "pyxdf", "blake3")
PLUGINS = ("neuroloom.formats", "neuroloom.sorters", "neuroloom.quality")  # entry points that have a part in sessions
AMENDABLE = ("lineage", "consent", "verdicts")


class ManifestError(ValueError):
    """A manifest is missing or damaged; the message names it, what was found and what was wanted."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One thing that is not as it was published. dataset: empty where the file as a whole is meant."""

    file: str
    dataset: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}{f' {self.dataset}' if self.dataset else ''}: {self.problem}"


def write(folder: Path, fields: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the manifest of a new session; returns it.

    fields: what the session says of itself. files: per file name its digest, n_bytes and the digests of its datasets.
    """
    document = {
        "manifest": MANIFEST_VERSION,
        **fields,
        "files": {name: dict(entry) for name, entry in files.items()},
        "versions": library_versions(),
        "lineage": {"follows": None, "why": ""},
        "consent": None,
        "verdicts": [],
    }
    return _sealed_and_written(folder, document)


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a session folder.

    Raises ManifestError where it is missing, or not to the byte what was written.
    """
    path = folder / FILE_NAME
    try:
        found = path.read_bytes()
        document = json.loads(found)
        sealed = _sealed(document) if isinstance(document, dict) else {}
        whole = durable.json_bytes(sealed) == found
    except FileNotFoundError:
        raise ManifestError(f"{path}: is missing; every session has one") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError(f"{path}: is not readable ({error}); the manifest as published is wanted") from error
    if not whole:
        raise ManifestError(f"{path}: its digest does not fit its content; the manifest as published is wanted")
    version = sealed.get("manifest")
    if version != MANIFEST_VERSION:
        raise ManifestError(
            f"{path}: layout {version!r}; {MANIFEST_VERSION} is wanted, a newer one needs a newer neuroloom"
        )
    return sealed


def amend(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write lineage, consent or verdicts into a manifest, at once or not at all; returns it.

    Raises ValueError for any other field: the rest never changes.
    """
    refused = sorted(changes.keys() - set(AMENDABLE))
    if refused:
        raise ValueError(f"{folder / FILE_NAME}: {refused[0]!r} never changes; only {', '.join(AMENDABLE)} can")
    return _sealed_and_written(folder, {**read(folder), **changes})


def digest_of(folder: Path) -> str:
    """The digest a session is known by: of its files' digests, so that consent and verdicts do not change it.

    Raises ManifestError as `read` does.
    """
    files = read(folder)["files"]
    return digest_of_bytes(durable.json_bytes({name: entry["digest"] for name, entry in files.items()}))


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python, neuroloom, the libraries that read and write, and the packages whose readers, sorters and
    checks are in use; those not installed are left out.
    """
    versions = {"python": platform.python_version()}
    for group in PLUGINS:
        versions |= {point.dist.name: point.dist.version for point in entry_points(group=group) if point.dist}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def verify(folder: Path) -> list[Damage]:
    """Everything in a published session that is not as it was published; an empty list where it is sound.

    Every byte of every file is read. Where a file's digest does not hold, its datasets are digested one by one, so
    that the damage has a name; damage to none of them lies in the structure of the file.
    """
    try:
        document = read(folder)
    except ManifestError as error:
        return [Damage(file=FILE_NAME, dataset="", problem=str(error))]
    found: list[Damage] = []
    for name, entry in document["files"].items():
        found += _damage_of(folder / name, entry)
    known = {FILE_NAME, *document["files"]}
    for path in sorted(folder.iterdir()):
        if path.name not in known:
            found.append(Damage(file=path.name, dataset="", problem="is not in the manifest"))
    return found


def _damage_of(path: Path, entry: Mapping[str, Any]) -> list[Damage]:
    try:
        if digest_of_file(path, every_core=True) == entry["digest"]:
            return []
    except OSError as error:
        return [Damage(file=path.name, dataset="", problem=f"cannot be read: {error}")]
    damaged = [
        Damage(file=path.name, dataset=dataset, problem=problem)
        for dataset, digest in sorted(entry["datasets"].items())
        if (problem := _dataset_problem(path, dataset, digest))
    ]
    if damaged:
        return damaged
    return [Damage(file=path.name, dataset="", problem="every dataset is whole, the structure of the file is not")]


def _dataset_problem(path: Path, dataset: str, digest: str) -> str:
    import h5py
    import hdf5plugin  # noqa: F401  (importing it registers the filters of wideband companions)

    try:
        with h5py.File(path, "r") as file:
            if digest_of_dataset(file[dataset]) != digest:
                return "its content has changed"
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:
        return f"cannot be read: {error}"
    return ""


def _sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    content = {key: value for key, value in document.items() if key != "digest"}
    return {**content, "digest": digest_of_bytes(durable.json_bytes(content))}


def _sealed_and_written(folder: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    sealed = _sealed(document)
    durable.write_json(folder / FILE_NAME, sealed)
    return sealed
