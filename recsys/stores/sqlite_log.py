"""The embedded EventLog: one SQLite file in WAL mode.

One table in order of commit (`seq`) holds every partition, so a reader follows one number. `seq`
counts all records ever appended, offsets count per partition; both continue from the table
`heads`, so trimming never lets one be used again. There is no index by position: it would cost a
third of an append. Sparse `marks` say from which `seq` on to look for an offset instead.
`synchronous=FULL` makes one fsync per commit, which concurrent appends share.

Several processes may append and read at the same time. Open it after a fork, not before.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from recsys.ports import LogUnavailable, NewRecord, Position, Record
from recsys.stores.limits import check_partitions, offset_gone, place
from recsys.stores.urls import refuse_rest, split_path_url, take_float, take_int

VERSION = 1
PARTITIONS_MAX = 1024
INSERT_ROWS = 100
"""Rows of one statement. Python gives its interpreter to other threads at each statement and gets it back
when they let it."""
GROUP_RECORDS_MAX = 20_000
"""Records after which a group commit takes no further append into the same transaction."""
READ_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of values after which one `read` returns, whatever its limit."""

_MARK_EVERY_PER_PARTITION = 256

# SQLite's own busy handler sleeps up to 100 ms between tries, longer than a commit takes by far;
# that would be seen in the freshness of blocks as soon as two server processes append.
_RETRY_S = 0.0005

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE heads (
    partition INTEGER PRIMARY KEY,
    first_offset INTEGER NOT NULL,
    next_offset INTEGER NOT NULL
);
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    received_ms INTEGER NOT NULL
);
CREATE TABLE marks (
    partition INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (partition, "offset", seq)
) WITHOUT ROWID;
"""


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
        with _blaming(path):
            self._connection = _connect(path, timeout_s)
            try:
                self.partitions = _prepare(self._connection, path, partitions, timeout_s)
            except BaseException:
                self._connection.close()
                raise
            # Of `end` alone: servers ask many times a second, and a new one reads the schema anew.
            self._asked = _connect(path, timeout_s)

    @classmethod
    def from_url(cls, url: str) -> SqliteLog:
        """Open `sqlite:///path/to/log.db?partitions=4&timeout_s=10`."""
        path, settings = split_path_url(url)
        partitions = take_int(settings, "partitions", 4, 1, PARTITIONS_MAX)
        timeout_s = take_float(settings, "timeout_s", 10.0, 0.0, 600.0)
        refuse_rest(settings, ("partitions", "timeout_s"))
        return cls(path, partitions, timeout_s)

    def append(self, records: Sequence[NewRecord]) -> list[Position]:
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
        with _transaction(self._connection, self._timeout_s) as connection:
            before = dict(connection.execute("SELECT partition, next_offset FROM heads"))
            heads, start = dict(before), sum(before.values())
            rows: list[tuple[int, int, int, str, bytes, int]] = []
            for each in group:
                for partition, (key, value, received_ms) in zip(each.partitions, each.records, strict=True):
                    offset = heads[partition]
                    heads[partition] = offset + 1
                    rows.append((start + len(rows), partition, offset, key, value, received_ms))
                    each.positions.append(Position(partition, offset))
            for first in range(0, len(rows), INSERT_ROWS):
                some = rows[first : first + INSERT_ROWS]
                connection.execute(_insert(len(some)), list(chain.from_iterable(some)))
            moved = [(head, partition) for partition, head in heads.items() if head != before[partition]]
            connection.executemany("UPDATE heads SET next_offset = ? WHERE partition = ?", moved)
            mark_every = _MARK_EVERY_PER_PARTITION * self.partitions
            if start // mark_every != (start + len(rows)) // mark_every:
                marks = [(partition, head, start) for partition, head in before.items()]
                connection.executemany("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", marks)

    def reader(self, after: Mapping[int, int] | None = None) -> SqliteReader:
        """See EventLog."""
        with _blaming(self._path):
            return SqliteReader(self._path, self._timeout_s, after or {})

    def end(self) -> dict[int, int]:
        """See EventLog."""
        with _blaming(self._path), self._asking:
            return {partition: end - 1 for partition, (_, end) in _kept(self._asked).items() if end > 0}

    def trim(self, before: Mapping[int, int], limit: int = 10_000) -> int:
        """Delete the oldest records as long as each has an offset below `before[partition]`, at
        most `limit` of them; return how many went. Call again until 0. The first record to keep
        stops it, so what is kept has no holes. Later appends use the space again; the file does
        not shrink."""
        with (
            _blaming(self._path),
            _connection(self._path, self._timeout_s) as connection,
            _transaction(connection, self._timeout_s),
        ):
            oldest = 'SELECT seq, partition, "offset" FROM records ORDER BY seq LIMIT ?'
            last_seq, first, trimmed = -1, {}, 0
            for seq, partition, offset in connection.execute(oldest, (limit,)).fetchall():
                if offset >= before.get(partition, 0):
                    break
                last_seq, trimmed = seq, trimmed + 1
                first[partition] = offset + 1
            moved = [(offset, partition) for partition, offset in first.items()]
            connection.executemany("UPDATE heads SET first_offset = ? WHERE partition = ?", moved)
            connection.execute("DELETE FROM records WHERE seq <= ?", (last_seq,))
            connection.execute("DELETE FROM marks WHERE seq <= ?", (last_seq,))
        return trimmed

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


class SqliteReader:
    """A LogReader over the order of commit. A poll that finds nothing new costs one pragma."""

    def __init__(self, path: Path, timeout_s: float, after: Mapping[int, int]) -> None:
        self._path = path
        self._connection = _connect(path, timeout_s)
        self._data_version = -1
        self._at_end = False
        try:
            with _transaction(self._connection, timeout_s, begin="BEGIN"):
                self._wanted, self._next_seq = _resume(self._connection, path, after)
        except BaseException:
            self._connection.close()
            raise

    def read(self, limit: int) -> list[Record]:
        """See LogReader; at most 16 MiB of values at once."""
        with _blaming(self._path):
            # The version is read before the rows: a commit between the two is then read
            # twice over, never missed.
            data_version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if self._at_end and data_version == self._data_version:
                return []
            self._data_version = data_version
            records: list[Record] = []
            while not records and not self._read_rows(limit, records):
                continue
            return records

    def _read_rows(self, limit: int, records: list[Record]) -> bool:
        """Read the next `limit` rows, add those that are wanted; return whether the end was met."""
        wanted, size, seq = self._wanted, 0, self._next_seq - 1
        new_tuple = tuple.__new__  # what the classes do by way of a Python function, at three times the cost
        rows = self._connection.execute(
            "SELECT * FROM records WHERE seq >= ? ORDER BY seq LIMIT ?", (self._next_seq, limit)
        )
        try:
            for seq, partition, offset, key, value, received_ms in rows:  # noqa: B007 (used behind the loop)
                if offset < wanted[partition]:
                    continue
                if offset > wanted[partition]:
                    self._check_kept()
                wanted[partition] = offset + 1
                position = new_tuple(Position, (partition, offset))
                records.append(new_tuple(Record, (position, key, value, received_ms)))
                size += len(value)
                if size > READ_BYTES_MAX:
                    break
        finally:
            rows.close()  # an open statement would hold back the checkpoint, and the WAL would grow
        self._at_end = size <= READ_BYTES_MAX and seq + 1 - self._next_seq < limit
        self._next_seq = seq + 1
        if self._at_end:
            self._check_kept()
        return self._at_end

    def _check_kept(self) -> None:
        """Raise when records were trimmed before this reader came to them."""
        for partition, (first, end) in _kept(self._connection).items():
            if self._wanted[partition] < first:
                self._at_end = False  # the next read finds out again
                raise offset_gone(str(self._path), partition, self._wanted[partition], first, end)

    def close(self) -> None:
        """See LogReader."""
        self._connection.close()


def _insert(rows: int) -> str:
    return "INSERT INTO records VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)  # noqa: S608 (a number)


def _connect(path: Path, timeout_s: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection, path: Path, partitions: int, timeout_s: float) -> int:
    """Create or check the file behind the appending connection; return its count of partitions."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "meta" not in tables:
        raise LogUnavailable(f"{path}: Expected a Headrace log, got a SQLite database with other tables")
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), timeout_s)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 0")
    with _transaction(connection, timeout_s):
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is None:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            meta = {"version": VERSION, "partitions": partitions}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            heads = [(partition, 0, 0) for partition in range(partitions)]
            connection.executemany("INSERT INTO heads VALUES (?, ?, ?)", heads)
        stored = dict(connection.execute("SELECT name, value FROM meta"))
    if stored["version"] > VERSION:
        raise LogUnavailable(
            f"{path}: Expected a log of version {VERSION} or older, got version {stored['version']}: "
            "a newer Headrace wrote it"
        )
    return int(stored["partitions"])


def _resume(
    connection: sqlite3.Connection, path: Path, after: Mapping[int, int]
) -> tuple[dict[int, int], int]:
    """The next offset wanted of each partition, and a `seq` before which none of them is."""
    kept = _kept(connection)
    check_partitions(after, len(kept))
    wanted = {partition: first for partition, (first, _) in kept.items()}
    wanted.update({partition: offset + 1 for partition, offset in after.items()})
    seqs = [connection.execute("SELECT sum(next_offset) FROM heads").fetchone()[0]]
    for partition, (first, end) in kept.items():
        if not first <= wanted[partition] <= end:
            raise offset_gone(str(path), partition, wanted[partition], first, end)
        if wanted[partition] < end:
            mark = connection.execute(
                'SELECT seq FROM marks WHERE partition = ? AND "offset" <= ? '
                'ORDER BY "offset" DESC, seq DESC LIMIT 1',
                (partition, wanted[partition]),
            ).fetchone()
            seqs.append(mark[0] if mark else 0)
    return wanted, min(seqs)


def _kept(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """Per partition the first offset kept and the offset behind the last one."""
    rows = connection.execute("SELECT partition, first_offset, next_offset FROM heads")
    return {partition: (first, end) for partition, first, end in rows}


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into LogUnavailable with the file's name."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogUnavailable(f"{path}: {error}") from error


@contextmanager
def _connection(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    connection = _connect(path, timeout_s)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(
    connection: sqlite3.Connection, timeout_s: float, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    _patiently(lambda: connection.execute(begin), timeout_s)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise


def _patiently(step: Callable[[], object], timeout_s: float) -> None:
    """Run `step` until no other writer is in the way."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            step()
        except sqlite3.OperationalError as error:  # noqa: PERF203 (a retry is such a loop)
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return
