"""Work in threads keeps its order, and its errors arrive where it is asked for."""

import threading

import pytest

from neuroloom.ingest._threads import ahead, in_threads


def test_in_threads_keeps_the_order_and_tells_of_errors():
    assert list(in_threads(lambda n: n * n, range(100))) == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda n: 1 // (50 - n), range(100)))


def test_the_next_one_is_made_while_the_last_one_is_used():
    made = [threading.Event() for _ in range(4)]

    def each():
        for n, event in enumerate(made):
            event.set()
            yield n

    for n, found in enumerate(ahead(each())):
        assert found == n
        assert made[min(n + 1, 3)].wait(10)
        assert not made[min(n + 2, 3)].is_set() or n >= 2


def test_an_error_in_what_is_made_ahead_is_raised_in_its_turn():
    def each():
        yield 1
        raise OSError("no more")

    taken = ahead(each())
    assert next(taken) == 1
    with pytest.raises(OSError, match="no more"):
        next(taken)
