"""Catalogue feeds -> items, streaming.

Products: Google Merchant feeds (their field names: support.google.com/merchants/answer/7052112) as
TSV, CSV, XML (RSS 2.0 or Atom with g: fields) or JSON lines. Articles: JSON lines, RSS or Atom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import msgspec

from flows.imports.feed_items import FeedRow, Kind, item_of, kind_of
from flows.imports.feed_xml import read_xml
from flows.imports.source import (
    BAD_JSON,
    RowProblem,
    UnknownFormat,
    head_of,
    problem_of,
    read_lines,
    read_table,
    unknown_format,
)
from recsys.catalog import Item

ROWS_LOOKED_AT = 20
"""So many rows at the beginning may tell what the feed is of."""
_KNOWN_COLUMNS = frozenset(("id", "title"))
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_object = msgspec.json.Decoder(dict[str, object])


def read_feed(path: Path, kind: Kind | None = None, at_ms: int | None = None) -> Iterator[Item | RowProblem]:
    """The items of a feed, or what is wrong with a row; the rows behind it still come.

    Format (and `.gz`) and, unless given, `kind` are told by the content: the kind by the first row
    that has a field of only one of them. A feed is of one kind.
    `at_ms`: sale prices whose sale_price_effective_date lies before this moment (epoch ms) are left
    out, and those of later ones kept as coming; None takes all of them as they are. A problem without
    `item_id` may stand for any item, or for the whole rest of the feed. Raises UnknownFormat (at once)
    and OSError.
    """
    rows = _rows(path)
    if kind is None:
        first = list(islice(rows, ROWS_LOOKED_AT))
        kind, rows = _told_kind(path, first), chain(first, rows)
    return _items(rows, kind, at_ms)


def _told_kind(path: Path, first: Sequence[tuple[int, FeedRow | RowProblem]]) -> Kind:
    readable = [row for _, row in first if not isinstance(row, RowProblem)]
    told = next((kind for kind in map(kind_of, readable) if kind is not None), None)
    if told is not None:
        return told
    if not readable and len(first) < ROWS_LOOKED_AT:
        return "product"  # there is no row to be of a kind, only problems
    # Taken for the wrong kind, every item would stand in the catalogue under an id that is not its own.
    raise UnknownFormat(
        "Expected products or articles, got rows without price, availability, published or summary:"
        f" say --kind product or --kind article - in `{path}`"
    )


def _items(
    rows: Iterator[tuple[int, FeedRow | RowProblem]], kind: Kind, at_ms: int | None
) -> Iterator[Item | RowProblem]:
    for line, row in rows:
        if isinstance(row, RowProblem):
            yield row
            continue
        yield item_of(row, kind, line, at_ms)


def _rows(path: Path) -> Iterator[tuple[int, FeedRow | RowProblem]]:
    head = head_of(path)
    start = head.lstrip()
    if start.startswith(b"<"):
        return iter(read_xml(path))
    if start.startswith(b"{"):
        return _json_rows(path)
    header = start.split(b"\n", 1)[0].decode("utf-8", "replace")
    delimiter = max("\t,;|", key=header.count)
    columns = [_field_name(cell.strip('"\r ')) for cell in header.split(delimiter)]
    if not set(columns) >= _KNOWN_COLUMNS:
        unknown_format(path, "a feed in XML or JSON lines, or a table with the columns id and title", head)
    return _table_rows(path, delimiter)


def _table_rows(path: Path, delimiter: str) -> Iterator[tuple[int, FeedRow | RowProblem]]:
    rows = read_table(path, delimiter, keeps_wrong_bytes=True)
    _, header = next(rows)
    if isinstance(header, RowProblem):
        yield 1, header
        return
    columns = [_field_name(cell) for cell in header]
    for line, cells in rows:
        if isinstance(cells, RowProblem):
            yield line, cells
            continue
        if len(cells) > len(columns):
            yield line, RowProblem(line, "", f"{len(columns)} columns", str(len(cells)))
            continue
        wrong = _no_utf8(cells)
        if wrong is not None:
            yield line, RowProblem(line, "", "UTF-8, or UTF-16 with its mark", wrong)
            continue
        row: dict[str, list[str]] = {}
        # Rows may be shorter than the header: Google's own tool leaves empty cells at the end away.
        for name, text in zip(columns, cells, strict=False):
            if text:
                row.setdefault(name, []).append(text)
        yield line, row


def _no_utf8(cells: list[str]) -> str | None:
    """The first byte that is none: a name that is broken here would be shown to everybody."""
    try:
        "".join(cells).encode()
    except UnicodeEncodeError as error:
        return f"byte 0x{ord(error.object[error.start]) & 0xFF:02x}"
    return None


def _json_rows(path: Path) -> Iterator[tuple[int, FeedRow | RowProblem]]:
    for number, line in read_lines(path):
        if isinstance(line, RowProblem):
            yield number, line
            continue
        try:
            fields = _object.decode(line)
        except BAD_JSON as error:
            yield number, problem_of(error, number)
        else:
            given = ((name, value) for name, value in fields.items() if value is not None)
            yield number, {_field_name(name): _texts(value) for name, value in given}


def _field_name(name: str) -> str:
    """ "g:image_link", "Image Link" and "imageLink" -> "image_link"; "shipping(country:price)", where the
    brackets name the parts of the values, -> "shipping" as long as the country comes first."""
    name = _CAMEL.sub("_", name.strip().removeprefix("g:"))
    name = name.lower().replace(" ", "_").replace("-", "_")
    return "shipping" if name.startswith("shipping(country") else name


def _texts(value: object) -> list[str]:
    """A JSON value as a feed's texts: {"value": "24.50", "currency": "EUR"} is a price."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict):
        if "value" in value:
            return [f"{value['value']} {value.get('currency') or ''}".strip()]
        if "country" in value:  # shipping
            return _texts(value["country"])
        if "name" in value:  # an author
            return _texts(value["name"])
        return [msgspec.json.encode(value).decode()]
    if isinstance(value, bool):
        return [str(value).lower()]
    return [str(value)]
