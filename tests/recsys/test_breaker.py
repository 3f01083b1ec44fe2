"""Who waits for a server that hangs, and who does not."""

from __future__ import annotations

import pytest

from recsys.breaker import Breaker


class Hung(Exception):
    """Nobody answered."""


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(waited_s=0.05, rest_s=1.0, monotonic_s=clock)


def ask(breaker, clock, takes_s=0.0, error=None):
    """Ask a server that takes its time, and fails with `error`."""
    with breaker.asking(Hung):
        clock.now_s += takes_s
        if error is not None:
            raise error


def is_asked(breaker, clock, takes_s=0.0, *, fails=False):
    before_s = clock.now_s
    try:
        ask(breaker, clock, takes_s or 1e-6, Hung("no answer") if fails else None)
    except Hung:
        return clock.now_s > before_s
    return True


def test_behind_one_that_waited_in_vain_nobody_waits_until_the_rest_is_over(breaker, clock):
    assert is_asked(breaker, clock, 0.1, fails=True)
    assert not is_asked(breaker, clock)
    clock.now_s += 0.99
    assert not is_asked(breaker, clock)
    clock.now_s += 0.02
    assert is_asked(breaker, clock)
    assert is_asked(breaker, clock)


def test_of_those_who_come_after_the_rest_one_asks(breaker, clock):
    is_asked(breaker, clock, 0.1, fails=True)
    clock.now_s += 1.0
    with breaker.asking(Hung):
        clock.now_s += 0.05
        assert not is_asked(breaker, clock)
    assert is_asked(breaker, clock)


def test_one_that_asks_again_in_vain_begins_another_rest(breaker, clock):
    is_asked(breaker, clock, 0.1, fails=True)
    clock.now_s += 1.0
    assert is_asked(breaker, clock, 0.1, fails=True)
    clock.now_s += 0.99
    assert not is_asked(breaker, clock)


def test_a_failure_that_comes_at_once_refuses_nobody(breaker, clock):
    assert is_asked(breaker, clock, fails=True)
    assert is_asked(breaker, clock, fails=True)


def test_who_is_refused_is_told_what_the_last_one_met(breaker, clock):
    with pytest.raises(Hung, match="no answer in 100 ms"):
        ask(breaker, clock, 0.1, Hung("no answer in 100 ms"))
    with pytest.raises(Hung, match="no answer in 100 ms"):
        ask(breaker, clock)


def test_other_errors_say_nothing_of_the_server(breaker, clock):
    with pytest.raises(ValueError, match="mine"):
        ask(breaker, clock, 0.1, ValueError("mine"))
    assert is_asked(breaker, clock)
