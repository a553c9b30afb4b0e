"""The command line, `neuroloom`. Each command imports its parts when it runs, so `--help` answers at once.

Exit codes: 0 well; 1 damage found, or not all is well; 2 wrong use, or something named does not exist;
3 some recordings unknown or quarantined; 130 interrupted.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuroloom.flows import cli_care, cli_first, cli_review, cli_runs, cli_space, cli_studies
from neuroloom.flows.options import JsonOption, SessionArgument, SorterOption, StoreOption
from neuroloom.flows.printing import document, lines, one_line, say, table

if TYPE_CHECKING:
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.store import Store

app = typer.Typer(
    name="neuroloom",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cli_first.register(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        lines(f"neuroloom {version('neuroloom')}")
        raise typer.Exit


@app.callback()
def _whole(
    of_this: Annotated[
        bool, typer.Option("--version", help="Show it and exit.", callback=_say_version, is_eager=True)
    ] = False,
    store: StoreOption = None,
) -> None:
    """Neural recordings become training data; training data becomes networks shaped like a brain."""
    if store is not None:  # as if it stood after the command, where another one still wins
        os.environ["NEUROLOOM_STORE"] = str(store)


NO_SESSION = "no session yet; `neuroloom ingest PATH` brings recordings in, or `neuroloom up` and its inbox"

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings: files or folders.")]


@app.command()
def demo(store: StoreOption = None) -> None:
    """The whole story on a synthetic person, beside the truth.

    Recorded, dropped, ingested, sorted, trained on; it takes three minutes.
    """
    from neuroloom.flows.demo import run_demo

    missed = run_demo(_store(store))
    for line in missed:
        say(f"missed: {line}")
    raise typer.Exit(1 if missed else 0)


@app.command()
def up(store: StoreOption = None) -> None:
    """Everything: dashboard, schedules, inbox, review pages.

    Ctrl-C ends all of it.
    """
    from neuroloom.flows.up import run_up

    run_up(_store(store))


@app.command()
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
            lines(*[f"  {_stream_line(stream)}" for stream in result["streams"]])
            lines(*[f"  {_of(result)}"] if result["reason"] else [])
    raise typer.Exit(3 if any(result["reason"] for result in results) else 0)


@app.command()
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
    from neuroloom.pipeline.config import AS_SET, Settings
    from neuroloom.pipeline.drops.in_place import ingest_paths

    _need(paths)
    place = _store(store).create()
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
    written = _pages(place, [r["session"] for r in results if r["state"] == "ingested"]) if pages else {}
    if as_json:
        document({"results": results})
    else:
        for result in results:
            became = f" {result['session']}" if result["session"] else f": {_of(result)}"
            lines(f"{result['path']}: {result['state']}{became}")
            lines(*[f"  {_stream_line(stream)}" for stream in result["streams"]])
            lines(*[f"  {_sync_line(sync)}" for sync in result["sync"]])
            lines(*_unread_lines(result) if result["state"] == "ingested" else [])
            lines(*[f"  page: {written[result['session']]}"] if result["session"] in written else [])
    raise typer.Exit(3 if any(result["state"] == "quarantined" for result in results) else 0)


def _unread_lines(result: dict[str, Any]) -> list[str]:
    """What lay beside the files of a session and nothing here reads, and how numbers among it can be."""
    from neuroloom.ingest import manifest

    sources = manifest.read(Path(result["file"]).parent)["sources"]
    unread = [str(name) for source in sources for name in source.get("unread", ())]
    numbers = any(Path(name).suffix.lower() in (".mat", ".npy", ".npz", ".csv", ".tsv") for name in unread)
    hint = "  a TOML beside numbers says what they are: `arrays` in docs/formats.md; then ingest it again"
    return [f"  not read: {', '.join(unread)}", *([hint] if numbers else [])] if unread else []


@app.command()
def sessions(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Every session, with its newest version."""
    place = _store(store).existing()
    from neuroloom.pipeline.listing import listed_sessions

    rows = listed_sessions(place)
    if as_json:
        document({"sessions": rows})
        return
    shown = [(r["session"], r["version"], r["subject"], ", ".join(r["modalities"]), r["duration_s"]) for r in rows]
    table(
        ("session", "version", "subject", "modalities", "seconds"), [(*r[:4], f"{r[4]:.1f}") for r in shown], NO_SESSION
    )


@app.command()
def show(session_id: SessionArgument, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """One session: streams, clocks, quality, where it came from."""
    from neuroloom.ingest.session import Session

    folder = _store(store).existing().latest(session_id)
    with Session.open(folder) as session:
        found = session.summary()
        found |= {"version": folder.name, "file": str(folder / "session.nwb"), "quality": session.quality}
        found |= {"sources": session.sources, "clock_checks": _clock_checks(session)}
    if as_json:
        document(found)
        return
    lines(f"{found['session']} {found['version']}  {found['file']}", f"clock: {found['clock']}")
    lines(*[f"  {_stream_line(stream)}" for stream in found["streams"]])
    for sync in found["sync"]:
        lines(f"  {_sync_line(sync)}")
        lines(*[f"    {_check_line(check)}" for check in found["clock_checks"] if check["from"] == sync["from"]])
    for source in found["sources"]:
        lines(f"  from {', '.join(source.get('files', ()))} ({source.get('format', '')})")
        lines(*[line for entry in source.get("repairs", ()) for line in _ledger_lines(entry)])
        lines(*[f"    not read: {name}" for name in source.get("unread", ())])
    lines(*[f"  {line}" for name, finding in found["quality"].items() for line in _quality_lines(name, finding)])


def _ledger_lines(entry: dict[str, str] | str) -> list[str]:
    """A fault that was mended as a diff: what the file has, what was used; a remark as it is."""
    from neuroloom.ingest.ledger import is_defect, told

    if isinstance(entry, str) or not is_defect(entry):
        return [f"    remark: {told(entry)}"]
    return [f"    - {entry['found']}", f"    + {entry['used']}"]


@app.command()
def verify(
    session_ids: Annotated[list[str] | None, typer.Argument(metavar="SESSION", help="All where none is named.")] = None,
    for_s: Annotated[
        float | None,
        typer.Option("--for", help="So many seconds, those first that waited longest.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Read every byte of published sessions again.

    Checks digests, checksums, NWB validity. Exit 1: damage found.
    """
    from neuroloom.pipeline.care import checking
    from neuroloom.pipeline.catalog import Catalog

    place = _store(store).existing()
    catalog = Catalog.of(place)
    tell = None if as_json else _tell_check
    if for_s is not None:
        if session_ids or not 0 < for_s < math.inf:
            raise typer.BadParameter("so many seconds, above 0, of all sessions", param_hint="--for")
        results = checking.checked_some(place, catalog, budget_s=for_s, progress=tell)
    else:
        folders = [
            folder for name in session_ids or place.session_ids(amended=True) for folder in _versions(place, name)
        ]
        results = checking.checked(place, catalog, folders, tell)
    found = checking.health(place, catalog)
    catalog.close()
    if as_json:
        document({"results": results})
    else:
        lines(found.sentence, *[f"{d['session']} {d['version']}: {d['advice']}" for d in found.damaged])
    raise typer.Exit(0 if all(result["sound"] for result in results) else 1)


@app.command()
def inbox(
    last: Annotated[
        int | None,
        typer.Option(min=1, help="So many, the newest; by default 500, with --json all.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Every drop, its state, and why it waits."""
    from neuroloom.pipeline.catalog import Catalog
    from neuroloom.pipeline.config import wrong_settings
    from neuroloom.pipeline.noting import note_all

    place = _store(store).existing()
    catalog = Catalog.of(place)
    note_all(place, catalog)
    n_shown = last if as_json or last is not None else 500
    drops = catalog.drops.every() if n_shown is None else catalog.drops.newest(n_shown)[::-1]
    rows = [drop.as_dict() for drop in drops]
    n_earlier = sum(catalog.drops.counts().values()) - len(rows)
    catalog.close()
    if wrong := wrong_settings(place):
        say(f"drops wait, and nothing new begins: {wrong}")
    if as_json:
        document({"drops": rows})
        return
    shown = [(r["id"], r["name"], r["state"], r["reason"] or ", ".join(r["sessions"])) for r in rows]
    heading = ("drop", "name", "state", "reason, or session")
    table(heading, shown, f"nothing was dropped yet; `neuroloom up` watches {place.inbox}")
    if n_earlier > 0:
        say(f"{n_earlier} earlier ones are not shown; --last {n_earlier + len(rows)} shows them")


@app.command()
def quarantine(
    action: Annotated[
        str | None, typer.Argument(metavar="retry", help="Puts an entry back.", show_default=False)
    ] = None,
    entry_id: Annotated[str | None, typer.Argument(metavar="ID", help="As listed.", show_default=False)] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """What was refused, and why.

    `quarantine retry ID` puts it back into the inbox, or ingests it again.
    """
    from neuroloom.pipeline.drops import custody

    place = _store(store).existing()
    if action is None:
        rows = [{"id": e.id, "path": e.path, "reason": e.reason, "kept": e.kept} for e in custody.refused(place)]
        if as_json:
            document({"quarantine": rows})
        else:
            shown = [(row["id"], row["reason"], "" if row["kept"] else row["path"]) for row in rows]
            table(("id", "reason", "lies at"), shown, "nothing was refused")
        return
    if action != "retry" or entry_id is None:
        raise typer.BadParameter("'quarantine' alone lists; 'quarantine retry ID' puts one back")
    entry = custody.release(place, entry_id)
    if not entry.kept:
        ingest([Path(entry.path)], as_json=as_json, store=place.root)
    elif as_json:
        document({"retried": entry_id, "inbox": str(place.inbox)})
    else:
        lines(f"{entry_id}: back in {place.inbox}; a running `neuroloom up` takes it from there")


@app.command()
def doctor(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """What is installed, reachable and writable.

    Exit 1: something is not.
    """
    from neuroloom.flows.doctor import checks

    rows = checks(_store(store))
    if as_json:
        document({"checks": rows})
    else:
        table(("", "check", "found"), [("ok" if row["ok"] else "NOT", row["check"], row["found"]) for row in rows])
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


for part in (cli_review, cli_care, cli_runs, cli_studies, cli_space):
    part.register(app)


def main() -> None:
    """The entry point: an error a user can cause is one line on stderr, and exit 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may lack the letters of a name
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MemoryError as error:
        say(f"neuroloom: not enough memory: {error}")
        sys.exit(2)
    except (ValueError, OSError, LookupError, TimeoutError) as error:
        say(f"neuroloom: {one_line(error)}")
        sys.exit(2)
    except Exception as error:
        from sqlalchemy.exc import DBAPIError, OperationalError  # here, since most commands do without a catalog

        from neuroloom.pipeline.catalog.opening import away, is_damage

        if isinstance(error, OperationalError):  # a full disk, or no server
            say(f"neuroloom: {away(error)}; `neuroloom doctor` says what is in its way")
        elif isinstance(error, DBAPIError) and is_damage(error):
            say(f"neuroloom: {away(error)}")
        else:
            raise
        sys.exit(2)


def _store(root: Path | None) -> Store:
    from neuroloom.pipeline.store import Store

    return Store.here(root)


def _versions(store: Store, session_id: str) -> list[Path]:
    store.latest(session_id)
    return store.versions(session_id)


def _need(paths: list[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise typer.BadParameter(f"{path}: no such file or folder", param_hint="PATH")


def _tell_check(result: dict[str, Any]) -> None:
    said = "sound" if result["sound"] else "DAMAGED"
    rate = result["n_bytes"] / 1e6 / max(result["seconds"], 1e-9)
    lines(f"{result['session']} {result['version']}: {said}, {result['n_bytes'] / 1e6:.1f} MB at {rate:.3g} MB/s")
    lines(*[f"  {d['file']} {d['dataset']}: {d['problem']}" for d in result["damage"]])


def _pages(store: Store, sessions: list[str]) -> dict[str, Path]:
    """The review page of each session, and the front page."""
    from neuroloom.pipeline.reviewing import review_index, review_session

    written = {}
    for session in dict.fromkeys(sessions):
        say(f"{session}: drawing its page")
        written[session] = review_session(store, session)
    review_index(store)
    return written


def _clock_checks(session: Session) -> list[dict[str, Any]]:
    """What else speaks for or against the clock maps, and what is to be known of them."""
    from dataclasses import asdict

    checks = [{"from": m.source} | asdict(check) for m in session.clock_maps for check in m.checks]
    checks += [
        {"from": m.source, "kind": "held-out error", "verdict": "", "words": _models(m.tried)}
        for m in session.clock_maps
        if m.tried
    ]
    notes = [
        {"from": m.source, "kind": "note", "verdict": "", "words": note} for m in session.clock_maps for note in m.notes
    ]
    return checks + notes


def _models(tried: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{model} {held_out_ms:.2f} ms" for model, held_out_ms in tried)


def _check_line(check: dict[str, Any]) -> str:
    verdict = f"{check['verdict']}. " if check["verdict"] else ""
    return f"{check['kind']}: {verdict}{check['words']}"


def _of(result: dict[str, Any]) -> str:
    """The reason without the path that stands before it already."""
    path = Path(result["path"])
    return str(result["reason"]).removeprefix(f"{path.resolve()}: ").removeprefix(f"{path}: ")


def _stream_line(stream: dict[str, Any]) -> str:
    """`eeg (eeg): 19 channels, 19700 samples at 500 Hz [uV], 0.000 to 39.400 s, 1 gap, 2.500 s in all`."""
    from neuroloom.ingest.words import count

    counted = {"units": "spike", "intervals": "interval", "trials": "trial"}.get(
        stream["modality"], "sample" if stream["rate_hz"] else "event"
    )
    of = [count(stream["n_channels"], "unit" if counted == "spike" else "channel")] if stream["n_channels"] else []
    rate = f" at {stream['rate_hz']:g} Hz" if stream["rate_hz"] else ""
    unit = f" [{stream['unit']}]" if stream["unit"] else ""
    parts = [*of, f"{count(stream['n_samples'], counted)}{rate}{unit}"]
    if stream["n_samples"]:
        parts.append(f"{stream['start_s']:.3f} to {stream['start_s'] + stream['duration_s']:.3f} s")
    if stream.get("n_gaps"):
        parts.append(f"{count(stream['n_gaps'], 'gap')}, {stream['gaps_s']:.3f} s in all")
    return f"{stream['name']} ({stream['modality']}): {', '.join(parts)}"


def _quality_lines(name: str, finding: dict[str, Any]) -> list[str]:
    """What people must know; the numbers are in the JSON and on the page."""
    bad = [f"{channel} ({', '.join(reasons)})" for channel, reasons in finding.get("reasons", {}).items()]
    return [f"{name}: bad: {each}" for each in bad] + [f"{name}: {note}" for note in finding.get("notes", ())]


def _sync_line(sync: dict[str, Any]) -> str:
    return (
        f"{sync['from']} -> {sync['to']}: {sync['residual_ms']:.2f} ms, {sync['drift_ppm']:.1f} ppm, "
        f"{sync['n_matched']} pulses matched, {sync['n_lost']} lost, {sync['n_extra']} extra ({sync['method']})"
    )


if __name__ == "__main__":
    main()
