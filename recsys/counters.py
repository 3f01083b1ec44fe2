"""Live counters of one item: how often it was viewed, put in a cart and ordered, with decay.

A counter is a sum of `2 ** -(age / half life)`, kept as it stood at `at_s`, so that it needs no
clock of its own: two counters are compared by bringing both to the same time.
"""

from __future__ import annotations

import msgspec

from recsys.events import Action, Event

COUNTERS_VERSION = 1
HALF_LIFE_S = 2 * 86_400


class ItemCounters(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Decayed sums as they stood at `at_s` (epoch seconds)."""

    views: float = 0.0
    carts: float = 0.0
    orders: float = 0.0
    at_s: int = 0

    def counted(self, action: Action, quantity: float, at_s: int) -> ItemCounters:
        """With one more event. Late events count for what is left of them."""
        now_s = max(at_s, self.at_s)
        kept = decay(now_s - self.at_s)
        gain = decay(now_s - at_s)
        return ItemCounters(
            self.views * kept + gain * (action in (Action.VIEW, Action.READ)),
            self.carts * kept + gain * (action is Action.CART_ADD),
            self.orders * kept + gain * (action is Action.ORDER) * min(quantity, 10.0),
            now_s,
        )


COUNTED = frozenset((Action.VIEW, Action.READ, Action.CART_ADD, Action.ORDER))


def counts(event: Event) -> bool:
    """Whether an event moves the counters of its items."""
    return event.action in COUNTED and bool(event.lines)


def decay(age_s: float) -> float:
    return 1.0 if age_s == 0 else float(0.5 ** (age_s / HALF_LIFE_S))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ItemCounters)
_VERSION = bytes((COUNTERS_VERSION,))


def encode_counters(counters: ItemCounters) -> bytes:
    """One version byte, then msgpack."""
    return _VERSION + _encoder.encode(counters)


def decode_counters(record: bytes) -> ItemCounters:
    """Raises ValueError for another version."""
    if record[:1] != _VERSION:
        raise ValueError(
            f"Expected a counter record of version {COUNTERS_VERSION}, got {bytes(record[:1])!r}"
        )
    return _decoder.decode(memoryview(record)[1:])
