"""When something was, as a reason tells it: in the shop's time zone, and by the day alone in mail."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache, partial
from typing import Final, NamedTuple

from recsys.known import Known

_MINUTE_MS: Final = 60_000
_QUARTER_MS: Final = 15 * _MINUTE_MS
MOST_QUARTERS: Final = 1 << 14
"""Kept of a zone: those of half a year."""
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


class Clock:
    """Words for times, as they are told at one moment in one zone."""

    __slots__ = ("_now", "_quarters")

    def __init__(self, now_ms: int, zone: tzinfo) -> None:
        self._quarters = _quarters_of(zone)
        self._now = self._quarters[now_ms // _QUARTER_MS]

    def when(self, at_ms: int, by_day: bool = False) -> str:
        """ "at 10:05 CET" today, "on 3 May" before.

        `by_day`: the day always. Mail is read when it is opened: what was today then is not any more.
        """
        at, now = self._quarters[at_ms // _QUARTER_MS], self._now
        if at.day == now.day and not by_day:
            return f"at {_CLOCK[at.minute + at_ms // _MINUTE_MS % 15]} {at.zone}"
        return f"on {at.words}" if at.year == now.year else f"on {at.words} {at.year}"

    def since(self, at_ms: int, by_day: bool = False) -> str:
        """ "10:05 CET" today, "3 May" before."""
        return self.when(at_ms, by_day).removeprefix("at ").removeprefix("on ")


def _quarter(zone: tzinfo, number: int) -> _Quarter:
    """The one that so many are between and 1970. Offsets of zones are whole quarters, so all of one has one
    day and offset."""
    at = datetime.fromtimestamp(number * 900, zone)
    words = f"{at.day} {_MONTHS[at.month - 1]}"
    return _Quarter(at.toordinal(), at.year, at.hour * 60 + at.minute, at.tzname() or "", words)


@lru_cache(maxsize=16)
def _quarters_of(zone: tzinfo) -> Known[int, _Quarter]:
    return Known(partial(_quarter, zone), MOST_QUARTERS)
