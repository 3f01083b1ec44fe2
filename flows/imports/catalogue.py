"""The catalogue as the command line shows it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flows.imports.feed_items import Kind
from recsys.catalog import Item, decode_item
from recsys.keys import ITEM_PREFIX, item_key
from recsys.open import open_kept_store
from recsys.printable import printable
from recsys.settings import Settings


class Listing(NamedTuple):
    """The first items of those asked for, and how many there are."""

    shown: list[Item]
    total: int


def items_of(settings: Settings) -> Iterator[Item]:
    """Every item that the state knows, in no stated order. StoreUnavailable where there is no state yet."""
    store = open_kept_store(settings.state)
    try:
        for _, record in store.scan(ITEM_PREFIX):
            yield decode_item(record)
    finally:
        store.close()


def item_of(settings: Settings, item_id: str) -> Item | None:
    """One item that the state knows. StoreUnavailable where there is no state yet."""
    store = open_kept_store(settings.state)
    try:
        record = store.get_many([item_key(item_id)])[0]
    finally:
        store.close()
    return decode_item(record) if record is not None else None


def listing(items: Iterable[Item], limit: int, kind: Kind | None, removed: bool) -> Listing:
    """The first `limit` items of a kind (None: of both), `removed` ones among them or not. Holds no
    more than these."""
    shown: list[Item] = []
    total = 0
    for item in items:
        if (item.removed and not removed) or kind not in (None, item.type):
            continue
        total += 1
        if len(shown) < limit:
            shown.append(item)
    return Listing(shown, total)


def about(item: Item) -> str:
    """What a list says of an item beside its id."""
    price = "" if item.price_now is None else f"{item.price_now:,.2f} {item.currency}".strip()
    stands = "removed" if item.removed else "" if item.can_be_had else "not available"
    known = "" if item.fed or item.removed else "known from events only"
    parts = (item.title, " > ".join(item.category), price, stands, known)
    return printable(" | ".join(part for part in parts if part))
