"""When it happened: devices with wrong clocks, collectors that repair them, and times that cannot be."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.events import Event
from tests.recsys.wire import RECEIVED_MS, taken, track

NOW = datetime.fromtimestamp(RECEIVED_MS / 1000, timezone.utc)
HOUR_MS = 3_600_000


def iso(hours: float = 0.0) -> str:
    return (NOW + timedelta(hours=hours)).isoformat()


def at(received_ms: int = RECEIVED_MS, **times: object) -> int:
    """`at_ms` less the receive time, for the times a call gives."""
    return when(received_ms, **times).at_ms - received_ms


def when(received_ms: int = RECEIVED_MS, **times: object) -> Event:
    return taken(track("Product Viewed", **times), received_ms=received_ms)


@pytest.mark.parametrize("wrong_h", [3, -3, 24 * 365, -24 * 365 * 20])
def test_a_wrong_clock_is_as_wrong_when_sending(wrong_h: float) -> None:
    assert at(timestamp=iso(wrong_h - 1), sentAt=iso(wrong_h)) == -HOUR_MS
    assert at(originalTimestamp=iso(wrong_h - 1), sentAt=iso(wrong_h)) == -HOUR_MS


def test_a_phone_ahead_does_not_change_the_order_of_the_funnel() -> None:
    viewed = at(timestamp=iso(3 - 0.2), sentAt=iso(3))
    added = at(timestamp=iso(3 - 0.1), sentAt=iso(3))
    ordered_on_the_right_clock = at(timestamp=iso(-0.05), sentAt=iso())
    assert viewed < added < ordered_on_the_right_clock < 0


def test_what_the_collector_has_repaired_is_not_repaired_again() -> None:
    assert at(originalTimestamp=iso(2), sentAt=iso(3), timestamp=iso(-1)) == -HOUR_MS
    # The collector saw a right clock: the times are the same, and so is the answer.
    assert at(originalTimestamp=iso(-1), sentAt=iso(), timestamp=iso(-1)) == -HOUR_MS


def test_the_collectors_receive_time_counts_where_it_is_earlier() -> None:
    event = when(timestamp=iso(2), sentAt=iso(3), receivedAt=iso(-2))
    assert (event.at_ms, event.received_ms) == (RECEIVED_MS - 3 * HOUR_MS, RECEIVED_MS - 2 * HOUR_MS)
    assert when(receivedAt=iso(5)).received_ms == RECEIVED_MS


def test_without_sent_at_the_times_word_is_taken() -> None:
    assert at(timestamp=iso(-5)) == -5 * HOUR_MS
    assert at(originalTimestamp=iso(-5)) == -5 * HOUR_MS


def test_without_any_time_it_happened_when_it_was_received() -> None:
    assert at() == 0
    assert at(sentAt=iso(-5)) == 0
    assert at(receivedAt=iso(-1)) == -HOUR_MS


def test_nothing_lies_in_the_future() -> None:
    assert at(timestamp=iso(3)) == 0
    assert at(timestamp="2099-01-01T00:00:00Z") == 0
    assert at(timestamp="2099-01-01T00:00:00Z", originalTimestamp=iso()) == 0
    assert at(timestamp=iso(1), sentAt=iso()) == 0  # sent before it happened


@pytest.mark.parametrize(
    "same",
    [
        "2025-10-09T07:53:20Z",
        "2025-10-09T07:53:20.000Z",
        "2025-10-09T07:53:20",  # without a zone: UTC
        "2025-10-09 07:53:20",
        "2025-10-09T09:53:20+02:00",
        "2025-10-09T13:23:20.000+0530",
        (RECEIVED_MS - HOUR_MS) / 1000,
        (RECEIVED_MS - HOUR_MS) // 1000,
        RECEIVED_MS - HOUR_MS,
        float(RECEIVED_MS - HOUR_MS),
    ],
)
def test_one_time_in_many_spellings(same: object) -> None:
    assert at(timestamp=same) == -HOUR_MS
    assert at(timestamp=same, sentAt=iso()) == -HOUR_MS


@given(st.integers(0, RECEIVED_MS))
def test_no_millisecond_is_lost(at_ms: int) -> None:
    stamp = (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=at_ms)).isoformat()
    assert when(timestamp=stamp).at_ms == at_ms


@pytest.mark.parametrize("ancient", ["1969-12-31T23:59:59Z", "0001-01-01T00:00:00Z", -1, -1e300, 0])
def test_nothing_lies_before_1970(ancient: object) -> None:
    assert when(timestamp=ancient).at_ms == 0
    event = when(receivedAt=ancient)
    assert (event.at_ms, event.received_ms) == (0, 0)


@pytest.mark.parametrize("absurd", [1e300, 10**30, 9e18, "9999-12-31T23:59:59Z"])
def test_absurdly_late_times_are_now(absurd: object) -> None:
    assert at(timestamp=absurd) == 0
    assert at(receivedAt=absurd) == 0
    assert at(timestamp=iso(-1), originalTimestamp=absurd) == -HOUR_MS


@pytest.mark.parametrize("sent", [1e300, -1e300, 10**30, 0])
def test_an_absurd_send_time_stays_within_time(sent: object) -> None:
    assert -RECEIVED_MS <= at(timestamp=iso(-1), sentAt=sent) <= 0


@pytest.mark.parametrize("field", ["timestamp", "originalTimestamp", "sentAt", "receivedAt"])
def test_a_time_that_is_none_is_left_out(field: str) -> None:
    for none in (True, "yesterday", "1760000000 or so"):
        event = taken(track("Product Viewed", **{field: none}))
        assert (event.at_ms, event.received_ms) == (RECEIVED_MS, RECEIVED_MS)


def test_a_time_in_digits_may_be_text() -> None:
    assert at(timestamp=str(RECEIVED_MS - HOUR_MS)) == -HOUR_MS
    assert at(timestamp=str((RECEIVED_MS - HOUR_MS) / 1000)) == -HOUR_MS


@given(
    st.dictionaries(st.sampled_from(["timestamp", "originalTimestamp", "sentAt", "receivedAt"]), st.floats())
)
def test_any_numbers_give_a_time_between_1970_and_now(times: dict[str, float]) -> None:
    known = {name: value for name, value in times.items() if math.isfinite(value)}
    event = when(**known)  # type: ignore[arg-type]
    assert 0 <= event.at_ms <= event.received_ms <= RECEIVED_MS


_MICROSECONDS = st.integers(0, 10**7)


@given(_MICROSECONDS, _MICROSECONDS, st.sampled_from(["", "Z", "+02:00"]))
def test_times_below_a_millisecond_are_rounded_down_each(happened: int, sent: int, zone: str) -> None:
    def said(microseconds: int) -> str:
        moment = datetime(2025, 11, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds)
        return moment.replace(tzinfo=None).isoformat() + zone

    assert at(timestamp=said(happened), sentAt=said(sent)) == -max(sent // 1000 - happened // 1000, 0)
