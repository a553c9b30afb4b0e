"""What a file is, from its header alone; and whether a published session is still what it was.

told     format and companions of files in the inbox         } in a box, many at a time: what lies in an inbox is
probed   format of drops, and why one is not whole            } read by nobody else before it is told apart
answers  asks them from outside; one at which they end is told, and the others go on
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from neuroloom.ingest.folders import files_of, naming_files
from neuroloom.ingest.formats import FormatError, format_of, formats
from neuroloom.ingest.streams import Signal, Stream
from neuroloom.pipeline.boxed.box import BoxAwayError, BoxError, HungError, Inside

# What a vendor's reader may raise on a file that lies; anything else is a mistake of ours and is shown as one.
READ_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)

AT_ONCE = 200  # items of one call
CALL_S, FILE_S = 20.0, 0.05  # wall time of a call, and so much more for each file


def told(inbox: str, items: Sequence[str], progress: Callable[[str], None]) -> None:
    """Says of each file in the inbox [format, companions beside it, whether this is sure]; the format may be ""."""
    for name in items:
        form: str | None = ""
        try:
            form = format_of(Path(inbox) / name)
            files = files_of(Path(inbox) / name, form) if form else ()
            beside = [file.name for file in files[1:] if file.parent == Path(inbox)]
            is_sure = not (form and _awaited(Path(inbox) / name, form))
            progress(json.dumps([form or "", beside, is_sure]))
        except READ_ERRORS:  # a companion may be on its way
            progress(json.dumps([form or "", [], False]))


def probed(inbox: str, items: Sequence[Sequence[str]], progress: Callable[[str], None]) -> None:
    """Says of each drop, by the paths that name its recordings, [formats, "" or why it is not whole, what it awaits].

    Without what is awaited it is read all the same, once that has not come.
    """
    for paths in items:
        progress(json.dumps(_probed(Path(inbox), paths)))


def answers(
    inside: Inside, function: Callable[..., None], inbox: Path, items: Sequence[Any], *, n_files: int
) -> list[list[Any] | BoxError]:
    """What `told` or `probed` says of each item; where the box ended at one twice, or hung, why. Raises BoxAwayError.

    Twice, since a process may be killed for want of memory that others took. n_files: of all items, for the time they
    may take.
    """
    found: list[list[Any] | BoxError] = []
    asked_again = -1
    while len(found) < len(items):
        some = items[len(found) : len(found) + AT_ONCE]
        said: list[str] = []
        ended = BoxError("the reader said nothing")
        try:
            arguments = {"inbox": str(inbox), "items": list(some)}
            seconds = CALL_S + FILE_S * n_files
            inside.call(function, arguments, readable=[inbox], seconds=seconds, progress=said.append)
        except BoxAwayError:
            raise
        except BoxError as error:
            ended = error
        found += [_answer(text) for text in said[: len(some)]]
        if len(said) < len(some):
            if isinstance(ended, HungError) or asked_again == len(found):
                found.append(ended)
            else:
                asked_again = len(found)
    return found


def _answer(text: str) -> list[Any] | BoxError:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    return answer if isinstance(answer, list) else BoxError("what came out of the box is not what a box says")


def _probed(inbox: Path, paths: Sequence[str]) -> tuple[str, str, str]:
    known: list[str] = []
    reason = awaits = ""
    for path in paths:
        try:
            for file in naming_files(inbox / path):
                form = format_of(file)
                if form is None:
                    continue
                files_of(file, form)  # raises where a companion is missing
                if not reason:
                    known.append(form)
                    incomplete = getattr(formats()[form], "incomplete", None)
                    reason = str(incomplete(file)) if incomplete is not None else ""
                    awaits = awaits or _awaited(file, form)
        except (FormatError, OSError) as error:
            reason = reason or str(error)
        except READ_ERRORS as error:
            reason = reason or f"{path}: cannot be told apart ({type(error).__name__}: {error})"
    return ", ".join(dict.fromkeys(known)), reason, awaits


def _awaited(file: Path, form: str) -> str:
    """What would still belong to a recording that can be read without it, "" for nothing."""
    awaited = getattr(formats()[form], "awaited", None)
    return str(awaited(file)) if awaited is not None else ""


def sniffed(path: Path) -> list[dict[str, Any]]:
    """One entry per recording at `path`, as `sniff --json` has them; `reason` where it is unknown or cannot be read."""
    try:
        naming = naming_files(path)
    except (FormatError, OSError) as error:
        return [_entry(path, reason=" ".join(str(error).split()))]
    return [_one(file) for file in naming]


def verified(folder: Path, *, validate: bool = True) -> dict[str, Any]:
    """What `verify --json` says of one version of a session: {"session", "version", "sound", "damage"}.

    validate: ask too whether it is valid NWB, which takes longer than reading a small session.
    """
    from neuroloom.ingest import manifest

    damage = [{"file": d.file, "dataset": d.dataset, "problem": d.problem} for d in manifest.verify(folder)]
    if validate and not damage:
        damage = [{"file": "session.nwb", "dataset": "", "problem": problem} for problem in _nwb_problems(folder)]
    return {"session": folder.parent.name, "version": folder.name, "sound": not damage, "damage": damage}


def _nwb_problems(folder: Path) -> list[str]:
    from pynwb import validate

    return [f"not valid NWB: {error}" for error in validate(path=str(folder / "session.nwb"))]


def _one(path: Path) -> dict[str, Any]:
    from neuroloom.ingest.session import stream_summary

    name = format_of(path)
    if name is None:
        return _entry(path, reason=f"none of the {len(formats())} formats known here recognises it")
    form = formats()[name]
    try:
        found = [stream for recording in form.read(path) for stream in recording.streams]
        streams = [stream_summary(stream) | _gaps(stream) for stream in found]
    except READ_ERRORS as error:
        return _entry(path, form=name, modality=form.MODALITY, reason=" ".join(str(error).split()) or repr(error))
    return _entry(path, form=name, modality=form.MODALITY, streams=streams)


def _gaps(stream: Stream) -> dict[str, Any]:
    """How often and how long a signal pauses; nothing of other streams."""
    gaps_s = stream.gaps_s if isinstance(stream, Signal) else []
    return {"n_gaps": len(gaps_s), "gaps_s": sum(gaps_s), "longest_gap_s": max(gaps_s)} if gaps_s else {}


def _entry(
    path: Path,
    *,
    form: str | None = None,
    modality: str | None = None,
    streams: list[dict[str, Any]] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {"path": str(path), "format": form, "modality": modality, "streams": streams or [], "reason": reason}
