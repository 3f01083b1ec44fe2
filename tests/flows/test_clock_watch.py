"""A clock that is set back ends the flow; one that goes on, or ahead, does not."""

from __future__ import annotations

import subprocess
import sys
from threading import Event

import pytest

from flows.clock_watch import ClockWatch, watching


class Clock:
    def __init__(self):
        self.wall_s = self.monotonic_s = 1000.0

    def passes(self, by_s, set_by_s=0.0):
        self.monotonic_s += by_s
        self.wall_s += by_s + set_by_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(clock):
    return ClockWatch(lambda: clock.wall_s, lambda: clock.monotonic_s)


def test_what_is_set_back_is_told_once(clock, watch):
    clock.passes(0.5)
    assert watch.set_back_s() == 0
    clock.passes(0.5, set_by_s=-3600)
    assert watch.set_back_s() == 3600
    clock.passes(0.5)
    assert watch.set_back_s() == 0
    clock.passes(0.5, set_by_s=7200)
    assert watch.set_back_s() == -7200


def test_a_little_is_borne_and_more_is_not(monkeypatch, watch):
    steps, told, looked = iter([0.9, -500.0, 60.0]), [], Event()

    def tell(back_s):
        told.append(back_s)
        looked.set()

    monkeypatch.setattr(watch, "set_back_s", lambda: next(steps, 0.0))
    with watching(watch, tell, every_s=0.001):
        assert looked.wait(20)
    assert told == [60.0]


def test_the_process_ends_at_once_and_says_why():
    code = (
        "from flows.clock_watch import end_process\n"
        "try:\n    end_process(3600.0)\nfinally:\n    print('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("headrace: the clock was set back by 3600 s")
