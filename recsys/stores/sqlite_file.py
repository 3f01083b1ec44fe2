"""The file of the embedded log: its tables and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.ports import LogUnavailable
from recsys.sqlite_files import patiently

VERSION = 2
"""2: rows of many records (`recsys.stores.packs`). A log of version 1 is read, and is one of 2
with the first such row."""

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


def prepare(connection: sqlite3.Connection, path: Path, partitions: int, timeout_s: float) -> tuple[int, int]:
    """Create or check the file behind the appending connection; return its count of partitions and its
    version, which stays an older one until something newer is written (`set_version`)."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "meta" not in tables:
        raise LogUnavailable(f"{path}: Expected a Headrace log, got a SQLite database with other tables")
    patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), timeout_s)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA busy_timeout = 0")
    with transaction(connection, timeout_s):
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
    return int(stored["partitions"]), int(stored["version"])


def set_version(connection: sqlite3.Connection) -> None:
    """From this transaction on the file is of VERSION."""
    connection.execute("UPDATE meta SET value = ? WHERE name = 'version'", (VERSION,))


def kept(connection: sqlite3.Connection) -> dict[int, tuple[int, int]]:
    """Per partition the first offset there is and the offset behind the last one."""
    rows = connection.execute("SELECT partition, first_offset, next_offset FROM heads")
    return {partition: (first, end) for partition, first, end in rows}


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into LogUnavailable with the file's name."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LogUnavailable(f"{path}: {error}") from error


@contextmanager
def transaction(
    connection: sqlite3.Connection, timeout_s: float, begin: str = "BEGIN IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    patiently(lambda: connection.execute(begin), timeout_s)
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
            connection.execute("ROLLBACK")
        raise
