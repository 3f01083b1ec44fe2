"""When something was, as a reason tells it: in the shop's time zone, and by the day alone in mail."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final

_MINUTE_MS: Final = 60_000
_QUARTER_MS: Final = 15 * _MINUTE_MS
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def when(at_ms: int, now_ms: int, zone: tzinfo, by_day: bool = False) -> str:
    """ "at 10:05 CET" today, "on 3 May" before.

    `by_day`: the day always. Mail is read when it is opened: what was today then is not any more.
    """
    # Offsets of zones are whole quarters of an hour: so the day is the same throughout one.
    return _in_words(at_ms // _MINUTE_MS, now_ms // _QUARTER_MS, zone, by_day)


def since(at_ms: int, now_ms: int, zone: tzinfo, by_day: bool = False) -> str:
    """ "10:05 CET" today, "3 May" before."""
    return when(at_ms, now_ms, zone, by_day).removeprefix("at ").removeprefix("on ")


@lru_cache(maxsize=4096)
def _in_words(at_minute: int, now_quarter: int, zone: tzinfo, by_day: bool) -> str:
    at = datetime.fromtimestamp(at_minute * 60, zone)
    now = datetime.fromtimestamp(now_quarter * 900, zone)
    if at.date() == now.date() and not by_day:
        return f"at {at:%H:%M} {at.tzname()}"
    year = "" if at.year == now.year else f" {at.year}"
    return f"on {at.day} {_MONTHS[at.month - 1]}{year}"
