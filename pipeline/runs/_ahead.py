"""Batches made ahead of their use, so that training does not wait for data; at most a few at once.

Design rationale: a thread instead of worker processes. What takes time is copying windows out of memory maps, which
numpy does without holding the interpreter; a process would copy each batch once more and hold what it has mapped.
Batches are functions of their number, so it makes no difference to the numbers who makes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
DEPTH = 3  # batches that exist at once, besides the one in use


@contextmanager
def ahead(make: Callable[[int], T], first: int, stop: int, *, depth: int = DEPTH) -> Iterator[Callable[[int], T]]:
    """A function that gives `make(n)` for n = first, first + 1, ... below stop, in this order.

    What `make` raises is raised where its result is asked for.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        waiting: deque[tuple[int, Future[T]]] = deque()
        asked_for = first

        def fill() -> None:
            nonlocal asked_for
            while len(waiting) < depth and asked_for < stop:
                waiting.append((asked_for, pool.submit(make, asked_for)))
                asked_for += 1

        def take(n: int) -> T:
            fill()
            number, future = waiting.popleft()
            assert number == n, f"batch {n} after {number - 1}"
            found = future.result()
            fill()
            return found

        try:
            yield take
        finally:
            for _, future in waiting:
                future.cancel()
