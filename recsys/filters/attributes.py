"""The catalogue's attributes in columns, kept up to date row by row."""

from __future__ import annotations

import threading
from collections import deque
from itertools import islice
from operator import attrgetter
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.catalog import Item
from recsys.events import ARTICLE_PREFIX
from recsys.filters.ragged import Codes, Ragged
from recsys.markets import market_code

AttributeType = Literal["bool", "double", "string", "timestamp", "list", "map"]

ATTRIBUTES: Final[dict[str, AttributeType]] = {
    "price": "double",
    "sale_price": "double",
    "price_now": "double",
    "brand": "string",
    "category": "list",
    "tags": "list",
    "available": "bool",
    "item_type": "string",
    "id": "string",
    "title": "string",
    "group": "string",
    "currency": "string",
    "published": "timestamp",
    "min_age": "double",
    "markets": "list",
    "not_markets": "list",
    "attributes": "map",
}
"""What a filter may name. As in `recsys.catalog.Item`, but: price_now is the sale price, else the price;
item_type is `type`, a word that CEL has taken; id is the caller's, without the prefix of articles;
published is published_ms as a timestamp; attributes is a map from string to string. Lists are of
strings, and markets by their codes, whatever a feed calls them. Numbers and published may be null."""

UNKNOWN_MS: Final = np.iinfo(np.int64).min
MAX_CHANGES: Final = 1024
"""Changes remembered: who asks what has changed since longer ago looks at every row."""

_STRINGS = tuple(name for name, type_ in ATTRIBUTES.items() if type_ == "string")
_SAME_STRINGS = tuple(name for name in _STRINGS if name not in ("id", "item_type"))
_NUMBERS = tuple(name for name, type_ in ATTRIBUTES.items() if type_ == "double")
_LISTS = tuple(name for name, type_ in ATTRIBUTES.items() if type_ == "list")
_MARKETS = ("markets", "not_markets")
_numbers_of = attrgetter("price", "sale_price", "min_age")
_texts_of = attrgetter("id", "type", *_SAME_STRINGS, *_LISTS, "attributes")


class Attributes:
    """One cell for each row and attribute.

    One thread writes, many read: hold `lock` while reading more than `version`. Rows that were never
    set are not `present` and pass no filter.

    Strings are codes of one dictionary, so that strings of different columns compare as numbers. Texts
    that no row holds any more are dropped when they outnumber the others. Memory: 106 bytes a row of
    capacity, 12 for each entry of a list or of `attributes` (at most twice that), and what a dictionary
    of the distinct texts takes, which shares the strings of the items; 10 KB for the newest changes.
    """

    def __init__(self, capacity: int = 64) -> None:
        self.lock = threading.Lock()
        self.version = 0
        """Grows with each change. Who keeps an answer notes the version from before asking for it."""
        self.n_rows = 0
        self._changed: deque[int] = deque(maxlen=MAX_CHANGES)
        """The row of each change, the newest last."""
        self._codes = _Codes([""])  # 0, the string of rows that were never set
        self.present = np.zeros(capacity, np.bool_)
        self.available = np.zeros(capacity, np.bool_)
        self.published_ms = np.full(capacity, UNKNOWN_MS, np.int64)
        self.numbers = {name: np.full(capacity, np.nan, np.float64) for name in _NUMBERS}
        self.strings = {name: np.zeros(capacity, np.int32) for name in _STRINGS}
        self.ragged = {name: Ragged(capacity) for name in (*_LISTS, "attributes")}
        self._n_texts_kept = 1
        self.n_with_age = 0
        """Rows whose item asks for an age."""
        self.n_with_market = 0
        """Rows whose item is kept to some markets, or out of some."""

    def set(self, row: int, item: Item, before: Item | None = None) -> None:
        """Take an item, or a new version of it. `before`: the version that the row holds, where that is
        at hand: most changes are of a price, and what stayed is not written again."""
        with self.lock:
            if row >= len(self.present):
                self._grow(max(row + 1, 2 * len(self.present)))
            self._write(row, item, before)
            self.present[row] = True
            self.n_rows = max(self.n_rows, row + 1)
            if len(self.texts) > 2 * self._n_texts_kept + 1024:
                self._drop_unused_texts()
            self._changed.append(row)
            self.version += 1

    def moved(self, rows: npt.NDArray[np.int32], capacity: int) -> Attributes:
        """The attributes of rows int32[k] as rows 0 to k - 1 of others, with room for `capacity` >= k; -1 for
        a row that is not set. These here are not written to any more: both have one dictionary of texts."""
        moved = Attributes(capacity)
        here = np.flatnonzero(rows >= 0)
        there = rows[here]
        for name, numbers in self.numbers.items():
            moved.numbers[name][here] = numbers[there]
        for name, codes in self.strings.items():
            moved.strings[name][here] = codes[there]
        for name, ragged in self.ragged.items():
            moved.ragged[name] = ragged.part(rows)
            moved.ragged[name].grow(capacity)
        moved.present[here] = self.present[there]
        moved.available[here] = self.available[there]
        moved.published_ms[here] = self.published_ms[there]
        moved.n_rows = int(np.flatnonzero(moved.present).max(initial=-1)) + 1
        moved.n_with_age, moved.n_with_market = self.n_with_age, self.n_with_market
        moved._codes, moved._n_texts_kept = self._codes, self._n_texts_kept
        return moved

    def changed_since(self, version: int) -> npt.NDArray[np.int32] | None:
        """int32[k]: the rows changed since a version, each once; None where that is longer ago than is
        remembered."""
        with self.lock:
            count = self.version - version
            if count > MAX_CHANGES:
                return None
            newest = islice(reversed(self._changed), count)
            return np.array(sorted(set(newest)), np.int32)

    @property
    def texts(self) -> list[str]:
        """The string of each code."""
        return self._codes.texts

    def code_of(self, text: str) -> int | None:
        """None for a text that no item holds."""
        return self._codes.get(text)

    def _write(self, row: int, item: Item, before: Item | None) -> None:
        self._count_restricted(row, item)
        self.available[row] = item.can_be_had
        self.published_ms[row] = UNKNOWN_MS if item.published_ms is None else item.published_ms
        if before is None or _numbers_of(item) != _numbers_of(before):
            for name in _NUMBERS:
                number: float | None = getattr(item, name)
                self.numbers[name][row] = np.nan if number is None else number
        if before is None or _texts_of(item) != _texts_of(before):
            self._write_texts(row, item)

    def _write_texts(self, row: int, item: Item) -> None:
        codes = self._codes
        self.strings["id"][row] = codes[item.id.removeprefix(ARTICLE_PREFIX)]
        self.strings["item_type"][row] = codes[item.type]
        for name in _SAME_STRINGS:
            self.strings[name][row] = codes[getattr(item, name)]
        for name in _LISTS:
            texts: tuple[str, ...] = getattr(item, name)
            if name in _MARKETS:
                texts = tuple([market_code(market) for market in texts])
            self.ragged[name].set(row, range(len(texts)), [codes[text] for text in texts])
        custom = item.attributes
        keys, values = [codes[key] for key in custom], [codes[value] for value in custom.values()]
        self.ragged["attributes"].set(row, keys, values)

    def _count_restricted(self, row: int, item: Item) -> None:
        had_market = bool(self.ragged["markets"].count[row] or self.ragged["not_markets"].count[row])
        self.n_with_market += bool(item.markets or item.not_markets) - had_market
        self.n_with_age += (item.min_age > 0) - bool(self.numbers["min_age"][row] > 0)

    def _grow(self, capacity: int) -> None:
        extra = capacity - len(self.present)
        self.present = np.append(self.present, np.zeros(extra, np.bool_))
        self.available = np.append(self.available, np.zeros(extra, np.bool_))
        self.published_ms = np.append(self.published_ms, np.full(extra, UNKNOWN_MS, np.int64))
        for name, numbers in self.numbers.items():
            self.numbers[name] = np.append(numbers, np.full(extra, np.nan))
        for name, codes in self.strings.items():
            self.strings[name] = np.append(codes, np.zeros(extra, np.int32))
        for ragged in self.ragged.values():
            ragged.grow(capacity)

    def _drop_unused_texts(self) -> None:
        held = np.zeros(len(self.texts), np.bool_)
        held[0] = True
        columns = self._columns_of_codes()
        for codes in columns:
            held[codes[codes >= 0]] = True
        kept = np.flatnonzero(held)
        new_code: npt.NDArray[np.int32] = np.zeros(len(self.texts), np.int32)
        new_code[kept] = np.arange(len(kept), dtype=np.int32)
        for codes in columns:
            codes[:] = np.where(codes >= 0, new_code[codes], -1)
        self._codes = _Codes([self.texts[code] for code in kept])
        self._n_texts_kept = len(kept)

    def _columns_of_codes(self) -> list[Codes]:
        """Every array whose cells are codes of `texts`."""
        keys = self.ragged["attributes"].keys()  # those of lists are places
        return [*self.strings.values(), *(ragged.values() for ragged in self.ragged.values()), keys]


class _Codes(dict[str, int]):
    """The code of each text; a new text gets the next one."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__((text, code) for code, text in enumerate(texts))
        self.texts = texts

    def __missing__(self, text: str) -> int:
        self[text] = code = len(self.texts)
        self.texts.append(text)
        return code
