"""`python -m bench.quality.retail SRC TRAIN TEST`: Online Retail's invoice lines as two `topn` files.

The question: which items that a customer never had are in their first order of the last two months?
Cancelled invoices, lines without a customer, and what is no article of stock (postage) are left out.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from flows.imports.source import open_rows

TEST_DAYS: Final = 61
_STOCK: Final = re.compile(r"\d{5}")
"""An article's code begins with five digits; POST, M, BANK CHARGES and their like are none."""


class Line(NamedTuple):
    """One bought item."""

    customer: str
    invoice: str
    item: str
    at: datetime


def lines_of(path: Path) -> Iterator[Line]:
    """What was bought, in the order of the file. Raises ValueError naming the line."""
    lines = count(2)
    with open_rows(path) as stream, io.TextIOWrapper(stream, "utf-8", "replace", newline="") as text:
        try:
            for row in csv.DictReader(text):
                next(lines)
                cancelled = row["InvoiceNo"].startswith("C") or float(row["Quantity"]) <= 0
                if cancelled or not row["CustomerID"] or not _STOCK.match(row["StockCode"]):
                    continue
                customer, at = row["CustomerID"].partition(".")[0], row["InvoiceDate"]
                item = row["StockCode"].upper()
                yield Line(customer, row["InvoiceNo"], item, datetime.fromisoformat(at))
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"Expected an invoice line, got {error} - in `{path}` line {next(lines) - 1}"
            ) from None


def split(lines: Iterable[Line]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What each customer had before, in the order of buying, and what was new to them in the first
    order of the test."""
    ordered = sorted(lines, key=lambda line: line.at)
    had: dict[str, dict[str, None]] = {}
    wanted: dict[str, tuple[str, dict[str, None]]] = {}
    last = ordered[-1].at if ordered else datetime.min  # noqa: DTZ901 - times of one unnamed zone
    for line in ordered:
        if (last.date() - line.at.date()).days >= TEST_DAYS:
            had.setdefault(line.customer, {})[line.item] = None
            continue
        known = had.get(line.customer)
        if known is None:
            continue  # a customer without a past: nothing to go by
        invoice, fresh = wanted.setdefault(line.customer, (line.invoice, {}))
        if invoice == line.invoice and line.item not in known:
            fresh[line.item] = None
    return (
        {customer: list(items) for customer, items in had.items()},
        {customer: list(items) for customer, (_, items) in wanted.items() if items},
    )


def write(path: Path, baskets: dict[str, list[str]]) -> None:
    with _opened(path) as file:
        for customer, items in baskets.items():
            file.write(f"{customer} {' '.join(items)}\n")


def _opened(path: Path) -> TextIO:
    return gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w")


def main(argv: list[str]) -> int:
    if len(argv) != 3:
        print("usage: python -m bench.quality.retail SRC TRAIN TEST", file=sys.stderr)
        return 2
    source, train, test = map(Path, argv)
    try:
        had, wanted = split(lines_of(source))
        write(train, had)
        write(test, wanted)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(had):,} customers before, {len(wanted):,} with something new after", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
