"""A real Apache Kafka on this machine: one KRaft node, broker and controller in one JVM."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services import jars
from tests.services.process import HOST, ServerProcess, ServiceFailed, free_port, listens

_CLUSTER_ID = "AAAAAAAAAAAAAAAAAAAAAQ"
_JVM = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]

_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
num.network.threads=1
num.io.threads=2

# One node has one replica. Without these, groups and transactions never come up.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0

# With the default of 9 s a broker restarted after kill -9 waits 15 s for its own old session.
broker.session.timeout.ms=1000
broker.heartbeat.interval.ms=200
controller.quorum.election.timeout.ms=200
controller.quorum.election.backoff.max.ms=200
controller.quorum.fetch.timeout.ms=500
"""


class KafkaBroker:
    """One broker on a port of its own, with its data in `folder`.

    Raises ServiceUnavailable where Java or the jars are missing and cannot be fetched.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.bootstrap = f"{HOST}:{self.port}"
        self._folder = folder
        self._settings = folder / "server.properties"
        controller_port = free_port()
        while controller_port == self.port:
            controller_port = free_port()
        self._settings.write_text(
            _SETTINGS.format(host=HOST, port=self.port, controller_port=controller_port, data=folder / "data")
        )
        # The folder of this file is on the class path for log4j2.properties.
        class_path = f"{jars.jars_dir()}/*:{Path(__file__).parent}"
        self._java = [jars.java(), *_JVM, "-cp", class_path]
        self.process = ServerProcess([*self._java, "kafka.Kafka", str(self._settings)], folder)

    def url(self, topic: str) -> str:
        """The `log` setting for `topic` on this broker."""
        return f"kafka://{self.bootstrap}/{topic}"

    def start(self) -> None:
        """Start, or start again on the same data and port; returns once clients are served."""
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()
        self.process.start(self._serves)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def stop(self) -> None:
        """Stop in order."""
        self.process.stop()

    def create_topic(self, name: str, partitions: int = 1, config: dict[str, str] | None = None) -> None:
        """Create a topic; returns once it is there. Raises KafkaException if it exists."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {})
        admin = self._admin()  # must live until its futures are done
        admin.create_topics([topic], operation_timeout=30)[name].result(30)

    def _format(self) -> None:
        arguments = ["format", "-t", _CLUSTER_ID, "-c", str(self._settings)]
        command = [*self._java, "kafka.tools.StorageTool", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceFailed(f"Kafka's storage tool failed:\n{(done.stdout + done.stderr)[-2000:]}")

    def _serves(self) -> bool:
        if not listens(self.port):
            return False
        try:
            # A broker that is still fenced answers, but does not list itself.
            return bool(self._admin().list_topics(timeout=5).brokers)
        except KafkaException:
            return False

    def _admin(self) -> AdminClient:
        # log_level 0: that a broker which is starting refuses connections is no news.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})


@contextmanager
def kafka_broker(folder: Path) -> Iterator[KafkaBroker]:
    """A running broker. Raises ServiceUnavailable where Java or the jars are missing."""
    broker = KafkaBroker(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
