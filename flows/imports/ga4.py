"""Google Analytics 4 exports -> Segment-spec events.

Two formats, told apart by their content: the flattened CSV (a row an event, a row a purchased
item) and the JSON lines that BigQuery exports from a GA4 property. Events come out in the order
of time. The translation judges nothing: a value of the wrong kind goes on as it came, and the
decoder's dead letter says what is wrong with it. Only rows that cannot become an event at all, for
want of a time or a name, are told here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from flows.imports import ga4_bigquery, ga4_csv
from flows.imports.source import RowProblem, head_of, unknown_format
from recsys.ports import NewRecord


def read_ga4(
    path: Path, items: Path | None = None, item_key: Literal["id", "name"] = "id"
) -> Iterator[NewRecord | RowProblem]:
    """The events of an export, `received_ms` being when they happened, keyed by visitor.

    `items`: a list of the shop's items (`item_name,category,brand,price_median`) for the CSV
    format, which has no categories itself; the one `items_list` finds is used without asking.
    `item_key`: what names an item in BigQuery's format; the CSV format knows names only.

    The same file always gives the same message ids: imported twice it makes duplicates, no doubles.
    Raises UnknownFormat (at once) and OSError.
    """
    head = head_of(path)
    if _is_bigquery(head):
        return ga4_bigquery.read_bigquery(path, item_key)
    header = next(csv.reader([head.split(b"\n", 1)[0].decode("utf-8", "replace").strip()]), [])
    if not ga4_csv.REQUIRED.issubset(header):
        columns = ", ".join(sorted(ga4_csv.REQUIRED))
        unknown_format(path, f"JSON lines of GA4 events or a CSV with the columns {columns}", head)
    return ga4_csv.read_csv(path, items if items is not None else items_list(path))


def items_list(path: Path) -> Path | None:
    """The list of items beside an export in the CSV format: the `items.csv` of its folder."""
    beside = path.parent / "items.csv"
    if beside == path or not beside.is_file() or _is_bigquery(head_of(path)):
        return None
    return beside


def _is_bigquery(head: bytes) -> bool:
    return head.lstrip().startswith(b"{")
