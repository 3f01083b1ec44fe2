"""Blocks on their way to the log: in order, bounded, and off the request's path."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from recsys.ports import LogUnavailable
from server.metrics import Metrics
from server.served import decode_served
from server.served_queue import ServedQueue
from tests.fakes import MemoryLog
from tests.server.blocks import AT_MS, served
from tests.server.shop import until


def queue_to(log: MemoryLog, bound: int) -> tuple[ServedQueue, CollectorRegistry]:
    registry = CollectorRegistry()
    return ServedQueue(log, bound, Metrics(registry), lambda: AT_MS), registry


def test_writes_in_order_and_drains_at_the_stop() -> None:
    log = MemoryLog()
    queue, registry = queue_to(log, 1000)
    queue.put([served(number) for number in range(700)])
    queue.start()
    queue.stop(drain_s=10)
    assert [decode_served(record.value).block.decision_id for record in log.records] == [
        f"d{number}" for number in range(700)
    ]
    assert registry.get_sample_value("headrace_served_logged_total") == 700
    assert queue.depth == 0


def test_beyond_its_bound_the_oldest_are_dropped_and_counted() -> None:
    log = MemoryLog()
    queue, registry = queue_to(log, 10)
    queue.put([served(number) for number in range(25)])
    assert queue.depth == 10
    queue.start()
    queue.stop(drain_s=10)
    assert [decode_served(record.value).block.decision_id for record in log.records] == [
        f"d{number}" for number in range(15, 25)
    ]
    assert registry.get_sample_value("headrace_served_dropped_total") == 15


def test_a_log_that_was_down_gets_them_in_order() -> None:
    log = MemoryLog()
    log.down = True
    queue, _ = queue_to(log, 10)
    queue.start()
    queue.put([served(number) for number in range(12)])
    time.sleep(0.15)
    queue.put([served(12)])
    assert queue.depth == 10
    log.down = False
    until(lambda: len(log.records) == 10)
    queue.stop(drain_s=1)
    assert [decode_served(record.value).block.decision_id for record in log.records] == [
        f"d{number}" for number in range(3, 13)
    ]


def test_a_log_that_stays_down_does_not_hold_up_the_stop() -> None:
    log = MemoryLog()
    log.down = True
    queue, registry = queue_to(log, 10)
    queue.start()
    queue.put([served()])
    queue.stop(drain_s=0.1)
    assert registry.get_sample_value("headrace_served_dropped_total") == 1


def test_who_waits_for_a_pack_hears_when_it_is_durable() -> None:
    log = MemoryLog()
    noted: list[str] = []
    queue = ServedQueue(log, 10, Metrics(CollectorRegistry()), lambda: AT_MS, noted.extend)
    log.down = True
    queue.start()
    pack = queue.put_pack([served(number) for number in range(300)], ["pack", "d7"])
    assert not pack.wait(0.2)
    assert not noted
    log.down = False
    assert pack.wait(10)
    assert len(log.records) == 300
    until(lambda: noted == ["pack", "d7"])
    assert queue.put_pack([], []).wait(0)
    queue.stop(drain_s=1)


def test_a_log_that_is_down_is_not_asked_the_sooner_for_packs_that_come() -> None:
    log = MemoryLog()
    log.down = True
    asked = []
    append = log.append
    log.append = lambda records: asked.append(1) or append(records)  # type: ignore[assignment,method-assign,func-returns-value]
    queue, _ = queue_to(log, 10)
    queue.start()
    for number in range(50):
        queue.put_pack([served(number)], []).wait(0.01)
    queue.stop(drain_s=0)
    assert 1 <= len(asked) <= 5


def test_who_waits_for_a_pack_hears_of_the_stop() -> None:
    log = MemoryLog()
    log.down = True
    queue, registry = queue_to(log, 10)
    queue.start()
    pack = queue.put_pack([served(1), served(2)], [])
    queue.stop(drain_s=0.1)
    for one in (pack, queue.put_pack([served(3)], [])):
        with pytest.raises(LogUnavailable):
            one.wait(0)
    assert registry.get_sample_value("headrace_served_dropped_total") == 2


def test_one_that_the_log_refuses_does_not_hold_up_the_others() -> None:
    log = MemoryLog()
    queue, registry = queue_to(log, 10)
    append = log.append

    def refuse_once(records: Any) -> Any:
        log.append = append  # type: ignore[method-assign]
        raise ValueError("too long")

    log.append = refuse_once  # type: ignore[method-assign]
    queue.put([served(1)])
    queue.start()
    until(lambda: registry.get_sample_value("headrace_served_dropped_total") == 1)
    queue.put([served(2)])
    until(lambda: len(log.records) == 1)
    queue.stop(drain_s=1)
