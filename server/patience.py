"""Threads that do not interrupt others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def patience() -> Iterator[None]:
    """Threads that are started meanwhile, and those that they start, wait until who works on their core has
    done or has had its share (Linux's SCHED_BATCH); others would interrupt it as they wake. Where that cannot
    be had nothing is different."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
