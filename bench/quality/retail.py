"""Reader of the format `retail`: Online Retail's invoice lines, times kept.

The question: which items that a customer never had are in their first order of the last days? It is asked
as the training ends. Cancelled invoices, lines without a customer, and what is no article of stock
(postage) are left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import count, groupby
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bench.quality.formats import WrongFile, visitor_of
from bench.quality.trial import Questions, Trial, counters_of, deed, plain_catalogue
from flows.imports.source import open_rows
from recsys.events import Action, Event
from recsys.models.interactions import InteractionKind, Interactions

DAY_MS: Final = 86_400_000
_STOCK: Final = re.compile(r"\d{5}")
"""An article's code begins with five digits; POST, M, BANK CHARGES and their like are none."""


class Line(NamedTuple):
    """One bought item; `at_ms` epoch milliseconds, the file's zone taken for UTC."""

    customer: str
    invoice: str
    item: str
    at_ms: int


def lines_of(path: Path) -> Iterator[Line]:
    """What was bought, in the order of the file. Raises WrongFile naming the line."""
    lines = count(2)
    with open_rows(path) as stream, io.TextIOWrapper(stream, "utf-8", "replace", newline="") as text:
        try:
            for row in csv.DictReader(text):
                next(lines)
                cancelled = row["InvoiceNo"].startswith("C") or float(row["Quantity"]) <= 0
                if cancelled or not row["CustomerID"] or not _STOCK.match(row["StockCode"]):
                    continue
                customer, item = row["CustomerID"].partition(".")[0], row["StockCode"].upper()
                at = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=timezone.utc)
                yield Line(customer, row["InvoiceNo"], item, round(at.timestamp() * 1000))
        except (KeyError, ValueError, AttributeError, TypeError) as error:
            raise WrongFile(
                f"Expected an invoice line, got {error} - in `{path}` line {next(lines) - 1}"
            ) from None


def read_retail(path: Path, test_days: int) -> Trial:
    """What each customer had before the last `test_days` days, and what was new to them in the first
    order of these. Raises WrongFile."""
    ordered = sorted(lines_of(path), key=lambda line: line.at_ms)
    if not ordered:
        raise WrongFile(f"Expected invoice lines, got none - in `{path}`")
    split_ms = (ordered[-1].at_ms // DAY_MS + 1 - test_days) * DAY_MS
    before = [line for line in ordered if line.at_ms < split_ms]
    wanted = _new_in_first_orders(before, ordered[len(before) :])
    customers = [line.customer for line in before]
    train = Interactions.from_columns(
        customers,
        customers,
        [line.item for line in before],
        np.full(len(before), InteractionKind.ORDER, np.uint8),
        [line.at_ms for line in before],
        collapse_repeats=False,
    )
    return Trial(
        kind="retail",
        train=train,
        catalogue=plain_catalogue(train.item_ids),
        counters=counters_of(train),
        earlier=list(_orders(line for line in before if line.customer in wanted)),
        events=(),
        questions=_questions(train, before, wanted),
        bars_history=True,
    )


def _new_in_first_orders(before: Sequence[Line], after: Sequence[Line]) -> dict[str, list[str]]:
    """By customer; those without a past, of whom nothing is known, are left out."""
    had: dict[str, set[str]] = {}
    for line in before:
        had.setdefault(line.customer, set()).add(line.item)
    first: dict[str, str] = {}
    wanted: dict[str, dict[str, None]] = {}
    for line in after:
        known = had.get(line.customer)
        is_first = first.setdefault(line.customer, line.invoice) == line.invoice
        if known is not None and is_first and line.item not in known:
            wanted.setdefault(line.customer, {})[line.item] = None
    return {customer: list(items) for customer, items in wanted.items()}


def _orders(lines: Iterable[Line]) -> Iterator[Event]:
    """An event for each order. Invoices of the same minute stand between each other's lines."""
    by_order = sorted(lines, key=lambda line: (line.at_ms, line.customer, line.invoice))
    for number, ((at_ms, customer, invoice), of_order) in enumerate(
        groupby(by_order, key=lambda line: (line.at_ms, line.customer, line.invoice))
    ):
        items = list(dict.fromkeys(line.item for line in of_order))
        yield deed(
            Action.ORDER, "Order Completed", visitor_of(customer), items, at_ms, number, order_id=invoice
        )


def _questions(train: Interactions, before: Iterable[Line], wanted: Mapping[str, list[str]]) -> Questions:
    had: dict[str, dict[str, None]] = {}
    for line in before:
        had.setdefault(line.customer, {})[line.item] = None
    row_of = {item: row for row, item in enumerate(train.item_ids)}
    histories = [[row_of[item] for item in had[customer]] for customer in wanted]
    starts = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    end_ms = round(float(train.at_s.max(initial=0.0)) * 1000)
    return Questions(
        walk=np.array([row for rows in histories for row in rows], np.int32),
        start=starts[:-1],
        stop=starts[1:],
        targets=np.array([row_of.get(item, -1) for items in wanted.values() for item in items], np.int32),
        target_starts=np.cumsum([0, *map(len, wanted.values())]).astype(np.int64),
        taken=np.zeros(len(wanted), np.int64),
        at_ms=np.full(len(wanted), end_ms, np.int64),
        owner=np.arange(len(wanted)),
        persons=[visitor_of(customer) for customer in wanted],
    )
