"""Which banners a slot shows, and where they stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final
from zlib import crc32

from recsys.banner import BANNER_PREFIX, Banner
from recsys.block import BlockItem, Lineup, Reason
from recsys.fold import leaf_of
from recsys.markets import market_code
from recsys.pipeline.blend import places_of
from recsys.pipeline.columns import last_category
from recsys.pipeline.person import Person
from recsys.pipeline.query import Query
from recsys.shown import Impression

_DAY_MS: Final = 86_400_000


def banners_for(
    query: Query,
    placement: str,
    banners: Mapping[str, Banner],
    shown: Sequence[Impression],
    market: str,
    taken: Sequence[str],
    n_kept: int = 0,
) -> list[str]:
    """The names of the banners of a slot of the placement of this name, as many as its share gives them
    and rules allow, but for those `n_kept` that it has already; none that stands in `taken`, that the caller
    excludes, that a page before has shown or that rests."""
    share = query.placement.shares.get("banner", 0.0)
    if not banners or not share > 0:
        return []
    person = query.visit.person
    out = {*taken, *names_of(query.exclude), *names_of(query.cooling)}
    may = [
        one
        for one, banner in banners.items()
        if one not in out and not rule_against(one, banner, placement, person, market, shown)
    ]
    may.sort(key=lambda one: (-banners[one].priority, crc32(f"{query.visit.salt}{one}".encode())))
    # One at least, beside something else: a small share is no reason to fill a block of one place.
    most = max(round(share * query.limit), min(query.limit - 1, 1)) - n_kept
    left = query.limit - len(query.keeps) - n_kept
    return may[: max(min(most, left), 0)]


def names_of(items: Sequence[str]) -> list[str]:
    """Those of the banners among these ids of blocks."""
    return [item.removeprefix(BANNER_PREFIX) for item in items if item.startswith(BANNER_PREFIX)]


def with_banners(items: Lineup, chosen: Sequence[str], banners: Mapping[str, Banner], share: float) -> Lineup:
    """The items of a block with the banners among them, by their share of the places."""
    standing = [
        BlockItem(BANNER_PREFIX + name, 0.0, Reason("banner", banners[name].title)) for name in chosen
    ]
    order = places_of({"banner": share, "item": 1.0 - share}, {"banner": len(standing), "item": len(items)})
    queues = {"banner": iter(standing), "item": iter(items)}
    return Lineup.of(next(queues[kind]) for kind in order)


def rule_against(
    name: str, banner: Banner, placement: str, person: Person, market: str, shown: Sequence[Impression]
) -> str:
    """The first rule of a banner that keeps it out of the placement of this name now, as the settings call
    it; "": none does."""
    now_ms = person.now_ms
    if banner.placements and placement not in banner.placements:
        return "placements"
    if banner.starts is not None and now_ms < _ms_of(banner.starts):
        return "starts"
    if banner.ends is not None and now_ms >= _ms_of(banner.ends):
        return "ends"
    if banner.markets and market_code(market) not in map(market_code, banner.markets):
        return "markets"
    if banner.tiers and person.tier not in banner.tiers:
        return "tiers"
    return _audience_rule(banner, person) or _cap(name, banner, shown, now_ms)


def _audience_rule(banner: Banner, person: Person) -> str:
    """By what is known of the person and may be used: who said no to it is in no such audience."""
    profile = person.profile
    if banner.groups and (profile is None or profile.group not in banner.groups):
        return "groups"
    if banner.viewed_categories and not _has_viewed(banner.viewed_categories, person):
        return "viewed_categories"
    within, not_within = banner.bought_within_days, banner.not_bought_within_days
    if within is not None and (profile is None or not person.ordered_since(within)):
        return "bought_within_days"
    if not_within is not None and (profile is None or person.ordered_since(not_within)):
        return "not_bought_within_days"
    return ""


def _has_viewed(categories: tuple[str, ...], person: Person) -> bool:
    """Whether the person has looked at something of one of these last categories: by what events told, and
    by what the catalogue says of the items, as an event need name no more than the id."""
    if person.profile is None:
        return False
    wanted = _last_names(categories)
    if not wanted.isdisjoint([affinity.name.casefold() for affinity in person.profile.categories]):
        return True
    items = person.columns.items
    touched = (items[row] for row in set(person.done.rows) if row >= 0)
    return any(item is not None and last_category(item).casefold() in wanted for item in touched)


@lru_cache(maxsize=1024)
def _last_names(categories: tuple[str, ...]) -> frozenset[str]:
    return frozenset([leaf_of(category).casefold() for category in categories])


def _cap(name: str, banner: Banner, shown: Sequence[Impression], now_ms: int) -> str:
    if banner.max_per_day is None:
        return ""
    item, since_ms = BANNER_PREFIX + name, now_ms - _DAY_MS
    times = sum(1 for one in shown if one.at_ms > since_ms and item in one.items)
    return "max_per_day" if times >= banner.max_per_day else ""


def _ms_of(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return int(aware.timestamp() * 1000)
