"""What a profile shows at a given time: the tier of intent of its session, and its stage.

A first, plain score: points for what people do before they buy, each with the words that explain
it. A later model may learn the score; tiers, reasons and this signature stay.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from recsys.events import Action
from recsys.fold import SessionRules, is_open
from recsys.placement import Tier
from recsys.profile import Profile

Stage = Literal["awareness", "consideration", "purchase", "post_purchase"]

READY_SCORE = 0.6
COMPARISON_SCORE = 0.3
CART_FRESH_S = 7 * 86_400
POST_PURCHASE_S = 30 * 86_400
LONG_DWELL_S = 120
_VIEW = int(Action.VIEW)  # profiles keep actions as numbers, and comparing with an enum costs a call


class Intent(msgspec.Struct, frozen=True, gc=False):
    """`score` in 0..1 and what it is made of: (words, points), strongest first."""

    tier: Tier
    score: float
    reasons: tuple[tuple[str, float], ...]


def intent(profile: Profile, now_ms: int, rules: SessionRules) -> Intent:
    """The intent of the open session; browsing with score 0 when none is open."""
    session = profile.session
    if session is None or not is_open(session, now_ms, rules):
        return _NOTHING
    start_s = session.start_ms // 1000
    viewed = []
    for touch in reversed(profile.touches):
        if touch.at_s < start_s:
            break  # older ones are of sessions before
        if touch.action == _VIEW:
            viewed.append(touch.item)
    seen = set(viewed)
    again = sum([viewed.count(item) > 1 for item in seen]) if len(seen) < len(viewed) else 0
    return _weighed(
        session.orders > 0,
        session.checkouts > 0,
        len(profile.cart) if _has_fresh_cart(profile, now_ms) else 0,
        again,
        len(seen),
        session.searches,
        round(session.dwell_s) if session.dwell_s >= LONG_DWELL_S else 0,
    )


@lru_cache(maxsize=4096)
def _weighed(
    ordered: bool, checked_out: bool, in_cart: int, again: int, seen: int, searches: int, dwell_s: int
) -> Intent:
    """What a session of so many of each shows. Few differ, and words and sums take ten times a look-up."""
    reasons: list[tuple[str, float]] = []
    if ordered:
        reasons.append(("ordered already in this session", -0.5))
    if checked_out:
        reasons.append(("checkout started", 0.5))
    if in_cart:
        reasons.append((f"{in_cart} product{_s(in_cart)} in the cart", 0.4))
    if again:
        reasons.append((f"{again} product{_s(again)} viewed again", min(0.1 + 0.1 * again, 0.3)))
    if seen >= 2:
        reasons.append((f"{seen} products viewed", min(0.1 * seen, 0.3)))
    if searches:
        reasons.append((f"{searches} search{'es' if searches > 1 else ''}", 0.1))
    if dwell_s:
        reasons.append((f"{dwell_s} s of reading", 0.1))
    if not reasons:
        return _NOTHING
    score = min(max(sum([points for _, points in reasons]), 0.0), 1.0)
    tier: Tier = (
        "ready_to_buy" if score >= READY_SCORE else "comparison" if score >= COMPARISON_SCORE else "browsing"
    )
    if len(reasons) > 1:
        reasons.sort(key=lambda reason: -abs(reason[1]))
    return Intent(tier, round(score, 3), tuple(reasons))


_NOTHING = Intent("browsing", 0.0, ())


def _has_fresh_cart(profile: Profile, now_ms: int) -> bool:
    """A cart left long ago says nothing of what is wanted today."""
    return bool(profile.cart) and now_ms - profile.cart_ms < CART_FRESH_S * 1000


def _s(count: int) -> str:
    return "s" if count != 1 else ""


def stage(profile: Profile, now_ms: int, rules: SessionRules) -> Stage:
    """Where in the journey the person stands."""
    now_s = now_ms // 1000
    session = profile.session
    in_checkout = (
        session is not None and is_open(session, now_ms, rules) and session.checkouts > session.orders
    )
    if in_checkout or _has_fresh_cart(profile, now_ms):
        return "purchase"
    standing = [order for order in profile.orders if not order.refunded]
    if standing and now_s - standing[-1].at_s < POST_PURCHASE_S:
        return "post_purchase"
    if profile.sessions > 1 or len({touch.item for touch in profile.touches}) >= 3:
        return "consideration"
    return "awareness"
