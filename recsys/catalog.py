"""The catalogue: what can be shown, products and articles in one row space.

An item's facts come from feeds, and for items that no feed has named yet, from the events that
mention them. Changes travel through the log; the flow keeps one record an item in the state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec

from recsys.events import ARTICLE_PREFIX, MAX_ID_BYTES, Line
from recsys.item_limits import check_item
from recsys.ports import Position
from recsys.versioned import Versioned

ITEM_VERSION = 1
MAX_PRICES = 8


class PriceSince(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an item was sold at from a time on."""

    at_ms: int
    price: float


class ComingSale(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an item will be sold at, as a feed has announced."""

    price: float
    start_ms: int
    end_ms: int


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One product or article. Field names are the Google Merchant feed's where it has one."""

    id: str
    """The caller's id; articles carry the prefix `article:` (`recsys.events.article_key`)."""
    type: Literal["product", "article"] = "product"
    title: str = ""
    description: str = ""
    link: str = ""
    image_link: str = ""
    category: tuple[str, ...] = ()
    """From the root: ("Outdoor", "Sleeping", "Sleeping bags")."""
    brand: str = ""
    price: float | None = None
    sale_price: float | None = None
    currency: str = ""
    available: bool = True
    group: str = ""
    """item_group_id: variants of one product share it."""
    published_ms: int | None = None
    tags: tuple[str, ...] = ()
    attributes: dict[str, str] = {}
    """Feed fields without a place of their own (custom_label_0, color, size, ...), at most 32."""
    fed: bool = False
    """True when a feed named it; False when only events did."""
    removed: bool = False
    """Taken out of the catalogue; the record stays so that old events keep their names."""
    changed_ms: int = 0
    stock: int | None = None
    """How many are left, as a feed said at `stock_ms`; None: it did not say."""
    stock_ms: int = 0
    sale_end_ms: int | None = None
    """When `sale_price` ends, as a feed said; None: it did not say."""
    prices: tuple[PriceSince, ...] = ()
    """What it was sold at, the newest last, at most MAX_PRICES; kept for items of feeds only, as events
    tell prices of variants and of other shops' currencies too."""
    back_ms: int = 0
    """When it could be had again; 0: it was never gone."""
    min_age: int = 0
    """Only for people known to be of so many years at least; 0: for everybody."""
    markets: tuple[str, ...] = ()
    """Countries it is sent to, in capitals ("DE"), at most `item_limits.MAX_MARKETS`; empty: to all."""
    not_markets: tuple[str, ...] = ()
    """Countries in which it may not be shown, likewise."""
    coming_sale: ComingSale | None = None
    """A sale that had not begun when the item was told."""

    def price_at(self, at_ms: int) -> float | None:
        """What it was sold at then; None: not known."""
        for one in reversed(self.prices):
            if one.at_ms <= at_ms:
                return one.price
        return None

    @property
    def price_now(self) -> float | None:
        """What is paid for it while its sale, if it has one, lasts; see `at_sales_of`. A sale at more than
        the price is none."""
        if self.sale_price is None or (self.price is not None and self.sale_price > self.price):
            return self.price
        return self.sale_price

    @property
    def sale_turns_ms(self) -> int | None:
        """When its sale begins, or ends; None: neither is known."""
        if self.coming_sale is not None:
            return self.coming_sale.start_ms
        return None if self.sale_price is None else self.sale_end_ms

    def at_sales_of(self, now_ms: int) -> Item:
        """As it is sold then, though no feed has said so since: the sale that was announced has begun, one
        that has ended is over."""
        item, sale = self, self.coming_sale
        if sale is not None and sale.start_ms <= now_ms:
            item = msgspec.structs.replace(
                item, sale_price=sale.price, sale_end_ms=sale.end_ms, coming_sale=None
            )
            item = _sold_since(item, sale.start_ms)
        end_ms = item.sale_end_ms
        if item.sale_price is not None and end_ms is not None and end_ms <= now_ms:
            item = _sold_since(msgspec.structs.replace(item, sale_price=None, sale_end_ms=None), end_ms)
        return item

    @property
    def can_be_had(self) -> bool:
        """Whether it can be ordered: not sold out, nor taken out of the catalogue. Of what can be ordered
        ahead (its attribute `availability`) there may be none left."""
        none_left = self.stock == 0 and "availability" not in self.attributes
        return self.available and not self.removed and not none_left


class CatalogChange(msgspec.Struct, frozen=True, gc=False):
    """A change that came through the log."""

    position: Position
    at_ms: int
    op: Literal["upsert", "patch", "remove"]
    """upsert: the feed's whole item; patch: only the fields given; remove."""
    item_id: str
    fields: bytes
    """JSON of the item (upsert) or of the fields to change (patch)."""


class _Change(msgspec.Struct, frozen=True):
    op: Literal["upsert", "patch", "remove"]
    id: str
    item: msgspec.Raw = msgspec.Raw(b"{}")


_change = msgspec.json.Decoder(_Change)
_item = msgspec.json.Decoder(Item)
_fields = msgspec.json.Decoder(dict[str, object])


def encode_change(op: Literal["upsert", "patch", "remove"], item_id: str, fields: object = None) -> bytes:
    """The log value of a change. `fields`: an Item, or a dict of the fields to patch."""
    body: dict[str, object] = {"op": op, "id": item_id}
    if fields is not None:
        body["item"] = fields
    return msgspec.json.encode(body)


def decode_change(raw: bytes, position: Position, at_ms: int) -> CatalogChange:
    """Raises msgspec.DecodeError naming the path; the item is checked here, not when applied."""
    change = _change.decode(raw)
    size = len(change.id.encode())
    if not 0 < size <= MAX_ID_BYTES + len(ARTICLE_PREFIX):
        raise msgspec.ValidationError(
            f"Expected an id of 1 to {MAX_ID_BYTES} bytes, got {size} bytes - at `$.id`"
        )
    fields = bytes(change.item)
    try:
        if change.op == "upsert":
            check_item(_item.decode(fields))
        elif change.op == "patch":
            check_item(patched({"id": change.id}, fields))
    except msgspec.ValidationError as error:
        text = str(error)
        path = text.replace("`$", "`$.item") if " - at `$" in text else f"{text} - at `$.item`"
        raise msgspec.ValidationError(path) from None
    return CatalogChange(position, at_ms, change.op, change.id, fields)


def patched(current: dict[str, object], fields: bytes) -> Item:
    """`current` (an item as plain data) with `fields` over it, checked as a whole."""
    return msgspec.convert({**current, **_fields.decode(fields), "id": current["id"]}, Item)


def apply_change(current: Item | None, change: CatalogChange) -> Item:
    """The item after a change, which `decode_change` has checked. A patch or removal of an item that nobody
    has told of makes it."""
    current = None if current is None else current.at_sales_of(change.at_ms)
    if change.op == "remove":
        base = current if current is not None else Item(change.item_id, type_of(change.item_id))
        return msgspec.structs.replace(base, removed=True, available=False, changed_ms=change.at_ms)
    if change.op == "upsert":
        item = msgspec.structs.replace(
            _item.decode(change.fields), id=change.item_id, fed=True, removed=False, changed_ms=change.at_ms
        )
        return _with_history(current, item, change.at_ms, tells_stock=True)
    known = current if current is not None else Item(change.item_id, type_of(change.item_id))
    told, plain = _fields.decode(change.fields), msgspec.to_builtins(known)
    if "sale_price" in told or "sale_end_ms" in told:
        plain.pop("coming_sale", None)  # the newest word on sales
    item = msgspec.structs.replace(patched(plain, change.fields), changed_ms=change.at_ms)
    return _with_history(current, item, change.at_ms, tells_stock="stock" in told)


def _with_history(before: Item | None, item: Item, at_ms: int, *, tells_stock: bool) -> Item:
    """What only the log can tell: a feed's own word on these fields does not count."""
    prices: tuple[PriceSince, ...] = ()
    back_ms = stock_ms = 0
    if before is not None:
        prices, back_ms, stock_ms = before.prices, before.back_ms, before.stock_ms
        if item.can_be_had and not before.can_be_had:
            back_ms = at_ms
    stock_ms = at_ms if tells_stock and item.stock is not None else stock_ms
    item = msgspec.structs.replace(item, prices=prices, back_ms=back_ms, stock_ms=stock_ms)
    return _sold_since(item, at_ms)


def _sold_since(item: Item, at_ms: int) -> Item:
    """With its price of now among `prices`, from `at_ms` on."""
    now, prices = item.price_now, item.prices
    if not item.fed or now is None or (prices and prices[-1].price == now):
        return item
    return msgspec.structs.replace(item, prices=(*prices, PriceSince(at_ms, now))[-MAX_PRICES:])


TOLD: Final = ("title", "category", "brand", "price", "link", "image_link")
"""Fields of an item that an event's line tells."""
_UNTOLD: Final = (None, "", ())
Told: TypeAlias = "tuple[int, ...]"
"""When each field of `TOLD` was told last, epoch milliseconds; () for an item of which nothing was."""


def apply_evidence(current: Item | None, line: Line, at_ms: int, told: Told = ()) -> tuple[Item, Told]:
    """The item after an event that mentions it, and when what it is was told. A feed's word stands; events
    fill gaps only, and among events the newest word wins, however late an older one comes."""
    if current is not None and current.fed:
        return current, told
    known = current if current is not None else Item(line.item, type_of(line.item))
    says = (line.name, split_category(line.category), line.brand, line.price, line.url, line.image)
    times, changed = list(told or (0,) * len(TOLD)), {}
    for place, (name, value) in enumerate(zip(TOLD, says, strict=True)):
        if value in _UNTOLD:
            continue
        before = getattr(known, name)
        if at_ms >= times[place] or before in _UNTOLD:
            times[place] = at_ms
            if value != before:
                changed[name] = value
    if changed or current is None:
        known = msgspec.structs.replace(known, **changed, changed_ms=max(known.changed_ms, at_ms))
    return known, tuple(times)


def type_of(item_id: str) -> Literal["product", "article"]:
    """What an id names: an article's has its prefix."""
    return "article" if item_id.startswith(ARTICLE_PREFIX) else "product"


@lru_cache(maxsize=20_000)
def split_category(text: str | None) -> tuple[str, ...]:
    """ "Outdoor > Tents", "Home/Apparel/Hats/" -> its parts from the root, at most 8."""
    if not text:
        return ()
    if ">" in text:
        parts = text.split(">")
    else:  # "Men's / Unisex" is one name; "Apparel/Hats/" is a path
        parts = [text] if " / " in text and text.count("/") == 1 else text.split("/")
    return tuple(part.strip() for part in parts if part.strip())[:8]


_record = Versioned("an item record", ITEM_VERSION, Item)
encode_item = _record.encode
decode_item = _record.decode
