"""When something was, as a reason tells it: in the shop's time zone, and by the day alone in mail."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple

_MINUTE_MS: Final = 60_000
_QUARTER_MS: Final = 15 * _MINUTE_MS
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK: Final = tuple(f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60))
"""Made beforehand: to write a number in two digits takes as long as all the rest of a reason."""


class _Quarter(NamedTuple):
    """A quarter of an hour by the shop's calendar."""

    day: int
    """Days since the year 1."""
    year: int
    minute: int
    """The day's, that it begins with."""
    zone: str
    words: str
    """What its day is called."""


def when(at_ms: int, now_ms: int, zone: tzinfo, by_day: bool = False) -> str:
    """ "at 10:05 CET" today, "on 3 May" before.

    `by_day`: the day always. Mail is read when it is opened: what was today then is not any more.
    """
    at, now = _quarter(at_ms // _QUARTER_MS, zone), _quarter(now_ms // _QUARTER_MS, zone)
    if at.day == now.day and not by_day:
        return f"at {_CLOCK[at.minute + at_ms // _MINUTE_MS % 15]} {at.zone}"
    return f"on {at.words}" if at.year == now.year else f"on {at.words} {at.year}"


def since(at_ms: int, now_ms: int, zone: tzinfo, by_day: bool = False) -> str:
    """ "10:05 CET" today, "3 May" before."""
    return when(at_ms, now_ms, zone, by_day).removeprefix("at ").removeprefix("on ")


@lru_cache(maxsize=1 << 14)
def _quarter(quarter: int, zone: tzinfo) -> _Quarter:
    """Of so many since 1970. Offsets of zones are whole quarters, so all of it has one day and offset."""
    at = datetime.fromtimestamp(quarter * 900, zone)
    words = f"{at.day} {_MONTHS[at.month - 1]}"
    return _Quarter(at.toordinal(), at.year, at.hour * 60 + at.minute, at.tzname() or "", words)
