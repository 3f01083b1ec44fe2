"""What was ordered comes back when it is due, with the order as evidence."""

from __future__ import annotations

import numpy as np

from recsys.block import Block
from recsys.events import Action
from recsys.models.repurchase import Repurchase, RepurchaseSettings
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from recsys.profile import Order, Profile, Touch
from tests.recsys.pipeline.shops import CATALOGUE, NOW_S, ask, bundle, shown, slot

DAY_S = 86_400


def again(profile: Profile) -> Block:
    """In a shop where everything is ordered again after some 30 days."""
    known = bundle()
    n = known.n_items
    model = Repurchase(
        RepurchaseSettings(), np.full(n, 0.5, np.float32), np.full(n, np.log(30), np.float32),
        np.full(n, 0.4, np.float32),
    )  # fmt: skip
    known.repurchase = model
    on = Shelf.build(CATALOGUE, known, {}, NOW_S)
    (block,) = ask(on, profile, slot("a", 3), placements={"a": Placement(sources={"buy_again": 1.0})})
    return block


def named(block: Block) -> list[str]:
    return [item.item for item in block.items if item.reason.source == "buy_again"]


def ordered(item: str, days: int) -> Order:
    return Order(f"o{days}", NOW_S - days * DAY_S, 10.0, (item,))


def test_the_most_due_is_first_and_what_was_just_ordered_is_not_due() -> None:
    block = again(
        Profile(orders=(ordered("t1", 200), ordered("t2", 60), ordered("t3", 31), ordered("t4", 1)))
    )
    assert named(block) == ["t3", "t2"]
    reason = block.items[0].reason
    assert reason.text == "may be due again: you ordered it on 21 Aug"
    assert (reason.evidence_item, reason.evidence_event) == ("t3", "Order Completed")
    assert reason.evidence_at_ms == (NOW_S - 31 * DAY_S) * 1000


def test_the_newest_order_counts() -> None:
    touches = (Touch("t1", int(Action.ORDER), NOW_S - 2 * DAY_S),)
    orders = (ordered("t1", 30), Order("o2", NOW_S - 2 * DAY_S, 10.0, ("t1",)))
    assert named(again(Profile(orders=orders, touches=touches))) == []


def test_looks_are_no_orders() -> None:
    touches = (Touch("t1", int(Action.VIEW), NOW_S - 30 * DAY_S),)
    block = again(Profile(touches=touches))
    assert named(block) == []
    assert len(shown(block)) == 3
