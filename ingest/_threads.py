"""Work on long recordings that goes on beside itself, in threads: NumPy and digests leave Python's lock free."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

MOST_THREADS = 4  # one thread reads and digests, which is what more would wait for
IN_FLIGHT = 16  # chunks of at most 1 MiB

Given = TypeVar("Given")
Made = TypeVar("Made")


def ahead(made: Iterator[Made]) -> Iterator[Made]:
    """The same in the same order; the next one is made in a thread while the last one is used."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, made, end)
        while (one := coming.result()) is not end:
            coming = thread.submit(next, made, end)
            yield cast(Made, one)


def in_threads(do: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """`map` on every core, in order, with a few in flight; what is given is asked for and taken in this thread."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, MOST_THREADS)) as threads:
        try:
            for item in given:
                waiting.append(threads.submit(do, item))
                if len(waiting) > IN_FLIGHT:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
