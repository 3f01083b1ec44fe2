"""The EventLog at scale: one topic of Apache Kafka, through confluent-kafka (librdkafka).

The partition is chosen here, CRC-32 of the key as in every log of ours, not by librdkafka. The
producer is idempotent and waits for all in-sync replicas, so retries neither reorder nor repeat.
Positions live in the reader's own state; no consumer group is joined and nothing is committed.

`end()` is the offset before the last stable one. Where a foreign producer writes transactions, that may be a
marker which no reader returns, but passes (`LogReader.passed`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError  # noqa: A004 (another class than the built-in, before 3.11)
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from recsys.ports import LogUnavailable, NewRecord, Position
from recsys.stores.kafka_reader import ALL_BROKERS_DOWN, KafkaReader
from recsys.stores.limits import VALUE_BYTES_MAX, check_partitions, offset_gone, place
from recsys.stores.urls import query_settings, take_float, take_int

_MESSAGE_BYTES_MAX = VALUE_BYTES_MAX + 64 * 1024

# What the guarantees of this adapter rest on; the URL may not change it.
_PRODUCER = {"enable.idempotence": True, "acks": "all"}
_CONSUMER = {
    "group.id": "headrace",  # asked for by librdkafka, never joined
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
}
_NAMED_OTHERWISE = ("bootstrap.servers", "linger.ms", "message.timeout.ms")
# Defaults; a further setting of the URL replaces them.
_COMMON = {
    "log_level": 0,  # librdkafka writes to stderr; errors come to `_on_error` instead
    "reconnect.backoff.max.ms": 1000,
    "message.max.bytes": _MESSAGE_BYTES_MAX,
}
_READING = {"queued.max.messages.kbytes": 32 * 1024, "fetch.error.backoff.ms": 100}

# A topic just created, or a partition whose leader just moved: the broker asked knows it in a moment.
_MOVING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}

_STAMPED_BY = "message.timestamp.type"
_RECEIPT_NOTES = {
    "CreateTime": (
        f"the topic's `{_STAMPED_BY}` is CreateTime: a producer's own clock counts. That is right where only"
        " Headrace writes; where others do, one that is ahead makes everybody else's events late: then set"
        " LogAppendTime"
    ),
    "LogAppendTime": (
        f"the topic's `{_STAMPED_BY}` is LogAppendTime: the broker's clock counts. A history that is imported"
        " counts as received now, and its events as late"
    ),
}

_log = logging.getLogger(__name__)


class KafkaLog:
    """An EventLog on `topic` of the cluster that `bootstrap` leads to.

    The topic is created where it is missing, with `partitions`, `replication_factor` and the
    `topic_settings`; it keeps everything (`retention.ms` -1, as the embedded log does) unless they
    say otherwise. An existing topic keeps its own count of partitions, which must not be raised
    later: keys would move. `timeout_s` bounds every wait for the brokers.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int = 4,
        replication_factor: int = 1,
        linger_ms: float = 2.0,
        timeout_s: float = 10.0,
        settings: Mapping[str, str] | None = None,
        topic_settings: Mapping[str, str] | None = None,
    ) -> None:
        self._name = f"kafka://{bootstrap}/{topic}"
        self._topic = topic
        self._timeout_s = timeout_s
        self._common: dict[str, Any] = {**_COMMON, **(settings or {}), "bootstrap.servers": bootstrap}
        self._cause = ""
        self._closed = threading.Event()
        timeout_ms = int(timeout_s * 1000)
        producing = {"linger.ms": linger_ms, "message.timeout.ms": timeout_ms, "error_cb": self._on_error}
        try:
            self._producer = Producer({**self._common, **producing, **_PRODUCER})
            self._asker = Consumer({**self._common, **_CONSUMER})
            self._asking = threading.Lock()  # a consumer refuses calls from two threads at a time
        except KafkaException as error:
            raise ValueError(
                f"Expected settings of librdkafka - at {self._name}, got: {_text(error)}"
            ) from error
        self._poller = threading.Thread(target=self._poll, name=f"{self._name} deliveries", daemon=True)
        self._poller.start()
        try:
            self.partitions = self._open_topic(partitions, replication_factor, topic_settings or {})
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_url(cls, url: str) -> KafkaLog:
        """Open `kafka://host:9092,host2:9092/topic` with the settings `partitions=4`,
        `replication_factor=1`, `linger_ms=2` and `timeout_s=10`.

        `topic.retention.ms=...` and the like are settings of a topic that is created; all others
        are librdkafka's (`security.protocol`, `sasl.username`, ...).
        """
        parts = urlsplit(url)
        topic = unquote(parts.path[1:])
        if not parts.netloc or "@" in parts.netloc or not topic or "/" in topic:
            # Never the whole URL: it may hold a password.
            got = f"host `{parts.netloc.rpartition('@')[2]}` and topic `{topic}`"
            raise ValueError(
                "Expected a URL like `kafka://host:9092,host2:9092/topic` (a user as the settings "
                f"`sasl.username` and `sasl.password`), got {got}"
            )
        settings = query_settings(parts.query)
        partitions = take_int(settings, "partitions", 4, 1, 10_000)
        replication_factor = take_int(settings, "replication_factor", 1, 1, 100)
        linger_ms = take_float(settings, "linger_ms", 2.0, 0.0, 1000.0)
        timeout_s = take_float(settings, "timeout_s", 10.0, 1.0, 600.0)
        of_topic = [name for name in settings if name.startswith("topic.")]
        topic_settings = {name.removeprefix("topic."): settings.pop(name) for name in of_topic}
        for name in (*_PRODUCER, *_CONSUMER, *_NAMED_OTHERWISE):
            if name in settings:
                raise ValueError(f"Expected no setting `{name}` (the log sets it), got `{settings[name]}`")
        shape = (partitions, replication_factor)
        return cls(parts.netloc, topic, *shape, linger_ms, timeout_s, settings, topic_settings)

    def append(self, records: Sequence[NewRecord], patience_s: float = math.inf) -> list[Position]:
        """See EventLog. Not all or nothing: on LogUnavailable some records may be in the log."""
        partitions = place(records, self.partitions)
        if not records:
            return []
        if self._closed.is_set():
            raise LogUnavailable(f"{self._name}: the log is closed")
        deliveries = _Deliveries(len(records))
        # librdkafka itself gives up after the timeout; the second more is for its report.
        wait_s = min(self._timeout_s + 1.0, patience_s)
        deadline = time.monotonic() + wait_s
        for index, (partition, record) in enumerate(zip(partitions, records, strict=True)):
            self._produce(partition, record, partial(deliveries.report, index), deadline)
        if not deliveries.complete.wait(max(0.0, deadline - time.monotonic())):
            raise LogUnavailable(f"{self._name}: no acknowledgement within {wait_s:g} s{self._cause}")
        if deliveries.error is not None:
            raise LogUnavailable(f"{self._name}: {deliveries.error.str()}{self._cause}")
        return deliveries.positions

    def _produce(self, partition: int, record: NewRecord, report: partial[None], deadline: float) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    partition,
                    on_delivery=report,
                    timestamp=max(1, record.received_ms),  # librdkafka takes 0 for now
                )
            except BufferError as error:  # noqa: PERF203 (its queue is full: wait for deliveries)
                if time.monotonic() > deadline:
                    raise LogUnavailable(f"{self._name}: {error}{self._cause}") from error
                time.sleep(0.001)
            except KafkaException as error:
                raise LogUnavailable(f"{self._name}: {_text(error)}{self._cause}") from error
            else:
                return

    def reader(self, after: Mapping[int, int] | None = None) -> KafkaReader:
        """See EventLog."""
        after = after or {}
        check_partitions(after, self.partitions)
        spans = []
        for partition, (first, end) in self._kept().items():
            start = after[partition] + 1 if partition in after else first
            if not first <= start <= end:
                raise offset_gone(self._name, partition, start, first, end)
            spans.append((start, end))
        settings = {**_READING, **self._common, **_CONSUMER}
        return KafkaReader(settings, self._name, self._topic, spans, self._timeout_s)

    def end(self) -> dict[int, int]:
        """See EventLog."""
        return {partition: end - 1 for partition, (_, end) in self._kept().items() if end > 0}

    def receipt_note(self) -> str:
        """See EventLog."""
        topic = ConfigResource(ConfigResource.Type.TOPIC, self._topic)
        admin = AdminClient(self._common)
        try:
            told = admin.describe_configs([topic], request_timeout=self._timeout_s)[topic].result(
                self._timeout_s
            )
        except (KafkaException, TimeoutError) as error:
            return f"the topic does not tell its `{_STAMPED_BY}`: {error}"
        return _RECEIPT_NOTES.get(told[_STAMPED_BY].value, "")

    def close(self) -> None:
        """Wait for the deliveries under way, at most `timeout_s`, and close the connections."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._poller.join()
        self._producer.flush(self._timeout_s)
        self._asker.close()

    def _kept(self) -> dict[int, tuple[int, int]]:
        """Per partition the first offset kept and the offset behind the last one."""
        if self._closed.is_set():
            raise LogUnavailable(f"{self._name}: the log is closed")
        deadline = time.monotonic() + self._timeout_s
        kept = {}
        for partition in range(self.partitions):
            place = TopicPartition(self._topic, partition)
            while partition not in kept:
                try:
                    with self._asking:
                        kept[partition] = self._asker.get_watermark_offsets(place, self._timeout_s)
                except KafkaException as error:  # noqa: PERF203 (a retry is such a loop)
                    if error.args[0].code() not in _MOVING or time.monotonic() > deadline:
                        raise LogUnavailable(f"{self._name}: {_text(error)}{self._cause}") from error
                    time.sleep(0.05)
        return kept

    def _open_topic(self, partitions: int, replication_factor: int, settings: Mapping[str, str]) -> int:
        """Create the topic where it is missing; return its count of partitions once all have a leader."""
        deadline = time.monotonic() + self._timeout_s
        created = False
        try:
            while True:
                topic = self._asker.list_topics(self._topic, self._timeout_s).topics[self._topic]
                led = [each for each in topic.partitions.values() if each.leader >= 0]
                if led and len(led) == len(topic.partitions):
                    return len(led)
                unknown = topic.error is not None and topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
                if unknown and not created:
                    self._create_topic(partitions, replication_factor, settings)
                    created = True
                if time.monotonic() > deadline:
                    raise LogUnavailable(f"{self._name}: no leader: {topic.error or 'election under way'}")
                time.sleep(0.05)
        except KafkaException as error:
            raise LogUnavailable(f"{self._name}: {_text(error)}{self._cause}") from error

    def _create_topic(self, partitions: int, replication_factor: int, settings: Mapping[str, str]) -> None:
        config = {"retention.ms": "-1", "max.message.bytes": str(_MESSAGE_BYTES_MAX), **settings}
        admin = AdminClient(self._common)
        topic = NewTopic(self._topic, partitions, replication_factor, config=config)
        try:
            created = admin.create_topics([topic], operation_timeout=self._timeout_s)
            created[self._topic].result(self._timeout_s)
        except TimeoutError as error:
            raise LogUnavailable(
                f"{self._name}: the topic was not created in {self._timeout_s:g} s"
            ) from error
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
                raise

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)

    def _on_error(self, error: KafkaError) -> None:
        # "All brokers are down" says less than what came before it.
        if error.code() != ALL_BROKERS_DOWN:
            self._cause = f" (last seen: {error.str()})"
        _log.debug("%s: %s", self._name, error.str())


class _Deliveries:
    """Collects the delivery reports of one `append`; all come from the one polling thread."""

    def __init__(self, count: int) -> None:
        self.positions = [Position(-1, -1)] * count
        self.error: KafkaError | None = None
        self.complete = threading.Event()
        self._missing = count

    def report(self, index: int, error: KafkaError | None, message: Message) -> None:
        """The delivery report of the record at `index`."""
        partition, offset = message.partition(), message.offset()
        if error is not None:
            self.error = self.error or error
        elif partition is not None and offset is not None:
            self.positions[index] = Position(partition, offset)
        self._missing -= 1
        if not self._missing:
            self.complete.set()


def _text(error: KafkaException) -> str:
    cause = error.args[0]
    return cause.str() if isinstance(cause, KafkaError) else str(cause)
