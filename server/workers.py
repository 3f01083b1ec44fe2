"""Server processes: started afresh (gRPC does not survive a fork), watched, restarted, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Final

import structlog

log = structlog.get_logger("server.workers")

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A process that lived this long starts over with the first pause."""
POLL_S = 0.1
STOP_S = 30.0
"""A process that has not stopped by then is killed."""
GRPC_POLLING: Final = {"GRPC_EXPERIMENTS": "-event_engine_listener"}
"""Connections are looked at by the threads that take calls from them, not by threads of gRPC's own, which
hand on what has come: see ARCHITECTURE.md. Read by gRPC as it is imported."""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    started_s: float
    ready: Event = field(default_factory=Event)


class WorkersFailed(Exception):
    """A process ended before it was ready, at the first start: something is wrong for good."""


class Workers:
    """`count` processes that run `command`.

    Each gets `order` as one line on its standard input, which then stays open: its end tells the
    process to stop, also when the supervisor was killed. A process says `ready` on its standard
    output. Its standard error is the supervisor's.
    """

    def __init__(
        self,
        command: list[str],
        order: bytes,
        count: int,
        environ: Mapping[str, str],
        on_gone: Callable[[int], None],
    ) -> None:
        self._command = command
        self._order = order
        self._environ = dict(environ)
        self._on_gone = on_gone
        self._workers: list[_Worker | None] = [None] * count
        self._pauses_s = [FIRST_PAUSE_S] * count
        self._due_s = [0.0] * count

    def start(self, stopping: Event) -> None:
        """Start all and wait until each is ready, or `stopping`. Raises WorkersFailed."""
        for index in range(len(self._workers)):
            self._spawn(index)
        while not stopping.is_set():
            workers = [worker for worker in self._workers if worker is not None]
            for worker in workers:
                if (code := worker.process.poll()) is not None:
                    raise WorkersFailed(f"a server process ended with code {code} before it was ready")
            if all(worker.ready.is_set() for worker in workers):
                return
            stopping.wait(POLL_S)

    def watch(self, stopping: Event) -> None:
        """Restart what dies, with growing pauses, until `stopping`."""
        while not stopping.wait(POLL_S):
            now_s = time.monotonic()
            for index, worker in enumerate(self._workers):
                if worker is None:
                    if now_s >= self._due_s[index]:
                        self._spawn(index)
                elif worker.process.poll() is not None:
                    self._gone(index, worker, now_s)

    def stop(self) -> None:
        """Tell all to stop, wait for them; kill what does not."""
        workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            _close_order(worker.process)
        until_s = time.monotonic() + STOP_S
        for worker in workers:
            try:
                worker.process.wait(max(until_s - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:  # noqa: PERF203 (each is waited for)
                log.error("worker_killed", pid=worker.process.pid)
                worker.process.kill()
                worker.process.wait()

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker is not None]

    def _spawn(self, index: int) -> None:
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._environ
        )
        worker = _Worker(process, time.monotonic())
        self._workers[index] = worker
        Thread(target=_listen, args=(worker,), name=f"worker-{process.pid}", daemon=True).start()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # gone already: the next look finds out
            process.stdin.write(self._order + b"\n")
            process.stdin.flush()

    def _gone(self, index: int, worker: _Worker, now_s: float) -> None:
        lived_s = now_s - worker.started_s
        pause_s = FIRST_PAUSE_S if lived_s > STEADY_S else self._pauses_s[index]
        log.error(
            "worker_died",
            pid=worker.process.pid,
            **ending_of(worker.process.returncode),
            lived_s=round(lived_s, 1),
            again_in_s=pause_s,
        )
        _close_order(worker.process)
        self._on_gone(worker.process.pid)
        self._workers[index] = None
        self._due_s[index] = now_s + pause_s
        self._pauses_s[index] = min(pause_s * 2, LONGEST_PAUSE_S)


def ending_of(code: int) -> dict[str, object]:
    """How a process ended, in words where a signal ended it."""
    if code >= 0:
        return {"code": code}
    known = {signal.SIGKILL: "killed, perhaps for want of memory", signal.SIGBUS: "is the disk full?"}
    by = signal.Signals(-code)
    return {"signal": by.name, **({"perhaps": known[by]} if by in known else {})}


def _listen(worker: _Worker) -> None:
    assert worker.process.stdout is not None
    with worker.process.stdout as lines:
        for line in lines:
            if line.strip() == b"ready":
                worker.ready.set()


def _close_order(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def command_of(module: str) -> list[str]:
    """How a module is started by this process's Python."""
    return [sys.executable, "-m", module]


def environ_of(root: Path, **more: str) -> dict[str, str]:
    """The environment of a server process that imports from `root`."""
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Requests are the parallel work: a search that takes every core would slow all others down.
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**single, **GRPC_POLLING, **os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}
