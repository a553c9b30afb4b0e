"""Batches made ahead: in order, a few at a time, and no later than they are wanted."""

import threading

import pytest

from neuroloom.pipeline.runs._ahead import ahead


def test_they_come_in_order_and_none_is_made_twice():
    made = []
    with ahead(lambda n: made.append(n) or n * n, 3, 8) as take:
        assert [take(n) for n in range(3, 8)] == [9, 16, 25, 36, 49]
    assert made == [3, 4, 5, 6, 7]


def test_only_so_many_are_made_before_they_are_asked_for():
    made, third = [], threading.Event()

    def make(n):
        made.append(n)
        if n == 3:
            third.set()

    with ahead(make, 0, 100, depth=3) as take:
        take(0)
        assert third.wait(10)
    assert made == [0, 1, 2, 3]


def test_what_goes_wrong_is_raised_where_it_is_wanted():
    with ahead(lambda n: 1 // (n - 1), 0, 5) as take:
        assert take(0) == -1
        with pytest.raises(ZeroDivisionError):
            take(1)
