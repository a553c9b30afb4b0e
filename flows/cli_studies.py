"""The commands about teachers and studies: record-teacher, study, generate."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, StoreOption
from neuroloom.flows.printing import document, lines, say, seldom
from neuroloom.pipeline.profiles import FULL, profile_words, study_words


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (record_teacher, study, generate):
        app.command()(command)


def record_teacher(
    config: Annotated[
        Path,
        typer.Argument(metavar="CONFIG", help="A TOML file; pipeline/synthetic/teacher_recording.py explains it."),
    ],
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Record a teacher network as a person would be.

    The recordings go into the inbox, their truth is kept aside.
    """
    from neuroloom.pipeline.store import Store
    from neuroloom.pipeline.synthetic import teacher_recording

    place = Store.here(store).create()
    asked = teacher_recording.read_recording_config(config)
    drop = teacher_recording.record_teacher(asked, place, progress=seldom(_taught))
    aside = place.run_folder(asked.name)
    if as_json:
        document({"name": asked.name, "drop": str(drop), "truth": str(aside / teacher_recording.TRUTH)})
        return
    way = "  `neuroloom up` takes it from there; for `neuroloom ingest` move it out of the inbox first"
    lines(f"{drop}: recorded", f"  truth: {aside}", way)


def study(
    name: Annotated[
        str, typer.Argument(metavar="STUDY", help=f"{study_words()}; docs/studies.md says what each asks.")
    ],
    full: Annotated[bool, typer.Option("--full", help="The full grid: hours instead of minutes.")] = False,
    profile: Annotated[str, typer.Option("--profile", help=f"Settings that come along: {profile_words()}.")] = "",
    config: Annotated[Path | None, typer.Option("--config", help="A TOML file with settings of your own.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Run a study on teachers whose truth is known.

    The same again goes on where it stopped. Exit 3: some cells failed, so there is no report yet.
    """
    from neuroloom.pipeline import studying
    from neuroloom.pipeline.reviewing import review_index
    from neuroloom.pipeline.store import Store

    place = Store.here(store).create()
    if full and profile not in ("", FULL):
        raise typer.BadParameter(f"--full and --profile {profile}; one of them is wanted")
    run = studying.prepare_study(name, place, profile=FULL if full else profile, config=config)
    again = _again(name, full=full, profile=profile, config=config, store=store)
    try:
        report = studying.run_study(run, place, progress=lambda done, wanted, what: say(f"{done} of {wanted}: {what}"))
    except KeyboardInterrupt:
        done, wanted = studying.progress_of(run, place)
        say(f"stopped with {done} of {wanted} cells done; to go on: {again}")
        raise
    except studying.CellsError as error:
        for line in (f"{run}: {error.sentence}", *(f"  {one}" for one in error.failed), f"  to go on: {again}"):
            say(line)
        raise typer.Exit(3) from error
    review_index(place)
    folder, page = place.run_folder(run), place.review / f"run-{run}.html"
    if as_json:
        document({"run": run, "folder": str(folder), "page": str(page), **report.to_json()})
        return
    lines(report.sentence, *[f"  {_wanted(row)}" for row in report.wanted], f"  page: {page}", f"  tables: {folder}")


def _again(name: str, *, full: bool, profile: str, config: Path | None, store: Path | None) -> str:
    """The command that was given, as a shell reads it."""
    said = ["neuroloom", "study", name, *(["--full"] if full else [])]
    for option, value in (("--profile", profile), ("--config", config), ("--store", store)):
        said += [option, str(value)] if value else []
    return shlex.join(said)


def generate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Of `study convert` or `study distill`.")],
    network: Annotated[
        str, typer.Option("--network", help="The beginning of a network's name; else the one nearest to its teacher.")
    ] = "",
    prompt: Annotated[str, typer.Option("--prompt", help="What it reads first; a random letter by default.")] = "",
    length: Annotated[int, typer.Option("--length", min=1, help="How many letters.")] = 200,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0: always the likeliest.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Let a converted network or a student speak.

    Says how much of the language it has, too.
    """
    from neuroloom.pipeline import speaking
    from neuroloom.pipeline.store import Store

    speech = speaking.generate(
        run, Store.here(store).existing(), network=network, prompt=prompt, length=length, temperature=temperature,
        seed=seed,
    )  # fmt: skip
    if as_json:
        remarks = dict(speech.remarks)
        document({"run": run, "network": speech.network, "prompt": speech.prompt, "said": speech.said, **remarks})
        return
    told = [f"  {name.replace('_', ' ')}: {_number(value)}" for name, value in speech.remarks.items()]
    lines(f"{speech.prompt}{speech.said}", f"  network: {speech.network}", *told)


def _taught(step: int, steps: int, loss: float) -> str:
    return f"teacher: step {step} of {steps}, loss {loss:.4f}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _wanted(row: Mapping[str, Any]) -> str:
    return f"{'met' if row['met'] else 'MISSED'}: {row['what']}: {row['found']} ({row['wanted']} wanted)"
