"""Mixed blocks: shares, banners and content by intent."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone

import msgspec
import pytest

from recsys.banner import Banner
from recsys.block import Block
from recsys.pipeline.blend import places_of
from recsys.placement import DEFAULT_PLACEMENTS
from recsys.profile import Affinity, Order, Profile, Session
from recsys.shown import Impression, remembered
from tests.recsys.pipeline.shops import (
    ARTICLES,
    CATALOGUE,
    NOW_MS,
    NOW_S,
    PRODUCTS,
    article,
    ask,
    bare_shelf,
    shelf,
    shown,
    slot,
    visitor,
)

DAY_S = 86_400
SALE = {"sale": Banner(title="Sale", url="/sale")}


def kinds(block: Block) -> list[str]:
    return [item.partition(":")[0] if ":" in item else "product" for item in shown(block)]


def mixed(profile: Profile | None = None, limit: int = 10, build=shelf, **view: object) -> Block:
    (block,) = ask(build(), profile, slot("home.mixed", limit), **view)
    return block


@pytest.mark.parametrize("build", [shelf, bare_shelf])
def test_each_kind_has_its_share_and_they_are_spread(build) -> None:
    block = mixed(visitor("t1", "t2"), build=build, banners=SALE)
    assert Counter(kinds(block)) == {"product": 6, "article": 3, "banner": 1}
    assert len(set(shown(block))) == 10
    assert "article" in kinds(block)[:3]
    assert "article" in kinds(block)[-4:]


def test_a_kind_that_has_plenty_gets_no_more_than_its_share() -> None:
    plenty = [*PRODUCTS, *(article(f"a{number}", "tent rope") for number in range(12))]
    block = mixed(visitor("t1", "t2"), build=lambda: shelf(plenty), banners=SALE)
    assert Counter(kinds(block)) == {"product": 6, "article": 3, "banner": 1}


def test_what_one_kind_leaves_empty_goes_to_the_others() -> None:
    assert Counter(kinds(mixed(visitor("t1")))) == {"product": 7, "article": 3}  # there is no banner
    few = [*PRODUCTS[:2], *ARTICLES]
    assert Counter(kinds(mixed(visitor("t1"), build=lambda: shelf(few)))) == {"product": 2, "article": 3}
    assert Counter(kinds(mixed(None, build=lambda: shelf(PRODUCTS)))) == {"product": 10}
    assert Counter(kinds(mixed(None, build=lambda: shelf(ARTICLES)))) == {"article": 3}


def test_places_go_to_who_is_furthest_behind() -> None:
    order = places_of({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 5, "b": 3, "c": 2})
    assert Counter(order) == {"a": 5, "b": 3, "c": 2}
    assert order[:3] == ["a", "b", "c"]
    assert places_of({"a": 0.9, "b": 0.1}, {"a": 1, "b": 3}) == ["a", "b", "b", "b"]


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(NOW_S + seconds, timezone.utc)


def banner_of(profile: Profile | None, banners: dict[str, Banner], **view: object) -> list[str]:
    found = [item for item in shown(mixed(profile, banners=banners, **view)) if item.startswith("banner:")]
    return [item.removeprefix("banner:") for item in found]


@pytest.mark.parametrize(
    ("rules", "is_shown"),
    [
        ({}, True),
        ({"starts": at(0), "ends": at(1)}, True),
        ({"starts": at(1)}, False),
        ({"ends": at(0)}, False),
        ({"markets": ("germany", "AT")}, True),
        ({"ends": datetime(2020, 1, 1)}, False),  # noqa: DTZ001 (a time without a zone is UTC)
        ({"markets": ("DE", "AT")}, True),
        ({"markets": ("FR",)}, False),
        ({"groups": ("gold",)}, True),
        ({"groups": ("silver",)}, False),
        ({"tiers": ("browsing",)}, True),
        ({"tiers": ("ready_to_buy",)}, False),
        ({"viewed_categories": ("Tents",)}, True),
        ({"viewed_categories": ("Mugs",)}, False),
        ({"bought_within_days": 11}, True),
        ({"bought_within_days": 9}, False),
        ({"not_bought_within_days": 9}, True),
        ({"not_bought_within_days": 11}, False),
        ({"placements": ("home.mixed",)}, True),
        ({"placements": ("blog.side",)}, False),
    ],
)
def test_a_banner_stands_where_all_of_its_rules_say_so(rules: dict[str, object], is_shown: bool) -> None:
    profile = visitor(
        "t1",
        group="gold",
        categories=(Affinity("Tents", 1.0, NOW_S),),
        orders=(Order("o", NOW_S - 10 * DAY_S, 1.0, ("s1",)),),
    )
    banners = {"sale": Banner(title="Sale", **rules)}
    assert banner_of(profile, banners, market="AT") == (["sale"] if is_shown else [])


@pytest.mark.parametrize("named", ["Tents", "tents", "TENTS", "Outdoor > Tents"])
def test_a_category_is_viewed_as_the_catalogue_or_the_event_names_it(named: str) -> None:
    banners = {"sale": Banner(title="Sale", viewed_categories=("Hats", named))}
    by_item, by_event = visitor("t1"), visitor("m1", categories=(Affinity("tents", 1.0, NOW_S),))
    assert banner_of(by_item, banners) == banner_of(by_event, banners) == ["sale"]
    assert banner_of(visitor("m1", "unknown"), banners) == []


def test_rules_about_a_person_say_no_where_nothing_may_be_used() -> None:
    for rules in ({"groups": ("gold",)}, {"viewed_categories": ("Tents",)}, {"not_bought_within_days": 5}):
        banners = {"sale": Banner(title="Sale", **rules)}
        silent = visitor("t1", group="gold", categories=(Affinity("Tents", 1, NOW_S),), personalization=False)
        assert banner_of(silent, banners) == banner_of(None, banners) == []


def test_the_greatest_priority_stands_and_never_twice_in_a_request() -> None:
    banners = {"low": Banner(title="Low"), "high": Banner(title="High", priority=5)}
    assert banner_of(None, banners) == ["high"]
    slots = [msgspec.structs.replace(slot("home.mixed", 5), name=name) for name in ("a", "b", "c")]
    blocks = ask(shelf(), None, *slots, banners=banners)
    found = [item for block in blocks for item in shown(block) if item.startswith("banner:")]
    assert found == ["banner:high", "banner:low"]


@pytest.mark.parametrize(("limit", "is_shown"), [(1, False), (2, True)])
def test_a_banner_is_no_reason_for_a_block_without_items(limit: int, is_shown: bool) -> None:
    (block,) = ask(shelf(), None, slot("home.mixed", limit), banners={"sale": Banner(title="Sale")})
    assert ("banner:sale" in shown(block)) is is_shown
    assert any(not item.startswith("banner:") for item in shown(block))


def test_a_block_that_shows_a_banner_alone_is_not_empty() -> None:
    mixed = msgspec.structs.replace(DEFAULT_PLACEMENTS["home.mixed"], shares={"product": 0.4, "banner": 0.6})
    banners = {"sale": Banner(title="Sale")}
    (block,) = ask(shelf(), None, slot("mixed", 1), banners=banners, placements={"mixed": mixed})
    assert shown(block) == ["banner:sale"]
    assert block.fallback == "no_profile"


BOTH = {"low": Banner(title="Low"), "high": Banner(title="High", priority=5)}


def test_what_the_caller_excludes_and_what_rests_goes_for_banners() -> None:
    asked = slot("home.mixed", 10)
    seen = (Impression("d1", "home.feed", NOW_MS - 60_000, ("t1", "banner:high")),)
    rests = msgspec.structs.replace(
        DEFAULT_PLACEMENTS["home.mixed"], cooldown_s=3600, cooldown_of=("home.feed",)
    )
    counting = {"home.mixed": frozenset(("home.feed", "home.mixed"))}
    for asks, rules, view in (
        (msgspec.structs.replace(asked, exclude=("banner:high",)), {}, {}),
        (msgspec.structs.replace(asked, seen=("banner:high", "t1")), {}, {}),
        (asked, {"home.mixed": rests}, {"shown": seen, "counting": counting}),
    ):
        (block,) = ask(shelf(), visitor("t2"), asks, placements=rules, banners=BOTH, **view)
        assert "banner:low" in shown(block)
        assert "banner:high" not in shown(block)


@pytest.mark.parametrize("banners", [{}, SALE])
def test_a_block_without_a_match_says_so_beside_a_banner_too(banners: dict[str, Banner]) -> None:
    asked = msgspec.structs.replace(slot("home.mixed", 10), filter='brand == "nobody"')
    (block,) = ask(shelf(), visitor("t2"), asked, banners=banners)
    assert shown(block) == [f"banner:{name}" for name in banners]
    assert block.fallback == "no_match"


def test_a_banner_is_shown_no_more_often_a_day_than_it_says() -> None:
    banners = {"sale": Banner(title="Sale", max_per_day=2)}
    often = [Impression(f"d{n}", "home.mixed", NOW_MS - n, ("banner:sale", "t1")) for n in range(1, 3)]
    # However often the page was seen without it meanwhile.
    without = [Impression(f"e{n}", "home.mixed", NOW_MS - n, ("t1",)) for n in range(100)]
    assert banner_of(None, banners, shown=remembered(often[:1], without)) == ["sale"]
    assert banner_of(None, banners, shown=remembered(often, without)) == []
    yesterday = [msgspec.structs.replace(one, at_ms=one.at_ms - DAY_S * 1000) for one in often]
    assert banner_of(None, banners, shown=remembered(yesterday)) == ["sale"]


def of_tier(tier: str) -> Profile:
    session = Session((NOW_S - 200) * 1000, NOW_MS - 1000, checkouts=int(tier == "ready_to_buy"))
    looked = {"browsing": ("t1",), "comparison": ("t1", "t2", "t3"), "ready_to_buy": ("t1", "t2", "t3")}
    return visitor(*looked[tier], session=session)


@pytest.mark.parametrize("tier", ["browsing", "comparison", "ready_to_buy"])
def test_content_is_for_the_tier_of_intent(tier: str) -> None:
    tags = {"browsing": "educational", "comparison": "comparison", "ready_to_buy": "advantages"}
    told = [
        msgspec.structs.replace(article(f"{tag}{number}", "tent canvas shelter"), tags=(tag,))
        for tag in tags.values()
        for number in range(2)
    ]
    rules = {"article.next": msgspec.structs.replace(DEFAULT_PLACEMENTS["article.next"], explore=0.0)}
    on = shelf([*CATALOGUE, *told])
    (block,) = ask(on, of_tier(tier), slot("article.next", 5), placements=rules)
    first = {item.removeprefix("article:").rstrip("01") for item in shown(block)[:2]}
    assert first <= {"comparison", "advantages"} if tier == "comparison" else first == {tags[tier]}


def test_without_tagged_content_the_order_is_as_ever() -> None:
    rules = {"article.next": msgspec.structs.replace(DEFAULT_PLACEMENTS["article.next"], prefer_tags={})}
    profile = of_tier("comparison")
    assert shown(ask(shelf(), profile, slot("article.next"))[0]) == shown(
        ask(shelf(), profile, slot("article.next"), placements=rules)[0]
    )
