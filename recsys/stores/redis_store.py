"""The ProfileStore at scale: Redis 7 or Valkey, one server or a cluster.

Durability is the server's: with an append-only file, `sync()` waits until it is on the server's
disk (WAITAOF, Redis 7.2 or Valkey); a server without one keeps nothing over its own crash, and
`sync()` then returns at once, as it does for a cluster, where each node flushes by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any
from urllib.parse import urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from recsys.breaker import Breaker
from recsys.ports import JournalTrimmed, StoreUnavailable
from recsys.stores.limits import JOURNAL_KEPT, check_value, key_bytes
from recsys.stores.urls import query_settings, take_float

BATCH_KEYS = 500
"""Keys of one command: a longer one would hold up every other client of the server."""
BATCH_BYTES = 4 * 1024 * 1024

REST_S = 1.0
"""So long nobody who is in a hurry asks a server that has just kept somebody waiting in vain."""

_ERRORS = (redis.RedisError, RedisClusterException, OSError)
_RETRIED: tuple[type[Exception], ...] = (redis.ConnectionError, redis.TimeoutError, TimeoutError)
_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "redis+cluster": "redis", "rediss+cluster": "rediss"}


class RedisStore:
    """A ProfileStore on the server of `client`, below `prefix`; it closes the client.

    Nothing is asked of the server until the first call. A call that meets a broken connection is
    tried once more; an entry of a journal may then stand there twice. `is_hurried`: a server that hangs
    costs one call its `timeout_s`, and those of the next REST_S nothing.
    """

    def __init__(
        self,
        client: redis.Redis | RedisCluster,
        name: str,
        prefix: str = "",
        timeout_s: float = 2.0,
        journal_kept: int = JOURNAL_KEPT,
        *,
        is_hurried: bool = False,
    ) -> None:
        self._client: Any = client  # the types of redis-py say of every answer that it may be awaitable
        self._name = name
        self._prefix = prefix.encode()
        self._timeout_s = timeout_s
        self._journal_kept = journal_kept
        self._clustered = isinstance(client, RedisCluster)
        self._closed = False
        # What fails within half of the time has kept nobody waiting.
        self._breaker = Breaker(timeout_s / 2, REST_S) if is_hurried else None

    @classmethod
    def from_url(cls, url: str, hurry_s: float = 0.0) -> RedisStore:
        """Open `redis://user:password@host:6379/0?prefix=shop:&timeout_s=2&connect_timeout_s=2`.

        `rediss` is TLS, `valkey` and `valkeys` mean the same two, `redis+cluster` and
        `rediss+cluster` name one node of a cluster. Further settings are redis-py's. `hurry_s`: no call
        waits for longer, whatever the URL says; 0: for callers who can wait.

        Homes that share a server have a prefix each. None may be another's and a kind of keys (`a:i:` beside
        `a:`, or `p:` beside a home without one): its keys would be taken for items or people of the other.
        """
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"Expected a host like `{parts.scheme}://host:6379/0`, got none")
        settings = query_settings(parts.query)
        prefix = settings.pop("prefix", "")
        timeout_s = take_float(settings, "timeout_s", 2.0, 0.01, 600.0)
        connect_timeout_s = take_float(settings, "connect_timeout_s", 2.0, 0.01, 600.0)
        errors = _RETRIED
        if hurry_s:
            timeout_s, connect_timeout_s = min(timeout_s, hurry_s), min(connect_timeout_s, hurry_s)
            errors = (redis.ConnectionError,)  # who has waited in vain once does not wait again
        scheme = _SCHEMES.get(parts.scheme, parts.scheme)
        # Never the user and password: the name appears in errors.
        name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        client_class: Any = RedisCluster if parts.scheme.endswith("+cluster") else redis.Redis
        try:
            client = client_class.from_url(
                parts._replace(scheme=scheme, query=urlencode(settings)).geturl(),
                socket_timeout=timeout_s,
                socket_connect_timeout=connect_timeout_s,
                retry=Retry(NoBackoff(), 1, errors),
            )
            if isinstance(client, redis.Redis):
                client.connection_pool.make_connection()  # does not connect, but reads the settings
        except _ERRORS as error:
            raise StoreUnavailable(f"{name}: {error}") from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"Expected settings of redis-py in the URL of {name}, got: {error}") from error
        return cls(client, name, prefix, timeout_s, is_hurried=hurry_s > 0)

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """See ProfileStore; 500 keys a command."""
        raw_keys = [self._prefix + key_bytes(key) for key in keys]
        values: list[bytes | None] = []
        with self._blaming():
            for start in range(0, len(raw_keys), BATCH_KEYS):
                values += self._mget(raw_keys[start : start + BATCH_KEYS])
        return values

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """See ProfileStore; 500 records or 4 MiB a command, each all or nothing on one server."""
        for key, value in records.items():
            check_value(key, value)
        raw_records = {self._prefix + key_bytes(key): value for key, value in records.items()}
        mset = self._client.mset_nonatomic if self._clustered else self._client.mset
        with self._blaming():
            for batch in _batches(raw_records):
                mset(batch)

    def claim(self, key: str, value: bytes, ttl_s: int) -> bytes:
        """See ProfileStore."""
        check_value(key, value)
        raw_key = self._prefix + key_bytes(key)
        with self._blaming():
            stored: bytes | None = self._client.set(raw_key, value, nx=True, get=True, ex=max(1, ttl_s))
        return value if stored is None else stored

    def claim_many(self, claims: Sequence[tuple[str, bytes]], ttl_s: int) -> list[bytes]:
        """See ProfileStore."""
        pipe = self._client.pipeline(transaction=False)
        for key, value in claims:
            check_value(key, value)
            pipe.set(self._prefix + key_bytes(key), value, nx=True, get=True, ex=max(1, ttl_s))
        with self._blaming():
            stored: list[bytes | None] = pipe.execute()
        return [value if kept is None else kept for (_, value), kept in zip(claims, stored, strict=True)]

    def scan(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """See ProfileStore; a record may come twice while the server's table grows."""
        pattern = re.sub(rb"([*?\[\]\\])", rb"\\\1", self._prefix + prefix.encode()) + b"*"
        with self._blaming():
            found = self._client.scan_iter(match=pattern, count=BATCH_KEYS)
        while True:
            with self._blaming():
                raw_keys = list(islice(found, BATCH_KEYS))
                values = self._mget(raw_keys) if raw_keys else []
            if not raw_keys:
                return
            for raw_key, value in zip(raw_keys, values, strict=True):
                if value is not None:  # deleted meanwhile, or no record: a journal
                    yield raw_key[len(self._prefix) :].decode(), value

    def journal(self, name: str, entries: Sequence[str]) -> None:
        """See ProfileStore; a stream trimmed by whole nodes, so it keeps a few hundred more."""
        raw_entries = [key_bytes(entry) for entry in entries]
        stream = self._stream(name)
        with self._blaming():
            for start in range(0, len(raw_entries), BATCH_KEYS):
                pipeline = self._client.pipeline(transaction=False)
                for entry in raw_entries[start : start + BATCH_KEYS]:
                    pipeline.xadd(stream, {b"k": entry}, maxlen=self._journal_kept, approximate=True)
                pipeline.execute()

    def journal_after(self, name: str, cursor: str, limit: int) -> tuple[list[str], str]:
        """See ProfileStore; a cursor is the stream's id of the last entry read."""
        if cursor and not re.fullmatch(r"\d+-\d+", cursor, re.ASCII):
            raise ValueError(f"Expected a journal cursor like `1700000000000-0`, got `{cursor[:40]}`")
        stream = self._stream(name)
        with self._blaming():
            # From the cursor's own entry on: that it is there proves that none behind it is gone.
            found = self._client.xrange(stream, min=cursor or "-", count=limit + bool(cursor))
            if cursor == _NOTHING_YET:
                whole = self._is_whole(stream)
                found = found[:limit]
            else:
                whole = not cursor or bool(found and found[0][0].decode() == cursor)
                found = found[1:] if cursor else found
        if not whole:
            raise JournalTrimmed(f"{self._name}: journal `{name}`: entry {cursor} is not kept any more")
        if not found:
            return [], cursor or _NOTHING_YET
        return [fields[b"k"].decode() for _, fields in found], found[-1][0].decode()

    def journal_end(self, name: str) -> str:
        """See ProfileStore."""
        with self._blaming():
            newest = self._client.xrevrange(self._stream(name), count=1)
        return newest[0][0].decode() if newest else _NOTHING_YET

    def sync(self) -> None:
        """See ProfileStore and the head of this module. A server with an append-only file that it
        does not flush in time (`appendfsync no`) raises StoreUnavailable."""
        if self._clustered:
            return
        wait_ms = int(self._timeout_s * 800)  # the answer must come before the socket's timeout
        with self._blaming():
            pipeline = self._client.pipeline(transaction=False)
            # WAITAOF waits for this connection's writes; what others wrote before comes before it.
            pipeline.hincrby(self._prefix + b"~sync", "count", 1)
            pipeline.execute_command("WAITAOF", 1, 0, wait_ms)
            _, answer = pipeline.execute(raise_on_error=False)
        if isinstance(answer, redis.ResponseError):
            return  # no append-only file, or too old for the command: nothing is promised
        if isinstance(answer, Exception) or answer[0] < 1:
            raise StoreUnavailable(f"{self._name}: not on the server's disk within {wait_ms} ms: {answer}")

    def close(self) -> None:
        """Close the connections."""
        if not self._closed:
            self._closed = True
            # A cluster's client closes its nodes' clients, and leaves their pools open.
            for node in self._client.get_nodes() if self._clustered else ():
                if node.redis_connection is not None:
                    node.redis_connection.connection_pool.disconnect()
            self._client.close()

    def _mget(self, raw_keys: list[bytes]) -> list[bytes | None]:
        values: list[bytes | None] = (
            self._client.mget_nonatomic(raw_keys) if self._clustered else self._client.mget(raw_keys)
        )
        return values

    def _stream(self, name: str) -> bytes:
        # A record's key has a kind of one letter, so no record is called like this.
        return self._prefix + b"~journal:" + key_bytes(name)

    def _is_whole(self, stream: bytes) -> bool:
        """Whether the stream still has its first entry."""
        try:
            info = self._client.xinfo_stream(stream)
        except redis.ResponseError:  # there is no such stream yet
            return True
        return bool(info["entries-added"] == info["length"])

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        if self._closed:
            raise StoreUnavailable(f"{self._name}: the store is closed")
        try:
            with self._breaker.asking(*_ERRORS) if self._breaker is not None else nullcontext():
                yield
        except _ERRORS as error:
            raise StoreUnavailable(f"{self._name}: {error}") from error


_NOTHING_YET = "0-0"
"""The cursor behind nothing, in a journal that is empty."""


def _batches(records: Mapping[bytes, bytes]) -> Iterator[dict[bytes, bytes]]:
    batch: dict[bytes, bytes] = {}
    size = 0
    for key, value in records.items():
        if batch and (len(batch) >= BATCH_KEYS or size + len(value) > BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value)
    if batch:
        yield batch
