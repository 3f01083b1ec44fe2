"""A clock that is set back (by NTP, by a virtual machine that is resumed, by hand): the engine's timers wait
until it shows again what it showed when they were set, for an hour if it was set back by one, and meanwhile
hear no signal. So the flow ends, as if it had been killed, and whoever supervises it starts it anew."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

LOOK_EVERY_S = 0.5
BEARABLE_S = 1.0
"""The flow stands still for so long rather than end."""


class ClockWatch:
    """Sees by how much the wall clock (seconds) goes back against the monotonic one."""

    def __init__(self, wall_s: Callable[[], float], monotonic_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._apart_s = wall_s() - monotonic_s()

    def set_back_s(self) -> float:
        """Since the last look; negative: it was set ahead."""
        before_s, self._apart_s = self._apart_s, self._wall_s() - self._monotonic_s()
        return before_s - self._apart_s


def end_process(set_back_s: float) -> None:
    """At once, and without a word to the engine, which does not listen: it goes on from its last snapshot."""
    sys.stderr.write(
        f"headrace: the clock was set back by {set_back_s:.0f} s, for which the flow's timers would wait:"
        " it ends, and goes on when it is started again (`headrace up` does so)\n"
    )
    sys.stderr.flush()
    os._exit(1)


@contextmanager
def watching(
    watch: ClockWatch, on_set_back: Callable[[float], None] = end_process, every_s: float = LOOK_EVERY_S
) -> Iterator[None]:
    """Looks again and again while the body runs; `on_set_back` is told of more than BEARABLE_S."""
    done = Event()

    def look() -> None:
        while not done.wait(every_s):
            back_s = watch.set_back_s()
            if back_s > BEARABLE_S:
                on_set_back(back_s)

    thread = Thread(target=look, name="clock-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def this_clock() -> ClockWatch:
    return ClockWatch(time.time, time.monotonic)
