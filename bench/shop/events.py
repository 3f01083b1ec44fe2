"""Segment-spec JSON as a browser, an app or a mail service would send it, with the faults of real life.

Everything made here is simulated, and says so in `context.library.name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple

import msgspec

from bench.shop.words import SITE

LIBRARY = {"name": "headrace-simulated-shop", "version": "1"}
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000

_encode = msgspec.json.encode


class SimEvent(NamedTuple):
    """One simulated event: when it reaches the collector, its log key, and its bytes.

    `key` is the anonymousId; for events of a server that knows only the customer (email), the userId.
    """

    received_ms: int
    key: str
    raw: bytes


class Faults(NamedTuple):
    """Shares of all events, 0..1.

    late: sent one minute to one hour after they happened (offline; sentAt tells).
    duplicates: sent a second time, the same bytes, up to a minute later.
    broken: added events that no decoder should accept; the good ones all stay.
    """

    late: float = 0.01
    duplicates: float = 0.005
    broken: float = 0.0

    def check(self) -> Faults:
        """Itself; ValueError when a share is no share."""
        for name, share in zip(self._fields, self, strict=True):
            if not 0.0 <= share <= 0.5:
                raise ValueError(f"Expected a share in 0..0.5, got `{share}` - at `{name}`")
        return self


NO_FAULTS = Faults(0.0, 0.0, 0.0)


@lru_cache(maxsize=8192)
def _minute_iso(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:")


def iso(at_ms: int) -> str:
    """Epoch milliseconds as `2026-01-31T09:30:00.125Z`."""
    minute, rest_ms = divmod(at_ms, MINUTE_MS)
    return f"{_minute_iso(minute)}{rest_ms // 1000:02d}.{rest_ms % 1000:03d}Z"


def as_raw(value: object) -> msgspec.Raw:
    """Encode once what many events carry."""
    return msgspec.Raw(_encode(value))


class Wire:
    """The tracker of one device during one visit: turns what happens into `out`, a list of SimEvent.

    anonymous_id may be "" for a server that knows only the customer. `clock_off_ms` is added to every
    time the device writes, as a wrong clock does; `received_ms` stays true.
    """

    def __init__(
        self,
        anonymous_id: str,
        context: Mapping[str, Any],
        token: str,
        *,
        user_id: str = "",
        clock_off_ms: int = 0,
        faults: Faults = NO_FAULTS,
        rng: Random | None = None,
        instant: bool = False,
    ) -> None:
        self.user_id = user_id
        self.out: list[SimEvent] = []
        self._anonymous_id = anonymous_id
        self._static = context
        self._context = as_raw(context)
        self._token = token
        self._sent = 0
        self._clock_off_ms = clock_off_ms
        self._instant = instant
        self._faults = faults
        self._rng = rng or Random(token)
        self._broken_below = faults.broken / (1.0 - faults.broken)

    def open_page(
        self, path: str, title: str, referrer: str, campaign: Mapping[str, str] | None = None
    ) -> None:
        """What follows happens on this page. A campaign is known on the landing page only, as its
        parameters stand in that page's URL."""
        search = ""
        if campaign:
            search = "?" + "&".join(
                f"utm_{'campaign' if k == 'name' else k}={v}" for k, v in campaign.items()
            )
        page = {
            "path": path,
            "referrer": referrer,
            "search": search,
            "title": title,
            "url": SITE + path + search,
        }
        context = {**self._static, "page": page}
        if campaign:
            context["campaign"] = campaign
        self._context = as_raw(context)

    def track(self, event: str, at_ms: int, properties: object) -> None:
        """An event happened at true time `at_ms`; `properties` is a dict or its Raw JSON."""
        self.send("track", at_ms, {"event": event, "properties": properties})

    def send(self, kind: str, at_ms: int, body: Mapping[str, Any]) -> None:
        """A Segment call of `kind` (track, page, screen, identify, alias, group); `body`: its fields."""
        draw = self._rng.random
        faults = self._faults
        fate = draw()
        delay_ms = int(MINUTE_MS * 60.0 ** draw()) if fate < faults.late else int(draw() * 50)
        if self._instant:  # somebody sends it now: a made-up delay would lie in the future
            delay_ms = 0
        sent_ms = at_ms + delay_ms
        received_ms = sent_ms + 25 + int(75 * draw())
        device_ms = at_ms + self._clock_off_ms
        self._sent += 1
        stamp = iso(device_ms)
        event: dict[str, Any] = {"type": kind, "messageId": f"{self._token}-{self._sent}"}
        if self._anonymous_id:
            event["anonymousId"] = self._anonymous_id
        if self.user_id:
            event["userId"] = self.user_id
        event["timestamp"] = event["originalTimestamp"] = stamp
        event["sentAt"] = iso(device_ms + delay_ms)
        event.update(body)
        event["context"] = self._context
        key = self._anonymous_id or self.user_id
        raw = _encode(event)
        self.out.append(SimEvent(received_ms, key, raw))
        if 1.0 - fate < faults.duplicates:
            self.out.append(SimEvent(received_ms + 200 + int(MINUTE_MS * draw()), key, raw))
        if draw() < self._broken_below:
            self.out.append(SimEvent(received_ms + 1, key, _broken(event, raw, draw())))


def _broken(event: Mapping[str, Any], raw: bytes, u: float) -> bytes:
    """Bytes that are no Segment event, each kind as likely; never with a line feed in them."""
    wrong: dict[str, Any] = {**event, "messageId": f"{event['messageId']}-broken"}
    kind = int(u * 8)
    if kind == 0:
        return raw[: 40 + len(raw) // 3]
    if kind == 1:
        return b"[" + raw + b"]"
    if kind == 2:
        return raw.replace(b'"type"', b'"\xff\xfe"', 1)
    if kind == 3:
        wrong["type"] = "tracked"
    elif kind == 4:
        wrong.update(type="track", event=["Product Viewed"])
    elif kind == 5:
        wrong["properties"] = "none"
        wrong.update(type="track", event="Product Viewed")
    elif kind == 6:
        wrong["anonymousId"] = wrong["userId"] = ["somebody"]
    else:
        wrong.pop("anonymousId", None)
        wrong.pop("userId", None)
    return _encode(wrong)
