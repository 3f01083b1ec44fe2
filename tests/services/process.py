"""A server process that can be stopped, killed and started again, and never outlives its parent."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HOST = "127.0.0.1"
# Below every system's range for outgoing connections: nobody takes the port of a server that is down.
_PORTS = range(15_000, 30_000)


class ServiceUnavailable(Exception):
    """A server cannot run on this machine. Says what is missing and how to install it."""


class ServiceFailed(Exception):
    """A server ended or did not answer. Carries the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    for _ in range(200):
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            # As the servers do: else a port would count as taken for a minute after its server stopped.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise ServiceFailed(f"Expected a free port in {_PORTS.start}-{_PORTS.stop}, got 200 taken ones")


def listens(port: int) -> bool:
    """Whether something on 127.0.0.1 accepts connections at `port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


class ServerProcess:
    """Runs `command` in `folder`, its output in `folder/server.log`.

    A watchdog process holds the other end of a pipe: when this Python ends, even by SIGKILL, the
    pipe closes and the watchdog kills the server. (PR_SET_PDEATHSIG would be Linux only, would be
    tied to the starting thread, and needs a preexec_fn, which is unsafe beside threads.)
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.command = list(command)
        self.folder = folder
        self.log = folder / "server.log"
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The running server's process id."""
        if self._server is None:
            raise ServiceFailed(f"Expected a running server, got one that is down - in {self.folder}")
        return self._server.pid

    def start(self, ready: Callable[[], bool], timeout_s: float = 90) -> None:
        """Start and return once `ready()`. Raises ServiceFailed with the log's end otherwise."""
        if self._server is not None:
            raise ServiceFailed(f"Expected a server that is down, got a running one - pid {self.pid}")
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we then stop the server in order
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _ || kill -9 "$0"', str(self._server.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._wait(ready, timeout_s)
        except BaseException:
            self.kill()
            raise

    def _wait(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self._server is not None and self._server.poll() is not None:
                raise ServiceFailed(f"{self.command[0]} ended at once:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise ServiceFailed(f"{self.command[0]} did not answer in {timeout_s:g} s:\n{self.log_end()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would. Nothing to do when it is down."""
        if self._server is None:
            return
        self._server.kill()
        self._reap()

    def stop(self, timeout_s: float = 20) -> None:
        """End it in order (SIGTERM); SIGKILL after `timeout_s`. Nothing to do when it is down."""
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._server.kill()
        self._reap()

    def log_end(self, size_bytes: int = 4_000) -> str:
        """The last `size_bytes` of the server's log."""
        return self.log.read_bytes()[-size_bytes:].decode(errors="replace") if self.log.exists() else ""

    def _reap(self) -> None:
        # The watchdog goes first: once the server is reaped its process id may belong to another.
        if self._watchdog is not None and self._watchdog.stdin is not None:
            try:
                self._watchdog.stdin.write(b"\n")
                self._watchdog.stdin.close()
            except BrokenPipeError:
                pass
            self._watchdog.wait()
        if self._server is not None:
            self._server.wait()
        self._server = self._watchdog = None
