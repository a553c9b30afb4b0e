"""What lies in the inbox: drops, the files each is made of, and whether it is whole.

    file or folder at the top of the inbox
      -> refused at once: links, files with a second name (hard links), devices, names nobody can type
      -> grouped: a file and the companions it names are one drop, so are loose recordings whose names state the same
         subject, session, task and run; a folder is one drop
      -> fingerprint: sizes and times of all its files; unchanged for a while means settled
      -> probe: does a format know it, are its companions there, does it have the length it states? (`sniffing.py`)
      -> digest of the content: the same content is ingested once

Nothing here changes a file. A format file may offer `incomplete(path) -> str`: "" or why the recording is not whole,
and `awaited(path) -> str`: "" or what would still belong to it, which is waited for and then done without.
A file `NAME.done` beside a drop (or `.done` in a folder) says the copy is finished, so nobody waits for it to settle.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from neuroloom.ingest.formats import FormatError
from neuroloom.ingest.formats._companions import hides
from neuroloom.pipeline.boxed import sniffing
from neuroloom.pipeline.boxed.box import BoxError, Inside, Unboxed
from neuroloom.pipeline.drops.identity import session_key
from neuroloom.pipeline.store import printable

if TYPE_CHECKING:
    from neuroloom.pipeline.catalog.tables import Drop

MAX_FILES = 200_000
MAX_DEPTH = 12
READ_BYTES = 4 << 20
SECOND_NAME_S = 3.0  # a tool that gives a file its name by a second one has taken the first away by then
DONE_SUFFIX = ".done"
PARTIAL_SUFFIXES = (".part", ".partial", ".tmp", ".crdownload", ".filepart", "~")

Stamp = tuple[str, int, int, int]  # name relative to the inbox, bytes, mtime and ctime in ns


@dataclass(frozen=True, kw_only=True)
class Found:
    """A drop as it lies there now.

    name: at the top of the inbox. paths: what names its recordings, files: all its files; relative to the inbox.
    problem: why it can never be ingested, "" where nothing speaks against it.
    marked: a `.done` says it is complete.
    """

    name: str
    paths: tuple[str, ...]
    files: tuple[str, ...] = ()
    fingerprint: str = ""
    n_bytes: int = 0
    problem: str = ""
    marked: bool = False


@dataclass
class Scanner:
    """Looks at an inbox again and again; remembers what it learned of a file for as long as that does not change.

    inside: where files are told apart.
    """

    inbox: Path
    inside: Inside = field(default_factory=Unboxed)
    _known: dict[Stamp, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def scan(self) -> list[Found]:
        """Every drop there is, by name. Raises OSError where the inbox itself cannot be read, BoxAwayError."""
        entries = _entries(self.inbox)
        markers = {e.name for e in entries if e.name.endswith(DONE_SUFFIX) and e.name != DONE_SUFFIX}
        found: list[Found] = []
        lone: dict[str, Stamp] = {}
        for entry in entries:
            if entry.name in markers:
                continue
            try:
                problem, stamp = entry_problem(entry), _stamp(entry.name, entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue
            if problem:
                found.append(Found(name=entry.name, paths=(entry.name,), problem=problem))
            elif entry.is_dir(follow_symlinks=False):
                found.append(self._folder(entry.name, f"{entry.name}{DONE_SUFFIX}" in markers))
            else:
                lone[entry.name] = stamp
        found += self._groups(lone, markers)
        return sorted(found, key=lambda f: f.name)

    def _folder(self, name: str, marked: bool) -> Found:
        stamps: list[Stamp] = []
        try:
            for stamp in _walk(self.inbox, name, 0):
                stamps.append(stamp)
                if len(stamps) > MAX_FILES:
                    raise FormatError(f"{name}: more than {MAX_FILES} files in one drop; fewer are wanted")
        except FormatError as error:
            return Found(name=name, paths=(name,), problem=str(error))
        except FileNotFoundError:  # it is being moved or deleted right now: the next scan knows more
            stamps = []
        except OSError as error:
            return Found(name=name, paths=(name,), problem=f"{name}: cannot be read ({error.strerror})")
        marked = marked or (self.inbox / name / DONE_SUFFIX).is_file()
        return _found(name, (name,), stamps, marked)

    def _groups(self, lone: dict[str, Stamp], markers: set[str]) -> list[Found]:
        """Files at the top of the inbox, each naming file with its companions.

        Two files that name the same companion are one drop: taking one away would break the other. So are recordings
        that their names say belong to one session: they are aligned best when they are read together.
        """
        told = self._told(lone)
        named = {name: companions for name, (_, companions) in told.items()}
        claimed = {companion for companions in named.values() for companion in companions}
        owner: dict[object, str] = {}
        members: dict[str, list[str]] = {}
        for name in sorted(lone):
            if name in claimed:
                continue
            form, companions = told[name]
            ties: list[object] = [*companions, *([session_key(name)] if form and session_key(name) else [])]
            head = next((owner[tie] for tie in ties if tie in owner), name)
            members.setdefault(head, []).append(name)
            owner |= {tie: head for tie in ties if tie not in owner}
        found = []
        for head, names in members.items():
            files = sorted({*names, *(c for name in names for c in named[name] if c in lone)})
            marked = all(f"{name}{DONE_SUFFIX}" in markers for name in names)
            found.append(_found(head, tuple(names), [lone[file] for file in files], marked))
        return found

    def _told(self, lone: Mapping[str, Stamp]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """The format of each file ("" where none knows it) and its companions beside it, as far as can be told yet.

        One at which its reader ends has none; it is asked again when it lies still, or has changed.
        """
        self._known = {stamp: self._known[stamp] for stamp in lone.values() if stamp in self._known}
        told = {name: self._known[stamp] for name, stamp in lone.items() if stamp in self._known}
        new = [name for name in lone if name not in told]
        found = sniffing.answers(self.inside, sniffing.told, self.inbox, new, n_files=len(new)) if new else []
        for name, said in zip(new, found, strict=True):
            form, companions, is_sure = ("", (), True) if isinstance(said, BoxError) else said
            told[name] = (str(form), tuple(map(str, companions)))
            if is_sure:
                self._known[lone[name]] = told[name]
        return told


def names(inbox: Path) -> list[str]:
    """What lies in an inbox and is a drop, or part of one."""
    return [entry.name for entry in _entries(inbox) if not entry.name.endswith(DONE_SUFFIX)]


def unseen(inbox: Path, drops: Iterable[Drop]) -> list[str]:
    """What lies at its top and is part of none of the drops, as where nothing watches."""
    known = {Path(file).parts[0] for drop in drops for file in (drop.name, *drop.files)}
    return [name for name in names(inbox) if name not in known]


def _entries(inbox: Path) -> list[os.DirEntry[str]]:
    with os.scandir(inbox) as listing:
        return sorted((e for e in listing if not _is_ignored(e.name)), key=lambda e: e.name)


def entry_problem(entry: os.DirEntry[str]) -> str:
    """Why something in the inbox is refused whatever it holds; "" where nothing is wrong with it.

    A hard link is refused: an original that has a name elsewhere, too, could be altered there for ever. Raises
    FileNotFoundError for one that was made just now, as for what is being moved in.
    """
    problem = name_problem(entry.name)
    if problem:
        return problem
    found = entry.stat(follow_symlinks=False)
    mode = found.st_mode
    if stat.S_ISLNK(mode):
        return f"{entry.name}: is a link; a real file or folder is wanted"
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return f"{entry.name}: is a device, pipe or socket; a real file or folder is wanted"
    if stat.S_ISREG(mode) and found.st_nlink > 1:
        if 0 <= time.time() - found.st_ctime < SECOND_NAME_S:
            raise FileNotFoundError(f"{entry.name}: is being named")
        return f"{entry.name}: has {found.st_nlink} names on this disk (hard links); a copy of its own is wanted"
    return ""


def name_problem(name: str) -> str:
    """Why a name is refused: characters that hide, break lines or cannot be printed."""
    if hides(name):
        return f"{printable(name)}: its name holds control or invisible characters; a plain name is wanted"
    return ""


def digest_of(folder: Path, files: Iterable[str]) -> str:
    """blake3 over the files of a drop, in hex.

    Design rationale: one file alone is its content, whatever it is called; of several, the names count too, since they
    tell the parts apart (two files swapped are another recording). The top folder's name never counts.
    """
    names = sorted(files)
    if len(names) == 1:
        return file_digest(folder / names[0])
    top = os.path.commonpath(names) if all("/" in name for name in names) else ""
    whole = blake3()
    for name in names:
        relative = os.path.relpath(name, top) if top else name
        whole.update(f"{len(os.fsencode(relative))}:".encode() + os.fsencode(relative))
        whole.update(bytes.fromhex(file_digest(folder / name)))
    return whole.hexdigest()


def file_digest(path: Path) -> str:
    """blake3 of a file, in hex; a link is not followed."""
    whole = blake3()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        while block := file.read(READ_BYTES):
            whole.update(block)
    return whole.hexdigest()


def fingerprint_now(inbox: Path, files: Iterable[str]) -> str:
    """The fingerprint of files that are known by name; "" where one of them is gone."""
    try:
        return _fingerprint([_stamp(name, os.lstat(inbox / name)) for name in sorted(files)])
    except FileNotFoundError:
        return ""


def one_line(error: BaseException | str) -> str:
    """A message without line breaks or escape codes, at most 500 characters."""
    return printable(" ".join(str(error).split()))[:500] or type(error).__name__


def reason_of(error: BaseException | str, folder: Path, name: str) -> str:
    """Why a drop waits or was refused, in one line, without the inbox's path and the drop's own name before it."""
    return one_line(error).replace(f"{folder}/", "").removeprefix(f"{name}: ")


def _is_ignored(name: str) -> bool:
    return (name.startswith(".") and name != DONE_SUFFIX) or name.endswith(PARTIAL_SUFFIXES) or name == DONE_SUFFIX


def _walk(inbox: Path, folder: str, depth: int) -> Iterator[Stamp]:
    if depth > MAX_DEPTH:
        raise FormatError(f"{folder}: more than {MAX_DEPTH} folders deep; fewer are wanted")
    with os.scandir(inbox / folder) as listing:
        entries = sorted(listing, key=lambda e: e.name)
    for entry in entries:
        problem = entry_problem(entry)
        if problem:
            raise FormatError(f"{printable(folder)}/{problem}")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(inbox, f"{folder}/{entry.name}", depth + 1)
        else:
            yield _stamp(f"{folder}/{entry.name}", entry.stat(follow_symlinks=False))


def _stamp(name: str, found: os.stat_result) -> Stamp:
    return (name, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _found(name: str, paths: tuple[str, ...], stamps: list[Stamp], marked: bool) -> Found:
    return Found(
        name=name,
        paths=paths,
        files=tuple(stamp[0] for stamp in sorted(stamps)),
        fingerprint=_fingerprint(stamps),
        n_bytes=sum(stamp[1] for stamp in stamps),
        marked=marked,
    )


def _fingerprint(stamps: list[Stamp]) -> str:
    return blake3(repr(sorted(stamps)).encode("utf-8", "surrogatepass")).hexdigest()
