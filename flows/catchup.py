"""Letting a flow catch up with the log, while somebody watches: progress with rates."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from flows.imports.append import ImportReport
from recsys.open import open_log, open_store
from recsys.ports import EventLog, ProfileStore
from recsys.progress import FlowProgress, progress_in
from recsys.settings import Settings

POLL_S = 0.1
TAIL_BYTES = 2000
STOP_S = 30.0
_PER_CENT = 100


class FlowFailed(RuntimeError):
    """The flow ended before it had read the log to its end. Carries the end of its output."""


class Caught(NamedTuple):
    """What a flow took."""

    records: int
    seconds: float
    dead: int = 0
    """Events among them that became dead letters."""

    @property
    def per_s(self) -> float:
        return self.records / self.seconds if self.seconds > 0 else 0.0


class _Count(MofNCompleteColumn):
    """What is done, of what there is where that is known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f}") if task.total is None else super().render(task)


def bars(console: Console) -> Progress:
    """How every long step of Headrace shows its progress."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        _Count(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # files get the summaries only
    )


@contextmanager
def import_bar(
    console: Console, title: str, total: int | None = None
) -> Iterator[Callable[[ImportReport], None]]:
    """The progress callback of an import."""
    with bars(console) as shown:
        task = shown.add_task(title, total=total, rate="")

        def tell(report: ImportReport) -> None:
            shown.update(task, completed=report.read, rate=f"{report.per_s:,.0f}/s")

        yield tell


@contextmanager
def stage_bar(
    console: Console,
    title: str,
    *,
    lines_every_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str, int, int], None]]:
    """The progress callback of what goes in stages: `tell(stage, done, total)`.

    `lines_every_s`: where no terminal can show a bar, a line so often instead; None: nothing."""
    if lines_every_s is not None and not console.is_terminal:
        yield _line_teller(console, title, lines_every_s, clock)
        return
    with bars(console) as shown:
        task = shown.add_task(title, total=None, rate="")
        began: dict[str, tuple[float, int]] = {}

        def tell(stage: str, done: int, total: int) -> None:
            began_s, at_first = began.setdefault(stage, (clock(), done))
            spent_s = clock() - began_s
            # What is told in per cent has no rate worth reading.
            rated = total > _PER_CENT and spent_s > 0
            rate = f"{(done - at_first) / spent_s:,.0f}/s" if rated else ""
            shown.update(task, description=f"{title}: {stage}", completed=done, total=total, rate=rate)

        yield tell


def _line_teller(
    console: Console, title: str, every_s: float, clock: Callable[[], float]
) -> Callable[[str, int, int], None]:
    told_s = clock()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal told_s
        if clock() - told_s >= every_s:
            told_s = clock()
            console.print(f"{title}: {stage} {done:,} of {total:,}", highlight=False, soft_wrap=True)

    return tell


class _Target:
    """The log's end as it was, and how far towards it the flow is."""

    def __init__(self, log: EventLog, store: ProfileStore) -> None:
        self._end, self._store = log.end(), store
        self.total = sum(offset + 1 for offset in self._end.values())

    def progress(self) -> FlowProgress:
        return progress_in(self._store) or FlowProgress()

    def taken(self) -> int:
        return self.total - self.progress().behind(self._end)


@contextmanager
def _target(settings: Settings) -> Iterator[_Target]:
    with closing(open_log(settings.log)) as log, closing(open_store(settings.state)) as store:
        yield _Target(log, store)


def catch_up(
    settings: Settings,
    command: Sequence[str],
    console: Console,
    *,
    environ: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> Caught:
    """Run `command`, a flow that reads to the log's end, and show how far it is.

    `output`: where it prints to. Raises FlowFailed. Interrupted, it stops the flow first.
    """
    with _target(settings) as target:
        dead_before = target.progress().dead
        with output.open("ab") if output is not None else TemporaryFile() as file:
            caught = _watch(command, environ, file, console, target.taken, target.total)
        return caught._replace(dead=target.progress().dead - dead_before)


def follow(settings: Settings, console: Console, is_running: Callable[[], bool]) -> Caught | None:
    """Show how far the flow is that runs on this home, until it has what is in the log now; None where
    it stops on the way."""
    with _target(settings) as target, bars(console) as shown:
        began_s, before, dead_before = time.monotonic(), target.taken(), target.progress().dead
        task = shown.add_task("the flow reads the log", total=target.total, completed=before, rate="")
        while (done := target.taken()) < target.total:
            if not is_running():
                return None
            seconds = max(time.monotonic() - began_s, POLL_S)
            shown.update(task, completed=done, rate=f"{(done - before) / seconds:,.0f}/s")
            time.sleep(POLL_S)
        return Caught(done - before, time.monotonic() - began_s, target.progress().dead - dead_before)


def _watch(
    command: Sequence[str],
    environ: Mapping[str, str] | None,
    output: IO[bytes],
    console: Console,
    taken: Callable[[], int],
    total: int,
) -> Caught:
    before = done = taken()
    # From the first record to the last: how long Python takes to start is not the flow's rate.
    began_s = ended_s = time.monotonic()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environ, start_new_session=True
    )
    try:
        with bars(console) as shown:
            task = shown.add_task("the flow reads the log", total=total, completed=before, rate="")
            while process.poll() is None:
                time.sleep(POLL_S)
                looked_s, known = time.monotonic(), taken()
                if known == before:
                    began_s = looked_s
                elif known != done:
                    done, ended_s = known, looked_s
                    rate = f"{(done - before) / (ended_s - began_s):,.0f}/s"
                    shown.update(task, completed=done, rate=rate)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        assert process.stdin is not None
        process.stdin.close()
    if process.returncode != 0:
        raise FlowFailed(
            f"Expected the flow to reach the log's end, got exit code {process.returncode}{_tail(output)}"
        )
    return Caught(taken() - before, max(ended_s - began_s, POLL_S))


def _tail(output: IO[bytes]) -> str:
    name = output.name
    if isinstance(name, str):
        return f": see {name}"
    output.seek(0, 2)
    output.seek(max(output.tell() - TAIL_BYTES, 0))
    return ":\n" + output.read().decode("utf-8", "replace").rstrip()
