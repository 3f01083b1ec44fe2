"""The server's composition root: a supervisor, and the processes that share its port.

`serve` is the supervisor; `python -m server.main` is one of its processes and is started by it only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread, current_thread, main_thread

import msgspec
import structlog

import server
from recsys.open import open_log, open_store
from recsys.ports import LogUnavailable, StoreUnavailable
from recsys.servable import check
from recsys.settings import Settings, SettingsError
from server.logs import configure_logs
from server.metrics import MULTIPROCESS_VARIABLE, Metrics, MetricsPage, ModelNote, figures_folder
from server.running import RunningServer
from server.workers import Workers, WorkersFailed, command_of, environ_of

log = structlog.get_logger("server.main")

SWITCH_INTERVAL_S = 0.001
"""How soon a request may take over from a thread in the background; Python's own 5 ms would show in
the slowest requests."""


class _Order(msgspec.Struct):
    """What the supervisor tells a process."""

    settings: Settings
    port: int
    metrics: str
    """Folder of the figures, "" for none."""


def serve(
    settings: Settings,
    home: Path,
    stopping: Event | None = None,
    on_ready: Callable[[int, int], None] | None = None,
) -> int:
    """Serve until SIGTERM, SIGINT or `stopping`; the exit code.

    `on_ready(port, metrics_port)` is called once all processes answer; with port 0 it tells which
    was taken. Raises SettingsError for settings nobody could serve with, a port in use among them.
    """
    if not structlog.is_configured():
        configure_logs()
    check(settings)
    stopping = stopping if stopping is not None else Event()
    with (
        _signals(stopping),
        _reserved(settings.server.host, settings.server.port) as port,
        _page(settings, home, port) as page,
    ):
        order = _Order(settings, port, str(page.folder) if page is not None else "")
        environ = environ_of(
            Path(server.__file__).parent.parent,
            **({MULTIPROCESS_VARIABLE: str(page.folder)} if page is not None else {}),
        )
        workers = Workers(
            command_of("server.main"),
            msgspec.json.encode(order),
            settings.server.processes,
            environ,
            page.forget if page is not None else _ignore,
        )
        try:
            workers.start(stopping)
            if not stopping.is_set():
                metrics_port = page.port if page is not None else 0
                log.info(
                    "serving",
                    host=settings.server.host,
                    port=port,
                    metrics_port=metrics_port,
                    pids=workers.pids,
                )
                if on_ready is not None:
                    on_ready(port, metrics_port)
            workers.watch(stopping)
        except WorkersFailed as error:
            log.error("not_serving", error=str(error))
            return 1
        finally:
            workers.stop()
        log.info("stopped")
    return 0


@contextlib.contextmanager
def _signals(stopping: Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stopping`, where signals can be had: in the main thread."""
    if current_thread() is not main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """Hold `port` for our processes alone. Raises SettingsError when somebody has it.

    SO_REUSEPORT alone would let a second server take half of the first one's connections. So the
    socket is bound without it, which fails if anybody holds the port, and opened for sharing once
    it is ours; it never listens. SO_REUSEADDR is for old connections that linger, at the bind only.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise SettingsError(
            f"Expected a host, got `{error.strerror}` - at `server.host` = `{host}`"
        ) from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind(address)
        except OSError as error:
            raise SettingsError(
                f"Expected a port that can be had, got `{error.strerror}` - at `server.port` = {port}"
            ) from None
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield held.getsockname()[1]


@contextlib.contextmanager
def _page(settings: Settings, home: Path, port: int) -> Iterator[MetricsPage | None]:
    if not settings.server.metrics_port:
        yield None
        return
    page = MetricsPage(figures_folder(home, port))
    try:
        page.open(settings.server.metrics_port)
    except OSError as error:
        page.close()
        raise SettingsError(
            f"Expected a port that can be had, got `{error.strerror}`"
            f" - at `server.metrics_port` = {settings.server.metrics_port}"
        ) from None
    try:
        yield page
    finally:
        page.close()


def _ignore(pid: int) -> None:
    """There are no figures to forget."""


def _stop_at_end(stopping: Event) -> None:
    """Also when the supervisor was killed: the system closes its end."""
    while os.read(0, 4096):  # not sys.stdin: its lock would outlive this thread at exit
        pass
    stopping.set()


def _work() -> int:
    """One server process: serves until its standard input ends, or SIGTERM."""
    configure_logs()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Order)
    stopping = Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor tells us
    Thread(target=_stop_at_end, args=(stopping,), name="order", daemon=True).start()
    with contextlib.ExitStack() as opened:
        try:
            event_log = opened.enter_context(contextlib.closing(open_log(order.settings.log)))
            store = opened.enter_context(contextlib.closing(open_store(order.settings.state)))
            note = ModelNote(Path(order.metrics) if order.metrics else None, os.getpid())
            asked = store
            if not order.settings.has_embedded_state:
                hurry_s = order.settings.server.state_timeout_ms / 1000
                asked = opened.enter_context(contextlib.closing(open_store(order.settings.state, hurry_s)))
            running = RunningServer(order.settings, event_log, store, Metrics(), note, asked=asked)
            running.start(order.port, share_port=True)
        except (SettingsError, LogUnavailable, StoreUnavailable, ValueError, RuntimeError) as error:
            log.error("not_starting", error=str(error))
            return 1
        while not stopping.is_set() and not running.loaded.wait(0.05):
            pass
        with contextlib.suppress(BrokenPipeError):
            print("ready", flush=True)  # noqa: T201 (this is what the supervisor waits for)
        stopping.wait()
        running.stop()
    return 0


if __name__ == "__main__":
    sys.exit(_work())
