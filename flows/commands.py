"""Commands of the write path: train, catalog, import, doctor, verify. Imports are late, so that
`headrace --help` is quick."""

from __future__ import annotations

import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flows.imports.source import RowProblem
    from recsys.home import Home
    from recsys.ports import NewRecord

commands = typer.Typer()
catalog = typer.Typer(help="What can be shown: import it, look at it.")
imports = typer.Typer(help="Events from files into the log, and through the flow.")
commands.add_typer(catalog, name="catalog")
commands.add_typer(imports, name="import")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)]
ItemList = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="The shop's items, for the CSV only, itself a CSV: item_name, category (Home/Apparel/Hats/),"
        " brand, price_median; an items.csv beside FILE is read without asking.",
    ),
]
Speed = Annotated[str, typer.Option(help="In event time: 100x, or max.")]


class Kind(str, Enum):
    """What a catalogue feed holds."""

    product = "product"
    article = "article"


@commands.command()
def train(
    ctx: typer.Context,
    force: Annotated[bool, typer.Option(help="Publish even what is worse than the published one.")] = False,
) -> int:
    """Archive -> bundle, evaluated, and published unless it is worse or broken."""
    from rich.console import Console

    from flows.training import train_home

    home: Home = ctx.obj
    train_home(home.settings(), Console(emoji=False), force=force)
    return 0


@catalog.command("import")
def catalog_import(
    ctx: typer.Context,
    file: File,
    kind: Annotated[Kind | None, typer.Option(help="Told by the content where not given.")] = None,
    replace: Annotated[
        bool, typer.Option(help="Take out the products (or articles) that the feed does not name.")
    ] = False,
) -> int:
    """A Google Merchant feed (TSV, CSV, XML, JSON lines), or articles (JSON lines, RSS, Atom).

    Products: id, title, description, link, image_link, product_type, brand,
    price, sale_price, sale_price_effective_date, availability, quantity
    (pieces left), item_group_id, adult, min_age, shipping and
    shopping_ads_excluded_country (where it is sold).

    Articles: id (or guid, link, url), title, url (or link), category, tags,
    summary (or description, content, body, text), published (or pubDate, date,
    updated), image_link (or image_url, image).

    Only an id and a title are needed; other fields are kept as attributes.
    """
    from rich.console import Console

    from flows.imports.run import import_feed

    home: Home = ctx.obj
    flow_command = home.command("flow", "--to-end")
    report = import_feed(
        home.settings(), file, kind.value if kind else None, replace, flow_command, Console(emoji=False)
    )
    return _done(report.appended, "items", file)


@catalog.command("show")
def catalog_show(ctx: typer.Context, item_id: str) -> int:
    """What the state knows of an item, as JSON."""
    import msgspec

    from flows.imports.catalogue import item_of

    home: Home = ctx.obj
    item = item_of(home.settings(), item_id)
    if item is None:
        print(f"headrace: Expected an item of the catalogue, got `{item_id}`", file=sys.stderr)
        return 1
    print(msgspec.json.format(msgspec.json.encode(item)).decode())
    return 0


@catalog.command("list")
def catalog_list(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    kind: Annotated[Kind | None, typer.Option(help="Only products, or only articles.")] = None,
    removed: Annotated[bool, typer.Option("--all", help="Those that were taken out as well.")] = False,
) -> None:
    """Items that the state knows: the id, and below it what it is."""
    from rich.console import Console
    from rich.text import Text

    from flows.imports.catalogue import about, items_of, listing

    home: Home = ctx.obj
    console = Console(emoji=False)
    found = listing(items_of(home.settings()), limit, kind.value if kind else None, removed)
    for item in found.shown:
        # An id is there to be copied: it is neither broken nor cut.
        console.print(Text(item.id), soft_wrap=True)
        line = Text("  " + about(item))
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
    shown = len(found.shown)
    more = f"; --limit {found.total} shows all" if shown < found.total else ""
    console.print(f"{shown:,} of {found.total:,}{more}", highlight=False)


@imports.command("segment")
def import_segment(ctx: typer.Context, file: File, speed: Speed = "max") -> int:
    """JSON lines of Segment calls, as Segment, RudderStack or analytics.js send them."""
    from flows.imports.segment import read_segment

    return _import(ctx.obj, file, read_segment(file, time.time_ns() // 1_000_000), speed)


@imports.command("ga4")
def import_ga4(
    ctx: typer.Context,
    file: File,
    speed: Speed = "max",
    items: ItemList = None,
) -> int:
    """Google Analytics 4: BigQuery's exported JSON lines, or the flattened CSV.

    The CSV has a row an event, for purchases a row an item. Columns: ts_us
    (microseconds since 1970), user_id, event (view, add_to_cart, purchase, ...),
    item; and, where there are any, session_id, price, qty, tx, page, dev,
    country, medium, source. It has no ids of items: their names are the ids.
    """
    from flows.imports.ga4 import items_list, read_ga4

    beside = items_list(file) if items is None else None
    listed = items.name if items is not None else f"{beside.name} beside it" if beside is not None else ""
    return _import(ctx.obj, file, read_ga4(file, items), speed, listed)


def _import(
    home: Home, file: Path, records: Iterable[NewRecord | RowProblem], speed: str, listed: str = ""
) -> int:
    from rich.console import Console

    from flows.imports.run import import_file, speed_of

    try:
        pace = speed_of(speed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    flow_command = home.command("flow", "--to-end")
    report = import_file(home.settings(), file, records, pace, flow_command, Console(emoji=False), listed)
    return _done(report.appended, "events", file)


def _done(appended: int, what: str, file: Path) -> int:
    if appended:
        return 0
    print(f"headrace: Expected {what}, got none that could be taken - in `{file}`", file=sys.stderr)
    return 1


@commands.command()
def doctor(
    ctx: typer.Context,
    dead: Annotated[
        int, typer.Option(min=0, max=100_000, help="Only list the newest N dead letters, whole.")
    ] = 0,
) -> int:
    """What stands well with this home, and what does not. Creates nothing."""
    import shutil

    from flows.doctor import examine, lines_of

    home: Home = ctx.obj
    if dead:
        _list_dead(Path(home.settings().dead_letters), dead)
        return 0
    findings = examine(home.settings(), home.folder)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for finding in findings:
        for line in lines_of(finding, width):
            print(line)
    return 1 if any(finding.ok is False for finding in findings) else 0


def _list_dead(path: Path, limit: int) -> None:
    from flows.dead_letters import newest_letters, told

    letters, count = newest_letters(path, limit)
    for letter in letters:
        why, raw = told(letter)
        print(why)
        print(f"  {raw}")
    print(f"{len(letters):,} of {count:,} dead letters")


@commands.command()
def verify(ctx: typer.Context) -> int:
    """Fold the whole log again and compare with everybody's state; exits 0 when nothing differs."""
    from rich.console import Console

    from flows.catchup import stage_bar
    from flows.verify import verify as verify_home

    home: Home = ctx.obj
    # On standard error: what is compared may be long, and the answer piped into a file.
    with stage_bar(Console(stderr=True, emoji=False), "verify", lines_every_s=10.0) as tell:
        report = verify_home(home.settings(), tell)
    for difference in report.differences:
        print(f"{difference.person} {difference.path}: state {difference.live!r}, log {difference.folded!r}")
    print(f"{report.records:,} records folded, {report.people:,} people compared")
    if report.behind or report.moved_on:
        print(
            f"not compared: {report.behind:,} records not taken yet, {report.moved_on:,} people who moved on"
        )
    print(f"{report.difference_count:,} differences")
    if report.advice:
        print(report.advice)
    return 0 if report.ok else 1
