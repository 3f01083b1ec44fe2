"""What a person has been shown of late, and what a placement therefore leaves out.

Every block that is served goes to the log. The flow keeps the newest of each person, of placements that
some `cooldown` looks at, in a record beside the profile; it is read only for placements that ask for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from recsys.banner import BANNER_PREFIX
from recsys.placement import Placement
from recsys.versioned import Versioned

SHOWN_VERSION: Final = 1
MAX_BLOCKS: Final = 24
"""Blocks of one placement, and with the same banners, that are remembered of a person, the newest."""
MAX_IMPRESSIONS: Final = 300
"""Blocks that are remembered of a person in all."""


class Impression(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A block that a person was shown."""

    decision_id: str
    placement: str
    at_ms: int
    items: tuple[str, ...]


class ShownRecord(msgspec.Struct, frozen=True, array_like=True):
    """What the state keeps under `shown_key`."""

    person: str
    """`u:<user id>` or `a:<visitor>`, as the block was served to."""
    impressions: tuple[Impression, ...] = ()
    """The newest first, as `remembered` keeps them."""


def remembered(*known: Iterable[Impression]) -> tuple[Impression, ...]:
    """All of these, each decision once, the newest first, within MAX_BLOCKS and MAX_IMPRESSIONS. In whatever
    order and however often they are given, the answer is the same."""
    by_id = {one.decision_id: one for many in known for one in many}
    kept: dict[tuple[str, ...], int] = {}
    newest = []
    for one in sorted(by_id.values(), key=_newest_first):
        # Banners apart: their caps hold however often the page is seen without them.
        key = (one.placement, *(item for item in one.items if item.startswith(BANNER_PREFIX)))
        kept[key] = kept.get(key, 0) + 1
        if kept[key] <= MAX_BLOCKS:
            newest.append(one)
    return tuple(newest[:MAX_IMPRESSIONS])


def _newest_first(one: Impression) -> tuple[int, str]:
    return -one.at_ms, one.decision_id


def remembering(placements: Mapping[str, Placement]) -> dict[str, frozenset[str]]:
    """For each placement that leaves out what was shown, banners among it: the placements whose blocks
    count there."""
    return {
        name: frozenset(_counting(name, placement, placements))
        for name, placement in placements.items()
        if placement.cooldown_s > 0 or placement.cooldown_blocks > 0 or placement.shares.get("banner", 0) > 0
    }


def _counting(name: str, placement: Placement, placements: Mapping[str, Placement]) -> Iterable[str]:
    yield name
    named = placement.cooldown_of
    yield from (other for other, its in placements.items() if other in named or its.channel in named)


def cooling(
    name: str, placement: Placement, counting: frozenset[str], shown: Sequence[Impression], now_ms: int
) -> tuple[str, ...]:
    """The items that the placement `name` must not show now. `shown`: as `remembered` gives it."""
    resting_blocks = resting(name, placement, counting, shown, now_ms)
    return tuple(dict.fromkeys(item for _, one in resting_blocks for item in one.items))


def resting(
    name: str, placement: Placement, counting: frozenset[str], shown: Sequence[Impression], now_ms: int
) -> Iterator[tuple[str, Impression]]:
    """The blocks whose items the placement `name` must not show now, the newest first, each with the setting
    that says so."""
    since_ms = now_ms - placement.cooldown_s * 1000
    own = 0
    for one in shown:
        is_own = one.placement == name
        own += is_own
        if one.placement not in counting:
            continue
        if placement.cooldown_s > 0 and one.at_ms > since_ms:
            yield "cooldown_s", one
        elif is_own and own <= placement.cooldown_blocks:
            yield "cooldown_blocks", one


class _Columns(msgspec.Struct, frozen=True, gc=False):
    """Of the items of a served event; see `recsys.block.Lineup`."""

    ids: tuple[str, ...] = ()


class _Named(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The beginning of an item as 0.3 wrote it; see `recsys.block.BlockItem`."""

    id: str


class _Served(msgspec.Struct, frozen=True, gc=False):
    decision_id: str
    placement: str
    at_ms: int
    items: _Columns | list[_Named]
    person: str = ""


class _ServedEvent(msgspec.Struct, frozen=True, rename="camel", gc=False):
    properties: _Served
    anonymous_id: str | None = None
    user_id: str | None = None


_event = msgspec.json.Decoder(_ServedEvent)


def shown_by(raw: bytes, counting: frozenset[str]) -> ShownRecord | None:
    """What a served event tells: one impression of one person. None for a block of a placement that does
    not count, and for one served to nobody."""
    try:
        event = _event.decode(raw)
        served = event.properties
        if served.placement not in counting:
            return None
    except msgspec.DecodeError:
        return None  # of a version that wrote its items otherwise
    named, person = served.items, served.person or person_of(event.anonymous_id, event.user_id)
    items = named.ids if isinstance(named, _Columns) else tuple([item.id for item in named])
    if not person:
        return None
    return ShownRecord(person, (Impression(served.decision_id, served.placement, served.at_ms, items),))


def person_of(visitor: str | None, user_id: str | None) -> str:
    """As whom somebody is remembered whom the state does not know; "" for nobody."""
    if user_id is not None:
        return f"u:{user_id}"
    return f"a:{visitor}" if visitor is not None and not visitor.startswith("nobody:") else ""


_shown = Versioned("a record of what was shown", SHOWN_VERSION, ShownRecord)
encode_shown = _shown.encode
decode_shown = _shown.decode
