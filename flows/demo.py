"""`neuroloom demo`: the whole story on a synthetic person, told beside the truth; fails where the truth is missed.

three devices record -> a folder dropped into the inbox -> the served deployments ingest it
-> a network trains on the session -> recovered clocks, units and rates beside the true ones
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from neuroloom.ingest.streams import Units

if TYPE_CHECKING:
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.sample_brain import Brain
    from neuroloom.pipeline.store import Store
    from neuroloom.pipeline.truth import ClockTruth, UnitTruth

DURATION_S = 150.0
SEED = 7
WORST_CLOCK_ERROR_MS = 1.0
MIN_FOUND_UNITS = 0.6  # of the true units, with an accuracy of at least FOUND
FOUND = 0.7


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A truth that was not approached."""

    what: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.what}: {self.found}; {self.wanted} was wanted"


def record(store: Store) -> Brain:
    """Let the devices record and drop the finished folder into the inbox, as one rename."""
    from neuroloom.pipeline.sample_devices import record_person

    making = store.root / ".recording"
    brain = record_person(making, duration_s=DURATION_S, seed=SEED)
    os.rename(making, store.inbox / f"person-{time.strftime('%H%M%S')}")
    return brain


def clocks_missed(truths: list[ClockTruth]) -> list[Missed]:
    """Devices whose recovered time is off by more than the limit, or that were not aligned at all."""
    missed = [
        Missed(
            what=f"clock of the {t.device} device",
            found=f"{t.worst_error_ms:.2f} ms off",
            wanted=f"{WORST_CLOCK_ERROR_MS} ms or less",
        )
        for t in truths
        if not t.worst_error_ms <= WORST_CLOCK_ERROR_MS
    ]
    if len(truths) < 2:
        missed.append(Missed(what="aligned devices", found=str(len(truths)), wanted="2"))
    return missed


def units_missed(truths: list[UnitTruth]) -> list[Missed]:
    """Empty where enough true units were found well."""
    found = sum(t.accuracy >= FOUND for t in truths)
    if found >= MIN_FOUND_UNITS * len(truths):
        return []
    wanted = f"{MIN_FOUND_UNITS:.0%}, each with an accuracy of {FOUND:.0%}"
    return [Missed(what="units", found=f"{found} of {len(truths)} found", wanted=wanted)]


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


def sorted_units(session: Session) -> Units:
    """The session's sorted units."""
    return next(stream for stream in session.streams if isinstance(stream, Units))


def run_demo(store_root: Path, console: Console | None = None) -> list[Missed]:
    """The whole story; returns the truths that were missed, none where all is well."""
    from neuroloom.flows.serve import serving, wait_until_idle
    from neuroloom.ingest.session import Session
    from neuroloom.pipeline.store import Store
    from neuroloom.pipeline.truth import clock_truths, unit_truths

    console = console or Console(stderr=True)
    store = Store(store_root)
    store.create()
    console.print(
        f"[bold]1[/] a synthetic person is recorded for {DURATION_S:.0f} s by a probe, an EEG and an eye tracker"
    )
    with serving(store) as served:
        before = set(store.sessions.glob("*/v*/manifest.json"))
        brain = record(store)
        console.print(f"[bold]2[/] the recordings lie in {store.inbox}; the served flows ingest them")
        wait_until_idle(served, timeout_s=900)
        fresh = sorted(set(store.sessions.glob("*/v*/manifest.json")) - before)
        manifest = fresh[-1] if fresh else max(store.sessions.glob("sub-demo*/v*/manifest.json"))
        session = Session.open(manifest.parent)
        clocks, units = clock_truths(session, brain.duration_s), unit_truths(sorted_units(session), brain)
        show_clocks(console, clocks)
        show_units(console, units)
        console.print("[bold]3[/] a network of four areas trains on the session")
        missed = clocks_missed(clocks) + units_missed(units)
    return missed
