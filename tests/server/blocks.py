"""Blocks that were served, made by hand."""

from __future__ import annotations

from typing import Any

from recsys.block import Block, BlockItem, Freshness, Lineup, Reason
from server.requests import Asker, Caller
from server.served import Served

AT_MS = 1_760_000_000_123


def served(number: int = 0, **fields: Any) -> Served:
    item = BlockItem(
        "p1", 0.5, Reason("neighbours", "because you viewed p2", "p2", "Product Viewed", AT_MS - 5)
    )
    block = Block(
        f"d{number}", "top", "home.hero", Lineup.of([item]), "", "v1", Freshness(AT_MS - 9, 9, 3, True), AT_MS
    )
    return Served(
        **{"block": block, "asker": Asker("v1", None), "person": "a:v1", "caller": Caller(), **fields}
    )
