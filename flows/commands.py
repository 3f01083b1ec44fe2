"""Commands of the write path: train, catalog, import, doctor, verify. Imports are late, so that
`headrace --help` is quick."""

from __future__ import annotations

import sys
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
    train_home(home.settings(), Console(), force=force)
    return 0


@catalog.command("import")
def catalog_import(
    ctx: typer.Context,
    file: File,
    kind: Annotated[Kind | None, typer.Option(help="Told by the content where not given.")] = None,
    replace: Annotated[bool, typer.Option(help="Take out what the feed does not name.")] = False,
) -> None:
    """A Google Merchant feed (TSV, CSV, XML, JSON lines), or articles (JSON lines, RSS, Atom)."""
    from rich.console import Console

    from flows.imports.run import import_feed

    home: Home = ctx.obj
    flow_command = home.command("flow", "--to-end")
    import_feed(home.settings(), file, kind.value if kind else None, replace, flow_command, Console())


@catalog.command("show")
def catalog_show(ctx: typer.Context, item_id: str) -> int:
    """What the state knows of an item, as JSON."""
    import msgspec

    from flows.imports.run import item_of

    home: Home = ctx.obj
    item = item_of(home.settings(), item_id)
    if item is None:
        print(f"headrace: Expected an item of the catalogue, got `{item_id}`", file=sys.stderr)
        return 1
    print(msgspec.json.format(msgspec.json.encode(item)).decode())
    return 0


@catalog.command("list")
def catalog_list(ctx: typer.Context, limit: Annotated[int, typer.Option(min=1)] = 50) -> None:
    """Items that the state knows."""
    from itertools import islice

    from rich.console import Console

    from flows.imports.run import catalog_table, items_of

    home: Home = ctx.obj
    Console().print(catalog_table(islice(items_of(home.settings()), limit)))


@imports.command("segment")
def import_segment(ctx: typer.Context, file: File, speed: Speed = "max") -> None:
    """JSON lines of Segment calls, as Segment, RudderStack or analytics.js send them."""
    from flows.imports.segment import read_segment

    _import(ctx.obj, file, read_segment(file), speed)


@imports.command("ga4")
def import_ga4(
    ctx: typer.Context,
    file: File,
    speed: Speed = "max",
    items: Annotated[Path | None, typer.Option(help="The shop's items, for the CSV.")] = None,
) -> None:
    """Google Analytics 4: BigQuery's exported JSON lines, or the flattened CSV."""
    from flows.imports.ga4 import read_ga4

    _import(ctx.obj, file, read_ga4(file, items), speed)


def _import(home: Home, file: Path, records: Iterable[NewRecord | RowProblem], speed: str) -> None:
    from rich.console import Console

    from flows.imports.run import import_file, speed_of

    try:
        pace = speed_of(speed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    import_file(home.settings(), file, records, pace, home.command("flow", "--to-end"), Console())


@commands.command()
def doctor(ctx: typer.Context) -> int:
    """What stands well with this home, and what does not."""
    from flows.doctor import examine

    home: Home = ctx.obj
    findings = examine(home.settings(), home.folder)
    for finding in findings:
        mark = "-" if finding.ok is None else "ok" if finding.ok else "BAD"
        print(f"{mark:4}{finding.title}: {finding.detail}")
    return 1 if any(finding.ok is False for finding in findings) else 0


@commands.command()
def verify(ctx: typer.Context) -> int:
    """Fold the whole log again and compare with everybody's state; exits 0 when nothing differs."""
    from rich.console import Console

    from flows.catchup import stage_bar
    from flows.verify import verify as verify_home

    home: Home = ctx.obj
    with stage_bar(Console(), "verify") as tell:
        report = verify_home(home.settings(), tell)
    for difference in report.differences:
        print(f"{difference.person} {difference.path}: state {difference.live!r}, log {difference.folded!r}")
    print(f"{report.records:,} records folded, {report.people:,} people compared")
    if report.behind or report.moved_on:
        print(
            f"not compared: {report.behind:,} records not taken yet, {report.moved_on:,} people who moved on"
        )
    print(f"{report.difference_count:,} differences")
    return 0 if report.ok else 1
