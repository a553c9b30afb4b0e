"""The commands about training runs: train, evaluate, compare, predict, fidelity, search, reinforce."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from neuroloom.flows.options import JsonOption, RunArgument, SessionArgument, StoreOption
from neuroloom.flows.printing import by_stream, document, lines, say, seldom, table
from neuroloom.ingest.words import short

MOST_PATHWAYS = 30


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (train, evaluate, compare, predict, fidelity, search, reinforce):
        app.command()(command)


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A TOML file; the guide's page on networks explains it.")
    ],
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Train a network on sessions, as a TOML file says.

    The same again goes on where it stopped.
    """
    from neuroloom.pipeline.reviewing import run_shown
    from neuroloom.pipeline.runs import choosing, preparing, run_config, running, shrinking
    from neuroloom.pipeline.scores import judging
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    asked = run_config.read_run_config(config)
    folder = preparing.prepare_run(asked, place)
    policy = preparing.requested(place, asked.name)
    for session, why in policy.left_out.items():
        say(f"{session} is left out: {why}")
    for session, streams in policy.bad_channels.items():
        say(f"{session}: masked, as reviewers call it bad: {by_stream(streams)}")
    for session, streams in policy.good_channels.items():
        say(f"{session}: used, as reviewers call it good: {by_stream(streams)}")
    with _goes_on(f"train {config}"), run_shown(place, asked.name) as page:
        run = running.train_run(asked.name, place, progress=_progress())
    worse = judging.worse_of(asked.name, place)
    found: dict[str, Any] = {"run": asked.name, "folder": str(folder), "steps": asked.steps, "page": str(page)}
    found |= {"left_out": policy.left_out, "bad_channels": policy.bad_channels, "good_channels": policy.good_channels}
    found |= {
        "best_step": run.best_step,
        "best_loss": run.best_loss,
        "choice": list(run.choice),
        "kept": run.kept,
        "worse_than_mean": worse.to_json(),
        "topology_notes": list(run.network.topology.notes),
    }
    if as_json:
        document(found)
    else:
        lines(f"{asked.name}: best at step {run.best_step}, validation loss {run.best_loss:.4f}", f"  {folder}")
        lines(f"  page: {page}")
        said = (*choosing.told(run.choice), *shrinking.told(run.kept), *worse.lines())
        lines(*(f"  {line}" for line in (*said, *run.network.topology.notes)))


def evaluate(
    run: RunArgument,
    baselines: Annotated[str, typer.Option(help="Of mean, ridge, glm, kalman, average.")] = "mean,ridge",
    against: Annotated[
        str, typer.Option(help="Networks to train alike: rewired, rewired-lengths, dense, distance, none, gru.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each network.")] = 1,
    forward_s: Annotated[
        float | None, typer.Option(help="Score that far ahead of the inputs, too.", show_default=False)
    ] = None,
    pathways: Annotated[bool, typer.Option("--pathways", help="What each pathway carries.")] = False,
    mechanism: Annotated[
        bool, typer.Option("--mechanism", help="Where the network rests; whether it is chaotic.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Score a run beside its baselines, on held-out time.

    Beside other networks too, which are trained alike.
    """
    from neuroloom.pipeline.reviewing import review_index, review_run
    from neuroloom.pipeline.runs import running
    from neuroloom.pipeline.scores import judging
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    if remark := running.unfinished(place, run):
        say(remark)
    asked, rivals = _names(baselines), _names(against)
    look = judging.Look(name=run, store=place)
    kinds = look.mechanism() if mechanism else []  # it may be refused, which is said at once
    with _goes_on("the same command", is_whole=True):
        scores = look.evaluate(baselines=asked, against=rivals, seeds=seeds, forward_s=forward_s, progress=_progress())
    shares = look.repeatable() if "average" in asked else []
    rows = look.pathways() if pathways else []
    page = review_run(place, run)
    review_index(place)
    worse, same = scores.worse_than_mean(), look.same_pathways(rivals, seeds)
    found: dict[str, Any] = {"run": run, "page": str(page), **scores.to_json(), "remarks": same}
    found["worse_than_mean"] = worse.to_json()
    for name in sorted(set(asked) - {row.model for row in scores}):
        say(f"{name}: a baseline for none of these targets")
    if as_json:
        found |= ({"repeatable": shares} if shares else {}) | ({"pathways": rows} if pathways else {})
        document(found | ({"mechanism": [one.to_json() for one in kinds]} if mechanism else {}))
        return
    lines(*str(scores).splitlines())
    if seeds > 1:
        lines(f"each network is the mean of {seeds} trainings; together: what all {seeds} of the run expect, averaged")
    if leads := scores.leads(rivals):
        table(("session", "port", "score", "beside", "lead of the network (95 %)"), leads)
    lines(*same, *worse.lines(), *(_repeats(row) for row in shares))
    if pathways:
        _pathway_tables(rows)
    lines(*(one.words() for one in kinds))
    lines(f"page: {page}")


def _repeats(row: Mapping[str, Any]) -> str:
    told = "too little was repeated to say what" if row["share"] is None else f"{row['share']:.0%}"
    return f"{row['session']}: {told} of the variance of {row['port']} repeats with its events (median over channels)"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pathway_tables(rows: list[dict[str, Any]]) -> None:
    from neuroloom.pipeline.scores.pathways import WARNING

    ports = list(dict.fromkeys(port for row in rows for port in row["lesion"]))
    carried = [port for port in ports if any(row["carries"].get(port) is not None for row in rows)]
    has_several = len({row["session"] for row in rows}) > 1
    where = ("session", "pathway") if has_several else ("pathway",)
    named = [
        ((row["session"],) * has_several + (f"{row['source']} -> {row['target']}",), row)
        for row in rows[:MOST_PATHWAYS]
    ]
    lost = [(*name, f"{row['share']:.1%}", *(_plain(row["lesion"].get(port)) for port in ports)) for name, row in named]
    table((*where, "share of input", *(f"{port}: nats lost without it" for port in ports)), lost)
    if carried:
        told = [(*name, *(_plain(row["carries"].get(port)) for port in carried)) for name, row in named]
        lines("")
        table((*where, *(f"{port}: R2 of its messages" for port in carried)), told)
    if len(rows) > MOST_PATHWAYS:
        lines(f"{len(rows) - MOST_PATHWAYS} further rows are in pathways.json, in the folder of the run")
    lines(WARNING)


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="As their configs are called.")],
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Several runs side by side, as a table and as a page.

    The page has their losses, scores and differing settings.
    """
    from neuroloom.pipeline.reviewing import compared_remarks, review_compared
    from neuroloom.pipeline.runs import running
    from neuroloom.pipeline.scores import judging
    from neuroloom.pipeline.store import Store

    place, runs = Store.here(store).existing(), list(dict.fromkeys(runs))
    rows = judging.compare_runs(runs, place)
    page = review_compared(place, runs)
    remarks = [remark for run in runs if (remark := running.unfinished(place, run))] + compared_remarks(place, runs)
    if as_json:
        document({"runs": runs, "rows": rows, "remarks": remarks, "page": str(page)})
        return
    found = [(row, run, scores) for row in rows for run in runs if (scores := _of_run(row["scores"], run))]
    models = list(dict.fromkeys(model for _, _, scores in found for model in scores))
    shown = [
        (row["session"], row["port"], row["metric"], run, *(_cell(scores.get(model)) for model in models))
        for row, run, scores in found
    ]
    table(("session", "port", "score", "run", *models), shown)
    lines(*remarks, f"page: {page}")


def _of_run(scores: Mapping[str, Any], run: str) -> dict[str, Any]:
    """Of columns "one", "one ridge", "two", ... those of a run, by model."""
    own = {"network": scores[run]} if run in scores else {}
    return own | {c.removeprefix(f"{run} "): score for c, score in scores.items() if c.startswith(f"{run} ")}


def predict(
    run: RunArgument,
    session: SessionArgument,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings whose mean it is; evaluate --seeds makes them.")] = 1,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """What a run expects of a session, as an HDF5 file.

    Bin by bin; the file is named.
    """
    from neuroloom.pipeline.runs import running
    from neuroloom.pipeline.scores import predicting
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    path = predicting.predict_run(run, session, place, seeds=seeds)
    if remark := running.unfinished(place, run):
        say(remark)
    if as_json:
        document({"run": run, "session": session, "file": str(path)})
    else:
        lines(str(path))


def fidelity(
    run: RunArgument,
    events: Annotated[str, typer.Option(help="The port of events after which behaviour is compared.")] = "",
    noise: Annotated[str, typer.Option(help="Levels, as shares of a unit's own spread.")] = "0.1,0.3,1,3",
    against: Annotated[str, typer.Option(help="The teacher, where that is a run of this store.")] = "",
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Where a network departs from whom it was trained on.

    On held-out behaviour; and what damage costs it.
    """
    from neuroloom.pipeline.reviewing import review_run
    from neuroloom.pipeline.scores.fidelity import fidelity_of_run
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    found = fidelity_of_run(run, place, events=events, noise=_numbers(noise), against=against)
    page = review_run(place, run)
    if as_json:
        document(found.to_json() | {"page": str(page)})
        return
    lines(*found.sentences(), *found.notes)
    rows = [(port.session, port.port, measure) for port in found.ports for measure in port.measures]
    shown = [(session, port, m.aspect, _measured(m), *_beside(m)) for session, port, m in rows]
    table(("session", "port", "", "measure", "copy", "exact", "difference", ""), shown)
    lines(f"page: {page}#fidelity")


def search(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file of a run, with a table [search].")],
    prepare: Annotated[bool, typer.Option("--prepare", help="Only write it down, for the dashboard to run.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Try settings that Optuna proposes; the best is the run.

    The same again goes on where it stopped.
    """
    from neuroloom.pipeline.reviewing import review_run
    from neuroloom.pipeline.runs import search_config, searching
    from neuroloom.pipeline.scores import judging
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    asked = search_config.read_search_config(config)
    folder = searching.prepare_search(asked, place)
    if prepare and as_json:
        document({"run": asked.name, "folder": str(folder), "prepared": True})
        return
    if prepare:
        lines(f"{folder}: prepared; the deployment search/searches runs it as {asked.name!r}")
        return
    with _goes_on(f"search {config}"):
        found = searching.run_search(asked.name, place, progress=say)
    worse = judging.worse_of(asked.name, place)
    page = review_run(place, asked.name)
    if as_json:
        document(
            {"run": asked.name, "folder": str(folder), "page": str(page)} | found | {"worse_than_mean": worse.to_json()}
        )
        return
    names = list(asked.search.space)
    ranked = sorted(found["trials"], key=lambda row: (row["loss"] is None, row["loss"]))
    shown = [(row["trial"], _loss(row), *(short(row["values"].get(name, "")) for name in names)) for row in ranked]
    table(("trial", "loss", *names), shown)
    lines(f"{asked.name}: trial {found['best']} is the run now", f"  {folder}", f"  page: {page}")
    lines(*(f"  {line}" for line in worse.lines()))


def reinforce(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A TOML file; pipeline/runs/reinforcing.py explains it.")
    ],
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Make rewarded answers of a trained copy likelier.

    On a leash to the copy; tells its fidelity before and after.
    """
    from dataclasses import asdict

    from neuroloom.pipeline.reviewing import review_run
    from neuroloom.pipeline.runs import reinforcing
    from neuroloom.pipeline.store import Store

    place = Store.here(store).existing()
    asked = reinforcing.read_reinforce_config(config)
    found, before, after = reinforcing.reinforce_run(
        asked, place, seldom(lambda step, loss: f"step {step}: loss {loss:.4f}")
    )
    page = review_run(place, asked.name)
    if as_json:
        both = {"before": before.to_json(), "after": after.to_json()}
        document({"run": asked.name, "page": str(page), **asdict(found), **both})
        return
    lines(f"{asked.name}: {found.words()}")
    for when, one in (("before", before), ("after", after)):
        lines(*(f"  {when}: {sentence}" for sentence in one.sentences()))
    lines(f"  page: {page}#fidelity")


@contextmanager
def _goes_on(command: str, is_whole: bool = False) -> Iterator[None]:
    """Ctrl-C is answered by what goes on with it. is_whole: the command is told in words, not to be typed."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; {command if is_whole else f'`neuroloom {command}`'} goes on from the last checkpoint")
        raise


def _loss(row: dict[str, Any]) -> str:
    return row["why"][:60] if row["loss"] is None else f"{row['loss']:.4f}"


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _names(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}; numbers with commas between them are wanted") from error


def _measured(measure: Any) -> str:
    return f"{measure.name}{f': {measure.what}' if measure.what else ''}"


def _beside(measure: Any) -> tuple[str, str, str, str]:
    known = math.isfinite(measure.low)
    if not measure.tested:
        return f"{measure.copy:.3f}", "", f"({measure.low:.3f} to {measure.high:.3f})" if known else "", ""
    away = f"{measure.departure:+.3f}" + (f" ({measure.low:+.3f} to {measure.high:+.3f})" if known else "")
    return f"{measure.copy:.3f}", f"{measure.person:.3f}", away, "departs" if measure.departs else ""


def _progress() -> Any:
    """A bar where somebody looks, now and then a line where not."""
    return True if sys.stderr.isatty() else seldom(lambda step, loss: f"step {step}: loss {loss:.4f}")


def _cell(score: dict[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return ""
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})" if score["low"] is not None else "n/a"
