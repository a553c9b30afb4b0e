"""`neuroloom up`: everything of a store runs until Ctrl-C; one line whenever a drop changes."""

from __future__ import annotations

import signal
import time
from types import FrameType

from sqlalchemy.exc import DBAPIError

from neuroloom.flows.pages import token_of
from neuroloom.flows.printing import lines, say
from neuroloom.flows.serve import serving
from neuroloom.pipeline.catalog import Catalog
from neuroloom.pipeline.catalog.opening import away
from neuroloom.pipeline.catalog.tables import DONE, SETTLING, Drop
from neuroloom.pipeline.settings import wrong_settings
from neuroloom.pipeline.store import Store

LOOK_S = 1.0
SKEW_S = 60.0  # between the clocks of machines, and for a database that was busy


def run_up(store: Store) -> None:
    """Serve a store until interrupted (Ctrl-C, SIGTERM, a closed terminal); then end every part of it."""
    for end in (signal.SIGTERM, signal.SIGINT):  # a shell's background job is started with SIGINT ignored
        signal.signal(end, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # the terminal is closed, and nohup was not asked for
        signal.signal(signal.SIGHUP, _interrupt)
    say("starting the Prefect server, the review pages and the inbox watcher ...")
    try:
        with serving(store) as served:
            address = f"{served.review_url}/index.html#token={token_of(store)}"  # the token is what lets it write
            lines(f"dashboard     {served.dashboard_url}", f"review pages  {address}")
            for name, port in served.moved.items():
                say(f"{name}: {port} is taken by another program, hence another address than usual")
            lines(f"inbox         {store.inbox}   drop recordings here; Ctrl-C ends all of it")
            catalog = Catalog.of(store)
            shown = {drop.id: _standing(drop) for drop in catalog.drops.changed_since(time.time() - SKEW_S)}
            is_away, wrong = False, ""
            while True:
                for line in served.mend():
                    say(line)
                if (found := wrong_settings(store)) and found != wrong:
                    say(f"drops wait, and nothing new begins: {found}")
                wrong = found
                try:
                    shown, is_away = _tell(catalog, shown), False
                except DBAPIError as error:
                    if not is_away:
                        say(f"what drops come to is told later: {away(error)}")
                    is_away = True
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        say("ended")


def _tell(catalog: Catalog, shown: dict[int, str]) -> dict[int, str]:
    """A line for every drop that stands elsewhere since; gives those that changed lately."""
    now = {}
    for drop in catalog.drops.changed_since(time.time() - SKEW_S):
        now[drop.id] = _standing(drop)
        if shown.get(drop.id) != now[drop.id]:
            lines(_line(drop))
    return now


def _standing(drop: Drop) -> str:
    """Its state, with what it waits for where that may be a person."""
    return f"{drop.state} {drop.reason}" if drop.state == SETTLING else drop.state


def _line(drop: Drop) -> str:
    """`09:26:53  done         reach  sub-01_ses-02, 12 s`."""
    clock = time.strftime("%H:%M:%S", time.localtime(drop.changed_at))
    words = drop.reason or ", ".join(drop.sessions)
    took_s = drop.changed_at - drop.seen_at
    took = f", {took_s:.0f} s" if drop.state == DONE and took_s >= 1 else ""
    return f"{clock}  {drop.state.lower():<11}  {drop.name}  {words}".rstrip() + took


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
