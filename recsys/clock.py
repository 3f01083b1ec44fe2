"""When an event happened: times of devices whose clocks may be wrong, in epoch milliseconds."""

from __future__ import annotations

from datetime import datetime, timezone

from recsys.segment import Call

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MAX_MS = 1 << 62
"""Beyond any clock, and still an int64."""


def times(wire: Call, log_received_ms: int) -> tuple[int, int]:
    """at, received in epoch ms.

    A device's clock may be wrong, but it is as wrong when sending as when the event happened:
    at = received - (sent - original). Where a collector already did that, a `timestamp` stands
    beside `originalTimestamp`, differs from it, and is right. Nothing lies in the future.
    """
    # Comparisons written out: `max` and `min` cost ten times as much, for every event.
    received_ms = log_received_ms
    if wire.received_at is not None:
        received_ms = max(min(received_ms, ms_of(wire.received_at)), 0)
    stamp, original, sent = wire.timestamp, wire.original_timestamp, wire.sent_at
    if original is None:
        original = stamp
        if original is None:
            return received_ms, received_ms
    if stamp is not None and stamp != original:
        at_ms = ms_of(stamp)
    elif sent is None:
        at_ms = ms_of(original)
    else:
        late_ms = _between_ms(original, sent)
        at_ms = received_ms - late_ms if late_ms > 0 else received_ms
    if at_ms > received_ms:
        return received_ms, received_ms
    return at_ms if at_ms > 0 else 0, received_ms  # noqa: FURB136


def _between_ms(earlier: datetime | float, later: datetime | float) -> int:
    """`ms_of(later) - ms_of(earlier)`. Between two times of a kind, as devices send them, it takes half
    as long by their difference."""
    if type(earlier) is type(later) is datetime and earlier.tzinfo is later.tzinfo:
        apart = later - earlier
        # What is below a millisecond in the earlier one is rounded down, with what it adds to the difference.
        apart_ms = apart.seconds * 1000 + (apart.microseconds + earlier.microsecond % 1000) // 1000
        return apart_ms + apart.days * 86_400_000 if apart.days else apart_ms
    return ms_of(later) - ms_of(earlier)


def ms_of(value: datetime | float) -> int:
    """Epoch milliseconds, rounded down. A time without a zone is UTC; a number is seconds or
    milliseconds."""
    if type(value) is datetime:
        try:
            since = value - _EPOCH
        except TypeError:  # it has no zone
            since = value.replace(tzinfo=timezone.utc) - _EPOCH
        # In whole numbers: a float of seconds loses a millisecond now and then.
        return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    assert not isinstance(value, datetime)
    # Epoch seconds or milliseconds: seconds reach 1e11 only in the year 5138.
    scaled = value * 1000 if abs(value) < 1e11 else value
    return int(min(max(scaled, -_MAX_MS), _MAX_MS))
