"""Work beside other work: done either way, and given up when nobody waits for it any more."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from recsys.fitting import beside


def test_with_threads_it_goes_on_beside_the_block() -> None:
    meeting = threading.Barrier(2, timeout=30)

    def work(_):
        meeting.wait()
        return 7

    with beside(work, lambda *_: None, threads=2) as result:
        meeting.wait()  # would never come back if the work waited for the block
        assert result() == 7


def test_with_one_thread_it_is_done_when_it_is_asked_for() -> None:
    told: list[str] = []

    def work(tell):
        tell("work", 1, 1)
        return threading.current_thread()

    with beside(work, lambda stage, *_: told.append(stage), threads=1) as result:
        told.append("block")
        assert result() is result() is threading.current_thread()
    assert told == ["block", "work"], "and no second time"


def test_if_the_block_fails_the_work_ends_at_its_next_step() -> None:
    failed, ended = threading.Event(), []

    def work(tell):
        failed.wait(30)
        try:
            for step in range(1_000_000):
                tell("work", step, 1_000_000)
        except CancelledError:
            ended.append(step)
            raise

    threading.Timer(0.5, failed.set).start()
    with pytest.raises(ValueError, match="of the block"), beside(work, lambda *_: None, threads=2):
        raise ValueError("of the block")
    assert ended == [0]


def test_what_fails_in_the_work_is_heard_where_it_is_waited_for() -> None:
    def work(_):
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"), beside(work, lambda *_: None, threads=2) as result:
        result()
