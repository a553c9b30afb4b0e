"""Whose recording it is, as far as names and contents tell: BIDS-like, `sub-01_ses-02_task-reach_run-1_eeg.vhdr`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from neuroloom.ingest.formats._fixed_names import named_by
from neuroloom.ingest.recording import Recording
from neuroloom.pipeline.clocks.alignment import AlignmentError
from neuroloom.pipeline.drops.persons import differing

ENTITIES = ("sub", "ses", "task", "run")
WHAT = {"sub": "subjects", "ses": "sessions", "run": "runs"}
DEPTH = 4  # a file and the folders above it whose names may tell: sub-01/ses-02/eeg/FILE


def entities(path: Path) -> dict[str, set[str]]:
    """What a file's name and the folders above it say, per entity; a well-named file says each once."""
    text = "/".join(path.parts[-DEPTH:])
    return {key: set(re.findall(rf"(?:^|[_/]){key}-([A-Za-z0-9]+)", text)) for key in ENTITIES}


def identity(recordings: Sequence[Recording], *, is_told: bool = False) -> dict[str, str]:
    """Subject, session, task and run as the files' names state them.

    Where no name states the subject, it is the one that a file's content states, else the first file's name, or its
    folder's where a vendor calls every file the same. is_told: the lab has said whose the recordings are.
    Raises AlignmentError where the files name two subjects, sessions or runs, or their headers two people.
    """
    told, where = [entities(recording.files[0]) for recording in recordings], recordings[0].files[0].parent
    found: dict[str, set[str]] = {key: set().union(*(one[key] for one in told)) for key in ENTITIES}
    stated = {recording.subject["subject_id"] for recording in recordings if recording.subject.get("subject_id")}
    for several, what in (*((found[key], WHAT[key]) for key in WHAT), (stated, "subjects")):
        if len(several) > 1:
            raise AlignmentError(f"{where}: two {what}, {' and '.join(sorted(several))}; one is wanted")
    if what := differing(recordings, is_told=is_told):
        way = "" if is_told else ", or a session.toml with `subject` in it where they are of one person"
        raise AlignmentError(f"{where}: {what}; recordings of one person are wanted{way}")
    code = re.sub(r"[^A-Za-z0-9]", "", min(stated, default=named_by(recordings[0].files[0])))[:40] or "unknown"
    return {
        "sub": min(found["sub"], default=code),
        "ses": min(found["ses"], default="01"),
        "task": min(found["task"], default=""),
        "run": min(found["run"], default=""),
    }


def is_named(recordings: Sequence[Recording]) -> bool:
    """True where a name or a file's content states whose the recordings are."""
    return any(r.subject.get("subject_id") or any(entities(file)["sub"] for file in r.files[:1]) for r in recordings)


def session_key(name: str) -> tuple[str, ...] | None:
    """What loose files of one session have in common, None for a file whose own name states no subject."""
    told = entities(Path(Path(name).name))
    return tuple(min(told[key], default="") for key in ENTITIES) if told["sub"] else None


def grouped(paths: Iterable[Path]) -> list[list[Path]]:
    """Loose files of one session together, in the order of their first; folders and files that tell nothing alone."""
    groups: dict[object, list[Path]] = {}
    for path in paths:
        key = None if path.is_dir() else session_key(path.name)
        groups.setdefault(path if key is None else (path.parent, key), []).append(path)
    return list(groups.values())


def by_session(folder: Path, files: Sequence[Path]) -> list[list[Path]]:
    """Recordings of a BIDS tree by subject, session, task and run; all together where it is none, or holds one.

    A tree has folders `sub-*`, the folder itself included. A recording whose name tells less than others of its subject
    and session goes with them where they are one session, else it is one of its own.
    """
    groups: dict[tuple[str, ...], list[Path]] = {}
    strays: list[list[Path]] = []
    for file in files:
        if any(part.startswith("sub-") for part in file.relative_to(folder.parent).parts[:-1]):
            told = entities(file)
            groups.setdefault(tuple(min(told[key], default="") for key in ENTITIES), []).append(file)
        else:
            strays.append([file])
    for key in [key for key in groups if not (key[2] or key[3])]:
        fuller = [other for other in groups if other[:2] == key[:2] and other != key]
        if len(fuller) == 1:
            groups[fuller[0]] += groups.pop(key)
    return [*groups.values(), *strays] if len(groups) > 1 else [list(files)]
