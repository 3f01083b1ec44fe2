"""The registry of touchpoints: which kind of contact an event is.

Every event maps to one touchpoint by its name, its call type and where it came from. The table
below is the default; `[touchpoints]` in headrace.toml adds and overrides entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from recsys.known import Known

MAX_CACHED = 10_000
MAX_CACHED_CHARS = 200

Phase = Literal["before", "during", "after"]


class Touchpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A channel with the kind of contact it is."""

    channel: str
    """web, app, email, paid_search, social, store, call_center, ..."""
    direct: bool = True
    """The shop speaks itself (site, email); False: others do (affiliates, social, marketplaces)."""
    online: bool = True
    """Not in a store or by telephone."""
    phase: Phase = "before"
    """Before, during or after a purchase."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Maps events to a touchpoint: every field that is set must match."""

    touchpoint: str
    """Which one, by its name."""
    name: str | None = None
    """The event's name; case and underscores make no difference."""
    medium: str | None = None
    """The medium of the visit: cpc, organic, email, affiliate, ..."""
    channel: str | None = None
    """`context.channel` or the call type: server, mobile, web, screen."""


DEFAULT_TOUCHPOINTS: dict[str, Touchpoint] = {
    "site": Touchpoint("web"),
    "app": Touchpoint("app"),
    "site.cart": Touchpoint("web", phase="during"),
    "site.checkout": Touchpoint("web", phase="during"),
    "site.order": Touchpoint("web", phase="during"),
    "site.article": Touchpoint("web"),
    "site.review": Touchpoint("web", phase="after"),
    "service.order": Touchpoint("web", phase="after"),
    "email": Touchpoint("email"),
    "paid_search": Touchpoint("paid_search", direct=False),
    "organic_search": Touchpoint("organic_search", direct=False),
    "social": Touchpoint("social", direct=False),
    "affiliate": Touchpoint("affiliate", direct=False),
    "referral": Touchpoint("referral", direct=False),
    "store": Touchpoint("store", online=False, phase="during"),
    "call_center": Touchpoint("call_center", online=False),
}

_BY_NAME = {
    "product added": "site.cart",
    "product removed": "site.cart",
    "wishlist product added to cart": "site.cart",
    "cart viewed": "site.cart",
    "cart shared": "site.cart",
    "coupon entered": "site.checkout",
    "coupon applied": "site.checkout",
    "coupon denied": "site.checkout",
    "coupon removed": "site.checkout",
    "checkout started": "site.checkout",
    "checkout step viewed": "site.checkout",
    "checkout step completed": "site.checkout",
    "payment info entered": "site.checkout",
    "order completed": "site.order",
    "order updated": "service.order",
    "order refunded": "service.order",
    "order cancelled": "service.order",
    "product reviewed": "site.review",
    "article viewed": "site.article",
    "article read": "site.article",
    "content viewed": "site.article",
    "email delivered": "email",
    "email opened": "email",
    "email link clicked": "email",
    "email bounced": "email",
    "email marked as spam": "email",
    "unsubscribed": "email",
    "subscribed": "email",
}
_BY_MEDIUM = {
    "cpc": "paid_search",
    "ppc": "paid_search",
    "paid": "paid_search",
    "organic": "organic_search",
    "social": "social",
    "affiliate": "affiliate",
    "referral": "referral",
    "email": "email",
}
_BY_CHANNEL = {
    "mobile": "app",
    "screen": "app",
    "store": "store",
    "pos": "store",
    "call_center": "call_center",
}


def _plain(name: str) -> str:
    """ "Product Viewed" and "product_viewed" are one name."""
    return name.lower().replace("_", " ").strip()


def _is_short(event: tuple[str, str, str], _: str) -> bool:
    return sum(map(len, event)) <= MAX_CACHED_CHARS


class Touchpoints:
    """The registry: touchpoints by name, and which event is which."""

    def __init__(self, extra: Mapping[str, Touchpoint] | None = None, rules: tuple[Rule, ...] = ()) -> None:
        self.by_name: dict[str, Touchpoint] = {**DEFAULT_TOUCHPOINTS, **(extra or {})}
        for index, rule in enumerate(rules):
            if rule.touchpoint not in self.by_name:
                known = ", ".join(sorted(self.by_name))
                raise ValueError(
                    f"Expected one of {known}, got `{rule.touchpoint}` "
                    f"- at `touchpoint_rules[{index}].touchpoint`"
                )
        self._rules = rules
        self.by_event: Known[tuple[str, str, str], str] = Known(self._find, MAX_CACHED, _is_short)
        """The touchpoint's name for an event's name, its visit's medium and its channel."""

    def _find(self, event: tuple[str, str, str]) -> str:
        given, medium, channel = (text.lower() for text in event)
        name = _plain(given)
        for rule in self._rules:
            if (
                (rule.name is None or _plain(rule.name) == name)
                and (rule.medium is None or rule.medium.lower() == medium)
                and (rule.channel is None or rule.channel.lower() == channel)
            ):
                return rule.touchpoint
        # Where it happened offline outweighs what happened; a purchase step outweighs how the
        # visit began, and the visit's medium colours only plain browsing.
        offline = _BY_CHANNEL.get(channel)
        if offline is not None and offline != "app":
            return offline
        return _BY_NAME.get(name) or _BY_MEDIUM.get(medium) or offline or "site"
