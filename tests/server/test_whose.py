"""A server on this machine tells whose it is, and nobody else is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.settings import ServerSettings, Settings
from server.client import Client
from server.whose import told_log
from tests.fakes import MemoryStore
from tests.server.shop import Shop


def test_a_client_learns_which_log_the_server_appends_to(tmp_path: Path, store: MemoryStore) -> None:
    with Shop(tmp_path, store=store).open() as shop, Client(f"127.0.0.1:{shop.port}") as client:
        assert shop.settings.log.startswith("sqlite:")
        assert client.log() == shop.settings.log


def test_where_no_server_is_nothing_is_told() -> None:
    with Client("127.0.0.1:1") as client:
        assert client.log() == ""


@pytest.mark.parametrize(
    ("log", "host", "told"),
    [
        ("sqlite:///home/é/log.db", "127.0.0.1", "sqlite:///home/é/log.db"),
        ("sqlite:///home/é/log.db", "::1", "sqlite:///home/é/log.db"),
        ("sqlite:///home/é/log.db", "0.0.0.0", ""),
        ("kafka://user:password@host:9092/events", "127.0.0.1", ""),
    ],
)
def test_only_an_embedded_log_is_told_and_only_to_this_machine(log: str, host: str, told: str) -> None:
    assert told_log(Settings(log=log, server=ServerSettings(host=host))) == told
