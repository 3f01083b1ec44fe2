"""Banners: what a shop wants to say in its blocks, to whom, and when. They stand in the settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from recsys.placement import Tier

BANNER_PREFIX: Final = "banner:"
"""Before the name of a banner where blocks name items."""


class Banner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A banner and its rules; rules that are empty do not ask."""

    title: str
    """What the banner says."""
    url: str = ""
    """Where it leads."""
    image_url: str = ""
    """Its picture."""
    priority: int = 0
    """Of the banners that may be shown the one with the greatest priority is; among equals it changes from
    person to person."""
    placements: tuple[str, ...] = ()
    """Where it may stand, of the placements whose `shares` have banners; any other is refused."""
    starts: datetime | None = None
    """Not shown before this time, as `2026-11-27T00:00:00+01:00`; without a zone it is UTC."""
    ends: datetime | None = None
    """Not shown from this time on, likewise."""
    max_per_day: Annotated[int, msgspec.Meta(ge=1, le=24)] | None = None
    """How often one person is shown it in 24 hours; unset: any number of times."""
    markets: tuple[str, ...] = ()
    """Only in these markets, as callers name them in `context.market`; never where a caller names none."""
    tiers: tuple[Tier, ...] = ()
    """Only to people in one of these tiers of intent."""
    groups: tuple[str, ...] = ()
    """Only to people whom group calls have put into one of these, as a loyalty tier."""
    viewed_categories: tuple[str, ...] = ()
    """Only to people who have looked at something of one of these last categories, as the catalogue or the
    event names it, in capitals or not."""
    bought_within_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Only to people who have ordered something in so many days."""
    not_bought_within_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Only to people who have not: to win them back, or for the first time."""
