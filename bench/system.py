"""The measured system's processes, as `bench.runner` starts them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import msgspec

from bench.runner import Tell
from flows.run import run
from recsys.settings import ServerSettings, Settings
from server.logs import configure_logs
from server.main import serve

HOST = "127.0.0.1"


def free_port() -> int:
    with socket.socket() as held:
        held.bind((HOST, 0))
        return int(held.getsockname()[1])


def server_settings(processes: int = 1) -> ServerSettings:
    """The defaults on ports of our own."""
    return ServerSettings(host=HOST, port=free_port(), metrics_port=free_port(), processes=processes)


def argument_of(settings: Settings, home: Path) -> dict[str, Any]:
    """What `server` and `flow` below take."""
    return {"home": str(home), "settings": msgspec.to_builtins(settings)}


def server(argument: dict[str, Any], tell: Tell) -> int:
    """A server until SIGTERM; tells its port and process when it answers."""
    configure_logs()
    return serve(
        _settings(argument),
        Path(argument["home"]),
        on_ready=lambda port, _: tell({"port": port, "pid": os.getpid()}),
    )


def cpu_s(pid: int) -> float | None:
    """Processor seconds that a process and its children have used; None where nobody says."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        # After the name, which may hold spaces: fields 14 and 15 of proc(5) are user and system time.
        stats = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *children)]
    except OSError:
        return None
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


def flow(argument: dict[str, Any], tell: Tell) -> None:
    """A flow until SIGTERM."""
    tell({"flow": "starting"})
    run(_settings(argument))


def catch_up(argument: dict[str, Any]) -> None:
    """A flow to the log's present end."""
    run(_settings(argument), to_end=True)


def _settings(argument: dict[str, Any]) -> Settings:
    return msgspec.convert(argument["settings"], Settings)
