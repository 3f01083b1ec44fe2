"""The ports in memory, small enough to be seen through; `down` makes them fail as the real ones do.

The contract suites run on the real adapters; these are for tests of what stands before the ports.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from threading import RLock

from recsys.ports import (
    JournalTrimmed,
    LogUnavailable,
    NewRecord,
    Position,
    Record,
    StoreUnavailable,
    partition_of,
)
from recsys.stores.limits import key_bytes


class MemoryLog:
    """An EventLog. `records` is all of it, by order of append."""

    def __init__(self, partitions: int = 4) -> None:
        self.partitions = partitions
        self.records: list[Record] = []
        self.down = False
        self._end: dict[int, int] = {}
        self._lock = RLock()

    def append(self, records: Sequence[NewRecord], patience_s: float = math.inf) -> list[Position]:
        self._answer()
        with self._lock:
            positions = []
            for record in records:
                partition = partition_of(record.key, self.partitions)
                position = Position(partition, self._end.get(partition, -1) + 1)
                self._end[partition] = position.offset
                self.records.append(Record(position, *record))
                positions.append(position)
            return positions

    def reader(self, after: Mapping[int, int] | None = None) -> MemoryReader:
        return MemoryReader(self, dict(after or {}))

    def end(self) -> dict[int, int]:
        self._answer()
        with self._lock:
            return dict(self._end)

    def receipt_note(self) -> str:
        return ""

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.down:
            raise LogUnavailable("memory: down")


class MemoryReader:
    """A LogReader."""

    def __init__(self, log: MemoryLog, after: dict[int, int]) -> None:
        self._log = log
        self._after = after

    def read(self, limit: int) -> list[Record]:
        found: list[Record] = []
        for record in self._log.records:
            partition, offset = record.position
            if offset > self._after.get(partition, -1) and len(found) < limit:
                self._after[partition] = offset
                found.append(record)
        return found

    def passed(self) -> dict[int, int]:
        return {}

    def close(self) -> None:
        pass


class MemoryStore:
    """A ProfileStore. `journal_kept` entries of each journal are kept."""

    def __init__(self, journal_kept: int = 1000) -> None:
        self.records: dict[str, bytes] = {}
        self.down = False
        self._journals: dict[str, tuple[int, list[str]]] = {}
        self._journal_kept = journal_kept
        self._lock = RLock()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        self._answer()
        with self._lock:
            return [self.records.get(key) for key in keys]

    def put_many(self, records: Mapping[str, bytes]) -> None:
        self._answer()
        with self._lock:
            self.records.update(records)

    def claim(self, key: str, value: bytes, ttl_s: int) -> bytes:
        key_bytes(key)  # the adapters' limit
        self._answer()
        with self._lock:
            return self.records.setdefault(key, value)

    def claim_many(self, claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        return [self.claim(key, value, ttl_s) for key, value in claims]

    def scan(self, prefix: str) -> Iterable[tuple[str, bytes]]:
        self._answer()
        with self._lock:
            return [(key, value) for key, value in self.records.items() if key.startswith(prefix)]

    def journal(self, name: str, entries: Sequence[str]) -> None:
        self._answer()
        with self._lock:
            first, kept = self._journals.get(name, (0, []))
            kept = [*kept, *entries]
            gone = max(len(kept) - self._journal_kept, 0)
            self._journals[name] = (first + gone, kept[gone:])

    def journal_after(self, name: str, cursor: str, limit: int) -> tuple[list[str], str]:
        self._answer()
        with self._lock:
            first, kept = self._journals.get(name, (0, []))
            start = int(cursor) if cursor else first
            if start < first:
                raise JournalTrimmed(f"{name}: {cursor} lies before {first}")
            found = kept[start - first :][:limit]
            return found, str(start + len(found))

    def journal_end(self, name: str) -> str:
        self._answer()
        with self._lock:
            first, kept = self._journals.get(name, (0, []))
            return str(first + len(kept))

    def sync(self) -> None:
        self._answer()

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.down:
            raise StoreUnavailable("memory: down")
