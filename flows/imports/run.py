"""Imports as the command line runs them: file -> log, and through the flow where none runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.catchup import catch_up, import_bar
from flows.imports.append import CatalogReport, ImportReport, import_catalog, import_events
from flows.imports.feed_items import Kind
from flows.imports.feeds import read_feed
from flows.imports.source import RowProblem
from flows.run import is_running
from recsys.catalog import Item, decode_item
from recsys.keys import ITEM_PREFIX, item_key
from recsys.open import open_log, open_store
from recsys.ports import NewRecord
from recsys.settings import Settings


def speed_of(text: str) -> float | None:
    """`100x` -> 100.0; `max` -> None, as fast as the log takes it. Raises ValueError."""
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ValueError(f"Expected `max` or a speed like `100x`, got `{text}`")
    return speed


def import_file(
    settings: Settings,
    file: Path,
    records: Iterable[NewRecord | RowProblem],
    speed: float | None,
    flow: Sequence[str],
    console: Console,
) -> None:
    """Append what was read from `file`; `flow` is the command of a flow to the log's end."""
    log = open_log(settings.log)
    with import_bar(console, f"events of {file.name}") as tell:
        report = import_events(log, records, clock=time.time, sleep=time.sleep, speed=speed, progress=tell)
    log.close()
    _finish(settings, report, flow, console)


def import_feed(
    settings: Settings, file: Path, kind: Kind | None, replace: bool, flow: Sequence[str], console: Console
) -> None:
    """Append the changes of a feed. `replace`: what it does not name is taken out."""
    items = read_feed(file, kind, time.time_ns() // 1_000_000)
    known = [item.id for item in items_of(settings) if item.fed and not item.removed] if replace else None
    log = open_log(settings.log)
    with import_bar(console, f"items of {file.name}") as tell:
        report = import_catalog(log, items, clock=time.time, known_ids=known, progress=tell)
    log.close()
    _finish(settings, report, flow, console)


def items_of(settings: Settings) -> Iterator[Item]:
    """Every item that the state knows, in no stated order."""
    store = open_store(settings.state)
    try:
        for _, record in store.scan(ITEM_PREFIX):
            yield decode_item(record)
    finally:
        store.close()


def item_of(settings: Settings, item_id: str) -> Item | None:
    """One item that the state knows."""
    store = open_store(settings.state)
    try:
        record = store.get_many([item_key(item_id)])[0]
    finally:
        store.close()
    return decode_item(record) if record is not None else None


def catalog_table(items: Iterable[Item]) -> Table:
    """Items of the catalogue, one a row."""
    table = Table(box=None, pad_edge=False)
    for heading in ("item", "title", "category", "price", "available"):
        table.add_column(heading, overflow="fold")
    for item in items:
        price = "" if item.price_now is None else f"{item.price_now:,.2f} {item.currency}"
        available = "removed" if item.removed else "yes" if item.available else "no"
        table.add_row(item.id, Text(item.title), Text(" > ".join(item.category)), price, available)
    return table


def _finish(settings: Settings, report: ImportReport, flow: Sequence[str], console: Console) -> None:
    """Tell what was imported, and let the flow take it where none runs."""
    console.print(
        f"log: {report.appended:,} appended in {report.seconds:.1f} s ({report.per_s:,.0f}/s),"
        f" {report.skipped:,} of {report.read:,} rows skipped",
        highlight=False,
    )
    if isinstance(report, CatalogReport) and (report.removed or report.kept_missing):
        console.print(f"  {report.removed:,} taken out, {report.kept_missing:,} kept though not named")
    for problem in report.problems:
        console.print(f"  {problem}", markup=False, highlight=False)
    if is_running(Path(settings.recovery)):
        console.print("flow: the one that runs on this home takes them")
        return
    caught = catch_up(settings, flow, console)
    console.print(
        f"flow: {caught.records:,} records in {caught.seconds:.1f} s ({caught.per_s:,.0f}/s)", highlight=False
    )
