"""The sinks where what they write to fails."""

from __future__ import annotations

import pytest

from flows.sinks import StatePartition
from recsys.ports import StoreUnavailable
from tests.fakes import MemoryStore


def test_a_state_that_failed_is_closed_without_another_failure() -> None:
    store = MemoryStore()
    sink = StatePartition(store, decision_ttl_s=60)
    sink.write_batch([{"v:a": b"1"}])
    store.down = True
    with pytest.raises(StoreUnavailable):
        sink.write_batch([{"v:a": b"2"}])
    sink.close()


def test_the_end_of_a_flow_waits_until_the_state_is_safe() -> None:
    store = MemoryStore()
    sink = StatePartition(store, decision_ttl_s=60)
    sink.write_batch([{"v:a": b"1"}])
    store.down = True
    with pytest.raises(StoreUnavailable):
        sink.close()
