"""The demo's home: a simulated shop's catalogue, history and model, built once and used again."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from bench.shop import Shop, SimEvent
from flows.catchup import catch_up, import_bar
from flows.imports.append import ImportReport, import_catalog, import_events
from flows.imports.feeds import read_feed
from flows.training import train_home
from recsys.catalog import Item
from recsys.home import Home
from recsys.models.current import current_version
from recsys.open import open_log
from recsys.ports import EventLog, NewRecord
from recsys.settings import Settings, load_settings
from server.up import free_ports

FORMAT = 1
DAY_MS = 86_400_000
CONFIG = """\
# Written by `headrace demo`, anew at each run: the default ports where they are free.
[server]
port = {port}
metrics_port = {metrics_port}
"""
KEPT = ("demo.lock", "logs")
"""What a rebuild leaves alone."""
NAMES = (
    "anna",
    "ben",
    "clara",
    "david",
    "emma",
    "felix",
    "greta",
    "hugo",
    "ida",
    "jonas",
    "klara",
    "leo",
    "mia",
)


class DemoFailed(RuntimeError):
    """The demo cannot go on. Says why, and where to look."""


class Volume(NamedTuple):
    """How much history the shop gets."""

    days: int
    visits_a_day: int


class _Built(msgspec.Struct):
    """What there is, as `demo.json` keeps it."""

    format: int = FORMAT
    days: int = 0
    visits_a_day: int = 0
    filled: bool = False
    """The log has the whole history; before, it may have any part of it."""
    visitors: int = 0
    """How many have been played."""


class DemoHome:
    """A folder that only demos write to. Raises DemoFailed for one that holds something else."""

    def __init__(self, folder: Path, program: str, volume: Volume) -> None:
        self.folder = folder.absolute()
        self.logs = self.folder / "logs"
        self._marker = self.folder / "demo.json"
        self._volume = volume
        self._home = Home(self.folder, None, program)
        self.folder.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in self.folder.iterdir() if path.name not in KEPT]
        if others and not self._marker.exists():
            raise DemoFailed(f"Expected an empty folder or a demo's, got `{others[0]}` - in `{self.folder}`")
        self._built = self._read()
        if self.is_new:
            self._clear(others)
        self.logs.mkdir(exist_ok=True)
        ports = _ports(7007, 7008)
        (self.folder / "headrace.toml").write_text(
            CONFIG.format(port=ports[0], metrics_port=ports[1]), "utf-8"
        )
        # Not the reader's HEADRACE_* variables: they may name the log of a real shop.
        self.settings: Settings = load_settings(self.folder)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}

    @property
    def is_new(self) -> bool:
        return not self._built.filled

    def command(self, *words: str) -> tuple[str, ...]:
        return self._home.command(*words)

    def build(self, shop: Shop, console: Console) -> None:
        """Fill the log, let the flow catch up, train: whatever of it is missing."""
        if not self._built.filled:
            self._fill(shop, console)
        if current_version(Path(self.settings.bundles)) is None:
            flow = self.command("flow", "--to-end")
            caught = catch_up(
                self.settings, flow, console, environ=self.environ, output=self.logs / "flow.log"
            )
            _say(
                console,
                f"flow: {caught.records:,} records folded in {caught.seconds:.1f} s ({caught.per_s:,.0f}/s)",
            )
            train_home(self.settings, console)

    def publish(self, item: Item) -> None:
        """Put an item into the catalogue, now, as an import does."""
        log = open_log(self.settings.log)
        try:
            import_catalog(log, [item], clock=time.time)
        finally:
            log.close()

    def next_visitor(self) -> str:
        """A name nobody has had in this home."""
        number = self._built.visitors
        self._built.visitors += 1
        self._write()
        again = number // len(NAMES)
        return NAMES[number % len(NAMES)] + (f"-{again + 1}" if again else "")

    @property
    def visitors(self) -> int:
        """How many have been played, the present one included."""
        return self._built.visitors

    def _fill(self, shop: Shop, console: Console) -> None:
        now_ms = time.time_ns() // 1_000_000
        start_ms = now_ms // DAY_MS * DAY_MS - (self._volume.days - 1) * DAY_MS
        log = open_log(self.settings.log)
        try:
            items = self._import_catalogue(log, shop, start_ms)
            _say(console, f"catalogue: {items.appended:,} products and articles")
            with import_bar(console, f"{self._volume.days} days of visits") as tell:
                history = shop.events(start_ms, self._volume.days, self._volume.visits_a_day)
                report = import_events(
                    log, _records(history, now_ms), clock=time.time, sleep=time.sleep, progress=tell
                )
        finally:
            log.close()
        _say(console, f"log: {report.appended:,} events of {self._volume.days} days ({report.per_s:,.0f}/s)")
        self._built.filled = True
        self._write()

    def _import_catalogue(self, log: EventLog, shop: Shop, at_ms: int) -> ImportReport:
        """Received before the first visit, as in a shop that did not open yesterday."""
        feed, articles = self.folder / "feed.tsv", self.folder / "articles.jsonl"
        shop.write_feed(feed)
        shop.write_articles(articles)
        items = [*read_feed(feed, "product", at_ms), *read_feed(articles, "article", at_ms)]
        return import_catalog(log, items, clock=lambda: at_ms / 1000)

    def _read(self) -> _Built:
        """What was built by this program, for this volume; else nothing, which is built anew."""
        wanted = _Built(FORMAT, *self._volume)
        try:
            built = msgspec.json.decode(self._marker.read_bytes(), type=_Built)
        except (OSError, msgspec.DecodeError):
            return wanted
        same = (built.format, built.days, built.visits_a_day) == (FORMAT, *self._volume)
        return built if same else wanted

    def _clear(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._write()

    def _write(self) -> None:
        temporary = self._marker.with_suffix(".tmp")
        temporary.write_bytes(msgspec.json.encode(self._built))
        temporary.replace(self._marker)


def _records(history: Iterable[SimEvent], now_ms: int) -> Iterator[NewRecord]:
    """The history up to this moment: today is not over."""
    for event in history:
        if event.received_ms > now_ms:
            return
        yield NewRecord(event.key, event.raw, event.received_ms)


def _ports(*wanted: int) -> list[int]:
    """The ports wanted where they are free, others in place of those that are not."""
    spare = iter(free_ports(len(wanted)))
    return [port if _is_free(port) else next(spare) for port in wanted]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False)
