"""Imports as the command line runs them: file -> log, and through the flow where none runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from rich.console import Console

from flows.catchup import Caught, FlowFailed, catch_up, follow, import_bar
from flows.imports.append import CATALOGUE, CatalogReport, ImportReport, import_catalog, import_events
from flows.imports.catalogue import items_of
from flows.imports.feed_items import Kind
from flows.imports.feeds import read_feed
from flows.imports.source import RowProblem
from flows.run import is_running
from recsys.open import open_log
from recsys.ports import LogUnavailable, NewRecord
from recsys.printable import printable
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
    listed: str = "",
) -> ImportReport:
    """Append what was read from `file`; `flow` is the command of a flow to the log's end. `listed`
    names the list of items whose changes come with the events, for the reader."""
    with closing(open_log(settings.log)) as log, _telling(console, f"events of {file.name}") as tell:
        report = import_events(log, records, clock=time.time, sleep=time.sleep, speed=speed, progress=tell)
    _say(console, _appended(report, f"{report.appended:,}"))
    if listed:
        _say(console, f"items: {report.names.get(CATALOGUE, 0):,} of {listed}; their names are their ids")
    _finish(settings, report, flow, console)
    return report


def import_feed(
    settings: Settings, file: Path, kind: Kind | None, replace: bool, flow: Sequence[str], console: Console
) -> CatalogReport:
    """Append the changes of a feed. `replace`: the items of its kind that it does not name are taken
    out."""
    items = read_feed(file, kind, time.time_ns() // 1_000_000)
    known = [item.id for item in items_of(settings) if item.fed and not item.removed] if replace else None
    with closing(open_log(settings.log)) as log, _telling(console, f"items of {file.name}") as tell:
        report = import_catalog(log, items, clock=time.time, known_ids=known, progress=tell)
    fed = (_counted(count, kind) for kind, count in report.kinds.items())
    _say(console, _appended(report, ", ".join(fed) or "0"))
    if replace:
        _say(console, f"  {taken_out(report)}")
    _finish(settings, report, flow, console)
    return report


def taken_out(report: CatalogReport) -> str:
    """What a full feed did to the items that it does not name."""
    if not report.kinds:
        return "nothing taken out: the feed has no item that could be read"
    if report.kept_missing:
        verb = "was" if report.kept_missing == 1 else "were"
        return (
            f"nothing taken out: {_counted(report.nameless, 'row')} could not be read,"
            f" so {_counted(report.kept_missing, 'item')} not named {verb} kept"
        )
    return f"{_counted(report.removed, ' or '.join(report.kinds))} taken out"


@contextmanager
def _telling(console: Console, title: str) -> Iterator[Callable[[ImportReport], None]]:
    """The progress callback of an import; interrupted, it says what the log has by then."""
    latest = ImportReport()
    try:
        with import_bar(console, title) as show:

            def tell(report: ImportReport) -> None:
                nonlocal latest
                latest = report
                show(report)

            yield tell
    except (KeyboardInterrupt, LogUnavailable):
        again = "Start it again: what is there already is counted once."
        _say(console, f"stopped: {latest.appended:,} are in the log. {again}")
        raise


def _appended(report: ImportReport, what: str) -> str:
    return (
        f"log: {what} appended in {report.seconds:.1f} s ({report.per_s:,.0f}/s),"
        f" {report.skipped:,} of {_counted(report.read, 'row')} skipped"
    )


def _finish(settings: Settings, report: ImportReport, flow: Sequence[str], console: Console) -> None:
    """Tell what was wrong, and let the flow take what was appended where none runs."""
    for problem in report.problems:
        _say(console, f"  {printable(str(problem))}")
    if report.skipped > len(report.problems):
        _say(console, f"  and {report.skipped - len(report.problems):,} more")
    if not report.appended:
        return
    caught = _folded(settings, flow, console)
    if caught.records:  # none: the flow that runs was quicker than we looked
        took = f"{_counted(caught.records, 'record')} in {caught.seconds:.1f} s ({caught.per_s:,.0f}/s)"
        _say(console, f"flow: {took}")
    if caught.dead:
        letters = _counted(caught.dead, "dead letter")
        _say(console, f"  {letters}: `headrace doctor --dead {min(caught.dead, 20)}` says why")


def _folded(settings: Settings, flow: Sequence[str], console: Console) -> Caught:
    """What a flow took, until it had all that is in the log: the one that runs, which is waited for so
    that a training or a question finds it, or one of our own. Raises FlowFailed."""

    def runs() -> bool:
        return is_running(Path(settings.recovery))

    while True:
        if runs():
            _say(console, "flow: the one that runs on this home takes them")
            # That of another import ends where the log ended when it began.
            if (caught := follow(settings, console, runs)) is not None:
                return caught
        try:
            return catch_up(settings, flow, console)
        except FlowFailed:
            if not runs():  # else another import was quicker to start one
                raise


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _say(console: Console, line: str) -> None:
    # Lines of files and logs are not broken; a terminal does that itself.
    console.print(line, markup=False, highlight=False, soft_wrap=True)
