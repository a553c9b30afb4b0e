"""Trials of a search side by side, each in a process of its own: torch's random state is a process's.

Design rationale: programs, as in `_together.py`, not a pool: Ctrl-C reaches this process alone, which ends the others
at once; a pool whose workers got it too waited for them for ever.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from neuroloom.pipeline.boxed._limits import end_with_parent
from neuroloom.pipeline.runs._together import LOOK_EVERY_S, Started, end_all
from neuroloom.pipeline.store import Store


def train_in_processes(name: str, store: Store, numbers: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Train these trials side by side; gives each with its loss as it ends, NaN where it failed.

    A trial whose process was ended by a signal (too little memory, say) failed. Raises ValueError for what else one
    dies of; the others are ended, and go on at their checkpoints when the search does.
    """
    share = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // len(numbers)))}
    with ExitStack() as stack:
        running: list[Started] = []
        stack.callback(end_all, running)
        for number in numbers:
            words = stack.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, name, str(number), str(store.root)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                env={**share, **os.environ},
                start_new_session=True,  # Ctrl-C is for this process, which ends them
                preexec_fn=end_with_parent,
            )
            running.append(Started(number=number, process=process, words=words))
        waiting = list(running)
        while waiting:
            done = next((one for one in waiting if one.process.poll() is not None), None)
            if done is None:
                time.sleep(LOOK_EVERY_S)
                continue
            waiting.remove(done)
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
    """One trial; its loss is the last line that it prints."""
    from neuroloom.pipeline.runs.searching import train_trial

    name, number, root = sys.argv[1:]
    print(json.dumps({"loss": train_trial(name, int(number), root)[1]}))


if __name__ == "__main__":
    main()
