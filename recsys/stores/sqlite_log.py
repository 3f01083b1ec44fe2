"""The embedded EventLog: one SQLite file in WAL mode.

One table in order of commit (`seq`) holds every partition, so a reader follows one number. `seq`
counts all records ever appended, offsets count per partition; both continue from the table
`heads`. Nothing is ever taken out: the state is a function of the whole log. There is no index by
position: it would cost a third of an append. Sparse `marks` say from which `seq` on to look for an
offset instead. Records of one commit stand in rows of many (`recsys.stores.packs`).
`synchronous=FULL` makes one fsync per commit, which concurrent appends share.

Several processes may append and read at the same time. Open it after a fork, not before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from recsys.ports import LogUnavailable, NewRecord, Position, Record
from recsys.sqlite_files import connect
from recsys.stores.limits import place
from recsys.stores.packs import flat, rows_of
from recsys.stores.sqlite_file import (
    VERSION,
    blaming,
    kept,
    prepare,
    set_version,
    transaction,
)
from recsys.stores.sqlite_reader import SqliteReader
from recsys.stores.urls import refuse_rest, split_path_url, take_float, take_int

PARTITIONS_MAX = 1024
INSERT_ROWS = 100
"""Rows of one statement. Python gives its interpreter to other threads at each statement and gets it back
when they let it."""
GROUP_RECORDS_MAX = 20_000
"""Records after which a group commit takes no further append into the same transaction."""

_MARK_EVERY_PER_PARTITION = 256


class SqliteLog:
    """An EventLog in the file `path`, created with `partitions` where it is missing.

    Partitions are fixed at creation: an existing file keeps its own count. `timeout_s` bounds
    the wait for other writers. Raises LogUnavailable, naming the file and the cause.
    """

    def __init__(self, path: Path, partitions: int = 4, timeout_s: float = 10.0) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._waiting: list[_Append] = []
        self._leading = False
        self._closed = False
        self._asking = threading.Lock()
        with blaming(path):
            self._connection = connect(path, timeout_s)
            try:
                self.partitions, self._version = prepare(self._connection, path, partitions, timeout_s)
            except BaseException:
                self._connection.close()
                raise
            # Of `end` alone: servers ask many times a second, and a new one reads the schema anew.
            self._asked = connect(path, timeout_s)

    @classmethod
    def from_url(cls, url: str) -> SqliteLog:
        """Open `sqlite:///path/to/log.db?partitions=4&timeout_s=10`."""
        path, settings = split_path_url(url)
        partitions = take_int(settings, "partitions", 4, 1, PARTITIONS_MAX)
        timeout_s = take_float(settings, "timeout_s", 10.0, 0.0, 600.0)
        refuse_rest(settings, ("partitions", "timeout_s"))
        return cls(path, partitions, timeout_s)

    def append(self, records: Sequence[NewRecord], patience_s: float = math.inf) -> list[Position]:
        """See EventLog. The first caller leads: it commits what is waiting, its own and others',
        then wakes them and hands the lead to the next; nobody waits for more than two commits."""
        mine = _Append(records, place(records, self.partitions))
        if not records:
            return []
        with self._lock:
            if self._closed:
                raise LogUnavailable(f"{self._path}: the log is closed")
            self._waiting.append(mine)
            follow, self._leading = self._leading, True
        if follow:
            mine.woken.wait()
        if not mine.settled:
            self._lead()
        if mine.error is not None:
            raise LogUnavailable(f"{self._path}: {mine.error}") from mine.error
        return mine.positions

    def _lead(self) -> None:
        with self._lock:
            group = self._take_group()
        error: BaseException | None = None
        try:
            self._commit(group)
        except BaseException as caught:  # noqa: BLE001 (raised below; whatever it is, the followers must be told)
            error = caught
        for each in group:
            each.error, each.settled = error, True
        with self._lock:
            self._leading = bool(self._waiting)
            woken = [*self._waiting[:1], *group]
            self._idle.notify_all()
        for each in woken:
            each.woken.set()
        if error is not None and not isinstance(error, Exception):
            raise error

    def _take_group(self) -> list[_Append]:
        count, size = 0, 0
        while count < len(self._waiting) and size < GROUP_RECORDS_MAX:
            size += len(self._waiting[count].records)
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _commit(self, group: list[_Append]) -> None:
        with transaction(self._connection, self._timeout_s) as connection:
            before = dict(connection.execute("SELECT partition, next_offset FROM heads"))
            heads, start = dict(before), sum(before.values())
            records: list[Record] = []
            for each in group:
                for partition, (key, value, received_ms) in zip(each.partitions, each.records, strict=True):
                    position = Position(partition, heads[partition])
                    heads[partition] += 1
                    records.append(Record(position, key, value, received_ms))
                    each.positions.append(position)
            rows = rows_of(start, records)
            for first in range(0, len(rows), INSERT_ROWS):
                some = rows[first : first + INSERT_ROWS]
                connection.execute(_insert(len(some)), flat(some))
            version = max(self._version, VERSION if len(rows) < len(records) else 0)
            if version > self._version:
                set_version(connection)
            moved = [(head, partition) for partition, head in heads.items() if head != before[partition]]
            connection.executemany("UPDATE heads SET next_offset = ? WHERE partition = ?", moved)
            mark_every = _MARK_EVERY_PER_PARTITION * self.partitions
            if start // mark_every != (start + len(records)) // mark_every:
                marks = [(partition, head, start) for partition, head in before.items()]
                connection.executemany("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", marks)
        self._version = version

    def reader(self, after: Mapping[int, int] | None = None) -> SqliteReader:
        """See EventLog."""
        with blaming(self._path):
            return SqliteReader(self._path, self._timeout_s, after or {})

    def end(self) -> dict[int, int]:
        """See EventLog."""
        with blaming(self._path), self._asking:
            return {partition: end - 1 for partition, (_, end) in kept(self._asked).items() if end > 0}

    def receipt_note(self) -> str:
        """See EventLog."""
        return ""

    def close(self) -> None:
        """Wait for the appends under way, then close the file. Readers are closed by their owners."""
        with self._lock:
            self._closed = True
            self._idle.wait_for(lambda: not self._leading, self._timeout_s)
            self._connection.close()
        with self._asking:
            self._asked.close()


class _Append:
    """The records of one `append` call on their way through a group commit."""

    __slots__ = ("error", "partitions", "positions", "records", "settled", "woken")

    def __init__(self, records: Sequence[NewRecord], partitions: list[int]) -> None:
        self.records = records
        self.partitions = partitions
        self.positions: list[Position] = []
        self.error: BaseException | None = None
        self.settled = False
        self.woken = threading.Event()


def _insert(rows: int) -> str:
    return "INSERT INTO records VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608 (a number)
