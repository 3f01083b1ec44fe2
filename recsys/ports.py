"""Ports: what the core asks of a log and of a state store, in bytes.

The adapters live in `recsys.stores`; a composition root picks one by URL. Everything behind a
port is bytes, so that a port never learns what a profile is and an adapter never imports one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol
from zlib import crc32


class Position(NamedTuple):
    """Where a record stands in the log. Comparable only with positions of the same partition."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read what `str(position)` wrote; ValueError says what was expected."""
        partition, _, offset = text.partition("-")
        if not (text.isascii() and partition.isdigit() and offset.isdigit()):
            raise ValueError(f"Expected a position like `3-1042`, got `{text[:64]}`")
        return cls(int(partition), int(offset))


class NewRecord(NamedTuple):
    """A record to append: `key` picks the partition, `received_ms` is epoch milliseconds.

    A key is at most 400 bytes of UTF-8 (it may be empty), a value at most 8 MiB; `append`
    raises ValueError beyond.
    """

    key: str
    value: bytes
    received_ms: int


class Record(NamedTuple):
    """A record as the log keeps it; `received_ms` is epoch milliseconds, as `EventLog.receipt_note` tells."""

    position: Position
    key: str
    value: bytes
    received_ms: int


def partition_of(key: str, partitions: int) -> int:
    """The partition that every log puts `key` in: CRC-32 of its UTF-8, modulo."""
    return crc32(key.encode()) % partitions


class LogReader(Protocol):
    """Reads every partition from given offsets, merged into one sequence.

    Order: within a partition by offset; between partitions by `received_ms` as far as the
    records are at hand (the embedded log: by order of commit). One reader, one thread.
    """

    def read(self, limit: int) -> Sequence[Record]:
        """At most `limit` next records; empty when the end is reached just now. Never blocks
        for longer than a few milliseconds. Raises LogUnavailable as `EventLog.reader` does."""
        ...

    def passed(self) -> Mapping[int, int]:
        """Offsets that lie behind this reader though no record of them came, by partition: at most one
        for each, the highest. Such are what a foreign producer's transactions leave in a topic, and
        what retention took before it was read."""
        ...

    def close(self) -> None:
        """Give back what reading holds; the log stays open."""
        ...


class EventLog(Protocol):
    """An append-only, partitioned, durable log. Thread-safe; its readers are not."""

    partitions: int
    """How many there are, fixed when the log was made; a record's is `partition_of` its key."""

    def append(self, records: Sequence[NewRecord], patience_s: float = math.inf) -> list[Position]:
        """Append all; return their positions, in order, once they are durable. Thread-safe:
        concurrent calls share one commit (group commit). All or nothing for the embedded log.
        Raises LogUnavailable when nothing can be acknowledged, a log on another machine no later than
        `patience_s`; ValueError or TypeError for a record out of its limits, and then appends none."""
        ...

    def reader(self, after: Mapping[int, int] | None = None) -> LogReader:
        """A reader that starts behind offset `after[partition]`, or at the beginning of what is
        kept. Raises LogUnavailable when the record behind that offset is not kept any more, or
        when the offset lies beyond the end (the log is another one): nothing is lost silently.
        The same holds for `read`, when retention overtakes a reader."""
        ...

    def end(self) -> dict[int, int]:
        """Offset of the last durable record of each partition that has one; where foreign producers write, of
        what stands last there, which may be no record (`LogReader.passed`). Raises LogUnavailable."""
        ...

    def receipt_note(self) -> str:
        """What an operator should know of whose word `received_ms` is, in a sentence; "" where it is always
        that of `append`. Raises LogUnavailable."""
        ...

    def close(self) -> None:
        """Wait for the appends under way and let the log go. Readers are closed by their owners."""
        ...


class ProfileStore(Protocol):
    """A key-value store of versioned records, plus small bounded journals of changed keys.

    Keys are `<kind>:<id>` with a kind of one letter (see `recsys.keys`). A key is at most
    400 bytes of UTF-8 and a value at most 8 MiB; both raise ValueError beyond. Every call raises
    StoreUnavailable where the store does not answer. Thread-safe.
    """

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Values in the order of `keys`, None where there is none."""
        ...

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """Upsert all. Visible to other processes when the call returns."""
        ...

    def claim(self, key: str, value: bytes, ttl_s: int) -> bytes:
        """Store `value` unless the key exists; return what is stored then. Atomic between
        processes. The record may be dropped `ttl_s` seconds later, not before."""
        ...

    def claim_many(self, claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        """`claim` of each (key, value), at the cost of one write; each is atomic, all of them are not."""
        ...

    def scan(self, prefix: str) -> Iterable[tuple[str, bytes]]:
        """All records whose key starts with `prefix`, in no stated order, without holding
        them all in memory; records written meanwhile may or may not be seen."""
        ...

    def journal(self, name: str, entries: Sequence[str]) -> None:
        """Append entries (keys that changed) to the journal `name`, which keeps at least the
        newest 100,000 and at most a few times that."""
        ...

    def journal_after(self, name: str, cursor: str, limit: int) -> tuple[list[str], str]:
        """Up to `limit` entries behind `cursor` ("" is the beginning of what is kept), and the
        cursor behind them. Raises JournalTrimmed when entries behind `cursor` are gone: the
        caller then scans and starts from `journal_end`."""
        ...

    def journal_end(self, name: str) -> str:
        """The cursor behind the newest entry."""
        ...

    def sync(self) -> None:
        """Return when everything written so far survives a power failure, as far as the
        server behind the adapter promises that."""
        ...

    def close(self) -> None:
        """Let the store go; calls raise StoreUnavailable from then on."""
        ...


class LogUnavailable(Exception):
    """The log did not acknowledge; the records may or may not be in it. Says which log and why."""


class StoreUnavailable(Exception):
    """The store did not answer. Says which store and why."""


class JournalTrimmed(Exception):
    """The cursor lies before the oldest journal entry that is kept."""
