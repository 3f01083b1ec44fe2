"""Open a log or a state store by URL. Only composition roots call this.

The adapter is imported when its scheme is asked for, so the embedded default runs without a
Kafka or Redis client installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple, cast

from recsys.ports import EventLog, LogUnavailable, ProfileStore, StoreUnavailable
from recsys.stores.urls import path_url, split_path_url

__all__ = ["check_urls", "is_kept", "open_kept_log", "open_kept_store", "open_log", "open_store", "path_url"]

LOG_ADAPTERS = {
    "sqlite": ("sqlite_log", "SqliteLog"),
    "kafka": ("kafka_log", "KafkaLog"),
}
STORE_ADAPTERS = {
    "lmdb": ("lmdb_store", "LmdbStore"),
    "redis": ("redis_store", "RedisStore"),
    "rediss": ("redis_store", "RedisStore"),
    "valkey": ("redis_store", "RedisStore"),
    "valkeys": ("redis_store", "RedisStore"),
    "redis+cluster": ("redis_store", "RedisStore"),
    "rediss+cluster": ("redis_store", "RedisStore"),
}


def open_log(url: str) -> EventLog:
    """Open, and where it is missing create, the log that `url` names:
    `sqlite:///path/to/log.db?partitions=4` or `kafka://host:9092/topic?partitions=4`.

    BadUrl: the URL is not one of these. LogUnavailable: it is, and the log does not answer.
    """
    return cast(EventLog, _open(url, _LOG))


def open_store(url: str, hurry_s: float = 0.0) -> ProfileStore:
    """Open, and where it is missing create, the store that `url` names:
    `lmdb:///path/to/folder?map_gb=64` or `redis://host:6379/0?prefix=shop:` (`rediss`,
    `valkey`, `redis+cluster` likewise). `hurry_s`: how long a call may wait for a server that hangs,
    0: as the URL says; an embedded store has none.

    BadUrl: the URL is not one of these. StoreUnavailable: it is, and the store cannot be
    opened; a Redis that does not answer is found out by the first call.
    """
    return cast(ProfileStore, _open(url, _STATE, *([hurry_s] if hurry_s else [])))


def is_kept(url: str) -> bool:
    """Whether what an embedded adapter keeps is there; to open it would create it. Of a server the
    answer is yes: it is asked."""
    if not url.startswith(("sqlite://", "lmdb://")):
        return True
    try:
        path, _ = split_path_url(url)
    except ValueError:
        return True  # who opens it is told what is wrong with it
    return path.is_file() or (path / "data.mdb").is_file()


def open_kept_log(url: str) -> EventLog:
    """`open_log` for who only reads: LogUnavailable where there is none yet, which it does not create."""
    if not is_kept(url):
        raise LogUnavailable(f"Expected a log that something came into, got none - at `{url}`")
    return open_log(url)


def open_kept_store(url: str) -> ProfileStore:
    """`open_store` for who only reads: StoreUnavailable where there is none yet, which it does not create."""
    if not is_kept(url):
        raise StoreUnavailable(f"Expected a state that a flow has kept, got none - at `{url}`")
    return open_store(url)


class BadUrl(ValueError):
    """A log or state URL that cannot be used: says what was expected and what came, and where."""


class _Kind(NamedTuple):
    """What a URL may name: its setting, the adapters by scheme, and an example of either kind."""

    setting: str
    adapters: dict[str, tuple[str, str]]
    embedded: str
    remote: str


_LOG = _Kind("log", LOG_ADAPTERS, "sqlite:///path/to/log.db", "kafka://host:9092/topic")
_STATE = _Kind("state", STORE_ADAPTERS, "lmdb:///path/to/folder", "redis://host:6379/0")


def check_urls(log: str, state: str) -> None:
    """Whether there are adapters for both, before anything is opened. Raises BadUrl."""
    _module_of(log, _LOG)
    _module_of(state, _STATE)


def _open(url: str, kind: _Kind, *how: float) -> object:
    module, name = _module_of(url, kind)
    adapter = getattr(import_module(f"recsys.stores.{module}"), name)
    try:
        return adapter.from_url(url, *how)
    except ValueError as error:
        raise BadUrl(f"{error} - at `{kind.setting}`") from None


def _module_of(url: str, kind: _Kind) -> tuple[str, str]:
    scheme, colon, _ = url.partition("://")
    if colon and scheme in kind.adapters:
        return kind.adapters[scheme]
    # Only the scheme is repeated: the rest may hold a password.
    got = f"scheme `{scheme[:40]}`" if colon else "no scheme"
    raise BadUrl(
        f"Expected a {kind.setting} URL like `{kind.embedded}` or `{kind.remote}`, got {got}"
        f" - at `{kind.setting}`"
    )
