"""A supervisor of processes: starts them, shows what they print, restarts them, stops them cleanly.

It knows commands only, neither what they run nor where they are imported from.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import BinaryIO

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A job that ran this long starts over with the first pause."""
POLL_S = 0.1
LINE_BYTES = 64 * 1024
"""Longer lines of a child are shown in pieces."""
UNUSABLE = 2
"""Exit code of a child whose settings are wrong: starting it again would change nothing."""

Say = Callable[[str, str], None]
"""`say(name, line)`: shows one line of a job. Called from several threads."""


class AlreadyUp(RuntimeError):
    """Another supervisor works on this home."""


@dataclass(frozen=True)
class Job:
    """Processes that live and die together: when one of them ends, the others are stopped.

    Without `every_s` and `once` they are always there: they are started again, with growing pauses.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    every_s: float | None = None
    """Run again this long after a run that went well."""
    retry_s: float = 300.0
    """With `every_s`: run again this long after a run that did not."""
    first_s: float = 0.0
    """Start for the first time this long after the supervisor."""
    once: bool = False
    """Run once; how that ends is how the supervisor ends."""
    stop_s: float = 30.0
    """What has not stopped this long after it was told to is killed."""


@dataclass
class _Running:
    job: Job
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    readers: list[Thread] = field(default_factory=list)
    started_s: float = 0.0
    due_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Supervisor:
    """Runs `jobs` until told to stop, a `once` job has ended, or one cannot be run at all.

    `environ` is what children get. Each holds the read end of a pipe as its standard input, which
    ends when this process does, however that happens. Start it from the main thread only.
    """

    def __init__(self, jobs: Sequence[Job], say: Say, environ: Mapping[str, str] | None = None) -> None:
        self._jobs = [_Running(job) for job in jobs]
        self._say = say
        self._environ = dict(environ) if environ is not None else None

    def run(self, stopping: Event) -> int:
        """The exit code: 0 when told to stop, else that of the job that ended it."""
        began_s = time.monotonic()
        for running in self._jobs:
            running.due_s = began_s + running.job.first_s
        try:
            while not stopping.is_set():
                for running in self._jobs:
                    code = self._look(running, time.monotonic())
                    if code is not None:
                        return code
                stopping.wait(POLL_S)
            return 0
        finally:
            # The last one first: a server still writes to the log that the flow reads.
            for running in reversed(self._jobs):
                self._stop(running)

    def _look(self, running: _Running, now_s: float) -> int | None:
        if not running.processes:
            if now_s >= running.due_s:
                self._start(running, now_s)
            return None
        codes = [process.poll() for process in running.processes]
        ended = [code for code in codes if code is not None]
        if not ended or (len(ended) < len(codes) and not any(ended)):
            return None  # all there, or some of them have done their part
        self._stop(running)
        return self._ended(running, next((code for code in ended if code), 0), now_s)

    def _ended(self, running: _Running, code: int, now_s: float) -> int | None:
        """Plan the next run; an exit code when there is none."""
        job = running.job
        if job.once:
            return _exit_code(code)
        if job.every_s is not None:
            pause_s = job.every_s if code == 0 else min(job.retry_s, job.every_s)
            running.due_s = now_s + pause_s
            if code:
                self._say(job.name, f"ended with {_words(code)}; tried again in {_span(pause_s)}")
            return None
        if code == UNUSABLE:
            self._say(job.name, "cannot run with these settings; everything stops")
            return UNUSABLE
        if now_s - running.started_s > STEADY_S:
            running.pause_s = FIRST_PAUSE_S
        running.due_s = now_s + running.pause_s
        self._say(job.name, f"ended with {_words(code)}; starts again in {running.pause_s:g} s")
        running.pause_s = min(running.pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _start(self, running: _Running, now_s: float) -> None:
        job, running.started_s = running.job, now_s
        for index, command in enumerate(job.commands):
            # A session of its own: Ctrl-C on the terminal reaches the supervisor alone, which then
            # stops the others in order.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
            )
            name = job.name if len(job.commands) == 1 else f"{job.name}-{index}"
            assert process.stdout is not None
            reader = Thread(target=_show, args=(name, process.stdout, self._say), daemon=True)
            reader.start()
            running.processes.append(process)
            running.readers.append(reader)

    def _stop(self, running: _Running) -> None:
        for process in running.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.terminate()
        until_s = time.monotonic() + running.job.stop_s
        for process in running.processes:
            try:
                process.wait(max(until_s - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                self._say(running.job.name, f"has not stopped in {running.job.stop_s:g} s; killed")
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
        for reader in running.readers:
            reader.join(1.0)  # a grandchild may still hold the other end
        running.processes.clear()
        running.readers.clear()


def _show(name: str, output: BinaryIO, say: Say) -> None:
    with output:
        while line := output.readline(LINE_BYTES):
            say(name, line.decode("utf-8", "replace").rstrip("\r\n"))


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def _span(span_s: float) -> str:
    return f"{span_s / 60:.0f} min" if span_s >= 120 else f"{span_s:g} s"


def _words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


@contextmanager
def stopping_on_signals(
    numbers: Sequence[int] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
) -> Iterator[Event]:
    """An event that these signals set while the block runs. Main thread only."""
    stopping = Event()
    before = {number: signal.signal(number, lambda *_: stopping.set()) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold `lock` while the block runs; its holder's process id is in it. Raises AlreadyUp. The lock
    is the system's, so it ends with its process, however that ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyUp(
                f"Expected no other {what} on `{lock.parent}`, got one that runs (process {holder})"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def cluster(name: str, command: Sequence[str], processes: int, say: Say, *, once: bool) -> int:
    """Run `processes` copies of a flow that find each other on localhost, as one job, until it ends
    (`once`) or a signal stops it; the exit code. Each gets `--process` and `--addresses`."""
    addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(processes))
    commands = tuple(
        (*command, f"--process={index}", f"--addresses={addresses}") for index in range(processes)
    )
    with stopping_on_signals() as stopping:
        return Supervisor([Job(name, commands, once=once)], say).run(stopping)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on just now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def stop_with_supervisor() -> None:
    """For children: SIGTERM to this process when its standard input ends, that is, when its
    supervisor is gone."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=wait, name="supervisor", daemon=True).start()
