"""Flow and server of the demo, as processes, with their output in files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

from rich.console import Console

from bench.demo.home import DemoFailed, DemoHome
from recsys.open import open_log, open_store
from recsys.progress import progress_in
from server.client import Client, address_of
from server.up import Job, Supervisor

START_S = 90.0
"""What does not run by then never will."""
POLL_S = 0.05
TAIL_LINES = 6


@contextmanager
def running_system(home: DemoHome, console: Console) -> Iterator[None]:
    """Flow and server, ready, while the block runs; nothing of them after it. Raises DemoFailed."""
    began_s, ending = time.monotonic(), Event()
    jobs = [Job("flow", (home.command("flow"),)), Job("server", (home.command("serve"),))]
    with ExitStack() as files:
        logs = {job.name: files.enter_context((home.logs / f"{job.name}.log").open("a")) for job in jobs}
        supervisor = Supervisor(
            jobs, lambda name, line: print(line, file=logs[name], flush=True), environ=home.environ
        )
        thread = Thread(target=supervisor.run, args=(ending,), name="supervisor")
        thread.start()
        try:
            with console.status("flow and server start"):
                ready = _wait_until_ready(home, thread.is_alive)
            if not ready:
                raise DemoFailed(f"Expected flow and server to run, got none in {START_S:g} s{_tails(home)}")
            console.print(
                f"flow and server: up in {time.monotonic() - began_s:.1f} s;"
                f" the server listens on {address_of(home.settings.server)}",
                highlight=False,
            )
            yield
        finally:
            ending.set()
            thread.join()


def _wait_until_ready(home: DemoHome, is_alive: Callable[[], bool]) -> bool:
    """Whether the server serves, and the flow has taken what the log has."""
    began_ms, until_s = time.time_ns() // 1_000_000, time.monotonic() + START_S
    with Client(address_of(home.settings.server)) as client:
        if not client.wait_until_serving(START_S, is_alive):
            return False
        # Another server may have taken the port since it was looked for: then ours has ended.
        if client.log() != home.settings.log:
            return False
    log, store = open_log(home.settings.log), open_store(home.settings.state)
    try:
        while is_alive() and time.monotonic() < until_s:
            progress = progress_in(store)
            # The heartbeat of this flow, not what the one before it left.
            if progress is not None and progress.written_ms >= began_ms and progress.covers(log.end()):
                return True
            time.sleep(POLL_S)
        return False
    finally:
        store.close()
        log.close()


def _tails(home: DemoHome) -> str:
    """The last lines that the children printed, and where the rest is."""
    said = [f"; their logs are in {home.logs}"]
    for path in sorted(home.logs.glob("*.log")):
        lines = path.read_text("utf-8", "replace").splitlines()[-TAIL_LINES:]
        said += [f"  {path.name}: {line}" for line in lines]
    return "\n".join(said)
