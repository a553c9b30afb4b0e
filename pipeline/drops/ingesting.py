"""One drop in, one published session out, or a quarantine with a reason a person can act on.

    drop -> recordings (own clocks) -> aligned session -> trials, spikes, LFP, quality -> staged        `making.py`
         -> sessions/<id>/vNNN                                                                          here

What reads the files may run in a box (`box.py`); what publishes, notes and moves never does. Nothing of a drop is
altered: where it lies in the inbox, the inbox moves it, after this says "ingested".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from neuroloom.ingest import durable, manifest
from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.session import Session
from neuroloom.ingest.words import listed
from neuroloom.pipeline import removed, subjects, verdicts
from neuroloom.pipeline.boxed.box import Inside, Unboxed
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.sessions import digests_in
from neuroloom.pipeline.catalog.tables import SESSIONS
from neuroloom.pipeline.dates import days_in, make_secret
from neuroloom.pipeline.documents import readable_document_of
from neuroloom.pipeline.drops import custody, making, origins
from neuroloom.pipeline.drops.identity import grouped
from neuroloom.pipeline.drops.reading import Drop, named_from
from neuroloom.pipeline.noting import note_new
from neuroloom.pipeline.settings import AS_SET
from neuroloom.pipeline.store import AMENDED, Store

Progress = Callable[[str], None]
TRIES = 3  # where another version of the session is published meanwhile
_REFUSALS = (ValueError, OSError)  # in words a person can act on; what else is raised ends the attempt
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class IngestResult:
    """What became of one path; its fields are those of `neuroloom ingest --json`."""

    path: str
    state: str
    session: str | None = None
    file: str | None = None
    format: str | None = None
    reason: str | None = None
    streams: list[dict[str, Any]] = field(default_factory=list)
    sync: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class How:
    """How drops are ingested.

    sorter: spikes are sorted where a device has a wideband signal and no units: as the settings say, or by name; None
    leaves that out. archive: copy the originals into the store. in_place: the files stay where they are, so where that
    is has to be remembered.
    strict: files with faults are refused instead of mended.
    inside: where files are read. files: those that may be read, None for the drop's folder and all that lies in it.
    """

    sorter: str | None = AS_SET
    archive: bool = False
    in_place: bool = False
    strict: bool = False
    inside: Inside = field(default_factory=Unboxed)
    files: Sequence[Path] | None = None
    progress: Progress = lambda _: None


class _OvertakenError(RuntimeError):
    """The session got another version while this one was made."""


def ingest_drop(paths: Sequence[Path], store: Store, **how: Any) -> list[IngestResult]:
    """One result per path: a folder is a session, loose files whose names state the same session are one together.

    how: see `How`. A BIDS tree of several sessions has a result for each of them. One that is refused never stops the
    others. Raises BoxError where reading ended without a word, OSError where the disk is full or failing.
    """
    results = {path: [_taken_up(path, store)] for path in paths if path.name in subjects.FILE_NAMES}
    for group in grouped(path for path in paths if path not in results):
        made = _ingest(Drop(paths=tuple(group)), store, How(**how))
        results |= {path: [replace(result, path=str(path)) for result in made] for path in group}
    return [result for path in paths for result in results[path]]


def ingest_path(path: Path, store: Store, **how: Any) -> IngestResult:
    """`ingest_together` of one file or folder."""
    return ingest_together([path], store, **how)


def ingest_together(paths: Sequence[Path], store: Store, **how: Any) -> IngestResult:
    """A folder, or loose files of one session, published in the store; of several sessions, the first.

    Where the session is published already, these devices join it in a new version. how: see `How`.
    """
    return _ingest(Drop(paths=tuple(paths)), store, How(**how))[0]


def _ingest(drop: Drop, store: Store, how: How) -> list[IngestResult]:
    """One result for each session of a drop."""
    drop = replace(drop, paths=tuple(path.absolute() for path in drop.paths))  # a box has another working folder
    make_secret(store)
    try:
        parts = _or_once_more(lambda: _surveyed(drop, store, how))
    except _REFUSALS as error:
        store.check()  # where that is away it is no fault of the recording
        if durable.is_of_disk(error):
            raise
        return [_refuse(drop, store, str(error))]
    drops = [replace(making.drop_of(part), strict=how.strict) for part in parts]
    results = [_ingest_part(one, part, store, how) for one, part in zip(drops, parts, strict=True)]
    if all(result.state != "quarantined" for result in results):
        for one in (drop, *drops):
            custody.accepted(store, one.name, str(one.within or one.paths[0]))
    return results


def _or_once_more(read: Callable[[], _T]) -> _T:
    """What reading gives. A refusal holds where reading once more, in a child of its own, ends in one too.

    Design rationale: where a disk fails for a moment, readers and the libraries they are made of say that a file is
    not there, or that a part of the library itself is missing, in words of their own by which nobody can tell it from
    a file that lies. What is refused is rare, and most of it by its header: reading it twice costs little.
    """
    try:
        return read()
    except _REFUSALS as error:
        if durable.is_of_disk(error):
            raise
    return read()


def _surveyed(drop: Drop, store: Store, how: How) -> list[dict[str, Any]]:
    """The sessions of a drop, see `making.surveyed`; asked once more where one of them is refused."""
    _take_up_subjects(drop, store)
    for _ in range(2):
        parts: list[dict[str, Any]] = how.inside.call(
            making.surveyed, {"paths": [str(p) for p in drop.paths]}, progress=how.progress, **_may(drop, how)
        )
        if not any("refused" in part for part in parts):
            break
    return parts


def _ingest_part(drop: Drop, part: Mapping[str, Any], store: Store, how: How) -> IngestResult:
    try:
        if "refused" in part:
            raise FormatError(part["refused"])
        digests = dict(part["digests"])
        _refuse_removed(drop, part, digests, store)
        known = published(store, digests.values())
        if known is not None:
            return _result(drop, "already", Session.open(known), known)
        folder = _or_once_more(lambda: _made_and_published(drop, digests, store, how))
    except _REFUSALS as error:
        store.check()
        if durable.is_of_disk(error):
            raise  # no fault of the recording: it is tried again
        return _refuse(drop, store, str(error))
    session = Session.open(folder)
    if how.archive:
        _archive(drop, part["files"], store)
    if how.in_place:
        lies = (drop.within,) if drop.within is not None else drop.paths
        origins.note(store, lies, digests, session.id, name=drop.name)
    return _result(drop, "ingested", session, folder)


def _refuse_removed(drop: Drop, part: Mapping[str, Any], digests: Mapping[str, str], store: Store) -> None:
    """Raises FormatError for what was removed when somebody withdrew, whatever code and whatever else it comes with."""
    sizes = {named_from(Path(file), drop.root).as_posix(): _size(Path(file)) for file in part["files"]}
    recordings = [{name: (digests[name], sizes[name]) for name in names} for names in part["recordings"]]
    for code, names in removed.among(store, recordings).items():
        consent = subjects.Subjects.of(store)[code].consent
        if consent is None or consent.withdrawn is not None:
            raise FormatError(
                f"{drop.name}: holds what was removed when {code} withdrew on {removed.withdrew_on(store, code)}: "
                f"{listed(names)}; take these files out, or say in a subject.toml that {code} consents again"
            )


def _made_and_published(drop: Drop, digests: Mapping[str, str], store: Store, how: How, tries: int = TRIES) -> Path:
    with how.inside.workplace(store) as folder:
        arguments = {
            "part": making.written(drop), "digests": dict(digests), "store": str(store.root),
            "folder": str(folder), "sorter": how.sorter, "beside": None,
        }  # fmt: skip
        may = {"progress": how.progress, **_may(drop, how)}
        made = how.inside.call(making.made, arguments, **may)
        if "days" in made:
            made = how.inside.call(making.made, {**arguments, "beside": ran_on(store, made["days"])}, **may)
        try:
            return _publish(folder / making.STAGED, made, store)
        except (_OvertakenError, FileExistsError):
            if tries == 1:
                raise
    return _made_and_published(drop, digests, store, how, tries - 1)


def _publish(staged: Path, made: Mapping[str, Any], store: Store) -> Path:
    """Give a staged session its place. Raises _OvertakenError where it was made to follow another version."""
    store.check()  # folders that are missing would be made anew, beneath what is mounted there again later
    name = str(made["session"])
    newest = store.versions(name)[-1:]
    if [folder.name for folder in newest] != ([made["follows"]] if made["follows"] else []):
        raise _OvertakenError(f"{name}: has another version than {made['follows']} by now")
    adopt(staged, store)
    said: dict[str, Any] = {}
    if (consent := subjects.published_consent(store, made["subject"])) is not None:
        said["consent"] = consent
    folder = next_version(store, name)
    with verdicts.publishing(folder.parent):
        if newest:
            said["lineage"] = {"follows": manifest.digest_of(newest[0]), "why": made["why"]}
            said["verdicts"] = manifest.read(newest[0])["verdicts"]
        if said:
            manifest.amend(staged, **said)
        _announced(store, staged, folder)
        durable.publish(staged, folder)
    return folder


def adopt(staged: Path, store: Store) -> None:
    """Check what lies in a staged folder, and link the companions that it points to in published versions.

    Raises ValueError for anything else than a session's files.
    """
    for path in staged.iterdir():
        if path.is_symlink():
            target = path.resolve(strict=True)
            if not (target.is_relative_to(store.sessions.resolve()) and target.is_file()):
                raise ValueError(f"{path.name}: points to {target}, which is no published file")
            path.unlink()
            durable.link_or_copy(target, path)
        elif not path.is_file():
            raise ValueError(f"{path.name}: is no file; a session is a folder of files")


def _may(drop: Drop, how: How) -> dict[str, Any]:
    """What may be read of a drop, and how large it is.

    Where nobody has said which files it is made of, loose files may name others beside them, and what BIDS keeps above
    a subject's folder belongs to it.
    """
    from neuroloom.ingest.folders import dataset_root

    folders = {drop.root, *(p.parent for p in drop.paths)}
    if how.files is not None:
        return {"readable": how.files, "listable": folders, "n_bytes": sum(_size(file) for file in how.files)}
    root = dataset_root(drop.paths[0])
    readable = {drop.root} if root is None else {drop.root, root}
    n_bytes = sum(_size(file) for path in drop.paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return {"readable": readable, "listable": folders, "n_bytes": n_bytes}


def _size(path: Path) -> int:
    return path.lstat().st_size if path.is_file() else 0


def _take_up_subjects(drop: Drop, store: Store) -> None:
    for name in subjects.FILE_NAMES:
        if drop.home is not None and (drop.home / name).is_file() and not (drop.home / name).is_symlink():
            subjects.take_up(store, drop.home / name)


def _taken_up(path: Path, store: Store) -> IngestResult:
    """What became of a `subject.toml`."""
    try:
        subjects.take_up(store, path)
    except FormatError as error:
        return _refuse(Drop(paths=(path,)), store, str(error))
    return IngestResult(path=str(path), state="ingested", format="subjects")


def published(store: Store, digests: Iterable[str]) -> Path | None:
    """The newest published version that holds all of these contents.

    Asked at every ingest, so that it takes no longer in a large store: the catalog says which it could be, also of
    what was published by somebody who was killed then, and the manifest whether it is.
    """
    wanted = set(digests)
    catalog = Catalog.of(store)
    try:
        if not catalog.knows(SESSIONS):
            note_new(store, catalog)
        found = catalog.sessions.holding(wanted)
    finally:
        catalog.close()
    folders = [store.session_folder(name) / version for name, version in reversed(found)]
    return next((folder for folder in folders if _is_listed(folder) and wanted <= _held(folder)), None)


def ran_on(store: Store, days: Iterable[str]) -> list[str]:
    """The sessions that name nobody and ran on one of these days, by name; days: marks as `dates.py` makes them."""
    catalog = Catalog.of(store)
    try:
        found = catalog.sessions.ran_on(days)
    finally:
        catalog.close()
    return [name for name in found if not (store.session_folder(name) / AMENDED).exists()]


def _is_listed(version: Path) -> bool:
    return not (version.parent / AMENDED).exists()  # an amended session is published under its right name


def _held(version: Path) -> set[str]:
    return digests_in(readable_document_of(version / "manifest.json"))


def _announced(store: Store, staged: Path, version: Path) -> None:
    """The catalog knows what a version holds before it is there."""
    catalog = Catalog.of(store)
    try:
        said = manifest.read(staged)
        catalog.sessions.announce(version.parent.name, version.name, said, days_in(store, said))
    finally:
        catalog.close()


def publish_after(
    store: Store, before: Path, staged: Path, version: Path, *, why: str, subject: str | None = None
) -> None:
    """Give a staged session its place as what follows `before`; takes over its verdicts and its consent.

    subject: whose it is where that is somebody else now; consent is theirs then. Nobody adds a verdict to `before`
    meanwhile.
    """
    with verdicts.publishing(before.parent):
        said = manifest.read(before)
        lineage = {"follows": manifest.digest_of(before), "why": why}
        consent = said["consent"] if subject is None else subjects.published_consent(store, subject)
        manifest.amend(staged, lineage=lineage, consent=consent, verdicts=said["verdicts"])
        durable.make_folder(version.parent)
        _announced(store, staged, version)
        durable.publish(staged, version)


def next_version(store: Store, session_id: str) -> Path:
    """The folder of a session's next version; versions that are there stay."""
    folder = store.session_folder(session_id)
    numbers = [int(v.name[1:]) for v in folder.glob("v*") if v.name[1:].isdigit()] if folder.is_dir() else []
    return folder / f"v{max(numbers, default=0) + 1:03d}"


def _refuse(drop: Drop, store: Store, reason: str) -> IngestResult:
    line = " ".join(reason.split())
    path = str(drop.within or drop.paths[0])
    custody.note_refused(store, drop.name, path, line)
    return IngestResult(path=path, state="quarantined", reason=line)


def _archive(drop: Drop, files: Iterable[str], store: Store) -> None:
    for file in map(Path, files):
        target = store.originals / (drop.within or drop.paths[0]).stem / named_from(file, drop.root)
        durable.copy_file(file, target)


def _result(drop: Drop, state: str, session: Session, folder: Path) -> IngestResult:
    summary = session.summary()
    return IngestResult(
        path=str(drop.paths[0]),
        state=state,
        session=session.id,
        file=str(folder / "session.nwb"),
        format=", ".join(dict.fromkeys(str(source["format"]) for source in session.sources)),
        streams=summary["streams"],
        sync=summary["sync"],
    )
