"""`neuroloom demo`: the whole story on a synthetic person, told beside the truth; fails where the truth is missed.

three devices record -> a folder dropped into the inbox -> the served deployments ingest it
-> they train a network of four areas on the session -> clocks, units and rates beside the true ones
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from neuroloom.pipeline.runs.run_config import RunConfig

if TYPE_CHECKING:
    from neuroloom.flows.serve import Served
    from neuroloom.ingest.session import Session
    from neuroloom.ingest.streams import Units
    from neuroloom.pipeline.scores.evaluation import Scores
    from neuroloom.pipeline.store import Store
    from neuroloom.pipeline.synthetic.sample_brain import Brain
    from neuroloom.pipeline.synthetic.truth import ClockTruth, UnitTruth

DURATION_S = 150.0
SEED = 7
SESSION = "sub-demo_ses-01_task-choice"
DROP = "person"
UNITS = "ap units"
RUN = RunConfig(
    name="demo",
    sessions=(SESSION,),
    topology="four-areas",
    steps=500,
    training={"shrink_readouts": True},
)
WORST_CLOCK_ERROR_MS = 1.0
MIN_FOUND_UNITS = 0.75  # of the true units, with an accuracy of at least FOUND
FOUND = 0.8
MIN_OF_CEILING = 0.75  # bits per spike of the network over those of the true rates
LONGEST_S = 1800.0


def run_demo(store: Store, console: Console | None = None, *, duration_s: float = DURATION_S) -> list[str]:
    """The whole story; returns what of the truth was missed, a line each, none where all is well."""
    from neuroloom.flows.serve import serving
    from neuroloom.pipeline.synthetic.sample_brain import live

    console = console or Console(stderr=True)
    missed: list[str] = []
    console.print("starting the Prefect server, the deployments and the inbox watcher")
    with serving(store) as served:
        record(store, console, duration_s)
        session = ingest(served, console)
        brain = live(duration_s, SEED)
        clocks, units = recovered(session, brain)
        show_clocks(console, clocks)
        show_units(console, units)
        missed += clocks_missed(clocks) + units_missed(units)
        scores = train_and_score(served, session, brain, console)
        missed += scores_missed(scores)
    show_where(console, store)
    return missed


def record(store: Store, console: Console, duration_s: float) -> None:
    """Let the devices record and drop the finished folder into the inbox, as one rename."""
    from neuroloom.pipeline.synthetic.sample_devices import record_person

    console.print(
        f"[bold]1[/] a synthetic person is recorded for {duration_s:.0f} s by a probe, an EEG, an eye tracker"
    )
    if (store.create().inbox / DROP).exists():  # a demo that was stopped left it there: it is the same recording
        return
    making = store.root / ".recording"
    shutil.rmtree(making, ignore_errors=True)
    record_person(making, duration_s=duration_s, seed=SEED)
    os.rename(making, store.inbox / DROP)


def ingest(served: Served, console: Console) -> Session:
    """Wait until the inbox is empty again; gives the session that came of it."""
    from neuroloom.flows.serve import wait_until_idle
    from neuroloom.ingest.session import Session

    console.print(f"[bold]2[/] the folder lies in {served.store.inbox}; it is read, aligned, sorted, published")
    with console.status("ingesting"):
        wait_until_idle(served, timeout_s=LONGEST_S)
    return Session.open(served.store.latest(SESSION))


def recovered(session: Session, brain: Brain) -> tuple[list[ClockTruth], list[UnitTruth]]:
    """Clocks and units of the session, each beside the true one."""
    from neuroloom.pipeline.synthetic.truth import clock_truths, unit_truths

    return clock_truths(session, brain.duration_s), unit_truths(sorted_units(session), brain)


def sorted_units(session: Session) -> Units:
    """What the sorter found."""
    from neuroloom.ingest.streams import Units

    return next(stream for stream in session.streams if isinstance(stream, Units))


def train_and_score(served: Served, session: Session, brain: Brain, console: Console) -> Scores:
    """Train through the served deployment, then score beside the baselines and beside the true rates."""
    from neuroloom.flows.serve import run_and_wait
    from neuroloom.pipeline.reviewing import review_index, review_run
    from neuroloom.pipeline.runs import preparing, running
    from neuroloom.pipeline.scores.evaluation import evaluate
    from neuroloom.pipeline.synthetic.truth import ceiling_counts

    store = served.store
    console.print(f"[bold]3[/] a network of four areas trains on the session for {RUN.steps} steps")
    preparing.prepare_run(RUN, store)
    with progress_bar(console, "training", RUN.steps) as bar:
        run_and_wait(
            served,
            "train/training",
            {"run": RUN.name},
            timeout_s=LONGEST_S,
            progress=lambda: bar(running.progress_of(store, RUN.name)[0]),
        )
    data = running.windows_of(RUN, store)
    features = data.sessions[session.id].features
    ceiling = ceiling_counts(
        sorted_units(session),
        features[UNITS].port.channel_names,
        brain,
        start_s=features.start_s,
        bin_s=features.bin_s,
        n_bins=features.n_bins,
    )
    scores = evaluate(running.open_run(store, RUN.name), data.held_out, ceiling={UNITS: ceiling})
    review_run(store, RUN.name)
    review_index(store)
    console.print(scores)
    return scores


@contextmanager
def progress_bar(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar in the terminal, moved by calling what it gives with how far things have come."""
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


def clocks_missed(truths: list[ClockTruth]) -> list[str]:
    """Devices whose recovered time is off by more than the limit, or that were not aligned at all."""
    missed = [
        f"clock of the {t.device} device: {t.worst_error_ms:.2f} ms off; {WORST_CLOCK_ERROR_MS} ms or less is wanted"
        for t in truths
        if not t.worst_error_ms <= WORST_CLOCK_ERROR_MS
    ]
    if len(truths) != 2:
        missed.append(f"clocks: {len(truths)} devices aligned to the probe; 2 are wanted")
    return missed


def units_missed(truths: list[UnitTruth]) -> list[str]:
    """Empty where enough true units were found well."""
    found = sum(truth.accuracy >= FOUND for truth in truths)
    if found >= MIN_FOUND_UNITS * len(truths):
        return []
    return [f"units: {found} of {len(truths)} found with {FOUND:.0%} accuracy; {MIN_FOUND_UNITS:.0%} are wanted"]


def scores_missed(scores: Scores) -> list[str]:
    """Empty where the network beats ridge and comes near what the true rates score."""
    network, truth = scores.get(port=UNITS), scores.get(port=UNITS, model="truth")
    ridge = scores.get(port=UNITS, model="ridge")
    if network.value >= MIN_OF_CEILING * truth.value > 0 and network.value > ridge.value:
        return []
    wanted = f"{MIN_OF_CEILING:.0%} of the {truth.value:.3f} of the true rates"
    return [
        f"spikes: {network.value:.3f} bits per spike; {wanted}, and more than ridge's {ridge.value:.3f}, are wanted"
    ]


def show_clocks(console: Console, truths: list[ClockTruth]) -> None:
    """Recovered beside true, a line per device."""
    table = Table(title="clocks: recovered beside true", title_justify="left")
    for column in ("device", "offset s", "true", "drift ppm", "true", "worst error ms"):
        table.add_column(column, justify="left" if column == "device" else "right")
    for t in truths:
        row = (f"{t.offset_s:.4f}", f"{t.true_offset_s:.4f}", f"{t.drift_ppm:.2f}", f"{t.true_drift_ppm:.2f}")
        table.add_row(t.device, *row, f"{t.worst_error_ms:.3f}")
    console.print(table)


def show_units(console: Console, truths: list[UnitTruth]) -> None:
    """Every true unit and what the sorter made of it."""
    table = Table(title="units: sorted beside true", title_justify="left")
    for column in ("true unit", "area", "spikes", "sorted as", "accuracy"):
        table.add_column(column, justify="right" if column in ("spikes", "accuracy") else "left")
    for t in truths:
        table.add_row(t.unit, t.area, str(t.n_spikes), t.sorted_unit or "not found", f"{t.accuracy:.2f}")
    console.print(table)


def show_where(console: Console, store: Store) -> None:
    """Where everything lies now."""
    console.print(
        f"[bold]4[/] look at {store.review / 'index.html'}: the session, the run and what the inbox did\n"
        f"  the session file  {store.latest(SESSION) / 'session.nwb'}\n"
        f"  the run           {store.run_folder(RUN.name)}\n"
        f"  next              neuroloom up --store {store.root}, then drop your own recordings into {store.inbox}",
        soft_wrap=True,
    )
