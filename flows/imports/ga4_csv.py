"""The flattened GA4 CSV: a row an event, and for purchases a row an item."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from flows.imports.ga4_events import (
    MAX_US,
    SEGMENT_NAMES,
    MessageIds,
    category_path,
    known,
    number_of,
    page_of,
    record_of,
)
from flows.imports.ga4_items import ListedItem, listed_changes, read_items
from flows.imports.source import RowProblem, open_rows, read_lines, read_table
from flows.imports.timeorder import TimedRow, in_time_order
from recsys.ports import NewRecord

REQUIRED = frozenset(("ts_us", "user_id", "event", "item"))


class _Row(NamedTuple):
    """One row's cells; a column that the file does not have is empty."""

    user_id: str
    session_id: str
    event: str
    item: str
    price: str
    qty: str
    tx: str
    page: str
    dev: str
    country: str
    medium: str
    source: str


def read_csv(path: Path, items: Path | None) -> Iterator[NewRecord | RowProblem]:
    """See `ga4.read_ga4`. What the list of items knows comes first, as catalogue changes."""
    listed: dict[str, ListedItem] = {}
    for entry in read_items(items) if items is not None else ():
        if isinstance(entry, RowProblem):
            yield entry
        else:
            listed[entry[0]] = entry[1]
    translation = _Translation(listed)
    started = False
    for at_us, rows in groupby(in_time_order(lambda: _timed_rows(path), lambda: _times(path)), _moment):
        if at_us is None:
            yield from (row for row in rows if isinstance(row, RowProblem))
            continue
        if not started:
            started = True
            yield from listed_changes(listed, at_us // 1000)
        cells = (_Row(*row.content) for row in rows if isinstance(row, TimedRow))
        yield from translation.moment(at_us, cells)


def _moment(row: TimedRow | RowProblem) -> int | None:
    return None if isinstance(row, RowProblem) else row.key[0]


def _times(path: Path) -> Iterator[tuple[int]]:
    with open_rows(path) as stream:
        plain = stream.read(6) == b"ts_us,"
    return _leading_numbers(path) if plain else _time_cells(path)


def _leading_numbers(path: Path) -> Iterator[tuple[int]]:
    """The times of a file whose first column they are, without parsing the rest. A cell with line
    breaks may look like a row; it can make the file look unordered, never ordered."""
    for _, line in read_lines(path):
        if not isinstance(line, RowProblem):
            text = line.partition(b",")[0]
            if text.isdigit():
                yield (int(text),)


def _time_cells(path: Path) -> Iterator[tuple[int]]:
    rows = read_table(path, ",")
    _, header = next(rows, (0, list[str]()))
    if isinstance(header, RowProblem):
        return
    column = header.index("ts_us")
    for _, cells in rows:
        if not isinstance(cells, RowProblem) and len(cells) > column and cells[column].isdecimal():
            yield (int(cells[column]),)


def _timed_rows(path: Path) -> Iterator[TimedRow | RowProblem]:
    rows = read_table(path, ",")
    _, header = next(rows, (0, list[str]()))
    if isinstance(header, RowProblem):
        yield header
        return
    width, time_column = len(header), header.index("ts_us")
    take = _taker(header)
    for line, cells in rows:
        if isinstance(cells, RowProblem):
            yield cells
        elif len(cells) != width:
            yield RowProblem(line, "", f"{width} columns", str(len(cells)))
        else:
            text = cells[time_column]
            if text.isdecimal() and (at_us := int(text)) < MAX_US:
                yield TimedRow((at_us,), line, take(cells))
            else:
                yield RowProblem(line, "ts_us", "epoch microseconds", f"`{text[:64]}`")


def _taker(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    """Picks the cells of a `_Row` out of a row of the file."""
    columns = [header.index(name) if name in header else None for name in _Row._fields]
    present = [column for column in columns if column is not None]
    if len(present) == len(columns):
        return itemgetter(*present)
    return lambda cells: tuple("" if column is None else cells[column] for column in columns)


class _Translation:
    """Rows -> calls. Holds the list of items and the ids given within the moment."""

    def __init__(self, listed: Mapping[str, ListedItem]) -> None:
        self._listed = listed
        self._ids = MessageIds()

    def moment(self, at_us: int, rows: Iterator[_Row]) -> Iterator[NewRecord]:
        """The events of one microsecond; rows of one purchase become one order."""
        orders: dict[tuple[str, str], list[_Row]] = {}
        for row in rows:
            if row.event == "purchase":
                orders.setdefault((row.user_id, row.tx), []).append(row)
            else:
                yield self._record(row, at_us, _content(row), self._properties(row))
        for lines in orders.values():
            content = b"\n".join(map(_content, lines))
            yield self._record(lines[0], at_us, content, self._ordered(lines))

    def _record(self, row: _Row, at_us: int, content: bytes, properties: dict[str, object]) -> NewRecord:
        context: dict[str, object] = dict(_visit(row.dev, row.country, row.source, row.medium))
        if row.page:
            context["page"] = page_of(row.page)
        if row.session_id:
            context["sessionId"] = row.session_id
        call: dict[str, object] = {
            "type": "track",
            "event": SEGMENT_NAMES.get(row.event, row.event),
            "messageId": self._ids.next(at_us, content),
            "anonymousId": row.user_id,
            "context": context,
            "properties": properties,
        }
        return record_of(call, at_us)

    def _properties(self, row: _Row) -> dict[str, object]:
        if row.event == "category_view":
            category = _category_of_title(row.item)
            return {"category": category} if category else {}
        if row.event == "search":
            query = known(row.item)
            return {"query": query} if query else {}
        properties = self._product(row)
        if row.event == "view" and properties and row.page:
            properties["url"] = row.page
        return properties

    def _ordered(self, rows: list[_Row]) -> dict[str, object]:
        """A thank-you page that is loaded again tells its order again, later and under the same
        order id: it is passed on, as a collector would, and the fold counts it once."""
        products = [product for product in map(self._product, rows) if product]
        properties: dict[str, object] = {"products": products}
        order_id = known(rows[0].tx)
        if order_id:
            properties["order_id"] = order_id
        prices = [(number_of(row.price), number_of(row.qty or "1")) for row in rows]
        amounts = [
            price * quantity
            for price, quantity in prices
            if isinstance(price, float) and isinstance(quantity, float)
        ]
        if amounts:
            properties["total"] = round(sum(amounts), 2)
        return properties

    def _product(self, row: _Row) -> dict[str, object]:
        """The item by its name: the export's ids change from event to event. {} without a name."""
        name = known(row.item) if row.item else None
        if name is None:
            return {}
        product: dict[str, object] = {"product_id": name, "name": name}
        about = self._listed.get(name)
        if about is not None:
            if about.category:
                product["category"] = about.category
            if about.brand:
                product["brand"] = about.brand
        if row.price:
            product["price"] = number_of(row.price)
        if row.qty:
            product["quantity"] = number_of(row.qty)
        return product


@lru_cache(maxsize=4096)
def _visit(device: str, country: str, source: str, medium: str) -> Mapping[str, object]:
    """What `context` says of the visit; the same few combinations come again and again."""
    visit: dict[str, object] = {}
    if device_type := known(device):
        visit["device"] = {"type": device_type}
    campaign = {name: text for name, text in (("source", known(source)), ("medium", known(medium))) if text}
    if campaign:
        visit["campaign"] = campaign
    if country_name := known(country):
        visit["location"] = {"country": country_name}
    return visit


@lru_cache(maxsize=4096)
def _category_of_title(title: str) -> str | None:
    """ "Bags | Lifestyle | Shop" -> "Lifestyle > Bags": a page's title ends with the shop's name."""
    parts = title.split("|")
    return category_path((parts[:-1] or parts)[::-1])


def _content(row: _Row) -> bytes:
    return "\0".join(row).encode("utf-8", "replace")
