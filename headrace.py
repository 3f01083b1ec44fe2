"""The command line. `headrace --help` lists the commands; each imports what it needs when it runs.

Exit codes: 0 done; 1 it failed, or found what it looked for (`verify`, `doctor`); 2 wrong usage or
settings; 130 interrupted. Errors are one line on standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

import flows.commands
import server.commands

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from recsys.home import Home

COMMANDS = (
    *("up", "catalog", "import", "track", "ask", "explain", "mailing", "placements"),
    *("train", "doctor", "verify", "config", "flow", "serve", "bench", "demo"),
)
"""In the order in which a shop comes to need them."""


class _InOrder(TyperGroup):
    """Lists commands in that order; typer's own is by the modules that they stand in."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    cls=_InOrder,
    help="Turns a shop's clickstream into the blocks its pages and emails show.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
config = typer.Typer(help="Settings.")
app.add_typer(flows.commands.commands)
app.add_typer(server.commands.commands)
app.add_typer(config, name="config")

BENCHES = ("freshness", "serving", "flow", "quality", "growth", "bulk")
BEGAN_S = time.monotonic()
GLOBAL_OPTIONS = ("--home", "--config")
# By name: to import all these classes here would make every command slow.
FAILURES = {
    "SettingsError": 2,
    "BadUrl": 2,
    "WrongCall": 2,
    "UnknownFormat": 2,
    "AlreadyUp": 1,
    "BundleBroken": 1,
    "CallFailed": 1,
    "DemoFailed": 1,
    "FlowFailed": 1,
    "FlowRunning": 1,
    "LogUnavailable": 1,
    "StateLost": 1,
    "StoreUnavailable": 1,
    "TrainRefused": 1,
    "OSError": 1,
}
UsageError = typer.BadParameter.__mro__[1]  # typer shows its parent class under no name of its own


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"headrace {version('headrace')}")
        raise typer.Exit


@app.callback()
def _home(
    ctx: typer.Context,
    home: Annotated[
        Path, typer.Option(envvar="HEADRACE_HOME", help="Folder of everything that is kept.")
    ] = Path(".headrace"),
    config: Annotated[
        Path | None,
        typer.Option(envvar="HEADRACE_CONFIG", help="Settings, instead of headrace.toml in the home."),
    ] = None,
    supervised: Annotated[bool, typer.Option(hidden=True)] = False,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say which and exit.")
    ] = False,
) -> None:
    from recsys.home import Home

    if supervised:
        from server.up import stop_with_supervisor

        stop_with_supervisor()
    ctx.obj = Home(home, config, __file__)


@app.command()
def up(ctx: typer.Context) -> int:
    """Flow, server and periodic training together, supervised; Ctrl-C stops all of them."""
    from flows.run import FlowRunning, is_running
    from recsys.open import check_urls
    from recsys.servable import check
    from server.up import Job, Supervisor, only_one, stopping_on_signals

    home: Home = ctx.obj
    settings, console = home.settings(), _console()
    check(settings)
    check_urls(settings.log, settings.state)
    with only_one(home.folder / "up.lock", "headrace up"), stopping_on_signals() as stopping:
        if is_running(Path(settings.recovery)):
            raise FlowRunning(f"Expected no flow on `{home.folder}`, got one that runs already")
        published = Path(settings.bundles) / "current"
        age_s = time.time() - published.stat().st_mtime if published.exists() else float("inf")
        every_s = float(settings.train.every_s)
        jobs = (
            Job("flow", (home.command("flow"),)),
            Job("server", (home.command("serve"),)),
            Job("train", (home.command("train"),), every_s=every_s, first_s=max(every_s - age_s, 0.0)),
        )
        console.print(
            f"headrace: home {home.folder}, server on {settings.server.host}:{settings.server.port};"
            " Ctrl-C stops all",
            highlight=False,
            soft_wrap=True,
        )
        code = Supervisor(jobs, _say(max(len(job.name) for job in jobs))).run(stopping)
    console.print("headrace: all stopped")
    return code


@app.command()
def flow(
    ctx: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker threads of each process.")] = 1,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Processes, as one cluster.")] = 1,
    to_end: Annotated[bool, typer.Option(help="Stop at the log's present end.")] = False,
    process: Annotated[int, typer.Option(hidden=True)] = 0,
    addresses: Annotated[str, typer.Option(hidden=True)] = "",
) -> int:
    """The write path: log -> state, archive. SIGTERM or Ctrl-C stops it; it goes on where it was."""
    home: Home = ctx.obj
    settings = home.settings()
    if processes > 1 and not addresses:
        from server.up import cluster

        words = ["flow", f"--workers={workers}", f"--processes={processes}"]
        words += ["--to-end"] if to_end else []
        return cluster("flow", home.command(*words), processes, _say(len("flow-00")), once=to_end)
    from flows.run import run

    cluster_of = addresses.split(";") if addresses else None
    run(settings, to_end=to_end, workers=workers, process=process, addresses=cluster_of)
    return 0


@app.command()
def serve(ctx: typer.Context) -> int:
    """The read path: state and model -> blocks, over gRPC."""
    from server.logs import configure_logs
    from server.main import serve as serve_until_told

    home: Home = ctx.obj
    configure_logs()
    return serve_until_told(home.settings(), home.folder)


@config.command("show")
def config_show(
    ctx: typer.Context,
    toml: Annotated[bool, typer.Option(help="As a headrace.toml, keys and passwords included.")] = False,
) -> None:
    """Every setting: its value, its default, and where it came from. Refuses those that nobody could
    serve with, once they are shown."""
    from recsys.open import check_urls
    from recsys.servable import check
    from recsys.settings_table import as_toml, setting_rows, table_of

    home: Home = ctx.obj
    settings = home.settings()
    if toml:
        print(as_toml(settings, home.folder), end="")
    else:
        _console().print(table_of(setting_rows(home.folder, home.config, os.environ)))
    check(settings)
    check_urls(settings.log, settings.state)


@app.command()
def placements(ctx: typer.Context) -> None:
    """What `ask` can ask for: the built-in placements and those of headrace.toml."""
    from recsys.settings_table import placement_table

    home: Home = ctx.obj
    _console().print(placement_table(home.settings().all_placements()))


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],  # `bench flow --help` is the benchmark's to answer
    }
)
def bench(ctx: typer.Context, name: str) -> int:
    """Run a benchmark: freshness, serving, flow, quality, growth or bulk; `--json` prints one object, last.
    `bench NAME --help` shows what can be set."""
    from importlib import import_module

    if name == "--help":
        print(ctx.get_help())
        return 0
    if name not in BENCHES:
        raise typer.BadParameter(f"Expected {', '.join(BENCHES)}, got `{name}`")
    code: int | None = import_module(f"bench.{name}").main(list(ctx.args))
    return code or 0


@app.command()
def demo(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, help="Days of history.")] = 10,
    visits: Annotated[int, typer.Option(min=50, max=100_000, help="Visits a day.")] = 300,
) -> int:
    """The main job on a made-up shop, in a home of its own: a click changes the next block."""
    from bench.demo import Volume, play

    home: Home = ctx.obj
    return play(home.folder / "demo", __file__, Volume(days, visits), BEGAN_S)


def _console() -> Console:
    from rich.console import Console

    return Console(emoji=False)


def _say(width: int) -> Callable[[str, str], None]:
    """Shows a line of a child behind its name; on a terminal without the JSON."""
    from server.logs import plain

    console = _console()
    shown = plain if console.is_terminal else str
    return lambda name, line: console.out(f"{name:>{width}} | {shown(line)}", highlight=False)


def _fail(text: str, code: int = 1) -> int:
    print(f"headrace: {text}", file=sys.stderr)
    return code


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code. Errors that are expected are one line on standard error."""
    try:
        code: int | None = app(_hoisted(arguments) or ["--help"], prog_name="headrace", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 130)
    except UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "headrace"
        return _fail(f"{error.format_message()} (see `{where} --help`)", 2)
    except Exception as error:
        known = next(
            (FAILURES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in FAILURES), None
        )
        if known is None:
            raise
        return _fail(str(error), known)
    # typer itself turns Ctrl-C into this code.
    return _fail("interrupted", 130) if code == 130 else code or 0


def _hoisted(arguments: Sequence[str]) -> list[str]:
    """Options of every command may stand behind it: `headrace ask --home X` is `headrace --home X ask`."""
    first: list[str] = []
    rest = list(arguments)
    end = rest.index("--") if "--" in rest else len(rest)
    for option in GLOBAL_OPTIONS:
        while option in rest[:end] and rest.index(option) + 1 < len(rest):
            place = rest.index(option)
            first += rest[place : place + 2]
            del rest[place : place + 2]
            end -= 2
    return first + rest


def main() -> None:
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
