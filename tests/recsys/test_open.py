"""Opening logs and stores by URL: what is refused, and with which words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recsys.open import open_log, open_store, path_url
from recsys.ports import NewRecord
from recsys.stores.lmdb_store import LmdbStore
from recsys.stores.redis_store import RedisStore
from recsys.stores.sqlite_log import SqliteLog

NO_LOG = "Expected a log URL like `sqlite:///path/to/log.db` or `kafka://host:9092/topic`, got "
NO_STORE = "Expected a state URL like `lmdb:///path/to/folder` or `redis://host:6379/0`, got "
NO_KAFKA = (
    "Expected a URL like `kafka://host:9092,host2:9092/topic` "
    "(a user as the settings `sasl.username` and `sasl.password`), got "
)


def refused(open_it, url):
    with pytest.raises(ValueError, match="Expected") as caught:
        open_it(url)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", NO_LOG + "no scheme"),
        ("log.db", NO_LOG + "no scheme"),
        ("lmdb:///tmp/x", NO_LOG + "scheme `lmdb`"),
        ("mysql://user:secret@host/x", NO_LOG + "scheme `mysql`"),
        ("sqlite://log.db", "Expected an absolute path like `sqlite:///path/to/it`, got `sqlite://log.db`"),
        ("sqlite:///", "Expected an absolute path like `sqlite:///path/to/it`, got `sqlite:///`"),
        (
            "sqlite:///x/log.db?partitions=0",
            "Expected a whole number from 1 to 1024, got `0` - at setting `partitions`",
        ),
        (
            "sqlite:///x/log.db?timeout_s=nan",
            "Expected a number from 0 to 600, got `nan` - at setting `timeout_s`",
        ),
        ("sqlite:///x/log.db?wal=1", "Expected a setting of `partitions`, `timeout_s`, got `wal`"),
        (
            "sqlite:///x/log.db?partitions=1&partitions=2",
            "Expected the setting `partitions` once, got it twice",
        ),
        ("kafka://user:secret@host:9092/events", NO_KAFKA + "host `host:9092` and topic `events`"),
        ("kafka://host:9092/", NO_KAFKA + "host `host:9092` and topic ``"),
        (
            "kafka://host:9092/events?acks=1",
            "Expected no setting `acks` (the log sets it), got `1`",
        ),
        (
            "kafka://h/t?nosuch=1",
            'Expected settings of librdkafka - at kafka://h/t, got: No such configuration property: "nosuch"',
        ),
    ],
)
def test_a_log_url_is_refused(url, message):
    assert refused(open_log, url) == f"{message} - at `log`"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("state", NO_STORE + "no scheme"),
        ("sqlite:///x", NO_STORE + "scheme `sqlite`"),
        ("lmdb://state", "Expected an absolute path like `lmdb:///path/to/it`, got `lmdb://state`"),
        ("lmdb:///x?map_gb=0", "Expected a number from 0.001 to 65536, got `0` - at setting `map_gb`"),
        ("lmdb:///x?sync=1", "Expected a setting of `map_gb`, got `sync`"),
        ("redis:///0", "Expected a host like `redis://host:6379/0`, got none"),
        (
            "redis://h/0?timeout_s=soon",
            "Expected a number from 0.01 to 600, got `soon` - at setting `timeout_s`",
        ),
    ],
)
def test_a_store_url_is_refused(url, message):
    assert refused(open_store, url) == f"{message} - at `state`"


def test_an_unknown_setting_of_redis_is_refused_without_the_password():
    message = refused(open_store, "redis://user:secret@host:6379/0?no_such_setting=1")
    assert message.startswith("Expected settings of redis-py in the URL of redis://host:6379/0, got: ")
    assert "no_such_setting" in message
    assert "secret" not in message


def test_the_scheme_picks_the_adapter(tmp_path):
    log = open_log(f"sqlite://{tmp_path}/log.db?partitions=3")
    assert isinstance(log, SqliteLog)
    assert log.partitions == 3
    log.close()
    for url, adapter in (
        (f"lmdb://{tmp_path}/state", LmdbStore),
        ("redis://127.0.0.1:1/0", RedisStore),
        ("rediss://127.0.0.1:1/0", RedisStore),
        ("valkey://127.0.0.1:1/0", RedisStore),
        ("valkeys://127.0.0.1:1/0", RedisStore),
    ):
        store = open_store(url)
        assert isinstance(store, adapter)
        store.close()


def test_a_path_goes_into_a_url_and_back(tmp_path):
    path = tmp_path / "a b%20c?d#e" / "é.db"
    log = open_log(path_url("sqlite", path, "partitions=2"))
    log.append([NewRecord("anna", b"", 1)])
    log.close()
    assert path.exists()


def test_the_embedded_default_imports_no_client_of_a_server():
    program = (
        "import sys, recsys.open, recsys.stores.sqlite_log, recsys.stores.lmdb_store; print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"redis", "confluent_kafka"} & set(modules)
