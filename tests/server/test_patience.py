"""Who may interrupt whom on a core that is busy."""

from __future__ import annotations

import os
from threading import Thread
from threading import enumerate as all_threads

import pytest

from server.patience import patience
from tests.server.shop import Shop

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has such threads")


def policy_of_a_thread_started_now() -> int:
    told: list[int] = []
    thread = Thread(target=lambda: told.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return told[0]


def test_threads_that_are_started_meanwhile_interrupt_nobody() -> None:
    before = os.sched_getscheduler(0)
    with patience():
        assert policy_of_a_thread_started_now() == os.SCHED_BATCH
    assert policy_of_a_thread_started_now() == os.sched_getscheduler(0) == before
    with pytest.raises(KeyError, match="failed"), patience():
        raise KeyError("what starts them failed")
    assert os.sched_getscheduler(0) == before


def test_where_it_cannot_be_had_nothing_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with patience():
        assert policy_of_a_thread_started_now() == os.SCHED_OTHER
    monkeypatch.delattr(os, "sched_setscheduler")
    with patience():
        assert policy_of_a_thread_started_now() == os.SCHED_OTHER


def test_what_answers_pages_is_not_interrupted_by_what_works_beside_it(shop: Shop) -> None:
    policies: dict[str, set[int]] = {"lane": set(), "beside": set()}
    for thread in all_threads():
        if thread.native_id is not None and thread.name.startswith(("lane", "refresh", "served")):
            kind = "lane" if thread.name.startswith("lane") else "beside"
            policies[kind].add(os.sched_getscheduler(thread.native_id))
    assert policies == {"lane": {os.SCHED_OTHER}, "beside": {os.SCHED_BATCH}}
