"""What people do just now: surging items, and what they went on to."""

from __future__ import annotations

from recsys.block import Block
from recsys.catalog import Item
from recsys.counters import SURGE_HALF_LIFE_S, ItemCounters
from recsys.events import Action
from recsys.pipeline.shelf import Shelf
from recsys.placement import Placement
from recsys.profile import Profile
from tests.recsys.pipeline.shops import CATALOGUE, NOW_S, ask, known_bundle, shelf, shown, slot, visitor


def by(source: str, on: Shelf, *items: str, limit: int = 3) -> Block:
    placement = Placement(sources={source: 1.0})
    (block,) = ask(on, visitor(*items), slot("live", limit), placements={"live": placement})
    return block


def lately_of(on: Shelf, profile: Profile) -> list[str]:
    placement = Placement(sources={"lately": 1.0})
    (block,) = ask(on, profile, slot("live", 3), placements={"live": placement})
    return [entry.item for entry in block.items if entry.reason.source == "lately"]


def views(count: int, at_s: int) -> ItemCounters:
    counters = ItemCounters()
    for _ in range(count):
        counters = counters.counted([(Action.VIEW, 1, at_s)])
    return counters


def test_a_surge_is_of_these_minutes() -> None:
    yesterday = NOW_S - 24 * SURGE_HALF_LIFE_S
    on = shelf(counters={"t1": views(200, yesterday), "t2": views(3, NOW_S - 60), "t3": views(2, NOW_S - 60)})
    assert shown(by("trending", on))[0] == "t1"
    block = by("surging", on)
    assert shown(block)[:2] == ["t2", "t3"]
    assert block.items[0].reason.text == "much looked at just now"
    on.count("t3", views(5, NOW_S))
    assert shown(by("surging", on))[0] == "t3"


def test_one_look_is_no_surge_nor_are_ones_own() -> None:
    on = shelf(counters={"t2": views(1, NOW_S), "t3": views(2, NOW_S)})
    assert [entry.item for entry in by("surging", on).items if entry.reason.source == "surging"] == ["t3"]
    alone = by("surging", on, "t3")
    assert [entry.item for entry in alone.items if entry.reason.source == "surging"] == []


def test_what_people_went_on_to_knows_items_newer_than_the_model() -> None:
    on = shelf()
    on.upsert(Item("later", title="Later", fed=True))
    on.count("t1", ItemCounters().followed_by("m5", NOW_S).followed_by("later", NOW_S - 60))
    block = by("lately", on, "s1", "t1")
    assert shown(block)[:2] == ["m5", "later"]
    reason = block.items[1].reason
    assert (reason.source, reason.evidence_item) == ("lately", "t1")
    assert reason.text.startswith("you viewed Tent 1 at ")


def test_what_the_person_alone_went_on_to_is_not_what_people_do() -> None:
    looked = visitor("t1", "m5", "t1")
    at_s = looked.touches[1].at_s
    alone = ItemCounters().followed_by("m5", at_s)
    assert "m5" not in lately_of(shelf(counters={"t1": alone}), looked)
    assert "m5" in lately_of(shelf(counters={"t1": alone.followed_by("m5", at_s - 600)}), looked)


def test_what_the_whole_session_leads_to_adds_up() -> None:
    both, one = ItemCounters().followed_by("m5", NOW_S), ItemCounters().followed_by("m4", NOW_S)
    assert shown(by("lately", shelf(counters={"t2": both, "t3": one}), "t1", "t2", "t3"))[0] == "m4"
    on = shelf(counters={"t0": both, "t1": both, "t2": both, "t3": one})
    assert shown(by("lately", on, "t0", "t1", "t2", "t3"))[:2] == ["m5", "m4"]


def test_a_new_bundle_keeps_what_people_went_on_to() -> None:
    bare = Shelf.build(CATALOGUE, None, {"t1": ItemCounters().followed_by("m5", NOW_S)}, NOW_S)
    assert shown(by("lately", bare, "t1"))[0] == "m5"
    assert shown(by("lately", bare.with_bundle(known_bundle()), "t1"))[0] == "m5"


def test_an_item_nobody_has_fed_is_left_out() -> None:
    on = shelf(counters={"t1": ItemCounters().followed_by("nobody", NOW_S).followed_by("m5", NOW_S - 9)})
    assert shown(by("lately", on, "t1"))[0] == "m5"
