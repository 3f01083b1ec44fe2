"""Cooldown through a real client: what was shown rests, across requests, channels, devices and servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from recsys.banner import Banner
from recsys.keys import shown_key
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.profile import Profile
from recsys.shown import Impression, ShownRecord, encode_shown
from server.pb import headrace_pb2 as pb
from tests.server.shop import Shop, catalogue, put_customer, put_items, put_visitor

DIGEST = replace(
    DEFAULT_PLACEMENTS["email.digest"], item_types=("product",), cooldown_s=3600, cooldown_of=("web",)
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Its digest shows nothing that the page has just shown."""
    shop = Shop(tmp_path, placements={"email.digest": DIGEST})
    put_items(shop.store, catalogue())
    with shop.open():
        yield shop


def items(shop: Shop, placement: str, limit: int = 8, **who: str) -> set[str]:
    slots = [pb.Slot(placement=placement, limit=limit)]
    (block,) = shop.client.GetBlocks(pb.GetBlocksRequest(slots=slots, **who), timeout=5).blocks
    return {item.item.id for item in block.items}


def test_an_email_does_not_show_what_the_page_has_just_shown(shop: Shop) -> None:
    page = items(shop, "home.feed", anonymous_id="v1")
    mail = items(shop, "email.digest", anonymous_id="v1")
    assert len(page) == len(mail) == 8
    assert not page & mail


def test_the_last_three_digests_are_not_repeated_and_the_one_before_may_be(shop: Shop) -> None:
    digests = [items(shop, "email.digest", 8, anonymous_id="v1") for _ in range(3)]
    assert len(set().union(*digests)) == 24
    fourth = items(shop, "email.digest", 8, anonymous_id="v1")
    assert len(fourth) == 6  # all that is left of 30
    assert not fourth & set().union(*digests)


def test_somebody_else_is_shown_it_all_the_same(shop: Shop) -> None:
    assert items(shop, "email.digest", 30, anonymous_id="v1") == items(
        shop, "email.digest", 30, anonymous_id="v2"
    )


def test_what_another_server_showed_on_the_device_before_the_login_counts(shop: Shop) -> None:
    seen = ShownRecord("a:v1", (Impression("d", "home.feed", int(time.time() * 1000), ("p1", "p2")),))
    shop.store.put_many({shown_key("a:v1"): encode_shown(seen)})
    put_customer(shop.store, "anna", Profile(visitors=("v1",)))
    put_visitor(shop.store, "v1", user_id="anna")
    # Two halves of all there is: without the rule one of them would have both.
    for who in ({"user_id": "anna"}, {"anonymous_id": "v1"}):
        mail = items(shop, "email.digest", 15, **who)
        assert mail
        assert not mail & {"p1", "p2"}


def test_while_the_state_is_down_what_this_server_showed_still_rests(shop: Shop) -> None:
    page = items(shop, "home.feed", anonymous_id="v1")
    shop.store.down = True
    try:
        mail = items(shop, "email.digest", 30, anonymous_id="v1")
    finally:
        shop.store.down = False
    assert mail
    assert not mail & page


def test_explain_says_that_an_item_rests_and_decides_again_on_what_was_shown_before(shop: Shop) -> None:
    page = items(shop, "home.feed", anonymous_id="v1")
    slots = [pb.Slot(placement="email.digest", limit=4)]
    (mail,) = shop.client.GetBlocks(pb.GetBlocksRequest(slots=slots, anonymous_id="v1"), timeout=5).blocks
    items(shop, "email.digest", anonymous_id="v1")
    rests = min(page)
    told = shop.client.Explain(pb.ExplainRequest(decision_id=mail.decision_id, item_ids=[rests]), timeout=5)
    assert [one.verdict for one in told.accounts] == ["shown"] * 4 + ["cooling"]
    assert "has shown it to the person less than a minute ago (`cooldown_" in told.accounts[-1].text
    assert told.as_taken


def test_a_banner_comes_with_its_facts_and_its_cap_holds(tmp_path: Path) -> None:
    banner = Banner(title="Winter sale", url="/winter", image_url="/w.png", max_per_day=1, markets=("DE",))
    shop = Shop(tmp_path, banners={"winter": banner})
    put_items(shop.store, catalogue())
    with shop.open():
        request = pb.GetBlocksRequest(
            slots=[pb.Slot(placement="home.mixed")], anonymous_id="v1", context=pb.Context(market="DE")
        )
        first, second = (shop.client.GetBlocks(request, timeout=5).blocks[0] for _ in range(2))
        told = shop.client.Explain(pb.ExplainRequest(decision_id=first.decision_id), timeout=5)
    (shown,) = [one.item for one in first.items if one.item.type == pb.ITEM_TYPE_BANNER]
    assert (shown.id, shown.title, shown.url, shown.image_url) == (
        "banner:winter",
        "Winter sale",
        "/winter",
        "/w.png",
    )
    assert len(first.items) == len(second.items) == 10
    assert not [one for one in second.items if one.item.type == pb.ITEM_TYPE_BANNER]
    assert [one.item.title for one in told.block.items] == [one.item.title for one in first.items]
