"""What a file is, from its header alone; and whether a published session is still what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuroloom.ingest.folders import naming_files
from neuroloom.ingest.formats import FormatError, format_of, formats

# What a vendor's reader may raise on a file that lies; anything else is a mistake of ours and is shown as one.
READ_ERRORS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, MemoryError)


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
        streams = [stream_summary(stream) for recording in form.read(path) for stream in recording.streams]
    except READ_ERRORS as error:
        return _entry(path, form=name, modality=form.MODALITY, reason=" ".join(str(error).split()) or repr(error))
    return _entry(path, form=name, modality=form.MODALITY, streams=streams)


def _entry(
    path: Path,
    *,
    form: str | None = None,
    modality: str | None = None,
    streams: list[dict[str, Any]] | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {"path": str(path), "format": form, "modality": modality, "streams": streams or [], "reason": reason}
