"""Reading a Kafka topic: all partitions merged by time, as far as their records are at hand."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from recsys.ports import LogUnavailable, Position, Record
from recsys.stores.limits import offset_gone

FETCH_RECORDS = 10_000
HELD_BYTES_MAX = 64 * 1024 * 1024
"""Records are held back for an older one of another partition up to this many bytes of them."""
HOLD_S = 5.0
"""So long the merge waits for a partition that has more to come; then it goes on without it."""

# librdkafka's public names, which begin with an underscore where no broker but the client speaks.
PARTITION_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001
OFFSET_GONE = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001

_RECORD_OVERHEAD_BYTES = 300
_WAIT_S = 0.002


class KafkaReader:
    """A LogReader over one consumer, assigned to every partition: `spans[partition]` is the
    offset to start at and the one behind the last that is there now.

    The broker's high watermark tells which partitions have more to come: the merge waits for
    those, never for one that is read to its end.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        name: str,
        topic: str,
        spans: Sequence[tuple[int, int]],
        timeout_s: float,
    ) -> None:
        self._name = name
        self._topic = topic
        self._timeout_s = timeout_s
        self._partitions = [_Partition(topic, number, *span) for number, span in enumerate(spans)]
        self._heads: list[tuple[int, int]] = []  # (received_ms, partition) of each first record held
        self._held_bytes = 0
        self._holding_since: float | None = None
        self._down_since: float | None = None
        self._failure: LogUnavailable | None = None
        self._consumer = Consumer({**settings, "error_cb": self._on_error})
        self._consumer.assign(
            [TopicPartition(topic, number, start) for number, (start, _) in enumerate(spans)]
        )

    def read(self, limit: int) -> list[Record]:
        """See LogReader. While the brokers do not answer there is nothing to read; LogUnavailable
        comes once that has lasted for the log's `timeout_s`, and from then on at every call."""
        if self._failure is not None:
            raise self._failure
        try:
            self._fetch(limit, 0.0)
            records = self._merge(limit)
            if not records:
                self._fetch(limit, _WAIT_S)
                records = self._merge(limit)
        except LogUnavailable as failure:
            self._failure = failure
            raise
        except (KafkaException, RuntimeError) as error:  # RuntimeError: the consumer is closed
            raise LogUnavailable(f"{self._name}: {error}") from error
        if not records:
            self._check_brokers()
        return records

    def passed(self) -> dict[int, int]:
        """See LogReader."""
        return {each.number: each.next_offset - 1 for each in self._partitions if each.is_passed}

    def close(self) -> None:
        """See LogReader."""
        self._consumer.close()

    def _fetch(self, limit: int, wait_s: float) -> None:
        if self._held_bytes > HELD_BYTES_MAX:
            return
        for message in self._consumer.consume(min(limit, FETCH_RECORDS), wait_s):
            error = message.error()
            if error is None:
                self._hold(message)
            elif error.code() == PARTITION_EOF:
                self._of(message).meet_end(self._consumer, message.offset() or 0)
            else:
                self._on_message_error(message, error)

    def _hold(self, message: Message) -> None:
        partition = self._of(message)
        record = partition.add(message)
        if len(partition.held) == 1:
            heapq.heappush(self._heads, (record.received_ms, partition.number))
        self._held_bytes += len(record.value) + _RECORD_OVERHEAD_BYTES

    def _merge(self, limit: int) -> list[Record]:
        """Take the oldest records held, until one is needed that has not come yet."""
        records: list[Record] = []
        awaited = [each for each in self._partitions if each.is_awaited(self._consumer)]
        if awaited and self._held_too_long():
            for each in awaited:
                each.is_late = True
            awaited.clear()
        while self._heads and len(records) < limit and not awaited:
            _, number = heapq.heappop(self._heads)
            partition = self._partitions[number]
            record = partition.held.popleft()
            self._held_bytes -= len(record.value) + _RECORD_OVERHEAD_BYTES
            records.append(record)
            if partition.held:
                heapq.heappush(self._heads, (partition.held[0].received_ms, number))
            elif partition.is_awaited(self._consumer):
                awaited.append(partition)
        if records or not self._heads:
            self._holding_since = None
        return records

    def _held_too_long(self) -> bool:
        if not self._heads:
            return False
        if self._holding_since is None:
            self._holding_since = time.monotonic()
        return self._held_bytes > HELD_BYTES_MAX or time.monotonic() - self._holding_since > HOLD_S

    def _of(self, message: Message) -> _Partition:
        number = message.partition()
        assert number is not None  # a consumer's messages have one
        return self._partitions[number]

    def _on_message_error(self, message: Message, error: KafkaError) -> None:
        if error.code() == OFFSET_GONE:
            partition = self._of(message)
            kept = self._consumer.get_watermark_offsets(partition.place, self._timeout_s)
            raise offset_gone(self._name, partition.number, partition.next_offset, *kept)
        if not error.retriable():
            raise LogUnavailable(f"{self._name}: {error.str()}")

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == ALL_BROKERS_DOWN and self._down_since is None:
            self._down_since = time.monotonic()

    def _check_brokers(self) -> None:
        """Raise when the brokers were reported down long ago and still do not answer. Nothing tells
        that they are back as long as nothing new is appended, so they are asked."""
        if self._down_since is None or time.monotonic() - self._down_since < self._timeout_s:
            return
        try:
            self._consumer.list_topics(self._topic, 1.0)
        except KafkaException as error:
            raise LogUnavailable(f"{self._name}: no broker answers: {error.args[0].str()}") from error
        self._down_since = None


class _Partition:
    """What is held of one partition, and how far it was read."""

    def __init__(self, topic: str, number: int, start: int, end: int) -> None:
        self.number = number
        self.place = TopicPartition(topic, number)
        self.next_offset = start
        self._known_end = end
        self.held: deque[Record] = deque()
        self.is_late = False
        """The merge goes on without it until it delivers: its leader may be down."""
        self._watermark_at_end = -1

    def add(self, message: Message) -> Record:
        """Hold the record of `message`. A foreign producer may leave out key, value or time."""
        offset, key, value = message.offset(), message.key(), message.value()
        assert offset is not None  # a consumer's messages have one
        record = Record(
            Position(self.number, offset),
            "" if key is None else key.decode(errors="replace"),
            value or b"",
            max(0, message.timestamp()[1]),
        )
        self.held.append(record)
        self.next_offset = offset + 1
        self.is_late = False
        return record

    def meet_end(self, consumer: Consumer, offset: int) -> None:
        """The end was met before `offset`: behind it lie at most markers and open transactions."""
        self.next_offset = max(self.next_offset, offset)
        self._watermark_at_end = self._watermark(consumer)

    @property
    def is_passed(self) -> bool:
        """Whether all before `next_offset` was given away, or is nothing that could be."""
        return not self.held and self.next_offset > 0

    def is_awaited(self, consumer: Consumer) -> bool:
        """Whether none of it is held, but the broker is known to have records that have not come."""
        if self.held or self.is_late:
            return False
        watermark = self._watermark(consumer)
        return self.next_offset < watermark and watermark != self._watermark_at_end

    def _watermark(self, consumer: Consumer) -> int:
        # Cached: what the last answer to a fetch said, or nothing before the first one.
        return max(self._known_end, consumer.get_watermark_offsets(self.place, cached=True)[1])
