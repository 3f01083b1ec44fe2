"""When something was, in a reason's words."""

from __future__ import annotations

from datetime import datetime, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from recsys.pipeline.clock_times import MOST_QUARTERS, Clock

BERLIN, KATHMANDU = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "now", "zone", "told"),
    [
        ("2026-11-22T10:05:59", "2026-11-22T23:59:59", timezone.utc, "at 10:05 UTC"),
        ("2026-11-22T23:59:00", "2026-11-23T00:00:00", timezone.utc, "on 22 Nov"),
        ("2026-11-22T22:59:00", "2026-11-22T23:00:00", BERLIN, "on 22 Nov"),  # midnight is an hour earlier
        ("2026-11-22T23:01:00", "2026-11-23T10:00:00", BERLIN, "at 00:01 CET"),
        ("2026-07-01T10:00:00", "2026-07-01T10:01:00", BERLIN, "at 12:00 CEST"),
        ("2026-07-01T18:14:00", "2026-07-01T18:15:00", KATHMANDU, "on 1 Jul"),  # 5:45 ahead
        ("2026-07-01T18:15:00", "2026-07-01T18:16:00", KATHMANDU, "at 00:00 +0545"),
        ("2025-12-31T23:30:00", "2026-01-01T08:00:00", timezone.utc, "on 31 Dec 2025"),
        ("2025-12-31T23:30:00", "2026-01-01T08:00:00", BERLIN, "at 00:30 CET"),
    ],
)
def test_in_the_time_of_the_shop(at: str, now: str, zone: tzinfo, told: str) -> None:
    clock = Clock(ms(now), zone)
    assert clock.when(ms(at)) == told
    assert clock.since(ms(at)) == told.split(" ", 1)[1]


def test_by_the_day_alone_where_it_may_be_read_on_another_one() -> None:
    assert (
        Clock(ms("2026-11-22T10:06:00"), BERLIN).when(ms("2026-11-22T10:05:00"), by_day=True) == "on 22 Nov"
    )


def test_more_times_than_are_kept_are_told_as_well() -> None:
    noon = ms("2026-11-22T12:00:00")
    clock = Clock(noon, BERLIN)
    told = [clock.when(noon - place * 900_000) for place in range(MOST_QUARTERS + 2)]
    assert told[0] == "at 13:00 CET"
    assert [clock.when(noon - place * 900_000) for place in range(MOST_QUARTERS + 2)] == told
