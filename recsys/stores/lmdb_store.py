"""The embedded ProfileStore: one LMDB environment, shared by the processes of this machine.

Durability: a put is in the page cache when it returns, so it survives a killed process, and other
processes see it. It is on disk after `sync()`, which the flow calls before it snapshots. A power
failure between two syncs may leave the file unusable, not only older: then delete the folder and
replay the log, from which everything in here was derived.

A record's value starts with one byte: 0, then the plain value; or 1, eight bytes of epoch
milliseconds (big endian) and the plain value: a claim, which may be dropped from then on.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import ClassVar, NoReturn

import lmdb

from recsys.ports import JournalTrimmed, StoreUnavailable
from recsys.stores.limits import JOURNAL_KEPT, check_value, key_bytes
from recsys.stores.urls import refuse_rest, split_path_url, take_float

VERSION = 1
READERS_MAX = 1024
SCAN_RECORDS = 500
SCAN_BYTES = 1024 * 1024
"""A scan holds so much at once; between two portions it holds no transaction, which would keep
the pages of old records from being used again."""
EXPIRED_PER_CLAIM = 8
"""Each claim deletes at most so many expired ones: more than it adds, so they never pile up."""

_PLAIN, _CLAIM = b"\x00", b"\x01"
_U64 = struct.Struct(">Q")
_CLAIM_HEADER = 1 + _U64.size


class LmdbStore:
    """A ProfileStore in the folder `path`, for all processes of one machine (a local disk).

    `map_gb` bounds the file's size; it takes address space, not disk. LMDB allows a process one
    environment a folder, so several stores on one folder share it; the first one's `map_gb`
    counts. `clock` gives epoch seconds for the expiry of claims. Open it after a fork, not before.
    """

    def __init__(
        self,
        path: Path,
        map_gb: float = 64.0,
        journal_kept: int = JOURNAL_KEPT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._map_gb = map_gb
        self._journal_kept = journal_kept
        self._clock = clock
        self._lock = threading.Lock()
        with self._blaming():
            self._shared = _Shared.acquire(path, map_gb)
        self._env = self._shared.env
        self._records, self._expiries = self._shared.records, self._shared.expiries
        self._journals = self._shared.journals
        self._closed = False

    @classmethod
    def from_url(cls, url: str) -> LmdbStore:
        """Open `lmdb:///path/to/folder?map_gb=64`."""
        path, settings = split_path_url(url)
        map_gb = take_float(settings, "map_gb", 64.0, 0.001, 64 * 1024.0)
        refuse_rest(settings, ("map_gb",))
        return cls(path, map_gb)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ProfileStore; all from one moment."""
        raw_keys = [key_bytes(key) for key in keys]
        # Not `_reading`: every request comes by here, and two generators cost as much as the reading.
        try:
            with self._open_env().begin(self._records) as txn:
                found = [txn.get(raw_key) for raw_key in raw_keys]
        except (lmdb.Error, OSError) as error:
            self._blame(error)
        return [None if stored is None else _plain(stored) for stored in found]

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """See ProfileStore; all or nothing."""
        for key, value in records.items():
            check_value(key, value)
        raw_records = [(key_bytes(key), _PLAIN + value) for key, value in records.items()]
        with self._writing() as txn:
            for raw_key, stored in raw_records:
                txn.put(raw_key, stored)

    def claim(self, key: str, value: bytes, ttl_s: int) -> bytes:
        """See ProfileStore."""
        return self.claim_many(((key, value),), ttl_s)[0]

    def claim_many(self, claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        """See ProfileStore."""
        for key, value in claims:
            check_value(key, value)
        with self._writing() as txn:
            now_ms = int(self._clock() * 1000)
            kept = [self._claimed(txn, key_bytes(key), value, now_ms, ttl_s) for key, value in claims]
            self._drop_expired(txn, now_ms, EXPIRED_PER_CLAIM * len(claims))
        return kept

    def _claimed(
        self, txn: lmdb.Transaction[bytes], raw_key: bytes, value: bytes, now_ms: int, ttl_s: int
    ) -> bytes:
        stored = txn.get(raw_key)
        if stored is not None and not _expired(stored, now_ms):
            return _plain(stored)
        expiry = _U64.pack(now_ms + ttl_s * 1000)
        txn.put(raw_key, _CLAIM + expiry + value)
        txn.put(expiry + raw_key, b"", db=self._expiries)
        return value

    def _drop_expired(self, txn: lmdb.Transaction[bytes], now_ms: int, most: int) -> None:
        # The index may name a record that was put or claimed anew since: only its header counts.
        cursor = txn.cursor(self._expiries)
        for _ in range(most):
            if not cursor.first() or _U64.unpack_from(cursor.key())[0] > now_ms:
                return
            raw_key = cursor.key()[_U64.size :]
            stored = txn.get(raw_key)
            if stored is not None and _expired(stored, now_ms):
                txn.delete(raw_key)
            cursor.delete()

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See ProfileStore."""
        raw_prefix = prefix.encode()
        start = raw_prefix
        while True:
            portion = self._portion(raw_prefix, start)
            if not portion:
                return
            for key, value in portion:
                yield key.decode(), _plain(value)
            start = portion[-1][0] + b"\x00"

    def _portion(self, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
        portion: list[tuple[bytes, bytes]] = []
        size = 0
        with self._reading() as txn:
            cursor = txn.cursor(self._records)
            if not (cursor.set_range(start) if start else cursor.first()):
                return portion
            for key, value in cursor:
                if not key.startswith(prefix) or len(portion) >= SCAN_RECORDS or size >= SCAN_BYTES:
                    break
                portion.append((key, value))
                size += len(value)
        return portion

    def journal(self, name: str, entries: Sequence[str]) -> None:
        """See ProfileStore; keeps 100,000 to 200,000 entries."""
        head = key_bytes(name) + b"\x00"
        raw_entries = [key_bytes(entry) for entry in entries]
        with self._writing() as txn:
            cursor = txn.cursor(self._journals)
            first, last = _ends(cursor, head)
            for seq, entry in enumerate(raw_entries, last + 1):
                txn.put(head + _U64.pack(seq), entry, db=self._journals)
            last += len(raw_entries)
            # Twice as many go as came, until enough are gone: bounded work, and it catches up.
            excess = min(last - 2 * self._journal_kept - first + 1, 2 * len(raw_entries))
            for seq in range(first, first + excess):
                txn.delete(head + _U64.pack(seq), db=self._journals)

    def journal_after(self, name: str, cursor: str, limit: int) -> tuple[list[str], str]:
        """See ProfileStore; a cursor is the number of the last entry read."""
        head = key_bytes(name) + b"\x00"
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise ValueError(f"Expected a journal cursor like `1042`, got `{cursor[:40]}`")
        with self._reading() as txn:
            at = txn.cursor(self._journals)
            first, last = _ends(at, head)
            read = int(cursor) if cursor else first - 1
            if not first - 1 <= read <= last:
                wanted = f"wanted entry {read + 1}, kept {first} to {last}"
                raise JournalTrimmed(f"{self._path}: journal `{name}`: {wanted}")
            count = min(limit, last - read)
            if count <= 0:
                return [], str(read)
            at.set_key(head + _U64.pack(read + 1))
            entries = [entry.decode() for entry in islice(at.iternext(keys=False), count)]
        return entries, str(read + count)

    def journal_end(self, name: str) -> str:
        """See ProfileStore."""
        with self._reading() as txn:
            return str(_ends(txn.cursor(self._journals), key_bytes(name) + b"\x00")[1])

    def sync(self) -> None:
        """Return when everything written so far, by any process, is on the disk."""
        with self._blaming():
            self._open_env().sync(True)  # force, although `sync` is off

    def close(self) -> None:
        """Close; the environment is closed with the last store on this folder in this process."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._shared.release()

    def _open_env(self) -> lmdb.Environment:
        if self._closed:
            raise StoreUnavailable(f"{self._path}: the store is closed")
        return self._env

    @contextmanager
    def _reading(self) -> Iterator[lmdb.Transaction[bytes]]:
        with self._blaming(), self._open_env().begin(self._records) as txn:
            yield txn

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction[bytes]]:
        with self._blaming(), self._open_env().begin(self._records, write=True) as txn:
            yield txn

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except (lmdb.Error, OSError) as error:
            self._blame(error)

    def _blame(self, error: Exception) -> NoReturn:
        if isinstance(error, lmdb.MapFullError):
            cause = f"the map is full; raise `map_gb` (now {self._map_gb:g}) in the URL, for every process"
        elif isinstance(error, lmdb.MapResizedError):
            cause = f"another process opened it with a larger `map_gb` than {self._map_gb:g}; use one URL"
        else:
            cause = str(error)
        raise StoreUnavailable(f"{self._path}: {cause}") from error


class _Shared:
    """The one environment of this process on a folder, counted: LMDB's locks belong to the
    process, so that opening it twice and closing one would unlock the other."""

    _open: ClassVar[dict[Path, _Shared]] = {}
    _guard = threading.Lock()

    def __init__(self, path: Path, map_gb: float) -> None:
        self._path = path
        self._users = 0
        self.pid = os.getpid()
        path.mkdir(parents=True, exist_ok=True)
        self.env = lmdb.open(
            str(path),
            map_size=int(map_gb * 1024) * 1024 * 1024,
            max_dbs=4,
            max_readers=READERS_MAX,
            max_spare_txns=16,
            sync=False,
            metasync=False,
            readahead=False,
        )
        try:
            self.env.reader_check()  # frees the slots of readers that were killed
            meta = self.env.open_db(b"meta")
            self.records = self.env.open_db(b"records")
            self.expiries = self.env.open_db(b"expiries")
            self.journals = self.env.open_db(b"journals")
            with self.env.begin(meta, write=True) as txn:
                txn.put(b"version", str(VERSION).encode(), overwrite=False)
                _check_version(path, int(txn.get(b"version", b"0")))
        except BaseException:
            self.env.close()
            raise

    @classmethod
    def acquire(cls, path: Path, map_gb: float) -> _Shared:
        """The environment on `path`, opened where this is its first user."""
        path = path.resolve()
        with cls._guard:
            shared = cls._open.get(path)
            if shared is not None and shared.pid != os.getpid():
                # A fork copied it; LMDB forbids using the copy, and closing it frees only memory.
                shared.env.close()
                shared = None
            if shared is None:
                shared = cls._open[path] = cls(path, map_gb)
            shared._users += 1
            return shared

    def release(self) -> None:
        """Close it behind its last user."""
        with self._guard:
            self._users -= 1
            if self._users == 0 and self._open.get(self._path) is self:
                del self._open[self._path]
                self.env.close()


def _check_version(path: Path, version: int) -> None:
    if version > VERSION:
        expected = f"Expected a store of version {VERSION} or older, got version {version}"
        raise StoreUnavailable(f"{path}: {expected}: a newer Headrace wrote it")


def _plain(stored: bytes) -> bytes:
    return stored[1:] if stored[0] == 0 else stored[_CLAIM_HEADER:]


def _expired(stored: bytes, now_ms: int) -> bool:
    return stored[0] == 1 and int(_U64.unpack_from(stored, 1)[0]) <= now_ms


def _ends(cursor: lmdb.Cursor[bytes], head: bytes) -> tuple[int, int]:
    """Numbers of the first and last entry kept under `head`; 1 and 0 when there is none. A journal
    is never trimmed to nothing, so the last number is also the count of all entries ever made."""
    if not cursor.set_range(head) or not cursor.key().startswith(head):
        return 1, 0
    first = _U64.unpack_from(cursor.key(), len(head))[0]
    # All ones is beyond any entry's number: step back from where it would stand.
    if cursor.set_range(head + b"\xff" * _U64.size):
        cursor.prev()
    else:
        cursor.last()
    return first, _U64.unpack_from(cursor.key(), len(head))[0]
