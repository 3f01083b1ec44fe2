"""Banners: what a shop wants to say in its blocks, to whom, and when. They stand in the settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from recsys.block import Tier

BANNER_PREFIX: Final = "banner:"
"""Before the name of a banner where blocks name items."""


class Banner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A banner and its rules; rules that are empty do not ask."""

    title: str
    """What it says."""
    url: str = ""
    """Where it leads."""
    image_url: str = ""
    """Its picture."""
    priority: int = 0
    """The greatest that may be shown is shown; among equals it changes from person to person."""
    placements: tuple[str, ...] = ()
    """Where it may stand, of the placements whose `shares` have banners."""
    starts: datetime | None = None
    """A time with its zone, as `2026-11-27T00:00:00+01:00`; without a zone it is UTC."""
    ends: datetime | None = None
    """Likewise."""
    max_per_day: Annotated[int, msgspec.Meta(ge=1, le=24)] | None = None
    """How often one person is shown it in 24 hours."""
    markets: tuple[str, ...] = ()
    """As callers name them in `context.market`; a caller that names none is shown none of these."""
    tiers: tuple[Tier, ...] = ()
    """Of intent."""
    groups: tuple[str, ...] = ()
    """What group calls have put the person in: a loyalty tier."""
    viewed_categories: tuple[str, ...] = ()
    """Last categories of which the person has looked at something."""
    bought_within_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Only to who has ordered something in this time."""
    not_bought_within_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Only to who has not: to win them back, or for the first time."""
