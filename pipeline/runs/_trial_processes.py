"""Trials of a search side by side, each in a process of its own: torch's random state is a process's."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from neuroloom.pipeline.runs._processes import LOOK_EVERY_S, Started, request, started
from neuroloom.pipeline.store import Store

MODULE = "neuroloom.pipeline.runs._trial_processes"


def train_in_processes(name: str, store: Store, numbers: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Train these trials side by side; gives each with its loss as it ends, NaN where it failed.

    A trial whose process was ended by a signal (too little memory, say) failed. Raises ValueError for what else one
    dies of; the others are ended, and go on at their checkpoints when the search does.
    """
    requests = {number: {"name": name, "number": number, "store": str(store.root)} for number in numbers}
    with started(MODULE, requests) as waiting:
        while waiting:
            done = next((one for one in waiting if one.process.poll() is not None), None)
            if done is None:
                time.sleep(LOOK_EVERY_S)
                continue
            waiting = [one for one in waiting if one is not done]
            yield done.number, _loss_of(done, name, store)


def _loss_of(ended: Started, name: str, store: Store) -> float:
    from neuroloom.pipeline.runs.searching import note_failure

    status = ended.process.returncode
    if status == 0:
        return float(json.loads(ended.last_words())["loss"])
    if status > 0:
        raise ValueError(f"{name}: trial {ended.number} {ended.ending()}; the same again goes on")
    note_failure(store, name, ended.number, f"was ended by {signal.Signals(-status).name}")
    return float("nan")


def main() -> None:
    """One trial; its loss is its last word."""
    from neuroloom.pipeline.runs.searching import train_trial

    asked = request()
    loss = train_trial(asked["name"], asked["number"], asked["store"])[1]
    print(json.dumps({"loss": loss}), file=sys.stderr)


if __name__ == "__main__":
    main()
