"""What tests share: a Valkey and a Kafka a run, started by the first that asks; no settings from outside;
and how they are dealt out where several processes run them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.services import KafkaBroker, ServiceUnavailable, ValkeyServer
from tests.services.valkey import AppendFsync

# How long an example takes says how busy the machine is.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes that share the work take a file at a time: the long ones first, so that at the end none waits
    for another that has just begun one."""
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if any(map(item.get_closest_marker, ("slow", "kafka")))}
        items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def valkey_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The run's one Valkey; ask for `valkey_url` instead."""
    with _running_valkey(tmp_path_factory.mktemp("valkey"), "everysec") as server:
        yield server


@pytest.fixture
def valkey_url(valkey_session: ValkeyServer) -> str:
    """URL of an empty database."""
    with redis.Redis.from_url(valkey_session.url) as client:
        client.flushall()
    return valkey_session.url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of the test's own, to kill and start again. It loses no acknowledged write."""
    with _running_valkey(tmp_path / "valkey", "always") as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The run's one broker: each test uses topics of its own."""
    with _running_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of the test's own, to kill and start again (costs about five seconds)."""
    with _running_kafka(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nobody has set a `HEADRACE_` variable."""
    for name in list(os.environ):
        if name.startswith("HEADRACE_"):
            monkeypatch.delenv(name)


@contextmanager
def _running_valkey(folder: Path, appendfsync: AppendFsync) -> Iterator[ValkeyServer]:
    with _skip_where_unavailable():
        server = ValkeyServer(folder, appendfsync)
        server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _running_kafka(folder: Path) -> Iterator[KafkaBroker]:
    with _skip_where_unavailable():
        broker = KafkaBroker(folder)
        broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def _skip_where_unavailable() -> Iterator[None]:
    """Skip, saying what to install; where CI is set every test must run, so fail."""
    try:
        yield
    except ServiceUnavailable as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, so this must run: {missing}")
        pytest.skip(str(missing))
