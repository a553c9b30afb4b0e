"""The commands for files: what they are, and from them to sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, SorterOption, StoreOption
from neuroloom.flows.printing import document, lines, say
from neuroloom.flows.session_lines import reason_of, stream_line, sync_line, unread_lines
from neuroloom.pipeline.store import Store

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings: files or folders.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (sniff, ingest):
        app.command()(command)


def sniff(paths: Paths, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """What is this? Format, modality, streams; headers only.

    Exit 3: some are unknown.
    """
    from neuroloom.pipeline.boxed.sniffing import sniffed

    _need(paths)
    results = [result for path in paths for result in sniffed(path)]
    if as_json:
        document({"results": results})
    else:
        for result in results:
            lines(f"{result['path']}: {result['format'] or 'unknown'} {result['modality'] or ''}".rstrip())
            lines(*[f"  {stream_line(stream)}" for stream in result["streams"]])
            lines(*[f"  {reason_of(result)}"] if result["reason"] else [])
    raise typer.Exit(3 if any(result["reason"] for result in results) else 0)


def ingest(
    paths: Paths,
    as_json: JsonOption = False,
    archive: Annotated[bool, typer.Option("--archive", help="Copy the originals into the store.")] = False,
    sorter: SorterOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse files with faults instead of mending them.")] = False,
    pages: Annotated[bool, typer.Option(help="Write the review pages too.")] = True,
    store: StoreOption = None,
) -> None:
    """Recordings in, sessions and their pages out.

    Needs no server. The originals stay where they are. Exit 3: some were refused.
    """
    from neuroloom.pipeline.boxed.box import box_of
    from neuroloom.pipeline.drops.in_place import ingest_paths
    from neuroloom.pipeline.settings import AS_SET, Settings

    _need(paths)
    place = Store.here(store).create()
    settings = Settings.of(place)
    with box_of(place, settings.box) as inside:
        results = ingest_paths(
            paths,
            place,
            sorter=None if sorter == "none" else sorter or AS_SET,
            archive=archive,
            strict=strict or settings.ingest.strict,
            inside=inside,
            progress=say,
        )
    new = [r["session"] for r in results if r["state"] == "ingested" and r["session"]]  # a subject.toml makes none
    written = _pages(place, new) if pages else {}
    if as_json:
        document({"results": results})
    else:
        for result in results:
            lines(f"{result['path']}: {result['state']}{_became(result)}")
            lines(*[f"  {stream_line(stream)}" for stream in result["streams"]])
            lines(*[f"  {sync_line(sync)}" for sync in result["sync"]])
            lines(*unread_lines(result) if result["state"] == "ingested" and result["file"] else [])
            lines(*[f"  page: {written[result['session']]}"] if result["session"] in written else [])
    raise typer.Exit(3 if any(result["state"] == "quarantined" for result in results) else 0)


def _became(result: dict[str, Any]) -> str:
    if result["session"]:
        return f" {result['session']}"
    return f": {reason_of(result)}" if result["reason"] else f" {result['format']}"


def _need(paths: list[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path}: no such file or folder", param_hint="PATH")


def _pages(store: Store, sessions: list[str]) -> dict[str, Path]:
    """The review page of each session, and the front page."""
    from neuroloom.pipeline.reviewing import review_index, review_session

    written = {}
    for session in dict.fromkeys(sessions):
        say(f"{session}: drawing its page")
        written[session] = review_session(store, session)
    review_index(store)
    return written
