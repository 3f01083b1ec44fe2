"""The first decisions of a server, taken for nobody, so that the first caller does not wait for what is made
once: filters compiled and looked at, memory taken, code read from the disk."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from recsys.banner import Banner
from recsys.block import Freshness, Slot
from recsys.decide import View, decide
from recsys.filters.expression import compile_filter
from recsys.fold import SessionRules
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement

log = structlog.get_logger("server.warm")

_NOT_KNOWN = Freshness(0, 0, -1, True)


def warm(
    shelf: Shelf,
    placements: Mapping[str, Placement],
    banners: Mapping[str, Banner],
    rules: SessionRules,
    now_ms: int,
) -> None:
    """One block of every placement. What goes wrong is logged: requests will tell their callers."""
    view = View(shelf, "", None, now_ms, rules, _NOT_KNOWN, banners=banners)
    try:
        # The first filter makes the grammar, and callers bring filters where placements have none.
        compile_filter("true")
        for name, placement in placements.items():
            decide(view, [Slot(name=name, placement=name, limit=placement.limit)], placements)
    except Exception:
        log.exception("not_warmed")
