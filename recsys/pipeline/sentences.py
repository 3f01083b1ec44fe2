"""Accounts in a sentence, for a merchandiser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from recsys.pipeline.account import SHOWN, Account
from recsys.pipeline.feature_words import about
from recsys.pipeline.mix import CATALOGUE, NEW
from recsys.placement import Placement

MAX_SOURCES: Final = 3
MAX_MOVES: Final = 3
"""Sources and features that are named in the sentence; the fields have all of them."""
LEAST_SHARE: Final = 0.005
"""Of a source that is named: less is 0 %."""

_NOT_SHOWN: Final[Mapping[str, str]] = {
    "unknown": "the catalogue has no such item",
    "unavailable": "it cannot be had: {detail}",
    "other_type": "it is of type {detail}, which the placement does not show",
    "filtered": "it does not pass the filter `{detail}`",
    "age": "it asks for an age, and {detail}",
    "market": "it may not be sold in the market of the request, {detail}",
    "page_item": "it is the item of the page itself",
    "excluded": "the caller excluded it",
    "shown_before": "a page before this one has shown it",
    "beside": "slot {detail} of the same request shows it",
    "cooling": "{detail}",
    "bought": "the person has ordered it not long ago",
    "bought as": "the person has ordered {detail} not long ago, which is the same product",
    "in_cart": "it is in the cart already",
    "in_session": "the person looked at it in this session already",
    "substitute": "it is of the same category as what it should go with, so it would take its place",
    "barred": "a rule of the placement keeps it out",
    "banner_rules": "its rule `{detail}` keeps it out",
    "banner_priority": "other banners come before it in the places that banners have here",
    "last_seen": "it is what the person looked at last, and is not proposed again at once",
    "not_named": "no source named it for this person; asked were {detail}",
    "brand_cap": "as many of its brand as may be stand there already: {detail}",
    "category_cap": "as many of its category as may be stand there already: {detail}",
    "variant": "another variant of the same product stands there: {detail}",
    "too_alike": "it is too much like what stands there already",
    "gave_way": "its place was given to chance for new items: {detail}",
    "unsubscribed": "the person has unsubscribed from mail",
}


def sentence(account: Account, placement: Placement) -> str:
    """What the fields of an account say, without their figures in full."""
    if account.verdict == SHOWN:
        return _shown(account)
    if account.verdict == "beaten":
        why = (
            f"it is number {account.rank} of {account.n_candidates} candidates with {account.score:.3f},"
            f" and the last one shown has {account.last_score:.3f}"
        )
    else:
        ordered_other = account.verdict == "bought" and account.detail
        words = _NOT_SHOWN["bought as" if ordered_other else account.verdict]
        why = words.format(detail=account.detail)
        why += _setting(account.verdict, placement)
    ranked = account.rank and account.verdict != "beaten"
    among = f"; it would be number {account.rank} of {account.n_candidates} candidates" if ranked else ""
    return f"Not shown: {why}{among}{_sources(account)}{_moves(account)}."


def _shown(account: Account) -> str:
    ranked = f", number {account.rank} of {account.n_candidates} candidates" if account.rank else ""
    because = f": {account.reason.text}" if account.reason is not None else ""
    if account.source == NEW:
        chance = f"; drawn by chance ({account.propensity:.2%}) so that new items become known"
    elif account.source == CATALOGUE:
        chance = "; it fills the block, as nothing better was left"
    else:
        chance = ""
    return f"Place {account.place}{ranked}{because}{chance}{_sources(account)}{_moves(account)}."


def _sources(account: Account) -> str:
    named = [
        f"{one.source.replace('_', ' ')} {one.share:.0%}"
        for one in account.shares[:MAX_SOURCES]
        if one.share >= LEAST_SHARE
    ]
    return f"; named by {', '.join(named)}" if named else ""


def _moves(account: Account) -> str:
    """What moved the score; features that are about the same are added up."""
    points: dict[str, float] = {}
    for one in account.effects:
        words = about(one.feature)
        points[words] = points.get(words, 0.0) + one.points
    most = sorted(points.items(), key=lambda moved: -abs(moved[1]))[:MAX_MOVES]
    named = [f"{words} {moved:+.2f}" for words, moved in most]
    return f"; moved most by {', '.join(named)}" if named else ""


def _setting(verdict: str, placement: Placement) -> str:
    """The placement's setting that says so, where one does."""
    if verdict == "brand_cap":
        return f" (`max_per_brand` is {placement.max_per_brand})"
    if verdict == "category_cap":
        return f" (`max_per_category` is {placement.max_per_category})"
    names = {
        "bought": "bought_within_days",
        "in_session": "exclude_session_items",
        "substitute": "other_categories",
        "in_cart": "exclude_cart",
        "too_alike": "diversity",
        "gave_way": "explore",
    }
    return f" (`{names[verdict]}`)" if verdict in names else ""
